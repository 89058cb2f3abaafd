"""A task in the words of `/tasks`: a handler by its name, when, how urgent, how often to try again. From what was sent
to a draft, or to all the faults of it at once.
"""

from collections.abc import Iterable
from datetime import tzinfo
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

from tasks_server.domain import dates, handler_reading, limits, rules, rules_callbacks, shapes, words, zones
from tasks_server.domain.callback import Asked as AskedCallback
from tasks_server.domain.defaults import NOW
from tasks_server.domain.egress import OPEN, Egress
from tasks_server.domain.errors import Fault, InvalidRequest
from tasks_server.domain.json_text import AS_IT_CAME, Kept
from tasks_server.domain.reading import Metadata, whole
from tasks_server.domain.request import Fallback, HandlerCall, Key, TaskConfig
from tasks_server.domain.validation import Draft, handler_draft

KEPT: Final[Kept] = {"payload": AS_IT_CAME}
"""What is not taken apart."""
ONE_TIME: Final = "one_time"
RECURRING: Final = "recurring"
TYPES: Final = (ONE_TIME, RECURRING)
_FORMS: Final = "ISO 8601, such as 2030-01-31T12:00:00Z or 2030-01-31T12:00:00[Europe/Berlin]"
_OF_RECURRING: Final = ("schedule", "name")
Retries = Annotated[int, Meta(ge=0, le=limits.RETRY_MAX)]
TimeoutMs = Annotated[int, Meta(ge=limits.TIMEOUT_MIN_MS, le=limits.TIMEOUT_MAX_MS)]
Priority = Annotated[int, Meta(ge=0, le=limits.PRIORITY_MAX)]
Text = Annotated[str, Meta(min_length=1, max_length=limits.NAME_LENGTH_MAX)]


Date = Annotated[str, Meta(min_length=1, max_length=dates.LENGTH_MAX)]


class _Named(msgspec.Struct, kw_only=True):
    """What a task runs, and how. Unless `max_retries` and `timeout_ms` are given, what the handler is registered with
    counts, and then the defaults.
    """

    task_name: Key
    payload: Raw | UnsetType = UNSET
    priority: Priority = 0
    max_retries: Retries | UnsetType = UNSET
    timeout_ms: TimeoutMs | UnsetType = UNSET
    lane: Key = "default"
    metadata: Metadata | None = None
    failure_callback: AskedCallback = None
    success_callback: AskedCallback = None


class NamedTask(_Named, kw_only=True, forbid_unknown_fields=True):
    """A task that runs a handler once. `scheduled_at`: when it is due, in `timezone` if it names no zone itself; a date
    that is past means now.
    """

    scheduled_at: Date | None = None
    timezone: Text | None = None
    type: Literal["one_time"] = "one_time"


class RecurringTask(_Named, kw_only=True, forbid_unknown_fields=True):
    """A handler that runs again and again, by cron in `timezone`. Unless it is given, the schedule gets a name."""

    type: Literal["recurring"]
    schedule: Annotated[str, Meta(min_length=1, max_length=limits.CRON_LENGTH_MAX)]
    timezone: Text | None = None
    name: Key | None = None


class Rescheduling(msgspec.Struct, forbid_unknown_fields=True):
    """When a pending task is due instead, in `timezone` if the date names no zone itself. A date that is past means
    now.
    """

    scheduled_at: Date
    timezone: Text | None = None


class Manner(msgspec.Struct, frozen=True):
    """What holds for all tasks in these words: the zone of dates that name none, the wait before the first retry, which
    callbacks may be called.
    """

    zone: tzinfo
    retry_base_ms: int = limits.HANDLER_RETRY_BASE_MS
    egress: Egress = OPEN


def judge_named(body: NamedTask, now: int, manner: Manner) -> Draft:
    """The draft of a task whose types fit. Raises `InvalidRequest` with every rule that it breaks."""
    faults: list[Fault] = []
    at = _judge(body, now, manner, faults)
    if faults:
        raise InvalidRequest(faults)
    config = TaskConfig(
        execution_delay=NOW.execution_delay if at > now else 0,
        execute_at=at if at > now else None,
        retry=body.max_retries,
        timeout=body.timeout_ms,
        priority=body.priority,
        lane=body.lane,
        failure_callback=body.failure_callback,
        success_callback=body.success_callback,
    )
    return handler_draft(_call_of(body, manner), config, body.metadata, now)


def read_named(raw: object, now: int, manner: Manner) -> Draft:
    """The same of any JSON value."""
    value, faults = _object(raw, NamedTask)
    faults = _faults_of_type(value, faults)
    spoiled = {fault.field.split(".", 1)[0] for fault in faults}
    known = shapes.fields_of(NamedTask)
    if "schedule" in value:
        spoiled.add("timezone")  # it is that of the schedule
    fitting = {name: item for name, item in value.items() if name in known and name not in spoiled}
    body = msgspec.convert({"task_name": "unknown"} | fitting, NamedTask)
    if faults:
        _judge(body, now, manner, faults)
        raise InvalidRequest(faults)
    return judge_named(body, now, manner)


def _faults_of_type(value: dict[str, Any], faults: list[Fault]) -> list[Fault]:
    """The same faults, those of the type told for both types that there are."""
    told = [fault for fault in faults if fault.field not in (*_OF_RECURRING, "type")]
    given = shapes.shown(value.get("type"))
    if "schedule" in value:
        return [*told, Fault("type", "must be recurring for a task with a schedule", given, RECURRING)]
    if len(told) < len(faults) and value.get("type", ONE_TIME) != ONE_TIME:
        told.append(Fault("type", f"must be one of {', '.join(TYPES)}", given, list(TYPES)))
    text = "belongs to a task of the type recurring, with a schedule"
    return told + [Fault(name, text, shapes.shown(value[name])) for name in _OF_RECURRING if name in value]


