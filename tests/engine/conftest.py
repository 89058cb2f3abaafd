"""Shops to run an engine in."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tasks_server.clock import ManualClock
from tasks_server.engine.loop import EngineConfig

from ..store.adapters import ADAPTERS
from ..store.world import World
from .scripted import ScriptedHandlers
from .shop import OpenShop, Shop


@pytest.fixture
async def open_shop(tmp_path: Path, clock: ManualClock) -> AsyncIterator[OpenShop]:
    async with contextlib.AsyncExitStack() as stack:

        async def make(config: EngineConfig | None = None, handlers: ScriptedHandlers | None = None) -> Shop:
            adapter = ADAPTERS["sqlite-memory"]
            store = adapter.make(tmp_path, clock)
            await store.open()
            stack.push_async_callback(store.close)
            world = World(store, clock, adapter, tmp_path)
            return Shop(world, await world.owner(), config or EngineConfig(), handlers)

        yield make


@pytest.fixture
async def shop(open_shop: OpenShop) -> Shop:
    return await open_shop()
