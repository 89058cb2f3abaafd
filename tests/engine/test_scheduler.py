"""The scheduler: when it looks, what wakes it, and how it bears with its store."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tasks_server.clock import ManualClock
from tasks_server.domain.errors import Unavailable
from tasks_server.domain.forms import decode_spec
from tasks_server.domain.schedule import Rule
from tasks_server.engine.executor import headers_of
from tasks_server.engine.loop import Engine, EngineConfig
from tasks_server.engine.scheduler import Scheduler
from tasks_server.service.ground import Ground
from tasks_server.service.tasks import TaskService
from tasks_server.store.scheduling import DecideFiring, Fired
from tasks_server.telemetry import Telemetry

from ..store.adapters import ADAPTERS
from ..store.schedules import Calendar
from ..store.world import World
from .scripted import ScriptedCaller


@pytest.fixture
async def world(tmp_path: Path, clock: ManualClock) -> AsyncIterator[World]:
    store = ADAPTERS["sqlite-memory"].make(tmp_path, clock)
    await store.open()
    yield World(store, clock, ADAPTERS["sqlite-memory"], tmp_path)
    await store.close()


def quiet(clock: ManualClock) -> Telemetry:
    return Telemetry(clock, write=lambda _: None)


async def test_it_looks_when_the_next_one_has_its_turn(world: World, clock: ManualClock) -> None:
    scheduler = Scheduler(world.store, clock, quiet(clock))
    assert await scheduler.look() == 2.0
    calendar, owner = Calendar(world), await world.owner()
    made = await calendar.make(owner, "soon", Rule(every_ms=1_000))
    assert await scheduler.look() == pytest.approx(0.97)
    assert made.next_fire_at == clock.now() + 1_000
    clock.advance(970)
    assert await scheduler.look() == 0.0
    (task,) = await calendar.tasks(owner)
    assert task.due_at == made.next_fire_at, "made ahead, so that it runs on time, and not before"
    assert await scheduler.look() == pytest.approx(1.0)


async def test_it_looks_again_by_itself(world: World, clock: ManualClock) -> None:
    await Calendar(world).make(await world.owner(), "rare", Rule(every_ms=3_600_000))
    assert await Scheduler(world.store, clock, quiet(clock)).look() == 2.0


async def test_what_another_has_in_hand_is_asked_for_again(clock: ManualClock) -> None:
    class Taken:
        async def next_look(self) -> int:
            return clock.now()

        async def fire(self, now: int, horizon: int, limit: int, decide: DecideFiring) -> Fired:
            return Fired()

    assert 0 < await Scheduler(Taken(), clock, quiet(clock)).look() < 0.1  # type: ignore[arg-type]  # only what a look asks


async def test_trouble_of_the_store_is_waited_out(clock: ManualClock) -> None:
    done = asyncio.Event()

    class Troubled:
        asked = 0

        async def next_look(self) -> int | None:
            self.asked += 1
            if self.asked <= 2:
                raise Unavailable("gone for now")
            done.set()
            return None

    lines: list[bytes] = []
    store = Troubled()
    scheduler = Scheduler(store, clock, Telemetry(clock, write=lines.append))  # type: ignore[arg-type]  # only what a look asks
    running = asyncio.create_task(scheduler.run())
    async with asyncio.timeout(20):
        await done.wait()
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    trouble, back = lines
    assert b"fire schedules" in trouble
    assert b"store back" in back


async def test_an_engine_fires_calls_and_records(world: World, clock: ManualClock) -> None:
    calendar, owner = Calendar(world), await world.owner()
    caller = ScriptedCaller()
    engine = Engine(world.store, caller, clock, EngineConfig(), quiet(clock), lambda: 0.0)
    running = asyncio.create_task(engine.run())
    async with asyncio.timeout(20):
        made = await calendar.make(owner, "live", Rule(every_ms=1_000))
        world.store.hint_schedules()
        clock.advance(1_000)
        while not caller.sent:
            engine.scheduler.wake()  # its timer goes by the true time
            await asyncio.sleep(0.001)
        caller.end_all()
        while await world.in_queue(owner):
            await asyncio.sleep(0.001)
    (task,) = await calendar.tasks(owner)
    assert (task.schedule, task.attempt) == (made.id, 1)
    engine.stop(0)
    await running


async def test_a_hint_of_schedules_wakes_the_scheduler(world: World, clock: ManualClock) -> None:
    engine = Engine(world.store, ScriptedCaller(), clock, EngineConfig(), quiet(clock), lambda: 0.0)
    woken = asyncio.Event()
    engine.scheduler.wake = woken.set  # type: ignore[method-assign]  # to hear of it
    running = asyncio.create_task(engine.run())
    async with asyncio.timeout(20):
        while not woken.is_set():
            world.store.hint_schedules()
            await asyncio.sleep(0.001)
    engine.stop(0)
    await running


async def test_the_target_is_told_the_schedule_and_its_fire_time_also_after_an_edit(
    world: World, clock: ManualClock
) -> None:
    calendar, owner = Calendar(world), await world.owner()
    made = await calendar.make(owner, "soon", Rule(every_ms=1_000))
    assert made.next_fire_at is not None
    clock.advance(1_000)
    await Scheduler(world.store, clock, quiet(clock)).look()
    (task,) = await calendar.tasks(owner)
    told = {("X-Tasks-Schedule-Id", made.id), ("X-Tasks-Fire-At", str(made.next_fire_at))}
    tasks = TaskService(Ground(world.store, clock))
    await tasks.pause(owner.id, task.id, by="owner")
    await tasks.edit(owner.id, task.id, {"config": {"timeout": 500}}, by="owner")
    await tasks.resume(owner.id, task.id, by="owner")
    claim = await world.claim_one()
    spec = decode_spec(claim.spec)
    assert spec.config.timeout_ms == 500
    assert told <= set(headers_of(claim, spec, clock.now()))
    plain = spec.__class__(spec.request, spec.config)
    assert not told & set(headers_of(claim, plain, clock.now()))
