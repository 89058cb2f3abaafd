"""What waits while clocks are set: schedules go on from now, waits end, nothing is made twice."""

import asyncio
from collections import Counter
from collections.abc import Callable

import pytest

from tasks_server.domain import lifecycle, schedule
from tasks_server.domain.bulk import Action
from tasks_server.domain.owner import Owner
from tasks_server.domain.request import TaskConfig
from tasks_server.domain.schedule import Overlap, Rule
from tasks_server.domain.task import State
from tasks_server.service.timeline import timeline
from tasks_server.store.timekeeping import Righted

from .bulks import Desk
from .schedules import Calendar
from .world import FAILURE, SUCCESS, World

SECOND = 1_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
AHEAD = [HOUR, DAY]
CRON = Rule(cron="* * * * *", timezone="UTC")


@pytest.fixture
def calendar(world: World) -> Calendar:
    return Calendar(world)


async def put_right(world: World, seen_ms: int = 0, count_max: int = 1_000) -> Righted:
    """The clock was set, or is looked at: all that follows from it."""
    await world.store.keep_time(seen_ms)
    waits = schedules = 0
    due_at = None
    while True:
        step = await world.store.put_right(count_max)
        waits, schedules, due_at = waits + step.waits, schedules + step.schedules, due_at or step.due_at
        if not step.more:
            return Righted(waits, schedules, due_at)


async def set_back(world: World, by: int) -> Righted:
    world.clock.set(-by)
    return await put_right(world, -by)


async def fired(calendar: Calendar, owner: Owner) -> Counter[int]:
    """How many tasks each fire time has."""
    return Counter(task.fire_at for task in await calendar.tasks(owner))


# Schedules


@pytest.mark.parametrize("by", AHEAD)
@pytest.mark.parametrize("rule", [Rule(every_ms=MINUTE), CRON], ids=["every", "cron"])
async def test_a_schedule_goes_on_from_now(world: World, calendar: Calendar, owner: Owner, rule: Rule, by: int) -> None:
    """After a clock that ran ahead is set right, and no engine was there to see it."""
    made = await calendar.make(owner, "each-minute", rule)
    await put_right(world)
    world.clock.set(by)
    await world.store.keep_time()
    await calendar.fire()
    world.clock.advance(MINUTE)
    await calendar.fire()
    ahead = await fired(calendar, owner)
    assert min(ahead) > world.now - 10 * MINUTE
    world.clock.set(-by)
    assert await put_right(world) == Righted(schedules=1)
    found, _ = await calendar.read(made)
    assert found.next_fire_at is not None
    assert world.now < found.next_fire_at <= world.now + MINUTE
    for _ in range(3):
        world.clock.advance(MINUTE)
        await calendar.fire()
    assert len(await fired(calendar, owner)) == len(ahead) + 3


