"""What a store gathers of a task for whoever explains: what runs and where, who runs it, what goes before it."""

import pytest

from tasks_server.domain import lifecycle
from tasks_server.domain.owner import Owner
from tasks_server.domain.situation import AHEAD_COUNTED_MAX, HOLDERS_MAX, Ahead, InWork, Lease
from tasks_server.domain.task import NewTask, State
from tasks_server.store.explaining import Standing

from .lanes import set_lane
from .world import LEASE_MS, World, sample_spec, up_to


async def standing(world: World, task: NewTask | str, owner: Owner | None = None) -> Standing:
    found = await world.store.standing(owner.id if owner else None, task if isinstance(task, str) else task.id)
    assert found is not None
    return found


async def test_there_is_no_such_task_for_another_owner(world: World, owner: Owner, other: Owner) -> None:
    task = await world.submit(owner)
    assert await world.store.standing(other.id, task.id) is None
    assert await world.store.standing(None, "0" * 24) is None
    assert (await standing(world, task, owner)).task.id == task.id


async def test_a_lone_task(world: World, owner: Owner) -> None:
    task = await world.submit(owner, delay=60_000)
    found = await standing(world, task)
    assert found == Standing(await world.read(task), sample_spec(), None, [], Ahead(), [])


async def test_who_runs_it_and_until_when(world: World, owner: Owner) -> None:
    task = await world.submit(owner)
    claim = await world.claim_one()
    found = await standing(world, task)
    assert found.lease == Lease(claim.lease >> 32, world.now + LEASE_MS)
    await world.settle(claim)
    assert (await standing(world, task)).lease is None


async def test_what_runs_is_told_by_engine_and_target(world: World, owner: Owner, other: Owner) -> None:
    await world.submit_many(owner, 2, target="a.example:80")
    await world.submit_many(other, 3, target="a.example:80")
    await world.submit(owner, target="b.example:80")
    claims = await world.claim()
    number = claims[0].lease >> 32
    task = await world.submit(owner)
    assert sorted((await standing(world, task)).in_work, key=lambda some: some.target) == [
        InWork(number, "a.example:80", 5, 2),
        InWork(number, "b.example:80", 1, 1),
    ]
    theirs = await standing(world, await world.submit(other))
    assert {some.target: some.of_owner for some in theirs.in_work} == {"a.example:80": 3, "b.example:80": 0}


async def test_a_task_that_has_ended_or_runs_is_told_nothing_of_others(world: World, owner: Owner) -> None:
    first, second = await world.submit(owner), await world.submit(owner)
    claims = await world.claim()
    assert (await standing(world, first)).in_work == []
    await world.settle(claim for claim in claims if claim.id == second.id)
    assert (await standing(world, second)).in_work == []


async def test_more_urgent_tasks_of_its_owner_go_before_it(world: World, owner: Owner, other: Owner) -> None:
    task = await world.submit(owner, priority=5)
    await world.submit(owner, priority=9)
    await world.submit_many(owner, 2, priority=6, target="b.example:80")
    await world.submit(owner, priority=4)
    await world.submit(other, priority=9)
    await world.submit(owner, delay=60_000, priority=9)
    await world.submit_many(owner, 3, priority=9, lane="another")
    await world.submit(owner, priority=4, lane="another")
    await world.submit(owner, priority=8, lane="a third", target="c.example:80")
    here, a, c = {"a.example:80": 1, "b.example:80": 2}, {"a.example:80": 3}, {"c.example:80": 1}
    assert (await standing(world, task)).ahead == Ahead(here, a | c)
    for limit in ("paused_at", "concurrent_max", "rate"):
        await world.query(f"UPDATE lane SET {limit} = 1 WHERE name = 'another'")
        assert (await standing(world, task)).ahead == Ahead(here, c), "lanes with limits may be passed over"
        await world.query(f"UPDATE lane SET {limit} = NULL")
    await world.steer(task, lifecycle.execute)
    assert (await standing(world, task)).ahead == Ahead()


async def test_in_a_lane_with_limits_earlier_tasks_to_any_target_go_before_it(world: World, owner: Owner) -> None:
    await world.submit_many(owner, 2, target="b.example:80")
    await world.submit(owner, target="c.example:80", priority=1)
    world.clock.advance(1)
    task = await world.submit(owner, priority=0)
    await world.submit(owner, target="b.example:80")
    more_urgent = {"c.example:80": 1}
    assert (await standing(world, task)).ahead == Ahead(more_urgent)
    for limits in ({"concurrent_max": 1}, {"concurrent_max": None, "rate": 1.0}):
        await set_lane(world, owner, **limits)
        assert (await standing(world, task)).ahead == Ahead(more_urgent, alongside={"b.example:80": 2})


async def test_those_that_hold_the_places_of_a_lane_are_named(world: World, owner: Owner) -> None:
    await world.submit(owner, lane="another")
    running = await world.submit_many(owner, 3)
    assert len(await world.claim()) == 4
    task = await world.submit(owner)
    assert (await standing(world, task)).holders == [], "a lane without a limit"
    await set_lane(world, owner, concurrent_max=3)
    assert set((await standing(world, task)).holders) == set(running)
    assert (await standing(world, running[0])).holders == []
    many = await world.submit_many(owner, HOLDERS_MAX)
    await set_lane(world, owner, concurrent_max=100)
    assert len(await world.claim()) == HOLDERS_MAX + 1
    holders = (await standing(world, await world.submit(owner))).holders
    assert len(holders) == HOLDERS_MAX
    assert set(holders) < {*running, *many, task.id}


async def test_earlier_tasks_to_its_target_go_before_it_and_at_one_instant_those_that_came_first(
    world: World, owner: Owner
) -> None:
    ids = await world.submit_many(owner, 5)
    await world.submit(owner, target="b.example:80")
    world.clock.advance(10)
    late = await world.submit(owner)
    assert [(await standing(world, each)).ahead.earlier for each in ids] == [0, 1, 2, 3, 4]
    assert (await standing(world, late)).ahead == Ahead(earlier=5)
    await world.claim(up_to(2))
    assert (await standing(world, late)).ahead.earlier < 5


async def test_nothing_is_before_a_task_that_is_not_in_line(world: World, owner: Owner) -> None:
    await world.submit_many(owner, 3)
    task = await world.submit(owner, delay=60_000)
    assert (await standing(world, task)).ahead == Ahead()


async def test_counting_ends_somewhere(world: World, owner: Owner) -> None:
    for _ in range(11):
        await world.submit_many(owner, AHEAD_COUNTED_MAX // 10)
    world.clock.advance(1)
    ahead = (await standing(world, await world.submit(owner))).ahead
    assert (ahead.earlier, ahead.more) == (AHEAD_COUNTED_MAX, True)


@pytest.mark.parametrize("state", State)
async def test_every_state_has_its_standing(world: World, owner: Owner, state: State) -> None:
    task_id = await world.bring_to(state, owner)
    found = await standing(world, task_id)
    assert found.task.state is state
    assert (found.lease is not None) == (state is State.RUNNING)
