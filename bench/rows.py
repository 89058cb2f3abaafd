"""Fills a database with many tasks in seconds, by one statement instead of by the API; nothing serves it meanwhile.

The rows are as the store writes them, counters included, but for the sealed request, which is as long as a real one
and not readable: these tasks are for being there, not for being run.
"""

import sqlite3
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, Literal, Protocol

import psycopg

from bench.databases import Postgres

State = Literal["scheduled", "available", "completed"]
_REQUEST_BYTES: Final = 320
"""About the length of a sealed request of `load.task`."""
_DAY_MS: Final = 86_400_000
_CHUNK: Final = 250_000
_MANY: Final = 1_000_000
_TASKS: Final = """
WITH RECURSIVE n (i) AS (SELECT :first UNION ALL SELECT i + 1 FROM n WHERE i < :last)
INSERT INTO task (
    seq, id, owner, lane, state, urgency, priority, created_at, due_at, execution_at, ended_at, attempt, status_code,
    target
)
SELECT i, printf('%024d', i), :owner, :lane, :state, 9, 0, :now + i, :due + i, :due + i, :ended, :attempt, :status,
    :target
FROM n
"""
_REQUESTS: Final = """
WITH RECURSIVE n (i) AS (SELECT :first UNION ALL SELECT i + 1 FROM n WHERE i < :last)
INSERT INTO request (task, spec) SELECT i, randomblob(:length) FROM n
"""
_ATTEMPTS: Final = """
WITH RECURSIVE n (i) AS (SELECT :first UNION ALL SELECT i + 1 FROM n WHERE i < :last)
INSERT INTO attempt (task, number, owner, due_at, started_at, ended_at, outcome, status_code)
SELECT i, 1, :owner, :due + i, :due + i, :ended, 'success', 200 FROM n
"""


_TASKS_POSTGRES: Final = b"""
INSERT INTO task (
    seq, owner, lane, state, urgency, priority, due_at, execution_at, ended_at, attempt, status_code, target
)
SELECT i, %(owner)s, %(lane)s, %(state)s, 9, 0, %(due)s + i, %(due)s + i, %(ended)s, %(attempt)s, %(status)s, %(target)s
FROM generate_series(%(first)s::bigint, %(last)s) AS i
"""
# What is sealed is stored as it is, not compressed: it may as well be the same for all.
_REQUESTS_POSTGRES: Final = b"""
INSERT INTO request (task, owner, created_at, id, spec)
SELECT i, %(owner)s, %(now)s + i, lpad(i::text, 24, '0'), repeat('x', %(length)s)::bytea
FROM generate_series(%(first)s::bigint, %(last)s) AS i
"""


def values_of(count: int, state: State, first: int, now: int) -> dict[str, Any]:
    """The columns that are alike for `count` tasks from the handle `first` on."""
    done = state == "completed"
    return {
        "state": state,
        "now": now - count - first,
        "due": now + _DAY_MS if state == "scheduled" else now - count - first,
        "ended": now if done else 0,
        "attempt": int(done),
        "status": 200 if done else 0,
        "length": _REQUEST_BYTES,
    }


class Filling(Protocol):
    """What fills a database, as a context."""

    def __enter__(self) -> "Filling": ...

    def __exit__(self, *_: object) -> None: ...

    def add(self, count: int, state: State, *, owner: str, now: int, target: str = "far.example:80") -> None:
        """`count` more tasks of an owner (by name) in its lane `default`: scheduled for the days to come, due by now,
        or completed just now with an attempt.
        """
        ...

    def owner(self, name: str) -> int:
        """The handle of an owner."""
        ...


