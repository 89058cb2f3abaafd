"""The engine as a whole: starts its parts, carries hints to them, stops them in order."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Final

import msgspec

from tasks_server.clock import Clock
from tasks_server.domain import limits
from tasks_server.domain.engines import HandlersTrouble
from tasks_server.domain.errors import StoreError
from tasks_server.domain.slots import Reach, Slots
from tasks_server.engine.bulks import BulkWorker
from tasks_server.engine.calls import Caller
from tasks_server.engine.dispatcher import Dispatcher
from tasks_server.engine.executor import Executor
from tasks_server.engine.failures import Failures
from tasks_server.engine.handlers.builtin import BUILTIN_TARGETS
from tasks_server.engine.inflight import InFlight
from tasks_server.engine.maintenance import Checkpoint, Duty, Expire, KeepLeases, Prune, PruneActs, Rescue, repeat
from tasks_server.engine.notebook import Notebook
from tasks_server.engine.reporting import Reporting
from tasks_server.engine.runs import Handlers, Known
from tasks_server.engine.scheduler import Scheduler
from tasks_server.engine.settler import Settler
from tasks_server.engine.signatures import Signatures
from tasks_server.engine.timekeeper import Timekeeper
from tasks_server.store.ports import Store
from tasks_server.store.settling import Report
from tasks_server.telemetry import Telemetry
from tasks_server.telemetry.events import Level

_HINT_WAIT_SECONDS: Final = 30.0
_DRAIN_SECONDS: Final = 5.0
"""How long a stopping engine tries to record what its calls brought."""


class EngineConfig(msgspec.Struct, frozen=True):
    """What an operator may choose of an engine."""

    concurrency_max: int = 1_024
    """Calls in flight in total."""
    per_target_max: int = 256
    """Calls in flight to one target host."""
    retention_ms: int = limits.RETENTION_DAYS_DEFAULT * limits.DAY_MS
    audit_ms: int = limits.AUDIT_DAYS_DEFAULT * limits.DAY_MS
    grace_seconds: float = 10.0
    """How long calls in flight may go on when the engine is asked to stop."""
    look_again_seconds: float = 5.0
    """How long to go without looking for due tasks when nothing is due and no hint comes."""
    http: bool = True
    """Whether it makes HTTP calls; else they are left to other engines."""
    retry_base_ms: int = limits.HANDLER_RETRY_BASE_MS
    """The first wait of a handler's retries, when nothing says how long it is."""


