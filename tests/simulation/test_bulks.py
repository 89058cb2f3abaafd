"""Bulk work under engines that die: each failed task is restarted exactly once by one piece of work. The seed decides
who dies when.
"""

import asyncio
import contextlib
import random
from collections import Counter
from pathlib import Path

import pytest

from tasks_server.clock import ManualClock
from tasks_server.domain.bulk import Action
from tasks_server.engine.bulks import BulkWorker
from tasks_server.store.bulking import Stride
from tasks_server.store.ports import Store
from tasks_server.telemetry import Telemetry

from ..store.adapters import ADAPTERS
from ..store.bulks import Desk
from ..store.world import World
from .seeds import seed_of, seeds

ENGINES = 3
TASKS = 400


class Engines:
    """Those who do the work, on stores of their own. One that dies is gone in the middle of whatever it waited for."""

    def __init__(self, stores: list[Store], clock: ManualClock, chance: random.Random) -> None:
        self.clock = clock
        self.chance = chance
        self.deaths = 0
        self._told = Telemetry(clock, write=lambda _: None)
        self.engines = [(store, self._engine(store)) for store in stores]

    def _engine(self, store: Store) -> BulkWorker:
        return BulkWorker(store, self.clock, self._told, Stride(20, 7))

    async def turn(self) -> None:
        """Everybody looks once, and one of them may die of it."""
        self.clock.advance(1)
        doing = [asyncio.ensure_future(engine.look()) for _, engine in self.engines]
        victim = self.chance.randrange(len(doing))
        for _ in range(self.chance.randrange(8)):
            await asyncio.sleep(0)
        self.deaths += not doing[victim].done()
        doing[victim].cancel()
        store, _ = self.engines[victim]
        self.engines[victim] = (store, self._engine(store))
        for work in doing:
            with contextlib.suppress(asyncio.CancelledError):
                await work


@pytest.mark.parametrize("seed", seeds(11))
@pytest.mark.parametrize("name", ["sqlite-file", "postgres"])
async def test_each_failed_task_is_restarted_once_whoever_dies(
    name: str, seed: str, tmp_path: Path, clock: ManualClock
) -> None:
    async with contextlib.AsyncExitStack() as stack:
        stores = []
        for _ in range(ENGINES):
            store = ADAPTERS[name].make(tmp_path, clock)
            await store.open()
            stack.push_async_callback(store.close)
            stores.append(store)
        world = World(stores[0], clock, ADAPTERS[name], tmp_path)
        desk, owners = Desk(world), [await world.owner() for _ in range(2)]
        for owner in owners:
            await desk.failed(owner, TASKS // 2)
        bulks = [await desk.make(owner, Action.RETRY) for owner in owners]
        engines = Engines(stores, clock, random.Random(seed_of(seed)))
        while await world.store.next_bulk() is not None:
            await engines.turn()
        done = [await desk.read(bulk) for bulk in bulks]
        assert [(bulk.standing, bulk.seen, bulk.changed) for bulk in done] == [("done", 200, 200)] * 2
        events = Counter(await world.query("SELECT task, detail FROM event"))
        assert Counter(events.values()) == {1: TASKS}
        assert Counter([detail for _, detail in events]) == {f"by bulk work {bulk.id}": 200 for bulk in bulks}
        assert engines.deaths > 0
        assert [await world.in_queue(owner) for owner in owners] == [200, 200]
        await world.check_counters()
