"""Owners and their keys: register, look up, limit, rotate, remove. Keys leave here once, in the clear, when made."""

import os
from collections.abc import Callable
from difflib import get_close_matches
from typing import Final

import msgspec
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from tasks_server.clock import Clock
from tasks_server.domain import ids, limits
from tasks_server.domain.errors import Conflict, Fault, Forbidden, InvalidRequest, NotFound, Refused
from tasks_server.domain.owner import By, Owner, OwnerKey, name_fault
from tasks_server.domain.signing import Signing, SigningSecret, rotated
from tasks_server.service.acting import about, deed
from tasks_server.store.owning import OWNERS_END, KeyHolder, Owning

OWNER_NOT_FOUND: Final = "owner_not_found"
_NAMES_LOOKED_AT: Final = 1_000
KEY_NOT_FOUND: Final = "key_not_found"


class IssuedKey(msgspec.Struct, frozen=True):
    """A key as it is shown once, and its id."""

    id: str
    key: str


class OwnerEdit(msgspec.Struct, frozen=True):
    """What is to change of an owner; UNSET: it stays. `retention_ms` and `requests_max` None: as of all others."""

    tasks_in_queue_max: int | UnsetType = UNSET
    retention_ms: int | UnsetType | None = UNSET
    requests_max: int | UnsetType | None = UNSET
    suspended: bool | UnsetType = UNSET

    @property
    def told(self) -> str:
        """What is to change, in a few words."""
        given = {
            "retentionMs" if name == "retention_ms" else _WIRE[name]: getattr(self, name)
            for name in self.__struct_fields__
        }
        return ", ".join(f"{name}: {value}" for name, value in given.items() if value is not UNSET)

    def applied(self, before: Owner, now: int) -> Owner:
        """The owner under these changes. One that is suspended already stays so since then."""
        names = ("tasks_in_queue_max", "retention_ms", "requests_max")
        changed = {name: value for name in names if (value := getattr(self, name)) is not UNSET}
        if self.suspended is not UNSET:
            changed["suspended_at"] = (before.suspended_at or now) if self.suspended else None
        return replace(before, **changed)


_WIRE: Final = {
    "tasks_in_queue_max": "tasksInQueueLimit",
    "requests_max": "requestsPerMinute",
    "suspended": "suspended",
}
_OPERATORS: Final = tuple(_WIRE)
"""What only the operator may change."""


