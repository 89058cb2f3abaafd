"""Whether the server is well, and how many tasks are in which state."""

import asyncio
from typing import Any, Final

import msgspec

from tasks_server.clock import Clock, SystemClock
from tasks_server.domain.engines import SILENT_MS, Engine
from tasks_server.domain.errors import StoreError
from tasks_server.domain.task import State
from tasks_server.service.ground import Ground

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

    async def health(self) -> Health:
        """Whether something can be stored, asked with a limit of time; the store knows of the engines."""
        began = self._clock.monotonic()
        engines: list[Engine] | None = None
        store: dict[str, Any] = {"status": "ok"}
        try:
            async with asyncio.timeout(STORE_SECONDS):
                await self._store.probe()
                engines = await self._store.engines()
        except StoreError as error:
            store = {"status": "unavailable", "code": error.code}
        except TimeoutError:
            store = {"status": "unavailable", "code": "store_slow"}
        store["ms"] = round((self._clock.monotonic() - began) * 1_000, 1)
        told = self._engines(engines)
        ahead_ms = self._clock.now() - self._machine.now()
        handlers = self._handlers(engines or [])
        checks = {"store": store, "engine": told, "handlers": handlers, "clock": {"status": "ok", "ahead_ms": ahead_ms}}
        return Health(all(check["status"] not in _BAD for check in checks.values()), checks)

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
        last = max(engine.seen_at for engine in engines)
        return {"status": "starting" if now - last <= SILENT_MS else "unavailable", "alive": 0, "silent_ms": now - last}

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


_BAD: Final = frozenset({"unavailable"})
