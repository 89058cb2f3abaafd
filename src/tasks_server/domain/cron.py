"""When a cron expression fires in a time zone. The library `cronsim` finds matching wall times; which instants they
are, where clocks are put forward or back, is decided here.

Two rules, as Debian's cron has them. A time of day (neither the minute nor the hour begins with `*`): a wall time that
does not exist runs at the next valid minute, once; one that occurs twice runs the first time only. An interval (the
minute or the hour begins with `*`): it follows the clock as it goes, through both passes of a repeated hour.
"""

from copy import copy
from datetime import datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Final

from cronsim import CronSim, CronSimError

from tasks_server.domain import limits, zones
from tasks_server.domain.stored import unreadable

NAMES: Final = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
FORMS: Final = "5 fields (minute hour day month weekday), 6 with seconds first, or " + ", ".join(NAMES)
_EPOCH: Final = datetime(1970, 1, 1)
_SECOND: Final = timedelta(seconds=1)
_DAY: Final = 86_400
_WINDOW: Final = 3 * _DAY
"""No clock is put forward or back by so much: matches come in order of time from one such span to the next."""
_FIELDS: Final = ("second", "minute", "hour", "day of the month", "month", "day of the week")


def rule_told(expression: str | None, zone: str) -> str | None:
    """What is told of a stored rule that is no longer understood, and how to mend it; None: it is."""
    if not zones.is_known(zone):
        why = f"this machine's time zone database has no {zone[: limits.NAME_LENGTH_MAX]}"
        mend = "give it another timezone, or update the database (tzdata), start the server anew and resume it"
        return unreadable("the schedule's time zone", why, mend)
    try:
        if expression is not None:
            cron(expression, zone)
    except ValueError as error:
        return unreadable("the schedule's cron expression", f"it {error}", "give it another cron")
    return None


@lru_cache(maxsize=4_096)
def cron(expression: str, zone: str) -> "Cron":
    """The expression in the zone of this name. Raises `ValueError` saying what is wrong."""
    return Cron(expression, zones.zone_of(zone))


class Cron:
    """An expression in a zone; it may be asked from several threads."""

    def __init__(self, expression: str, zone: tzinfo) -> None:
        text = expression.strip()
        if text.startswith("@"):
            name = text.lower()
            if name not in NAMES:
                raise ValueError(f"has a name that is not known; there are {', '.join(NAMES)}")
            text = NAMES[name]
        self._matcher = _parse(text)
        minute, hour = text.split()[-5:-3]
        self._times_of_day = not minute.startswith("*") and not hour.startswith("*")
        self._zone = zone

    def after(self, at: int) -> int | None:
        """The first fire time later than `at`, both in ms since the epoch; None when none comes in 50 years.

        >>> Cron("30 2 * * *", zones.zone_of("Europe/Berlin")).after(1_743_289_200_000)  # 2025-03-30 00:00 (+01:00)
        1743296400000
        """
        start = at // 1_000
        try:
            found = self._time_of_day(start) if self._times_of_day else self._interval(start)
        except (OverflowError, ValueError):  # beyond the calendar
            return None
        return None if found is None else found * 1_000

    def _time_of_day(self, start: int) -> int | None:
        """The first match whose instant comes after `start`: wall times lead to instants in the same order."""
        wall = self._match(start + self._offset(start))
        while wall is not None:
            found, _ = zones.instant(self._zone, wall)
            if found > start:
                return found
            wall = self._match(wall)
        return None

    def _interval(self, start: int) -> int | None:
        """The first instant after `start` at which the clock shows a match; from one change of the offset to the next
        the clock simply goes on.
        """
        offset = self._offset(start)
        while True:
            wall = self._match(start + offset)
            if wall is None:
                return None
            found = wall - offset
            limit = min(found, start + _WINDOW)
            change = self._change(start, limit, offset)
            if change is not None:
                start, offset = change - 1, self._offset(change)
            elif found == limit:
                return found
            else:  # nothing matches until close to it
                start = max(limit, found - _WINDOW)
                offset = self._offset(start)

    def _match(self, wall: int) -> int | None:
        """The first matching wall time later than this one; both in seconds, counted as if there were no zones."""
        matcher = copy(self._matcher)
        matcher.dt = _EPOCH + timedelta(seconds=wall)
        try:
            return (next(matcher) - _EPOCH) // _SECOND
        except StopIteration:
            return None

    def _offset(self, at: int) -> int:
        return zones.offset(self._zone, at)

    def _change(self, start: int, limit: int, offset: int) -> int | None:
        """The first instant after `start`, not after `limit`, with another offset than this one."""
        before = start
        while before < limit:
            at = min(before + _DAY, limit)
            if self._offset(at) != offset:
                return zones.border(self._zone, before, at, offset)
            before = at
        return None


def _parse(text: str) -> CronSim:
    """Raises `ValueError` saying what is wrong."""
    fields = text.split()
    if len(fields) not in (5, 6):
        raise ValueError(f"takes 5 fields, or 6 with seconds first; these are {len(fields)}")
    if len(text) > limits.CRON_LENGTH_MAX or not text.isascii():
        raise ValueError("is not a cron expression")
    try:
        return CronSim(" ".join(fields), _EPOCH)
    except CronSimError as error:
        name = str(error).removeprefix("Bad ").replace("-", " ").replace("day of month", "day of the month")
        name = name.replace("day of week", "day of the week")
        at = _FIELDS.index(name) if name in _FIELDS else -1
        given = fields[at - 6 + len(fields)] if at >= 6 - len(fields) else text
        raise ValueError(f"has {given} for the {name}, which does not fit") from None
    except Exception:  # odd input that the library did not think of; whatever it is, it is no expression
        raise ValueError("is not a cron expression") from None
