"""A target that speaks every version of HTTP, over TLS, in clear text and over QUIC: hypercorn on a thread of its own.

It notes what it saw of each request: the version, the headers, the body, and which connection it came on.
"""

import asyncio
import gc
import socket
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypercorn.asyncio.run import worker_serve
from hypercorn.config import Config, Sockets
from hypercorn.utils import wrap_app

from tests.engine.http.authority import Identity
from tests.engine.http.target import DEADLINE_SECONDS, close_connections

Send = Callable[[dict[str, Any]], Awaitable[None]]
Answer = Callable[["VersionsTarget", Send], Awaitable[None]]


@dataclass
class Seen:
    """One request as it came in."""

    version: str
    method: str
    path: str
    headers: list[tuple[str, str]]
    body: bytes
    client: tuple[str, int]
    raw_path: str = ""

    def header(self, name: str) -> str | None:
        return next((value for given, value in self.headers if given == name), None)


def respond(status: int = 200, body: bytes = b"ok", *headers: tuple[bytes, bytes]) -> Answer:
    """A plain answer."""

    async def answer(_: "VersionsTarget", send: Send) -> None:
        await send({"type": "http.response.start", "status": status, "headers": list(headers)})
        await send({"type": "http.response.body", "body": body})

    return answer


async def hang(target: "VersionsTarget", _send: Send) -> None:
    """Answers nothing."""
    await target.stopping.wait()


def _takes_in(task: "asyncio.Task[Any]") -> bool:
    """Whether it is the loop's own that takes in a connection: those are ended by `close_connections`."""
    return "_accept_connection" in repr(task.get_coro())


@dataclass
class VersionsTarget:
    """Answers by path; 200 "ok" where nothing else is said. `tcp` False: it listens for QUIC alone; `quic` False: not
    for that. Without an `identity` it speaks clear text.
    """

    folder: Path
    identity: Identity | None = None
    tcp: bool = True
    quic: bool = True
    alpn: list[str] = field(default_factory=lambda: ["h2", "http/1.1"])
    answers: dict[str, Answer] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)

    def __enter__(self) -> "VersionsTarget":
        self._ready = threading.Event()
        self._changed = threading.Condition()
        self._sockets = self._bind()
        self._thread = threading.Thread(target=self._run, name="versions target")
        self._thread.start()
        assert self._ready.wait(DEADLINE_SECONDS)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self.stopping.set)
        self._thread.join(DEADLINE_SECONDS)
        assert not self._thread.is_alive()
        gc.collect()  # what hypercorn leaves unfinished is told of here, where it is expected
        for each in (*self._sockets.secure_sockets, *self._sockets.insecure_sockets, *self._sockets.quic_sockets):
            each.close()

    def url(self, path: str = "/", host: str = "127.0.0.1") -> str:
        return f"{'https' if self.identity else 'http'}://{host}:{self.port}{path}"

    @property
    def connections(self) -> list[int]:
        """For each request, the number of its connection, from 1 on in order of their first requests."""
        order = list(dict.fromkeys(one.client for one in self.seen))
        return [order.index(one.client) + 1 for one in self.seen]

    def wait(self, condition: Callable[["VersionsTarget"], bool]) -> None:
        """Returns once the condition holds; fails after the deadline."""
        with self._changed:
            assert self._changed.wait_for(lambda: condition(self), DEADLINE_SECONDS), "the target saw no such thing"

    def release(self) -> None:
        """Lets go what waits in `released`."""
        self._loop.call_soon_threadsafe(self.released.set)

    def _bind(self) -> Sockets:
        stream = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        stream.bind(("127.0.0.1", 0))
        self.port = stream.getsockname()[1]
        datagram = []
        if self.identity and self.quic:
            datagram = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM)]
            datagram[0].bind(("127.0.0.1", self.port))
            datagram[0].setblocking(False)
        if not self.tcp:
            stream.close()
            return Sockets([], [], datagram)
        stream.listen(100)
        stream.setblocking(False)
        return Sockets([stream], [], datagram) if self.identity else Sockets([], [stream], [])

    def _config(self) -> Config:
        config = Config()
        config.accesslog = config.errorlog = None
        config.graceful_timeout = 0.1
        config.alpn_protocols = self.alpn
        if self.identity is not None:
            chain, key = self.folder / "chain.pem", self.folder / "key.pem"
            chain.write_bytes(self.identity.pem)
            key.write_bytes(self.identity.key())
            config.certfile, config.keyfile = str(chain), str(key)
        return config

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(lambda *_: None)  # a client that goes away is no fault of the target's
        self.stopping, self.released = asyncio.Event(), asyncio.Event()
        app = wrap_app(self._app, 65_536, "asgi")  # type: ignore[arg-type]  # a plain function serves
        serving = asyncio.create_task(
            worker_serve(app, self._config(), sockets=self._sockets, shutdown_trigger=asyncio.Event().wait)
        )
        await asyncio.wait([serving, asyncio.create_task(self.stopping.wait())], return_when=asyncio.FIRST_COMPLETED)
        # Not hypercorn's own end: it waits for its clients, and leaves its socket of QUIC open.
        while others := [task for task in asyncio.all_tasks() - {asyncio.current_task()} if not _takes_in(task)]:
            for task in others:
                task.cancel()
            await asyncio.wait(others, timeout=0.1)
            await asyncio.gather(*(task for task in others if task.done()), return_exceptions=True)
        await close_connections()

    async def _app(self, scope: dict[str, Any], receive: Callable[[], Awaitable[dict[str, Any]]], send: Send) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            self._loop.call_soon(self._ready.set)
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        body = b""
        while (message := await receive())["type"] == "http.request":
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        headers = [(name.decode(), value.decode()) for name, value in scope["headers"]]
        client, raw_path = tuple(scope["client"][:2]), scope["raw_path"].decode()
        seen = Seen(scope["http_version"], scope["method"], scope["path"], headers, body, client, raw_path)
        with self._changed:
            self.seen.append(seen)
            self._changed.notify_all()
        await self.answers.get(seen.path, respond())(self, send)