@pytest.mark.parametrize("by", AHEAD)
async def test_pause_and_resume_let_it_go_on_from_now(world: World, calendar: Calendar, owner: Owner, by: int) -> None:
    made = await calendar.make(owner, "each-minute")
    world.clock.advance(by + MINUTE)
    await calendar.fire()
    world.clock.set(-by)
    await calendar.change(owner.id, made.id, lambda found: schedule.pause(found, world.now))
    await calendar.change(owner.id, made.id, lambda found: schedule.resume(found, world.now))
    world.clock.advance(MINUTE)
    await calendar.fire()
    assert (await fired(calendar, owner))[world.now // MINUTE * MINUTE + made.anchor_at % MINUTE] == 1


async def test_no_fire_time_makes_two_tasks_however_often_it_comes(
    world: World, calendar: Calendar, owner: Owner
) -> None:
    await calendar.make(owner, "each-minute")
    began = world.now
    for _ in range(3):
        for _ in range(8):
            world.clock.advance(MINUTE)
            await calendar.fire()
        assert (await set_back(world, 5 * MINUTE)).schedules == 1
    for _ in range(5):
        world.clock.advance(MINUTE)
        await calendar.fire()
    expected = {began + number * MINUTE: 1 for number in range(1, 8 + 3 + 3 + 1)}
    assert await fired(calendar, owner) == Counter(expected)


OVERLAPS: list[Overlap] = ["skip", "buffer", "cancel"]


@pytest.mark.parametrize("overlap", OVERLAPS)
async def test_a_task_of_the_future_stands_in_nobodys_way(
    world: World, calendar: Calendar, owner: Owner, overlap: Overlap
) -> None:
    await calendar.make(owner, "each-minute", Rule(every_ms=MINUTE, overlap=overlap))
    world.clock.advance(DAY)
    await calendar.fire()
    before = set(await fired(calendar, owner))
    await set_back(world, DAY)
    # Those that came in line by then stay there, and are the task before; once they have ended, the next one comes.
    for claim in await world.claim(horizon=world.now + 2 * DAY):
        await world.settle(claim)
    world.clock.advance(MINUTE)
    await calendar.fire()
    assert set(await fired(calendar, owner)) - before == {world.now}


async def test_one_that_ended_by_a_clock_that_was_ahead_lives_again(
    world: World, calendar: Calendar, owner: Owner
) -> None:
    made = await calendar.make(owner, "until-noon", Rule(every_ms=MINUTE, end_at=world.now + HOUR))
    world.clock.advance(DAY)
    await calendar.fire()
    assert (await calendar.read(made))[0].standing == "ended"
    assert (await set_back(world, DAY)).schedules == 1
    world.clock.advance(MINUTE)
    await calendar.fire()
    assert world.now in await fired(calendar, owner)


async def test_paused_and_unreadable_ones_are_left_as_they_are(world: World, calendar: Calendar, owner: Owner) -> None:
    paused = await calendar.make(owner, "paused")
    await calendar.change(owner.id, paused.id, lambda found: schedule.pause(found, world.now))
    damaged = await calendar.make(owner, "damaged")
    await calendar.make(owner, "other")
    world.clock.advance(DAY)
    await calendar.fire()
    await world.query(f"UPDATE schedule SET facts = '{{broken' WHERE id = '{damaged.id}'")
    assert (await set_back(world, DAY)).schedules == 1
    assert (await calendar.read(paused))[0].standing == "paused"
    assert (await calendar.read(damaged))[0].lost
    world.clock.advance(MINUTE)
    await calendar.fire()
    assert world.now in await fired(calendar, owner)


# Waits


@pytest.mark.parametrize("by", AHEAD)
async def test_a_wait_is_no_longer_than_it_was_when_it_began(world: World, owner: Owner, by: int) -> None:
    world.clock.set(by)
    waits = await world.submit(owner, 5 * SECOND)
    instant = await world.submit(owner, 5 * SECOND, remaining_ms=None)
    assert await set_back(world, by) == Righted(waits=1, due_at=world.now + 5 * SECOND)
    assert (await world.read(waits)).due_at == world.now + 5 * SECOND
    assert (await world.read(instant)).due_at == world.now + by + 5 * SECOND
    (event,) = [event for event in await world.store.events(None, waits.id) if event.kind == "clock"]
    assert (event.at, event.facts and event.facts.due_at) == (world.now, world.now + by + 5 * SECOND)
    told = timeline(await world.read(waits), None, [], [event])
    assert [(one.event, one.due_at) for one in told] == [
        ("clock_set_back", world.now + 5 * SECOND),
        ("registered", world.now + by + 5 * SECOND),
    ]
    world.clock.advance(5 * SECOND)
    assert [claim.id for claim in await world.claim()] == [waits.id]
    await world.check_counters()


@pytest.mark.parametrize("by", AHEAD)
async def test_so_are_the_waits_of_retries_and_repeats(world: World, owner: Owner, by: int) -> None:
    world.clock.set(by)
    retry, repeat = await world.submit(owner), await world.submit(owner)
    configs = {
        retry.id: TaskConfig(retry=3, retry_interval=7 * SECOND),
        repeat.id: TaskConfig(repeat=3, repeat_interval=9 * SECOND),
    }
    for claim in await world.claim():
        await world.settle(claim, FAILURE if claim.id == retry.id else SUCCESS, configs[claim.id])
    assert (await set_back(world, by)).waits == 2
    assert (await world.read(retry)).due_at == world.now + 7 * SECOND
    assert (await world.read(repeat)).due_at == world.now + 9 * SECOND
    assert [(await world.read(task)).state for task in (retry, repeat)] == [State.RETRYABLE, State.SCHEDULED]


@pytest.mark.parametrize("by", AHEAD)
async def test_while_the_clock_goes_as_it_went_nothing_is_changed(
    world: World, calendar: Calendar, owner: Owner, by: int
) -> None:
    """Nor when it is set ahead, when a leap second comes, or when the machine was suspended."""
    await calendar.make(owner, "each-minute")
    task = await world.submit(owner, 2 * by)
    due_at = (await world.read(task)).due_at
    moves: list[Callable[[], int]] = [
        lambda: world.clock.advance(by // 2),
        lambda: world.clock.suspend(by // 2),
        lambda: world.clock.set(-SECOND),
        lambda: world.clock.set(SECOND),
    ]
    for move in moves:
        move()
        assert await put_right(world) == Righted()
    world.clock.set(by)
    assert await put_right(world, by) == Righted()
    known = await world.store.timekeeping()
    assert (known.set_ms, known.set_at, known.walk) == (by, world.now, None)
    assert (await world.read(task)).due_at == due_at


async def test_steps_are_bounded_and_miss_nothing(world: World, calendar: Calendar, owner: Owner) -> None:
    world.clock.set(DAY)
    for number in range(5):
        await calendar.make(owner, f"each-{number}")
    world.clock.advance(MINUTE)
    await calendar.fire()
    tasks = await world.submit_many(owner, 7, MINUTE)
    world.clock.set(-DAY)
    assert await put_right(world, -DAY, count_max=2) == Righted(7, 5, world.now + MINUTE)
    assert {(await world.read(task)).due_at for task in tasks} == {world.now + MINUTE}
    assert (await world.store.timekeeping()).walk is None
    assert await put_right(world) == Righted()


async def test_several_may_take_steps_at_once(world: World, owner: Owner) -> None:
    world.clock.set(DAY)
    tasks = await world.submit_many(owner, 30, MINUTE)
    world.clock.set(-DAY)
    await asyncio.gather(*(world.store.keep_time(-DAY) for _ in range(3)))
    while (await world.store.timekeeping()).walk is not None:
        await asyncio.gather(*(world.store.put_right(4) for _ in range(3)))
    assert {(await world.read(task)).due_at for task in tasks} == {world.now + MINUTE}


async def test_what_came_by_the_old_clock_after_the_walk_is_found_by_the_next(world: World, owner: Owner) -> None:
    """Another process notices a little later that the clock was set."""
    await put_right(world)
    assert await set_back(world, DAY) == Righted()
    late = await world.submit(owner, DAY + MINUTE, remaining_ms=MINUTE)
    for _ in range(4):
        world.clock.advance(5 * SECOND)
        await put_right(world)
    assert (await world.read(late)).due_at <= world.now + MINUTE


@pytest.mark.parametrize("by", AHEAD)
async def test_a_paused_task_keeps_its_wait(world: World, owner: Owner, by: int) -> None:
    world.clock.set(by)
    task = await world.submit(owner, 5 * SECOND)
    await world.steer(task, lifecycle.pause)
    await set_back(world, by)
    assert (await world.read(task)).remaining_ms == 5 * SECOND


@pytest.mark.parametrize("by", AHEAD)
async def test_bulk_work_goes_on(world: World, owner: Owner, by: int) -> None:
    world.clock.set(by)
    await world.submit_many(owner, 3, MINUTE)
    desk = Desk(world)
    made = await desk.make(owner, Action.REVOKE)
    await desk.step(changed_max=1)
    await set_back(world, by)
    assert (await desk.finish(made)).changed == 3
    assert await world.in_queue(owner) == 0
