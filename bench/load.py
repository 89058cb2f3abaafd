"""The load: wrk, as fast as the server lets it; and a client of our own, for batches and for a steady rate.

Both speak plain HTTP/1.1 over connections that stay open.
"""

import asyncio
import json
import resource
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import uvloop

from bench import processes
from bench.report import spread
from bench.server import Account, Server

REGISTER: Final = "/v1/queues/register"
BATCH: Final = "/v1/queues/batch"
_FEED_SECONDS: Final = 0.005
"""How often a feeder looks at a queue that is full enough."""
_SCRIPT: Final = """
local file = assert(io.open("{folder}/body.json", "rb"))
wrk.method = "POST"
wrk.body = file:read("*a")
file:close()
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer {key}"
function done(summary, latency, requests)
    local out = assert(io.open("{folder}/wrk.json", "wb"))
    local errors = summary.errors
    out:write(string.format(
        '{{"requests": %d, "duration_us": %d, "failed": %d, "broken": %d, "p50": %g, "p95": %g, "p99": %g, "max": %g}}',
        summary.requests, summary.duration, errors.status, errors.connect + errors.read + errors.write + errors.timeout,
        latency:percentile(50), latency:percentile(95), latency:percentile(99), latency.max))
    out:close()
end
"""


def task(url: str, config: dict[str, Any] | None = None) -> dict[str, Any]:
    """What a benchmark registers: a small JSON POST."""
    data = {"order": 17, "state": "paid", "total": "129.90", "lines": [{"sku": "A-1", "count": 2}]}
    made: dict[str, Any] = {"httpRequest": {"url": url, "method": "POST", "data": data}}
    if config:
        made["config"] = config
    return made


class Pressed(msgspec.Struct):
    """What a load did. `failed`: answers of 400 and above; `broken`: connections. Latency in ms."""

    requests: int
    seconds: float
    began_at: float
    """When it began and ended, as `time.time()`."""
    ended_at: float
    failed: int
    broken: int
    latency_ms: dict[str, float]
    cpu_seconds: float

    @property
    def faults(self) -> list[str]:
        found = []
        if self.failed:
            found.append(f"{self.failed} of {self.requests} requests were refused")
        if self.broken:
            found.append(f"{self.broken} connections broke or timed out")
        return found


def press(
    folder: Path, server: Server, account: Account, path: str, body: Any, connections: int, seconds: float
) -> Pressed:
    """Posts `body` to `path` by wrk for some seconds. `folder` is made and gets its script."""
    program = processes.needed("wrk", "wrk")
    folder.mkdir()
    (folder / "body.json").write_text(json.dumps(body, separators=(",", ":")))
    (folder / "press.lua").write_text(_SCRIPT.format(folder=folder, key=account.key))
    command = [program, "--threads", "1", "--connections", str(connections), "--duration", f"{round(seconds)}s"]
    command += ["--timeout", "20s", "--script", str(folder / "press.lua"), server.url + path]
    cpu_before = _children_cpu_seconds()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=seconds + 60)
    ended_at = time.time()
    said = json.loads((folder / "wrk.json").read_text())
    lasted = said["duration_us"] / 1e6
    return Pressed(
        requests=said["requests"],
        seconds=lasted,
        began_at=ended_at - lasted,
        ended_at=ended_at,
        failed=said["failed"],
        broken=said["broken"],
        latency_ms={name: round(said[name] / 1e3, 2) for name in ("p50", "p95", "p99", "max")},
        cpu_seconds=_children_cpu_seconds() - cpu_before,
    )


def _children_cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class Refused(Exception):
    """The server's answer was not 201."""


