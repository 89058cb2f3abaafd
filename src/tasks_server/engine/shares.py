"""Who gets the free slots: pure arithmetic over the groups that have due tasks.

Owners share equally, lanes of one owner share what the owner gets, within a lane the most urgent go first and
targets share equally. No owner and no target may fill the engine, so that a flood of one never makes another wait
for a slot. How many tasks a group has is not known: what one cannot use comes back with the next look.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import msgspec

from tasks_server.store.ports import Group, Quota


class Slots(msgspec.Struct, frozen=True):
    """How many calls may be in flight in total, for one owner, to one target."""

    total: int
    owner_max: int
    target_max: int

    @classmethod
    def of(cls, total: int, target_max: int) -> "Slots":
        """The limits for an engine of `total` slots: an owner may hold nine tenths of them, never all but one."""
        return cls(total, max(1, total - max(1, total // 10)), min(total, target_max))


class Held(msgspec.Struct, frozen=True):
    """What is in flight, by owner and by target."""

    total: int
    owners: Mapping[int, int]
    targets: Mapping[str, int]


def share(groups: Sequence[Group], slots: Slots, held: Held) -> list[Quota]:
    """How many tasks to take of each group. The sum never passes the free slots, nor any limit.

    >>> few = Slots(total=8, owner_max=7, target_max=8)
    >>> nothing = Held(0, {}, {})
    >>> a, b = Group(1, 1, 9, "a:80"), Group(2, 1, 9, "b:80")
    >>> [quota.count for quota in share([a, b], few, nothing)]
    [4, 4]
    >>> [quota.count for quota in share([a], few, nothing)]
    [7]
    """
    free = slots.total - held.total
    by_owner: defaultdict[int, list[Group]] = defaultdict(list)
    for group in groups:
        by_owner[group.owner].append(group)
    # Those who hold least come first: when slots are scarce, the remainder of the division goes to them.
    owners = sorted(by_owner, key=lambda owner: held.owners.get(owner, 0))
    rooms = [slots.owner_max - held.owners.get(owner, 0) for owner in owners]
    targets = _Rooms(slots.target_max, held.targets)
    quotas: list[Quota] = []
    for owner, places in zip(owners, divide(free, rooms), strict=True):
        quotas.extend(_share_owner(by_owner[owner], places, targets))
    return quotas


def divide(amount: int, rooms: Sequence[int]) -> list[int]:
    """`amount` in parts as equal as the rooms allow, earlier ones first for what is left over.

    >>> divide(10, [1, 9, 9]), divide(2, [5, 5, 5]), divide(5, [0, 3])
    ([1, 5, 4], [1, 1, 0], [0, 3])
    """
    parts = [0] * len(rooms)
    open_rooms = [index for index, room in enumerate(rooms) if room > 0]
    while amount > 0 and open_rooms:
        each = max(1, amount // len(open_rooms))
        for index in open_rooms:
            part = min(rooms[index] - parts[index], each, amount)
            parts[index] += part
            amount -= part
        open_rooms = [index for index in open_rooms if parts[index] < rooms[index]]
    return parts


class _Rooms:
    """How many more calls each target may get."""

    def __init__(self, limit: int, held: Mapping[str, int]) -> None:
        self._limit = limit
        self._held = held
        self._taken: defaultdict[str, int] = defaultdict(int)

    def of(self, target: str) -> int:
        return max(0, self._limit - self._held.get(target, 0) - self._taken[target])

    def take(self, target: str, count: int) -> None:
        self._taken[target] += count


def _share_owner(groups: Sequence[Group], places: int, targets: _Rooms) -> list[Quota]:
    """One owner's places, for the most urgent level of each of its lanes."""
    by_lane: defaultdict[int, list[Group]] = defaultdict(list)
    for group in groups:
        if targets.of(group.target) > 0:
            by_lane[group.lane].append(group)
    if places <= 0 or not by_lane:
        return []
    # The most urgent level of the owner: its lanes that have such tasks share the places.
    most_urgent = min(group.urgency for lane in by_lane.values() for group in lane)
    lanes = [
        [group for group in lane if group.urgency == most_urgent]
        for lane in by_lane.values()
        if any(group.urgency == most_urgent for group in lane)
    ]
    quotas = []
    for level, room in zip(lanes, divide(places, [places] * len(lanes)), strict=True):
        parts = divide(room, [targets.of(group.target) for group in level])
        for group, part in zip(level, parts, strict=True):
            count = min(part, targets.of(group.target))
            if count > 0:
                targets.take(group.target, count)
                quotas.append(Quota(group, count))
    return quotas