class OwnerService:
    """What may be done with owners. `random` gives that many random bytes; `retention_ms` is how long the operator
    keeps history where an owner has no retention of its own, `queue_limit` how many tasks a new owner may have in
    queue. `suggests`: whoever asks for a name that is not there is told a similar one, as only the operator may be.
    """

    def __init__(
        self,
        store: Owning,
        clock: Clock,
        random: Callable[[int], bytes] = os.urandom,
        retention_ms: int = limits.RETENTION_DAYS_DEFAULT * limits.DAY_MS,
        queue_limit: int = limits.TASKS_IN_QUEUE_MAX_DEFAULT,
        *,
        suggests: bool = False,
    ) -> None:
        self._queue_limit = queue_limit
        self._suggests = suggests
        self._store = store
        self._clock = clock
        self._random = random
        self._retention_ms = retention_ms

    @deed("owner", "register")
    async def register(self, name: str, tasks_in_queue_max: int | None = None) -> tuple[Owner, IssuedKey]:
        """A new owner with its first key. Raises `InvalidRequest` for its name, `Conflict` when that is taken."""
        if fault := name_fault(name):
            raise InvalidRequest([Fault("name", fault, name[:64])])
        now = self._clock.now()
        limit = self._queue_limit if tasks_in_queue_max is None else tasks_in_queue_max
        owner = Owner(ids.owner_id(now, self._random(ids.OWNER_ID_RANDOM_BYTES)), name, now, limit)
        about(owner=owner.id, subject=name)
        issued = self._issue(now)
        key, digest = OwnerKey(issued.id, now), ids.key_digest(issued.key)
        if not await self._store.create_owner(owner, key, digest, self._secret(now)):
            raise Conflict(f"the name {name} is taken; choose another one", code="owner_name_taken")
        return owner, issued

    async def by_name(self, name: str) -> Owner:
        """The owner as it is now. Raises `NotFound`."""
        owner = await self._store.owner_by_name(name) if name_fault(name) is None else None
        if owner is None:
            more = await self._suggested(name) if self._suggests else ""
            raise NotFound(f"there is no owner of this name{more}", code=OWNER_NOT_FOUND, scoped=True)
        return owner

    async def _suggested(self, name: str) -> str:
        """A name that is similar, or where to find the names; of the first ones only where there are very many."""
        names = [owner.name for owner in await self._store.owners("", _NAMES_LOOKED_AT)]
        if not names:
            return "; there are none yet: tasks-server owner create NAME makes one"
        near = get_close_matches(name.lower().replace("_", "-"), names, n=1)
        return f"; did you mean {near[0]}?" if near else "; tasks-server owner list shows those that there are"

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

    async def use_link(self, link: bytes, until: int) -> bool:
        """Whether a link to sign in, good until then, is used for the first time. It is not a second time."""
        return await self._store.use_link(link, until, self._clock.now())

    async def by_digest(self, digest: bytes) -> KeyHolder | None:
        """Whose key has this digest (`ids.key_digest`)."""
        return await self._store.owner_by_key(digest)

    async def page(self, after: str = "", limit: int = 1_000, prefix: str = "") -> list[Owner]:
        """Owners by name, of those whose name begins with `prefix` the ones after the name `after`."""
        if not prefix:
            return await self._store.owners(after, limit)
        before = f"{prefix[:-1]}{chr(ord(prefix[-1]) - 1)}{OWNERS_END}"
        return await self._store.owners(max(after, before), limit, prefix + OWNERS_END)

    async def keys(self, owner: Owner) -> list[OwnerKey]:
        return await self._store.keys(owner.id)

    @deed("owner", "edit")
    async def edit(self, name: str, edit: OwnerEdit, by: By) -> Owner:
        """The owner under all these changes, or none of them. Tasks that are in queue stay, whatever the limit. What is
        gone of the history does not come back; an owner itself may keep it for up to what it has or all have, whichever
        is longer, and may change nothing else. Raises `NotFound`, `InvalidRequest`, `Forbidden`.
        """
        if by == "owner" and (fields := [field for field in _OPERATORS if getattr(edit, field) is not UNSET]):
            raise Forbidden(f"only the admin key may set {_WIRE[fields[0]]}", code="admin_required")
        owner, now = await self.by_name(name), self._clock.now()
        about(owner=owner.id, subject=name, detail=edit.told)

        def decide(before: Owner) -> Owner:
            if edit.retention_ms is not UNSET:
                self._check_retention(before, edit.retention_ms, by)
            return edit.applied(before, now)

        changed = await self._store.change_owner(owner.id, decide, now)
        if changed is None:
            raise _gone()
        return changed

    def _check_retention(self, owner: Owner, retention_ms: int | None, by: By) -> None:
        if retention_ms is None:
            return
        longest = limits.RETENTION_DAYS_MAX * limits.DAY_MS
        if by == "owner":
            longest = min(longest, max(self._retention_ms, owner.retention_ms or 0))
        if not limits.RETENTION_MIN_MS <= retention_ms <= longest:
            days = retention_ms / limits.DAY_MS
            allowed = f"a number of days from 1/24 (one hour) to {longest / limits.DAY_MS:g}"
            more = "" if by == "operator" else "; only the operator may set more"
            raise InvalidRequest([Fault("retentionDays", f"must be {allowed}{more}", days, allowed)])

    @deed("owner", "delete")
    async def delete(self, name: str) -> Owner:
        """Removes the owner with its keys and finished tasks. Raises `NotFound`, `Refused` while tasks are in queue."""
        owner = await self.by_name(name)
        about(owner=owner.id, subject=name)
        deleted = await self._store.delete_owner(owner.id)
        if deleted is None:
            raise _gone()
        if not deleted:
            raise Refused("the owner has tasks in queue; revoke or delete them first", code="owner_has_tasks")
        return owner

    @deed("key", "add")
    async def add_key(self, owner: Owner) -> IssuedKey:
        """One more key, for rotation. Raises `Refused` when the owner has as many as it may have."""
        now = self._clock.now()
        issued = self._issue(now)
        about(subject=issued.id)
        digest, most = ids.key_digest(issued.key), limits.KEYS_PER_OWNER_MAX
        if not await self._store.add_key(owner.id, OwnerKey(issued.id, now), digest, most):
            raise Refused(f"an owner has at most {most} live keys; remove one first", code="keys_full")
        return issued

    @deed("key", "remove")
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

    @deed("signing", "rotate")
    async def rotate_signing(self, owner: Owner, overlap_seconds: int) -> Signing:
        """The same with a new secret. The one before stays valid for the overlap; one that was about to expire from an
        earlier rotation ends at once. Raises `NotFound`.
        """
        now = self._clock.now()
        new = self._secret(now)

        def decide(before: Signing) -> Signing:
            return Signing(before.enabled, tuple(rotated(before.secrets, new, now + overlap_seconds * 1_000)))

        return self._valid(await self._store.change_signing(owner.id, decide))

    @deed("signing", "edit")
    async def set_signing(self, owner: Owner, enabled: bool) -> Signing:
        """Whether calls are signed. The secrets stay as they are. Raises `NotFound`."""
        about(detail=f"enabled: {enabled}")
        changed = await self._store.change_signing(owner.id, lambda before: Signing(enabled, before.secrets))
        return self._valid(changed)

    def _valid(self, signing: Signing | None) -> Signing:
        if signing is None:
            raise _gone()
        now = self._clock.now()
        return Signing(signing.enabled, tuple(secret for secret in signing.secrets if secret.valid_at(now)))

    def _secret(self, now: int) -> SigningSecret:
        secret_id = ids.task_id(now, self._random(ids.TASK_ID_RANDOM_BYTES))
        return SigningSecret(secret_id, now, self._random(limits.SIGNING_SECRET_BYTES))

    def _issue(self, now: int) -> IssuedKey:
        key_id = ids.task_id(now, self._random(ids.TASK_ID_RANDOM_BYTES))
        return IssuedKey(key_id, ids.owner_key(self._random(ids.KEY_RANDOM_BYTES)))


def _gone() -> NotFound:
    return NotFound("the owner has just been removed", code=OWNER_NOT_FOUND)
