"""The adapters under test. A new one shows up by one more entry in `ADAPTERS`: it says how to open a store, and how
to look behind it where no port does.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, Protocol
from weakref import WeakKeyDictionary

import apsw
import psycopg
import pytest

from tasks_server.clock import Clock
from tasks_server.store.ports import Store
from tasks_server.store.postgres.store import PostgresStore
from tasks_server.store.sealing import Sealer
from tasks_server.store.sqlite.store import SqliteStore
from tests.postgres.databases import Databases
from tests.postgres.run import PGBOUNCER, POSTGRES

MASTER: Final = bytes(range(32))
Source = Callable[[], Sequence[bytes] | None]
Counts = dict[tuple[str, str], int]
"""How many tasks of an owner's lane (by name) are in a state."""
Books = tuple[Counts, Counts]

_COUNTED = "SELECT l.name, c.state, c.n FROM counter AS c JOIN lane AS l ON l.seq = c.lane WHERE c.n <> 0"
_COUNTED_IN_TWO = """
SELECT l.name, c.state, sum(c.n) :: bigint
FROM (SELECT lane, state, n FROM counter UNION ALL SELECT lane, state, n FROM counter_change) AS c
JOIN lane AS l ON l.seq = c.lane
GROUP BY l.seq, c.state
HAVING sum(c.n) <> 0
"""
_REAL = "SELECT l.name, t.state, count(*) FROM task AS t JOIN lane AS l ON l.seq = t.lane GROUP BY l.seq, t.state"


class Adapter(Protocol):
    """What the suite must know of an adapter beside its ports. `folder` is where it may keep data."""

    shared: bool
    """Whether several stores can work on the same data."""
    near: bool
    """Whether asking it costs next to nothing."""
    history_by_day: bool
    """Whether attempts are kept until their whole day is over that is no longer kept."""
    hears: bool
    """Whether hints come from other stores; else they look by themselves."""
    nul: str
    """What becomes of the character U+0000 in text that is searched."""
    metadata_of: str
    """The table that has the metadata of a task in one text."""

    def make(self, folder: Path, clock: Clock, *masters: bytes, source: Source | None = None) -> Store:
        """A store that is not open yet. The same folder again: the same data. `source` gives changed keys."""
        ...

    async def books(self, store: Store) -> Books:
        """What the counters by state say, and what counting the tasks gives, both of one moment."""
        ...

    async def rows(self, store: Store) -> Counter[str]:
        """How many rows each table holds, empty ones left out."""
        ...

    async def query(self, store: Store, text: str) -> list[tuple[Any, ...]]:
        """The rows of a statement, run between the store's own transactions."""
        ...

    async def listening(self, store: Store) -> None:
        """Returns once hints reach the store and it has told those that came before."""
        ...

    def blob(self, data: bytes) -> str:
        """Bytes as they are written in a statement."""
        ...

    def seq_of(self, task_id: str) -> str:
        """The statement that finds the handle of a task."""
        ...

    def stored(self, folder: Path) -> bytes:
        """All that is stored, as whoever steals the disk sees it."""
        ...


class Sqlite:
    """SQLite on a file."""

    shared = True
    near = True
    history_by_day = False
    hears = True
    nul = "\0"
    metadata_of = "task"

    def make(self, folder: Path, clock: Clock, *masters: bytes, source: Source | None = None) -> Store:
        return SqliteStore(
            self.path(folder), Sealer(*(masters or (MASTER,)), source=source), clock, durable=False, make=True
        )

    @staticmethod
    def path(folder: Path) -> Path | None:
        return folder / "tasks.db"

    async def books(self, store: Store) -> Books:
        return _books(await self.query(store, _both(_COUNTED)))

    async def rows(self, store: Store) -> Counter[str]:
        names = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'"
        tables = [str(name) for (name,) in await self.query(store, names)]
        counts = {name: (await self.query(store, f"SELECT count(*) FROM {name}"))[0][0] for name in tables}
        del counts["engine"]  # who works on the data is no part of it
        return +Counter(counts)

    async def query(self, store: Store, text: str) -> list[tuple[Any, ...]]:
        return await query(store, text)

    async def listening(self, store: Store) -> None:
        await store.wait(0)

    def blob(self, data: bytes) -> str:
        return f"x'{data.hex()}'"

    def seq_of(self, task_id: str) -> str:
        return f"SELECT seq FROM task WHERE id = '{task_id}'"

    def stored(self, folder: Path) -> bytes:
        return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


