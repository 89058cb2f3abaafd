"""Somebody who looks at the pages, without a browser: forms are sent, redirects followed, cookies kept."""

import html
import re
from collections.abc import AsyncIterator

import httpx
import pytest

from tasks_server.api.app import ApiConfig, create_app
from tasks_server.clock import ManualClock
from tasks_server.store.sealing import Sealer
from tasks_server.store.sqlite.store import SqliteStore
from tasks_server.telemetry import Telemetry
from tasks_server.web.routes import UiConfig, ui_routes
from tasks_server.web.session import Sessions

ADMIN_KEY = "the-operator-of-this-server"
WATCHER_KEY = "who-may-only-look-at-it-all"
_TAGS = re.compile(r"<(script|style).*?</\1>|<[^>]*>", re.DOTALL)


class Site:
    """The server with its pages."""

    def __init__(self, store: SqliteStore, clock: ManualClock, ui: UiConfig | None = None) -> None:
        self.store, self.clock, sealer = store, clock, Sealer(bytes(32))
        self.sessions = Sessions(sealer.seal, sealer.open, clock)
        self.app = create_app(
            store,
            clock=clock,
            telemetry=Telemetry(clock, form="json", write=lambda _: None),
            config=ApiConfig(admin_key=ADMIN_KEY, admin_key_read_only=WATCHER_KEY, registration="open"),
            pages=lambda parts: ui_routes(parts, sealer.seal, sealer.open, ui or UiConfig()),
        )

    def visitor(self) -> "Visitor":
        return Visitor(self)

    async def owner(self, name: str = "small-shop") -> str:
        """The key of a new owner."""
        answer = await self.api("").post("/v1/owners/register", json={"name": name})
        return str(answer.json()["key"])

    def api(self, key: str) -> httpx.AsyncClient:
        """A client of the API."""
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(self.app), base_url="http://localhost:9420", headers=headers
        )

    async def task(self, key: str, url: str = "https://target.test/hook", **more: object) -> str:
        """The id of a new task."""
        body = {"httpRequest": {"url": url, "method": "POST"}, **more}
        answer = await self.api(key).post("/v1/queues/register", json=body)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])


class Visitor:
    """A browser without scripts."""

    def __init__(self, site: Site) -> None:
        self.http = httpx.AsyncClient(
            transport=httpx.ASGITransport(site.app), base_url="http://localhost:9420", follow_redirects=True
        )

    async def sign_in(self, key: str, *, only_look: bool = False) -> httpx.Response:
        fields = {"key": key, "next": "/ui"} | ({"read_only": "1"} if only_look else {})
        return await self.send("/ui/login", fields)

    async def see(self, path: str) -> httpx.Response:
        return await self.http.get(path)

    async def send(self, path: str, fields: dict[str, str | list[str]] | None = None) -> httpx.Response:
        """What a form of a page sends."""
        return await self.http.post(path, data=fields or {}, headers={"Origin": "http://localhost:9420"})


def text_of(answer: httpx.Response) -> str:
    """What a page says, without its tags."""
    return " ".join(html.unescape(_TAGS.sub(" ", answer.text)).split())


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def store(clock: ManualClock) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(None, Sealer(bytes(32)), clock)
    await store.open()
    yield store
    await store.close()


@pytest.fixture
def site(store: SqliteStore, clock: ManualClock) -> Site:
    return Site(store, clock)


@pytest.fixture
async def key(site: Site) -> str:
    return await site.owner()


@pytest.fixture
async def visitor(site: Site, key: str) -> Visitor:
    """An owner who has signed in."""
    visitor = site.visitor()
    await visitor.sign_in(key)
    return visitor
