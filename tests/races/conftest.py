"""Two stores on the same data, as two processes would have them. Tests wait for facts, never for time."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tasks_server.clock import ManualClock
from tasks_server.domain.owner import Owner
from tests.store.adapters import ADAPTERS, Adapter
from tests.store.world import World

Pair = tuple[World, World]


@pytest.fixture(params=[name for name, adapter in ADAPTERS.items() if adapter.shared])
def adapter(request: pytest.FixtureRequest) -> Adapter:
    return ADAPTERS[request.param]


@pytest.fixture
async def pair(adapter: Adapter, clock: ManualClock, tmp_path: Path) -> AsyncIterator[Pair]:
    """Two open stores on the same data. What they make gets different names."""
    stores = [adapter.make(tmp_path, clock) for _ in range(2)]
    for store in stores:
        await store.open()
        await adapter.listening(store)
    yield World(stores[0], clock, adapter, tmp_path, 1), World(stores[1], clock, adapter, tmp_path, 1_000_000)
    for store in stores:
        await store.close()


@pytest.fixture
async def owner(pair: Pair) -> Owner:
    return await pair[0].owner("first-owner")
