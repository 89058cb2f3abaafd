"""Who gets the free slots: pure arithmetic over the groups that have due tasks.

Owners share equally, lanes of one owner share what the owner gets, the most urgent of an owner's tasks go first (and
some of the others with them, once those have waited long: `ageing`), targets share equally. A lane with limits gets no
more than these allow, over all its groups. Some slots are kept for owners who hold few or none, and no target may fill
the engine, so that no flood makes another owner wait for a slot, however long its calls last and however many owners
take part in it. How many tasks a group has is not known: what one cannot use comes back with the next look.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

from tasks_server.domain.slots import Held, Slots
from tasks_server.engine.ageing import NOBODY, share_of_others, turn
from tasks_server.store.ports import Group, Quota

NO_ROOMS: Final[Mapping[int, int]] = {}


def share(
    groups: Sequence[Group],
    slots: Slots,
    held: Held,
    aged: Mapping[int, int] = NOBODY,
    lanes: Mapping[int, int] = NO_ROOMS,
) -> list[Quota]:
    """How many tasks to take of each group. The sum never passes the free slots, nor any limit. `aged`: see
    `Ageing`; `lanes`: how many each of the limited lanes may start.

    >>> few = Slots(total=8, owner_max=7, target_max=8)
    >>> nothing = Held(0, {}, {})
    >>> a, b = Group(1, 1, 9, "a:80"), Group(2, 2, 9, "b:80")
    >>> [quota.count for quota in share([a, b], few, nothing)]
    [4, 3]
    >>> [quota.count for quota in share([a], few, nothing)]
    [7]
    >>> [quota.count for quota in share([a, b], few, Held(7, {1: 7}, {}))]
    [1]
    >>> [quota.count for quota in share([a, b], few, nothing, lanes={1: 3})]
    [3, 4]
    """
    free = slots.free(held.total)
    by_owner: defaultdict[int, list[Group]] = defaultdict(list)
    for group in groups:
        by_owner[group.owner].append(group)
    # Those who hold least come first: when slots are scarce, the remainder of the division goes to them.
    owners = sorted(by_owner, key=lambda owner: held.owners.get(owner, 0))
    # What an owner's lanes leave is for the others.
    rooms = [_lanes_room(by_owner[owner], lanes, free) if lanes else free for owner in owners]
    parts = _with_kept(divide(max(0, free - slots.kept), rooms), rooms, owners, slots, held)
    targets = _divide_targets(owners, by_owner, slots, held)
    left = dict(lanes)
    quotas: list[Quota] = []
    for owner, places in zip(owners, parts, strict=True):
        quotas.extend(_share_owner(by_owner[owner], places, (targets[owner], left), aged.get(owner)))
    return quotas


def _with_kept(parts: list[int], rooms: Sequence[int], owners: Sequence[int], slots: Slots, held: Held) -> list[int]:
    """The parts of the owners, with what newcomers among them get of the slots that are kept for such."""
    free = slots.free(held.total) - sum(parts)
    for index, owner in enumerate(owners):
        own = held.owners.get(owner, 0) + parts[index]
        more = min(free, rooms[index] - parts[index], slots.newcomer_max(free) - own)
        if more > 0:
            parts[index] += more
            free -= more
    return parts


def _lanes_room(groups: Sequence[Group], lanes: Mapping[int, int], most: int) -> int:
    """How many tasks these lanes may start together, each at most `most`."""
    return sum(lanes.get(lane, most) for lane in {group.lane for group in groups})


def _divide_targets(
    owners: Sequence[int], by_owner: Mapping[int, Sequence[Group]], slots: Slots, held: Held
) -> dict[int, dict[str, int]]:
    """How many more calls to each target each owner may make: equal parts for the owners who want that target."""
    wanting: defaultdict[str, list[int]] = defaultdict(list)
    for owner in owners:
        for target in dict.fromkeys(group.target for group in by_owner[owner]):
            wanting[target].append(owner)
    rooms: dict[int, dict[str, int]] = {owner: {} for owner in owners}
    for target, several in wanting.items():
        room = slots.target_room(target, held.targets.get(target, 0))
        for owner, part in zip(several, divide(room, [room] * len(several)), strict=True):
            rooms[owner][target] = part
    return rooms


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


Rooms = tuple[dict[str, int], dict[int, int]]
"""How many more tasks may go to each target, for one owner, and how many each limited lane may start."""


def _share_owner(groups: Sequence[Group], places: int, rooms: Rooms, had: int | None) -> list[Quota]:
    """One owner's places, for the most urgent of its tasks and, with `had`, for others in their turn."""
    targets, lanes = rooms
    reachable = [group for group in groups if targets[group.target] > 0 and lanes.get(group.lane, 1) > 0]
    if places <= 0 or not reachable:
        return []
    urgencies = sorted({group.urgency for group in reachable})
    aged, level = turn(urgencies, places, had)
    # Of a limited lane's few places, too, the others get their part and no more.
    most = {lane: share_of_others(room, had or 0) for lane, room in lanes.items()} if aged else lanes
    quotas = _share_level([group for group in reachable if group.urgency == level], aged, rooms, most)
    places -= sum(quota.count for quota in quotas)
    first = [group for group in reachable if group.urgency == urgencies[0]]
    return [*quotas, *_share_level(first, places, rooms, lanes)]


def _share_level(groups: Sequence[Group], places: int, rooms: Rooms, most: Mapping[int, int]) -> list[Quota]:
    """Places for tasks of one owner and one urgency: lanes share equally, each with `most` of it, and in each the
    targets.
    """
    targets, lanes = rooms
    by_lane: defaultdict[int, list[Group]] = defaultdict(list)
    for group in groups if places > 0 else ():
        by_lane[group.lane].append(group)
    quotas = []
    fits = [min(places, most.get(lane, places)) for lane in by_lane]
    for level, room in zip(by_lane.values(), divide(places, fits), strict=True):
        parts = divide(room, [targets[group.target] for group in level])
        for group, count in zip(level, parts, strict=True):
            if count > 0:
                targets[group.target] -= count
                if group.lane in lanes:
                    lanes[group.lane] -= count
                quotas.append(Quota(group, count))
    return quotas


def within_runs(quotas: Sequence[Quota], slots: Slots, held: Held) -> list[Quota]:
    """The same quotas, but no more runs of handlers than may be in flight together.

    >>> slots = Slots(8, 7, 8, target_maxes={"@a": 4, "@b": 4}, runs_max=3)
    >>> a, b, c = Group(1, 1, 9, "@a"), Group(1, 1, 9, "@b"), Group(1, 1, 9, "c:80")
    >>> quotas = within_runs([Quota(a, 2), Quota(b, 2), Quota(c, 2)], slots, Held(1, {1: 1}, {"@a": 1}))
    >>> [quota.count for quota in quotas]
    [1, 1, 2]
    """
    room = slots.runs_room(sum(count for target, count in held.targets.items() if target in slots.target_maxes))
    if room is None:
        return list(quotas)
    runs = [quota for quota in quotas if quota.group.target in slots.target_maxes]
    others = [quota for quota in quotas if quota.group.target not in slots.target_maxes]
    parts = divide(room, [quota.count for quota in runs])
    return [*(Quota(run.group, part) for run, part in zip(runs, parts, strict=True) if part), *others]
