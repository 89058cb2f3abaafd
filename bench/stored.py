"""What the product stored: counted in its database behind its back, read-only, after or beside the run."""

import sqlite3
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Protocol

import psycopg

from bench.databases import Database, Postgres

FINAL: Final = ("completed", "failed", "revoked")
_NOT_FINAL: Final = f"state NOT IN {FINAL}"
_STUCK: Final = ("state", "attempt", "due_at", "lease", "lease_until", "error")


class Stored(Protocol):
    """A database as a context: open on the way in, closed on the way out."""

    pause_seconds: float
    """How often it may be asked without that being a load."""
    counters: str
    """Where the counters are, as SQL."""
    ids: str
    """The table that holds the ids of tasks."""

    def __enter__(self) -> "Stored": ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def rows(self, text: str) -> list[Any]:
        """The rows of a statement."""
        ...

    def wait_until_final(self, seconds_max: float) -> float | None:
        """When (time.time()) no task was left in queue; None when some were after `seconds_max`."""
        deadline = time.monotonic() + seconds_max
        text = f"SELECT coalesce(sum(n), 0) FROM {self.counters} WHERE {_NOT_FINAL}"
        while self.rows(text)[0][0]:
            if time.monotonic() > deadline:
                return None
            time.sleep(self.pause_seconds)
        return time.time()

    def states(self) -> dict[str, int]:
        """How many tasks are in which state, counted."""
        return dict(self.rows("SELECT state, count(*) FROM task GROUP BY state"))

    def counted(self) -> dict[str, int]:
        """The same as the counters have it."""
        found = self.rows(f"SELECT state, sum(n) FROM {self.counters} GROUP BY state HAVING sum(n) <> 0")
        return {state: int(n) for state, n in found}

    def tasks_and_attempts(self) -> tuple[int, int]:
        """How many there are of each."""
        ((tasks, attempts),) = self.rows("SELECT (SELECT count(*) FROM task), (SELECT count(*) FROM attempt)")
        return tasks, attempts

    def attempts_ended(self, since_ms: int, until_ms: int) -> int:
        """How many attempts ended in this time."""
        text = f"SELECT count(*) FROM attempt WHERE ended_at >= {since_ms} AND ended_at < {until_ms}"
        return int(self.rows(text)[0][0])

    def first_attempt_at(self) -> int:
        """When the first attempt began, ms since the epoch."""
        return int(self.rows("SELECT min(started_at) FROM attempt")[0][0])

    def task_ids(self) -> set[str]:
        """The ids of all tasks."""
        return {row[0] for row in self.rows(f"SELECT id FROM {self.ids}")}

    def ids_of(self, owner: str) -> set[str]:
        """The ids of the tasks of an owner, by its name."""
        named = f"SELECT seq FROM owner WHERE name = '{owner}'"
        return {row[0] for row in self.rows(f"SELECT id FROM {self.ids} WHERE owner = ({named})")}

    def stuck(self) -> str:
        """A look at tasks that did not become final, for a report of what went wrong."""
        columns = ", ".join(_STUCK)
        rows = self.rows(f"SELECT {columns} FROM task WHERE {_NOT_FINAL} LIMIT 5")
        return f"states {self.states()}; some of the rest ({columns}): {rows}"


class InFile(Stored):
    """A file of SQLite."""

    pause_seconds = 0.01
    counters = "counter"
    ids = "task"

    def __init__(self, file: Path) -> None:
        self._file = file

    def __enter__(self) -> "InFile":
        self._connection = sqlite3.connect(f"file:{self._file}?mode=ro", uri=True, isolation_level=None)
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def rows(self, text: str) -> list[Any]:
        return self._connection.execute(text).fetchall()


class OnServer(Stored):
    """A database on PostgreSQL."""

    pause_seconds = 0.05
    counters = "(SELECT state, n FROM counter UNION ALL SELECT state, n FROM counter_change) AS c"
    ids = "request"

    def __init__(self, database: Postgres) -> None:
        self._url = database.url

    def __enter__(self) -> "OnServer":
        self._connection = psycopg.connect(self._url, autocommit=True, application_name="bench")
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def rows(self, text: str) -> list[Any]:
        return self._connection.execute(text.encode()).fetchall()


def stored_in(database: Database, file: Path) -> Stored:
    """What is stored in the database; for one on SQLite, in the file."""
    return OnServer(database) if isinstance(database, Postgres) else InFile(file)
