"""Runs the suite over every adapter."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tasks_server.clock import ManualClock
from tasks_server.domain.owner import Owner

from .adapters import ADAPTERS, Adapter
from .world import World


@pytest.fixture(params=ADAPTERS)
def adapter(request: pytest.FixtureRequest) -> Adapter:
    return ADAPTERS[request.param]


@pytest.fixture
async def world(adapter: Adapter, clock: ManualClock, tmp_path: Path) -> AsyncIterator[World]:
    """An open, empty store."""
    store = adapter.make(tmp_path, clock)
    await store.open()
    yield World(store, clock, adapter, tmp_path)
    await store.close()


@pytest.fixture
async def owner(world: World) -> Owner:
    return await world.owner("first-owner")


@pytest.fixture
async def other(world: World) -> Owner:
    return await world.owner("other-owner")
