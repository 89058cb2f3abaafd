"""What the limited lanes of one look allow: asked before the choice, and after it for what was taken."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from tasks_server.domain import lane, limits
from tasks_server.domain.lane import LaneFacts, Why
from tasks_server.store.ports import Claim, Claimed, Group, Quota

Spot = tuple[int, str]
"""An urgency and a target: of each line, the groups after it are shown."""
FROM_THE_FIRST: Final[Spot] = (limits.URGENCY_FORCED - 1, "")


class Rooms:
    """The lanes with limits, by handle, and their facts at one instant. A lane that is not among them has none."""

    def __init__(self, facts: Mapping[int, LaneFacts], now: int) -> None:
        self._now = now
        self._facts = dict(facts)
        self._busy: set[int] = set()
        self.counts: dict[int, int] = {}
        """How many tasks of each may start now."""
        for handle, known in facts.items():
            count = lane.room(known, now).count
            if count is not None:
                self.counts[handle] = count

    def open(self, groups: Sequence[tuple[Group, int]], excluded: frozenset[str]) -> list[Group]:
        """The groups of lanes that have room, given with the due time of their first task, without some targets. Those
        of limited lanes come in that order: where few places are left, whoever waits longest is first, whatever its
        target.
        """
        counts = self.counts
        if not counts:
            return [group for group, _ in groups if group.target not in excluded]
        shown = [row for row in groups if row[0].target not in excluded and counts.get(row[0].lane, 1) > 0]
        shown.sort(key=lambda row: row[1] if row[0].lane in counts else 0)
        return [group for group, _ in shown]

    def resume(self, cut: Iterable[Group]) -> Spot | None:
        """After which group to go on in lanes without limits, given the last ones shown of lines that have more; of
        several, the one that is least far.
        """
        last = ((group.urgency, group.target) for group in cut if group.lane not in self.counts)
        return min(last, default=None)

    @property
    def left(self) -> bool:
        """Whether one of these lanes may start more."""
        return any(count > 0 for count in self.counts.values())

    def trim(self, quotas: Iterable[Quota]) -> list[Quota]:
        """The quotas as far as the lanes allow, whoever chose them."""
        chosen = [quota for quota in quotas if quota.count > 0]
        if not self.counts:
            return chosen
        left = dict(self.counts)
        trimmed = []
        for quota in chosen:
            handle = quota.group.lane
            count = min(quota.count, left.get(handle, quota.count))
            if count > 0:
                trimmed.append(quota if count == quota.count else Quota(quota.group, count))
            if handle in left:
                left[handle] -= count
        return trimmed

    def leave(self, handles: Iterable[int]) -> None:
        """Others are taking from these lanes: nothing is taken from them, and soon there is another look."""
        self._busy.update(handles)
        self.counts.update(dict.fromkeys(handles, 0))

    def take(self, claims: Sequence[Claim]) -> list[tuple[int, int, int]]:
        """Counts in what was taken. For each lane whose bucket was taken from: its handle, when it was full before and
        when it is now.
        """
        if not self._facts:
            return []
        moved = []
        for handle, count in Counter(claim.lane for claim in claims).items():
            before = self._facts.get(handle)
            if before is not None:
                after = self._facts[handle] = lane.take(before, count, self._now)
                if after.full_at != before.full_at:
                    moved.append((handle, before.full_at, after.full_at))
        return moved

    def shut(self) -> dict[int, Why]:
        """The lanes that may start no more now, and why."""
        found = ((handle, lane.room(known, self._now).why) for handle, known in self._facts.items())
        shut = {handle: why for handle, why in found if why is not None}
        return shut | dict.fromkeys(self._busy - shut.keys(), "rate")

    def look_at(self) -> int | None:
        """When one of these lanes may start more, at the earliest."""
        instants = (lane.look_at(known, self._now) for known in self._facts.values())
        soon = self._now + limits.LANE_GATHER_MS if self._busy else None
        return min((at for at in (soon, *instants) if at is not None), default=None)


NO_ROOMS: Final = Rooms({}, 0)


class Walk:
    """Where to go on in lanes with limits that have more groups than one look shows: with the next look for which they
    have room, whenever that is. Began each look with the first ones, these would have all the places.
    """

    def __init__(self) -> None:
        self.spot = FROM_THE_FIRST

    def go_on(self, cut: Sequence[Group], rooms: Rooms) -> bool:
        """Notes what a look has shown; `rooms` as they were before anything was taken. Whether there were more."""
        if not rooms.left:
            return False
        began = self.spot
        last = ((group.urgency, group.target) for group in cut if rooms.counts.get(group.lane, 0) > 0)
        self.spot = min(last, default=FROM_THE_FIRST)
        return self.spot != began


def lines_cut(groups: Iterable[tuple[Group, int]], groups_max: int) -> list[Group]:
    """Of each line of which as many groups were shown as a look shows, the last one."""
    shown: dict[tuple[int, int], list[Group]] = {}
    for group, _ in groups:
        shown.setdefault((group.owner, group.lane), []).append(group)
    full = (line for line in shown.values() if len(line) >= groups_max)
    return [max(line, key=lambda group: (group.urgency, group.target)) for line in full]


def tell(claimed: Claimed, rooms: Rooms, quotas: Sequence[Quota], *, hidden: bool) -> Claimed:
    """What the look brought, with what its lanes allow from now on. All that was wanted was there: there may be more,
    but in lanes that may start no more. `hidden`: limited lanes have groups that were not shown.
    """
    shut = claimed.lanes_shut = rooms.shut() if rooms.counts else {}
    claimed.lanes_again_at = rooms.look_at() if shut else None
    if hidden and any(count > 0 and handle not in shut for handle, count in rooms.counts.items()):
        claimed.more = True
    wanted = sum(quota.count for quota in quotas if quota.group.lane not in shut)
    if wanted and wanted == sum(claim.lane not in shut for claim in claimed.claims):
        claimed.more = True
    return claimed
