"""Owners and their keys: register, look up, limit, rotate, remove. Keys leave here once, in the clear, when made."""

import os
from collections.abc import Callable
from typing import Final

import msgspec

from tasks_server.clock import Clock
from tasks_server.domain import ids, limits
from tasks_server.domain.errors import Conflict, Fault, InvalidRequest, NotFound, Refused
from tasks_server.domain.owner import Owner, OwnerKey, name_fault
from tasks_server.domain.signing import Signing, SigningSecret, rotated
from tasks_server.store.ports import Owning

OWNER_NOT_FOUND: Final = "owner_not_found"
KEY_NOT_FOUND: Final = "key_not_found"


class IssuedKey(msgspec.Struct, frozen=True):
    """A key as it is shown once, and its id."""

    id: str
    key: str


class OwnerService:
    """What may be done with owners. `random` gives that many random bytes; `retention_ms` is how long the operator
    keeps history where an owner has no retention of its own.
    """

    def __init__(
        self,
        store: Owning,
        clock: Clock,
        random: Callable[[int], bytes] = os.urandom,
        retention_ms: int = limits.RETENTION_DAYS_DEFAULT * limits.DAY_MS,
    ) -> None:
        self._store = store
        self._clock = clock
        self._random = random
        self._retention_ms = retention_ms

    async def register(self, name: str, tasks_in_queue_max: int | None = None) -> tuple[Owner, IssuedKey]:
        """A new owner with its first key. Raises `InvalidRequest` for its name, `Conflict` when that is taken."""
        if fault := name_fault(name):
            raise InvalidRequest([Fault("name", fault, name[:64])])
        now = self._clock.now()
        limit = limits.TASKS_IN_QUEUE_MAX_DEFAULT if tasks_in_queue_max is None else tasks_in_queue_max
        owner = Owner(ids.owner_id(now, self._random(ids.OWNER_ID_RANDOM_BYTES)), name, now, limit)
        issued = self._issue(now)
        key, digest = OwnerKey(issued.id, now), ids.key_digest(issued.key)
        if not await self._store.create_owner(owner, key, digest, self._secret(now)):
            raise Conflict(f"the name {name} is taken; choose another one", code="owner_name_taken")
        return owner, issued

    async def by_name(self, name: str) -> Owner:
        """The owner as it is now. Raises `NotFound`."""
        owner = await self._store.owner_by_name(name) if name_fault(name) is None else None
        if owner is None:
            raise NotFound("there is no owner of this name that this key may see", code=OWNER_NOT_FOUND)
        return owner

    async def ensured(self, name: str) -> Owner:
        """The owner of this name, made when it is not there. Its key is told to nobody."""
        owner = await self._store.owner_by_name(name)
        if owner is None:
            try:
                owner, _ = await self.register(name)
            except Conflict:  # another was faster
                owner = await self.by_name(name)
        return owner

    async def by_id(self, owner_id: str) -> Owner | None:
        return await self._store.owner(owner_id)

    async def by_digest(self, digest: bytes) -> Owner | None:
        """The owner whose key has this digest (`ids.key_digest`)."""
        return await self._store.owner_by_key(digest)

    async def page(self, after: str = "", limit: int = 1_000) -> list[Owner]:
        """Owners by name, those after the name `after`."""
        return await self._store.owners(after, limit)

    async def keys(self, owner: Owner) -> list[OwnerKey]:
        return await self._store.keys(owner.id)

    async def set_limit(self, name: str, tasks_in_queue_max: int) -> Owner:
        """The owner with its new limit; tasks that are in queue already stay. Raises `NotFound`."""
        owner = await self.by_name(name)
        await self._store.set_limit(owner.id, tasks_in_queue_max)
        return await self.by_name(name)

    async def set_retention(self, name: str, retention_ms: int | None, *, by_operator: bool) -> Owner:
        """The owner, whose history is kept for so long from now on; None: as long as the operator keeps all. What is
        gone does not come back. An owner itself may choose up to what it has or all have, whichever is longer.
        Raises `NotFound`, `InvalidRequest`.
        """
        owner = await self.by_name(name)
        if retention_ms is not None:
            longest = limits.RETENTION_DAYS_MAX * limits.DAY_MS
            if not by_operator:
                longest = min(longest, max(self._retention_ms, owner.retention_ms or 0))
            if not limits.RETENTION_MIN_MS <= retention_ms <= longest:
                days = retention_ms / limits.DAY_MS
                allowed = f"a number of days from 1/24 (one hour) to {longest / limits.DAY_MS:g}"
                more = "" if by_operator else "; only the operator may set more"
                raise InvalidRequest([Fault("retentionDays", f"must be {allowed}{more}", days, allowed)])
        await self._store.set_retention(owner.id, retention_ms)
        return await self.by_name(name)

    async def delete(self, name: str) -> Owner:
        """Removes the owner with its keys and finished tasks. Raises `NotFound`, `Refused` while tasks are in queue."""
        owner = await self.by_name(name)
        deleted = await self._store.delete_owner(owner.id)
        if deleted is None:
            raise NotFound("the owner has just been removed", code=OWNER_NOT_FOUND)
        if not deleted:
            raise Refused("the owner has tasks in queue; revoke or delete them first", code="owner_has_tasks")
        return owner

    async def add_key(self, owner: Owner) -> IssuedKey:
        """One more key, for rotation. Raises `Refused` when the owner has as many as it may have."""
        now = self._clock.now()
        issued = self._issue(now)
        digest, most = ids.key_digest(issued.key), limits.KEYS_PER_OWNER_MAX
        if not await self._store.add_key(owner.id, OwnerKey(issued.id, now), digest, most):
            raise Refused(f"an owner has at most {most} live keys; remove one first", code="keys_full")
        return issued

    async def remove_key(self, owner: Owner, key_id: str) -> None:
        """Ends a key. Raises `NotFound`, or `Refused` when it is the last one."""
        removed = await self._store.remove_key(owner.id, key_id) if ids.is_task_id(key_id) else None
        if removed is None:
            raise NotFound("the owner has no key of this id", code=KEY_NOT_FOUND)
        if not removed:
            raise Refused("this is the owner's last key; add another one first", code="last_key")

    async def signing(self, owner: Owner) -> Signing:
        """How the owner's calls are signed, with the secrets that are valid now. Raises `NotFound`."""
        return self._valid(await self._store.signing(owner.id))

    async def rotate_signing(self, owner: Owner, overlap_seconds: int) -> Signing:
        """The same with a new secret. The one before stays valid for the overlap; one that was about to expire from an
        earlier rotation ends at once. Raises `NotFound`.
        """
        now = self._clock.now()
        new = self._secret(now)

        def decide(before: Signing) -> Signing:
            return Signing(before.enabled, tuple(rotated(before.secrets, new, now + overlap_seconds * 1_000)))

        return self._valid(await self._store.change_signing(owner.id, decide))

    async def set_signing(self, owner: Owner, enabled: bool) -> Signing:
        """Whether calls are signed. The secrets stay as they are. Raises `NotFound`."""
        changed = await self._store.change_signing(owner.id, lambda before: Signing(enabled, before.secrets))
        return self._valid(changed)

    def _valid(self, signing: Signing | None) -> Signing:
        if signing is None:
            raise NotFound("the owner has just been removed", code=OWNER_NOT_FOUND)
        now = self._clock.now()
        return Signing(signing.enabled, tuple(secret for secret in signing.secrets if secret.valid_at(now)))

    def _secret(self, now: int) -> SigningSecret:
        secret_id = ids.task_id(now, self._random(ids.TASK_ID_RANDOM_BYTES))
        return SigningSecret(secret_id, now, self._random(limits.SIGNING_SECRET_BYTES))

    def _issue(self, now: int) -> IssuedKey:
        key_id = ids.task_id(now, self._random(ids.TASK_ID_RANDOM_BYTES))
        return IssuedKey(key_id, ids.owner_key(self._random(ids.KEY_RANDOM_BYTES)))
