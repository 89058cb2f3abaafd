"""PostgreSQL stops in the middle: its disk is full, a session is ended in its transaction, a commit comes late."""

import asyncio
import threading
from collections.abc import Iterator

import psycopg
import pytest

from tasks_server.domain import lifecycle
from tasks_server.domain.errors import Unavailable, Uncertain
from tasks_server.domain.owner import Owner
from tasks_server.domain.task import State, Task
from tasks_server.store.ports import Change, Inserted
from tests.postgres.wire import Wire, until
from tests.store.world import World

from .conftest import count

HELD = 4_711
"""The advisory lock with which a test holds up a commit."""
AT_COMMIT = "DEFERRABLE INITIALLY DEFERRED"


def on_insert(behind: psycopg.Connection, act: str, when: str = "") -> None:
    """From now on this happens with every task that comes in, at once or with the commit, until `let_be`."""
    behind.execute("CREATE SEQUENCE came")
    behind.execute(
        f"CREATE FUNCTION act() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN {act}; RETURN NULL; END$$".encode()
    )
    kind, when = ("CONSTRAINT TRIGGER", f"{when} FOR EACH ROW") if when else ("TRIGGER", "")
    behind.execute(f"CREATE {kind} act AFTER INSERT ON task {when} EXECUTE FUNCTION act()".encode())


def let_be(behind: psycopg.Connection) -> None:
    behind.execute("DROP FUNCTION IF EXISTS act() CASCADE")
    behind.execute("DROP SEQUENCE IF EXISTS came")


@pytest.fixture
def disturbed(behind: psycopg.Connection) -> Iterator[psycopg.Connection]:
    """The session past the wire; what `on_insert` did is undone in the end."""
    yield behind
    let_be(behind)


def waiting(behind: psycopg.Connection, what: str) -> list[int]:
    """The sessions of the store that wait for a lock of this kind."""
    found = behind.execute(
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'tasks-server'"
        " AND wait_event_type = 'Lock' AND wait_event = %s",
        (what,),
    )
    return [pid for (pid,) in found]


async def test_a_commit_that_comes_after_the_first_look_is_found(
    world: World, wire: Wire, owner: Owner, disturbed: psycopg.Connection
) -> None:
    on_insert(disturbed, f"IF nextval('came') = 1 THEN PERFORM pg_advisory_xact_lock({HELD}); END IF", AT_COMMIT)
    disturbed.execute("SELECT pg_advisory_lock(%s)", (HELD,))
    task = world.task(owner)
    asked = asyncio.ensure_future(world.store.insert(task))
    await until(lambda: len(waiting(disturbed, "advisory")) == 1)
    wire.cut()  # the database goes on with what it was told, and nobody hears of it
    await until(lambda: len(waiting(disturbed, "advisory")) == 2)  # it was looked for, and is done once more
    disturbed.execute("SELECT pg_advisory_unlock(%s)", (HELD,))
    assert await asked == Inserted()
    assert count(disturbed, "task") == count(disturbed, "request") == 1
    assert await world.state(task) is State.AVAILABLE
    await world.check_counters()


async def test_a_full_disk_stores_nothing_and_says_so(
    world: World, owner: Owner, disturbed: psycopg.Connection
) -> None:
    on_insert(disturbed, "RAISE EXCEPTION 'no space left on device' USING ERRCODE = '53100'")
    with pytest.raises(Unavailable, match="the database's disk is full; nothing was stored") as refused:
        await world.store.insert(world.task(owner))
    assert not isinstance(refused.value, Uncertain)
    assert count(disturbed, "task") == count(disturbed, "request") == 0
    let_be(disturbed)
    await world.submit(owner)
    await world.check_counters()


async def test_a_session_that_was_ended_in_its_transaction_changed_nothing(
    world: World, owner: Owner, behind: psycopg.Connection
) -> None:
    task = await world.submit(owner)
    inside, go_on = threading.Event(), threading.Event()

    def decide(found: Task, _: object) -> Change:
        inside.set()
        assert go_on.wait(30)
        return Change(lifecycle.revoke(found, world.now))

    asked = asyncio.ensure_future(world.store.change(owner.id, task.id, decide))
    await until(inside.is_set)
    in_transaction = (
        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = current_database()"
        " AND application_name = 'tasks-server' AND state <> 'idle' AND wait_event = 'ClientRead'"
    )
    try:
        await until(lambda: behind.execute(in_transaction.encode()).fetchall() == [(True,)])
    finally:
        go_on.set()
    with pytest.raises(Uncertain):
        await asked
    assert await world.state(task) is State.AVAILABLE
    await world.steer(task, lifecycle.revoke)
    assert await world.state(task) is State.REVOKED
    await world.check_counters()
