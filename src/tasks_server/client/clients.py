"""`Client` and `AsyncClient`: both play scripts over HTTP, and differ in nothing else."""

import asyncio
import os
import random as chance
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, Self, TypeVar
from urllib.parse import urlsplit

import httpx

from tasks_server import __version__
from tasks_server.client.groups import AsyncPlayer, Groups, Player
from tasks_server.client.protocol import Answer, Core, Lost, Reply, Request, Rest, Retries, Script
from tasks_server.client.way import SOCKS_ERRORS, way_to

T = TypeVar("T")

DEFAULT_URL: Final = "http://127.0.0.1:9420"
_CONNECT_SECONDS: Final = 5.0
_NEVER_SENT: Final = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
    httpx.LocalProtocolError,
)
_NEVER_SENDABLE: Final = (httpx.UnsupportedProtocol, httpx.LocalProtocolError)
"""Of those, what another try would not mend: the request itself is at fault."""


def _base(url: str) -> str:
    """The address that paths are put behind. Raises `ValueError` for one that is none."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(f"the url must read http://host:port or https://host, not {parts.hostname or url!r}")
    if parts.username is not None or parts.password is not None:
        raise ValueError("the url must hold no user or password: the key is all that the server wants")
    return url.rstrip("/")


def _server(url: str | None, key: str | None) -> tuple[str, str | None]:
    """The server to speak to, and the key for it. The environment says what is not given; its key goes to no server
    but the one that it names itself, or to this machine's.
    """
    if url is not None:
        return _base(url), key
    named = os.environ.get("TASKS_SERVER_URL") or DEFAULT_URL
    try:
        return _base(named), key if key is not None else os.environ.get("TASKS_SERVER_KEY") or None
    except ValueError as error:
        raise ValueError(f"TASKS_SERVER_URL: {error}") from None


def _timeout(seconds: float) -> httpx.Timeout:
    """How long to wait for each part of an answer; no connection takes longer than the few seconds after which the
    server counts as out of reach.
    """
    return httpx.Timeout(seconds, connect=min(seconds, _CONNECT_SECONDS))


def _headers(key: str | None, owner_id: str | None) -> httpx.Headers:
    headers = httpx.Headers({"User-Agent": f"tasks-server-client/{__version__}", "Accept": "application/json"})
    if key is not None:
        if not key.strip():
            raise ValueError("the key is empty")
        if not (key.strip().isascii() and key.strip().isprintable()):
            raise ValueError("the key has characters in it that no key has")  # which, it does not say: it is secret
        headers["Authorization"] = f"Bearer {key.strip()}"
    if owner_id is not None:
        if not (owner_id.strip() and owner_id.strip().isascii() and owner_id.strip().isprintable()):
            raise ValueError(f"no owner has the id {owner_id!r}")
        headers["X-Tasks-Owner-Id"] = owner_id.strip()
    return headers


def _sent(http: httpx.Client | httpx.AsyncClient, url: str, request: Request[Any]) -> httpx.Request:
    return http.build_request(
        request.route.method, url + request.target, content=request.content, headers=request.headers
    )


def _answer(response: httpx.Response) -> Answer:
    return Answer(response.status_code, response.headers, response.content)


def _lost(error: httpx.RequestError) -> Lost:
    return Lost(error, sent=not isinstance(error, _NEVER_SENT), lasting=isinstance(error, _NEVER_SENDABLE))


def _no_socks(error: Exception) -> Lost:
    """Such an error passes through httpx, which leaves the connection open; it goes with what the error holds on to."""
    return Lost(httpx.ProxyError(f"what answers there is no SOCKS proxy: {error}"), sent=False)


class Client(Groups[Player], Player):
    """Speaks to a Tasks Server. Threads may share one; `close` it, or use it in a `with`.

    Without `url`, `TASKS_SERVER_URL` names the server, and `TASKS_SERVER_KEY` the key unless it is given. `key`: an
    owner's key, or the admin key; then `owner_id` says for whom it acts. `timeout`: seconds that each try may
    wait for the server. `transport`, `sleep`, `monotonic` and `random` are there for tests. Raises `ValueError` for
    what cannot be, also in the environment: proxies, and certificates to trust.
    """

    def __init__(
        self,
        url: str | None = None,
        key: str | None = None,
        *,
        owner_id: str | None = None,
        timeout: float = 10.0,
        retries: Retries = Retries(),  # noqa: B008 # frozen
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], object] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
        random: Callable[[], float] = chance.random,
    ) -> None:
        self.url, key = _server(url, key)
        self.core = Core(retries, monotonic, random, self.url)
        self._sleep = sleep
        way = way_to(self.url) if transport is None else {"transport": transport}
        self._http = httpx.Client(headers=_headers(key, owner_id), timeout=_timeout(timeout), **way)
        self._make_groups(self)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes its connections."""
        self._http.close()

    def play(self, script: Script[T]) -> T:
        """Does what a script says, and gives what it ends with."""
        reply: Reply = None
        while True:
            try:
                step = script.send(reply)
            except StopIteration as ended:
                result: T = ended.value
                return result
            reply = self._take(step)

    def _take(self, step: Request[Any] | Rest) -> Reply:
        if isinstance(step, Rest):
            self._sleep(step.seconds)
            return None
        try:
            return _answer(self._http.send(_sent(self._http, self.url, step)))
        except httpx.RequestError as error:
            return _lost(error)
        except SOCKS_ERRORS as error:
            return _no_socks(error)


class AsyncClient(Groups[AsyncPlayer], AsyncPlayer):
    """The same for asyncio: every method is awaited, lists are gone through by `async for`."""

    def __init__(
        self,
        url: str | None = None,
        key: str | None = None,
        *,
        owner_id: str | None = None,
        timeout: float = 10.0,
        retries: Retries = Retries(),  # noqa: B008 # frozen
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        monotonic: Callable[[], float] = time.monotonic,
        random: Callable[[], float] = chance.random,
    ) -> None:
        self.url, key = _server(url, key)
        self.core = Core(retries, monotonic, random, self.url)
        self._sleep = sleep
        way = way_to(self.url) if transport is None else {"transport": transport}
        self._http = httpx.AsyncClient(headers=_headers(key, owner_id), timeout=_timeout(timeout), **way)
        self._make_groups(self)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes its connections."""
        await self._http.aclose()

    async def play(self, script: Script[T]) -> T:
        """Does what a script says, and gives what it ends with."""
        reply: Reply = None
        while True:
            try:
                step = script.send(reply)
            except StopIteration as ended:
                result: T = ended.value
                return result
            reply = await self._take(step)

    async def _take(self, step: Request[Any] | Rest) -> Reply:
        if isinstance(step, Rest):
            await self._sleep(step.seconds)
            return None
        try:
            return _answer(await self._http.send(_sent(self._http, self.url, step)))
        except httpx.RequestError as error:
            return _lost(error)
        except SOCKS_ERRORS as error:
            return _no_socks(error)
