"""Handlers that do nothing, by the whole path: registered over HTTP, run in a process for handlers, recorded.

`singly`: one request a task, from wrk as fast as the server takes them. `batches`: a client keeps a constant number of
tasks in queue. `backlog`: tasks that were registered before an engine was started on them. The first two count what
ended within the time of the load. `--sync` takes a function for threads instead of a coroutine.
"""

import asyncio
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from bench import databases, load, report
from bench.databases import Database
from bench.judging import unfinished
from bench.report import Report, say
from bench.server import Server, cost

_SETTINGS: Final = {"TASKS_SERVER_HANDLERS": "bench.noop"}
_IN_QUEUE: Final = 4_000
_BATCH: Final = 100


class Runs:
    """The three measurements, each on a database of its own below `folder`."""

    def __init__(self, folder: Path, database: Database, name: str) -> None:
        self.folder = folder
        self.database = database
        self.faults: list[str] = []
        data = {"order": 17, "state": "paid", "total": "129.90", "lines": [{"sku": "A-1", "count": 2}]}
        self._task = {"handler": {"name": name, "payload": data}}

    def singly(self, seconds: float, connections: int) -> dict[str, Any]:
        """Registered one by one, as fast as the server takes them."""
        server = Server(self.folder / "singly", settings=_SETTINGS, database=self.database)
        account = server.account()
        say(f"wrk, {connections} connections, {seconds:g} s")
        with server:
            before = server.usage()
            pressed = load.press(self.folder / "wrk", server, account, load.REGISTER, self._task, connections, seconds)
            return self._in_and_out(server, before, pressed, 1)

    def batches(self, seconds: float) -> dict[str, Any]:
        """Registered in batches, as many as come out."""
        server = Server(self.folder / "batches", settings=_SETTINGS, database=self.database)
        account = server.account()
        say(f"batches of {_BATCH}, {_IN_QUEUE} tasks in queue, {seconds:g} s")
        with server:
            before = server.usage()
            pressed = load.Feeder(server, account, self._task, _BATCH, _IN_QUEUE).feed(seconds)
            return self._in_and_out(server, before, pressed, _BATCH)

    def _in_and_out(self, server: Server, before: Any, pressed: load.Pressed, batch: int) -> dict[str, Any]:
        final_at = server.wait_until_final(120)
        used = server.usage()
        server.stop()
        with server.stored as stored:
            within = stored.attempts_ended(round(pressed.began_at * 1e3), round(pressed.ended_at * 1e3))
            count, _ = stored.tasks_and_attempts()
        self.faults += pressed.faults + unfinished(server)
        return {
            "in_and_out_per_second": round(min(pressed.requests * batch, within) / pressed.seconds, 1),
            "accepted_per_second": round(pressed.requests * batch / pressed.seconds, 1),
            "run_per_second": round(within / pressed.seconds, 1),
            "all_final_after_seconds": None if final_at is None else round(final_at - pressed.ended_at, 3),
            "register_latency_ms": pressed.latency_ms,
            "tasks": count,
            "cpu_us_per_task": {
                **cost(before, used, count),
                "load": round(pressed.cpu_seconds / count * 1e6, 1),
            },
        }

    def backlog(self, count: int) -> dict[str, Any]:
        """An engine that finds them all when it starts. The time counts from the first run."""
        folder = self.folder / "backlog"
        api = Server(folder, role="api", database=self.database)
        account = api.account()
        with api:
            say(f"registering {count} tasks")
            asyncio.run(load.register_all(api, account, load.batches(self._task, count)))
        before = self.database.usage()
        with Server(folder, role="engine", settings=_SETTINGS, database=self.database) as engine:
            say("draining")
            final_at = engine.wait_until_final(120)
            used = engine.usage()
            engine.stop()
            with engine.stored as stored:
                began_at = stored.first_attempt_at() / 1e3
            self.faults += unfinished(engine)
        return {
            "final_per_second": None if final_at is None else round(count / (final_at - began_at), 1),
            "tasks": count,
            "cpu_us_per_task": cost(before, used, count),
        }


def main() -> int:
    parser = report.parser(__doc__)
    parser.add_argument("--seconds", type=float, help="how long each load lasts (default: 15; quick: 4)")
    parser.add_argument("--tasks", type=int, help="how many in the backlog (default: 100000; quick: 20000)")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--sync", action="store_true", help="a function for threads instead of a coroutine")
    arguments = parser.parse_args()
    seconds = arguments.seconds or (4 if arguments.quick else 15)
    count = arguments.tasks or (20_000 if arguments.quick else 100_000)
    name = "noop-sync" if arguments.sync else "noop"
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, databases.database("sqlite") as database:
        runs = Runs(Path(folder), database, name)
        results = {"singly": runs.singly(seconds, arguments.connections)}
        time.sleep(1)
        results["batches"] = runs.batches(seconds)
        time.sleep(1)
        results["backlog"] = runs.backlog(count)
        conditions = database.conditions
    parameters = {"seconds": seconds, "connections": arguments.connections, "batch": _BATCH, "in_queue": _IN_QUEUE}
    made = Report(
        "handlers_sync" if arguments.sync else "handlers", arguments.quick, parameters, results, runs.faults, conditions
    )
    return report.finish(made)


if __name__ == "__main__":
    sys.exit(main())
