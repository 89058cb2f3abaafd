"""Who has signed in: a cookie that is sealed with the cipher key, so that nothing is stored and nobody can make one.

A session ends with its key: the cookie holds the key's digest, which is looked up again for every page.
"""

import base64
import binascii
from collections.abc import Callable, Mapping
from typing import Final, TypeVar

import msgspec

from tasks_server.clock import Clock
from tasks_server.domain import limits
from tasks_server.domain.errors import StoreError

SESSION_MS: Final = 12 * 3_600_000
LINK_MS: Final = 10 * limits.MINUTE_MS
_NAME: Final = "tasks_session"
_COOKIE: Final = b"session"
_LINK: Final = b"link"
_COOKIE_MAX_BYTES: Final = 1_024

_S = TypeVar("_S", bound=msgspec.Struct)
Seal = Callable[[bytes, bytes], bytes]
"""Of data and its context."""


class Place(msgspec.Struct, frozen=True):
    """Where the browser believes the server to be. Cookies do not know ports: two servers on one machine would take
    each other's.
    """

    port: str
    tls: bool

    @property
    def cookie_name(self) -> str:
        return f"{'__Host-' if self.tls else ''}{_NAME}_{self.port}"


class Session(msgspec.Struct, frozen=True, array_like=True):
    """Somebody who has signed in. `owner` None: the operator. `key`: the digest of the key; empty for the operator who
    came by a link. `until`: ms since the epoch.
    """

    owner: str | None
    key: bytes
    until: int
    read_only: bool = False


class Link(msgspec.Struct, frozen=True, array_like=True):
    """What a link to sign in once as the operator carries."""

    id: bytes
    until: int


class Sessions:
    """Seals sessions into cookies, and reads them."""

    def __init__(self, seal: Seal, unseal: Seal, clock: Clock) -> None:
        self._seal = seal
        self._unseal = unseal
        self._clock = clock

    def begin(self, owner: str | None, key: bytes, *, read_only: bool) -> Session:
        return Session(owner, key, self._clock.now() + SESSION_MS, read_only)

    def cookie(self, session: Session, place: Place) -> bytes:
        """The value of Set-Cookie. Scripts cannot read it, and no other site's request brings it."""
        sealed = self._seal(msgspec.msgpack.encode(session), _COOKIE)
        return _set_cookie(place, _text(sealed), SESSION_MS // 1_000)

    def no_cookie(self, place: Place) -> bytes:
        """The value of Set-Cookie that ends a session in the browser."""
        return _set_cookie(place, "", 0)

    def read(self, headers: Mapping[bytes, bytes], place: Place) -> Session | None:
        """The session that the request's cookie holds; None: there is none, or it is over."""
        session = self._opened(_sent(headers, place), _COOKIE, Session)
        return session if session is not None and session.until > self._clock.now() else None

    def token(self, link_id: bytes) -> str:
        """What a link carries, good for `LINK_MS`."""
        return _text(self._seal(msgspec.msgpack.encode(Link(link_id, self._clock.now() + LINK_MS)), _LINK))

    def link(self, token: str) -> Link | None:
        """The link of this token; None: it is none of ours, or too old."""
        link = self._opened(token, _LINK, Link)
        return link if link is not None and link.until > self._clock.now() else None

    def _opened(self, text: str | None, context: bytes, kind: type[_S]) -> _S | None:
        if not text or len(text) > _COOKIE_MAX_BYTES:
            return None
        try:
            return msgspec.msgpack.decode(self._unseal(_data(text), context), type=kind)
        except (StoreError, msgspec.MsgspecError, binascii.Error, ValueError):
            return None


def _sent(headers: Mapping[bytes, bytes], place: Place) -> str | None:
    wanted = place.cookie_name
    for pair in headers.get(b"cookie", b"").decode("latin-1").split(";"):
        name, _, value = pair.strip().partition("=")
        if name == wanted:
            return value
    return None


def _set_cookie(place: Place, value: str, seconds: int) -> bytes:
    # A name with __Host- is the browser's word that no other host set it; it goes with these attributes alone.
    where = "Path=/; Secure" if place.tls else "Path=/ui"
    return f"{place.cookie_name}={value}; {where}; Max-Age={seconds}; HttpOnly; SameSite=Strict".encode()


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _data(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
