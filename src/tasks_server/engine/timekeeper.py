"""Follows the clock: a duty like those of `maintenance`. Notices that it was set, tells, and puts right what waits."""

from collections.abc import Awaitable, Callable
from typing import Final

from tasks_server.clock import Clock, Watch
from tasks_server.domain.timekeeping import KEPT_EVERY_SECONDS, Timekeeping
from tasks_server.store.timekeeping import KeepingTime
from tasks_server.telemetry import Telemetry
from tasks_server.telemetry.events import ClockSet, PutRight

_STEP_MAX: Final = 1_000
"""Tasks or schedules of one step: others get their turn to write soon."""
_TOLD_MS: Final = 60_000
"""What others saw within so long of what was seen here is the same."""


class Timekeeper:
    """`known` is what the database knew of the clock a moment ago; None: it was not asked yet. `on_set` is called when
    the clock was set.
    """

    name = "keep time"
    every_seconds = 1.0

    def __init__(
        self, store: KeepingTime, clock: Clock, telemetry: Telemetry, on_set: Callable[[], Awaitable[None]]
    ) -> None:
        self._store, self._clock, self._telemetry, self._on_set = store, clock, telemetry, on_set
        self._watch: Watch | None = None
        self._new_ms = self._seen_ms = 0
        self._told_at = 0
        self._keep_at = 0.0
        self._waits = self._schedules = 0
        self.known: Timekeeping | None = None

    async def tick(self) -> bool:
        self._look()
        if self._new_ms:
            self._tell(self._new_ms)
            self._seen_ms, self._new_ms = self._seen_ms + self._new_ms, 0
            await self._on_set()
        if self._seen_ms or self._clock.monotonic() >= self._keep_at:
            await self._keep()
        return await self._put_right()

    def is_doubtful(self) -> bool:
        """Whether the clock may show an instant that has not come: it was set ahead lately, or nothing is known yet."""
        self._look()
        if self.known is None or self._new_ms > 0 or self._seen_ms > 0:
            return True
        return self.known.set_ahead_lately(self._clock.now())

    def _look(self) -> None:
        """Adds up by how much the clock was set; nobody was told of it yet."""
        if self._watch is None:  # only now is it certain that the clock follows the database's
            self._watch = Watch(self._clock)
        self._new_ms += self._watch.look()

    async def _keep(self) -> None:
        known = await self._store.keep_time(self._seen_ms)
        self._seen_ms = 0
        self._keep_at = self._clock.monotonic() + KEPT_EVERY_SECONDS
        found = (self.known is None or known.set_at != self.known.set_at) and known.set_lately(self._clock.now())
        if found and abs(known.set_at - self._told_at) > _TOLD_MS:
            self._tell(known.set_ms)
        self.known = known

    async def _put_right(self) -> bool:
        if self.known is None or self.known.walk is None:
            return False
        righted = await self._store.put_right(_STEP_MAX)
        self._waits += righted.waits
        self._schedules += righted.schedules
        if righted.more:
            return True
        if self._waits or self._schedules:
            self._telemetry.emit(PutRight(waits=self._waits, schedules=self._schedules))
        self._waits = self._schedules = 0
        self._keep_at = 0.0  # another process may have more of it in hand
        self.known = await self._store.timekeeping()
        return False

    def _tell(self, set_ms: int) -> None:
        self._told_at = self._clock.now()
        self._telemetry.emit(ClockSet(by_ms=set_ms))
