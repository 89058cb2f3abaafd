"""A wire between a store and PostgreSQL that can be cut at a chosen moment."""

import asyncio
import contextlib
from collections.abc import Callable
from urllib.parse import urlsplit, urlunsplit


class Wire:
    """A TCP proxy on 127.0.0.1 in the loop of the test. `url` leads through it."""

    def __init__(self, url: str) -> None:
        self._parts = urlsplit(url)
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._wanted: tuple[bytes, bytes | None] | None = None
        self._refuses_then = False
        self.refuses = False
        self.came = 0
        """How many connections were asked for."""

    @property
    def url(self) -> str:
        assert self._server is not None
        port = self._server.sockets[0].getsockname()[1]
        user = f"{self._parts.username}@" if self._parts.username else ""
        return urlunsplit(self._parts._replace(netloc=f"{user}127.0.0.1:{port}"))

    async def __aenter__(self) -> "Wire":
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    @property
    def quiet(self) -> bool:
        """Whether it carries no connection."""
        return not self._writers

    def cut(self) -> None:
        """Ends all connections at once, both ways."""
        for writer in list(self._writers):
            writer.transport.abort()

    def cut_before_request(self, with_bytes: bytes) -> None:
        """The next request with these bytes does not arrive, and its connection ends."""
        self._wanted = (with_bytes, None)

    def cut_before_answer(self, to_request: bytes, with_bytes: bytes) -> None:
        """On the connection of the next request with the former bytes, the answer with the latter does not arrive; what
        it tells has happened.
        """
        self._wanted = (to_request, with_bytes)

    def refuse_after_answer(self, to_request: bytes, with_bytes: bytes) -> None:
        """The same, and nobody can connect afterwards."""
        self._wanted, self._refuses_then = (to_request, with_bytes), True

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.came += 1
        if self.refuses:
            writer.transport.abort()
            return
        there, back = await asyncio.open_connection(self._parts.hostname, self._parts.port)
        carried = _Carried(self)
        self._writers |= {writer, back}
        pumps = [
            asyncio.create_task(_pump(reader, back, carried.stops_request)),
            asyncio.create_task(_pump(there, writer, carried.stops_answer)),
        ]
        self._tasks.update(pumps)
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        for ended in (writer, back):
            ended.transport.abort()
            self._writers.discard(ended)
        await asyncio.wait(pumps)

    def take(self, request: bytes) -> tuple[bytes, bytes | None] | None:
        """What was wanted, when this is the request it is about; it is wanted no more then."""
        if self._wanted is None or self._wanted[0] not in request:
            return None
        wanted, self._wanted = self._wanted, None
        self.refuses, self._refuses_then = self._refuses_then, False
        return wanted


class _Carried:
    """One connection, and the answer that it shall not live to see."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._last_words: bytes | None = None
        self._answered = b""

    def stops_request(self, data: bytes) -> bool:
        found = self._wire.take(data)
        if found is None:
            return False
        self._last_words = found[1]
        return found[1] is None

    def stops_answer(self, data: bytes) -> bool:
        if self._last_words is None:
            return False
        self._answered += data
        return self._last_words in self._answered


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, stops: Callable[[bytes], bool]) -> None:
    with contextlib.suppress(OSError):
        while (data := await reader.read(65_536)) and not stops(data):
            writer.write(data)
            await writer.drain()


async def until(fact: Callable[[], bool], seconds: float = 30) -> None:
    """Waits until something holds that other threads or processes bring about."""
    async with asyncio.timeout(seconds):
        while not fact():
            await asyncio.sleep(0.01)
