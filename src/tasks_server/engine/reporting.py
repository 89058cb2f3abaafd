"""Tells of this engine: a duty like those of `maintenance`, and when the engine begins to stop."""

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from tasks_server import __version__
from tasks_server.clock import Clock, SystemClock
from tasks_server.domain.engines import (
    REPORT_SECONDS,
    TARGETS_TOLD_MAX,
    TROUBLES_TOLD_MAX,
    EngineFacts,
    EngineReport,
    HandlersTrouble,
    KnownHandler,
    Repertoire,
    Trouble,
)
from tasks_server.domain.errors import StoreError
from tasks_server.domain.task import HANDLER_MARK
from tasks_server.engine.dispatcher import Dispatcher
from tasks_server.engine.failures import Failures
from tasks_server.engine.inflight import InFlight
from tasks_server.engine.runs import Known
from tasks_server.engine.settler import Settler
from tasks_server.store.engines import Engines

_LAST_WORD_SECONDS: Final = 1.0
"""For how long a stopping engine tries to tell that it stops."""


class Reporting:
    """Writes down what the engine is like. `known` gives the handlers that it can run, by target, beside the built-in
    ones, `handlers_trouble` why it cannot import them, `troubles` what the store
    could not do, by `Telemetry.troubles`.
    """

    name = "report"
    every_seconds = REPORT_SECONDS

    def __init__(
        self,
        store: Engines,
        clock: Clock,
        inflight: InFlight,
        dispatcher: Dispatcher,
        settler: Settler,
        known: Callable[[], Mapping[str, Known]],
        handlers_trouble: Callable[[], HandlersTrouble | None],
        troubles: Callable[[], Sequence[tuple[str, str, int]]],
        failures: Failures,
        machine: Clock | None = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._inflight = inflight
        self._dispatcher = dispatcher
        self._settler = settler
        self._known = known
        self._handlers_trouble = handlers_trouble
        self._troubles = troubles
        self._failures = failures
        self._machine = machine or SystemClock()
        self._changed = asyncio.Event()
        self._started_at = 0
        self._stopped_at = 0
        self._host, self._pid = socket.gethostname(), os.getpid()

    async def tick(self) -> bool:
        now = self._clock.now()
        self._started_at = self._started_at or now
        await self._store.report(EngineReport(self._started_at, now, self.facts()))
        return False

    def changed(self) -> None:
        """Something has changed that others should know at once."""
        self._changed.set()

    async def follow(self) -> None:
        """Tells at once of what has changed, until it is cancelled."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            with contextlib.suppress(StoreError):  # the next tick tells of it, and of the trouble
                await self.tick()

    async def stopped(self) -> None:
        """Tells that the engine takes no more tasks. Trouble of the store must not hold up the stop."""
        self._stopped_at = self._clock.now()
        with contextlib.suppress(StoreError, TimeoutError):
            async with asyncio.timeout(_LAST_WORD_SECONDS):
                await self.tick()

    def facts(self) -> EngineFacts:
        """The engine as it is now."""
        held = self._inflight.held()
        slots = self._dispatcher.shortage.narrowed(self._dispatcher.slots)
        full = [(count, target) for target, count in held.targets.items() if not slots.target_room(target, count)]
        return EngineFacts(
            host=self._host,
            pid=self._pid,
            version=__version__,
            slots=slots.total,
            owner_max=slots.owner_max,
            target_max=slots.target_max,
            in_flight=held.total,
            repertoire=self._repertoire(),
            runs_max=slots.runs_max,
            looked_at=self._dispatcher.looked_at,
            trouble=self._dispatcher.trouble or self._settler.trouble,
            handlers_trouble=self._handlers_trouble(),
            targets_full={target: count for count, target in sorted(full, reverse=True)[:TARGETS_TOLD_MAX]},
            stopped_at=self._stopped_at,
            troubles=tuple(Trouble(doing, code) for doing, code, _ in self._troubles()[:TROUBLES_TOLD_MAX]),
            clock_ahead_ms=self._clock.now() - self._machine.now(),
            failed_attempts=self._failures.total,
            failing_targets=self._failures.failing(),
        )

    def _repertoire(self) -> Repertoire:
        reach, known = self._dispatcher.reach, self._known()
        handlers = []
        for target in sorted(reach.handlers):
            name, one = target.removeprefix(HANDLER_MARK), known.get(target)
            limits = (one.timeout_ms, one.retries_max, one.concurrency_max) if one is not None else ()
            handlers.append(KnownHandler(name, *limits))
        return Repertoire(reach.http, tuple(handlers))
