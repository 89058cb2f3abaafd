"""The schema of PostgreSQL: upgraded only when asked to, with servers of two releases side by side."""

from collections.abc import Callable, Iterator

import psycopg
import pytest

from tasks_server.domain.errors import Corrupt, Refused, SchemaOutOfDate
from tasks_server.store import migrate
from tasks_server.store.migrate import Migration
from tasks_server.store.postgres import schema
from tasks_server.store.postgres.link import Connection
from tasks_server.store.sealing import Sealer
from tests.postgres.databases import Databases

from .adapters import MASTER

OURS = migrate.load("tasks_server.store.postgres.migrations")
LAST = len(OURS)
WIDER = Migration(LAST + 1, f"{LAST + 1:04}_wider", "ALTER TABLE owner ADD COLUMN more text;", "m")
POST = Migration(LAST + 2, f"{LAST + 2:04}_less.post", "-- after 1.2.0\nDROP TABLE idempotency;", "l", after="1.2.0")
LATER = Migration(LAST + 3, f"{LAST + 3:04}_later", "CREATE TABLE later (x integer);", "x")
SEALER = Sealer(MASTER)

Release = Callable[..., None]


@pytest.fixture
def connection(databases: Databases) -> Iterator[Connection]:
    """To a database without any table."""
    with psycopg.connect(databases.bare(), autocommit=True) as connection:
        yield connection


@pytest.fixture
def release(monkeypatch: pytest.MonkeyPatch) -> Release:
    """Makes this program one that knows these migrations beside ours."""

    def knows(*more: Migration) -> None:
        monkeypatch.setattr("tasks_server.store.migrate.load", lambda _: [*OURS, *more])

    return knows


def node(connection: Connection, version: str, seconds_ago: int = 0) -> None:
    """A process of that version that was last seen so long ago."""
    found = connection.execute(
        "SELECT attname FROM pg_attribute WHERE attrelid = 'node'::regclass AND attnum > 0 AND attnotnull"
    )
    columns = [name for (name,) in found if name != "number"]
    seen = f"extract(epoch FROM clock_timestamp()) * 1000 - {seconds_ago * 1_000}"
    known = {"host": "'there'", "pid": "7", "role": "'engine'", "version": f"'{version}'", "realm": "''", "born": "0"}
    known |= {"started_at": "0", "seen_at": seen}
    values = ", ".join(known[name] for name in columns)
    connection.execute(f"INSERT INTO node ({', '.join(columns)}) VALUES ({values})".encode())


def tables(connection: Connection) -> int:
    row = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone()
    assert row is not None
    return int(row[0])


def test_an_empty_database_is_refused_with_the_command_that_fills_it(connection: Connection) -> None:
    with pytest.raises(SchemaOutOfDate, match=r"here: the database holds no tables .* run `tasks-server db upgrade`"):
        schema.verify(connection, SEALER, "here")
    assert tables(connection) == 0


def test_an_upgrade_makes_everything_once(connection: Connection) -> None:
    assert not schema.is_made(connection)
    assert schema.upgrade(connection) == [step.name for step in OURS]
    assert schema.is_made(connection)
    assert schema.upgrade(connection) == []
    schema.verify(connection, SEALER, "here")
    with pytest.raises(Corrupt, match="another cipher key"):
        schema.verify(connection, Sealer(bytes(32)), "here")


def test_an_upgrade_that_fails_leaves_no_trace(connection: Connection, release: Release) -> None:
    release(Migration(LAST + 1, "9999_broken", "CREATE TABLE half (x integer); SELECT * FROM nowhere;", "b"))
    with pytest.raises(psycopg.errors.UndefinedTable):
        schema.upgrade(connection)
    assert not schema.is_made(connection)
    assert tables(connection) == 0


def test_a_new_database_gets_everything_at_once(connection: Connection, release: Release) -> None:
    release(WIDER, POST, LATER)
    assert schema.upgrade(connection) == [*(step.name for step in OURS), WIDER.name, POST.name, LATER.name]


def test_a_release_needs_what_expands_and_the_one_before_lives_with_it(
    connection: Connection, release: Release
) -> None:
    schema.upgrade(connection)
    release(WIDER, POST)
    with pytest.raises(SchemaOutOfDate, match="lacks 1 migration of this version: run `tasks-server db upgrade`"):
        schema.verify(connection, SEALER, "here")
    assert [step.name for step in schema.preview(connection)] == [WIDER.name, POST.name]
    assert schema.upgrade(connection) == [WIDER.name]
    schema.verify(connection, SEALER, "here")
    release()
    schema.verify(connection, SEALER, "here")  # the release before starts as ever
    release(WIDER, POST)
    assert schema.upgrade(connection, post=True) == [POST.name]
    schema.verify(connection, SEALER, "here")
    release()
    with pytest.raises(SchemaOutOfDate, match="this program knows"):
        schema.verify(connection, SEALER, "here")


def test_what_contracts_waits_for_the_last_old_node(connection: Connection, release: Release) -> None:
    schema.upgrade(connection)
    release(WIDER, POST)
    schema.upgrade(connection)
    node(connection, "1.2.0")
    node(connection, "1.1.8", seconds_ago=3_600)  # it died long ago
    node(connection, "1.1.9")
    with pytest.raises(Refused, match=r"run version 1\.2\.0 or newer; older are: there \(pid 7\) with 1\.1\.9$"):
        schema.upgrade(connection, post=True)
    assert connection.execute("SELECT to_regclass('idempotency') IS NOT NULL").fetchone() == (True,)
    connection.execute("UPDATE node SET version = '1.10.0' WHERE version = '1.1.9'")
    assert schema.upgrade(connection, post=True) == [POST.name]


def test_nothing_is_applied_out_of_turn(connection: Connection, release: Release) -> None:
    schema.upgrade(connection)
    release(WIDER, POST, LATER)
    with pytest.raises(Refused, match="wider comes first: run `tasks-server db upgrade`"):
        schema.upgrade(connection, post=True)
    assert schema.upgrade(connection) == [WIDER.name]
    with pytest.raises(Refused, match=r"less\.post comes first: once every node runs version 1\.2\.0"):
        schema.upgrade(connection)
    assert [step.name for step in schema.preview(connection)] == [POST.name, LATER.name]
    assert schema.upgrade(connection, post=True) == [POST.name]
    assert schema.upgrade(connection) == [LATER.name]
