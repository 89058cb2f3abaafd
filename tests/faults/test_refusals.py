"""PostgreSQL is there and cannot now: full, slow, starting, stopping, read-only. Each is told as what it is."""

import asyncio
import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from tasks_server.clock import DatabaseClock, ManualClock
from tasks_server.domain.errors import Busy, Unavailable
from tasks_server.domain.owner import Owner
from tasks_server.domain.task import State
from tasks_server.store.ports import Inserted
from tasks_server.store.postgres import manner, schema
from tasks_server.store.postgres.store import PostgresStore
from tasks_server.store.sealing import Sealer
from tests.postgres.server import Postgres as Server
from tests.postgres.wire import Wire

from ..store.adapters import ADAPTERS, MASTER
from ..store.world import World
from .conftest import ASK_AGAIN_MS, count


@pytest.fixture
def guest(behind: psycopg.Connection) -> Iterator[str]:
    """A database user of whom only one session is taken."""
    name = f"guest_{os.getpid()}"
    may = "CONNECTION LIMIT 1 IN ROLE pg_read_all_data, pg_write_all_data"
    behind.execute(f"CREATE ROLE {name} LOGIN {may}".encode())
    yield name
    behind.execute(f"DROP ROLE {name}".encode())


@pytest.fixture
def server() -> Iterator[Server]:
    """A server of the test's own, with our schema."""
    # It serves another user, who may not look into the folders of ours.
    with tempfile.TemporaryDirectory(prefix="tasks-server-faults-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        server = Server(folder)
        server.start()
        try:
            with psycopg.connect(server.url, autocommit=True) as made:
                schema.upgrade(made)
            yield server
        finally:
            server.stop()


async def test_a_server_that_is_full_takes_the_store_in_once_there_is_room(
    guest: str, url: str, clock: ManualClock
) -> None:
    parts = urlsplit(url)
    theirs = parts._replace(netloc=f"{guest}@{parts.hostname}:{parts.port}").geturl()
    store = PostgresStore(theirs, Sealer(MASTER), clock)
    with closing(psycopg.connect(theirs)), pytest.raises(Unavailable, match="too many connections for role"):
        await store.open()
    clock.advance(ASK_AGAIN_MS)
    while True:  # their session ends a moment after they left
        try:
            await store.open()
            break
        except Unavailable:
            clock.advance(ASK_AGAIN_MS)
    await store.check()
    await store.close()


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ("57P03", "the database system is starting up"),
        ("57P01", "terminating connection due to administrator command"),
        ("53300", "sorry, too many clients already"),
    ],
)
async def test_a_server_that_starts_or_stops_says_so_and_is_asked_again(
    world: World, wire: Wire, owner: Owner, state: str, message: str
) -> None:
    wire.says = (state, message)
    wire.cut()
    with pytest.raises(Unavailable, match=f"cannot be reached: .*{message}"):
        await world.store.insert(world.task(owner))
    came = wire.came
    with pytest.raises(Unavailable, match=message):
        await world.store.insert(world.task(owner))
    assert wire.came == came
    wire.says = None
    world.clock.advance(ASK_AGAIN_MS)
    task = await world.submit(owner)
    assert await world.state(task) is State.AVAILABLE


async def test_a_statement_that_takes_too_long_is_given_up_and_leaves_nothing(
    world: World, owner: Owner, behind: psycopg.Connection, monkeypatch: pytest.MonkeyPatch, wire: Wire
) -> None:
    monkeypatch.setitem(manner._TRANSACTION, "statement_timeout", 50)
    wire.cut()
    with behind.transaction():
        behind.execute("LOCK TABLE request")
        with pytest.raises(Busy, match="waited for too long"):
            await world.store.insert(world.task(owner))
    assert count(behind, "task") == count(behind, "request") == 0
    assert await world.in_queue(owner) == 0


async def test_a_wire_that_is_silent_is_not_waited_for_for_ever(
    world: World, wire: Wire, owner: Owner, behind: psycopg.Connection
) -> None:
    assert isinstance(world.store, PostgresStore)
    world.store._link._answer_seconds = 0.2
    await world.submit(owner)
    wire.stall()
    wire.refuses = True
    with pytest.raises(Unavailable, match="whether it was done is not known"):
        await world.store.insert(world.task(owner))
    wire.cut()
    wire.flow()
    wire.refuses = False
    world.clock.advance(ASK_AGAIN_MS)
    assert await world.store.insert(world.task(owner)) == Inserted()
    assert count(behind, "task") == 2


@pytest.mark.process
async def test_a_server_that_is_restarted_is_found_again(server: Server, tmp_path: Path) -> None:
    clock = DatabaseClock("late")
    store = PostgresStore(server.url, Sealer(MASTER), clock)
    await store.open()
    try:
        world = World(store, clock, ADAPTERS["postgres"], tmp_path)  # type: ignore[arg-type]  # nobody turns this clock
        owner = await world.owner()
        first = await world.submit(owner)
        for how in (signal.SIGINT, signal.SIGQUIT):  # in order, and at once
            server.stop(how)
            with pytest.raises(Unavailable, match="cannot be reached"):
                await store.insert(world.task(owner))
            await asyncio.to_thread(server.start)
            async with asyncio.timeout(30):
                while not await stored(world, owner):
                    await asyncio.sleep(0.01)
            assert await world.state(first) is State.AVAILABLE
        assert await world.in_queue(owner) == 3
    finally:
        await store.close()


async def stored(world: World, owner: Owner) -> bool:
    """Whether the store takes a task."""
    try:
        return await world.store.insert(world.task(owner)) == Inserted()
    except Unavailable:
        return False
