"""Who asks: from the key in a request to the owner it belongs to, or to the operator by the admin key."""

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from tasks_server.api.admin_keys import AdminKeys
from tasks_server.clock import Clock
from tasks_server.domain import ids, limits
from tasks_server.domain.audit import Actor
from tasks_server.domain.errors import Forbidden, Unauthorized
from tasks_server.domain.owner import By, Owner, suspended
from tasks_server.service.key_uses import KeyUses
from tasks_server.service.owners import OwnerService

REMEMBERED_SECONDS: Final = 10.0
"""How long a key removed by another process may still be taken by this one."""
_REMEMBERED_MAX: Final = 10_000
_BEARER: Final = b"bearer "
_KEY: Final = re.compile(rb"[A-Za-z0-9]{%d}" % limits.KEY_LENGTH)
_NO_HEADER: Final = b""
_LOOKING: Final = ("GET", "HEAD")


class Caller(msgspec.Struct, frozen=True):
    """Who asks. `owner` is None for the operator who named none, and sees everything."""

    owner: Owner | None
    admin: bool = False
    read_only: bool = False
    """Whether it may only look."""
    key: str | None = None
    """Which key was sent: the id of an owner's, the fingerprint of an admin's; None: none was."""

    @property
    def scope(self) -> str | None:
        """Whose tasks the caller sees; None: everyone's."""
        return None if self.owner is None else self.owner.id

    @property
    def by(self) -> By:
        """Who acts: the operator, also in an owner's name, or the owner."""
        return "operator" if self.admin else "owner"

    @property
    def actor(self) -> Actor:
        """Who acts, for the record of what is done by hand."""
        return Actor(self.by, "api", self.key)

    def check_may(self, method: str) -> None:
        """Raises `Forbidden` for a change by a key that may only look."""
        if self.read_only and method not in _LOOKING:
            raise Forbidden("this key may only look: it may GET, and nothing else", code="key_read_only")

    def owner_id(self) -> str:
        """In whose name the caller acts. Raises `Forbidden` when the operator named nobody."""
        if self.owner is None:
            raise Forbidden("the admin key must name the owner by X-Tasks-Owner-Id", code="owner_missing")
        return self.owner.id


class _Remembered(msgspec.Struct, frozen=True):
    caller: Caller
    owner_id: bytes
    until: float


