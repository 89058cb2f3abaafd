"""How it is kept what the clock shows, and how what waits is put right for one that was set back, as far as all
adapters do it alike.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from tasks_server.domain import durations, limits, waits
from tasks_server.domain.attempt import EventFacts
from tasks_server.domain.schedule import put_right
from tasks_server.domain.timekeeping import CLOCK_EVENT, Timekeeping, Walk, kept, walked
from tasks_server.store.schedules import schedule_columns, schedule_of
from tasks_server.store.scheduling import ScheduleChange
from tasks_server.store.sealing import Sealer
from tasks_server.store.texts import is_newer
from tasks_server.store.timekeeping import Righted

_ENCODE: Final = msgspec.json.Encoder().encode
_DECODER: Final = msgspec.json.Decoder(Timekeeping)


class PuttingRight(ABC):
    """What is known of the clock, and the steps of putting right. How rows are read and written, the adapter says."""

    _sealer: Sealer

    @abstractmethod
    def _run(self, connection: Any, statement: str, parameters: dict[str, Any]) -> None:
        """Runs the statement of that name."""

    @abstractmethod
    def _rows(self, connection: Any, statement: str, parameters: dict[str, Any]) -> Sequence[Sequence[Any]]:
        """The rows of the statement of that name."""

    @abstractmethod
    def _pack(self, rows: Any) -> str:
        """A batch as one parameter."""

    def _keep(self, connection: Any, facts: str, now: int, seen_ms: int) -> Timekeeping:
        known = kept(timekeeping_of(facts), now, seen_ms)
        self._run(connection, "clock_write", {"facts": _ENCODE(known).decode()})
        return known

    def _step(self, connection: Any, facts: str, now: int, count_max: int) -> Righted:
        known = timekeeping_of(facts)
        walk = after = known.walk
        if walk is None:
            return Righted()
        if walk.over == "schedules":
            count, after = self._schedules(connection, walk, now, count_max)
            righted = Righted(schedules=count, more=True)
        else:
            shorter, after = self._waits(connection, walk, now, count_max)
            soonest = min((due_at for _, due_at in shorter), default=None)
            righted = Righted(waits=len(shorter), due_at=soonest, more=after is not None)
        further = walked(known, after)
        self._run(connection, "clock_write", {"facts": _ENCODE(further).decode()})
        return righted

    def _schedules(self, connection: Any, walk: Walk, now: int, count_max: int) -> tuple[int, Walk]:
        """How many schedules were put right, and where to go on."""
        rows = self._rows(connection, "schedules_walk", {"seq": walk.ref, "count_max": count_max})
        count = 0
        for seq, facts in rows:
            if is_newer(facts):
                continue  # left to who can read it
            found = schedule_of(facts, "", "", "")
            try:
                after = found if found.lost else put_right(found, now)
            except ValueError:
                continue  # what cannot be read has no turn before its owner puts it anew
            if after is not found:
                columns = schedule_columns(self._sealer, ScheduleChange(after), seq=seq)
                self._rows(connection, "schedule_change", columns)
                count += 1
        if len(rows) == count_max:
            return count, Walk("schedules", rows[-1][0])
        self._run(connection, "bulks_ahead", {"now": now, "ahead": now + limits.CLOCK_SET_MS})
        return count, Walk("tasks", -1, now)

    def _waits(
        self, connection: Any, walk: Walk, now: int, count_max: int
    ) -> tuple[list[tuple[int, int]], Walk | None]:
        """The tasks whose waits were shortened, with when they are due; and where to go on (None: that was all)."""
        names = {"due_at": walk.due_at, "seq": walk.ref, "count_max": count_max}
        rows = self._rows(connection, "waits_find", names)
        shorter, events = [], []
        for seq, due_at, remaining_ms, attempt in rows:
            sooner = waits.shortened(due_at, remaining_ms, now)
            if sooner is not None:
                shorter.append((seq, sooner))
                why = f"the clock was set back by {durations.shown(due_at - sooner)} at least"
                told = _ENCODE(EventFacts(attempt, due_at)).decode()
                events.append((seq, now, CLOCK_EVENT, why, told))
        if shorter:
            self._run(connection, "waits_shorten", {"rows": self._pack(shorter)})
            self._run(connection, "events_insert", {"rows": self._pack(events)})
        return shorter, Walk("tasks", rows[-1][0], rows[-1][1]) if len(rows) == count_max else None


def timekeeping_of(facts: str) -> Timekeeping:
    """What is known, from its stored form; nothing, when that is damaged."""
    try:
        return _DECODER.decode(facts)
    except msgspec.MsgspecError:
        return Timekeeping()


def walk_anew() -> str:
    """What is stored of the clock where data came from elsewhere: all of it is to be put right."""
    return _ENCODE(Timekeeping(walk=Walk())).decode()
