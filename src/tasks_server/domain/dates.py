"""Instants as people write them: milliseconds since the epoch, ISO 8601, RFC 1123 and the like; with a time zone in
brackets behind them, if they have one (RFC 9557): `2026-12-01T09:00:00[Europe/Berlin]`.

Text that could mean two instants is refused rather than guessed: digits alone, dates without a day or a year,
3/4/2030, names of time zones other than UTC. Whether an instant suits a field is for `domain.validation`.
"""

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Final

from dateutil import parser

from tasks_server.domain import zones

DATE_MAX_MS: Final = 253_402_300_799_999
"""The last millisecond of the year 9999, in UTC."""

FORMS: Final = (
    "milliseconds since the epoch, ISO 8601, RFC 1123, or a form such as Dec 12 2012 12:12:12 AM +07:00; a zone may "
    "follow in brackets: 2030-01-31T09:00:00[Europe/Berlin]"
)
_TEXT_LENGTH_MAX: Final = 64
_SUFFIX_LENGTH_MAX: Final = 128
LENGTH_MAX: Final = _TEXT_LENGTH_MAX + _SUFFIX_LENGTH_MAX
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_DIGITS: Final = re.compile(r"[-+]?[0-9\s.,_]+")
_SUFFIXED: Final = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])+)")
_TAG: Final = re.compile(r"\[(!?)([^\[\]]*)\]")
_OFFSET: Final = re.compile(r"[+-][0-9]{2}:[0-9]{2}")
_CALENDARS: Final = ("u-ca=iso8601", "u-ca=gregory")
_UTC_NAMES: Final = frozenset({"UTC", "GMT", "Z"})
# A part that the text leaves out is filled in from the default: two defaults without a part in common show it.
_DEFAULTS: Final = (datetime(2000, 1, 1), datetime(2001, 2, 2))


def instant(value: int | float | str, zone: tzinfo = UTC) -> int:
    """Milliseconds since the epoch; text without a zone counts in `zone`, where clocks are changed as `zones` has it.
    Raises `ValueError` saying what is wrong.

    >>> instant("2012-12-12T00:12:12+07:00") == instant("Dec 12 2012 12:12:12 AM +07:00") == 1355245932000
    True
    >>> instant("Wed, 21 Oct 2015 07:28:00 GMT"), instant("2015-10-21T09:28[Europe/Berlin]")
    (1445412480000, 1445412480000)
    """
    if isinstance(value, int | float):
        return int(value)
    text = value.strip()
    suffixed = _SUFFIXED.fullmatch(text)
    named = None
    if suffixed is not None and len(suffixed[2]) <= _SUFFIX_LENGTH_MAX:
        text = suffixed[1].rstrip()
        named = _named(suffixed[2])
    if not text or len(text) > _TEXT_LENGTH_MAX:
        raise ValueError("is not a date")
    if _DIGITS.fullmatch(text):
        raise ValueError("a number in quotes is ambiguous; give milliseconds without quotes, or a date")
    moment = _iso(text) or _loose(text)
    try:
        if moment.tzinfo is None:
            moment = zones.placed(moment, named or zone)
        elif named is not None and not text.upper().endswith("Z"):  # Z says nothing of the local offset (RFC 9557)
            _check_offset(moment, named)
        return (moment - _EPOCH) // _MILLISECOND
    except OverflowError:  # a zone at the very edge of the calendar
        raise ValueError("is not a date that this calendar holds") from None


def _named(suffix: str) -> tzinfo | None:
    """The zone that the tags behind a date name (RFC 9557, section 4.1). Tags that must be understood, and are not, are
    refused; others are passed over.
    """
    found = None
    for place, (critical, tag) in enumerate(_TAG.findall(suffix)):
        if "=" in tag:
            if critical and tag not in _CALENDARS:
                raise ValueError(f"asks for {tag[:32]}, which is not known here")
        elif place or not tag:
            raise ValueError("may have one time zone in brackets, and it comes first")
        elif _OFFSET.fullmatch(tag):
            found = datetime.fromisoformat(f"2000-01-01T00:00{tag}").tzinfo
        else:
            found = _zone_of(tag)
    return found


def _zone_of(name: str) -> tzinfo:
    try:
        return zones.zone_of(name)
    except ValueError as error:
        raise ValueError(f"names {name[:64]} in brackets, which {error}") from None


def _check_offset(moment: datetime, zone: tzinfo) -> None:
    """Raises `ValueError` where a date has another offset than its zone has then."""
    there = moment.astimezone(zone)
    if there.utcoffset() != moment.utcoffset():
        told = there.isoformat(timespec="seconds")
        raise ValueError(f"has an offset that is not its zone's: there it is {told} then; leave one of them out")


def _iso(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def _loose(text: str) -> datetime:
    def named(name: str | None, offset: int | None) -> tzinfo | None:
        if offset is not None and (name is None or name.upper() in _UTC_NAMES or offset != 0):
            return timezone(timedelta(seconds=offset))
        if name is None:
            return None
        if name.upper() in _UTC_NAMES:
            return UTC
        meant = zones.suggested(name) or "Europe/Berlin"
        raise ValueError(f"names the time zone {name[:16]}; give its offset, such as +07:00, or a zone: [{meant}]")

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
