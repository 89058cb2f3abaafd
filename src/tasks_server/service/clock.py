"""Follows the clock where tasks are taken in: what it shows there goes into due times, too."""

import asyncio
from typing import Final

from tasks_server.clock import Clock, Watch
from tasks_server.domain.errors import StoreError
from tasks_server.store.timekeeping import KeepingTime
from tasks_server.telemetry import Telemetry
from tasks_server.telemetry.events import ClockSet

_LOOK_SECONDS: Final = 5.0
_KEEP_EVERY: Final = 12
"""In one look of so many, the database is told what the clock shows, if nothing happened: engines do so more often."""


class ClockFollower:
    """Tells when the clock was set, and has the database know, so that an engine puts right what waits. `look` is one
    pass, for tests to call alone.
    """

    def __init__(self, store: KeepingTime, clock: Clock, telemetry: Telemetry) -> None:
        self._store, self._telemetry = store, telemetry
        self._watch = Watch(clock)
        self._untold_ms = 0
        self._looks = 0

    async def follow(self) -> None:
        """Looks again and again, until it is cancelled. Trouble of the store is waited out."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            try:
                await self.look()
                self._telemetry.store_worked("keep time")
            except StoreError as error:
                self._telemetry.store_failed("keep time", error)

    async def look(self) -> None:
        """Raises `StoreError`; what the database was not told then, it is told by the next look."""
        set_ms = self._watch.look()
        if set_ms:
            self._telemetry.emit(ClockSet(by_ms=set_ms))
        self._untold_ms += set_ms
        if self._untold_ms or self._looks % _KEEP_EVERY == 0:
            await self._store.keep_time(self._untold_ms)
            self._untold_ms = 0
        self._looks += 1