class Filler:
    """Writes to the database at `path`, which the product has made. As a context; the file is whole at its end."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> "Filler":
        self._connection = sqlite3.connect(self._path, isolation_level=None)
        self._connection.execute("PRAGMA synchronous = OFF")
        self._connection.execute("PRAGMA cache_size = -500000")
        # Straight into the file: what is filled here is thrown away when the filling fails.
        self._connection.execute("PRAGMA journal_mode = OFF")
        return self

    def __exit__(self, *_: object) -> None:
        # The planner must know no more than on a database that grew by itself, so there is no ANALYZE here.
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.close()

    def owner(self, name: str) -> int:
        """The handle of an owner."""
        (seq,) = self._connection.execute("SELECT seq FROM owner WHERE name = ?", (name,)).fetchone()
        return int(seq)

    def add(self, count: int, state: State, *, owner: str, now: int, target: str = "far.example:80") -> None:
        """`count` more tasks, as `Filling` says."""
        owner_seq = self.owner(owner)
        first = self._connection.execute("SELECT coalesce(max(seq), 0) + 1 FROM task").fetchone()[0]
        values = values_of(count, state, first, now)
        values |= {"owner": owner_seq, "lane": self._lane(owner_seq), "target": target}
        for start in range(first, first + count, _CHUNK):
            values |= {"first": start, "last": min(start + _CHUNK, first + count) - 1}
            self._connection.execute("BEGIN IMMEDIATE")
            for statement in (_TASKS, _REQUESTS, *([_ATTEMPTS] if state == "completed" else [])):
                self._connection.execute(statement, values)
            self._connection.execute("COMMIT")
        self._count(values, count)

    def _lane(self, owner_seq: int) -> int:
        self._connection.execute("INSERT OR IGNORE INTO lane (owner, name) VALUES (?, 'default')", (owner_seq,))
        found = self._connection.execute("SELECT seq FROM lane WHERE owner = ? AND name = 'default'", (owner_seq,))
        seq: int = found.fetchone()[0]
        return seq

    def _count(self, values: dict[str, object], count: int) -> None:
        self._connection.execute(
            "INSERT INTO counter (lane, state, n) VALUES (:lane, :state, :n) "
            "ON CONFLICT (lane, state) DO UPDATE SET n = n + excluded.n",
            values | {"n": count},
        )
        if values["state"] != "completed":
            self._connection.execute(
                "UPDATE owner SET tasks_in_queue = tasks_in_queue + :n WHERE seq = :owner", values | {"n": count}
            )


class PostgresFiller:
    """The same for a database on PostgreSQL; completed tasks are without their attempts."""

    def __init__(self, database: Postgres) -> None:
        self._database = database

    def __enter__(self) -> "PostgresFiller":
        self._connection = psycopg.connect(self._database.url, autocommit=True, application_name="bench")
        self._connection.execute("SET synchronous_commit = off")
        self._connection.execute("SET maintenance_work_mem = '512MB'")
        self._indexes: list[str] = []
        return self

    def __exit__(self, *_: object) -> None:
        for definition in self._indexes:
            self._connection.execute(definition.encode())
        # What the server would do by itself in the next minutes, and then in the middle of what is measured.
        self._connection.execute("VACUUM (ANALYZE)")
        self._connection.execute("CHECKPOINT")
        self._connection.close()

    def owner(self, name: str) -> int:
        """The handle of an owner."""
        return self._one("SELECT seq FROM owner WHERE name = %(name)s", {"name": name})

    def add(self, count: int, state: State, *, owner: str, now: int, target: str = "far.example:80") -> None:
        """`count` more tasks, as `Filling` says."""
        if count >= _MANY and not self._indexes:
            self._set_indexes_aside()
        owner_seq = self.owner(owner)
        first = self._one("SELECT coalesce(max(seq), 0) + 1 FROM task", {})
        values = values_of(count, state, first, now) | {"owner": owner_seq, "target": target}
        values["lane"] = self._one(
            "INSERT INTO lane (owner, name) VALUES (%(owner)s, 'default') "
            "ON CONFLICT (owner, name) DO UPDATE SET name = excluded.name RETURNING seq",
            values,
        )
        with ThreadPoolExecutor() as both:
            list(both.map(lambda text: self._fill(text, values, first, count), (_TASKS_POSTGRES, _REQUESTS_POSTGRES)))
        self._connection.execute("SELECT setval('task_seq_seq', %s)", (first + count,))
        self._connection.execute(
            "INSERT INTO counter_change (owner, lane, state, n) VALUES (%(owner)s, %(lane)s, %(state)s, %(n)s)",
            values | {"n": count},
        )

    def _fill(self, text: bytes, values: Mapping[str, Any], first: int, count: int) -> None:
        """Adds the rows of one table, on a connection of its own."""
        with self._database.connected() as connection:
            connection.execute("SET synchronous_commit = off")
            for start in range(first, first + count, _CHUNK):
                last = min(start + _CHUNK, first + count) - 1
                connection.execute(text, {**values, "first": start, "last": last})

    def _set_indexes_aside(self) -> None:
        """Making them at the end takes a fifth of the time that row by row takes."""
        found = self._connection.execute(
            "SELECT i.indexname, i.indexdef FROM pg_indexes AS i WHERE i.tablename IN ('task', 'request') "
            "AND NOT EXISTS (SELECT FROM pg_constraint AS c WHERE c.conname = i.indexname)"
        ).fetchall()
        self._indexes = [definition for _, definition in found]
        for name, _ in found:
            self._connection.execute(f"DROP INDEX {name}".encode())

    def _one(self, text: str, values: Mapping[str, Any]) -> int:
        row = self._connection.execute(text.encode(), values).fetchone()
        assert row is not None
        return int(row[0])
