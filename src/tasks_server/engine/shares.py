"""Who gets the free slots: pure arithmetic over the groups that have due tasks.

Owners share equally, lanes of one owner share what the owner gets, the most urgent of an owner's tasks go first (and
some of the others with them, once those have waited long: `ageing`), targets share equally. No owner and no target may
fill the engine, so that a flood of one never makes another wait for a slot. How many tasks a group has is not known:
what one cannot use comes back with the next look.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from tasks_server.domain.slots import Held, Slots
from tasks_server.engine.ageing import NOBODY, turn
from tasks_server.store.ports import Group, Quota


def share(groups: Sequence[Group], slots: Slots, held: Held, aged: Mapping[int, int] = NOBODY) -> list[Quota]:
    """How many tasks to take of each group. The sum never passes the free slots, nor any limit. `aged`: see `Ageing`.

    >>> few = Slots(total=8, owner_max=7, target_max=8)
    >>> nothing = Held(0, {}, {})
    >>> a, b = Group(1, 1, 9, "a:80"), Group(2, 1, 9, "b:80")
    >>> [quota.count for quota in share([a, b], few, nothing)]
    [4, 4]
    >>> [quota.count for quota in share([a], few, nothing)]
    [7]
    """
    free = slots.free(held.total)
    by_owner: defaultdict[int, list[Group]] = defaultdict(list)
    for group in groups:
        by_owner[group.owner].append(group)
    # Those who hold least come first: when slots are scarce, the remainder of the division goes to them.
    owners = sorted(by_owner, key=lambda owner: held.owners.get(owner, 0))
    rooms = [slots.owner_room(held.owners.get(owner, 0)) for owner in owners]
    targets = _divide_targets(owners, by_owner, slots, held)
    quotas: list[Quota] = []
    for owner, places in zip(owners, divide(free, rooms), strict=True):
        quotas.extend(_share_owner(by_owner[owner], places, targets[owner], aged.get(owner)))
    return quotas


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


def _share_owner(groups: Sequence[Group], places: int, rooms: dict[str, int], had: int | None) -> list[Quota]:
    """One owner's places, for the most urgent of its tasks and, with `had`, for others in their turn. `rooms` is what
    each target has for this owner.
    """
    reachable = [group for group in groups if rooms[group.target] > 0]
    if places <= 0 or not reachable:
        return []
    urgencies = sorted({group.urgency for group in reachable})
    aged, level = turn(urgencies, places, had)
    quotas = _share_level([group for group in reachable if group.urgency == level], aged, rooms)
    places -= sum(quota.count for quota in quotas)
    return [*quotas, *_share_level([group for group in reachable if group.urgency == urgencies[0]], places, rooms)]


def _share_level(groups: Sequence[Group], places: int, rooms: dict[str, int]) -> list[Quota]:
    """Places for tasks of one owner and one urgency: lanes share equally, and in each the targets."""
    by_lane: defaultdict[int, list[Group]] = defaultdict(list)
    for group in groups if places > 0 else ():
        by_lane[group.lane].append(group)
    quotas = []
    for level, room in zip(by_lane.values(), divide(places, [places] * len(by_lane)), strict=True):
        parts = divide(room, [rooms[group.target] for group in level])
        for group, part in zip(level, parts, strict=True):
            if part > 0:
                rooms[group.target] -= part
                quotas.append(Quota(group, part))
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