class Connection:
    """One connection to the server; one request at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, key: str) -> None:
        self._reader = reader
        self._writer = writer
        self._head = f" HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {key}\r\n"

    @classmethod
    async def open(cls, server: Server, account: Account) -> "Connection":
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        return cls(reader, writer, account.key)

    async def post(self, path: str, body: bytes) -> bytes:
        """The body of the answer. Raises `Refused` for anything but 201."""
        head = f"POST {path}{self._head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        return await self._exchange(head.encode() + body, b"201")

    async def get(self, path: str) -> bytes:
        """The body of the answer. Raises `Refused` for anything but 200."""
        return await self._exchange(f"GET {path}{self._head}\r\n".encode(), b"200")

    async def _exchange(self, request: bytes, expected: bytes) -> bytes:
        self._writer.write(request)
        answer = await self._reader.readuntil(b"\r\n\r\n")
        length = int(answer.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        content = await self._reader.readexactly(length)
        if answer.split(b" ", 2)[1] != expected:
            raise Refused(f"{answer.splitlines()[0].decode()}: {content[:500].decode(errors='replace')}")
        return content

    def close(self) -> None:
        self._writer.close()


async def register_all(server: Server, account: Account, bodies: Iterable[bytes], connections: int = 4) -> None:
    """Posts every batch over some connections at once."""
    left = iter(bodies)

    async def work() -> None:
        connection = await Connection.open(server, account)
        for body in left:
            await connection.post(BATCH, body)
        connection.close()

    await asyncio.gather(*(work() for _ in range(connections)))


class Feeder:
    """Posts batches so that the queue always holds about `in_queue` tasks: as many come in as go out."""

    def __init__(self, server: Server, account: Account, one: dict[str, Any], batch: int, in_queue: int) -> None:
        self._server = server
        self._account = account
        self._body = next(iter(batches(one, batch, batch)))
        self._batch = batch
        self._in_queue = in_queue
        self._latencies_ms: list[float] = []

    def feed(self, seconds: float) -> Pressed:
        """Feeds for some seconds. Raises `Refused`."""
        began_at, cpu_before = time.time(), time.process_time()
        run(self._feed(time.monotonic() + seconds))
        ended_at = time.time()
        told = spread(self._latencies_ms, 2)
        return Pressed(
            requests=len(self._latencies_ms),
            seconds=ended_at - began_at,
            began_at=began_at,
            ended_at=ended_at,
            failed=0,
            broken=0,
            latency_ms={name: told[name] for name in ("p50", "p95", "p99", "max")},
            cpu_seconds=time.process_time() - cpu_before,
        )

    async def _feed(self, end: float) -> None:
        watching = await Connection.open(self._server, self._account)
        feeding = [
            await Connection.open(self._server, self._account) for _ in range(max(1, self._in_queue // self._batch))
        ]
        while time.monotonic() < end:
            owner = json.loads(await watching.get(f"/v1/owners/{self._account.name}"))
            missing = (self._in_queue - owner["tasksInQueue"]) // self._batch
            if missing > 0:
                await asyncio.gather(*(self._post(connection) for connection in feeding[:missing]))
            else:
                await asyncio.sleep(_FEED_SECONDS)
        for connection in (watching, *feeding):
            connection.close()

    async def _post(self, connection: Connection) -> None:
        began = time.perf_counter()
        await connection.post(BATCH, self._body)
        self._latencies_ms.append((time.perf_counter() - began) * 1e3)


def batches(made: Sequence[dict[str, Any]] | dict[str, Any], count: int = 0, size: int = 1_000) -> Iterable[bytes]:
    """Bodies of batches: of these tasks, or of `count` times the same one."""
    if isinstance(made, dict):
        one = json.dumps(made, separators=(",", ":"))
        for start in range(0, count, size):
            yield f'{{"tasks":[{",".join([one] * min(size, count - start))}]}}'.encode()
        return
    for start in range(0, len(made), size):
        yield json.dumps({"tasks": made[start : start + size]}, separators=(",", ":")).encode()


class Pacer:
    """Posts at given moments, whether earlier posts were answered or not: connections are opened as needed."""

    def __init__(self, server: Server, account: Account) -> None:
        self._server = server
        self._account = account
        self._idle: list[Connection] = []
        self.latencies_ms: list[float] = []
        self.behind_ms = 0.0
        """How much later than planned the latest post was sent, at worst."""
        self.faults: list[str] = []

    async def warm(self, connections: int) -> None:
        """Opens connections before they are needed."""
        self._idle += [await Connection.open(self._server, self._account) for _ in range(connections)]

    async def run(self, moments: Iterable[float], make: Callable[[], bytes]) -> None:
        """At each of `moments` (as `time.time()`, in order) posts what `make` makes then."""
        posts: set[asyncio.Task[None]] = set()
        for moment in moments:
            wait = moment - time.time()
            if wait > 0:
                await asyncio.sleep(wait)
            self.behind_ms = max(self.behind_ms, (time.time() - moment) * 1e3)
            post = asyncio.create_task(self._post(make()))
            posts.add(post)
            post.add_done_callback(posts.discard)
        if posts:
            await asyncio.wait(posts)

    async def _post(self, body: bytes) -> None:
        connection = self._idle.pop() if self._idle else await Connection.open(self._server, self._account)
        began = time.perf_counter()
        try:
            await connection.post(REGISTER, body)
        except (Refused, OSError, asyncio.IncompleteReadError) as error:
            self.faults.append(f"a registration failed: {error}")
            connection.close()
            return
        self.latencies_ms.append((time.perf_counter() - began) * 1e3)
        self._idle.append(connection)

    def close(self) -> None:
        for connection in self._idle:
            connection.close()


def run(work: Awaitable[None]) -> None:
    """Runs a client's coroutine in a fast event loop."""

    async def main() -> None:
        await work

    uvloop.run(main())
