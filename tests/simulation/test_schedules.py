"""Schedules under engines that die: whatever happens, each fire time makes one task. The seed decides who dies when."""

import asyncio
import contextlib
import random
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from tasks_server.clock import ManualClock
from tasks_server.domain import schedule
from tasks_server.domain.schedule import Missed, Rule, Schedule
from tasks_server.engine.scheduler import Scheduler
from tasks_server.store.ports import Store
from tasks_server.telemetry import Telemetry

from ..store.adapters import ADAPTERS
from ..store.schedules import Calendar
from ..store.world import World
from .seeds import seed_of, seeds

SIZES = {"sqlite-file": (200, 60), "postgres": (60, 20)}
"""Schedules, and for how many seconds they fire."""
ENGINES = 3


class Engines:
    """Schedulers on stores of their own. One that dies is gone in the middle of whatever it waited for."""

    def __init__(self, stores: list[Store], clock: ManualClock, chance: random.Random) -> None:
        self.clock = clock
        self.chance = chance
        self.deaths = 0
        self._told = Telemetry(clock, write=lambda _: None)
        self.engines = [(store, self._engine(store)) for store in stores]

    def _engine(self, store: Store) -> Scheduler:
        return Scheduler(store, self.clock, self._told)

    async def second(self) -> None:
        """One second passes, and all that is due is fired, by whoever lives."""
        self.clock.advance(1_000)
        doing = [asyncio.ensure_future(self._work(engine)) for _, engine in self.engines]
        victim = self.chance.randrange(2 * len(doing))
        if victim < len(doing):
            for _ in range(self.chance.randrange(60)):
                await asyncio.sleep(0)
            self.deaths += not doing[victim].done()
            doing[victim].cancel()
            store, _ = self.engines[victim]
            self.engines[victim] = (store, self._engine(store))
        for work in doing:
            with contextlib.suppress(asyncio.CancelledError):
                await work

    async def _work(self, engine: Scheduler) -> None:
        while await engine.look() < 0.5:
            await asyncio.sleep(0)


@pytest.mark.parametrize("seed", seeds(12))
@pytest.mark.parametrize("name", SIZES)
async def test_each_fire_time_makes_one_task_whoever_dies(
    name: str, seed: str, tmp_path: Path, clock: ManualClock
) -> None:
    schedules, seconds = SIZES[name]
    async with contextlib.AsyncExitStack() as stack:
        stores = []
        for _ in range(ENGINES):
            store = ADAPTERS[name].make(tmp_path, clock)
            await store.open()
            stack.push_async_callback(store.close)
            stores.append(store)
        world = World(stores[0], clock, ADAPTERS[name], tmp_path)
        calendar, owners = Calendar(world), [await world.owner() for _ in range(4)]
        begun = clock.now()
        made = [
            await calendar.make(owners[number % 4], f"number-{number}", Rule(every_ms=1_000))
            for number in range(schedules)
        ]
        engines = Engines(stores, clock, random.Random(seed_of(seed)))
        for _ in range(seconds):
            await engines.second()
        runs = Counter(await world.query("SELECT schedule, fire_at FROM schedule_run"))
        wanted = {(one.id, begun + 1_000 * second) for one in made for second in range(1, seconds + 1)}
        assert runs == Counter(wanted)
        assert engines.deaths > 0
        assert sum([await world.in_queue(owner) for owner in owners]) == len(wanted)
        await world.check_counters()


