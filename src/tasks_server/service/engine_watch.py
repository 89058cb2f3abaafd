"""Watches the engines from outside: tells of one that hangs, which cannot tell of itself."""

import asyncio
from typing import Final

from tasks_server.clock import Clock
from tasks_server.domain.engines import SILENT_MS, Engine
from tasks_server.domain.errors import StoreError
from tasks_server.store.engines import Engines
from tasks_server.telemetry import Telemetry
from tasks_server.telemetry.events import EngineHeard, EngineSilent

_LOOK_SECONDS: Final = 2.5
_SILENT_SECONDS: Final = SILENT_MS / 1_000


class EngineWatch:
    """An engine is silent when what it told stays the same for so long by a clock that nobody sets. `look` is one pass,
    for tests to call alone.
    """

    def __init__(self, store: Engines, clock: Clock, telemetry: Telemetry) -> None:
        self._store, self._clock, self._telemetry = store, clock, telemetry
        self._seen: dict[int, tuple[int, float]] = {}
        self._told: set[int] = set()

    async def follow(self) -> None:
        """Looks again and again, until it is cancelled. Trouble of the store is waited out: nothing is known then."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            try:
                await self.look()
                self._telemetry.store_worked("watch engines")
            except StoreError as error:
                self._seen.clear()
                self._telemetry.store_failed("watch engines", error)

    async def look(self) -> None:
        """Raises `StoreError`."""
        engines = await self._store.engines()
        now = self._clock.monotonic()
        known = {engine.number for engine in engines if engine.lives and not engine.facts.stopped_at}
        self._seen = {number: seen for number, seen in self._seen.items() if number in known}
        self._told &= known
        for engine in engines:
            if engine.number in known:
                self._judge(engine, now)

    def _judge(self, engine: Engine, now: float) -> None:
        seen_at, since = self._seen.get(engine.number, (None, now))
        facts, told = engine.facts, engine.number in self._told
        if seen_at != engine.seen_at:
            self._seen[engine.number] = engine.seen_at, now
            if told and seen_at is not None:
                self._told.remove(engine.number)
                self._telemetry.emit(EngineHeard(node=engine.number, host=facts.host, pid=facts.pid))
        elif now - since >= _SILENT_SECONDS and not told:
            self._told.add(engine.number)
            silent = EngineSilent(engine.number, facts.host, facts.pid, engine.seen_at, facts.in_flight)
            self._telemetry.emit(silent)
