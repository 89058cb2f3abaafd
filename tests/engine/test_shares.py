"""Fair shares, by property: nobody passes a limit, nobody is left out who could be served."""

from hypothesis import given
from hypothesis import strategies as st

from tasks_server.domain.slots import Held, Slots
from tasks_server.engine.shares import divide, share
from tasks_server.store.ports import Group

GROUPS = st.lists(
    st.builds(
        Group,
        owner=st.integers(1, 5),
        lane=st.integers(1, 3),
        urgency=st.integers(-1, 9),
        target=st.sampled_from(["a:80", "b:80", "c:80", "d:80"]),
    ),
    max_size=30,
    unique=True,
)
SLOTS = st.builds(Slots.of, st.integers(1, 200), st.integers(1, 100))
HELD_OWNERS = st.dictionaries(st.integers(1, 5), st.integers(1, 60), max_size=5)
AGED = st.dictionaries(st.integers(1, 5), st.integers(0, 60), max_size=5)


def held_of(owners: dict[int, int], target: str = "a:80") -> Held:
    total = sum(owners.values())
    return Held(total, owners, {target: total} if total else {})


@given(GROUPS, SLOTS, HELD_OWNERS, AGED)
def test_no_limit_is_passed(groups: list[Group], slots: Slots, owners: dict[int, int], aged: dict[int, int]) -> None:
    held = held_of(owners)
    quotas = share(groups, slots, held, aged)
    assert len({quota.group for quota in quotas}) == len(quotas)
    assert all(quota.count > 0 for quota in quotas)
    taken = sum(quota.count for quota in quotas)
    assert taken <= max(0, slots.total - held.total)
    for owner in {quota.group.owner for quota in quotas}:
        own = sum(quota.count for quota in quotas if quota.group.owner == owner)
        assert own + held.owners.get(owner, 0) <= slots.owner_max
    for target in {quota.group.target for quota in quotas}:
        calls = sum(quota.count for quota in quotas if quota.group.target == target)
        assert calls + held.targets.get(target, 0) <= slots.target_max


@given(GROUPS, SLOTS, HELD_OWNERS)
def test_an_owner_gets_only_its_most_urgent_tasks(groups: list[Group], slots: Slots, owners: dict[int, int]) -> None:
    held = held_of(owners)
    for quota in share(groups, slots, held):
        own = [group for group in groups if group.owner == quota.group.owner]
        open_targets = [group for group in own if held.targets.get(group.target, 0) < slots.target_max]
        if len({group.owner for group in groups}) == 1:  # with others, the room of a target is divided
            assert quota.group.urgency == min(group.urgency for group in open_targets)


@given(GROUPS)
def test_with_room_for_all_every_owner_is_served(groups: list[Group]) -> None:
    quotas = share(groups, Slots.of(1_000, 1_000), Held(0, {}, {}))
    assert {quota.group.owner for quota in quotas} == {group.owner for group in groups}


@given(st.integers(0, 100), st.lists(st.integers(-3, 30), max_size=10))
def test_division_gives_all_that_fits_in_equal_parts(amount: int, rooms: list[int]) -> None:
    parts = divide(amount, rooms)
    fits = [max(0, room) for room in rooms]
    assert all(0 <= part <= room for part, room in zip(parts, fits, strict=True))
    assert sum(parts) == min(amount, sum(fits))
    unfilled = [part for part, room in zip(parts, fits, strict=True) if part < room]
    most = min(unfilled, default=amount) + 1
    assert all(part <= most for part in parts)


def test_an_owner_whose_less_urgent_tasks_have_waited_long_gives_them_a_part() -> None:
    groups = [Group(1, lane, urgency, f"{urgency}.example:80") for lane in (1, 2) for urgency in (0, 4, 9)]
    taken = share(groups, Slots.of(100, 100), Held(0, {}, {}), {1: 10})
    assert {(quota.group.lane, quota.group.urgency): quota.count for quota in taken} == {
        (1, 9): 5, (2, 9): 4, (1, 0): 41, (2, 0): 40,
    }  # fmt: skip
    forced = [*groups, Group(1, 1, -1, "forced.example:80")]
    assert [quota.group.urgency for quota in share(forced, Slots.of(100, 100), Held(0, {}, {}), {1: 10})] == [-1]


