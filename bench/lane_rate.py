"""Whether a lane keeps to its rate when several engines want its tasks: a backlog of a lane with a rate and a burst is
let go at one instant, and the receiver notes when each call arrives. Each engine is a server of its own on it.
"""

import asyncio
import bisect
import contextlib
import json
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from bench import databases, load, report
from bench.databases import Database
from bench.receiver import Receiver
from bench.report import Report, say, spread
from bench.server import Account, Server
from bench.target import repeats

_LANE: Final = "paced"
_SETTLE_SECONDS: Final = 2.0
"""How long engines have for themselves before the lane is let go."""
_MARGIN_SECONDS: Final = 1.0
_SAME: Final = {"task": "r.seq = t.seq", "request": "r.task = t.seq"}


def _call(server: Server, account: Account, method: str, path: str, body: dict[str, Any] | None = None) -> None:
    request = urllib.request.Request(
        server.url + path,
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {account.key}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10):
        pass


def measure(
    folder: Path, database: Database, engines: int, limits: tuple[float, int], seconds: float
) -> tuple[dict[str, Any], list[str]]:
    """One run in `folder`; the results and the faults."""
    rate, burst = limits
    api = Server(folder / "data", role="api", database=database)
    account = api.account()
    with Receiver(folder / "receiver.log") as target, api, contextlib.ExitStack() as working:
        settings = {"ratePerSecond": rate, "burst": burst}
        _call(api, account, "PUT", f"/v1/lanes/{_LANE}", {**settings, "paused": True})
        count = burst + round(rate * (seconds + 3 * _MARGIN_SECONDS))
        due = load.task(f"{target.url}/hook", {"lane": _LANE, "executionDelay": 0})
        asyncio.run(load.register_all(api, account, load.batches(due, count)))
        for _ in range(engines):
            working.enter_context(Server(folder / "data", role="engine", database=database))
        time.sleep(_SETTLE_SECONDS)
        say(f"{rate:g} a second, burst {burst}, {engines} engines, for {seconds:g} s")
        _call(api, account, "POST", f"/v1/lanes/{_LANE}/resume")
        let_go_at = time.time()
        time.sleep(seconds + _MARGIN_SECONDS)
        _call(api, account, "POST", f"/v1/lanes/{_LANE}/pause")
        working.close()
        api.stop()
        target.stop()
    deliveries = target.deliveries()
    faults = []
    if repeats(deliveries):
        faults.append(f"{repeats(deliveries)} deliveries were repeats, without any crash")
    if any(delivery.at_ms < let_go_at * 1e3 - 1_000 for delivery in deliveries):
        faults.append("tasks of a paused lane were delivered")
    with api.stored as rows:
        taken = dict(rows.rows(f"SELECT r.id, t.execution_at FROM task AS t JOIN {rows.ids} AS r ON {_SAME[rows.ids]}"))
    arrived = {delivery.task_id: delivery.at_ms for delivery in deliveries}
    results = judged([at / 1e3 for at in arrived.values()], limits, seconds)
    results["as_taken"] = judged([taken[task] / 1e3 for task in arrived], limits, seconds)
    results["taken_to_arrival_ms"] = spread([at - taken[task] for task, at in arrived.items()])
    return results, faults


def judged(times: Sequence[float], limits: tuple[float, int], seconds: float) -> dict[str, Any]:
    """How arrivals (s) stand to a bucket: over the whole time from the first one, and in the worst window."""
    rate, burst = limits
    ordered = sorted(times)
    if not ordered:
        return {"arrived": 0}
    arrived = bisect.bisect_left(ordered, ordered[0] + seconds)
    allowed = burst + rate * seconds
    # Of all windows that begin with one arrival and end with another, the one with most above what it may have.
    over, lowest = 0.0, float("inf")
    for index, at in enumerate(ordered):
        lowest = min(lowest, index - rate * at)
        over = max(over, index + 1 - rate * at - lowest - burst)
    return {
        "arrived": arrived,
        "allowed": allowed,
        "off_percent": round(abs(arrived - allowed) / allowed * 100, 3),
        "per_second_after_the_burst": round((arrived - burst) / seconds, 3),
        "worst_window_over": round(over, 3),
        "by_second": [
            bisect.bisect_left(ordered, ordered[0] + second + 1) - bisect.bisect_left(ordered, ordered[0] + second)
            for second in range(int(seconds))
        ],
    }


def main() -> int:
    parser = report.parser(__doc__)
    parser.add_argument("--rate", type=float, default=50, help="starts a second")
    parser.add_argument("--burst", type=int, default=10, help="starts at once")
    parser.add_argument("--engines", type=int, default=4, help="how many servers with engines")
    parser.add_argument("--seconds", type=float, help="how long (default: 20; quick: 5)")
    databases.choose(parser)
    arguments = parser.parse_args()
    seconds = arguments.seconds or (5 if arguments.quick else 20)
    limits = (arguments.rate, arguments.burst)
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
        databases.database(arguments.store) as database,
    ):
        results, faults = measure(Path(folder), database, arguments.engines, limits, seconds)
        conditions = database.conditions
    parameters = {"rate": arguments.rate, "burst": arguments.burst, "engines": arguments.engines, "seconds": seconds}
    name = databases.named("lane_rate", arguments.store)
    return report.finish(Report(name, arguments.quick, parameters, results, faults, conditions))


if __name__ == "__main__":
    sys.exit(main())
