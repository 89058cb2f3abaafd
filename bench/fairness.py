"""Who waits for whom. Two situations, each with tasks at a steady pace whose lateness shows it:

Owners: one owner's tasks come due all at one instant; while they are drained, tasks of another owner come due, half of
them to the same target, half to another one. Slow target: 200 tasks come due at one instant for a target that takes
two seconds to answer; beside them, tasks of the same owner to another target.
"""

import asyncio
import itertools
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

from bench import load, report
from bench.judging import faults_of
from bench.receiver import Receiver
from bench.report import Report, say, spread
from bench.server import Server
from bench.target import Delivery, Nginx

_AHEAD_SECONDS: Final = 0.5
"""How long before it is due each of the paced tasks is registered."""
_PACE_SECONDS: Final = 0.025
_BEFORE_SECONDS: Final = 2.0
"""How long the pace runs before the instant: the undisturbed case, and a warm-up."""
_SLOW_COUNT: Final = 200
_SLOW_SECONDS: Final = 2.0
_REGISTER_PER_SECOND_MIN: Final = 4_000


def _at(url: str, due_at: float) -> dict[str, Any]:
    due = round(due_at * 1e3)
    return load.task(f"{url}/hook?due={due}", {"executeAt": due})


def _paced(pacer: load.Pacer, urls: list[str], start: float, end: float) -> Any:
    """Tasks to each of `urls` in turn, due from `start` to `end` at the pace."""
    url = itertools.cycle(urls)
    steps = range(round((end - start) / _PACE_SECONDS))
    moments = [start + index * _PACE_SECONDS - _AHEAD_SECONDS for index in steps]
    left = iter(moments)

    def make() -> bytes:
        return json.dumps(_at(next(url), next(left) + _AHEAD_SECONDS)).encode()

    async def pace() -> None:
        await pacer.warm(8)
        await pacer.run(moments, make)
        pacer.close()

    return pace()


def _late(deliveries: Iterable[Delivery], within: Callable[[float], bool]) -> dict[str, Any]:
    """How late those were whose due time (as `time.time()`) lies within."""
    return {"late_ms": spread([late for due_at, late in _lates(deliveries) if within(due_at)])}


def _lates(deliveries: Iterable[Delivery]) -> list[tuple[float, float]]:
    """When each was due (as `time.time()`) and how late it was (ms)."""
    return [(delivery.due_ms / 1e3, delivery.late_ms) for delivery in deliveries]


def _course(deliveries: Iterable[Delivery], instant: float, step_seconds: float = 0.5) -> dict[str, float]:
    """The worst lateness (ms) of those due in each step of time after the instant (s)."""
    worst: dict[float, float] = {}
    for due_at, late in _lates(deliveries):
        if due_at >= instant:
            step = (due_at - instant) // step_seconds * step_seconds
            worst[step] = max(worst.get(step, 0.0), late)
    return {f"{step:g}": round(worst[step], 1) for step in sorted(worst)}


def owners(folder: Path, count: int) -> tuple[dict[str, Any], list[str]]:
    """One owner with `count` due tasks, another with some; the results and the faults."""
    server = Server(folder / "data")
    crowd, single = server.account("crowd-owner"), server.account("single-owner")
    with Nginx(folder / "nginx") as shared, Receiver(folder / "own.log") as own, server:
        instant = time.time() + 3 + count / _REGISTER_PER_SECOND_MIN
        say(f"registering {count} tasks")
        asyncio.run(load.register_all(server, crowd, load.batches(_at(shared.url, instant), count)))
        ready_at = time.time()
        time.sleep(max(0.0, instant - _BEFORE_SECONDS - _AHEAD_SECONDS - 0.5 - time.time()))
        say("pacing")
        pacer = load.Pacer(server, single)
        lasts = count / 6_000  # longer than the drain takes; the samples after its end are left out
        load.run(_paced(pacer, [shared.url, own.url], instant - _BEFORE_SECONDS, instant + lasts))
        server.wait_until_final(60)
        server.stop()
        shared.stop()
        own.stop()
    at_shared, at_own = shared.deliveries(), own.deliveries()
    stored = server.task_ids()
    singles = _ids_of(server, single.name)
    faults = pacer.faults + faults_of(server, stored, [*at_shared, *at_own])
    if ready_at > instant - _BEFORE_SECONDS:
        faults.append("the registration took too long: it was not over before the pace began")
    end = max((d.at_ms / 1e3 for d in at_shared if d.task_id not in singles), default=instant)
    to_same = [delivery for delivery in at_shared if delivery.task_id in singles]

    def before(due_at: float) -> bool:
        return due_at < instant - 0.1

    def during(due_at: float) -> bool:
        return instant <= due_at <= end

    results = {
        "crowd_tasks": count,
        "crowd_seconds": round(end - instant, 3),
        "other_target": _late(at_own, during),
        "same_target": _late(to_same, during),
        "other_target_before": _late(at_own, before),
        "same_target_before": _late(to_same, before),
        "worst_ms_by_seconds": _course([*to_same, *at_own], instant),
        "register_latency_ms": spread(pacer.latencies_ms),
    }
    return results, faults


def _ids_of(server: Server, owner: str) -> set[str]:
    with server.stored as rows:
        return rows.ids_of(owner)


def slow_target(folder: Path) -> tuple[dict[str, Any], list[str]]:
    """200 tasks to a target that takes two seconds, beside tasks to another; the results and the faults."""
    server = Server(folder / "data")
    account = server.account()
    slow, quick = Receiver(folder / "slow.log", _SLOW_SECONDS), Receiver(folder / "quick.log")
    with slow, quick, server:
        instant = time.time() + 2 + _BEFORE_SECONDS
        asyncio.run(load.register_all(server, account, load.batches(_at(slow.url, instant), _SLOW_COUNT, 100)))
        say("pacing")
        pacer = load.Pacer(server, account)
        end = instant + _SLOW_SECONDS
        load.run(_paced(pacer, [quick.url], instant - _BEFORE_SECONDS, end))
        server.wait_until_final(60)
        server.stop()
        slow.stop()
        quick.stop()
    at_slow, at_quick = slow.deliveries(), quick.deliveries()
    results = {
        "slow_tasks": _SLOW_COUNT,
        "slow": _late(at_slow, lambda _: True),
        "during": _late(at_quick, lambda due_at: instant <= due_at),
        "before": _late(at_quick, lambda due_at: due_at < instant - 0.1),
    }
    return results, pacer.faults + faults_of(server, server.task_ids(), [*at_slow, *at_quick])


def main() -> int:
    parser = report.parser(__doc__)
    parser.add_argument("--tasks", type=int, help="tasks of the one owner (default: 100000; quick: 20000)")
    arguments = parser.parse_args()
    count = arguments.tasks or (20_000 if arguments.quick else 100_000)
    with tempfile.TemporaryDirectory(prefix="bench-") as first, tempfile.TemporaryDirectory(prefix="bench-") as second:
        by_owners, faults = owners(Path(first), count)
        by_targets, more = slow_target(Path(second))
    parameters = {"tasks": count, "slow_tasks": _SLOW_COUNT, "slow_seconds": _SLOW_SECONDS}
    results = {"owners": by_owners, "slow_target": by_targets}
    return report.finish(Report("fairness", arguments.quick, parameters, results, faults + more))


if __name__ == "__main__":
    sys.exit(main())