class Engine:
    """Runs tasks until it is stopped. `jitter` draws numbers in [0, 1)."""

    def __init__(
        self,
        store: Store,
        caller: Caller,
        clock: Clock,
        config: EngineConfig,
        telemetry: Telemetry,
        jitter: Callable[[], float],
        handlers: Handlers | None = None,
    ) -> None:
        self._store = store
        self._caller = caller
        self._handlers = handlers
        self._telemetry = telemetry
        self._grace_seconds = config.grace_seconds
        self._jitter = jitter
        slots = Slots.of(config.concurrency_max, config.per_target_max)
        self.inflight = InFlight()
        self.settler = Settler(store, telemetry, self._recorded)
        self.notebook = Notebook(store)
        self.failures = Failures(clock, telemetry)
        self.executor = Executor(
            caller,
            handlers,
            self.settler,
            self.inflight,
            clock,
            telemetry,
            Signatures(store, clock, telemetry),
            jitter=jitter,
            builtin=Known(0, retry_base_ms=config.retry_base_ms),
            on_free=self._slot_freed,
            on_shortage=self._ran_short,
            notebook=self.notebook,
            on_failure=self.failures.note,
        )
        reach = Reach(config.http, BUILTIN_TARGETS)
        self.dispatcher = Dispatcher(
            store, self.executor, self.inflight, slots, clock, telemetry, reach, config.look_again_seconds
        )
        self.scheduler = Scheduler(store, clock, telemetry)
        self.reporting = Reporting(
            store,
            clock,
            self.inflight,
            self.dispatcher,
            self.settler,
            self._known,
            self._handlers_trouble,
            telemetry.troubles,
            self.failures,
        )
        self.bulks = BulkWorker(store, clock, telemetry)
        self._leases = KeepLeases(store, self.inflight, self.executor, clock)
        self.keeper = Timekeeper(store, clock, telemetry, self._clock_set)
        self._duties: list[Duty] = [
            Rescue(store, clock, telemetry, self.dispatcher.wake),
            Expire(store, clock, telemetry),
            Prune(store, clock, telemetry, config.retention_ms, self.keeper),
            PruneActs(store, clock, telemetry, config.audit_ms, self.keeper),
            Checkpoint(store),
            self._leases,
            self.reporting,
            self.keeper,
            self.failures,
        ]
        self._stopping = asyncio.Event()

    def relog(self, level: Level) -> None:
        """From now on, handlers log at this level."""
        if self._handlers is not None:
            self._handlers.relog(level)

    async def prepare(self) -> None:
        """Makes sure that handlers can be run here. Raises `HandlersFailed`."""
        if self._handlers is not None:
            await asyncio.to_thread(self._handlers.prepare)

    async def run(self) -> None:
        """Works until `stop` is called, then stops in order: no more claims; calls in flight may go on for the grace
        time; the rest is given back; everything is recorded. Raises what a part of it died of.
        """
        self.executor.start(self._handlers_changed)
        self._handlers_changed()
        scheduling = asyncio.create_task(self.scheduler.run(), name="scheduler")
        dispatching = asyncio.create_task(self.dispatcher.run(), name="dispatcher")
        settling = asyncio.create_task(self.settler.run(), name="settler")
        others = [
            asyncio.create_task(self._listen(), name="hints"),
            asyncio.create_task(self.reporting.follow(), name="report changes"),
            asyncio.create_task(self.bulks.run(), name="bulk work"),
            asyncio.create_task(self.notebook.run(), name="notes"),
        ]
        others += [
            asyncio.create_task(repeat(duty, self._telemetry, self._jitter), name=duty.name) for duty in self._duties
        ]
        stopping = asyncio.create_task(self._stopping.wait(), name="stopping")
        parts = [scheduling, dispatching, settling, *others]
        try:
            done, _ = await asyncio.wait([stopping, *parts], return_when=asyncio.FIRST_COMPLETED)
            for part in done - {stopping}:
                part.result()
            await _cancel(scheduling)
            await _cancel(dispatching)
            await self.reporting.stopped()
            await self._wind_down()
        finally:
            for part in (*parts, stopping):
                await _cancel(part)
            if self._handlers is not None:
                await asyncio.to_thread(self._handlers.stop)
            await asyncio.to_thread(self._caller.stop)

    def stop(self, grace_seconds: float | None = None) -> None:
        """Asks the engine to stop; `run` returns when it has. A second call may shorten the grace time."""
        if grace_seconds is not None:
            self._grace_seconds = grace_seconds
        self._stopping.set()

    async def _wind_down(self) -> None:
        with contextlib.suppress(TimeoutError):
            await _within(self._grace_seconds, self.executor.finished())
        if self._handlers is not None:  # given back when it has ended here, so that it does not run twice at once
            await asyncio.to_thread(self._handlers.stop)
        self.executor.interrupt()
        with contextlib.suppress(TimeoutError):
            await _within(_DRAIN_SECONDS, self.settler.drained())

    async def _listen(self) -> None:
        while True:
            hints = await self._store.wait(_HINT_WAIT_SECONDS)
            if hints.work_at is not None:
                self.dispatcher.wake_for(hints.work_at)
            if hints.schedules:
                self.scheduler.wake()
                self.bulks.wake()
            if hints.cancelled:
                try:
                    await self._leases.recheck()
                except StoreError as error:
                    self._telemetry.store_failed("recheck leases", error)

    def _handlers_changed(self) -> None:
        if self._handlers is not None:
            self.dispatcher.handlers_changed(self._known(), self._handlers.runs_max())
            self.reporting.changed()

    def _known(self) -> Mapping[str, Known]:
        return {} if self._handlers is None else self._handlers.known()

    def _handlers_trouble(self) -> HandlersTrouble | None:
        return None if self._handlers is None else self._handlers.trouble()

    def _ran_short(self, lacking: str, target: str) -> None:
        self.dispatcher.shortage.note(lacking, target, len(self.inflight))

    async def look_anew(self) -> None:
        """Time has gone on without anybody sleeping through it, as it does for tests: whoever waits looks again."""
        await self._clock_set()

    async def _clock_set(self) -> None:
        """The clock was set: whoever waits for an instant looks anew, and leases are told by what it shows now."""
        self.dispatcher.wake()
        self.scheduler.wake()
        self.bulks.wake()
        self.reporting.changed()
        await self._leases.tick()

    def _slot_freed(self) -> None:
        self.dispatcher.slot_freed()

    def _recorded(self, reports: Sequence[Report]) -> None:
        self.dispatcher.recorded(reports)


async def _within(seconds: float, work: Coroutine[Any, Any, None]) -> None:
    async with asyncio.timeout(seconds):
        await work


async def _cancel(part: "asyncio.Task[Any]") -> None:
    part.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await part
