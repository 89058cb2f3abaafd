"""Stores that reach their database by a wire that can be cut, and a session behind it."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psycopg
import pytest

from tasks_server.clock import ManualClock
from tasks_server.domain.owner import Owner
from tasks_server.store.postgres.store import PostgresStore
from tasks_server.store.sealing import Sealer
from tests.postgres.databases import Databases
from tests.postgres.run import POSTGRES
from tests.postgres.wire import Wire, until

from ..store.adapters import MASTER, Postgres
from ..store.world import World

COMMITTED = b"COMMIT\0"
ONE_ROW = b"SELECT 1\0"
"""What PostgreSQL says at the end of a statement (CommandComplete): of a transaction, of one that gives one row."""
INSERT = b"Stores tasks with their sealed specs"
CLAIM = b"Takes the oldest tasks of groups"
SETTLE = b"Records what became of running tasks"
"""What the texts of the statements begin with; sent once in a session, which prepares them."""
END_ALL = (
    "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
    " WHERE datname = current_database() AND application_name = 'tasks-server'"
)
LISTENING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'"
ASK_AGAIN_MS = 3_000
"""Longer than the database is ever left alone after a refusal."""


@pytest.fixture
def url(tmp_path: Path) -> str:
    lent = Databases.lend(tmp_path)
    assert lent is not None
    return lent


@pytest.fixture
def behind(url: str) -> Iterator[psycopg.Connection]:
    """A session of the test's own, past the wire."""
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


@pytest.fixture
async def wire(url: str) -> AsyncIterator[Wire]:
    async with Wire(url) as wire:
        yield wire


@pytest.fixture
async def world(wire: Wire, url: str, clock: ManualClock, tmp_path: Path) -> AsyncIterator[World]:
    store, adapter = PostgresStore(wire.url, Sealer(MASTER), clock), Postgres(POSTGRES)
    adapter.urls[store] = url
    await store.open()
    yield World(store, clock, adapter, tmp_path)
    clock.advance(ASK_AGAIN_MS)
    await store.close()


@pytest.fixture
async def owner(world: World) -> Owner:
    return await world.owner("first-owner")


def count(behind: psycopg.Connection, table: str) -> int:
    row = behind.execute(f"SELECT count(*) FROM {table}".encode()).fetchone()
    assert row is not None
    return int(row[0])


async def end_all(world: World, wire: Wire, behind: psycopg.Connection) -> None:
    """Ends all sessions of the store, also one that is just beginning, which is a refusal."""
    hinting = world.store._hinting  # type: ignore[attr-defined]  # PostgreSQL's own
    await until(lambda: not hinting._sending)
    while not wire.quiet:
        behind.execute(END_ALL)
        await asyncio.sleep(0.01)
    world.clock.advance(ASK_AGAIN_MS)
