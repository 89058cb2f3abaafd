"""Durations as people write them: milliseconds as a number, or text with units. No bounds here; fields have those."""

import re
from typing import Final

from msgspec import Meta

from tasks_server.domain import limits

_UNITS: Final = {
    "ms": 1,
    "s": limits.SECOND_MS,
    "m": limits.MINUTE_MS,
    "h": limits.HOUR_MS,
    "d": limits.DAY_MS,
    "w": 7 * limits.DAY_MS,
}
_SHOWN: Final = {
    "d": limits.DAY_MS,
    "h": limits.HOUR_MS,
    "min": limits.MINUTE_MS,
    "s": limits.SECOND_MS,
    "ms": 1,
}
_PART: Final = re.compile(
    r"([0-9]{1,15})(?:\.([0-9]{1,15}))?\s*"
    r"(ms|milliseconds?|s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?|d|days?|w|weeks?)(?![a-z])\s*"
)
_TEXT_LENGTH_MAX: Final = 64

FORMS: Final = "milliseconds as a number, or text with units ms, s, m, h, d, w such as 90s, 1.5h, 3d5h"


def duration_ms(value: int | float | str) -> int:
    """Whole milliseconds; what is less than one is cut off. Raises `ValueError` saying what is wrong.

    >>> duration_ms("90s"), duration_ms("3d5h") // 3_600_000, duration_ms("1.5s"), duration_ms(7.9)
    (90000, 77, 1500, 7)
    >>> duration_ms("15 min"), duration_ms("2 hours 30 minutes"), duration_ms(shown(61_000))
    (900000, 9000000, 61000)
    """
    if isinstance(value, int | float):
        return int(value)
    text = value.strip().lower()
    if text.isdigit():
        raise ValueError("a number in quotes is ambiguous; give milliseconds without quotes, or name the unit")
    if not text or len(text) > _TEXT_LENGTH_MAX:
        raise ValueError("is not a duration")
    total = position = 0
    while position < len(text):
        part = _PART.match(text, position)
        if part is None:
            raise ValueError("is not a duration")
        whole, fraction, word = part.groups()
        unit = "ms" if word.startswith(("ms", "milli")) else word[0]
        total += int(whole) * _UNITS[unit]
        if fraction:
            total += int(fraction) * _UNITS[unit] // 10 ** len(fraction)
        position = part.end()
    return total


def bounds(low: int, high: int) -> Meta:
    """What a field takes that holds a duration, in milliseconds, and the words for it: text is read beforehand.

    >>> bounds(100, 60_000).extra["words"]
    'milliseconds from 100 to 60000 (100 ms to 1 min), or text with units such as 30s'
    """
    words = f"milliseconds from {low} to {high} ({shown(low)} to {shown(high)}), or text with units such as 30s"
    return Meta(ge=low, le=high, extra={"words": words})


def shown(ms: int) -> str:
    """A duration for people, by its two largest units.

    >>> shown(0), shown(1_499), shown(61_000), shown(3 * 86_400_000 + 5 * 3_600_000 + 7)
    ('0 ms', '1 s 499 ms', '1 min 1 s', '3 d 5 h')
    """
    parts: list[str] = []
    for unit, size in _SHOWN.items():
        count, ms = divmod(ms, size)
        if count or parts:
            parts.append(f"{count} {unit}" if count else "")
    return " ".join(part for part in parts[:2] if part) or "0 ms"
