"""Draining a backlog: tasks that are registered in advance and come due together.

With `--by due` the server runs all the time and every task has the same due time. With `--by engine` only the API
runs while they are registered, due at once; then the engine is started on the backlog, and the time counts from its
first delivery. The CPU time of that engine includes its start.

`--to tls`: the target speaks TLS, the tasks take its certificate unseen, connections are kept. `--to hosts`: a thousand
hosts (addresses of 127.0.0.0/8) get the same number of tasks each, in turn.
"""

import asyncio
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, Literal, get_args

from bench import databases, load, report
from bench.databases import Database
from bench.judging import faults_of
from bench.processes import Usage
from bench.report import Report, say
from bench.server import Account, Server, cost
from bench.target import Nginx, repeats

To = Literal["plain", "tls", "hosts"]
_HOSTS: Final = 1_000
_REGISTER_PER_SECOND_MIN: Final = {"plain": 4_000, "tls": 400, "hosts": 4_000}
"""How much time is planned for the registration; one that takes longer is a fault. Options of TLS take their time."""


class Drain:
    """One run in `folder`."""

    def __init__(self, folder: Path, database: Database, count: int, to: To = "plain") -> None:
        self.folder = folder
        self.database = database
        self.count = count
        self.to = to
        self.faults: list[str] = []

    def by_due(self) -> dict[str, Any]:
        """The engine waits for the instant with everything in its hands."""
        server = Server(self.folder / "data", database=self.database)
        account = server.account()
        with self._target() as target, server:
            due_at = time.time() + 2 + self.count / _REGISTER_PER_SECOND_MIN[self.to]
            registered = self._register(server, account, self._tasks(target, due_at))
            if time.time() > due_at:
                self.faults.append("the registration took too long: the first tasks were due before its end")
            time.sleep(max(0.0, due_at - time.time()))
            return registered | self._measure(server, target, server.usage(), due_at)

    def by_engine(self) -> dict[str, Any]:
        """The engine finds the backlog when it starts."""
        server = Server(self.folder / "data", role="api", database=self.database)
        account = server.account()
        with self._target() as target:
            with server:
                registered = self._register(server, account, self._tasks(target, None))
            engine = Server(self.folder / "data", role="engine", database=self.database)
            before = self.database.usage()
            with engine:
                return registered | self._measure(engine, target, before, None)

    def _target(self) -> Nginx:
        return Nginx(self.folder / "nginx", tls=self.to == "tls", every_address=self.to == "hosts")

    def _tasks(self, target: Nginx, due_at: float | None) -> Iterable[bytes]:
        """The bodies of the batches to register."""
        path = "/hook" if due_at is None else f"/hook?due={due_at * 1e3:.0f}"
        config: dict[str, Any] = {} if due_at is None else {"executeAt": round(due_at * 1e3)}
        if self.to == "tls":
            config["insecure"] = True
        if self.to != "hosts":
            return load.batches(load.task(target.url + path, config), self.count)
        hosts = [f"127.{1 + number // 250}.0.{1 + number % 250}" for number in range(_HOSTS)]
        return load.batches(
            [load.task(f"http://{hosts[index % _HOSTS]}:{target.port}{path}", config) for index in range(self.count)]
        )

    def _register(self, server: Server, account: Account, bodies: Iterable[bytes]) -> dict[str, Any]:
        say(f"registering {self.count} tasks")
        began = time.monotonic()
        asyncio.run(load.register_all(server, account, bodies))
        seconds = time.monotonic() - began
        return {"registered_per_second": round(self.count / seconds, 1)}

    def _measure(self, server: Server, target: Nginx, before: dict[str, Usage], due_at: float | None) -> dict[str, Any]:
        """From `due_at` (None: the first delivery) until the last is recorded; what was used since `before`."""
        target_before = 0.0 if due_at is None else target.cpu_seconds()
        say("draining")
        final_at = server.wait_until_final(120)
        used, target_cpu = server.usage(), target.cpu_seconds() - target_before
        server.stop()
        target.stop()
        deliveries = target.deliveries()
        stored = server.task_ids()
        self.faults += faults_of(server, stored, deliveries)
        if len(stored) != self.count:
            self.faults.append(f"{self.count} tasks were accepted, but {len(stored)} are stored")
        times = [delivery.at_ms / 1e3 for delivery in deliveries]
        began_at = due_at if due_at is not None else min(times, default=0.0)
        last = max(times, default=began_at) - began_at
        return {
            "final_per_second": None if final_at is None else round(self.count / (final_at - began_at), 1),
            "delivered_per_second": round(len(times) / last, 1) if last > 0 else None,
            "first_delivery_after_ms": round((min(times, default=0.0) - began_at) * 1e3, 1),
            "tasks": self.count,
            "connections": len({delivery.connection for delivery in deliveries}),
            "repeats": repeats(deliveries),
            "cpu_us_per_task": {
                **cost(before, used, self.count),
                "nginx": round(target_cpu / self.count * 1e6, 1),
            },
        }


def main() -> int:
    parser = report.parser(__doc__)
    parser.add_argument("--by", choices=["due", "engine"], default="due", help="what sets them off")
    parser.add_argument("--to", choices=get_args(To), default="plain", help="what the target is")
    parser.add_argument("--tasks", type=int, help="how many (default: 100000; quick: 20000)")
    databases.choose(parser)
    arguments = parser.parse_args()
    count = arguments.tasks or (20_000 if arguments.quick else 100_000)
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
        databases.database(arguments.store) as database,
    ):
        drain = Drain(Path(folder), database, count, arguments.to)
        results = drain.by_due() if arguments.by == "due" else drain.by_engine()
        conditions = database.conditions
    name = "drain" if arguments.by == "due" else "drain_engine"
    if arguments.to != "plain":
        name += f"_{arguments.to}"
    name = databases.named(name, arguments.store)
    parameters = {"by": arguments.by, "to": arguments.to, "tasks": count, "target": "nginx"}
    return report.finish(Report(name, arguments.quick, parameters, results, drain.faults, conditions))


if __name__ == "__main__":
    sys.exit(main())
