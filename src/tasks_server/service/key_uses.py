"""When keys were used last: noted in memory, and stored now and then, many at once."""

import asyncio
from typing import Final

from tasks_server.clock import Clock
from tasks_server.domain import limits
from tasks_server.domain.errors import StoreError
from tasks_server.store.owning import KeyHolder, Owning

_STORED_AFTER_SECONDS: Final = 60.0
_NOTED_MAX: Final = 10_000


class KeyUses:
    """The uses that one process has seen. What a process that ends has not stored yet is not known of."""

    def __init__(self, store: Owning, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._noted: dict[bytes, int] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._storing: asyncio.Task[None] | None = None

    def note(self, digest: bytes, holder: KeyHolder) -> None:
        """The key was used just now; it is stored within a minute, unless that is known well enough."""
        now = self._clock.now()
        if now - (holder.key.used_at or 0) < limits.KEY_USE_NOTED_MS or len(self._noted) >= _NOTED_MAX:
            return
        self._noted[digest] = now
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_STORED_AFTER_SECONDS, self._begin)

    async def store(self) -> None:
        """Stores what is noted. What the store does not take is noted anew by the next use."""
        uses, self._noted = self._noted, {}
        if uses:
            await self._store.note_keys_used(list(uses.items()))

    def _begin(self) -> None:
        self._timer = None
        self._storing = asyncio.create_task(self._try_to_store())

    async def _try_to_store(self) -> None:
        try:
            await self.store()
        except StoreError:
            return
