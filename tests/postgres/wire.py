"""A wire between a store and PostgreSQL that can be cut at a chosen moment."""

import asyncio
import contextlib
from collections.abc import Callable
from urllib.parse import urlsplit, urlunsplit

_MAY_WE_ENCRYPT = (80_877_103).to_bytes(4)
"""The SSLRequest of PostgreSQL's protocol."""


class Wire:
    """A TCP proxy on 127.0.0.1 in the loop of the test. `url` leads through it."""

    def __init__(self, url: str) -> None:
        self._parts = urlsplit(url)
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._wanted: tuple[bytes, bytes | None] | None = None
        self._refuses_then = False
        self._flows = asyncio.Event()
        self._flows.set()
        self.refuses = False
        self.says: tuple[str, str] | None = None
        """With what state and message whoever connects is sent away, as by a server that starts or stops."""
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
        self._flows.set()
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

    def stall(self) -> None:
        """Nothing gets through any more; the connections stay."""
        self._flows.clear()

    def flow(self) -> None:
        """It goes on after `stall`."""
        self._flows.set()

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
        carrying = asyncio.current_task()
        assert carrying is not None
        self._tasks.add(carrying)
        if self.refuses:
            writer.transport.abort()
            return
        if self.says is not None:
            await _send_away(reader, writer, *self.says)
            return
        there, back = await asyncio.open_connection(self._parts.hostname, self._parts.port)
        carried = _Carried(self)
        self._writers |= {writer, back}
        pumps = [
            asyncio.create_task(self._pump(reader, back, carried.stops_request)),
            asyncio.create_task(self._pump(there, writer, carried.stops_answer)),
        ]
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        for ended in (writer, back):
            ended.transport.abort()
            self._writers.discard(ended)
        await asyncio.wait(pumps)

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, stops: Callable[[bytes], bool]
    ) -> None:
        with contextlib.suppress(OSError):
            while (data := await reader.read(65_536)) and not stops(data):
                await self._flows.wait()
                writer.write(data)
                await writer.drain()

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


async def _send_away(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, state: str, message: str) -> None:
    """Answers the first message of a client as PostgreSQL does when it takes in nobody."""
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        length = int.from_bytes(await reader.readexactly(4))
        first = await reader.readexactly(length - 4)
        while first == _MAY_WE_ENCRYPT:
            writer.write(b"N")
            length = int.from_bytes(await reader.readexactly(4))
            first = await reader.readexactly(length - 4)
        fields = (b"SFATAL", b"VFATAL", b"C" + state.encode(), b"M" + message.encode())
        body = b"".join(field + b"\0" for field in fields) + b"\0"
        writer.write(b"E" + (len(body) + 4).to_bytes(4) + body)
        await writer.drain()
    writer.close()


async def until(fact: Callable[[], bool], seconds: float = 30) -> None:
    """Waits until something holds that other threads or processes bring about."""
    async with asyncio.timeout(seconds):
        while not fact():
            await asyncio.sleep(0.01)
