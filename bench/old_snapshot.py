"""Claiming and settling on PostgreSQL while dead rows pile up: beside a fresh database, one whose tasks were updated a
million times without vacuum, and one where a session held an old snapshot all that time, so that nothing of it could
be removed. They take turns; the medians of the rounds are compared.
"""

import asyncio
import contextlib
import statistics
import sys
import time
from collections.abc import Iterator
from typing import Any, Final

from bench import databases, report
from bench.claim_settle import add_due, add_owner
from bench.claimer import Claimers, open_store
from bench.databases import Postgres
from bench.report import Report, say

_CHUNK: Final = 50_000
_UPDATES_A_TASK: Final = 3
_TARGET: Final = "free.example:80"
_HOUR_MS: Final = 3_600_000
_WAITING: Final = b"""
INSERT INTO task (owner, lane, state, urgency, priority, due_at, execution_at, target)
SELECT o.seq, l.seq, 'scheduled', 9, 0, %(due)s + i, %(due)s + i, %(target)s
FROM generate_series(1, %(count)s) AS i CROSS JOIN owner AS o JOIN lane AS l ON l.owner = o.seq
"""
_THROUGH: Final = (
    b"UPDATE task SET state = 'available' WHERE state = 'scheduled'",
    b"UPDATE task SET state = 'running', attempt = 1, lease = 1, lease_until = due_at WHERE state = 'available'",
    b"UPDATE task SET state = 'completed', lease = NULL, lease_until = NULL, ended_at = due_at WHERE state = 'running'",
)


class Case:
    """One database, and what came of its rounds."""

    def __init__(self, database: Postgres) -> None:
        self.database = database
        self.runs: list[dict[str, Any]] = []
        self._owner = ""

    async def prepare(self, *, vacuumed: bool) -> None:
        """An owner with a lane. Not `vacuumed`: the server never cleans up the tasks."""
        store = open_store("postgres", self.database.url, durable=True)
        await store.open()
        self._owner = await add_owner(store)
        await add_due(store, self._owner, 1)
        await store.close()
        if not vacuumed:
            with self.database.connected() as connection:
                connection.execute("ALTER TABLE task SET (autovacuum_enabled = off)")

    def churn(self, updates: int) -> None:
        """Tasks that went all the way, to the same target as those to come."""
        now = int(time.time() * 1e3)
        with self.database.connected() as connection:
            connection.execute("SET synchronous_commit = off")
            left = updates // _UPDATES_A_TASK
            while left > 0:
                values = {"count": min(left, _CHUNK), "due": now - _HOUR_MS, "target": _TARGET}
                connection.execute(_WAITING, values)
                for statement in _THROUGH:
                    connection.execute(statement)
                left -= _CHUNK

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[None]:
        """A session that sees the database as it is now, all the time."""
        with self.database.connected() as connection:
            connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
            connection.execute("SELECT count(*) FROM owner")
            yield
            connection.execute("COMMIT")

    def run(self, claimers: Claimers, count: int) -> None:
        """One round."""
        asyncio.run(self._add(count))
        self.runs.append(claimers.run())

    async def _add(self, count: int) -> None:
        store = open_store("postgres", self.database.url, durable=True)
        await store.open()
        await add_due(store, self._owner, count)
        await store.close()


def measure(
    database: Postgres, updates: int, rounds: int, count: int, processes: int
) -> tuple[dict[str, Any], list[str]]:
    """The results and the faults."""
    cases = {name: Case(database.another()) for name in ("fresh", "unvacuumed", "snapshot")}
    for name, case in cases.items():
        asyncio.run(case.prepare(vacuumed=name == "fresh"))
    results: dict[str, Any] = {}
    with cases["snapshot"].snapshot():
        for name in ("unvacuumed", "snapshot"):
            say(f"{updates} updates, {name}")
            cases[name].churn(updates)
        with contextlib.ExitStack() as running:
            claimers = {
                name: running.enter_context(Claimers(processes, "postgres", case.database.url))
                for name, case in cases.items()
            }
            for index in range(rounds):
                for name, case in cases.items():
                    say(f"round {index + 1}, {name}")
                    case.run(claimers[name], count)
        for name, case in cases.items():
            results[name] = _told(case)
    faults = [
        f"{name}: {run['tasks']} of {count} claimed, {run['lost']} leases lost"
        for name, case in cases.items()
        for index, run in enumerate(case.runs)
        if run["lost"] or run["tasks"] not in (count, count + (index == 0))  # one was there from the beginning
    ]
    base = results["fresh"]["per_second"]
    results["ratios"] = {name: round(results[name]["per_second"] / base, 3) for name in ("unvacuumed", "snapshot")}
    return results, faults


def _told(case: Case) -> dict[str, Any]:
    with case.database.connected() as connection:
        row = connection.execute(
            "SELECT n_dead_tup, pg_relation_size('task_available') FROM pg_stat_user_tables WHERE relname = 'task'"
        ).fetchone()
    assert row is not None
    rates = [run["per_second"] for run in case.runs]
    return {
        "per_second": statistics.median(rates),
        "rounds": rates,
        "claim_ms": [run["claim_ms"] for run in case.runs],
        "dead_rows": row[0],
        "task_available_bytes": row[1],
    }


def main() -> int:
    parser = report.parser(__doc__)
    parser.add_argument("--updates", type=int, help="before the first round (default: 1000000; quick: 60000)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tasks", type=int, help="in each round (default: 40000; quick: 8000)")
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    updates = arguments.updates or (60_000 if arguments.quick else 1_000_000)
    count = arguments.tasks or (8_000 if arguments.quick else 40_000)
    with databases.postgres() as database:
        results, faults = measure(database, updates, arguments.rounds, count, arguments.processes)
        conditions = database.conditions
    parameters = {
        "updates": updates,
        "rounds": arguments.rounds,
        "tasks": count,
        "processes": arguments.processes,
    }
    name = databases.named("old_snapshot", "postgres")
    return report.finish(Report(name, arguments.quick, parameters, results, faults, conditions))


if __name__ == "__main__":
    sys.exit(main())
