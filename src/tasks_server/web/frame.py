"""What all pages have around them: who is let in, and what is shown when something goes wrong."""

from collections.abc import Awaitable, Callable
from datetime import tzinfo
from typing import Final
from urllib.parse import unquote, urlencode
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from tasks_server.api import problems
from tasks_server.api.exchange import Answer, Exchange
from tasks_server.api.problems import CODES
from tasks_server.api.routes import Handler, Route, Success
from tasks_server.clock import Clock
from tasks_server.domain.errors import Forbidden, InvalidRequest
from tasks_server.service.acting import acting
from tasks_server.web.assets import Assets
from tasks_server.web.session import Place, Session, Sessions
from tasks_server.web.visit import Viewer, Visit, see_other

Page = Callable[[Visit], Awaitable[Answer]]
Find = Callable[[Session], Awaitable[Viewer | None]]
_ZONE_COOKIE: Final = "tasks_zone="
_ADVICE: Final = {
    "task_not_found": "It never was, it was deleted, its history was pruned, or it belongs to another owner.",
    "store_unavailable": "This page shows again what is stored as soon as the database answers.",
    "search_too_long": "A time (since:2h), a state or a lane narrows it.",
}


class Frame:
    """Makes routes of pages."""

    def __init__(self, find: Find, sessions: Sessions, assets: Assets, clock: Clock, zone: tzinfo, site: str) -> None:
        self._find = find
        self._sessions = sessions
        self._assets = assets
        self._clock = clock
        self._zone = zone
        self._site = site

    def shows(self, path: str, page: Page, about: str, *, anyone: bool = False) -> Route:
        """A page that changes nothing."""
        return self._route("GET", path, self._let_in(page, anyone), about)

    def does(self, path: str, page: Page, about: str, *, anyone: bool = False) -> Route:
        """What a form of a page asks for."""

        async def checked(visit: Visit) -> Answer:
            refuse_foreign(visit.exchange)
            if anyone:
                return await page(visit)
            visit.may_change()
            with acting(visit.who.actor):
                return await page(visit)

        return self._route("POST", path, self._let_in(checked, anyone), about)

    def visit(self, exchange: Exchange) -> Visit:
        return Visit(exchange, self._assets, self._clock.now(), self._zone_of(exchange), self._site)

    def _route(self, method: str, path: str, handler: Handler, about: str) -> Route:
        shown = Success(200, None, "A page")
        route = Route("GET", path, handler, about, "none", [shown], query_prefix="", hidden=True, trouble=self._trouble)
        return msgspec.structs.replace(route, method=method)

    def _let_in(self, page: Page, anyone: bool) -> Handler:
        async def serve(exchange: Exchange) -> Answer:
            visit = self.visit(exchange)
            session = self._sessions.read(exchange.headers, place_of(exchange))
            visit.viewer = exchange.visitor = await self._find(session) if session is not None else None
            if visit.viewer is None and not anyone:
                query = exchange.scope["query_string"].decode("ascii", "replace")
                wanted = f"{visit.path}?{query}" if query else visit.path
                asked = exchange.scope["method"] in ("GET", "HEAD")
                return see_other(f"/ui/login?{urlencode({'next': wanted})}" if asked else "/ui/login")
            return await page(visit)

        return serve

    def _zone_of(self, exchange: Exchange) -> tzinfo:
        """The zone that the address of the page names, else the browser's, else the operator's."""
        query = exchange.scope["query_string"].decode("ascii", "replace")
        cookies = exchange.headers.get(b"cookie", b"").decode("latin-1").split(";")
        asked = [part[3:] for part in query.split("&") if part.startswith("tz=")]
        known = [part.strip()[len(_ZONE_COOKIE) :] for part in cookies if part.strip().startswith(_ZONE_COOKIE)]
        for name in [*asked, *known]:
            try:
                return ZoneInfo(unquote(name))
            except (ZoneInfoNotFoundError, ValueError, OSError):
                continue
        return self._zone

    def _trouble(self, exchange: Exchange, error: Exception, action: str, request_id: bytes) -> Answer:
        """An error as a page."""
        told = msgspec.json.decode(problems.problem(error, action).body, type=problems.Problem)
        again = exchange.scope["path"] if exchange.scope["method"] == "GET" else "/ui"
        visit = self.visit(exchange)
        visit.viewer = getattr(exchange, "visitor", None)
        return visit.page(
            "problem.html",
            CODES[told.code].title,
            status=told.status,
            detail=told.detail,
            faults_told=error.faults[:20] if isinstance(error, InvalidRequest) else (),
            advice=_ADVICE.get(told.code, ""),
            code=told.code,
            request_id=request_id.decode(),
            again=again,
            notice=None,
        )


def place_of(exchange: Exchange) -> Place:
    """Where the browser believes that it is. A proxy that says it ended TLS is believed: who lies only asks for a
    cookie that it then cannot send.
    """
    scope, headers = exchange.scope, exchange.headers
    forwarded = headers.get(b"x-forwarded-proto", b"").split(b",")[0].strip().lower()
    tls = scope.get("scheme") == "https" or forwarded == b"https"
    _, _, port = headers.get(b"host", b"").decode("latin-1").rpartition(":")
    return Place(port if port.isdigit() else "443" if tls else "80", tls)


def refuse_foreign(exchange: Exchange) -> None:
    """Raises `Forbidden` unless the request comes from a page of this server: browsers say so in Sec-Fetch-Site; where
    they leave it out (they do on plain HTTP), in Origin, whose host must be the Host. Schemes are not compared: a proxy
    that ends TLS changes them.
    """
    headers = exchange.headers
    site = headers.get(b"sec-fetch-site")
    if site is not None:
        if site == b"same-origin":
            return
        raise Forbidden(f"Sec-Fetch-Site says {site.decode('latin-1')[:20]}, not same-origin", code="cross_site")
    origin = headers.get(b"origin")
    if origin is None:
        raise Forbidden("neither Sec-Fetch-Site nor Origin says that a page of this server sent it", code="cross_site")
    if origin.partition(b"://")[2] != headers.get(b"host"):
        raise Forbidden("Origin is not the Host", code="cross_site")
