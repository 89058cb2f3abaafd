"""Fires schedules: looks when the next one has its turn, and has the store make the tasks. Any number of these may run
at once; the store sees to it that a fire time makes one task.
"""

import asyncio
import contextlib
from functools import partial
from typing import Final

from tasks_server.clock import Clock
from tasks_server.domain import limits
from tasks_server.domain.errors import StoreError
from tasks_server.domain.firing import Firing, fire
from tasks_server.domain.schedule import Schedule
from tasks_server.domain.task import Task
from tasks_server.domain.turns import HasTask
from tasks_server.store.scheduling import Scheduling
from tasks_server.telemetry import Telemetry
from tasks_server.telemetry.events import RunsMissed

_LOOK_AGAIN_SECONDS: Final = 2.0
"""How long to go without a look when nothing is due and no hint comes; it costs one seek in an index."""
_AHEAD_MS: Final = limits.PROMOTE_AHEAD_MS
"""How long before a fire time its task is made: it is in the line, and on time, when the instant comes."""
_BATCH_MAX: Final = 50
"""Schedules of one transaction: others get their turn to write soon."""
_TAKEN_SECONDS: Final = 0.01
"""How long to wait when another process has in hand what is due."""
_TROUBLE_FIRST_SECONDS: Final = 0.05
_TROUBLE_MAX_SECONDS: Final = 5.0


class Scheduler:
    """One loop. `look` is one pass, for tests to call alone."""

    def __init__(self, store: Scheduling, clock: Clock, telemetry: Telemetry) -> None:
        self._store = store
        self._clock = clock
        self._telemetry = telemetry
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """Schedules were made or changed."""
        self._wake.set()

    async def run(self) -> None:
        """Looks whenever there is reason to, until it is cancelled. Trouble of the store is waited out."""
        trouble_seconds = _TROUBLE_FIRST_SECONDS
        while True:
            self._wake.clear()
            try:
                wait_seconds = await self.look()
                trouble_seconds = _TROUBLE_FIRST_SECONDS
                self._telemetry.store_worked("fire schedules")
            except StoreError as error:
                self._telemetry.store_failed("fire schedules", error)
                wait_seconds, trouble_seconds = trouble_seconds, min(trouble_seconds * 2, _TROUBLE_MAX_SECONDS)
            if wait_seconds > 0:
                await self._rest(wait_seconds)

    async def look(self) -> float:
        """One pass: fires what is due. In how many seconds to look again without any other reason."""
        at = await self._store.next_look()
        if at is None:
            return _LOOK_AGAIN_SECONDS
        now = self._clock.now()
        horizon = now + _AHEAD_MS
        if at > horizon:
            return min((at - horizon) / 1_000, _LOOK_AGAIN_SECONDS)
        fired = await self._store.fire(now, horizon, _BATCH_MAX, partial(_decide, now, horizon))
        for schedule, missed in fired.missed:
            told = RunsMissed(schedule, missed.why, missed.first_at, missed.last_at)
            self._telemetry.emit(told)
        return 0.0 if fired.schedules else _TAKEN_SECONDS

    async def _rest(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()


def _decide(
    now: int, horizon: int, found: Schedule, template: bytes, last: Task | None, room: int, has_task: HasTask
) -> Firing:
    return fire(found, template, last, room, has_task, now, horizon)
