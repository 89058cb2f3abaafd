"""Lanes kept, and claims within their limits: over engines, whatever else happens to tasks."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

import pytest

from tasks_server.domain import lane, lifecycle, limits
from tasks_server.domain.errors import NotFound
from tasks_server.domain.lane import Lane, LaneLimits
from tasks_server.domain.owner import Owner
from tasks_server.domain.request import TaskConfig
from tasks_server.domain.task import State
from tasks_server.store.laning import LaneRefusal
from tasks_server.store.ports import Claim, Group, Hints, Quota

from .lanes import delete_lane, pause_lane, resume_lane, set_lane, under
from .world import FAILURE, INTERRUPTED, World, nothing, up_to


class Shown:
    """Remembers what it was shown, and takes `count` of each."""

    def __init__(self, count: int = 0) -> None:
        self.groups: list[Group] = []
        self.lanes: dict[int, int] = {}
        self._count = count

    def __call__(self, groups: Sequence[Group], lanes: Mapping[int, int]) -> Sequence[Quota]:
        self.groups, self.lanes = list(groups), dict(lanes)
        return [Quota(group, self._count) for group in groups]


async def lane_of(world: World, owner: Owner, name: str = "default") -> Lane:
    found = await world.store.lane(owner.id, name)
    assert found is not None
    return found


# Settings


async def test_a_lane_is_there_once_it_was_used(world: World, owner: Owner, other: Owner) -> None:
    assert await world.store.lane(owner.id, "mail") is None
    await world.submit(owner, 60_000, lane="mail")
    found = await lane_of(world, owner, "mail")
    assert (found.name, found.facts.limits, found.counts) == ("mail", LaneLimits(), {State.SCHEDULED: 1})
    assert await world.store.lane(other.id, "mail") is None


async def test_settings_are_kept_whole(world: World, owner: Owner) -> None:
    chosen = LaneLimits(concurrent_max=7, rate=0.123456789, burst=3, paused_at=world.now, paused_by="operator")
    made = await set_lane(world, owner, "mail", **{name: getattr(chosen, name) for name in chosen.__struct_fields__})
    assert made.facts.limits == chosen
    assert (await lane_of(world, owner, "mail")).facts.limits == chosen


async def test_a_refused_change_changes_nothing(world: World, owner: Owner) -> None:
    await set_lane(world, owner, rate=5)

    def refuse(_: Lane | None) -> None:
        raise NotFound("no", code="lane_not_found")

    with pytest.raises(NotFound):
        await world.store.change_lane(owner.id, "default", refuse, 10)
    with pytest.raises(NotFound):
        await world.store.change_lane(owner.id, "new", refuse, 10)
    assert (await lane_of(world, owner)).facts.limits == LaneLimits(rate=5)
    assert await world.store.lane(owner.id, "new") is None


async def test_a_decision_for_nothing_makes_nothing(world: World, owner: Owner) -> None:
    assert await world.store.change_lane(owner.id, "new", lambda _: None, 10) is None
    assert await world.store.lane(owner.id, "new") is None


async def test_only_so_many_lanes_are_made_by_hand(world: World, owner: Owner) -> None:
    for name in ("a", "b"):
        await set_lane(world, owner, name)
    assert await world.store.change_lane(owner.id, "c", under(world, rate=1), 2) is LaneRefusal.FULL
    assert isinstance(await world.store.change_lane(owner.id, "a", under(world, rate=1), 2), Lane)
    await world.submit(owner, lane="d")  # a task may name any
    assert (await lane_of(world, owner, "d")).counts == {State.AVAILABLE: 1}


async def test_an_owner_that_is_gone_gets_no_lane(world: World, owner: Owner) -> None:
    await set_lane(world, owner, "old", rate=1)
    await world.store.delete_owner(owner.id)
    assert await world.store.change_lane(owner.id, "new", under(world), 10) is LaneRefusal.UNKNOWN_OWNER
    assert await world.store.lane(owner.id, "old") is None
    assert await world.store.prune(0, 10) >= 0
    rows = await world.adapter.rows(world.store)
    assert rows["lane"] == rows["lane_bucket"] == 0


async def test_pages_go_by_name_and_end(world: World, owner: Owner, other: Owner) -> None:
    names = ["Zed", "a", "b.c", "b[1]", "mail"]
    for name in names:
        await world.submit(owner, lane=name)
    await world.submit(other, lane="else")
    await set_lane(world, owner, "mail", concurrent_max=2)
    for limit in (1, 2, 5, 6):
        seen: list[Lane] = []
        after = ""
        while True:
            page = await world.store.lanes(owner.id, after, limit)
            assert len(page.lanes) <= limit
            seen += page.lanes
            if page.next is None:
                break
            after = page.next
        assert [lane.name for lane in seen] == names
        assert seen[-1].facts.limits.concurrent_max == 2
        assert [lane.counts for lane in seen] == [{State.AVAILABLE: 1}] * 5


async def test_counts_are_those_of_the_states(world: World, owner: Owner) -> None:
    states = [state for state in State if state not in (State.SCHEDULED, State.RETRYABLE, State.AVAILABLE)]
    for state in states:
        await world.bring_to(state, owner)
    await world.submit_many(owner, 3)
    assert (await lane_of(world, owner)).counts == dict.fromkeys(states, 1) | {State.AVAILABLE: 3}


async def test_a_lane_with_tasks_in_queue_is_not_deleted(world: World, owner: Owner) -> None:
    task = await world.submit(owner, 60_000)
    await set_lane(world, owner, rate=3)
    assert await delete_lane(world, owner) is LaneRefusal.IN_USE
    await world.steer(task, lifecycle.revoke)
    assert await delete_lane(world, owner) is True
    assert await delete_lane(world, owner) is False
    assert await delete_lane(world, owner, "never-used") is False
    assert await world.store.lane(owner.id, "default") is None
    assert (await world.store.lanes(owner.id, "", 10)).lanes == []


async def test_a_deleted_lane_comes_back_with_the_defaults(world: World, owner: Owner) -> None:
    await set_lane(world, owner, rate=0.001, burst=1)
    await world.submit(owner)
    await world.settle(await world.claim_one())
    assert await delete_lane(world, owner) is True
    await world.submit_many(owner, 3)
    assert (await lane_of(world, owner)).facts.limits == LaneLimits()
    assert len(await world.claim()) == 3
    made = await set_lane(world, owner, rate=0.001, burst=1)
    assert lane.room(made.facts, world.now).count == 1  # what was taken under the old settings is forgotten
    assert (await lane_of(world, owner)).facts == made.facts


# Places


async def test_no_more_run_than_there_are_places(world: World, owner: Owner) -> None:
    await set_lane(world, owner, concurrent_max=3)
    await world.submit_many(owner, 10)
    first = await world.look()
    assert len(first.claims) == 3
    assert first.lanes_again_at == world.now + limits.LANE_LOOK_MS
    assert set(first.lanes_shut.values()) == {"concurrency"}
    again = await world.look()
    assert (again.claims, again.more) == ([], False)
    await world.settle(first.claims[:2])
    assert len(await world.claim()) == 2
    assert (await lane_of(world, owner)).facts.running == 3
    await world.check_counters()


async def rescued(world: World, claim: Claim) -> None:
    assert await world.leases_end() == 1


async def paused(world: World, claim: Claim) -> None:
    await world.steer(claim, lifecycle.pause)


async def revoked(world: World, claim: Claim) -> None:
    await world.steer(claim, lifecycle.revoke)


async def deleted(world: World, claim: Claim) -> None:
    assert await world.store.delete(None, claim.id)


async def retried(world: World, claim: Claim) -> None:
    await world.settle(claim, FAILURE, TaskConfig(retry=1, retry_interval=60_000))


async def failed(world: World, claim: Claim) -> None:
    await world.settle(claim, FAILURE)


async def given_back(world: World, claim: Claim) -> None:
    await world.settle(claim, INTERRUPTED)


@pytest.mark.parametrize("leave", [rescued, paused, revoked, deleted, retried, failed, given_back])
async def test_whatever_ends_a_run_frees_its_place(
    world: World, owner: Owner, leave: Callable[[World, Claim], Awaitable[None]]
) -> None:
    await set_lane(world, owner, concurrent_max=1)
    await world.submit_many(owner, 5)
    claim = await world.claim_one()
    assert await world.claim() == []
    await leave(world, claim)
    assert len(await world.claim()) == 1
    assert await world.claim() == []


async def test_a_raised_limit_counts_at_once_and_a_lowered_one_lets_the_running_go_on(
    world: World, owner: Owner
) -> None:
    await set_lane(world, owner, concurrent_max=2)
    await world.submit_many(owner, 10)
    claims = await world.claim()
    await set_lane(world, owner, concurrent_max=4)
    claims += await world.claim()
    assert len(claims) == 4
    await set_lane(world, owner, concurrent_max=1)
    for _ in range(4):
        assert await world.claim() == []
        await world.settle(claims.pop())
    assert len(await world.claim()) == 1
    await set_lane(world, owner, concurrent_max=None)
    assert len(await world.claim()) == 5


# Rates


async def test_a_burst_and_then_the_rate(world: World, owner: Owner) -> None:
    await set_lane(world, owner, rate=2, burst=3)
    await world.submit_many(owner, 20)
    first = await world.look()
    assert (len(first.claims), first.more, first.lanes_again_at) == (3, False, world.now + 500)
    assert set(first.lanes_shut.values()) == {"rate"}
    starts = []
    for _ in range(8):
        world.clock.advance(250)
        starts.append(len(await world.claim()))
    assert starts == [0, 1] * 4
    world.clock.advance(60_000)
    assert len(await world.claim()) == 3


async def test_many_looks_take_no_more_than_one(world: World, owner: Owner) -> None:
    await set_lane(world, owner, rate=50, burst=10)
    await world.submit_many(owner, 100)
    for step in range(8):
        await asyncio.gather(*(world.claim(up_to(3)) for _ in range(5)))
        assert (await lane_of(world, owner)).counts[State.RUNNING] == 10 + 5 * step
        world.clock.advance(100)


async def test_a_rate_of_less_than_one_a_second(world: World, owner: Owner) -> None:
    await set_lane(world, owner, rate=0.1)
    await world.submit_many(owner, 3)
    assert len(await world.claim()) == 1
    world.clock.advance(9_999)
    assert await world.claim() == []
    world.clock.advance(1)
    assert len(await world.claim()) == 1


async def test_a_change_of_the_burst_alone_keeps_what_was_taken(world: World, owner: Owner) -> None:
    await set_lane(world, owner, rate=1, burst=4)
    await world.submit_many(owner, 20)
    assert len(await world.claim()) == 4
    await set_lane(world, owner, rate=1, burst=6)
    assert len(await world.claim()) == 2


# Pauses


async def test_a_paused_lane_is_passed_over_and_goes_on(world: World, owner: Owner) -> None:
    waiting = await world.submit_many(owner, 3, lane="still")
    going = await world.submit(owner)
    await pause_lane(world, owner, "still")
    shown = Shown(10)
    look = await world.look(shown)
    assert [claim.id for claim in look.claims] == [going.id]
    assert len(shown.groups) == 1
    look = await world.look(shown)
    assert (look.claims, look.lanes_again_at, look.more, look.resume_after) == ([], None, False, None)
    await resume_lane(world, owner, "still")
    assert sorted(claim.id for claim in await world.claim()) == sorted(waiting)


async def test_a_lane_that_goes_on_is_a_hint(world: World, owner: Owner) -> None:
    await pause_lane(world, owner)
    await world.submit(owner)
    await world.listening()
    await resume_lane(world, owner)
    assert await world.store.wait(60) == Hints(world.now)


async def test_tasks_are_promoted_in_a_paused_lane_and_expire(world: World, owner: Owner) -> None:
    await pause_lane(world, owner)
    task = await world.submit(owner, 1_000, expire_at=world.now + 5_000)
    world.clock.advance(1_000)
    assert await world.claim() == []
    assert await world.state(task) is State.AVAILABLE
    world.clock.advance(5_000)
    await world.store.expire(world.now, 10)
    assert await world.state(task) is State.FAILED


async def test_a_task_that_is_run_now_waits_for_its_lane(world: World, owner: Owner) -> None:
    await pause_lane(world, owner)
    task = await world.submit(owner, 60_000)
    await world.steer(task, lifecycle.execute)
    assert await world.claim() == []
    await resume_lane(world, owner)
    assert (await world.claim_one()).id == task.id


async def test_a_walk_goes_on_over_paused_lanes(world: World, owner: Owner) -> None:
    for number in range(20):
        await world.submit(owner, lane=f"still-{number}")
        await pause_lane(world, owner, f"still-{number}")
    last = await world.submit(owner, lane="zz")
    after, looks, found = None, 0, []
    while True:
        look = await world.look(up_to(5), after=after, lines_max=6)
        found += [claim.id for claim in look.claims]
        after, looks = look.resume_after, looks + 1
        if after is None:
            break
    assert found == [last.id]
    assert looks == 4


# Fairness


async def test_a_lane_at_its_limit_does_not_hide_the_others(world: World, owner: Owner, other: Owner) -> None:
    await set_lane(world, owner, concurrent_max=1)
    await world.submit_many(owner, 5)
    free = await world.submit(owner, lane="second")
    theirs = await world.submit(other)
    claims = await world.claim(up_to(1))
    assert {free.id, theirs.id} < {claim.id for claim in claims}
    assert len(claims) == 3


async def test_the_chooser_is_told_the_room_of_each_limited_lane(world: World, owner: Owner) -> None:
    await set_lane(world, owner, "slow", concurrent_max=4)
    await world.submit(owner, lane="slow")
    await world.submit(owner)
    shown = Shown()
    await world.look(shown)
    limited = {group.lane for group in shown.groups if group.lane in shown.lanes}
    assert len(shown.groups) == 2
    assert [shown.lanes[handle] for handle in limited] == [4]


async def test_whatever_is_chosen_the_limit_holds_over_all_groups(world: World, owner: Owner) -> None:
    await set_lane(world, owner, concurrent_max=4)
    for target in ("a.example:80", "b.example:80"):
        for priority in (0, 5):
            await world.submit_many(owner, 5, target=target, priority=priority)
    assert len(await world.claim(up_to(1_000))) == 4


async def test_with_one_place_the_oldest_goes_first_whatever_its_target(world: World, owner: Owner) -> None:
    await set_lane(world, owner, concurrent_max=1)
    tasks = []
    for target in ("c", "a", "b", "a", "c"):
        tasks.append(await world.submit(owner, target=f"{target}.example:80"))
        world.clock.advance(1)
    order = []
    for _ in tasks:
        claim = await world.claim_one()
        order.append(claim.id)
        await world.settle(claim)
    assert order == [task.id for task in tasks]


async def test_with_one_place_and_many_targets_each_has_its_turn(world: World, owner: Owner) -> None:
    """More targets than one look shows, all with a backlog: those that come first have not all the places."""
    await set_lane(world, owner, concurrent_max=1)
    targets = [f"host-{number:02}.example:80" for number in range(20)]
    for _ in range(6):
        for target in targets:
            await world.submit(owner, target=target)
        world.clock.advance(1)
    served = []
    for _ in range(30):
        (claim,) = (await world.look(groups_max=4)).claims
        served.append(claim.target)
        await world.settle(claim)
    assert set(served) == set(targets)


async def test_a_lane_with_room_shows_all_its_targets(world: World, owner: Owner) -> None:
    await set_lane(world, owner, concurrent_max=100)
    made = {(await world.submit(owner, target=f"host-{number:02}.example:80")).id for number in range(20)}
    claimed: set[str] = set()
    for _ in range(8):
        look = await world.look(up_to(2), groups_max=4)
        claimed |= {claim.id for claim in look.claims}
        if not look.more:
            break
    assert claimed == made


async def test_many_targets_of_a_lane_without_room_are_not_walked_over(world: World, owner: Owner) -> None:
    await set_lane(world, owner, concurrent_max=1)
    for number in range(20):
        await world.submit(owner, target=f"host-{number:02}.example:80")
    await world.claim_one()
    look = await world.look(nothing, groups_max=8)
    assert (look.groups_resume_after, look.more) == (None, False)


async def test_a_lane_that_the_operator_paused_is_deleted_by_the_operator_alone(world: World) -> None:
    owner = await world.owner()
    await set_lane(world, owner, paused_at=world.now, paused_by="operator")
    assert await world.store.delete_lane(owner.id, "default", world.now, held_too=False) is LaneRefusal.HELD
    assert await delete_lane(world, owner) is True