@pytest.mark.parametrize(("missed", "count"), [("skip", 0), ("once", 1), ("all", 10)])
async def test_after_ten_minutes_without_an_engine(
    missed: Missed, count: int, tmp_path: Path, clock: ManualClock
) -> None:
    store = ADAPTERS["sqlite-memory"].make(tmp_path, clock)
    await store.open()
    world = World(store, clock, ADAPTERS["sqlite-memory"], tmp_path)
    calendar, owner = Calendar(world), await world.owner()
    made = [
        await calendar.make(owner, f"number-{number}", Rule(every_ms=60_000, missed=missed)) for number in range(20)
    ]
    clock.advance(10 * 60_000 + 30_000)
    lines: list[bytes] = []
    engine = Scheduler(store, clock, Telemetry(clock, write=lines.append))
    while await engine.look() < 0.5:
        pass
    runs = Counter(task.schedule for task in await calendar.tasks(owner))
    assert runs == (Counter({one.id: count for one in made}) if count else Counter())
    told = [line for line in lines if b"runs missed" in line]
    assert len(told) == (0 if missed == "all" else 20)
    clock.advance(30_000)
    assert await engine.look() == 0.0
    assert Counter(task.schedule for task in await calendar.tasks(owner)) == Counter(
        {one.id: count + 1 for one in made}
    )
    await store.close()


HOUR = 3_600_000
EDITED = {"sqlite-file": (12, 120), "postgres": (8, 40)}
"""Schedules, and for how many turns."""


class Edits:
    """Owners who pause, resume and change schedules, somebody who sets the clock, engines that put it right."""

    def __init__(self, calendar: Calendar, stores: list[Store], made: list[Schedule], chance: random.Random) -> None:
        self.calendar, self.stores, self.made, self.chance = calendar, stores, made, chance
        self.clock = calendar.world.clock

    async def turn(self) -> None:
        if self.chance.random() < 0.3:
            one, act = self.chance.choice(self.made), self.chance.choice([self.pause, self.resume, self.replace])
            await self.calendar.change(None, one.id, act)
        if self.chance.random() < 0.05:
            by = self.chance.choice([HOUR, -HOUR, 24 * HOUR, -24 * HOUR, 3_000, -3_000])
            self.clock.set(by)
        store = self.chance.choice(self.stores)
        await store.keep_time()
        await store.put_right(5)

    def pause(self, found: Schedule) -> Schedule:
        return schedule.pause(found, self.clock.now())

    def resume(self, found: Schedule) -> Schedule:
        return schedule.resume(found, self.clock.now())

    def replace(self, found: Schedule) -> Schedule:
        """As PUT and PATCH do."""
        now, every_ms = self.clock.now(), self.chance.choice([1_000, 2_000])
        after = msgspec.structs.replace(found, rule=Rule(every_ms=every_ms), anchor_at=now // 1_000 * 1_000)
        return after if found.paused_at is not None else schedule.begin(after, now)

    async def calm_down(self) -> None:
        """All of it is put right, and every schedule fires."""
        store = self.stores[0]
        await store.keep_time()
        while (await store.put_right(100)).more:
            pass
        for one in self.made:
            await self.calendar.change(None, one.id, self.resume)


@pytest.mark.parametrize("seed", seeds(13, 14))
@pytest.mark.parametrize("name", EDITED)
async def test_whatever_is_edited_and_however_the_clock_is_set(
    name: str, seed: str, tmp_path: Path, clock: ManualClock
) -> None:
    """No fire time makes two tasks, and in the end each schedule goes on from now."""
    count, turns = EDITED[name]
    chance = random.Random(seed_of(seed))
    async with contextlib.AsyncExitStack() as stack:
        stores = []
        for _ in range(ENGINES):
            store = ADAPTERS[name].make(tmp_path, clock)
            await store.open()
            stack.push_async_callback(store.close)
            stores.append(store)
        world = World(stores[0], clock, ADAPTERS[name], tmp_path)
        calendar, owner = Calendar(world), await world.owner()
        made = [await calendar.make(owner, f"number-{number}", Rule(every_ms=1_000)) for number in range(count)]
        engines, edits = Engines(stores, clock, chance), Edits(calendar, stores, made, chance)
        for _ in range(turns):
            await edits.turn()
            await engines.second()
        await edits.calm_down()
        calm_at = clock.now()
        for _ in range(4):
            await engines.second()
        runs = Counter(await world.query("SELECT schedule, fire_at FROM schedule_run"))
        assert set(runs.values()) == {1}
        fired = {found for found, fire_at in runs if calm_at < fire_at <= clock.now()}
        assert fired == {one.id for one in made}
        await world.check_counters()
