"""Time zones by their IANA names, and which instant it is when a clock on a wall there shows a time.

One rule for schedules and dates, as Debian's cron has it for times of day: a wall time that does not exist, because
clocks are put forward over it, is the next valid minute; one that occurs twice is the first of both.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from difflib import get_close_matches
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

FORMS: Final = "a name of the IANA database, such as Europe/Berlin"
_EPOCH: Final = datetime(1970, 1, 1)
_SECOND: Final = timedelta(seconds=1)
_ABBREVIATIONS: Final = {
    "cest": "Europe/Berlin",
    "mez": "Europe/Berlin",
    "mesz": "Europe/Berlin",
    "bst": "Europe/London",
    "west": "Europe/Lisbon",
    "eest": "Europe/Helsinki",
    "msk": "Europe/Moscow",
    "est": "America/New_York",
    "edt": "America/New_York",
    "et": "America/New_York",
    "cst": "America/Chicago",
    "cdt": "America/Chicago",
    "ct": "America/Chicago",
    "mst": "America/Denver",
    "mdt": "America/Denver",
    "pst": "America/Los_Angeles",
    "pdt": "America/Los_Angeles",
    "pt": "America/Los_Angeles",
    "brt": "America/Sao_Paulo",
    "ist": "Asia/Kolkata",
    "sgt": "Asia/Singapore",
    "hkt": "Asia/Hong_Kong",
    "jst": "Asia/Tokyo",
    "kst": "Asia/Seoul",
    "aest": "Australia/Sydney",
    "aedt": "Australia/Sydney",
    "awst": "Australia/Perth",
    "nzst": "Pacific/Auckland",
    "nzdt": "Pacific/Auckland",
}
"""What clocks show in the zone that most people mean by it. Several zones share some of these."""


@lru_cache(maxsize=1_024)
def zone_of(name: str) -> tzinfo:
    """The IANA time zone of this name. Raises `ValueError` that suggests the one that was probably meant."""
    if name == "UTC":
        return UTC
    if name in _names():
        return ZoneInfo(name)
    meant = suggested(name)
    raise ValueError("is not a time zone of the IANA database" + (f"; did you mean {meant}?" if meant else ""))


def is_known(name: str) -> bool:
    """Whether this machine's database has the zone."""
    return name == "UTC" or name in _names()


def suggested(name: str) -> str | None:
    """The zone that is probably meant: by what its clocks show, by its city, by its spelling.

    >>> suggested("CEST"), suggested("new york"), suggested("europe/berln"), suggested("Mars/Olympus")
    ('Europe/Berlin', 'America/New_York', 'Europe/Berlin', None)
    """
    lowered = name.strip().lower().replace(" ", "_")
    if lowered in _ABBREVIATIONS:
        return _ABBREVIATIONS[lowered]
    known = {each.lower(): each for each in sorted(_names())}
    cities = dict(_cities(known))
    if lowered in cities:
        return cities[lowered]
    near = get_close_matches(lowered, known, n=1) or get_close_matches(lowered, cities, n=1, cutoff=0.8)
    return (known | cities)[near[0]] if near else None


def _cities(known: dict[str, str]) -> Iterator[tuple[str, str]]:
    for lowered, name in known.items():
        region, _, city = lowered.rpartition("/")
        if region and region not in ("etc", "us", "systemv"):
            yield city, name


@lru_cache(maxsize=1)
def _names() -> frozenset[str]:
    return frozenset(available_timezones() - {"Factory", "localtime", "posixrules"})


def offset(zone: tzinfo, at: int) -> int:
    """What the zone's clock is ahead of UTC at an instant; all in seconds."""
    if zone is UTC:
        return 0
    return _seconds(datetime.fromtimestamp(at, zone).utcoffset())


def border(zone: tzinfo, before: int, at: int, ahead: int) -> int:
    """The first instant after `before` at which the clock is no longer `ahead` by that much, as it still is at
    `before`, and is not at `at`.
    """
    while at - before > 1:
        middle = (before + at) // 2
        if offset(zone, middle) == ahead:
            before = middle
        else:
            at = middle
    return at


def instant(zone: tzinfo, wall: int) -> tuple[int, bool]:
    """The first instant at which the clock shows this wall time (seconds, counted as if there were no zones), and
    whether it ever does; where it never does, the next whole minute that it shows.

    >>> berlin = ZoneInfo("Europe/Berlin")
    >>> wall = (datetime(2025, 3, 30, 2, 30) - _EPOCH) // _SECOND  # clocks went from 2:00 to 3:00
    >>> at, exists = instant(berlin, wall)
    >>> datetime.fromtimestamp(at, berlin).isoformat(), exists
    ('2025-03-30T03:00:00+02:00', False)
    """
    moment = (_EPOCH + timedelta(seconds=wall)).replace(tzinfo=zone)
    first, second = _seconds(moment.utcoffset()), _seconds(moment.replace(fold=1).utcoffset())
    if first >= second:  # once, or twice
        return wall - first, True
    end = border(zone, wall - second, wall - first, first)
    return end + -(end + offset(zone, end)) % 60, False


def placed(moment: datetime, zone: tzinfo) -> datetime:
    """The instant of a wall time in a zone, in UTC. Raises `OverflowError` at the edges of the calendar."""
    wall, rest = divmod(moment - _EPOCH, _SECOND)
    at, exists = instant(zone, wall)
    return (_EPOCH + timedelta(seconds=at) + (rest if exists else timedelta())).replace(tzinfo=UTC)


def _seconds(ahead: timedelta | None) -> int:
    assert ahead is not None
    return ahead // _SECOND
