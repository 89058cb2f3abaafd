"""The whole path, in and out at once: tasks that are due at once are registered as fast as the server takes them,
delivered to nginx and recorded, while everything shares the cores.

`in_and_out_per_second` is the lower of what came in and what went out within the time of the load. What was left in
queue at its end is drained afterwards and told.

Single tasks come from wrk as fast as the server takes them, which leaves the engine its share. Batches would come in
several times as fast as tasks can be delivered, so that the figure would tell how a flood is endured: there, the client
keeps a constant number of tasks in queue instead. `--in-queue 0` is the flood.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

from bench import databases, load, report
from bench.databases import Database
from bench.judging import faults_of
from bench.report import Report, say
from bench.server import Server, cost
from bench.target import Nginx, repeats


def measure(
    folder: Path, database: Database, seconds: float, connections: int, batch: int, in_queue: int
) -> tuple[dict[str, Any], list[str]]:
    """One run in `folder`; the results and the faults."""
    server = Server(folder / "data", database=database)
    account = server.account()
    with Nginx(folder / "nginx") as target, server:
        one = load.task(target.url + "/hook")
        path, body = (load.BATCH, {"tasks": [one] * batch}) if batch > 1 else (load.REGISTER, one)
        before, target_before = server.usage(), target.cpu_seconds()
        if in_queue:
            say(f"batches of {batch}, {in_queue} tasks in queue, {seconds:g} s")
            pressed = load.Feeder(server, account, one, batch, in_queue).feed(seconds)
        else:
            say(f"wrk, {connections} connections, {seconds:g} s")
            pressed = load.press(folder / "wrk", server, account, path, body, connections, seconds)
        final_at = server.wait_until_final(120)
        used, target_cpu = server.usage(), target.cpu_seconds() - target_before
        server.stop()
        target.stop()
    deliveries = target.deliveries()
    stored = server.task_ids()
    window = (pressed.began_at * 1e3, pressed.ended_at * 1e3)
    accepted = pressed.requests * batch
    within = sum(window[0] <= delivery.at_ms < window[1] for delivery in deliveries)
    count = len(stored)
    results = {
        "in_and_out_per_second": round(min(accepted, within) / pressed.seconds, 1),
        "accepted_per_second": round(accepted / pressed.seconds, 1),
        "delivered_per_second": round(within / pressed.seconds, 1),
        "left_in_queue": sum(delivery.at_ms >= window[1] for delivery in deliveries),
        "all_final_after_seconds": None if final_at is None else round(final_at - pressed.ended_at, 3),
        "through_per_second": None if final_at is None else round(count / (final_at - pressed.began_at), 1),
        "register_latency_ms": pressed.latency_ms,
        "tasks": count,
        "repeats": repeats(deliveries),
        "cpu_us_per_task": {
            **cost(before, used, count),
            "load": round(pressed.cpu_seconds / count * 1e6, 1),
            "nginx": round(target_cpu / count * 1e6, 1),
        },
        "states": server.states(),
    }
    faults = pressed.faults + faults_of(server, stored, deliveries)
    if not accepted <= count <= accepted + connections * batch:
        faults.append(f"{accepted} tasks were accepted, but {count} are stored")
    return results, faults


def main() -> int:
    parser = report.parser(__doc__)
    parser.add_argument("--seconds", type=float, help="how long the load lasts (default: 15; quick: 4)")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--batch", type=int, default=1, help="tasks in one request")
    databases.choose(parser)
    parser.add_argument("--in-queue", type=int, help="how many tasks to keep in queue (default: 0; with --batch: 4000)")
    arguments = parser.parse_args()
    seconds = arguments.seconds or (4 if arguments.quick else 15)
    connections, batch, in_queue = arguments.connections, arguments.batch, arguments.in_queue
    if in_queue is None:
        in_queue = 4_000 if batch > 1 else 0
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
        databases.database(arguments.store) as database,
    ):
        results, faults = measure(Path(folder), database, seconds, connections, batch, in_queue)
        conditions = database.conditions
    name = "whole_path" if batch == 1 else "whole_path_batch" if in_queue else "whole_path_flood"
    name = databases.named(name, arguments.store)
    parameters = {"seconds": seconds, "batch": batch, "target": "nginx"}
    parameters |= {"in_queue": in_queue} if in_queue else {"connections": connections}
    return report.finish(Report(name, arguments.quick, parameters, results, faults, conditions))


if __name__ == "__main__":
    sys.exit(main())
