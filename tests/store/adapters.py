"""The adapters under test. A new one shows up by one more entry in `ADAPTERS`: it says how to open a store, and how
to look behind it where no port does.
"""

from collections import Counter
from pathlib import Path
from typing import Final, Protocol

import apsw

from tasks_server.clock import Clock
from tasks_server.store.ports import Store
from tasks_server.store.sealing import Sealer
from tasks_server.store.sqlite.store import SqliteStore

MASTER: Final = bytes(range(32))
Counts = dict[tuple[str, str], int]
"""How many tasks of an owner's lane (by name) are in a state."""

_COUNTED = "SELECT l.name, c.state, c.n FROM counter AS c JOIN lane AS l ON l.seq = c.lane WHERE c.n <> 0"
_REAL = "SELECT l.name, t.state, count(*) FROM task AS t JOIN lane AS l ON l.seq = t.lane GROUP BY t.lane, t.state"


class Adapter(Protocol):
    """What the suite must know of an adapter beside its ports. `folder` is where it may keep data."""

    shared: bool
    """Whether several stores can work on the same data."""

    def make(self, folder: Path, clock: Clock, *masters: bytes) -> Store:
        """A store that is not open yet. The same folder again: the same data."""
        ...

    async def counted(self, store: Store) -> Counts:
        """What the counters by state say."""
        ...

    async def real(self, store: Store) -> Counts:
        """What counting the tasks gives."""
        ...

    async def rows(self, store: Store) -> Counter[str]:
        """How many rows each table holds, empty ones left out."""
        ...


class Sqlite:
    """SQLite on a file."""

    shared = True

    def make(self, folder: Path, clock: Clock, *masters: bytes) -> Store:
        return SqliteStore(self.path(folder), Sealer(*(masters or (MASTER,))), clock, durable=False)

    @staticmethod
    def path(folder: Path) -> Path | None:
        return folder / "tasks.db"

    async def counted(self, store: Store) -> Counts:
        return _counts(await query(store, _COUNTED))

    async def real(self, store: Store) -> Counts:
        return _counts(await query(store, _REAL))

    async def rows(self, store: Store) -> Counter[str]:
        tables = await query(store, "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'")
        return +Counter({str(name): (await query(store, f"SELECT count(*) FROM {name}"))[0][0] for (name,) in tables})


class SqliteMemory(Sqlite):
    """SQLite in memory: one store, gone when it closes."""

    shared = False

    @staticmethod
    def path(folder: Path) -> Path | None:
        return None


async def query(store: Store, text: str) -> list[tuple]:
    """The rows of a statement, run between the store's own transactions."""
    assert isinstance(store, SqliteStore)
    assert store._writer is not None
    rows = await store._writer.do(_all, text)
    assert isinstance(rows, list)
    return rows


def _all(connection: apsw.Connection, items: list[str]) -> list[list[tuple]]:
    return [connection.execute(text).fetchall() for text in items]


def _counts(rows: list[tuple]) -> Counts:
    return {(lane, state): n for lane, state, n in rows}


ADAPTERS: Final[dict[str, Adapter]] = {"sqlite-memory": SqliteMemory(), "sqlite-file": Sqlite()}
