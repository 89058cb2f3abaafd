"""Does bulk work: step after step, each a short transaction, with a rest after each as long as it took, so that tasks
have the store for at least half of the time. Any number of these may run at once; the store sees to it that nothing is
done twice.
"""

import asyncio
import contextlib
from functools import partial
from typing import Final

from tasks_server.clock import Clock
from tasks_server.domain.bulk import Bulk, Deleted, Steered, act
from tasks_server.domain.errors import StoreError
from tasks_server.domain.task import Task
from tasks_server.store.bulking import Bulking, Stride
from tasks_server.telemetry import Telemetry
from tasks_server.telemetry.events import BulkEnded, BulkStepFailed

_LOOK_AGAIN_SECONDS: Final = 2.0
"""How long to go without a look when there is no work and no hint comes; it costs one seek in an empty index."""
_TAKEN_SECONDS: Final = 0.05
"""How long to wait when another process has in hand what there is."""
_REST_MIN_SECONDS: Final = 0.005
_TROUBLE_FIRST_SECONDS: Final = 0.05
_TROUBLE_MAX_SECONDS: Final = 5.0


class BulkWorker:
    """One loop. `look` is one pass, for tests to call alone."""

    def __init__(self, store: Bulking, clock: Clock, telemetry: Telemetry, stride: Stride | None = None) -> None:
        self._store = store
        self._clock = clock
        self._telemetry = telemetry
        self._stride = stride or Stride()
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """Bulk work was asked for."""
        self._wake.set()

    async def run(self) -> None:
        """Works whenever there is something to do, until it is cancelled. Trouble of the store is waited out."""
        trouble_seconds = _TROUBLE_FIRST_SECONDS
        while True:
            self._wake.clear()
            try:
                wait_seconds = await self.look()
                trouble_seconds = _TROUBLE_FIRST_SECONDS
                self._telemetry.store_worked("bulk work")
            except StoreError as error:
                self._telemetry.store_failed("bulk work", error)
                wait_seconds, trouble_seconds = trouble_seconds, min(trouble_seconds * 2, _TROUBLE_MAX_SECONDS)
            await self._rest(wait_seconds)

    async def look(self) -> float:
        """One step at most. In how many seconds to look again without any other reason."""
        at = await self._store.next_bulk()
        if at is None:
            return _LOOK_AGAIN_SECONDS
        now = self._clock.now()
        if at > now:
            return min((at - now) / 1_000, _LOOK_AGAIN_SECONDS)
        began = self._clock.monotonic()
        worked = await self._store.work_bulk(now, self._stride, partial(_decide, now))
        if worked.failed is not None:
            failed = worked.failed
            wait_ms = None if failed.next_at is None else failed.next_at - now
            self._telemetry.emit(BulkStepFailed.of(failed.bulk, failed.cause, wait_ms))
            return _REST_MIN_SECONDS
        bulk = worked.bulk
        if bulk is None:
            return _TAKEN_SECONDS
        if bulk.ended_at:
            told = BulkEnded(bulk.id, bulk.action.value, bulk.standing, bulk.seen, bulk.changed, bulk.skipped)
            self._telemetry.emit(told)
        return max(_REST_MIN_SECONDS, self._clock.monotonic() - began)

    async def _rest(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()


def _decide(now: int, bulk: Bulk, task: Task) -> Steered | Deleted | None:
    return act(bulk.action, f"by bulk work {bulk.id}", task, now)
