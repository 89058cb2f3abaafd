"""Records outcomes in batches: what arrives while a batch is written goes with the next."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from tasks_server.domain.engines import Trouble
from tasks_server.domain.errors import Busy, Corrupt, StoreError, Unavailable
from tasks_server.store.settling import Report, Settling
from tasks_server.telemetry import Telemetry
from tasks_server.telemetry.events import Unexpected

_BATCH_MAX: Final = 1_000
_WAIT_FIRST_SECONDS: Final = 0.05
_WAIT_MAX_SECONDS: Final = 5.0


class Settler:
    """Takes reports, keeps them until they are recorded. A report whose lease was lost is dropped by the store."""

    def __init__(
        self,
        store: Settling,
        telemetry: Telemetry,
        on_recorded: Callable[[Sequence[Report]], None] = lambda _: None,
    ) -> None:
        self._store = store
        self._telemetry = telemetry
        self._on_recorded = on_recorded
        self._reports: list[Report] = []
        self._arrived = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._wait_seconds = _WAIT_FIRST_SECONDS
        self.lost = 0
        self.trouble: Trouble | None = None
        """Why the last batch was not recorded, if it was not."""

    def add(self, report: Report) -> None:
        """Takes a report in."""
        self._reports.append(report)
        self._idle.clear()
        self._arrived.set()

    async def run(self) -> None:
        """Records what arrives until it is cancelled. Trouble of the store is waited out."""
        while True:
            await self._arrived.wait()
            if not await self.flush():
                await asyncio.sleep(self._wait_seconds)
                self._wait_seconds = min(self._wait_seconds * 2, _WAIT_MAX_SECONDS)

    async def flush(self) -> bool:
        """Records one batch. False when the store cannot take it now: it is kept for later."""
        batch, self._reports = self._reports[:_BATCH_MAX], self._reports[_BATCH_MAX:]
        try:
            await self._record(batch)
        except StoreError as error:
            self._reports = batch + self._reports
            self._telemetry.store_failed("settle", error)
            self.trouble = Trouble("settle", error.code)
            return False
        self._telemetry.store_worked("settle")
        self._wait_seconds, self.trouble = _WAIT_FIRST_SECONDS, None
        self._on_recorded(batch)
        if not self._reports:
            self._arrived.clear()
            self._idle.set()
        return True

    async def _record(self, batch: list[Report]) -> None:
        """Records the batch together or, if one of it is at fault, each by itself: one that can never be recorded
        is told of and left to its lease, which ends. Raises `StoreError` when the store can take nothing now.
        """
        try:
            self.lost += len(await self._store.settle(batch))
        except (Unavailable, Busy, Corrupt):
            raise
        except Exception as error:  # of the store, or of ours: others have nothing to do with it
            if len(batch) == 1:
                self._telemetry.emit(Unexpected.of(f"settle task {batch[0].task_id}", error))
                return
            for report in batch:
                await self._record([report])

    async def drained(self) -> None:
        """Returns once everything taken in is recorded."""
        await self._idle.wait()
