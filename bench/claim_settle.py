"""Claiming and settling alone: due tasks that do nothing, taken and recorded by several processes at once.

On PostgreSQL also what the server does for it: CPU time, commits and log a task. Each number of processes gets a
database of its own.
"""

import asyncio
import os
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import msgspec

from bench import databases, load, report
from bench.claimer import Claimers, open_store
from bench.databases import Database, Kind, Postgres
from bench.report import Report, say
from bench.server import cost
from tasks_server.clock import SystemClock
from tasks_server.domain import ids, limits
from tasks_server.domain.forms import encode_spec
from tasks_server.domain.owner import Owner, OwnerKey
from tasks_server.domain.request import HttpRequest, TaskConfig, TaskSpec
from tasks_server.domain.signing import SigningSecret
from tasks_server.domain.task import NewTask, State
from tasks_server.store.ports import Inserted, Store

_BATCH: Final = 1_000
_TARGET: Final = "free.example:80"
_URL: Final = f"http://{_TARGET}/hook"
_DATA: Final = msgspec.json.encode(load.task(_URL)["httpRequest"]["data"])


async def add_due(store: Store, owner: str, count: int) -> None:
    """Due tasks of an owner, submitted as the API does."""
    now = SystemClock().now()
    spec = encode_spec(TaskSpec(HttpRequest(_URL, "POST", json=_DATA), TaskConfig()))
    for start in range(0, count, _BATCH):
        tasks = [
            NewTask(
                id=ids.task_id(now, os.urandom(9)),
                owner=owner,
                lane="default",
                state=State.AVAILABLE,
                priority=0,
                created_at=now,
                due_at=now,
                target=_TARGET,
                spec=spec,
            )
            for _ in range(min(_BATCH, count - start))
        ]
        assert await store.insert_batch(tasks) == Inserted()


async def add_owner(store: Store, name: str = "worker") -> str:
    """The id of a new owner."""
    now = SystemClock().now()
    owner = Owner(ids.owner_id(now, os.urandom(10)), name, now, limits.TASKS_IN_QUEUE_MAX_MAX)
    key = OwnerKey(ids.task_id(now, os.urandom(9)), now)
    assert await store.create_owner(owner, key, os.urandom(32), SigningSecret("first", now, os.urandom(32)))
    return owner.id


async def _fill(kind: Kind, place: str, count: int) -> None:
    store = open_store(kind, place, durable=True)
    await store.open()
    await add_due(store, await add_owner(store), count)
    await store.close()


def measure(folder: Path, database: Database, processes: list[int], count: int) -> tuple[dict[str, Any], list[str]]:
    """The results and the faults."""
    results: dict[str, Any] = {}
    faults: list[str] = []
    for number in processes:
        say(f"{number} processes, {count} tasks")
        if isinstance(database, Postgres):
            own = database.another()
            result = on_postgres(own, number, count)
            own.drop()
        else:
            place = str(folder / f"{number}.sqlite")
            asyncio.run(_fill("sqlite", place, count))
            with Claimers(number, "sqlite", place) as claimers:
                result = claimers.run()
        results[f"processes_{number}"] = result
        if result["tasks"] != count or result["lost"]:
            faults.append(f"{number} processes: {result['tasks']} of {count} claimed, {result['lost']} leases lost")
    results["per_second_max"] = max(result["per_second"] for result in results.values())
    return results, faults


def on_postgres(database: Postgres, processes: int, count: int) -> dict[str, Any]:
    """One run on a fresh database, with what the server did for it."""
    asyncio.run(_fill("postgres", database.url, count))
    with Claimers(processes, "postgres", database.url) as claimers:
        before, counted = database.usage(), database.counters()
        result = claimers.run()
        used, counted_after = database.usage(), database.counters()
    result["cpu_us_per_task"] |= cost(before, used, count)
    for name, value in counted_after.items():
        result[f"{name}_per_task"] = round((value - counted[name]) / count, 3)
    return result


def main() -> int:
    parser = report.parser(__doc__)
    databases.choose(parser)
    parser.add_argument("--processes", type=int, nargs="+", help="how many (default: 1 2 4, on PostgreSQL also 8)")
    parser.add_argument("--tasks", type=int, help="tasks for each number of processes (default: 60000; quick: 8000)")
    arguments = parser.parse_args()
    count = arguments.tasks or (8_000 if arguments.quick else 60_000)
    processes = arguments.processes or ([1, 2, 4] if arguments.store == "sqlite" else [1, 2, 4, 8])
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
        databases.database(arguments.store) as database,
    ):
        results, faults = measure(Path(folder), database, processes, count)
        conditions = database.conditions
    parameters = {"processes": processes, "tasks": count}
    name = databases.named("claim_settle", arguments.store)
    return report.finish(Report(name, arguments.quick, parameters, results, faults, conditions))


if __name__ == "__main__":
    sys.exit(main())
