"""From what was sent to a schedule that obeys every rule, or to all the faults of it at once. What its tasks call is
judged by `domain.validation`, as a task's registration is.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import tzinfo
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

from tasks_server.domain import asked, dates, durations, ids, limits, masking, reading, shapes, validation, words, zones
from tasks_server.domain.abilities import Abilities
from tasks_server.domain.asked import AskedRequest
from tasks_server.domain.certificates import make_way
from tasks_server.domain.cron import FORMS, cron
from tasks_server.domain.defaults import NOW
from tasks_server.domain.egress import Egress
from tasks_server.domain.errors import Fault, InvalidRequest
from tasks_server.domain.firing import Template
from tasks_server.domain.handler_reading import HandlerBody, HandlerConfig
from tasks_server.domain.json_text import AS_IT_CAME, Kept
from tasks_server.domain.reading import Metadata
from tasks_server.domain.request import Key, TaskConfig, is_special
from tasks_server.domain.rules_pairs import make_room
from tasks_server.domain.schedule import Rule, next_fire

Every = Annotated[int, durations.bounds(limits.EVERY_MIN_MS, limits.EVERY_MAX_MS)]
Jitter = Annotated[int, durations.bounds(0, limits.SCHEDULE_JITTER_MAX_MS)]
Window = Annotated[int, durations.bounds(limits.MISSED_WINDOW_MIN_MS, limits.MISSED_WINDOW_MAX_MS)]
Instant = Annotated[int, Meta(ge=0, le=dates.DATE_MAX_MS)]

KEPT: Final[Kept] = {"task": {**asked.KEPT, "payload": AS_IT_CAME}}
"""What is not taken apart."""
DATES: Final = frozenset({"startAt", "endAt"})
DURATIONS: Final = frozenset({"every", "jitter", "missedWindow"})
TIMING: Final = frozenset({"cron", "every", "timezone", "startAt", "endAt", "maxRuns"})
"""What sets the next fire time anew when it is changed."""
_ABSOLUTE: Final = ("executeAt", "executeImmediately", "retryAt", "repeatAt", "timeoutAt", "expireAt")
_NAMED: Final = {"task_name": "name", "payload": "payload"}
"""The words of `/tasks`, and what they are of `handler`."""
_SHORT_UTC: Final = re.compile(r"(?i)(etc/)?(utc|z|zulu)")


class TaskTemplate(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """What each task of a schedule calls, and how: as for a task, without dates and delays of its own."""

    http_request: AskedRequest
    config: TaskConfig | None = None
    metadata: Metadata | None = None


class HandlerTemplate(msgspec.Struct, forbid_unknown_fields=True):
    """The handler that each task of a schedule runs: as for a task, without dates and delays of its own."""

    handler: HandlerBody
    config: HandlerConfig | None = None
    metadata: Metadata | None = None


class NamedTemplate(msgspec.Struct, forbid_unknown_fields=True):
    """The same in the words of `/tasks`."""

    task_name: Key
    payload: Raw | UnsetType = UNSET
    config: HandlerConfig | None = None
    metadata: Metadata | None = None


class _Timing(msgspec.Struct, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """When a schedule fires: either by `cron` or by `every`."""

    cron: Annotated[str, Meta(min_length=1, max_length=limits.CRON_LENGTH_MAX)] | None = None
    every: Every | None = None
    timezone: Annotated[str, Meta(min_length=1, max_length=limits.NAME_LENGTH_MAX)] | None = None
    start_at: Instant | None = None
    end_at: Instant | None = None
    max_runs: Annotated[int, Meta(ge=1, le=limits.SCHEDULE_RUNS_MAX)] | None = None
    jitter: Jitter = 0
    missed: Literal["skip", "once", "all"] = "once"
    missed_window: Window = limits.MISSED_WINDOW_DEFAULT_MS
    overlap: Literal["skip", "allow", "buffer", "cancel"] = "allow"


class ScheduleFrame(_Timing, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """All of a schedule but its task."""

    name: Key


class ScheduleBody(ScheduleFrame, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """A schedule as it is asked for: either `cron` or `every`."""

    task: TaskTemplate


class NamedScheduleBody(_Timing, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """The same where the path may name it."""

    name: Key | None = None
    task: TaskTemplate


class ScheduleDraft(msgspec.Struct):
    """A schedule that obeys every rule. `headers`: the names of those that its tasks send."""

    name: str
    rule: Rule
    template: Template
    headers: tuple[str, ...]


def read_schedule(
    raw: object,
    now: int,
    zone: tzinfo,
    egress: Egress,
    abilities: Abilities,
    *,
    changed: frozenset[str] | None = None,
) -> ScheduleDraft:
    """The draft of any JSON value. Dates without a zone count in `timezone`, whose default is `zone`.
    `changed`: the fields that a patch named; only those are judged against the clock (None: all are). Raises
    `InvalidRequest` with every fault.
    """
    if not isinstance(raw, dict):
        raise InvalidRequest([Fault("body", "must be a JSON object", shapes.shown(raw), "an object")])
    faults: list[Fault] = []
    frame = _read_frame(raw, zone, faults)
    judged = None if changed is None or "task" in changed else frozenset[str]()
    template, headers = _read_task(raw, now, zone, (egress, abilities, judged), faults)
    timezone = frame.timezone or _name_of(zone)
    rule = Rule(
        cron=frame.cron,
        every_ms=frame.every,
        timezone="UTC" if _SHORT_UTC.fullmatch(timezone) else timezone,
        start_at=frame.start_at,
        end_at=frame.end_at,
        runs_max=frame.max_runs,
        jitter_ms=frame.jitter,
        missed=frame.missed,
        missed_window_ms=frame.missed_window,
        overlap=frame.overlap,
    )
    faults += _idle_faults(raw, frame, changed)
    spoiled = {fault.field for fault in faults}
    if frame.cron is None and "every" in spoiled:
        spoiled.add("cron")  # it is not missing: there is a wrong `every` in its place
    faults += [fault for fault in _rule_faults(rule, now, changed) if fault.field not in spoiled]
    if "name" not in spoiled and ids.is_task_id(frame.name):
        faults.append(Fault("name", "looks like an id; take another", frame.name))
    if faults:
        raise InvalidRequest(faults)
    assert template is not None  # a missing task is a fault, raised above
    return ScheduleDraft(frame.name, rule, template, headers)


def merged(draft: ScheduleDraft, patch: object) -> dict[str, Any]:
    """A schedule under a JSON merge patch (RFC 7396), for `read_schedule`. Raises `InvalidRequest` for a patch that is
    none, or that brings the mask where a secret belongs.
    """
    if not isinstance(patch, dict):
        raise InvalidRequest([Fault("body", "must be a JSON object", shapes.shown(patch), "an object")])
    if "task" in patch:
        patch = {**patch, "task": in_our_words(patch["task"])}
    faults = masking.mask_faults(patch.get("task"))
    if faults:
        raise InvalidRequest([msgspec.structs.replace(fault, field=f"task.{fault.field}") for fault in faults])
    before = as_asked(draft)
    for one, other in (("cron", "every"), ("every", "cron")):  # to name the one takes the place of the other
        if patch.get(one) is not None and other not in patch:
            before.pop(other, None)
    make_way(before["task"], patch.get("task"))
    make_room(before["task"], patch.get("task"))
    whole: dict[str, Any] = reading.merge(before, patch)
    return whole


def as_asked(draft: ScheduleDraft) -> dict[str, Any]:
    """The schedule as somebody would ask for it, secrets and all."""
    rule, template = draft.rule, draft.template
    task = validation.as_asked(template.request, template.handler, template.config)
    if template.metadata is not None:
        task["metadata"] = template.metadata
    asked = {
        "name": draft.name,
        "cron": rule.cron,
        "every": rule.every_ms,
        "timezone": rule.timezone,
        "startAt": rule.start_at,
        "endAt": rule.end_at,
        "maxRuns": rule.runs_max,
        "jitter": rule.jitter_ms,
        "missed": rule.missed,
        "missedWindow": rule.missed_window_ms,
        "overlap": rule.overlap,
        "task": task,
    }
    return {name: value for name, value in asked.items() if value is not None}


def _read_frame(raw: dict[str, Any], zone: tzinfo, faults: list[Fault]) -> ScheduleFrame:
    """The fields beside the task as far as they fit; what does not is left at its default."""
    read: dict[str, Any] = {}
    own = raw.get("timezone")
    if isinstance(own, str) and zones.is_known(own):
        zone = zones.zone_of(own)
    for name, value in raw.items():
        if name == "task":
            continue
        if name in _NAMED:
            faults.append(Fault(name, "belongs within task"))
            continue
        try:
            read[name] = _canonical(name, value, zone)
        except ValueError as error:
            forms = dates.FORMS if name in DATES else durations.FORMS
            faults.append(Fault(name, str(error), shapes.shown(value), forms))
    known = {field.encode_name: field for field in msgspec.structs.fields(ScheduleBody)}
    faults += shapes.unknown_fields("", read, known)
    read = words.spelled(ScheduleFrame, {name: value for name, value in read.items() if name in known})
    unfit = list(shapes.struct_faults(ScheduleFrame, read, ""))
    if "name" in {fault.field for fault in faults}:
        unfit = [fault for fault in unfit if fault.field != "name"]
    faults += [
        msgspec.structs.replace(fault, given=shapes.shown(raw[fault.field])) if fault.field in raw else fault
        for fault in unfit
    ]
    bad = {fault.field.split(".", 1)[0] for fault in unfit}
    return msgspec.convert({"name": "unnamed"} | {n: v for n, v in read.items() if n not in bad}, ScheduleFrame)


def _canonical(name: str, value: Any, zone: tzinfo) -> Any:
    """Dates and durations in milliseconds, whole numbers as integers. Raises `ValueError` saying what is wrong."""
    if isinstance(value, str) and name in DATES:
        return dates.instant(value, zone)
    if isinstance(value, str | float) and name in DURATIONS:
        return durations.duration_ms(value)
    return reading.whole(value)


def _read_task(
    whole: dict[str, Any],
    now: int,
    zone: tzinfo,
    by: tuple[Egress, Abilities, frozenset[str] | None],
    faults: list[Fault],
) -> tuple[Template | None, tuple[str, ...]]:
    """What the tasks are made from. `by`: what it is judged by, and which pairs of options (None: all)."""
    raw, given = whole.get("task"), "task" in whole
    if not isinstance(raw, dict):
        what = "must be an object" if given else "is required"
        faults.append(Fault("task", what, shapes.shown(raw), "an object with httpRequest or handler"))
        return None, ()
    named = raw.keys() & _NAMED.keys()
    if named and "handler" in raw:
        text = "cannot be given together with handler, which has a name and a payload itself"
        faults += [Fault(f"task.{name}", text, allowed="one of both") for name in _NAMED if name in named]
        raw, named = {name: value for name, value in raw.items() if name not in _NAMED}, set()
    raw = in_our_words(raw)
    config = raw.get("config")
    if isinstance(config, dict):
        text = "has no place in a schedule, which runs more than once; leave it out"
        faults += [Fault(f"task.config.{name}", text) for name in _ABSOLUTE if config.get(name)]
        delay = config.get("executionDelay")
        if delay not in (None, NOW.execution_delay):
            text = "has no place in a schedule: its fire times say when; leave it out"
            faults.append(Fault("task.config.executionDelay", text, shapes.shown(delay)))
        if config.get("timezone") is not None:
            text = "has no place in a schedule's task, which has no dates; the schedule has a timezone itself"
            faults.append(Fault("task.config.timezone", text, shapes.shown(config["timezone"])))
        left_out = {*_ABSOLUTE, "executionDelay", "timezone"}
        raw = {**raw, "config": {name: value for name, value in config.items() if name not in left_out}}
    try:
        egress, abilities, judged = by
        draft = validation.read(raw, now, zone, "task", egress, abilities, named=judged)
    except InvalidRequest as error:
        faults += _in_their_words(error.faults) if named else error.faults
        return None, ()
    special = draft.request is not None and is_special(draft.request, draft.config)
    template = Template(draft.request, draft.config, draft.target, draft.metadata, special, draft.handler)
    return template, draft.headers


def in_our_words(task: Any) -> Any:
    """A task of a schedule with `handler`, when it was given as `task_name` and `payload`.

    >>> in_our_words({"task_name": "curl", "payload": 1, "config": {}})
    {'config': {}, 'handler': {'name': 'curl', 'payload': 1}}
    """
    if not isinstance(task, dict) or not task.keys() & _NAMED.keys() or "handler" in task:
        return task
    rest = {name: value for name, value in task.items() if name not in _NAMED}
    return rest | {"handler": {word: task[name] for name, word in _NAMED.items() if name in task}}


def _in_their_words(faults: Iterable[Fault]) -> list[Fault]:
    """Faults of a handler, by the fields that it was given as."""
    moved = {f"task.handler.{word}": f"task.{name}" for name, word in _NAMED.items()}
    known = shapes.fields_of(NamedTemplate)
    told = []
    for fault in faults:
        ours, theirs = _moved(fault.field, moved)
        name = fault.field.removeprefix("task.")
        if fault.field == "task.httpRequest":
            text = "cannot be given together with task_name: a task makes a request or runs a handler"
            told.append(msgspec.structs.replace(fault, message=text))
        elif not ours and "." not in name and name not in known:
            told.append(shapes.unknown_field("task", name, known))
        else:
            told.append(msgspec.structs.replace(fault, field=theirs + fault.field[len(ours) :]))
    return told


def _moved(field: str, moved: Mapping[str, str]) -> tuple[str, str]:
    """What the field's path begins with, and what stands there instead."""
    return next(((ours, theirs) for ours, theirs in moved.items() if f"{field}.".startswith(f"{ours}.")), ("", ""))


