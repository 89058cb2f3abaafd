"""The time of a claim against what else is in the database: waiting rows, due tasks that may not run, many owners; and
from a lane with limits.

The store works in this process as in an engine (its own thread, commits without fsync), one database a case. Claims
go around the cases in turn, so that whatever else the machine does meets all of them alike; the ratios of the medians
are the result. Each claim takes 64 tasks; the engine's own fair shares choose them.
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from bench import databases, report
from bench.databases import Database, Postgres
from bench.report import Report, say, spread
from bench.rows import Filler, Filling, PostgresFiller
from tasks_server.clock import SystemClock
from tasks_server.domain import ids, limits
from tasks_server.domain.forms import encode_spec
from tasks_server.domain.lane import LaneFacts, LaneLimits
from tasks_server.domain.owner import Owner, OwnerKey
from tasks_server.domain.request import HttpRequest, TaskConfig, TaskSpec
from tasks_server.domain.signing import SigningSecret
from tasks_server.domain.slots import Held, Slots
from tasks_server.domain.task import NewTask, State
from tasks_server.engine.shares import share
from tasks_server.store.ports import Group, Line, Look, Quota, Store
from tasks_server.store.postgres.store import PostgresStore
from tasks_server.store.sealing import Sealer
from tasks_server.store.sqlite.store import SqliteStore

_CLAIM: Final = 64
_FREE: Final = "free.example:80"
_FULL: Final = "full.example:80"
_WORKER: Final = "worker"
_BUSY: Final = "busy-owner"
_CLOCK: Final = SystemClock()


class Case:
    """One database: `claims` times 64 tasks of the owner `worker` to claim, beside whatever makes the case."""

    def __init__(self, place: Path | Postgres, claims: int) -> None:
        sealer = Sealer(bytes(32))
        self.store: Store
        if isinstance(place, Postgres):
            self.store = PostgresStore(place.url, sealer, _CLOCK, durable=False)
        else:
            self.store = SqliteStore(place, sealer, _CLOCK, durable=False, make=True)
        self._place = place
        self._claims = claims
        self._excluded: frozenset[str] = frozenset()
        self._held = Held(0, {}, {})
        self._after: Line | None = None
        self.times_ms: list[float] = []
        self.claimed = 0

    async def fill(
        self,
        waiting: int = 0,
        full_target: int = 0,
        full_owner: int = 0,
        paused_lane: int = 0,
        limited: int = 0,
        owners: int = 1,
    ) -> None:
        """Makes the case: waiting rows; due tasks to a target, or of an owner, at its limit, or in a paused lane; tasks
        to claim in a lane where so many may run and as many start a second; or tasks spread over owners. What can be
        claimed is written first, as on a server that the rest came to later.
        """
        await self.store.open()
        now = _CLOCK.now()
        names = [_WORKER] if owners == 1 else [f"owner-{index}" for index in range(owners)]
        made = [await self._owner(name) for name in names]
        # Shared among many owners, some claims go short when an owner's tasks run out: there, more are made.
        total = self._claims * _CLAIM * (1 if owners == 1 else 2)
        for start in range(0, total, 1_000):
            count = min(1_000, total - start)
            if owners == 1:
                await self.store.insert_batch([_task(made[0], now) for _ in range(count)])
            else:  # a batch has one owner
                tasks = [_task(made[(start + index) % owners], now) for index in range(count)]
                await asyncio.gather(*(self.store.insert(task) for task in tasks))
        busy_id = await self._owner(_BUSY)
        await self.store.close()
        with self._filler() as filler:
            busy = filler.owner(_BUSY)
            if waiting:
                filler.add(waiting, "scheduled", owner=_BUSY, now=now)
            if full_target:
                filler.add(full_target, "available", owner=names[0], now=now, target=_FULL)
                self._excluded = frozenset((_FULL,))
            if full_owner:
                filler.add(full_owner, "available", owner=_BUSY, now=now, target="busy.example:80")
            if paused_lane:
                filler.add(paused_lane, "available", owner=_BUSY, now=now, target="busy.example:80")
        await self.store.open()
        if paused_lane:
            await self._set_lane(busy_id, LaneLimits(paused_at=now, paused_by="owner"))
        if limited:
            await self._set_lane(made[0], LaneLimits(concurrent_max=limited, rate=limited, burst=limited))
        if full_owner:
            self._held = Held(_CLAIM, {busy: _CLAIM}, {})

    async def _set_lane(self, owner: str, chosen: LaneLimits) -> None:
        await self.store.change_lane(owner, "default", lambda _: LaneFacts(chosen), limits.LANES_MAX)

    def _filler(self) -> Filling:
        return PostgresFiller(self._place) if isinstance(self._place, Postgres) else Filler(self._place)

    def size_bytes(self) -> int:
        """What the database takes on disk."""
        if not isinstance(self._place, Postgres):
            return self._place.stat().st_size
        with self._place.connected() as connection:
            row = connection.execute("SELECT pg_database_size(current_database())").fetchone()
            assert row is not None
            return int(row[0])

    async def _owner(self, name: str) -> str:
        now = _CLOCK.now()
        owner = Owner(ids.owner_id(now, os.urandom(10)), name, now, limits.TASKS_IN_QUEUE_MAX_MAX)
        key = OwnerKey(ids.task_id(now, os.urandom(9)), now)
        assert await self.store.create_owner(owner, key, os.urandom(32), SigningSecret("first", now, os.urandom(32)))
        return owner.id

    async def claim(self) -> None:
        """One timed claim."""
        now = _CLOCK.now()
        look = Look(now, now, now + limits.LEASE_MS, self._after, targets_excluded=self._excluded)
        began = time.perf_counter()
        claimed = await self.store.claim(look, self._choose)
        self.times_ms.append((time.perf_counter() - began) * 1e3)
        self._after = claimed.resume_after
        self.claimed += len(claimed.claims)

    def _choose(self, groups: Sequence[Group], lanes: Mapping[int, int]) -> Sequence[Quota]:
        # The owner at its limit holds as many slots as an owner may; 64 are free for the others.
        slots = Slots(total=self._held.total + _CLAIM, owner_max=_CLAIM, target_max=2 * _CLAIM)
        return share(groups, slots, self._held, lanes=lanes)


def _task(owner: str, now: int) -> NewTask:
    spec = encode_spec(TaskSpec(HttpRequest(f"http://{_FREE}/hook", "POST", json=b'{"order":17}'), TaskConfig()))
    return NewTask(
        id=ids.task_id(now, os.urandom(9)),
        owner=owner,
        lane="default",
        state=State.AVAILABLE,
        priority=0,
        created_at=now,
        due_at=now,
        target=_FREE,
        spec=spec,
    )


async def measure(
    folder: Path, database: Database, claims: int, chosen: dict[str, dict[str, int]]
) -> tuple[dict[str, Any], list[str]]:
    """Fills and times the cases; the results and the faults."""
    faults: list[str] = []
    cases: dict[str, Case] = {}
    results: dict[str, Any] = {"fill_seconds": {}, "database_mb": {}}
    for name, parts in chosen.items():
        say(f"filling {name}")
        began = time.monotonic()
        place = database.another() if isinstance(database, Postgres) else folder / f"{name}.sqlite"
        case = cases[name] = Case(place, claims)
        await case.fill(**parts)
        results["fill_seconds"][name] = round(time.monotonic() - began, 1)
        results["database_mb"][name] = round(case.size_bytes() / 1e6)
    say("claiming")
    order = list(cases.values())
    for index in range(claims):
        for case in order[index % len(order) :] + order[: index % len(order)]:
            await case.claim()
    warm = claims // 10
    for name, case in cases.items():
        await case.store.close()
        results[name] = {"ms": spread(case.times_ms[warm:], 4), "tasks_a_claim": round(case.claimed / claims, 1)}
        if case.claimed < claims * _CLAIM * 0.9:
            faults.append(f"{name}: claims brought {case.claimed} tasks instead of {claims * _CLAIM}")
    results["ratios"] = {
        name: round(results[name]["ms"]["p50"] / results["waiting_10k"]["ms"]["p50"], 3)
        for name in cases
        if name != "waiting_10k"
    }
    return results, faults


def _cases(arguments: argparse.Namespace) -> dict[str, dict[str, int]]:
    cases = {
        "waiting_10k": {"waiting": 10_000},
        "waiting_1m": {"waiting": 1_000_000},
        "waiting_10m": {"waiting": 10_000_000},
        "full_target": {"waiting": 10_000, "full_target": 1_000_000},
        "full_owner": {"waiting": 10_000, "full_owner": 1_000_000},
        "paused_lane": {"waiting": 10_000, "paused_lane": 1_000_000},
        "limited_lane": {"waiting": 10_000, "limited": 100_000},
        "owners_10k": {"waiting": 10_000, "owners": 10_000},
    }
    if arguments.quick:
        del cases["waiting_10m"], cases["owners_10k"]
        for parts in cases.values():
            parts.update({name: 100_000 for name in ("full_target", "full_owner", "paused_lane") if name in parts})
    return cases


def main() -> int:
    parser = report.parser(__doc__)
    parser.add_argument("--claims", type=int, help="timed claims a case (default: 400; quick: 100)")
    databases.choose(parser)
    arguments = parser.parse_args()
    claims = arguments.claims or (100 if arguments.quick else 400)
    cases = _cases(arguments)
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
        databases.database(arguments.store) as database,
    ):
        results, faults = asyncio.run(measure(Path(folder), database, claims, cases))
        conditions = database.conditions
    parameters = {"claims": claims, "tasks_a_claim": _CLAIM, "cases": cases}
    name = databases.named("claim_backlog", arguments.store)
    return report.finish(Report(name, arguments.quick, parameters, results, faults, conditions))


if __name__ == "__main__":
    sys.exit(main())
