"""A process that claims and settles tasks that do nothing, as an engine does but for the calls: one batch is settled
while the next is claimed. As a program it is that process; as a module it is the handle of some of them.
"""

import argparse
import asyncio
import json
import resource
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from bench.databases import Kind
from bench.report import spread
from tasks_server.clock import SystemClock
from tasks_server.domain import lifecycle, limits
from tasks_server.domain.attempt import Attempt, Outcome, OutcomeKind
from tasks_server.domain.lifecycle import Progress
from tasks_server.domain.request import TaskConfig
from tasks_server.domain.slots import Held, Slots
from tasks_server.engine.shares import share
from tasks_server.store.ports import Claim, Group, Line, Look, Quota, Report, Store
from tasks_server.store.postgres.store import PostgresStore
from tasks_server.store.sealing import Sealer
from tasks_server.store.sqlite.store import SqliteStore

KEY: Final = bytes(32)
_CLOCK: Final = SystemClock()
_SLOTS: Final = Slots.of(1_024, 256)
"""As many calls as an engine has by default; in total, to one target."""
_NOBODY: Final = Held(0, {}, {})
_SUCCESS: Final = Outcome(OutcomeKind.SUCCESS, status_code=200)
_CONFIG: Final = TaskConfig()


def open_store(kind: Kind, place: str, *, durable: bool = False) -> Store:
    """The store at a path or URL, with the key that all of them have here; not open yet."""
    sealer = Sealer(KEY)
    if kind == "postgres":
        return PostgresStore(place, sealer, _CLOCK, durable=durable)
    return SqliteStore(Path(place), sealer, _CLOCK, durable=durable, make=True)


def _choose(groups: Sequence[Group], lanes: Mapping[int, int]) -> Sequence[Quota]:
    return share(groups, _SLOTS, _NOBODY, lanes=lanes)


def _report(claim: Claim) -> Report:
    now = _CLOCK.now()
    progress = Progress(claim.due_at, claim.failures, claim.repeats, claim.expire_at, claim.status_code, claim.error)
    settlement = lifecycle.settle(progress, _CONFIG, _SUCCESS, now, 0.0)
    attempt = Attempt(claim.attempt, claim.due_at, now, now, _SUCCESS.kind, 200, None, None)
    return Report(claim.ref, claim.lease, claim.id, settlement, attempt)


async def work(store: Store) -> dict[str, Any]:
    """Until nothing is left to claim."""
    times_ms, tasks, lost = [], 0, 0
    after: Line | None = None
    settling: asyncio.Task[set[int]] | None = None
    folding = asyncio.create_task(_fold(store))
    while True:
        now = _CLOCK.now()
        look = Look(now, now + limits.PROMOTE_AHEAD_MS, now + limits.LEASE_MS, after)
        began = time.perf_counter()
        claimed = await store.claim(look, _choose)
        times_ms.append((time.perf_counter() - began) * 1e3)
        after = claimed.resume_after
        if settling is not None:
            lost += len(await settling)
        settling = asyncio.create_task(store.settle([_report(claim) for claim in claimed.claims]))
        tasks += len(claimed.claims)
        if not claimed.claims and not claimed.more:
            break
    await settling
    ended_at = time.time()
    folding.cancel()
    return {"tasks": tasks, "lost": lost, "ended_at": ended_at, "claim_ms": spread(times_ms[:-1], 4)}


async def _fold(store: Store) -> None:
    """The duty that an engine does beside its work."""
    while True:
        await asyncio.sleep(0.5)
        await store.checkpoint()


class Claimers:
    """Some such processes on one database, as a context."""

    def __init__(self, count: int, kind: Kind, place: str) -> None:
        self._command = [sys.executable, "-m", "bench.claimer", kind, place]
        self._count = count
        self._processes: list[subprocess.Popen[str]] = []

    def __enter__(self) -> "Claimers":
        for _ in range(self._count):
            self._processes.append(
                subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            )
        for process in self._processes:
            assert process.stdout is not None
            if process.stdout.readline() != "ready\n":
                sys.exit("bench: a process that claims did not start")
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()
            process.communicate()

    def run(self) -> dict[str, Any]:
        """Lets all of them claim until nothing is left; what they did together. May be called again."""
        began_at = time.time()
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        told = []
        for process in self._processes:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                sys.exit("bench: a process that claims failed")
            told.append(json.loads(line))
        tasks = sum(each["tasks"] for each in told)
        seconds = max(each["ended_at"] for each in told if each["tasks"]) - began_at
        slowest = max(told, key=lambda each: each["claim_ms"].get("p50", 0.0))
        return {
            "tasks": tasks,
            "lost": sum(each["lost"] for each in told),
            "per_second": round(tasks / seconds, 1),
            "claim_ms": slowest["claim_ms"],
            "cpu_us_per_task": {"claimers": round(sum(each["cpu_seconds"] for each in told) / tasks * 1e6, 1)},
        }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=["sqlite", "postgres"])
    parser.add_argument("place", help="the path or URL of the database")
    arguments = parser.parse_args()
    asyncio.run(_serve(arguments.kind, arguments.place))
    return 0


async def _serve(kind: Kind, place: str) -> None:
    store = open_store(kind, place)
    await store.open()
    print("ready", flush=True)
    while await asyncio.to_thread(sys.stdin.readline):  # at its end the sessions end, and what they cost is told
        before = resource.getrusage(resource.RUSAGE_SELF)
        done = await work(store)
        after = resource.getrusage(resource.RUSAGE_SELF)
        done["cpu_seconds"] = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        print(json.dumps(done), flush=True)
    await store.close()


if __name__ == "__main__":
    sys.exit(main())