class SqliteMemory(Sqlite):
    """SQLite in memory: one store, gone when it closes."""

    shared = False

    @staticmethod
    def path(folder: Path) -> Path | None:
        return None


class Postgres:
    """PostgreSQL, reached at once or through PgBouncer in transaction mode."""

    shared = True
    near = False
    history_by_day = True
    nul = "\ufffd"
    metadata_of = "request"

    def __init__(self, through: str) -> None:
        self.hears = through == POSTGRES
        self._through = through
        self.urls: WeakKeyDictionary[Store, str] = WeakKeyDictionary()

    def make(self, folder: Path, clock: Clock, *masters: bytes, source: Source | None = None) -> Store:
        url = Databases.lend(folder, self._through)
        if url is None:
            pytest.skip("PgBouncer is not installed (Debian: apt-get install pgbouncer)")
        store: Store = PostgresStore(url, Sealer(*(masters or (MASTER,)), source=source), clock, durable=False)
        self.urls[store] = url
        return store

    async def books(self, store: Store) -> Books:
        return _books(await self.query(store, _both(_COUNTED_IN_TWO)))

    async def rows(self, store: Store) -> Counter[str]:
        names = (
            "SELECT relname FROM pg_class "
            "WHERE relkind IN ('r', 'p') AND NOT relispartition AND relnamespace = 'public'::regnamespace "
            "AND relname NOT IN ('counter_change', 'node')"  # they come and go with the work itself
        )
        tables = [str(name) for (name,) in await self.query(store, names)]
        counts = ", ".join(f"(SELECT count(*) FROM {name})" for name in tables)
        (row,) = await self.query(store, f"SELECT {counts}")
        counts = Counter(dict(zip(tables, row, strict=True)))
        del counts["node"], counts["engine"]  # who works on the data is no part of it
        counts["counter"] += counts.pop("counter_change", 0)
        return +counts

    async def query(self, store: Store, text: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.urls[store], autocommit=True) as connection:
            done = connection.execute(text.encode())
            return done.fetchall() if done.description else []

    async def listening(self, store: Store) -> None:
        await store.wait(0)  # it begins
        while self.hears and not store._hinting._ear.hears:  # type: ignore[attr-defined]  # PostgreSQL's own
            await asyncio.sleep(0.001)
        if self.hears:
            await store.wait(60)  # whoever begins to listen is told that something may have been missed

    def blob(self, data: bytes) -> str:
        return f"'\\x{data.hex()}' :: bytea"

    def seq_of(self, task_id: str) -> str:
        return f"SELECT task FROM request WHERE id = '{task_id}'"

    def stored(self, folder: Path) -> bytes:
        url = Databases.lend(folder, self._through)
        assert url is not None
        names = "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
        with psycopg.connect(url, autocommit=True) as connection:
            found = b""
            for (name,) in connection.execute(names).fetchall():
                with connection.cursor().copy(f"COPY {name} TO STDOUT (FORMAT binary)".encode()) as rows:
                    found += b"".join(bytes(part) for part in rows)
            return found


async def query(store: Store, text: str) -> list[tuple]:
    """The rows of a statement, run between the transactions of a store on SQLite."""
    assert isinstance(store, SqliteStore)
    assert store._writer is not None
    rows = await store._writer.do(_all, text)
    assert isinstance(rows, list)
    return rows


def _all(connection: apsw.Connection, items: list[str]) -> list[list[tuple]]:
    return [connection.execute(text).fetchall() for text in items]


def _both(counted: str) -> str:
    """One statement, so that nothing happens in between."""
    return f"SELECT 'counted', c.* FROM ({counted}) AS c UNION ALL SELECT 'real', r.* FROM ({_REAL}) AS r"


def _books(rows: list[tuple]) -> Books:
    counted: Counter[tuple[str, str]] = Counter()
    real: Counter[tuple[str, str]] = Counter()
    for book, lane, state, n in rows:  # lanes of several owners may have one name
        (counted if book == "counted" else real)[lane, state] += n
    return dict(counted), dict(real)


ADAPTERS: Final[dict[str, Adapter]] = {
    "sqlite-memory": SqliteMemory(),
    "sqlite-file": Sqlite(),
    "postgres": Postgres(POSTGRES),
    "pgbouncer": Postgres(PGBOUNCER),
}
