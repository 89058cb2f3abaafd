"""Which groups have available tasks, and where in the index each begins: seen with each look or, when that has become
slow, remembered and asked for by name.

While some session elsewhere in the database holds an old snapshot, nothing that was claimed since can be removed from
the index of available tasks, and whoever walks it from its beginning walks over all of that. A claim must not: a
million dead entries cost half a second. So the whole index is seen only as often as takes a small share of the time;
in between, known groups are asked for from where they began the last time, and new ones are found by the new tasks.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from tasks_server.clock import Clock
from tasks_server.domain import limits
from tasks_server.store.ports import Group, Line, Look
from tasks_server.store.postgres.link import Connection, one
from tasks_server.store.postgres.rows import pack
from tasks_server.store.postgres.statements import sql
from tasks_server.store.rooms import Spot, lines_cut

Place = tuple[int, int]
"""A due_at and a handle: where in its group's order a task stands."""
FIRST: Final[Place] = (0, 0)
_SLOW_SECONDS: Final = 0.005
_SHARE: Final = 20
"""Seeing everything may take one part of so many of the time."""
_REMEMBERED_MAX: Final = 4_096
_MARGIN_MS: Final = 200
"""A task may be committed this much later than its due time says, and still be seen by a look that does not see all."""
_NEW_SECONDS: Final = 0.2
"""How long ago the last task that counts as known must have had its number drawn: others may be committed after it."""
_LOOK_BACK: Final = 10_000
_FROM_THE_FIRST: Final = (limits.URGENCY_FORCED - 1, "")


class Seen(msgspec.Struct):
    """The groups that one look shows, and where the next one goes on."""

    groups: list[tuple[Group, int]]
    """Each with the due time of its first task."""
    limited: set[int] = set()
    """The lanes of these groups that have limits. Those that are paused are not among the groups."""
    resume: Line | None = None
    cut: list[Group] = []
    """Of each line with more groups than were shown, the last one of these."""


class Heads:
    """The memory of one process. `where` gives the place at which a group begins."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._places: dict[Group, Place] = {}
        self._paused: set[int] = set()
        self._suspended: set[int] = set()
        self._see_all_at = 0.0
        self._numbers: deque[tuple[float, int]] = deque()

    def where(self, group: Group) -> Place:
        return self._places.get(group, FIRST)

    def joined(self, rows: Iterable[Sequence[Any]]) -> None:
        """Groups that tasks have joined by our own doing."""
        for row in rows:
            place = (row[4], row[5])
            group = Group(*row[:4])
            self._places[group] = min(place, self._places.get(group, place))

    def look(self, connection: Connection, look: Look, limited_after: Spot) -> Seen:
        """The groups that have available tasks, all of them or those that are known; in lanes with limits, those after
        a group.
        """
        first_page = look.after is None and look.groups_after == _FROM_THE_FIRST
        began = self._clock.monotonic()
        if first_page and began < self._see_all_at and not self._resumed(connection):
            return self._known(connection, look)
        seen = self._all(connection, look, limited_after, first_page)
        ended = self._clock.monotonic()
        slow = ended - began > _SLOW_SECONDS
        self._see_all_at = ended + _SHARE * (ended - began) if slow and seen.resume is None else 0.0
        if not slow:
            self._numbers.clear()
        return seen

    def _resumed(self, connection: Connection) -> bool:
        """Whether lanes go on that were paused when all was seen, or owners that were suspended: of their groups,
        nothing is known.
        """
        if not (self._paused or self._suspended):
            return False
        asked = {"lanes": list(self._paused), "owners": list(self._suspended)}
        (resumed,) = one(connection, sql("lanes_resumed"), asked)
        return bool(resumed)

    def _all(self, connection: Connection, look: Look, limited_after: Spot, first_page: bool) -> Seen:
        after = look.after or Line(-1, -1)
        urgency, target = look.groups_after
        parameters = {
            "owner": after.owner,
            "lane": after.lane,
            "lines_max": look.lines_max,
            "groups_max": look.groups_max,
            "urgency": urgency,
            "target": target,
            "limited_urgency": limited_after[0],
            "limited_target": limited_after[1],
        }
        rows = connection.execute(sql("groups_find"), parameters, binary=True).fetchall()
        if first_page or len(self._places) > _REMEMBERED_MAX:
            self._places.clear()
        if first_page:
            self._paused.clear()
            self._suspended.clear()
        self._paused.update(row[1] for row in rows if row[7] and not row[9])
        self._suspended.update(row[0] for row in rows if row[9])
        heads = [row for row in rows if not row[7]]
        for row in heads:
            self._places[Group(*row[:4])] = (row[4], row[5])
        lines = rows[0][8] if rows else 0
        resume = Line(*max(row[:2] for row in rows)) if lines >= look.lines_max else None
        seen = _seen(heads)
        return Seen(seen.groups, seen.limited, resume, lines_cut(seen.groups, look.groups_max))

    def _known(self, connection: Connection, look: Look) -> Seen:
        now = self._clock.monotonic()
        number = self._number_before(connection, now)
        with connection.pipeline():
            fresh = connection.execute(sql("groups_new"), {"seq": number}, binary=True)
            last = connection.execute(sql("task_last"))
            self.joined(fresh.fetchall())
            self._numbers.append((now, (last.fetchone() or (0,))[0]))
        floor = (look.now - _MARGIN_MS, 0)
        asked = [
            (group.owner, group.lane, group.urgency, group.target, *min(place, floor))
            for group, place in self._places.items()
        ]
        rows = connection.execute(sql("heads_find"), {"groups": pack(asked)}, binary=True).fetchall()
        self._places = {Group(*row[:4]): (row[4], row[5]) for row in rows}
        return _seen([row for row in rows if not row[7]])

    def _number_before(self, connection: Connection, now: float) -> int:
        """The last handle that was given a little while ago."""
        if not self._numbers:
            (number,) = one(connection, sql("task_last"))
            return max(0, int(number) - _LOOK_BACK)
        while len(self._numbers) > 1 and self._numbers[1][0] < now - _NEW_SECONDS:
            self._numbers.popleft()
        return int(self._numbers[0][1])


class Waiting:
    """From where on waiting tasks are promoted, for the same reason."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._place = FIRST
        self._now = 0
        self._began = 0.0
        self._from_first_at = 0.0

    def begin(self, now: int) -> Place:
        """From where to promote, at this instant."""
        self._now = now
        self._began = self._clock.monotonic()
        if self._began >= self._from_first_at:
            self._place = FIRST
        return min(self._place, (now - _MARGIN_MS, 0))

    def end(self, begun: Place, last: Place | None) -> None:
        """The last that was promoted; None: nothing was due any more."""
        ended = self._clock.monotonic()
        if begun == FIRST:
            slow = ended - self._began > _SLOW_SECONDS
            self._from_first_at = ended + _SHARE * (ended - self._began) if slow else 0.0
        self._place = (self._now, 0) if last is None else last


def _seen(rows: Iterable[Sequence[Any]]) -> Seen:
    return Seen([(Group(*row[:4]), row[4]) for row in rows], {row[1] for row in rows if row[6]})
