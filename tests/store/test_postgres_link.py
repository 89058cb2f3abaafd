"""What each connection to PostgreSQL is like, whatever the server, the database and the role say; and which databases
are refused.
"""

import asyncio
import contextlib
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final, LiteralString, cast

import psycopg
import pytest
from psycopg import sql

from tasks_server.clock import ManualClock, SystemClock
from tasks_server.domain.errors import ReadOnly, StoreError
from tasks_server.store.ports import Inserted
from tasks_server.store.postgres import schema
from tasks_server.store.postgres.link import Connection, Link, one
from tasks_server.store.postgres.store import PostgresStore
from tasks_server.store.sealing import Sealer
from tests.postgres.databases import Databases
from tests.postgres.run import PGBOUNCER, POSTGRES
from tests.postgres.server import Postgres

from .adapters import ADAPTERS, MASTER
from .world import World

HOSTILE: Final = {
    "default_transaction_isolation": "serializable",
    "default_transaction_deferrable": "on",
    "statement_timeout": "5s",
    "lock_timeout": "5s",
    "idle_in_transaction_session_timeout": "5s",
    "idle_session_timeout": "5s",
    "transaction_timeout": "5s",
    "synchronous_commit": "off",
    "extra_float_digits": "-15",
    "enable_seqscan": "on",
    "enable_hashjoin": "on",
    "enable_mergejoin": "on",
    "enable_nestloop": "off",
    "enable_indexscan": "off",
    "enable_indexonlyscan": "off",
    "enable_bitmapscan": "off",
    "enable_sort": "off",
    "enable_partition_pruning": "off",
    "plan_cache_mode": "force_custom_plan",
    "jit": "on",
    "TimeZone": "Asia/Kathmandu",
    "DateStyle": "SQL, DMY",
    "IntervalStyle": "sql_standard",
    "client_encoding": "LATIN1",
    "bytea_output": "escape",
    "standard_conforming_strings": "off",
    "array_nulls": "off",
    "transform_null_equals": "on",
    "row_security": "off",
}
"""Defaults that somebody may have chosen for others who use the database."""
OURS: Final = {
    "transaction_isolation": "read committed",
    "statement_timeout": "30s",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "30s",
    "transaction_timeout": "0",
    "synchronous_commit": "on",
    "extra_float_digits": "1",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "enable_nestloop": "on",
    "enable_indexscan": "on",
    "enable_indexonlyscan": "on",
    "enable_bitmapscan": "on",
    "enable_sort": "on",
    "enable_partition_pruning": "on",
    "plan_cache_mode": "auto",
    "jit": "off",
    "client_encoding": "UTF8",
}
"""What holds in each transaction all the same."""
OURS_ALONE: Final = {
    "idle_session_timeout": "0",
    "TimeZone": "UTC",
    "DateStyle": "ISO, DMY",
    "bytea_output": "hex",
    "standard_conforming_strings": "on",
}
"""And in each session that is shared with nobody."""
WHERE: Final = ("DATABASE {database}", "ROLE {role}", "ROLE {role} IN DATABASE {database}")


@pytest.fixture
def bare(databases: Databases) -> str:
    return databases.bare()


def through(databases: Databases, url: str, of: str) -> str:
    """The way to a database."""
    if of == POSTGRES:
        return url
    pooled = databases.pooled(url)
    if pooled is None:
        pytest.skip("PgBouncer is not installed (Debian: apt-get install pgbouncer)")
    return pooled


def make_hostile(url: str, where: str, role: str = "", values: dict[str, str] = HOSTILE) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        known = {name for (name,) in connection.execute("SELECT name FROM pg_settings")}
        names = {"database": sql.Identifier(connection.info.dbname), "role": sql.Identifier(role)}
        for name, value in values.items():
            if name in known:
                text = f"ALTER {where} SET {name} = {{}}"
                connection.execute(sql.SQL(cast("LiteralString", text)).format(sql.Literal(value), **names))


@pytest.fixture
def role(bare: str) -> Iterator[tuple[str, str]]:
    """The name of a role that owns the database, and the URL with it."""
    name = f"role_{bare.rpartition('/')[2]}"
    with psycopg.connect(bare, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(name)))
        database = sql.Identifier(connection.info.dbname)
        connection.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(database, sql.Identifier(name)))
    yield name, bare.replace("postgres@", f"{name}@")
    with psycopg.connect(bare, autocommit=True) as connection:
        connection.execute(sql.SQL("REASSIGN OWNED BY {} TO postgres").format(sql.Identifier(name)))
        connection.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(name)))
        connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


@contextlib.contextmanager
def connected(url: str, *, durable: bool = True) -> Iterator[Connection]:
    with contextlib.closing(Link(url, SystemClock(), durable=durable).connect()) as connection:
        yield connection


def settings(connection: Connection, names: dict[str, str]) -> dict[str, str]:
    """Those of these settings that this server knows."""
    known = {name: name for name in names if name != "transaction_timeout" or connection.info.server_version >= 170_000}
    columns = ", ".join(f"current_setting('{name}')" for name in known)
    return dict(zip(known, one(connection, f"SELECT {columns}".encode()), strict=True))


def differing(connection: Connection, names: dict[str, str]) -> dict[str, str]:
    """Those that are not as they should be: in a statement by itself, in a transaction, in a pipeline."""
    found = [settings(connection, names)]
    with connection.transaction():
        found.append(settings(connection, names))
        found.append(settings(connection, names))
    with connection.pipeline(), connection.transaction():
        found.append(settings(connection, names))
    found.append(settings(connection, names))
    return {name: value for seen in found for name, value in seen.items() if value != names[name]}


