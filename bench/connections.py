"""How long a newcomer waits while somebody holds every connection he can get, and what bodies that never end cost.

One address opens as many connections as the server has places, sends nothing or just enough to look busy, and opens
anew what is closed; meanwhile others ask for `/status`, from the same address and from another. Then an owner begins
bodies and never ends them, and another owner registers tasks.
"""

import contextlib
import errno
import json
import resource
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from bench import report
from bench.report import Report, say
from bench.server import Account, Server

_HOLDER: Final = "127.0.0.5"
_OTHER: Final = "127.0.0.9"
_PATIENCE_SECONDS: Final = 20.0
_BIND_NO_PORT: Final = 24
"""IP_BIND_ADDRESS_NO_PORT: a port is taken for each pair of addresses, not for each address."""
_FIRST: Final = {
    "silent": b"",
    "half a head": b"GET /status HTTP/1.1\r\nHost: local",
    "http2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0",
    "kept alive": b"GET /status HTTP/1.1\r\nHost: localhost\r\n\r\n",
}
_BODY_BYTES: Final = 8 * 1_048_576
_STATUS: Final = b"GET /status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


def newcomer(port: int, address: str, request: bytes = _STATUS) -> float:
    """How long somebody waits for an answer who comes from `address`, in seconds; infinite for none."""
    began = time.monotonic()
    try:
        with socket.create_connection(("127.0.0.1", port), _PATIENCE_SECONDS, (address, 0)) as client:
            client.sendall(request)
            answer = client.recv(65_536)
    except OSError:
        return float("inf")
    return time.monotonic() - began if b" 200 " in answer[:15] or b" 201 " in answer[:15] else float("inf")


class Holder:
    """Opens connections and keeps them, each with the same first bytes sent."""

    def __init__(self, port: int, first: bytes) -> None:
        self._port = port
        self._first = first
        self.held: list[socket.socket] = []
        self.opened = 0

    def open(self, count: int) -> None:
        made = [self._begin() for _ in range(count)]
        for one in made:
            with contextlib.suppress(OSError):
                one.send(self._first)
        self.held += made
        self.opened += count

    def _begin(self) -> socket.socket:
        one = socket.socket()
        one.setblocking(False)
        one.setsockopt(socket.SOL_IP, _BIND_NO_PORT, 1)
        one.bind((_HOLDER, 0))
        if (code := one.connect_ex(("127.0.0.1", self._port))) not in (0, errno.EINPROGRESS):
            sys.exit(f"bench: cannot connect: {errno.errorcode[code]}")
        return one

    def reopen(self) -> None:
        """Opens anew what was closed."""
        closed = [one for one in self.held if _is_closed(one)]
        for one in closed:
            one.close()
        gone = set(map(id, closed))
        self.held = [one for one in self.held if id(one) not in gone]
        self.open(len(closed))

    def close(self) -> None:
        for one in self.held:
            one.close()


def _is_closed(one: socket.socket) -> bool:
    try:
        while one.recv(65_536):
            pass
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


def hold(server: Server, kind: str, count: int, seconds: float) -> dict[str, Any]:
    """The longest waits of newcomers while `count` connections are opened, and for `seconds` after that."""
    say(f"{count} connections, {kind}")
    before = _memory(server)
    holder = Holder(server.port, _FIRST[kind])
    waits: dict[str, list[float]] = {_HOLDER: [], _OTHER: []}
    try:
        for _ in range(16):
            holder.open(count // 16)
            _ask(server, waits)
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            holder.reopen()
            _ask(server, waits)
        memory = _memory(server)
    finally:
        holder.close()
    return {
        "opened": holder.opened,
        "longest_wait_ms": round(max(waits[_OTHER]) * 1_000, 1),
        "longest_wait_same_address_ms": round(max(waits[_HOLDER]) * 1_000, 1),
        "newcomers": sum(map(len, waits.values())),
        "memory_bytes": memory - before,
    }


def _ask(server: Server, waits: dict[str, list[float]]) -> None:
    for address, found in waits.items():
        found.append(newcomer(server.port, address))


def _memory(server: Server) -> int:
    return server.usage()["api"].rss_bytes


def _registration(path: str, account: Account, length: int) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {account.key}\r\n"
    return f"{head}Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n".encode()


def bodies(server: Server, hog: Account, other: Account, count: int) -> dict[str, Any]:
    """What `count` bodies cost that lack their last byte, and how long another owner waits meanwhile."""
    say(f"{count} bodies without an end")
    task = json.dumps({"httpRequest": {"url": "http://127.0.0.1:9/", "method": "GET"}}).encode()
    one = _registration("/v1/queues/register", other, len(task)) + task
    batch = json.dumps({"tasks": [json.loads(task)]}).encode().ljust(1_048_576)
    large = _registration("/v1/queues/batch", other, len(batch)) + batch
    newcomer(server.port, _OTHER, one)
    before, most, waits, large_waits, begun = _memory(server), 0, [0.0], [0.0], []
    part = _registration("/v1/queues/batch", hog, _BODY_BYTES) + b" " * (_BODY_BYTES - 1)
    try:
        for number in range(count):
            client = socket.create_connection(("127.0.0.1", server.port), _PATIENCE_SECONDS)
            begun.append(client)
            with contextlib.suppress(OSError):
                client.sendall(part)
            if number % 20 == 0:
                most = max(most, _memory(server))
                waits.append(newcomer(server.port, _OTHER, one))
                large_waits.append(newcomer(server.port, _OTHER, large))
    finally:
        for client in begun:
            client.close()
    return {
        "begun": count,
        "memory_bytes": most - before,
        "longest_wait_ms": round(max(waits) * 1_000, 1),
        "longest_wait_large_ms": round(max(large_waits) * 1_000, 1),
    }


def measure(folder: Path, count: int, seconds: float, unfinished: int) -> tuple[dict[str, Any], list[str]]:
    server = Server(folder / "data", role="api")
    hog, other = server.account("bench-hog"), server.account("bench-other")
    with server:
        held = {kind: hold(server, kind, count, seconds) for kind in _FIRST}
        unended = bodies(server, hog, other, unfinished)
    waits: Callable[[str], float] = lambda name: max(found[name] for found in held.values())  # noqa: E731
    results = {
        "held": held,
        "bodies": unended,
        "longest_wait_ms": waits("longest_wait_ms"),
        "longest_wait_same_address_ms": waits("longest_wait_same_address_ms"),
    }
    faults = [f"a newcomer was not served: {kind}" for kind, found in held.items() if float("inf") in found.values()]
    return results, faults


def main() -> int:
    parser = report.parser(__doc__)
    parser.add_argument("--connections", type=int, help="how many are held (default: 16384; quick: 2048)")
    parser.add_argument("--seconds", type=float, help="how long each kind is held (default: 10; quick: 2)")
    parser.add_argument("--bodies", type=int, help="how many bodies are begun (default: 1000; quick: 50)")
    arguments = parser.parse_args()
    count = arguments.connections or (2_048 if arguments.quick else 16_384)
    seconds = arguments.seconds or (2.0 if arguments.quick else 10.0)
    unfinished = arguments.bodies or (50 if arguments.quick else 1_000)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard < count + 256:
        sys.exit(f"bench: {count} connections need `ulimit -n {count + 256}`; the limit here is {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        results, faults = measure(Path(folder), count, seconds, unfinished)
    parameters = {"connections": count, "seconds": seconds, "bodies": unfinished}
    return report.finish(Report("connections", arguments.quick, parameters, results, faults))


if __name__ == "__main__":
    sys.exit(main())
