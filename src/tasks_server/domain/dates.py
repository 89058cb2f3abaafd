"""Instants as people write them: milliseconds since the epoch, ISO 8601, RFC 1123 and the like.

Text that could mean two instants is refused rather than guessed: digits alone, dates without a day or a year,
3/4/2030, names of time zones other than UTC. Whether an instant suits a field is for `domain.validation`.
"""

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Final

from dateutil import parser

DATE_MAX_MS: Final = 253_402_300_799_999
"""The last millisecond of the year 9999, in UTC."""

FORMS: Final = "milliseconds since the epoch, ISO 8601, RFC 1123, or a form such as Dec 12 2012 12:12:12 AM +07:00"
_TEXT_LENGTH_MAX: Final = 64
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_DIGITS: Final = re.compile(r"[-+]?[0-9\s.,_]+")
_UTC_NAMES: Final = frozenset({"UTC", "GMT", "Z"})
# A part that the text leaves out is filled in from the default: two defaults without a part in common show it.
_DEFAULTS: Final = (datetime(2000, 1, 1), datetime(2001, 2, 2))


def instant(value: int | float | str, zone: tzinfo = UTC) -> int:
    """Milliseconds since the epoch; text without a zone counts in `zone`. Raises `ValueError` saying what is wrong.

    >>> instant("2012-12-12T00:12:12+07:00") == instant("Dec 12 2012 12:12:12 AM +07:00") == 1355245932000
    True
    >>> instant("Wed, 21 Oct 2015 07:28:00 GMT")
    1445412480000
    """
    if isinstance(value, int | float):
        return int(value)
    text = value.strip()
    if not text or len(text) > _TEXT_LENGTH_MAX:
        raise ValueError("is not a date")
    if _DIGITS.fullmatch(text):
        raise ValueError("a number in quotes is ambiguous; give milliseconds without quotes, or a date")
    moment = _iso(text, zone) or _loose(text, zone)
    try:
        return (moment - _EPOCH) // _MILLISECOND
    except OverflowError:  # a zone at the very edge of the calendar
        raise ValueError("is not a date that this calendar holds") from None


def _iso(text: str, zone: tzinfo) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=zone)


def _loose(text: str, zone: tzinfo) -> datetime:
    def named(name: str | None, offset: int | None) -> tzinfo:
        if offset is not None and (name is None or name.upper() in _UTC_NAMES or offset != 0):
            return timezone(timedelta(seconds=offset))
        if name is None:
            return zone
        if name.upper() in _UTC_NAMES:
            return UTC
        raise ValueError(f"names the time zone {name[:16]}; give its offset, such as +07:00")

    try:
        readings = {
            parser.parse(text, default=default, dayfirst=day_first, tzinfos=named)
            for default in _DEFAULTS
            for day_first in (False, True)
        }
    except ValueError as error:
        message = str(error)
        raise ValueError(message if message.startswith("names the time zone") else "is not a date") from None
    except Exception:  # the parser lets other types through on odd input; whatever it is, it is no date
        raise ValueError("is not a date") from None
    if len(readings) != 1:
        raise ValueError("is ambiguous; give day, month (by name) and year, or ISO 8601")
    return readings.pop()


def shown(at: int) -> str:
    """An instant for people, in UTC.

    >>> shown(1_355_245_932_007)
    '2012-12-11T17:12:12.007Z'
    """
    moment = _EPOCH + timedelta(milliseconds=min(at, DATE_MAX_MS))
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
