"""One PostgreSQL and 1, 2, 4, 8 engines: tasks that are due at one instant, delivered to nginx and recorded. All of it
shares this machine: where the throughput no longer grows, `cores_busy` says who has the cores.
"""

import asyncio
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from bench import databases, load, report
from bench.databases import Postgres
from bench.judging import faults_of
from bench.processes import Usage
from bench.report import Report, say
from bench.server import Server, cost
from bench.target import Nginx, repeats

_REGISTER_PER_SECOND_MIN: Final = 5_000
_CALM_SECONDS: Final = 3.0


class Scaling:
    """The runs, one for each number of engines, each with a database of its own."""

    def __init__(self, folder: Path, database: Postgres, count: int) -> None:
        self.folder = folder
        self.database = database
        self.count = count
        self.faults: list[str] = []

    def run(self, number: int) -> dict[str, Any]:
        """One run with so many engines."""
        database = self.database.another()
        place = self.folder / str(number)
        place.mkdir()
        api = Server(place / "api", role="api", database=database)
        engines = [Server(place / f"engine-{index}", role="engine", database=database) for index in range(number)]
        account = api.account()
        with contextlib.ExitStack() as running:
            target = running.enter_context(Nginx(place / "nginx"))
            for server in (api, *engines):
                running.enter_context(server)
            size = _size(database)
            due_at = time.time() + _CALM_SECONDS + self.count / _REGISTER_PER_SECOND_MIN
            path = f"{target.url}/hook?due={due_at * 1e3:.0f}"
            one = load.task(path, {"executeAt": round(due_at * 1e3)})
            say(f"{number} engines: registering {self.count} tasks")
            asyncio.run(load.register_all(api, account, load.batches(one, self.count)))
            connections = _connections(database)
            result = self._measure(engines, target, due_at)
        result["connections"] = connections
        result["bytes_per_task"] = round((_size(database) - size) / self.count)
        deliveries = target.deliveries()
        result["repeats"] = repeats(deliveries)
        self.faults += [f"{number} engines: {fault}" for fault in faults_of(api, api.task_ids(), deliveries)]
        self.faults += [line for engine in engines for line in engine.complaints()[:2]]
        database.drop()
        return result

    def _measure(self, engines: Sequence[Server], target: Nginx, due_at: float) -> dict[str, Any]:
        """From the instant at which all are due until the last is recorded."""
        database = engines[0].database
        assert isinstance(database, Postgres)
        before, counted, nginx = _usage(engines), database.counters(), target.cpu_seconds()
        if time.time() > due_at:
            self.faults.append(f"{len(engines)} engines: the first tasks were due before the measurement began")
        time.sleep(max(0.0, due_at - time.time()))
        idle, began = _idle_seconds(), time.time()
        final_at = engines[0].wait_until_final(120) or time.time()
        used, counted_after = _usage(engines), database.counters()
        lasted = time.time() - began
        spent = cost(before, used, self.count)
        spent["nginx"] = round((target.cpu_seconds() - nginx) / self.count * 1e6, 1)
        rate = self.count / (final_at - due_at)
        return {
            "final_per_second": round(rate, 1),
            "cpu_us_per_task": spent,
            "cores_busy": {kind: round(us * rate / 1e6, 2) for kind, us in spent.items()},
            "cores_idle": round((_idle_seconds() - idle) / lasted, 2),
            "writes_per_task": round((counted_after["writes"] - counted["writes"]) / self.count, 4),
            "wal_bytes_per_task": round((counted_after["wal_bytes"] - counted["wal_bytes"]) / self.count),
        }


def _usage(servers: Sequence[Server]) -> dict[str, Usage]:
    """Of all of them together, and of their database once."""
    found = servers[0].usage()
    ours = [kind for kind in found if kind not in servers[0].database.usage()]
    for server in servers[1:]:
        for kind, used in server.usage().items():
            if kind in ours:
                found[kind].add(used)
    return found


def _idle_seconds() -> float:
    """What the cores of the machine did nothing, since its start."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()
    return (int(fields[4]) + int(fields[5])) / os.sysconf("SC_CLK_TCK")


def _connections(database: Postgres) -> int:
    return _number(database, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'tasks-server'")


def _size(database: Postgres) -> int:
    return _number(database, "SELECT pg_database_size(current_database())")


def _number(database: Postgres, text: str) -> int:
    with database.connected() as connection:
        row = connection.execute(text.encode()).fetchone()
    assert row is not None
    return int(row[0])


def main() -> int:
    parser = report.parser(__doc__)
    parser.add_argument("--engines", type=int, nargs="+", default=[1, 2, 4, 8], help="how many in each run")
    parser.add_argument("--tasks", type=int, help="in each run (default: 60000; quick: 10000)")
    arguments = parser.parse_args()
    count = arguments.tasks or (10_000 if arguments.quick else 60_000)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, databases.postgres() as database:
        scaling = Scaling(Path(folder), database, count)
        results: dict[str, Any] = {f"engines_{number}": scaling.run(number) for number in arguments.engines}
        conditions = database.conditions
    results["final_per_second_max"] = max(result["final_per_second"] for result in results.values())
    parameters = {"engines": arguments.engines, "tasks": count, "target": "nginx"}
    name = databases.named("scaling", "postgres")
    return report.finish(Report(name, arguments.quick, parameters, results, scaling.faults, conditions))


if __name__ == "__main__":
    sys.exit(main())
