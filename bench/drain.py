"""Draining a backlog: tasks that are registered in advance and come due together.

With `--by due` the server runs all the time and every task has the same due time. With `--by engine` only the API
runs while they are registered, due at once; then the engine is started on the backlog, and the time counts from its
first delivery. The CPU time of that engine includes its start.
"""

import asyncio
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench import load, report
from bench.judging import faults_of
from bench.report import Report, say
from bench.server import Account, Server, cost
from bench.target import Nginx, repeats

_REGISTER_PER_SECOND_MIN = 4_000
"""How much time is planned for the registration; one that takes longer is a fault."""


class Drain:
    """One run in `folder`."""

    def __init__(self, folder: Path, count: int) -> None:
        self.folder = folder
        self.count = count
        self.faults: list[str] = []

    def by_due(self) -> dict[str, Any]:
        """The engine waits for the instant with everything in its hands."""
        server = Server(self.folder / "data")
        account = server.account()
        with Nginx(self.folder / "nginx") as target, server:
            due_at = time.time() + 2 + self.count / _REGISTER_PER_SECOND_MIN
            one = load.task(f"{target.url}/hook?due={due_at * 1e3:.0f}", {"executeAt": round(due_at * 1e3)})
            registered = self._register(server, account, one)
            if time.time() > due_at:
                self.faults.append("the registration took too long: the first tasks were due before its end")
            time.sleep(max(0.0, due_at - time.time()))
            return registered | self._measure(server, target, due_at)

    def by_engine(self) -> dict[str, Any]:
        """The engine finds the backlog when it starts."""
        server = Server(self.folder / "data", role="api")
        account = server.account()
        with Nginx(self.folder / "nginx") as target:
            with server:
                registered = self._register(server, account, load.task(f"{target.url}/hook"))
            engine = Server(self.folder / "data", role="engine")
            with engine:
                return registered | self._measure(engine, target, None)

    def _register(self, server: Server, account: Account, one: dict[str, Any]) -> dict[str, Any]:
        say(f"registering {self.count} tasks")
        began = time.monotonic()
        asyncio.run(load.register_all(server, account, load.batches(one, self.count)))
        seconds = time.monotonic() - began
        return {"registered_per_second": round(self.count / seconds, 1)}

    def _measure(self, server: Server, target: Nginx, due_at: float | None) -> dict[str, Any]:
        """From `due_at` (None: the first delivery) until the last is recorded."""
        before, target_before = ({}, 0.0) if due_at is None else (server.usage(), target.cpu_seconds())
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
            "repeats": repeats(deliveries),
            "cpu_us_per_task": {
                **cost(before, used, self.count),
                "nginx": round(target_cpu / self.count * 1e6, 1),
            },
        }


def main() -> int:
    parser = report.parser(__doc__)
    parser.add_argument("--by", choices=["due", "engine"], default="due", help="what sets them off")
    parser.add_argument("--tasks", type=int, help="how many (default: 100000; quick: 20000)")
    arguments = parser.parse_args()
    count = arguments.tasks or (20_000 if arguments.quick else 100_000)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        drain = Drain(Path(folder), count)
        results = drain.by_due() if arguments.by == "due" else drain.by_engine()
    name = "drain" if arguments.by == "due" else "drain_engine"
    parameters = {"by": arguments.by, "tasks": count, "target": "nginx"}
    return report.finish(Report(name, arguments.quick, parameters, results, drain.faults))


if __name__ == "__main__":
    sys.exit(main())