class Authenticator:
    """Finds out who asks. Keys found good are remembered by their digest for `REMEMBERED_SECONDS`."""

    def __init__(
        self,
        owners: OwnerService,
        uses: KeyUses,
        clock: Clock,
        admin_keys: AdminKeys,
        default_owner: str | None = None,
    ) -> None:
        self._owners = owners
        self._uses = uses
        self._clock = clock
        self._admin_keys = admin_keys
        self._remembered: dict[bytes, _Remembered] = {}
        self._forgotten = 0
        self._default_owner = default_owner
        self._guest: _Remembered | None = None

    def remembered(self, headers: Mapping[bytes, bytes]) -> Caller | None:
        """The caller, when its key was found good a moment ago; None: ask `caller`."""
        authorization = headers.get(b"authorization", _NO_HEADER)
        known = self._remembered.get(_digest(authorization[len(_BEARER) :]))
        if known is None or known.until < self._clock.monotonic() or authorization[: len(_BEARER)].lower() != _BEARER:
            return None
        named = headers.get(b"x-tasks-owner-id")
        return known.caller if named is None or named == known.owner_id else None

    async def caller(self, headers: Mapping[bytes, bytes]) -> Caller:
        """Who asks. Raises `Unauthorized`, whatever is wrong with the key or the owner's id; `Forbidden` for the key of
        an owner that is suspended.
        """
        key, named = _credentials(headers), _named_owner(headers)
        if (admin := self._admin_keys.find(key)) is not None:
            return Caller(
                await self._named(named) if named else None,
                admin=True,
                read_only=admin.read_only,
                key=admin.fingerprint,
            )
        if not _KEY.fullmatch(key):
            raise Unauthorized(f"a key is {limits.KEY_LENGTH} letters and digits", code="credentials_malformed")
        digest, before = _digest(key), self._forgotten
        holder = await self._owners.by_digest(digest)
        if holder is None or (named and named != holder.owner.id):
            if named:
                await self._named(named)
            raise Unauthorized("the key is not a key of this owner" if named else "the key is unknown")
        self._uses.note(digest, holder)
        caller = _active(holder.owner, holder.key.id)
        if before == self._forgotten:  # no key or owner was removed while the store was asked
            self._remember(digest, caller, holder.owner)
        return caller

    def has_place_for(self, headers: Mapping[bytes, bytes]) -> bool:
        """Whether these are the headers of a guest: no credentials at all, and there is a default owner."""
        return self._default_owner is not None and not (b"authorization" in headers or b"x-tasks-owner-id" in headers)

    async def guest(self) -> Caller:
        """The default owner, who is made when it is not there. Asked only where `has_place_for` says so."""
        assert self._default_owner is not None
        guest = self._guest
        if guest is None or guest.until < self._clock.monotonic():
            owner = await self._owners.ensured(self._default_owner)
            guest = _Remembered(_active(owner), owner.id.encode(), self._clock.monotonic() + REMEMBERED_SECONDS)
            self._guest = guest
        return guest.caller

    @property
    def admin_keys(self) -> AdminKeys:
        """The operator's keys as they are now."""
        return self._admin_keys

    def set_admin_keys(self, admin_keys: AdminKeys) -> None:
        """From now on, these are the operator's keys. They are remembered for no request."""
        self._admin_keys = admin_keys

    def forget(self, owner_id: str) -> None:
        """Asks the store anew about every key of this owner: one was removed, or the owner was changed or removed."""
        self._forgotten += 1
        self._guest = None
        name = owner_id.encode()
        self._remembered = {digest: known for digest, known in self._remembered.items() if known.owner_id != name}

    def _remember(self, digest: bytes, caller: Caller, owner: Owner) -> None:
        now = self._clock.monotonic()
        if len(self._remembered) >= _REMEMBERED_MAX:
            self._remembered = {key: known for key, known in self._remembered.items() if known.until >= now}
            if len(self._remembered) >= _REMEMBERED_MAX:
                self._remembered.clear()
        self._remembered[digest] = _Remembered(caller, owner.id.encode(), now + REMEMBERED_SECONDS)

    async def _named(self, owner_id: str) -> Owner:
        owner = await self._owners.by_id(owner_id)
        if owner is None:
            raise Unauthorized("there is no owner of this id", code="owner_unknown")
        return owner


def _active(owner: Owner, key: str | None = None) -> Caller:
    """Whoever has the key of this owner. Raises `Forbidden` when it is suspended."""
    if owner.suspended_at is not None:
        raise suspended(owner)
    return Caller(owner, key=key)


def _digest(key: bytes) -> bytes:
    return ids.key_digest(key.decode("latin-1"))


def _credentials(headers: Mapping[bytes, bytes]) -> bytes:
    authorization = headers.get(b"authorization", _NO_HEADER)
    if not authorization:
        raise Unauthorized("send the key as Authorization: Bearer <key>", code="credentials_missing")
    if authorization[: len(_BEARER)].lower() != _BEARER:
        raise Unauthorized("Authorization must read Bearer <key>", code="credentials_malformed")
    return authorization[len(_BEARER) :].strip()


def _named_owner(headers: Mapping[bytes, bytes]) -> str | None:
    named = headers.get(b"x-tasks-owner-id")
    if named is None:
        return None
    text = named.decode("latin-1")
    if not ids.is_owner_id(text):
        raise Unauthorized("X-Tasks-Owner-Id must be an owner's id: 26 characters", code="credentials_malformed")
    return text
