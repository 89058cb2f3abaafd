"""From Python's values to the bodies of the API: names in camelCase, instants and durations in milliseconds."""

from base64 import b64encode
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from tasks_server.client.options import ScheduleFields, TaskFields
from tasks_server.client.other_words import meant_by
from tasks_server.client.values import BYTES

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_SECOND: Final = timedelta(seconds=1)
_IN_SECONDS: Final = ("keepAliveDuration",)
_REQUEST: Final = ("url", "method", "query", "headers", "data")
_CONFIG: Final = {
    "delay": "executionDelay",
    "at": "executeAt",
    "timezone": "timezone",
    "retry": "retry",
    "timeout": "timeout",
    "priority": "priority",
    "lane": "lane",
    "failure_callback": "failureCallback",
    "success_callback": "successCallback",
}
_METHOD: Final = "POST"
_DURATIONS: Final = frozenset(
    {
        *("executionDelay", "retryInterval", "retryMaxInterval", "repeatInterval", "timeout"),
        *("every", "jitter", "missed_window"),
    }
)
_FRACTIONAL: Final = ("retryJitter", "rate_per_second")
"""Numbers that are no times and may have a fraction."""


def millis(value: Any) -> Any:
    """Milliseconds of a datetime (since the epoch) or timedelta, rounded up so that nothing is due early; any other
    value as it is. Raises `ValueError` for a datetime without a time zone, and for a number with a fraction: that is
    meant as seconds, and would be taken for milliseconds.
    """
    if isinstance(value, float) and not value.is_integer():
        seconds = f"for seconds use timedelta(seconds={value!r}), for an instant a datetime"
        raise ValueError(f"{value!r} is not a whole number of milliseconds; {seconds}")
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError(f"{value!r} has no time zone: which instant is it?")
        value = value - _EPOCH
    return -(-value // _MILLISECOND) if isinstance(value, timedelta) else value


def duration(value: Any) -> Any:
    """Milliseconds of a timedelta; text and 0 as they are. Raises `ValueError` for any other number."""
    if isinstance(value, int | float) and not isinstance(value, bool) and value != 0:
        ways = f"timedelta(seconds={value!r}), or text with a unit such as '{value}s' or '{value}ms'"
        raise ValueError(f"{value!r} may mean seconds or milliseconds; give {ways}")
    return millis(value)


def iso(value: datetime | str | None) -> str | None:
    """A datetime as ISO 8601 in UTC, in whole milliseconds as of `millis`; any other value as it is."""
    if not isinstance(value, datetime):
        return value
    at: datetime = _EPOCH + millis(value) * _MILLISECOND
    return at.isoformat(timespec="milliseconds")


def task_body(fields: TaskFields) -> dict[str, Any]:
    """A task as it is registered. Raises `TypeError` for fields that are unknown or do not go together."""
    body = task_patch(fields)
    if ("httpRequest" in body) == ("handler" in body):
        raise TypeError("a task takes a url, an http_request or a handler: one of them")
    if "http_request" not in fields and "httpRequest" in body:
        body["httpRequest"] = {"method": _METHOD} | body["httpRequest"]
    return body


def task_patch(fields: TaskFields) -> dict[str, Any]:
    """A change of a task: what is named, and no more. Raises `TypeError` as `task_body`."""
    check_names(fields, TaskFields)
    body: dict[str, Any] = {}
    request = {name: fields[name] for name in _REQUEST if name in fields}
    if "http_request" in fields:
        if request:
            raise TypeError(f"http_request holds the whole request: put {', '.join(request)} into it")
        body["httpRequest"] = _with_bytes(fields["http_request"])
    elif request:
        body["httpRequest"] = _with_bytes(request)
    if "handler" in fields or "payload" in fields:
        named = {"name": fields["handler"]} if "handler" in fields else {}
        body["handler"] = named | ({"payload": fields["payload"]} if "payload" in fields else {})
    if "config" in fields or not _CONFIG.keys().isdisjoint(fields):
        body["config"] = _config(fields)
    if "metadata" in fields:
        body["metadata"] = fields["metadata"]
    return body


def _with_bytes(request: Any) -> Any:
    """The request with bytes as `dataBase64`, which takes the place of `data`."""
    data = request.get("data") if isinstance(request, Mapping) else None
    if not isinstance(data, BYTES):
        return request
    return {**request, "data": None, "dataBase64": b64encode(data).decode()}


def _config(fields: TaskFields) -> dict[str, Any] | None:
    """What stands in `config` and beside it."""
    short = {_CONFIG[name]: value for name, value in fields.items() if name in _CONFIG}
    whole = fields.get("config")
    if whole is None and not short:
        return None
    twice = [name for name in short if name in (whole or ())]
    if twice:
        raise TypeError(f"given twice, in config and beside it: {', '.join(twice)}")
    asked = {**(whole or {}), **short}
    if short and asked.get("executionDelay") is not None and asked.get("executeAt") is not None:
        raise TypeError("delay and at both say when the task is due: give one of them")
    return times({name: local(value, asked.get("timezone")) for name, value in asked.items()})


def local(value: Any, timezone: object) -> Any:
    """A datetime that knows no zone, but has a `timezone` beside it, as text; any other value as it is."""
    is_naive = timezone is not None and isinstance(value, datetime) and value.tzinfo is None
    return value.isoformat() if is_naive else value


def schedule_body(fields: ScheduleFields, name: str | None = None) -> dict[str, Any]:
    """A schedule as it is stored. Raises `TypeError` as `task_body`."""
    return _schedule(fields, name, task_body)


def schedule_patch(fields: ScheduleFields, name: str | None = None) -> dict[str, Any]:
    """A change of a schedule: what is named, and no more. Raises `TypeError` as `task_body`."""
    return _schedule(fields, name, task_patch)


def _schedule(fields: ScheduleFields, name: str | None, task: Any) -> dict[str, Any]:
    body = settings_body(fields, ScheduleFields)
    if name is not None:
        body["name"] = name
    if "task" in fields:
        body["task"] = task(fields["task"])
    return body


def times(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same, with instants and durations as the API counts them."""
    return {name: _seconds(value) if name in _IN_SECONDS else _time(name, value) for name, value in values.items()}


def _time(name: str, value: Any) -> Any:
    """What `millis` makes of an option; its errors name the option."""
    if name in _FRACTIONAL:
        return value
    try:
        return duration(value) if name in _DURATIONS else millis(value)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def _seconds(value: Any) -> Any:
    return -(-value // _SECOND) if isinstance(value, timedelta) else value


def settings_body(fields: Mapping[str, Any], wanted: Any) -> dict[str, Any]:
    """Fields of a typed dictionary under the names that the API has for them. Raises `TypeError` for unknown ones."""
    check_names(fields, wanted)
    zone = fields.get("timezone")
    return {camel(name): _time(name, local(value, zone)) for name, value in fields.items()}


def camel(name: str) -> str:
    """`next_fire_at` as the API has it: `nextFireAt`."""
    first, *others = name.split("_")
    return first + "".join(other.capitalize() for other in others)


def check_names(fields: Iterable[str], wanted: Any) -> None:
    """Raises `TypeError` for names that a typed dictionary does not have."""
    known = wanted.__annotations__
    unknown = [name for name in fields if name not in known]
    if unknown:
        meant = {name: near for name in unknown if (near := meant_by(name, known)) is not None}
        asked = "".join(f"; for {name}, did you mean {near}?" for name, near in meant.items())
        others = "" if len(meant) == len(unknown) else f"; there are {', '.join(known)}"
        raise TypeError(f"unknown: {', '.join(unknown)}{asked}{others}")
