"""One visit of a page: who looks, when, in which zone, and the way to HTML."""

from collections.abc import Mapping, Sequence
from datetime import tzinfo
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

import msgspec

from tasks_server import __version__
from tasks_server.api.exchange import Answer, Exchange, Headers
from tasks_server.domain.audit import Actor
from tasks_server.domain.errors import Fault, Forbidden, InvalidRequest
from tasks_server.domain.owner import By, Owner
from tasks_server.service.owners import OwnerService
from tasks_server.web.assets import Assets
from tasks_server.web.rendering import Times, render
from tasks_server.web.session import Session

HTML: Final = b"text/html; charset=utf-8"
FORM: Final = b"application/x-www-form-urlencoded"
BODY_MAX_BYTES: Final = 256 * 1_024
_FIELDS_MAX: Final = 2_000
_POLICY: Final = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    b"base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_HEADERS: Final = ((b"content-security-policy", _POLICY), (b"x-robots-tag", b"noindex"))
MENU: Final = (
    ("Overview", "/ui", "o"),
    ("Tasks", "/ui/tasks", "t"),
    ("Lanes", "/ui/lanes", "l"),
    ("Schedules", "/ui/schedules", "s"),
    ("Bulk work", "/ui/bulk", "b"),
    ("Log", "/ui/log", "h"),
    ("Engines", "/ui/engines", "e"),
)
"""Each page, where it lies, and the key after `g` that leads there."""


class Viewer(msgspec.Struct, frozen=True):
    """Who has signed in. `owner` None: the operator, who sees everything."""

    session: Session
    owner: Owner | None
    key: str | None = None
    """With which key: the id of an owner's, the fingerprint of an admin's; None: by a link."""

    @property
    def actor(self) -> Actor:
        """Who acts, for the record of what is done by hand."""
        return Actor(self.by, "ui", self.key)

    @property
    def scope(self) -> str | None:
        """Whose things are seen; None: everyone's."""
        return None if self.owner is None else self.owner.id

    @property
    def by(self) -> By:
        return "operator" if self.owner is None else "owner"

    @property
    def name(self) -> str:
        return "operator" if self.owner is None else self.owner.name

    @property
    def title(self) -> str:
        return "Signed in as the operator" if self.owner is None else f"Signed in as {self.owner.name}"

    @property
    def read_only(self) -> bool:
        return self.session.read_only


class Notice(msgspec.Struct, frozen=True):
    """What came of the last action. `kind`: good, bad, warn or nothing."""

    text: str
    kind: str = ""


class Visit:
    """A request for a page or from a form of one."""

    def __init__(self, exchange: Exchange, assets: Assets, now: int, zone: tzinfo, site: str) -> None:
        self.exchange = exchange
        self.now = now
        self.time = Times(zone, now)
        self.viewer: Viewer | None = None
        self._owner: str | None = None
        self._assets = assets
        self._site = site

    @property
    def path(self) -> str:
        path: str = self.exchange.scope["path"]
        return path

    @property
    def who(self) -> Viewer:
        """Who looks; there is somebody on all pages but the one to sign in."""
        assert self.viewer is not None
        return self.viewer

    @property
    def scope(self) -> str | None:
        return self.who.scope

    async def owner_id(self, owners: OwnerService) -> str | None:
        """Whose things the page shows that belong to one owner: the owner's own, or the operator's choice by `owner=`;
        None: nobody was chosen. Raises `NotFound`.
        """
        if self.who.owner is not None:
            return self.who.owner.id
        name = self.owner_name()
        return (await owners.by_name(name)).id if name else None

    def chosen(self, owner: str) -> "Visit":
        """The same visit, for an owner of this name: the only one that there is."""
        self._owner = owner
        return self

    def owner_name(self) -> str:
        """The owner that the operator chose; empty: none, or an owner looks."""
        if self.viewer is None or self.viewer.owner is not None:
            return ""
        return self._owner or dict(self.pairs()).get("owner", "")

    def link(self, path: str, **query: str) -> str:
        """A path of these pages, for the same owner."""
        chosen = self.owner_name()
        named = ({"owner": chosen} if chosen else {}) | query
        return f"{path}?{urlencode(named)}" if named else path

    def pairs(self) -> list[tuple[str, str]]:
        """The query as it came."""
        text: bytes = self.exchange.scope["query_string"]
        return parse_qsl(text.decode("ascii", "replace"), keep_blank_values=True, max_num_fields=64)

    def query_with(self, **changed: str) -> str:
        """The query with these names set, for a link to the page itself."""
        return urlencode([(name, value) for name, value in self.pairs() if name not in changed] + list(changed.items()))

    def query_without(self, *names: str) -> str:
        return urlencode([(name, value) for name, value in self.pairs() if name not in names])

    def page(self, template: str, title: str, *, status: int = 200, headers: Headers = (), **values: Any) -> Answer:
        """The page. What every template needs is there by itself."""
        frame: dict[str, Any] = {
            "title": title,
            "status": status,
            "asset": self._assets.path,
            "site": self._site,
            "viewer": self.viewer,
            "menu": MENU,
            "here": max((path for _, path, _ in MENU if f"{self.path}/".startswith(f"{path}/")), key=len, default=""),
            "owner": self.owner_name(),
            "time": self.time,
            "version": __version__,
            "notice": self._notice(),
            "link": self.link,
            "query_with": self.query_with,
            "query_without": self.query_without,
            "later": any(name == "cursor" for name, _ in self.pairs()),
            "faults": {},
            "may_act": self.viewer is not None and not self.viewer.read_only,
        }
        return Answer(status, render(template, frame | values), HTML, (*_HEADERS, *headers))

    def _notice(self) -> Notice | None:
        told = dict(self.pairs())
        if "done" in told:
            return Notice(told["done"][:300], "good")
        return Notice(told["failed"][:300], "bad") if "failed" in told else None

    async def form(self) -> "Form":
        """What a form sent. Raises `Forbidden` in a session that may only look, `InvalidRequest`."""
        body = await self.exchange.json_body(BODY_MAX_BYTES, FORM)
        try:
            pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=_FIELDS_MAX)
        except ValueError:
            raise InvalidRequest([Fault("body", "is no form of a page")]) from None
        return Form(pairs)

    def may_change(self) -> None:
        """Raises `Forbidden` in a session that may only look."""
        if self.who.read_only:
            raise Forbidden("this session may only look: sign in without “Only look” to change something")


class Form:
    """The fields of a form."""

    def __init__(self, pairs: Sequence[tuple[str, str]]) -> None:
        self._pairs = pairs

    def one(self, name: str, otherwise: str = "") -> str:
        return next((value for known, value in self._pairs if known == name), otherwise)

    def every(self, name: str) -> list[str]:
        return [value for known, value in self._pairs if known == name]


def see_other(path: str, told: Mapping[str, str] | None = None, *headers: tuple[bytes, bytes]) -> Answer:
    """To another page by GET, with word of what was done."""
    query = f"{'&' if '?' in path else '?'}{urlencode(told)}" if told else ""
    return Answer(303, b"", HTML, ((b"location", f"{path}{query}".encode()), *headers))


def inner(path: str, otherwise: str = "/ui") -> str:
    """A path of these pages, as a form sent it: nobody is led elsewhere."""
    safe = path.startswith("/ui") and "\\" not in path and all(32 < ord(letter) < 127 for letter in path)
    return path if safe else otherwise
