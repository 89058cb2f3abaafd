"""Lateness at a steady rate: each task is due one second after its registration; how long after that it arrives.

The receiver notes arrivals to the microsecond, on the clock of the same machine. Tasks of the first seconds, in which
everything warms up, are delivered but not counted.
"""

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench import databases, load, report
from bench.databases import Database
from bench.judging import faults_of
from bench.receiver import Receiver
from bench.report import Report, say, spread
from bench.server import Server, cost
from bench.target import repeats

_AHEAD_MS = 1_000
_WARM_SECONDS = 2.0
_CONNECTIONS = 16


def measure(folder: Path, database: Database, rate: float, seconds: float) -> tuple[dict[str, Any], list[str]]:
    """One run in `folder`; the results and the faults."""
    server = Server(folder / "data", database=database)
    account = server.account()
    with Receiver(folder / "receiver.log") as target, server:

        def make() -> bytes:
            due = int(time.time() * 1e3) + _AHEAD_MS
            return json.dumps(load.task(f"{target.url}/hook?due={due}", {"executeAt": due})).encode()

        pacer = load.Pacer(server, account)

        async def pace() -> None:
            await pacer.warm(_CONNECTIONS)
            start = time.time() + 0.1
            await pacer.run((start + index / rate for index in range(round(rate * (_WARM_SECONDS + seconds)))), make)
            pacer.close()

        say(f"{rate:g} tasks/s for {_WARM_SECONDS + seconds:g} s")
        before = server.usage()
        load.run(pace())
        server.wait_until_final(30)
        used = server.usage()
        server.stop()
        target.stop()
    deliveries = target.deliveries()
    stored = server.task_ids()
    dues = [delivery.due_ms for delivery in deliveries]
    from_due = min(dues, default=0.0) + _WARM_SECONDS * 1e3
    results = {
        "late_ms": spread([delivery.late_ms for delivery in deliveries if delivery.due_ms >= from_due]),
        "early": sum(delivery.late_ms < 0 for delivery in deliveries),
        "late_ms_while_warming_up": spread([each.late_ms for each in deliveries if each.due_ms < from_due]),
        "register_latency_ms": spread(pacer.latencies_ms),
        "load_behind_ms_max": round(pacer.behind_ms, 3),
        "repeats": repeats(deliveries),
        "cpu_us_per_task": cost(before, used, len(stored)),
    }
    return results, pacer.faults + faults_of(server, stored, deliveries)


def main() -> int:
    parser = report.parser(__doc__)
    parser.add_argument("--rate", type=float, help="tasks a second (default: 500; on PostgreSQL 300)")
    parser.add_argument("--seconds", type=float, help="how long (default: 20; quick: 5)")
    databases.choose(parser)
    arguments = parser.parse_args()
    seconds = arguments.seconds or (5 if arguments.quick else 20)
    rate = arguments.rate or (500 if arguments.store == "sqlite" else 300)
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
        databases.database(arguments.store) as database,
    ):
        results, faults = measure(Path(folder), database, rate, seconds)
        conditions = database.conditions
    parameters = {"rate": rate, "seconds": seconds, "ahead_ms": _AHEAD_MS, "target": "receiver"}
    name = databases.named("lateness", arguments.store)
    return report.finish(Report(name, arguments.quick, parameters, results, faults, conditions))


if __name__ == "__main__":
    sys.exit(main())
