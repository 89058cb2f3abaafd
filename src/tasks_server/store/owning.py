"""What the store is asked about owners and their keys, beside what `ports` has; see there for what holds of all."""

from collections.abc import Callable, Sequence
from typing import Final, Protocol

import msgspec

from tasks_server.domain.callback import Callbacks
from tasks_server.domain.owner import Owner, OwnerKey
from tasks_server.domain.signing import Signing, SigningSecret

OWNERS_END: Final = "~"
"""No name of an owner comes after it."""

DecideOwner = Callable[[Owner], Owner]
"""Given an owner, how it is to be; its id, name and counts stay. May raise a `RequestError`: then nothing changes."""
DecideSigning = Callable[[Signing], Signing]
"""Given how an owner's calls are signed, how they are to be. May raise a `RequestError`: then nothing changes."""

DecideCallbacks = Callable[[Callbacks], Callbacks]
"""Given what an owner asks to be called, what it is to be. May raise a `RequestError`: then nothing changes."""


class KeyHolder(msgspec.Struct, frozen=True):
    """Whose key it is, and which of the owner's keys."""

    owner: Owner
    key: OwnerKey


class Owning(Protocol):
    """Asked by the service of owners."""

    async def create_owner(self, owner: Owner, key: OwnerKey, digest: bytes, secret: SigningSecret) -> bool:
        """Stores a new owner with its first key and signing secret. False when the name is taken."""
        ...

    async def owner(self, owner_id: str) -> Owner | None:
        """The owner with its count of tasks in queue."""
        ...

    async def owner_by_name(self, name: str) -> Owner | None: ...

    async def owners(self, after: str = "", limit: int = 1_000, until: str = OWNERS_END) -> list[Owner]:
        """Owners by name, those after `after` and before `until`."""
        ...

    async def owner_by_key(self, digest: bytes) -> KeyHolder | None:
        """Whose key this is."""
        ...

    async def change_owner(self, owner_id: str, decide: DecideOwner, now: int) -> Owner | None:
        """Applies `decide` alone with the owner. The owner afterwards, None when there is none. Engines start no task
        of one that is suspended from their next look on, and its schedules wait; once it is suspended no more, these
        have their turn at `now`.
        """
        ...

    async def delete_owner(self, owner_id: str) -> bool | None:
        """Removes the owner; its finished tasks are pruned afterwards. False while tasks are in queue, None when
        there is no such owner.
        """
        ...

    async def add_key(self, owner_id: str, key: OwnerKey, digest: bytes, keys_max: int) -> bool:
        """False when the owner has `keys_max` live keys already."""
        ...

    async def keys(self, owner_id: str) -> list[OwnerKey]: ...

    async def note_keys_used(self, uses: Sequence[tuple[bytes, int]]) -> None:
        """Keeps when keys were used last, each by its digest."""
        ...

    async def remove_key(self, owner_id: str, key_id: str) -> bool | None:
        """False when it is the owner's last key, None when there is no such key."""
        ...

    async def use_link(self, link: bytes, until: int, now: int) -> bool:
        """Keeps that a link to sign in was used, which is good `until` then. False when it was used before."""
        ...

    async def signing(self, owner_id: str) -> Signing | None:
        """How the owner's calls are signed, with secrets that have expired."""
        ...

    async def owner_callbacks(self, owner_id: str) -> Callbacks | None:
        """What the owner asks to be called when its tasks end. None when there is no owner."""
        ...

    async def change_owner_callbacks(self, owner_id: str, decide: DecideCallbacks) -> Callbacks | None:
        """Applies `decide` alone with the owner. What it asks for afterwards, None when there is no owner."""
        ...

    async def change_signing(self, owner_id: str, decide: DecideSigning) -> Signing | None:
        """Applies `decide` alone with the owner. How calls are signed afterwards, None when there is no owner."""
        ...