def _idle_faults(raw: dict[str, Any], frame: ScheduleFrame, changed: frozenset[str] | None) -> Iterator[Fault]:
    """What is given and would change nothing, as far as it was `changed`."""
    given = {name for name, value in raw.items() if value is not None and (changed is None or name in changed)}
    if "timezone" in given and frame.every is not None and frame.cron is None:
        text = "belongs to cron: every counts how much time has passed, in any zone"
        yield Fault("timezone", text, shapes.shown(raw["timezone"]), "together with cron")
    if "missedWindow" in given and frame.missed == "skip":
        text = "has no meaning where missed is skip: no missed run is made up for"
        yield Fault("missedWindow", text, shapes.shown(raw["missedWindow"]), "with missed once or all")


def _rule_faults(rule: Rule, now: int, changed: frozenset[str] | None) -> list[Fault]:
    faults: list[Fault] = []
    if (rule.cron is None) == (rule.every_ms is None):
        text = "is required, or every in its place" if rule.cron is None else "cannot be given together with every"
        faults.append(Fault("cron", text, rule.cron, FORMS))
    timezone = rule.timezone
    try:
        zones.zone_of(timezone)
    except ValueError as error:
        faults.append(Fault("timezone", str(error), timezone, zones.FORMS))
        timezone = "UTC"
    if rule.cron is not None:
        try:
            cron(rule.cron, timezone)
        except ValueError as error:
            faults.append(Fault("cron", str(error), rule.cron, FORMS))
    judged = changed is None or "endAt" in changed
    if judged and rule.end_at is not None and rule.end_at <= max(now, rule.start_at or 0):
        text = "must lie after startAt" if rule.start_at and rule.start_at > now else "must lie in the future"
        faults.append(Fault("endAt", text, rule.end_at))
    judged = changed is None or bool(changed & TIMING)
    if not faults and judged and next_fire(rule, rule.start_at or now, now) is None:
        field = "cron" if rule.cron is not None else "every"
        text = "never fires" if rule.end_at is None else "does not fire before endAt"
        faults.append(Fault(field, text, rule.cron or rule.every_ms))
    return faults


def _name_of(zone: tzinfo) -> str:
    """The name of the server's own time zone."""
    return str(zone)
