"""Remembers what owners' calls are signed with, for a few seconds: long enough to ask the store seldom, short enough
for a rotation to take effect soon.
"""

from collections.abc import Collection
from typing import Final

import msgspec

from tasks_server.clock import Clock
from tasks_server.domain.errors import StoreError
from tasks_server.domain.signing import Signing
from tasks_server.store.ports import SigningKeys
from tasks_server.telemetry import Telemetry

REMEMBERED_SECONDS: Final = 5.0
_REMEMBERED_MAX: Final = 20_000
_NOTHING: Final = Signing(enabled=False, secrets=())


class _Remembered(msgspec.Struct):
    signing: Signing
    until: float


class Signatures:
    """Secrets of owners by the store's handles."""

    def __init__(self, store: SigningKeys, clock: Clock, telemetry: Telemetry) -> None:
        self._store, self._clock, self._telemetry = store, clock, telemetry
        self._known: dict[int, _Remembered] = {}

    async def refresh(self, owners: Collection[int]) -> None:
        """Makes sure that `keys` knows these owners. Raises `StoreError` when one of them is unknown and the store
        cannot tell now; what was known before serves on.
        """
        now = self._clock.monotonic()
        known = self._known
        stale = [owner for owner in owners if owner not in known or known[owner].until < now]
        if not stale:
            return
        try:
            found = await self._store.signing_keys(stale)
        except StoreError as error:
            if any(owner not in known for owner in stale):
                raise
            self._telemetry.store_failed("read signing secrets", error)
            return
        if len(known) > _REMEMBERED_MAX:
            self._known = known = {owner: one for owner, one in known.items() if one.until >= now}
        for owner in stale:
            known[owner] = _Remembered(found.get(owner, _NOTHING), now + REMEMBERED_SECONDS)

    def keys(self, owner: int, at: int) -> tuple[bytes, ...]:
        """What to sign a call of that instant with. `refresh` was asked for this owner a moment ago."""
        return self._known[owner].signing.keys(at)
