"""Whether the server is well, and how many tasks are in which state."""

import asyncio
from typing import Any, Final

import msgspec

from tasks_server.clock import Clock, SystemClock, Watch
from tasks_server.domain import durations
from tasks_server.domain.engines import SILENT_MS, Engine
from tasks_server.domain.errors import StoreError
from tasks_server.domain.task import State
from tasks_server.domain.timekeeping import Timekeeping
from tasks_server.service.ground import Ground
from tasks_server.store.clustering import Node

STORE_SECONDS: Final = 2.0
"""How long the store may take to answer before it counts as unavailable."""


class Health(msgspec.Struct, frozen=True):
    """Whether all is well, and what was looked at: the store, the engines, their handlers, the clock."""

    ok: bool
    checks: dict[str, dict[str, Any]]


class MonitorService:
    """What `/monitor` tells."""

    def __init__(self, ground: Ground, machine: Clock | None = None) -> None:
        self._store = ground.store
        self._clock = ground.clock
        self._machine = machine or SystemClock()
        self._watch = Watch(ground.clock)
        self._set_at = -_HEARD_SECONDS

    async def health(self) -> Health:
        """Whether something can be stored, asked with a limit of time; the store knows of the engines."""
        began = self._clock.monotonic()
        engines: list[Engine] | None = None
        known = Timekeeping()
        store: dict[str, Any] = {"status": "ok"}
        try:
            async with asyncio.timeout(STORE_SECONDS):
                await self._store.probe()
                engines, known = await asyncio.gather(self._store.engines(), self._store.timekeeping())
        except StoreError as error:
            store = {"status": "unavailable", "code": error.code}
        except TimeoutError:
            store = {"status": "unavailable", "code": "store_slow"}
        store["ms"] = round((self._clock.monotonic() - began) * 1_000, 1)
        if self._watch.look():
            self._set_at = self._clock.monotonic()
        checks = {
            "store": store,
            "engine": self._engines(engines),
            "handlers": self._handlers(engines or []),
            "clock": self._clock_told(known),
        }
        return Health(all(check["status"] not in _BAD for check in checks.values()), checks)

    async def engines(self) -> list[Engine]:
        """The engines that told of themselves, the one heard of last first."""
        return await self._store.engines()

    async def nodes(self) -> list[Node]:
        """The processes that work on the store, as far as it knows them."""
        return await self._store.nodes()

    async def counts(self, owner: str | None) -> dict[State, int]:
        """How many tasks of an owner, or (None) of all, are in each state."""
        return await self._store.counts(owner)

    def _engines(self, engines: list[Engine] | None) -> dict[str, Any]:
        """How the engines are. One that has gone a moment ago is being started again; where none ever told of itself,
        nothing is known of any.
        """
        if not engines:
            return {"status": "unknown"}
        now = self._clock.now()
        alive = sum(engine.alive(now) for engine in engines)
        if alive:
            return {"status": "ok", "alive": alive}
        silent_ms = now - max(engine.seen_at for engine in engines)
        heard = self._clock.monotonic() - self._set_at > _HEARD_SECONDS  # else they told by the clock as it was before
        gone = heard and abs(silent_ms) > SILENT_MS
        return {"status": "unavailable" if gone else "starting", "alive": 0, "silent_ms": max(0, silent_ms)}

    def _clock_told(self, known: Timekeeping) -> dict[str, Any]:
        """How far the clock is ahead of the machine's, and whether it was set in the last hour: no fault of the
        server's, but the reason of much that looks like one.
        """
        now = self._clock.now()
        told: dict[str, Any] = {"status": "ok", "ahead_ms": now - self._machine.now()}
        if known.walk is None and not known.set_lately(now):
            return told
        way = "ahead" if known.set_ms > 0 else "back"
        details = [f"the clock was set {way} by {durations.shown(abs(known.set_ms))}"] if known.set_ms else []
        if known.walk is not None:
            details.append("what waits is being put right for the clock")
        detail = "; ".join(details)
        set_told = {"set_ms": known.set_ms, "set_at": known.set_at, "putting_right": known.walk is not None}
        return told | {"status": "set", "detail": detail} | set_told

    def _handlers(self, engines: list[Engine]) -> dict[str, Any]:
        """How many engines cannot import their handlers, and for how long. They do all else, so that the server is
        well.
        """
        now = self._clock.now()
        troubles = [engine.facts.handlers_trouble for engine in engines if engine.alive(now)]
        since = [trouble.since for trouble in troubles if trouble is not None]
        if not since:
            return {"status": "ok" if troubles else "unknown"}
        return {"status": "failing", "engines": len(since), "for_ms": max(0, now - min(since))}


_HEARD_SECONDS: Final = SILENT_MS / 1_000
"""How long after the clock was set engines have time to tell of themselves by it."""
_BAD: Final = frozenset({"unavailable"})
