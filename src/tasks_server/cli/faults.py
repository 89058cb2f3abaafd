"""Faults of what the API would take, told in the words of the command line: options in place of the fields of JSON, and
the forms that a value may have there.
"""

import re
from collections.abc import Callable
from typing import Any, Final

import msgspec

from tasks_server.domain import dates, durations
from tasks_server.domain.errors import Fault, InvalidRequest

_OPTIONS: Final = {
    "executionDelay": "--delay",
    "executeAt": "--at",
    "retryInterval": "--retry-interval",
    "retryBackoff": "--retry-backoff",
    "expireAt": "--expire-at",
    "startAt": "--start-at",
    "endAt": "--end-at",
    "maxRuns": "--max-runs",
    "missedWindow": "--missed-window",
    "maxConcurrent": "--max-concurrent",
    "ratePerSecond": "--rate",
    "statusCode": "--status-code",
}
"""Fields that messages about others name, and their options."""
_FIELDS: Final = re.compile(rf"\b({'|'.join(_OPTIONS)})\b")
_PAST: Final = "executeImmediately: true accepts it and runs the task at once"
_BOUNDS: Final = re.compile(r"milliseconds from \d+ to \d+ \(([^)]*)\), or text with units such as 30s")
_DIGITS: Final = re.compile(r"[-+]?[0-9.,]+")
_DURATION: Final = "a number with a unit: 500ms, 90s, 5m, 1.5h, 3d5h"
_DATE: Final = "a date: 2030-01-31T09:00:00Z, or 2030-01-31T09:00:00[Europe/Berlin]"


def in_options(error: InvalidRequest, option_of: Callable[[str], str]) -> InvalidRequest:
    """The same error by the options that brought its fields."""
    return InvalidRequest([_told(fault, option_of(fault.field)) for fault in error.faults])


def _told(fault: Fault, option: str) -> Fault:
    message, allowed = fault.message, fault.allowed
    is_number = isinstance(fault.given, str) and _DIGITS.fullmatch(fault.given) is not None
    if allowed == durations.FORMS:
        message = f"needs a unit, such as {fault.given}s" if is_number else message
        allowed = _DURATION
    elif allowed == dates.FORMS:
        message = "is a number, and no date" if is_number else message
        allowed = _DATE
    message = message.replace(_PAST, "leave the option out to run the task at once")
    return msgspec.structs.replace(fault, field=option, message=_worded(message), allowed=_worded(allowed))


def _worded(text: Any) -> Any:
    """A text with the names of options in place of those of fields.

    >>> _worded("cannot be given together with executeAt"), _worded(["a", "b"])
    ('cannot be given together with --at', ['a', 'b'])
    """
    if not isinstance(text, str):
        return text
    bounded = _BOUNDS.sub(r"\1, with its unit", text)
    return _FIELDS.sub(lambda found: _OPTIONS[found[1]], bounded)
