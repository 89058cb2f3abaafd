"""What a server costs that has nothing to do: CPU and memory of all its processes, fresh; after it accepted one million
tasks for the days to come; and after a restart with them.
"""

import asyncio
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from bench import databases, load, report
from bench.databases import Database
from bench.processes import Usage
from bench.report import Report, say
from bench.server import Server

_CALM_SECONDS: Final = 5.0
"""After a start or a load, before measuring: what is begun by then ends."""
_LATER: Final = {"executionDelay": 24 * 3_600_000}


def rest(server: Server, seconds: float) -> dict[str, Any]:
    """The cost of doing nothing for some seconds; what a database of its own costs is told beside it."""
    time.sleep(_CALM_SECONDS)
    say(f"resting {seconds:g} s")
    before, began = server.usage(), time.monotonic()
    time.sleep(seconds)
    after, lasted = server.usage(), time.monotonic() - began
    cpu = {kind: used.cpu_seconds - before.get(kind, Usage()).cpu_seconds for kind, used in after.items()}
    ours = [kind for kind in after if kind not in server.database.usage()]
    return {
        "cpu_percent": round(sum(cpu[kind] for kind in ours) / lasted * 100, 3),
        "pss_bytes": sum(after[kind].pss_bytes for kind in ours),
        "rss_bytes": sum(after[kind].rss_bytes for kind in ours),
        "by_process": {
            kind: {
                "cpu_percent": round(cpu[kind] / lasted * 100, 3),
                "pss_bytes": used.pss_bytes,
                "rss_bytes": used.rss_bytes,
            }
            for kind, used in after.items()
        },
    }


def measure(folder: Path, database: Database, seconds: float, tasks: int) -> tuple[dict[str, Any], list[str]]:
    """One run in `folder`; the results and the faults."""
    server = Server(folder / "data", database=database)
    account = server.account()
    with server:
        fresh = rest(server, seconds)
        say(f"registering {tasks} tasks")
        one = load.task("http://127.0.0.1:9/hook", _LATER)
        asyncio.run(load.register_all(server, account, load.batches(one, tasks)))
        accepted = rest(server, seconds)
    with server:
        scheduled = rest(server, seconds)
    states = server.states()
    faults = [f"the server complained: {line}" for line in server.complaints()[:5]]
    if states != {"scheduled": tasks}:
        faults.append(f"{tasks} tasks were scheduled, but there are {states}")
    results = {
        "fresh": fresh,
        "accepted": accepted,
        "scheduled": scheduled,
        "growth_bytes": scheduled["pss_bytes"] - fresh["pss_bytes"],
    }
    return results, faults


def main() -> int:
    parser = report.parser(__doc__)
    parser.add_argument("--seconds", type=float, help="how long each rest lasts (default: 30; quick: 5)")
    parser.add_argument("--tasks", type=int, help="how many are scheduled (default: 1000000; quick: 50000)")
    databases.choose(parser)
    arguments = parser.parse_args()
    seconds = arguments.seconds or (5 if arguments.quick else 30)
    tasks = arguments.tasks or (50_000 if arguments.quick else 1_000_000)
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
        databases.database(arguments.store) as database,
    ):
        results, faults = measure(Path(folder), database, seconds, tasks)
        conditions = database.conditions
    parameters = {"seconds": seconds, "tasks": tasks}
    name = databases.named("idle", arguments.store)
    return report.finish(Report(name, arguments.quick, parameters, results, faults, conditions))


if __name__ == "__main__":
    sys.exit(main())
