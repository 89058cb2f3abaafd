"""A target on loopback that writes down which task it saw, when, and when that task was due."""

import asyncio
import threading
import time
from collections import defaultdict
from urllib.parse import parse_qs, urlsplit


class Target:
    """An HTTP server in a thread of its own. `seen` maps task ids to the instants (ms) they came at."""

    def __init__(self) -> None:
        self.seen: defaultdict[str, list[int]] = defaultdict(list)
        self.early: list[str] = []
        self.open: set[asyncio.Transport] = set()
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Target":
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(self._loop.create_server(lambda: _Connection(self), "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()
        server.close()
        for transport in list(self.open):
            transport.abort()
        self._loop.run_until_complete(server.wait_closed())
        self._loop.run_until_complete(asyncio.sleep(0))
        for task in asyncio.all_tasks(self._loop):
            task.cancel()

    def note(self, path: str, headers: dict[str, str]) -> float:
        """Writes it down; in how many seconds to answer."""
        now = time.time_ns() // 1_000_000
        task = headers["x-tasks-queue-id"]
        self.seen[task].append(now)
        asked = parse_qs(urlsplit(path).query)
        if now < int(asked["due"][0]):
            self.early.append(task)
        return int(asked.get("wait", ["0"])[0]) / 1_000


class _Connection(asyncio.Protocol):
    def __init__(self, target: Target) -> None:
        self._target = target
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._target.open.add(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._target.open.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while b"\r\n\r\n" in self._buffer:
            head, _, rest = self._buffer.partition(b"\r\n\r\n")
            lines = head.decode("latin-1").split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
            length = int(headers.get("content-length", "0"))
            if len(rest) < length:
                return
            self._buffer = rest[length:]
            seconds = self._target.note(lines[0].split(" ")[1], headers)
            if seconds:
                asyncio.get_running_loop().call_later(seconds, self._reply)
            else:
                self._reply()

    def _reply(self) -> None:
        if not self._transport.is_closing():
            self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
