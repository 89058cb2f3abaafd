"""Two stores that fire the same schedules at once, and steer them meanwhile: one task for each fire time."""

import asyncio
from collections import Counter

from tasks_server.domain import schedule
from tasks_server.domain.owner import Owner
from tasks_server.domain.schedule import Rule, Schedule
from tasks_server.store.scheduling import Fired, ScheduleChange, ScheduleRefusal
from tests.store.schedules import Calendar

from .conftest import Pair


async def fired(pair: Pair) -> list[Fired]:
    """What several looks of both at the same moment did."""
    calendars = [Calendar(world) for world in pair]
    return await asyncio.gather(*(calendar.fire(7) for _ in range(8) for calendar in calendars))


async def test_both_fire_and_each_fire_time_makes_one_task(pair: Pair, owner: Owner) -> None:
    calendar = Calendar(pair[0])
    made = [await calendar.make(owner, f"number-{number}", Rule(every_ms=1_000)) for number in range(20)]
    wanted: Counter[tuple[str, int]] = Counter()
    for _ in range(5):
        at = pair[0].clock.advance(1_000)
        while sum(found.schedules for found in await fired(pair)):
            pass
        wanted.update((one.id, at) for one in made)
        assert Counter(await pair[0].query("SELECT schedule, fire_at FROM schedule_run")) == wanted
    assert await pair[1].in_queue(owner) == 100
    await pair[1].check_counters()


async def test_the_limit_holds_for_both(pair: Pair) -> None:
    small = await pair[0].owner(limit=15)
    calendar = Calendar(pair[0])
    for number in range(20):
        await calendar.make(small, f"number-{number}", Rule(every_ms=1_000))
    pair[0].clock.advance(1_000)
    task = pair[0].task(small)
    done, _ = await asyncio.gather(fired(pair), pair[1].store.insert(task))
    more = done
    while any(found.schedules for found in more):
        more = await fired(pair)
        done += more
    assert sum(found.tasks for found in done) in (14, 15)
    assert sum(len(found.missed) for found in done) == 20 - sum(found.tasks for found in done)
    assert await pair[1].in_queue(small) == 15


async def test_what_one_paused_the_other_does_not_fire(pair: Pair, owner: Owner) -> None:
    one, two = (Calendar(world) for world in pair)
    for number in range(20):
        made = await one.make(owner, f"number-{number}", Rule(every_ms=1_000))
        now = one.world.clock.advance(1_000)
        done, paused = await asyncio.gather(
            two.fire(), one.change(owner.id, made.id, lambda found, now=now: schedule.pause(found, now))
        )
        assert isinstance(paused, Schedule)
        assert paused.standing == "paused"
        assert paused.runs == done.tasks
        assert await two.fire() == Fired()
        assert await two.store.delete_schedule(owner.id, made.id)


async def test_one_name_is_given_once(pair: Pair, owner: Owner) -> None:
    calendars = [Calendar(world) for world in pair]
    for number in range(10):
        news = [ScheduleChange(calendar.schedule(owner, f"name-{number}"), b"x") for calendar in calendars]
        news[1].schedule.id = "Z" * 23 + str(number)

        def make(found: Schedule | None, _: bytes, new: ScheduleChange) -> ScheduleChange | None:
            return None if found is not None else new

        answers = await asyncio.gather(
            *(
                calendar.store.change_schedule(
                    owner.id, f"name-{number}", lambda found, old, new=new: make(found, old, new), 100
                )
                for calendar, new in zip(calendars, news, strict=True)
            )
        )
        (kept,) = [one for one in await pair[0].store.schedules(owner.id, "", 100) if one.name == f"name-{number}"]
        assert kept in answers
        assert all(answer == kept or answer is ScheduleRefusal.NAME_TAKEN for answer in answers)


async def test_an_owner_who_goes_meanwhile_takes_its_schedules_along(pair: Pair) -> None:
    one, two = (Calendar(world) for world in pair)
    for _ in range(10):
        owner = await one.world.owner()
        await one.make(owner, "short", Rule(every_ms=1_000))
        one.world.clock.advance(1_000)
        gone, done = await asyncio.gather(one.store.delete_owner(owner.id), two.fire())
        assert gone == (done.tasks == 0)
        left = await two.store.schedules(None, "", 100)
        assert len(left) == (0 if gone else 1)
        if not gone:
            assert await two.store.delete_schedule(None, left[0].id)