def test_one_owner_never_takes_every_slot() -> None:
    crowd = [Group(1, 1, 9, f"host-{number}:80") for number in range(50)]
    assert sum(quota.count for quota in share(crowd, Slots.of(100, 100), Held(0, {}, {}))) == 90


@given(st.integers(2, 1_100), st.integers(1, 30), st.booleans())
def test_owners_who_give_nothing_back_leave_a_slot_for_the_next(total: int, count: int, together: bool) -> None:
    slots = Slots.of(total, total)
    held: dict[int, int] = {}
    flood = {owner: [Group(owner, owner, 9, f"{owner}-{place}:80") for place in range(4)] for owner in range(count)}
    for owners in [list(flood)] if together else [[owner] for owner in flood]:
        while True:
            groups = [group for owner in owners for group in flood[owner]]
            quotas = share(groups, slots, Held(sum(held.values()), held, {}))
            if not quotas:
                break
            for quota in quotas:
                held[quota.group.owner] = held.get(quota.group.owner, 0) + quota.count
    newcomer = Group(count + 1, count + 1, 9, "newcomer:80")
    found = share([*groups, newcomer], slots, Held(sum(held.values()), held, {}))
    full = sum(held.values()) == total
    assert [quota.group for quota in found] == ([] if full else [newcomer])
    assert not full or min(held.values()) <= 1, "the last slots went to owners who had none"
    assert not full or len(held) > slots.kept // 4


def test_the_owner_who_holds_least_comes_first() -> None:
    groups = [Group(1, 1, 9, "a:80"), Group(2, 1, 9, "b:80")]
    quotas = share(groups, Slots.of(10, 10), Held(9, {1: 9}, {"a:80": 9}))
    assert [(quota.group.owner, quota.count) for quota in quotas] == [(2, 1)]


def test_owners_share_a_target_that_both_want() -> None:
    groups = [Group(1, 1, 9, "t:80"), Group(2, 2, 9, "t:80")]
    quotas = share(groups, Slots.of(1_024, 256), Held(0, {}, {}))
    assert [(quota.group.owner, quota.count) for quota in quotas] == [(1, 128), (2, 128)]


@given(GROUPS, SLOTS, HELD_OWNERS, st.dictionaries(st.integers(1, 3), st.integers(0, 30)), st.booleans())
def test_no_lane_gets_more_than_its_room(
    groups: list[Group], slots: Slots, owners: dict[int, int], rooms: dict[int, int], ageing: bool
) -> None:
    own = [group for group in groups if group.owner == 1]  # a lane has one owner
    aged = {1: 7} if ageing else {}
    quotas = share(own, slots, held_of(owners), aged, rooms)
    for lane, room in rooms.items():
        assert sum(quota.count for quota in quotas if quota.group.lane == lane) <= room
    plain = share(own, slots, held_of(owners), aged)
    if all(sum(quota.count for quota in plain if quota.group.lane == lane) <= room for lane, room in rooms.items()):
        assert sum(quota.count for quota in quotas) >= sum(quota.count for quota in plain) or ageing


def test_what_the_lanes_of_one_owner_leave_is_for_the_others() -> None:
    groups = [Group(1, 1, 9, "a:80"), Group(2, 2, 9, "b:80")]
    quotas = share(groups, Slots.of(100, 100), Held(0, {}, {}), lanes={1: 3})
    assert [quota.count for quota in quotas] == [3, 87]


def test_a_lane_shares_its_room_among_targets_in_the_order_that_they_come() -> None:
    groups = [Group(1, 1, 9, target) for target in ("c:80", "a:80", "b:80")]
    quotas = share(groups, Slots.of(100, 100), Held(0, {}, {}), lanes={1: 2})
    assert [(quota.group.target, quota.count) for quota in quotas] == [("c:80", 1), ("a:80", 1)]


def test_of_a_lane_with_few_places_the_less_urgent_get_their_part_and_no_more() -> None:
    groups = [Group(1, 1, 0, "a:80"), Group(1, 1, 9, "a:80"), Group(1, 2, 0, "b:80")]
    urgencies = []
    for had in range(40):
        quotas = share(groups, Slots.of(100, 100), Held(0, {}, {}), {1: had}, {1: 1})
        (one,) = (quota for quota in quotas if quota.group.lane == 1)
        urgencies.append(one.group.urgency)
    assert urgencies.count(9) == 4
