"""Engines at work, with real calls, while the clock is set: nothing is sent twice, nothing is lost, no slot is held."""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tasks_server.clock import SystemClock
from tasks_server.domain.attempt import OutcomeKind
from tasks_server.domain.firing import Template
from tasks_server.domain.forms import encode_spec
from tasks_server.domain.owner import Owner
from tasks_server.domain.request import HttpRequest, TaskConfig, TaskSpec
from tasks_server.domain.schedule import Rule
from tasks_server.domain.task import State
from tasks_server.engine.http.client import HttpClient
from tasks_server.engine.loop import Engine, EngineConfig
from tasks_server.telemetry import Telemetry
from tests.engine.http.target import Target, hang
from tests.postgres.wire import until

from ..store.adapters import ADAPTERS, Adapter
from ..store.schedules import Calendar
from ..store.world import World

HOUR = 3_600_000
JUMPS = (HOUR, -HOUR, 24 * HOUR, -24 * HOUR)
COUNT = 25


class Settable(SystemClock):
    """A machine's clock that a test sets while the machine works."""

    def __init__(self) -> None:
        self.set_ms = 0

    def now(self) -> int:
        return super().now() + self.set_ms


class Site:
    """One store, one engine with real calls, one clock. Its tasks call paths of its own."""

    def __init__(self, adapter: Adapter, folder: Path, target: Target, by: int) -> None:
        folder.mkdir()
        self.clock = Settable()
        self.store = adapter.make(folder, self.clock)
        self.world = World(self.store, self.clock, adapter, folder)  # type: ignore[arg-type]  # no test turns it by hand
        self.target, self.by = target, by
        self.lines: list[bytes] = []
        told = Telemetry(self.clock, write=self.lines.append)
        caller = HttpClient(clock=self.clock, user_agent="test", response_max_bytes=1_000, connections_max=100)
        self.engine = Engine(self.store, caller, self.clock, EngineConfig(), told, random.random)

    async def submit(self, owner: Owner, kind: str, delay: int = 0, count: int = COUNT) -> None:
        for number in range(count):
            url = self.target.url(f"/{self.by}/{kind}?{number}")
            spec = encode_spec(TaskSpec(HttpRequest(url, "GET"), TaskConfig()))
            await self.world.submit(owner, delay, spec=spec)

    def received(self, kind: str) -> Counter[str]:
        """How often each task of that kind was sent."""
        head = f"/{self.by}/{kind}"
        return Counter(one.path for one in self.target.received if one.path.startswith(head))

    def all_came(self, kind: str) -> Callable[[], bool]:
        return lambda: len(self.received(kind)) == COUNT

    def told(self, event: bytes) -> bool:
        return any(event in line for line in self.lines)


@contextlib.asynccontextmanager
async def open_site(adapter: Adapter, folder: Path, target: Target, by: int) -> AsyncIterator[Site]:
    site = Site(adapter, folder, target, by)
    await site.store.open()
    running = asyncio.create_task(site.engine.run())
    try:
        yield site
    finally:
        site.engine.stop(0)
        await running
        await site.store.close()


@pytest.mark.parametrize("kind", ["sqlite-file", "postgres"])
async def test_a_clock_that_is_set_under_load(kind: str, tmp_path: Path) -> None:
    with Target() as target:
        for by in JUMPS:
            target.scripts[f"/{by}/hang"] = hang

        all_set = asyncio.Barrier(len(JUMPS))

        async def live(by: int) -> None:
            async with open_site(ADAPTERS[kind], tmp_path / str(by), target, by) as site:
                await _lives_through_it(site, all_set)

        await asyncio.gather(*(live(by) for by in JUMPS))


async def _lives_through_it(site: Site, all_set: asyncio.Barrier) -> None:
    world, by = site.world, site.by
    owner = await world.owner()
    calendar = Calendar(world)
    template = Template(HttpRequest(site.target.url(), "GET"), TaskConfig(), "127.0.0.1:0")
    made = await calendar.make(owner, "each-second", Rule(every_ms=1_000), template)
    await site.submit(owner, "hang")
    await until(site.all_came("hang"))
    await until(lambda: site.engine.keeper.known is not None)
    await site.submit(owner, "wait", 800)
    before = world.now
    site.clock.set_ms += by
    await site.submit(owner, "after")
    await until(site.all_came("after"))
    await until(lambda: site.told(b"clock set"))
    await all_set.wait()
    site.target.release()
    await until(site.all_came("wait"))

    async def schedule_goes_on() -> bool:
        found, _ = await calendar.read(made)
        return (
            found.last_task is not None
            and found.next_fire_at is not None
            and abs(found.next_fire_at - world.now) < 5_000
        )

    while not await schedule_goes_on():  # the test's limit of time ends it
        await asyncio.sleep(0.05)
    tasks = await calendar.tasks(owner)
    assert max(Counter(task.fire_at for task in tasks if task.schedule).values()) == 1
    while await world.in_queue(owner) > 2:  # those of the schedule come and go
        await asyncio.sleep(0.05)
    for each in ("hang", "wait", "after"):
        assert set(site.received(each).values()) == {1}
    own = [task for task in tasks if task.schedule is None]
    assert len(own) == 3 * COUNT
    for task in own:
        assert await world.state(task.id) is State.COMPLETED
        outcomes = [attempt.outcome for attempt in await site.store.attempts(None, task.id)]
        assert outcomes[-1] is OutcomeKind.SUCCESS
        assert set(outcomes[:-1]) <= {OutcomeKind.INTERRUPTED}
    assert abs(world.now - before - by) < 60_000
