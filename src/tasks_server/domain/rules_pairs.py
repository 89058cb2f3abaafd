"""Options of which one would be ignored beside the other: they are refused together, and an edit of the one takes the
place of the other. So nothing that is given has no effect.
"""

from collections.abc import Iterator
from typing import Any, Final

from msgspec import UNSET

from tasks_server.domain.defaults import NOW
from tasks_server.domain.errors import Fault
from tasks_server.domain.request import TaskConfig
from tasks_server.domain.task import Task

_RETRY_WAITS: Final = ("retryInterval", "retryExponential", "retryBackoff", "retryMaxInterval", "retryJitter")
_DATES: Final = {
    "execute_at": "executeAt",
    "retry_at": "retryAt",
    "repeat_at": "repeatAt",
    "timeout_at": "timeoutAt",
    "expire_at": "expireAt",
}
DATE_NAMES: Final = frozenset(_DATES.values())
"""The dates of a configuration, as they are named there."""
_REPEAT_WAITS: Final = ("repeatInterval", "repeatExponential")
_IN_PLACE_OF: Final = (
    ("config", "executionDelay", ("executeAt", "executeImmediately")),
    ("config", "executeAt", ("executionDelay",)),
    ("config", "retry", ("retryAt",)),
    ("config", "retryAt", ("retry", *_RETRY_WAITS)),
    ("config", "retryExponential", ("retryBackoff",)),
    ("config", "retryBackoff", ("retryExponential",)),
    ("config", "repeat", ("repeatAt",)),
    ("config", "repeatAt", ("repeat", *_REPEAT_WAITS)),
    ("config", "dnsServer", ("dohUrl", "dohInsecure")),
    ("config", "dohUrl", ("dnsServer",)),
    ("httpRequest", "data", ("dataBase64",)),
    ("httpRequest", "dataBase64", ("data",)),
)
"""Where a field stands, and what gives way to it when an edit names it."""


def make_room(before: dict[str, Any], patch: object) -> None:
    """Takes out of a task, as it would be asked for, what gives way to what a merge patch names in its place."""
    if not isinstance(patch, dict):
        return
    for place, name, others in _IN_PLACE_OF:
        named, stands = patch.get(place), before.get(place)
        if isinstance(named, dict) and isinstance(stands, dict) and named.get(name) is not None:
            for other in others:
                stands.pop(other, None)
    make_room_of_callbacks(before.get("config"), patch.get("config"))


def make_room_of_callbacks(before: object, patch: object) -> None:
    """A callback calls a URL or a handler."""
    for name in ("failureCallback", "successCallback"):
        named = patch.get(name) if isinstance(patch, dict) else None
        stands = before.get(name) if isinstance(before, dict) else None
        if isinstance(named, dict) and isinstance(stands, dict):
            gives_way = ["handler"] if named.get("url") is not None else []
            gives_way += ["url", "method", "headers"] if named.get("handler") is not None else []
            for other in gives_way:
                stands.pop(other, None)


def edit_faults(patch: dict[str, Any], config: TaskConfig, task: Task) -> Iterator[Fault]:
    """What a merge patch names that would change nothing of the task as it stands. `config`: before the edit."""
    asked = patch.get("config")
    if not isinstance(asked, dict):
        return
    named = {name for name, value in asked.items() if value is not None}
    if "executeImmediately" in named and asked["executeImmediately"] is True and "executeAt" not in named:
        text = "is about an executeAt that is past, and changes nothing by itself; POST …/execute runs the task now"
        yield Fault("config.executeImmediately", text, True, "together with executeAt")
    if "timeoutAt" in named and task.attempt:
        text = f"is about the first attempt; {task.attempt} of them began already"
        yield Fault("config.timeoutAt", text, allowed="timeout, which holds for each attempt")
    if "retryAt" in named and task.failures:
        text = "is one retry after the first failure, and the task has failed already"
        yield Fault("config.retryAt", text, allowed="executeAt, which moves the next attempt")
    if "repeatAt" in named and task.repeats:
        text = "is one repeat after the first success, and the task has been repeated already"
        yield Fault("config.repeatAt", text, allowed="executeAt, which moves the next attempt")
    has_dates = any(getattr(config, name) is not None for name in _DATES)
    if "timezone" in named and has_dates and not named & DATE_NAMES:
        text = "moves no date by itself: it says where those without a zone count that are given with it"
        yield Fault("config.timezone", text, asked["timezone"], "together with the date")


def judge_pairs(config: TaskConfig, named: frozenset[str] | None, faults: list[Fault]) -> None:
    """Judges what was given together, as far as an edit `named` it (None: all). A value that is the default says
    nothing.
    """
    found: list[Fault] = []
    _judge(config, found)
    if found:
        faults += [fault for fault in found if named is None or fault.field.removeprefix("config.") in named]


def _judge(config: TaskConfig, faults: list[Fault]) -> None:
    if config.execute_at is not None and config.execution_delay != NOW.execution_delay:
        text = "cannot be given together with executeAt: both say when the task is due"
        faults.append(Fault("config.executionDelay", text, config.execution_delay, "one of both"))
    if config.execute_immediately and config.execute_at is None and config.execution_delay != NOW.execution_delay:
        text = "is about an executeAt that is past; with an executionDelay it has no meaning"
        faults.append(Fault("config.executeImmediately", text, True))
    if config.retry_at is not None:
        _judge_retry_at(config, faults)
    elif config.retry_backoff is not None and config.retry_exponential is not UNSET:
        _judge_growth(config.retry_backoff, config.retry_exponential, faults)
    if config.repeat_at is not None:
        _judge_repeat_at(config, faults)
    if not config.location:
        if config.redirect_attempts not in (NOW.redirect_attempts, 0):
            text = "has no meaning where location is false: no redirect is followed"
            faults.append(Fault("config.redirectAttempts", text, config.redirect_attempts))
        if config.proto_redirect is not None:
            text = "has no meaning where location is false: no redirect is followed"
            faults.append(Fault("config.protoRedirect", text, config.proto_redirect))


def _judge_retry_at(config: TaskConfig, faults: list[Fault]) -> None:
    given = {
        "retryInterval": config.retry_interval is not UNSET,
        "retryExponential": config.retry_exponential is not UNSET,
        "retryBackoff": config.retry_backoff is not None,
        "retryMaxInterval": config.retry_max_interval is not UNSET,
        "retryJitter": config.retry_jitter is not None,
    }
    text = "cannot be given together with retryAt, which is one retry at its time"
    if config.retry is not UNSET and config.retry != 1:
        faults.append(Fault("config.retry", text, config.retry, "one of both"))
    faults += [Fault(f"config.{name}", text, allowed="one of both") for name, is_given in given.items() if is_given]


def _judge_repeat_at(config: TaskConfig, faults: list[Fault]) -> None:
    given = {
        "repeat": config.repeat not in (NOW.repeat, 1),
        "repeatInterval": config.repeat_interval != NOW.repeat_interval,
        "repeatExponential": config.repeat_exponential != NOW.repeat_exponential,
    }
    text = "cannot be given together with repeatAt, which is one repeat at its time"
    faults += [Fault(f"config.{name}", text, allowed="one of both") for name, is_given in given.items() if is_given]


def _judge_growth(backoff: str, exponential: bool, faults: list[Fault]) -> None:
    if exponential != (backoff != "fixed"):
        told = "true" if exponential else "false"
        text = f"is {told}, but retryBackoff is {backoff}, which says otherwise; give one of them"
        faults.append(Fault("config.retryExponential", text, exponential, "one of both"))
