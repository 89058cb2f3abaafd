"""Whether the server is well, and how many tasks are in which state."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal

import msgspec

from tasks_server.clock import Clock, SystemClock, Watch
from tasks_server.domain import durations, limits
from tasks_server.domain.engines import SILENT_MS, Engine
from tasks_server.domain.errors import StoreError
from tasks_server.domain.task import State
from tasks_server.domain.timekeeping import Timekeeping
from tasks_server.service.ground import Ground
from tasks_server.store.clustering import Node

STORE_SECONDS: Final = 2.0
"""How long the store may take to answer before it counts as unavailable."""


Status = Literal["ok", "degraded", "unavailable"]


class Health(msgspec.Struct, frozen=True):
    """Whether all is well, what is not, and what was looked at: the store, the engines, their handlers, the clock.
    `degraded`: it serves, and somebody should look at it.
    """

    status: Status
    reasons: list[str]
    checks: dict[str, dict[str, Any]]


class MonitorService:
    """What `/monitor` tells."""

    def __init__(
        self,
        ground: Ground,
        machine: Clock | None = None,
        troubles: Callable[[], Sequence[tuple[str, str, int]]] = list,
    ) -> None:
        self._troubles = troubles
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
            "store": self._store_told(store),
            "engine": self._engines(engines),
            "handlers": self._handlers(engines or []),
            "clock": self._clock_told(known, engines or []),
        }
        statuses = {check["status"] for check in checks.values()}
        degraded = "degraded" in statuses or checks["clock"].get("wrong", False)
        status: Status = "unavailable" if "unavailable" in statuses else "degraded" if degraded else "ok"
        bad = [check for check in checks.values() if check["status"] in _BAD or check.get("wrong")]
        return Health(status, [check["detail"] for check in bad], checks)

    async def unready(self) -> str | None:
        """The code of why requests should not come now: the store cannot be reached, has another schema than this
        version needs, or takes no writes; None: they may.
        """
        try:
            async with asyncio.timeout(STORE_SECONDS):
                await self._store.ready()
        except StoreError as error:
            return error.code
        except TimeoutError:
            return "store_slow"
        return None

    def _store_told(self, store: dict[str, Any]) -> dict[str, Any]:
        """It may take the write of this check, and not what others ask of it."""
        if store["status"] != "ok":
            return store | {"detail": f"the store takes no writes: {store['code']}"}
        troubles = self._troubles()
        if not troubles:
            return store
        told = "; ".join(f"{doing}: {code}, for {durations.shown(ms)}" for doing, code, ms in troubles[:_TOLD_MAX])
        return store | {"status": "degraded", "detail": f"the store could not do all that was asked of it ({told})"}

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
            return {"status": "ok", "alive": alive} | self._engines_troubled(engines, now, alive)
        silent_ms = now - max(engine.seen_at for engine in engines)
        heard = self._clock.monotonic() - self._set_at > _HEARD_SECONDS  # else they told by the clock as it was before
        gone = heard and abs(silent_ms) > SILENT_MS
        told: dict[str, Any] = {"alive": 0, "silent_ms": max(0, silent_ms)}
        if not gone:
            return {"status": "starting"} | told
        return {"status": "unavailable", "detail": f"no engine runs; the last was heard of {_ago(silent_ms)}"} | told

    def _engines_troubled(self, engines: list[Engine], now: int, alive: int) -> dict[str, Any]:
        """What is wrong with some of the engines: they hang, or the store refuses what they ask of it."""
        details, told = [], dict[str, Any]()
        heard = self._clock.monotonic() - self._set_at > _HEARD_SECONDS
        silent = [engine for engine in engines if engine.silent(now)] if heard else []
        if silent:
            told["silent"] = [engine.number for engine in silent]
            since = durations.shown(max(0, now - min(engine.seen_at for engine in silent)))
            numbers = ", ".join(map(str, told["silent"][:_TOLD_MAX]))
            details.append(
                f"{len(silent)} of {alive + len(silent)} engines tell nothing ({numbers}), the first for {since}"
            )
        living = [engine for engine in engines if engine.alive(now)]
        troubled = [one for engine in living for one in (*engine.facts.troubles, engine.facts.trouble) if one]
        if troubled:
            told["troubles"] = sorted({f"{one.doing}: {one.code}" for one in troubled})
            details.append(f"the store refuses engines ({', '.join(told['troubles'][:_TOLD_MAX])})")
        if failing := sum(engine.facts.failing_targets for engine in living):
            told["failing_targets"] = failing
        return told | ({"status": "degraded", "detail": "; ".join(details)} if details else {})

    def _clock_told(self, known: Timekeeping, engines: list[Engine]) -> dict[str, Any]:
        """How far the clock is ahead of those of the machines, and whether it was set in the last hour: no fault of the
        server's, but the reason of much that looks like one. By how much it is `wrong`, is for somebody to look at.
        """
        now = self._clock.now()
        told: dict[str, Any] = {"status": "ok", "ahead_ms": now - self._machine.now()}
        offsets = [told["ahead_ms"], *(engine.facts.clock_ahead_ms for engine in engines if engine.alive(now))]
        furthest = max(offsets, key=abs)
        if abs(furthest) >= CLOCK_WRONG_MS:
            way = "behind" if furthest > 0 else "ahead of"
            detail = f"the clock of a machine is {durations.shown(abs(furthest))} {way} the database's"
            return told | {"status": "degraded", "detail": detail, "furthest_ms": furthest}
        if known.walk is None and not known.set_lately(now):
            return told
        way = "ahead" if known.set_ms > 0 else "back"
        details = [f"the clock was set {way} by {durations.shown(abs(known.set_ms))}"] if known.set_ms else []
        if known.walk is not None:
            details.append("what waits is being put right for the clock")
        detail = "; ".join(details)
        set_told = {"set_ms": known.set_ms, "set_at": known.set_at, "putting_right": known.walk is not None}
        wrong = {"wrong": True} if abs(known.set_ms) >= CLOCK_WRONG_MS else {}
        return told | {"status": "set", "detail": detail} | wrong | set_told

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
CLOCK_WRONG_MS: Final = limits.MINUTE_MS
"""A clock that differs by so much, or was set by so much within the last hour, is for somebody to look at."""
_BAD: Final = frozenset({"unavailable", "degraded"})
_TOLD_MAX: Final = 5


def _ago(ms: int) -> str:
    return f"{durations.shown(max(0, ms))} ago"