def is_recurring(raw: object) -> bool:
    """Whether a body asks for a recurring task."""
    kind = raw.get("type") if isinstance(raw, dict) else None
    return isinstance(kind, str) and words.chosen(kind, TYPES) == RECURRING


def read_recurring(raw: object) -> RecurringTask:
    """A recurring task whose types fit; the rules are those of schedules. Raises `InvalidRequest` with every fault."""
    value, faults = _object(raw, RecurringTask)
    for fault in [fault for fault in faults if fault.field == "scheduled_at"]:
        text = "belongs to a task that runs once; the schedule says when"
        faults[faults.index(fault)] = Fault("scheduled_at", text)
    if faults:
        raise InvalidRequest(faults)
    return msgspec.convert(value, RecurringTask)


def read_rescheduling(raw: object, now: int, zone: tzinfo) -> int:
    """The instant of a `Rescheduling`, now or later. Raises `InvalidRequest` with every fault."""
    value, faults = _object(raw, Rescheduling)
    at = now
    if isinstance(text := value.get("scheduled_at"), str) and not faults:
        at = _instant(text, now, _zone_of(value.get("timezone"), zone, faults), faults)
    if faults:
        raise InvalidRequest(faults)
    return at


def fallback_of(manner: Manner) -> Fallback:
    """What counts in these words when neither the task nor its handler says it."""
    return Fallback(limits.NAMED_RETRIES_DEFAULT, manner.retry_base_ms, "exponential")


def as_template(body: RecurringTask) -> dict[str, Any]:
    """A recurring task as what a schedule makes its tasks from."""
    config = {"retry": body.max_retries, "timeout": body.timeout_ms, "priority": body.priority, "lane": body.lane}
    asked = {"failureCallback": body.failure_callback, "successCallback": body.success_callback}
    config |= {name: msgspec.to_builtins(one) for name, one in asked.items() if one is not None}
    handler = {"name": body.task_name, "payload": body.payload}
    task: dict[str, Any] = {"handler": _given(handler), "config": _given(config)}
    return task if body.metadata is None else task | {"metadata": body.metadata}


_WORDS: Final = {
    "config.failureCallback": "failure_callback",
    "config.successCallback": "success_callback",
    "handler.name": "task_name",
    "handler.payload": "payload",
    "config.lane": "lane",
    "config.priority": "priority",
    "config.retry": "max_retries",
    "config.timeout": "timeout_ms",
    "task": "",
    "cron": "schedule",
}
"""Fields of `/v1`, and what `/tasks` calls them."""


def in_these_words(faults: Iterable[Fault]) -> list[Fault]:
    """Faults by the names that the fields have here.

    >>> [fault.field for fault in in_these_words([Fault("task.handler.payload", ""), Fault("cron", "")])]
    ['payload', 'schedule']
    """
    told = []
    for fault in faults:
        field = fault.field.removeprefix("task.")
        for theirs, ours in _WORDS.items():
            if field == theirs or field.startswith(f"{theirs}."):
                field = ours + field[len(theirs) :]
                break
        told.append(msgspec.structs.replace(fault, field=field))
    return told


def _judge(body: NamedTask, now: int, manner: Manner, faults: list[Fault]) -> int:
    """Adds the faults of the rules that types cannot say. When the task is due."""
    broken: list[Fault] = []
    handler_reading.judge_call(_call_of(body, manner), broken)
    if body.lane.endswith("\n"):
        broken.append(Fault("lane", "has a line break in it"))
    if body.metadata is not None:
        rules.judge_names("metadata", body.metadata, broken)
    at, zone = now, _zone_of(body.timezone, manner.zone, broken)
    if body.scheduled_at is not None:
        at = _instant(body.scheduled_at, now, zone, broken)
    elif body.timezone is not None:
        text = "has no meaning without a scheduled_at, which it is the zone of, or a schedule"
        broken.append(Fault("timezone", text, body.timezone))
    told = TaskConfig(failure_callback=body.failure_callback, success_callback=body.success_callback)
    rules_callbacks.settle_callbacks(told, manner.egress, broken)
    body.failure_callback, body.success_callback = told.failure_callback, told.success_callback
    if broken:
        faults += in_these_words(broken)
    return at


def _call_of(body: NamedTask, manner: Manner) -> HandlerCall:
    return handler_reading.call_of(body.task_name, body.payload, fallback_of(manner))


def _given(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not UNSET}


def _zone_of(name: str | None, zone: tzinfo, faults: list[Fault]) -> tzinfo:
    """The zone of this name, else `zone`."""
    if name is None:
        return zone
    try:
        return zones.zone_of(name)
    except ValueError as error:
        faults.append(Fault("timezone", str(error), name, zones.FORMS))
        return zone


def _instant(text: str, now: int, zone: tzinfo, faults: list[Fault]) -> int:
    """The instant that a text means, but now when it is past."""
    try:
        at = dates.instant(text, zone)
    except ValueError as error:
        faults.append(
            Fault(
                "scheduled_at",
                str(error),
                shapes.shown(text),
                _FORMS,
            )
        )
        return now
    return max(now, at)


def _object(raw: object, wanted: type[msgspec.Struct]) -> tuple[dict[str, Any], list[Fault]]:
    """The fields of an object, numbers without a fraction as integers, and what is wrong with them."""
    if not isinstance(raw, dict):
        raise InvalidRequest([Fault("body", "must be a JSON object", shapes.shown(raw), "an object")])
    value = {name: whole(item) for name, item in raw.items() if item is not None or name != "payload"}
    value = words.spelled(wanted, value)
    return value, list(shapes.struct_faults(wanted, value, ""))