@pytest.mark.parametrize("where", WHERE)
def test_a_session_is_ours_whatever_the_defaults_are(bare: str, role: tuple[str, str], where: str) -> None:
    name, url = role
    make_hostile(bare, where, name)
    with connected(url) as connection:
        assert differing(connection, OURS | OURS_ALONE) == {}


def test_a_transaction_is_ours_on_sessions_that_others_use_too(databases: Databases, bare: str) -> None:
    url = through(databases, bare, PGBOUNCER)
    make_hostile(bare, WHERE[0])
    with connected(url) as connection:
        assert differing(connection, OURS) == {}
        with psycopg.connect(url, autocommit=True) as other:
            left = settings(other, OURS)
        assert left["enable_seqscan"] == "on", "nobody else is touched by it"


def test_a_bare_connection_adds_nothing_to_its_statements(databases: Databases, bare: str) -> None:
    """Whoever listens through a pooler: a pipeline may keep it to one session for just as long as the trial takes."""
    url = through(databases, bare, PGBOUNCER)
    make_hostile(bare, WHERE[0])
    with contextlib.closing(Link(url, SystemClock()).connect(bare=True)) as connection:
        assert settings(connection, OURS)["statement_timeout"] == "5s"


@pytest.mark.parametrize("of", [POSTGRES, PGBOUNCER])
@pytest.mark.parametrize(
    ("chosen", "durable", "lazy"),
    [("off", "on", "off"), ("local", "local", "off"), ("remote_apply", "remote_apply", "off")],
)
def test_what_is_acknowledged_is_on_disk(
    databases: Databases, bare: str, of: str, chosen: str, durable: str, lazy: str
) -> None:
    url = through(databases, bare, of)
    make_hostile(bare, WHERE[0], values={"synchronous_commit": chosen})
    with connected(url) as connection:
        assert differing(connection, {"synchronous_commit": durable}) == {}
    with connected(url, durable=False) as connection:
        assert differing(connection, {"synchronous_commit": lazy}) == {}


@pytest.mark.parametrize("of", [POSTGRES, PGBOUNCER])
async def test_the_store_works_whatever_the_defaults_are(
    databases: Databases, bare: str, tmp_path: Path, clock: ManualClock, of: str
) -> None:
    url = through(databases, bare, of)
    make_hostile(bare, WHERE[0])
    with connected(url) as connection:
        schema.upgrade(connection)
    stores = [PostgresStore(url, Sealer(MASTER), clock) for _ in range(2)]
    async with contextlib.AsyncExitStack() as opened:
        for store in stores:
            await store.open()
            opened.push_async_callback(store.close)
        worlds = [
            World(store, clock, ADAPTERS["postgres"], tmp_path, first)
            for first, store in zip((1, 1_000), stores, strict=True)
        ]
        owner = await worlds[0].owner("first-owner")
        for _ in range(10):  # both at once, over and over: under a stricter isolation one of them would be undone
            tasks = [(world, world.task(owner)) for world in worlds for _ in range(3)]
            answers = await asyncio.gather(*(world.store.insert(task) for world, task in tasks))
            assert all(isinstance(answer, Inserted) for answer in answers), answers
            claims = await asyncio.gather(*(world.claim() for world in worlds))
            reports = [[world.report(claim) for claim in some] for world, some in zip(worlds, claims, strict=True)]
            await asyncio.gather(*(store.settle(some) for store, some in zip(stores, reports, strict=True)))
        assert await worlds[0].in_queue(owner) == 0
        assert len(await stores[1].attempts(None, tasks[0][1].id)) == 1


@pytest.mark.parametrize("of", [POSTGRES, PGBOUNCER])
async def test_a_database_that_was_made_read_only_is_not_written_to(
    databases: Databases, bare: str, clock: ManualClock, of: str
) -> None:
    """Whoever did so wants it frozen, before it moves or its disk is full."""
    url = through(databases, bare, of)
    with psycopg.connect(bare, autocommit=True) as connection:
        schema.upgrade(connection)
    store = PostgresStore(url, Sealer(MASTER), clock)
    await store.open()
    await store.probe()
    make_hostile(bare, WHERE[0], values={"default_transaction_read_only": "on"})
    await store.close()
    with psycopg.connect(bare, autocommit=True) as connection:  # the sessions that a pooler keeps, too
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    with pytest.raises(ReadOnly, match="the database is read-only: default_transaction_read_only is on"):
        await store.open()
    with connected(url) as connection, pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        connection.execute("CREATE TABLE x ()")


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder that whoever runs the server can reach."""
    with tempfile.TemporaryDirectory(prefix="tasks-server-tests-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


def test_a_standby_says_that_it_is_one(home: Path) -> None:
    server = Postgres(home)
    server.start()
    try:
        server.stop(signal.SIGINT)
        (home / "data" / "standby.signal").touch()
        server.start()
        link = Link(server.url, SystemClock())
        for _ in range(2):  # the second time, it is not asked again so soon
            with pytest.raises(ReadOnly, match=r"this is a standby, which takes no writes: name the primary in"):
                link.connect()
    finally:
        server.stop()


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII", "EUC_JP"])
def test_a_database_that_cannot_keep_every_text_is_refused(databases: Databases, encoding: str) -> None:
    link = Link(databases.bare(encoding), SystemClock())
    with pytest.raises(StoreError, match=f"the database has the encoding {encoding}, .* ENCODING 'UTF8'"):
        link.connect()


def test_statements_are_planned_for_indexes_and_not_compiled(tmp_path: Path, databases: Databases) -> None:
    url = databases.lend(tmp_path)
    assert url is not None
    with connected(url) as connection:
        for name in ("enable_seqscan", "enable_hashjoin", "enable_mergejoin", "jit"):
            assert one(connection, f"SELECT current_setting('{name}')") == ("off",), name
