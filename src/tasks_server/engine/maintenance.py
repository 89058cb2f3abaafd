"""Background duties. A duty is one class with one `tick`; when to tick, errors and back-off are written once."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable
from typing import Final, Protocol

from tasks_server.clock import Clock
from tasks_server.domain import limits
from tasks_server.domain.engines import Engine
from tasks_server.domain.errors import StoreError
from tasks_server.domain.leases import RENEWED_SECONDS
from tasks_server.engine.executor import Executor
from tasks_server.engine.inflight import InFlight
from tasks_server.engine.reports import report_lost
from tasks_server.engine.timekeeper import Timekeeper
from tasks_server.store.auditing import Auditing
from tasks_server.store.engines import Engines
from tasks_server.store.ports import Maintaining
from tasks_server.store.rows import NODE_SHIFT
from tasks_server.store.settling import Lost, Report, Settling
from tasks_server.telemetry import Telemetry
from tasks_server.telemetry.events import DutyDone, TasksRescued

_BATCH_MAX: Final = 500
_JITTER_SHARE: Final = 0.1


class Duty(Protocol):
    """Something to do again and again."""

    name: str
    every_seconds: float

    async def tick(self) -> bool:
        """One bounded piece of work. True: there is more, go on at once."""
        ...


class _Rescuing(Maintaining, Engines, Protocol):
    """What a rescuer asks the store."""


class Rescue:
    """Gives back the tasks of dead workers."""

    name = "rescue"
    every_seconds = 1.0

    def __init__(self, store: _Rescuing, clock: Clock, telemetry: Telemetry, on_work: Callable[[], None]) -> None:
        self._store, self._clock, self._telemetry, self._on_work = store, clock, telemetry, on_work

    async def tick(self) -> bool:
        now = self._clock.now()
        holders: dict[int, int] = {}

        def decide(lost: Lost) -> Report:
            holders[lost.ref] = lost.lease >> NODE_SHIFT
            return report_lost(now, lost)

        count = await self._store.rescue(now, _BATCH_MAX, decide)
        if count:
            self._on_work()
            await self._tell(Counter(holders.values()))
        return count == _BATCH_MAX

    async def _tell(self, counts: Counter[int]) -> None:
        """Of each engine that lost tasks, by what it told of itself."""
        known: dict[int, Engine] = {}
        with contextlib.suppress(StoreError):
            known = {engine.number: engine for engine in await self._store.engines()}
        for node, count in counts.items():
            facts = known[node].facts if node in known else None
            host, pid = (facts.host, facts.pid) if facts else ("", 0)
            self._telemetry.emit(TasksRescued(count=count, node=node, host=host, pid=pid))


class Expire:
    """Ends tasks that may not start any more."""

    name = "expire"
    every_seconds = 1.0

    def __init__(self, store: Maintaining, clock: Clock, telemetry: Telemetry) -> None:
        self._store, self._clock, self._telemetry = store, clock, telemetry

    async def tick(self) -> bool:
        count = await self._store.expire(self._clock.now(), _BATCH_MAX)
        if count:
            self._telemetry.emit(DutyDone(duty=self.name, count=count))
        return count == _BATCH_MAX


class Prune:
    """Deletes history that is older than it is kept."""

    name = "prune"
    every_seconds = 60.0

    def __init__(
        self, store: Maintaining, clock: Clock, telemetry: Telemetry, retention_ms: int, keeper: Timekeeper
    ) -> None:
        self._store, self._clock, self._telemetry, self._retention_ms = store, clock, telemetry, retention_ms
        self._keeper = keeper

    async def tick(self) -> bool:
        if self._keeper.is_doubtful():  # what a wrong clock took for old would be gone for good
            return False
        count = await self._store.prune(self._clock.now() - self._retention_ms, _BATCH_MAX)
        if count:
            self._telemetry.emit(DutyDone(duty=self.name, count=count))
        return count >= _BATCH_MAX


class PruneActs:
    """Forgets what was done by hand once it is older than the record is kept."""

    name = "prune audit record"
    every_seconds = 600.0

    def __init__(self, store: Auditing, clock: Clock, telemetry: Telemetry, audit_ms: int, keeper: Timekeeper) -> None:
        self._store, self._clock, self._telemetry, self._audit_ms = store, clock, telemetry, audit_ms
        self._keeper = keeper

    async def tick(self) -> bool:
        if self._keeper.is_doubtful():
            return False
        count = await self._store.prune_acts(self._clock.now() - self._audit_ms, _BATCH_MAX)
        if count:
            self._telemetry.emit(DutyDone(duty=self.name, count=count))
        return count == _BATCH_MAX


class Checkpoint:
    """Lets the store tidy its log."""

    name = "checkpoint"
    every_seconds = 0.5

    def __init__(self, store: Maintaining) -> None:
        self._store = store

    async def tick(self) -> bool:
        await self._store.checkpoint()
        return False


class KeepLeases:
    """Extends the leases of calls that take long, and drops those whose lease is gone."""

    name = "keep leases"
    every_seconds = RENEWED_SECONDS

    def __init__(self, store: Settling, inflight: InFlight, executor: Executor, clock: Clock) -> None:
        self._store, self._inflight, self._executor, self._clock = store, inflight, executor, clock

    async def tick(self) -> bool:
        kept = self._inflight.all()
        if kept:
            leases = [(running.claim.ref, running.claim.lease) for running in kept]
            lost = await self._store.extend(leases, self._clock.now() + limits.LEASE_MS)
            self._executor.drop(running for running in kept if running.claim.ref in lost)
        return False

    async def recheck(self) -> None:
        """Drops the calls whose lease was taken away, now that somebody said so."""
        checked = self._inflight.all()
        if checked:
            held = await self._store.held([(running.claim.ref, running.claim.lease) for running in checked])
            # A claim that came since is not among those checked, whatever its task.
            self._executor.drop(running for running in checked if running.claim.ref not in held)


async def repeat(duty: Duty, telemetry: Telemetry, jitter: Callable[[], float]) -> None:
    """Does a duty again and again until it is cancelled. Trouble of the store only puts it off."""
    while True:
        more = False
        try:
            more = await duty.tick()
            telemetry.store_worked(duty.name)
        except StoreError as error:
            telemetry.store_failed(duty.name, error)
        wait_seconds = duty.every_seconds * (1 + _JITTER_SHARE * jitter())
        # Even when there is more, others get their turn: housekeeping must not fill the store.
        await asyncio.sleep(0.01 if more else wait_seconds)
