"""The loop that does bulk work: when it looks, when it rests, what it tells; and the engine around it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from tasks_server.clock import ManualClock
from tasks_server.domain.bulk import STEP_FAILURES_MAX, Action, Deleted, Steered
from tasks_server.domain.errors import Unavailable
from tasks_server.domain.task import Task
from tasks_server.engine import bulks
from tasks_server.engine.bulks import BulkWorker
from tasks_server.engine.loop import Engine, EngineConfig
from tasks_server.store.bulking import DecideBulk, Stride, Worked
from tasks_server.telemetry import Telemetry

from ..store.adapters import ADAPTERS
from ..store.bulks import Desk
from ..store.world import World
from .scripted import ScriptedCaller


@pytest.fixture
async def desk(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Desk]:
    adapter = ADAPTERS["sqlite-memory"]
    store = adapter.make(tmp_path, clock)
    await store.open()
    yield Desk(World(store, clock, adapter, tmp_path))
    await store.close()


def worker(desk: Desk, lines: list[bytes], stride: Stride | None = None) -> BulkWorker:
    clock = desk.world.clock
    return BulkWorker(desk.store, clock, Telemetry(clock, form="json", write=lines.append), stride)


async def test_without_work_it_looks_again_later(desk: Desk) -> None:
    assert await worker(desk, []).look() == 2.0


async def test_it_rests_a_moment_after_each_step_and_tells_the_end(desk: Desk) -> None:
    owner = await desk.world.owner()
    await desk.failed(owner, 5)
    bulk = await desk.make(owner, Action.RETRY)
    lines: list[bytes] = []
    loop = worker(desk, lines, Stride(10, 2))
    assert [await loop.look() for _ in range(3)] == [0.005] * 3
    assert await loop.look() == 2.0
    (line,) = lines
    for part in (bulk.id, '"retry"', '"done"', '"changed":5'):
        assert part.encode() in line


async def test_work_that_waits_is_looked_at_when_its_turn_comes(desk: Desk) -> None:
    small = await desk.world.owner(limit=1)
    await desk.failed(small, 1)
    await desk.make(small, Action.RETRY)
    await desk.world.submit(small)
    loop = worker(desk, [])
    await loop.look()
    assert await loop.look() == 1.0
    desk.world.clock.advance(400)
    assert await loop.look() == 0.6


async def test_a_step_that_cannot_be_done_is_told_and_others_have_their_turn(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = await desk.world.owner()
    made = await desk.failed(owner, 2)
    broken = await desk.make(owner, Action.RETRY, ids=(made[0],))
    desk.world.clock.advance(1)
    whole = await desk.make(owner, Action.RETRY, ids=(made[1],))
    real = bulks.act

    def act(action: Action, by: str, task: Task, now: int) -> Steered | Deleted | None:
        if task.id == made[0]:
            raise msgspec.DecodeError("a fault of ours, met at this task")
        return real(action, by, task, now)

    monkeypatch.setattr(bulks, "act", act)
    lines: list[bytes] = []
    loop = worker(desk, lines)
    for _ in range(STEP_FAILURES_MAX + 1):
        await loop.look()
        desk.world.clock.advance(60_000)
    told = [line for line in lines if b'"bulk_step_failed"' in line]
    assert len(told) == STEP_FAILURES_MAX
    assert all(broken.id.encode() in line and b"DecodeError" in line and b"Traceback" in line for line in told)
    assert b'"retry_in_ms":1000' in told[0]
    assert b'"retry_in_ms":null' in told[-1]
    assert ((await desk.read(broken)).standing, (await desk.read(whole)).standing) == ("failed", "done")
    assert (await desk.read(broken)).error == "what is stored of a task is damaged"


async def test_trouble_of_the_store_is_told_and_waited_out(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = await desk.world.owner()
    await desk.failed(owner, 3)
    bulk = await desk.make(owner, Action.RETRY)
    lines: list[bytes] = []
    loop = worker(desk, lines)
    real, failures = desk.store.work_bulk, iter([Unavailable("away"), Unavailable("away")])

    async def troubled(now: int, stride: Stride, decide: DecideBulk) -> Worked:
        if (failure := next(failures, None)) is not None:
            raise failure
        return await real(now, stride, decide)

    monkeypatch.setattr(desk.store, "work_bulk", troubled)
    running = asyncio.create_task(loop.run())
    async with asyncio.timeout(20):
        while not (await desk.read(bulk)).ended_at:
            await asyncio.sleep(0.001)
    running.cancel()
    assert any(b"bulk work" in line and b"away" in line for line in lines)


async def test_an_engine_does_what_is_asked_for_while_it_runs(
    desk: Desk, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = await desk.world.owner()
    made = await desk.failed(owner, 3)
    caller = ScriptedCaller()
    engine = Engine(desk.store, caller, clock, EngineConfig(), Telemetry(clock, write=lambda _: None), lambda: 0.0)
    woken = asyncio.Event()
    wake = engine.bulks.wake

    def told() -> None:
        woken.set()
        wake()

    monkeypatch.setattr(engine.bulks, "wake", told)
    running = asyncio.create_task(engine.run())
    bulk = await desk.make(owner, Action.RETRY)
    async with asyncio.timeout(20):
        while not woken.is_set():
            desk.store.hint_schedules()
            await asyncio.sleep(0.001)
        while len(caller.sent) < len(made):
            await asyncio.sleep(0.001)
    assert (await desk.read(bulk)).standing == "done"
    engine.stop(0)
    await running
