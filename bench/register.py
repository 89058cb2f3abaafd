"""Registration alone: tasks that are due tomorrow, singly and in batches. Each 201 is on disk before it is sent."""

import sys
import tempfile
from pathlib import Path
from typing import Any

from bench import databases, load, report
from bench.databases import Database
from bench.report import Report, say
from bench.server import Account, Server, cost

_LATER = {"executionDelay": 24 * 3_600_000}


class Registering:
    """Both measurements on one server in `folder`."""

    def __init__(self, folder: Path, database: Database, seconds: float) -> None:
        self.folder = folder
        self.database = database
        self.seconds = seconds
        self.faults: list[str] = []

    def measure(self, connections: int, batch: int, batch_connections: int) -> dict[str, Any]:
        server = Server(self.folder / "data", database=self.database)
        account = server.account()
        one = load.task("http://127.0.0.1:9/hook", _LATER)
        many = {"tasks": [one] * batch}
        with server:
            results = {
                "single": self._press(server, account, load.REGISTER, one, connections, 1),
                "batch": self._press(server, account, load.BATCH, many, batch_connections, batch),
            }
        counted = server.states().get("scheduled", 0)
        answered = results["single"]["tasks"] + results["batch"]["tasks"]
        if not answered <= counted <= answered + connections + batch_connections * batch:
            self.faults.append(f"{answered} tasks were accepted, but {counted} are scheduled")
        self.faults += [f"the server complained: {line}" for line in server.complaints()[:5]]
        return results

    def _press(
        self, server: Server, account: Account, path: str, body: Any, connections: int, batch: int
    ) -> dict[str, Any]:
        say(f"wrk, {connections} connections, {batch} tasks a request, {self.seconds:g} s")
        before = server.usage()
        pressed = load.press(self.folder / f"wrk-{batch}", server, account, path, body, connections, self.seconds)
        self.faults += pressed.faults
        count = pressed.requests * batch
        return {
            "per_second": round(count / pressed.seconds, 1),
            "latency_ms": pressed.latency_ms,
            "tasks": count,
            "cpu_us_per_task": {
                **cost(before, server.usage(), count),
                "load": round(pressed.cpu_seconds / count * 1e6, 1),
            },
        }


def main() -> int:
    parser = report.parser(__doc__)
    parser.add_argument("--seconds", type=float, help="how long each part lasts (default: 15; quick: 3)")
    parser.add_argument("--connections", type=int, default=64, help="for single tasks")
    parser.add_argument("--batch", type=int, default=100, help="tasks in one request of a batch")
    parser.add_argument("--batch-connections", type=int, default=16, help="for batches")
    databases.choose(parser)
    arguments = parser.parse_args()
    seconds = arguments.seconds or (3 if arguments.quick else 15)
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
        databases.database(arguments.store) as database,
    ):
        registering = Registering(Path(folder), database, seconds)
        results = registering.measure(arguments.connections, arguments.batch, arguments.batch_connections)
        conditions = database.conditions
    parameters = {
        "seconds": seconds,
        "connections": arguments.connections,
        "batch": arguments.batch,
        "batch_connections": arguments.batch_connections,
    }
    name = databases.named("register", arguments.store)
    return report.finish(Report(name, arguments.quick, parameters, results, registering.faults, conditions))


if __name__ == "__main__":
    sys.exit(main())
