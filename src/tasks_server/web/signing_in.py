"""Signing in and out: with an owner's key, with the operator's, or as the operator by a link from the command line."""

from collections.abc import Callable
from typing import Final

from msgspec.structs import replace

from tasks_server.api.admin_keys import AdminKeys
from tasks_server.api.exchange import Answer
from tasks_server.api.routes import Route
from tasks_server.api.throttle import Throttle
from tasks_server.clock import Clock
from tasks_server.domain import ids, limits
from tasks_server.domain.errors import Throttled
from tasks_server.service.owners import OwnerService
from tasks_server.web.frame import Frame, place_of
from tasks_server.web.session import Session, Sessions
from tasks_server.web.visit import Viewer, Visit, inner, see_other

_FAILURES_MAX: Final = 5


class SigningIn:
    """The pages, and who somebody is by their session."""

    def __init__(
        self,
        owners: OwnerService,
        admin_keys: Callable[[], AdminKeys],
        sessions: Sessions,
        clock: Clock,
        *,
        read_only: bool,
    ) -> None:
        self._read_only = read_only
        self._owners = owners
        self._admin_keys = admin_keys
        self._sessions = sessions
        self._failures = Throttle(_FAILURES_MAX, limits.MINUTE_MS, clock)

    def table(self, frame: Frame) -> list[Route]:
        return [
            frame.shows("/ui/login", self.form, "Show how to sign in", anyone=True),
            frame.does("/ui/login", self.sign_in, "Sign in", anyone=True),
            frame.does("/ui/logout", self.sign_out, "Sign out", anyone=True),
        ]

    async def viewer(self, session: Session) -> Viewer | None:
        """Who has this session; None: its key is good no more."""
        if self._read_only:
            session = replace(session, read_only=True)
        if session.owner is None:
            if not session.key:
                return Viewer(session, None)
            known = self._admin_keys().find_digest(session.key)
            if known is None:
                return None
            return Viewer(replace(session, read_only=session.read_only or known.read_only), None, known.fingerprint)
        holder = await self._owners.by_digest(session.key)
        if holder is None or holder.owner.id != session.owner or holder.owner.suspended_at is not None:
            return None
        return Viewer(session, holder.owner, holder.key.id)

    async def form(self, visit: Visit) -> Answer:
        """The page with the form."""
        asked = dict(visit.pairs())
        return _page(visit, asked.get("token", ""), inner(asked.get("next", "/ui")))

    async def sign_in(self, visit: Visit) -> Answer:
        form = await visit.form()
        token, key, onward = form.one("token"), form.one("key").strip(), inner(form.one("next"))
        session = await self._session(token, key, read_only=bool(form.one("read_only")))
        if session is None:
            try:
                self._failures.count(visit.exchange.address())
            except Throttled as error:
                text = f"Too many wrong keys from this address; try again in {error.retry_after_seconds} s."
                return _page(visit, "", onward, {"key": text}, status=429)
            told = "This is no key of this server." if key or not token else ""
            if not told:
                told = "This link was used before, or is older than ten minutes: `tasks-server ui` prints another."
            return _page(visit, "", onward, {"key": told}, status=401)
        cookie = self._sessions.cookie(session, place_of(visit.exchange))
        return see_other(onward, None, (b"set-cookie", cookie))

    async def sign_out(self, visit: Visit) -> Answer:
        cookie = self._sessions.no_cookie(place_of(visit.exchange))
        return see_other("/ui/login", None, (b"set-cookie", cookie))

    async def _session(self, token: str, key: str, *, read_only: bool) -> Session | None:
        if token:
            link = self._sessions.link(token)
            if link is None or not await self._owners.use_link(link.id, link.until):
                return None
            return self._sessions.begin(None, b"", read_only=read_only)
        if self._admin_keys().find(key.encode()) is not None:
            return self._sessions.begin(None, ids.key_digest(key), read_only=read_only)
        holder = await self._owners.by_digest(ids.key_digest(key))
        if holder is None or holder.owner.suspended_at is not None:
            return None
        return self._sessions.begin(holder.owner.id, ids.key_digest(key), read_only=read_only)


def _page(visit: Visit, token: str, onward: str, faults: dict[str, str] | None = None, *, status: int = 200) -> Answer:
    return visit.page("login.html", "Sign in", status=status, token=token, next=onward, faults=faults or {}, here="")
