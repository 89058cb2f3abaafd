"""A scripted HTTP target on loopback: records every request byte for byte and answers as it is told.

It speaks raw bytes on purpose, so that it can also drip, hang, lie and break off. It runs on a thread of its own.
"""

import asyncio
import ssl
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

DEADLINE_SECONDS = 20
"""How long a test waits for a fact before it fails."""


@dataclass
class Received:
    """One request as it came in."""

    connection: int
    head: bytes
    body: bytes

    @property
    def line(self) -> str:
        return self.head.split(b"\r\n", 1)[0].decode()

    @property
    def method(self) -> str:
        return self.line.split(" ")[0]

    @property
    def path(self) -> str:
        return self.line.split(" ")[1]

    @property
    def headers(self) -> list[tuple[str, str]]:
        lines = self.head.split(b"\r\n\r\n", 1)[0].split(b"\r\n")[1:]
        return [(name.decode(), value.decode()) for name, _, value in (line.partition(b": ") for line in lines)]

    def header(self, name: str) -> str | None:
        """The header's value; fails when it came more than once."""
        values = [value for given, value in self.headers if given.lower() == name.lower()]
        assert len(values) <= 1, f"{name} came {len(values)} times"
        return values[0] if values else None


@dataclass
class Connection:
    """One connection, for a script to write to."""

    number: int
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    target: "Target"

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def close(self) -> None:
        self.writer.close()


Script = Callable[[Connection, Received], Awaitable[None]]
Answer = bytes | Script


def answer(status: int = 200, body: bytes = b"ok", **headers: str) -> bytes:
    """A plain answer. Underscores in header names stand for hyphens."""
    lines = [f"HTTP/1.1 {status} Reason", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def redirect(status: int, location: str) -> bytes:
    return answer(status, b"moved", Location=location)


async def hang(connection: Connection, _request: Received) -> None:
    """Answers only once the target is released."""
    await connection.target.released.wait()
    await connection.send(answer())


async def close(connection: Connection, _request: Received) -> None:
    await connection.close()


async def stop_listening(server: asyncio.Server) -> None:
    """Closes a server and all its connections. Closed at once, it would leave those open that it is just taking in."""
    for each in server.sockets:
        asyncio.get_running_loop().remove_reader(each.fileno())
    await close_connections()
    server.close()


async def close_connections() -> None:
    """Closes all that the running loop has open, also connections that are just being taken in."""

    def abort() -> None:
        # Those that never came through their TLS handshake are known to the loop alone.
        for transport in list(asyncio.get_running_loop()._transports.values()):  # type: ignore[attr-defined]  # a loop of asyncio's own kind has them
            transport.abort()

    # A task of the loop owns the socket until there is a transport; cancelled, it would leave it open.
    while taken_in := [task for task in asyncio.all_tasks() if "_accept_connection" in repr(task.get_coro())]:
        abort()
        await asyncio.wait(taken_in, timeout=0.05)
    abort()
    for _ in range(10):  # what was aborted is closed by callbacks, TLS by callbacks of those
        await asyncio.sleep(0)


@dataclass
class Target:
    """Answers by path (without query); 200 "ok" where nothing else is scripted."""

    tls: ssl.SSLContext | None = None
    scripts: dict[str, Answer] = field(default_factory=dict)
    received: list[Received] = field(default_factory=list, repr=False)
    opened: int = 0
    closed: int = 0

    def __post_init__(self) -> None:
        self._changed = threading.Condition()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="target")

    def __enter__(self) -> "Target":
        self._thread.start()
        assert self._ready.wait(DEADLINE_SECONDS)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(DEADLINE_SECONDS)

    def url(self, path: str = "/", host: str = "127.0.0.1") -> str:
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}{path}"

    def release(self) -> None:
        """Lets go all that hangs, now and later."""
        self._loop.call_soon_threadsafe(self.released.set)

    async def meet(self, count: int) -> None:
        """For scripts: goes on once `count` of them are here."""
        self._met += 1
        if self._met >= count:
            self._all_met.set()
        await self._all_met.wait()

    def settle(self) -> None:
        """Returns once the target's loop has done all it had to do by now."""

        async def nothing() -> None:
            for _ in range(10):
                await asyncio.sleep(0)

        asyncio.run_coroutine_threadsafe(nothing(), self._loop).result(DEADLINE_SECONDS)

    def wait(self, condition: Callable[["Target"], bool]) -> None:
        """Returns once the condition holds; fails after the deadline."""
        with self._changed:
            assert self._changed.wait_for(lambda: condition(self), DEADLINE_SECONDS), "the target saw no such thing"

    @property
    def last(self) -> Received:
        return self.received[-1]

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        self.released = asyncio.Event()
        self._met = 0
        self._all_met = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self.writers: list[asyncio.StreamWriter] = []
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self.tls, backlog=4_096)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stopping.wait()
        await stop_listening(server)
        while self._tasks:  # those who still answer; what was just taken in may come to it meanwhile
            tasks = list(self._tasks)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        await close_connections()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.writers.append(writer)
        self._note(lambda: setattr(self, "opened", self.opened + 1))
        try:
            await self._talk(Connection(self.opened, reader, writer, self))
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError, IndexError):  # IndexError: not HTTP/1
            pass
        except asyncio.CancelledError:  # the target stops; asyncio would tell of it as of a fault
            pass
        finally:
            self._tasks.discard(task)
            self._note(lambda: setattr(self, "closed", self.closed + 1))
            writer.close()

    async def _talk(self, connection: Connection) -> None:
        while True:
            head = await connection.reader.readuntil(b"\r\n\r\n")
            request = Received(connection.number, head, b"")
            request.body = await connection.reader.readexactly(int(request.header("Content-Length") or 0))
            self._note(lambda request=request: self.received.append(request))
            script = self.scripts.get(request.path.partition("?")[0], answer())
            if not isinstance(script, bytes):
                await script(connection, request)
            elif request.method == "HEAD":
                await connection.send(script.partition(b"\r\n\r\n")[0] + b"\r\n\r\n")
            else:
                await connection.send(script)

    def _note(self, change: Callable[[], None]) -> None:
        with self._changed:
            change()
            self._changed.notify_all()
