"""Stores what handlers note while they run: everything that came since the last write in one, and no write for less."""

import asyncio
import contextlib
from typing import Final

from tasks_server.domain.errors import StoreError
from tasks_server.domain.notes import Notes
from tasks_server.store.noting import Note, Noting

_BATCH_MAX: Final = 100


class Notebook:
    """Takes notes of running attempts. What it could not store is no loss: the end of the attempt tells it again."""

    def __init__(self, store: Noting) -> None:
        self._store = store
        self._waiting: dict[int, Note] = {}
        self._arrived = asyncio.Event()

    def add(self, ref: int, lease: int, task_id: str, number: int, notes: Notes) -> None:
        """All that an attempt has noted so far, in place of what was added for it before."""
        self._waiting[ref] = Note(ref, lease, task_id, number, notes)
        self._arrived.set()

    async def run(self) -> None:
        """Writes, until it is cancelled."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._waiting:
                batch = [self._waiting.pop(ref) for ref in list(self._waiting)[:_BATCH_MAX]]
                with contextlib.suppress(StoreError):  # others tell of trouble with the store
                    await self._store.note(batch)
