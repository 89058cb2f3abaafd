"""Fills a database with many tasks in seconds, by one statement instead of by the API; nothing serves it meanwhile.

The rows are as the store writes them, counters included, but for the sealed request, which is as long as a real one
and not readable: these tasks are for being there, not for being run.
"""

import sqlite3
from pathlib import Path
from typing import Final, Literal

State = Literal["scheduled", "available", "completed"]
_REQUEST_BYTES: Final = 320
"""About the length of a sealed request of `load.task`."""
_DAY_MS: Final = 86_400_000
_CHUNK: Final = 250_000
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

    def add(self, count: int, state: State, *, owner: str, now: int, target: str = "far.example:80") -> None:
        """`count` more tasks of an owner (by name) in its lane `default`: scheduled for the days to come, due by now,
        or completed just now with an attempt.
        """
        (owner_seq,) = self._connection.execute("SELECT seq FROM owner WHERE name = ?", (owner,)).fetchone()
        first = self._connection.execute("SELECT coalesce(max(seq), 0) + 1 FROM task").fetchone()[0]
        done = state == "completed"
        values = {
            "owner": owner_seq,
            "lane": self._lane(owner_seq),
            "state": state,
            "now": now - count - first,
            "due": now + _DAY_MS if state == "scheduled" else now - count - first,
            "ended": now if done else 0,
            "attempt": int(done),
            "status": 200 if done else 0,
            "target": target,
            "length": _REQUEST_BYTES,
        }
        for start in range(first, first + count, _CHUNK):
            values |= {"first": start, "last": min(start + _CHUNK, first + count) - 1}
            self._connection.execute("BEGIN IMMEDIATE")
            for statement in (_TASKS, _REQUESTS, *([_ATTEMPTS] if done else [])):
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
