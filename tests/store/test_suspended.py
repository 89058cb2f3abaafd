"""Owners that are suspended: nothing of theirs starts, on any engine, and the others do not feel it."""

from tasks_server.domain import limits
from tasks_server.domain.owner import Owner
from tasks_server.domain.schedule import Rule
from tasks_server.domain.task import State

from .lanes import pause_lane
from .schedules import Calendar
from .world import World


async def test_no_task_of_a_suspended_owner_is_taken_until_it_goes_on(world: World, owner: Owner) -> None:
    other = await world.owner()
    running = await world.submit(owner)
    (claim,) = await world.claim()
    await world.suspend(owner)
    waiting = await world.submit(owner)
    await world.submit(other)

    (taken,) = await world.claim()
    assert taken.owner != claim.owner
    assert await world.claim() == []
    await world.settle(claim)
    assert (await world.read(running)).state is State.COMPLETED, "what runs goes on to its end"

    await world.suspend(owner, suspended=False)
    assert [claim.id for claim in await world.claim()] == [waiting.id]


async def test_tasks_that_become_due_meanwhile_wait_in_line(world: World, owner: Owner) -> None:
    later = await world.submit(owner, 1_000)
    await world.suspend(owner)
    world.clock.advance(1_000)
    assert await world.claim() == []
    assert (await world.read(later)).state is State.AVAILABLE
    await world.suspend(owner, suspended=False)
    assert [claim.id for claim in await world.claim()] == [later.id]


async def test_an_owner_with_many_lanes_is_passed_over_in_one_step(world: World, owner: Owner) -> None:
    for number in range(6):
        await world.submit(owner, lane=f"lane-{number}")
    other = await world.owner()
    wanted = await world.submit(other)
    await world.suspend(owner)
    found = await world.look(lines_max=2)
    assert [claim.id for claim in found.claims] == [wanted.id], (
        "the two lines are the suspended owner and the other one"
    )


async def test_when_all_lines_of_a_look_are_suspended_the_next_one_goes_on(world: World) -> None:
    for _ in range(4):
        held = await world.owner()
        await world.submit(held)
        await world.suspend(held)
    last = await world.owner()
    wanted = await world.submit(last)
    after, seen = None, []
    for _ in range(6):
        found = await world.look(lines_max=2, after=after)
        seen += [claim.id for claim in found.claims]
        after = found.resume_after
        if after is None:
            break
    assert seen == [wanted.id]


async def test_a_lane_that_is_paused_stays_so_when_its_owner_goes_on(world: World, owner: Owner) -> None:
    await world.submit(owner)
    await pause_lane(world, owner)
    await world.suspend(owner)
    await world.suspend(owner, suspended=False)
    assert await world.claim() == []


async def test_its_schedules_wait_and_treat_what_they_missed_as_after_a_standstill(world: World, owner: Owner) -> None:
    calendar = Calendar(world)
    made = await calendar.make(owner, "hourly", Rule(every_ms=limits.HOUR_MS, missed="once"))
    await world.suspend(owner)
    for _ in range(3):
        world.clock.advance(limits.HOUR_MS)
        assert (await calendar.fire()).tasks == 0
    assert (await calendar.read(made))[0].missed is None, "nothing is decided yet"

    await world.suspend(owner, suspended=False)
    assert await world.store.next_look() == world.now
    fired = await calendar.fire()
    assert (fired.tasks, len(fired.missed)) == (1, 1)


async def test_looking_at_schedules_that_wait_makes_no_work(world: World, owner: Owner) -> None:
    calendar = Calendar(world)
    await calendar.make(owner, "every-minute", Rule(every_ms=limits.MINUTE_MS))
    await world.suspend(owner)
    world.clock.advance(limits.MINUTE_MS)
    await calendar.fire()
    at = await world.store.next_look()
    assert at is not None
    assert at >= world.now + limits.SUSPENDED_LOOK_MS
