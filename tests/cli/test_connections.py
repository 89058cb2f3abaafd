"""Connections to a real server that hold a place for nothing: they are closed, and newcomers are served."""

import contextlib
import json
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.cli.conftest import DEADLINE_SECONDS, Serve, Server, until

pytestmark = pytest.mark.process

STATUS = b"GET /status HTTP/1.1\r\nHost: localhost\r\n\r\n"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"
ESTABLISHED = 1


class Clients:
    """Raw connections, closed in the end."""

    def __init__(self) -> None:
        self.ends: list[socket.socket] = []

    def connect(self, server: Server, sent: bytes = b"", address: str = "127.0.0.1") -> socket.socket:
        target = ("127.0.0.1", httpx.URL(server.url).port or 0)
        end = socket.create_connection(target, DEADLINE_SECONDS, (address, 0))
        self.ends.append(end)
        end.sendall(sent)
        return end


@pytest.fixture
def clients() -> Iterator[Clients]:
    clients = Clients()
    yield clients
    for end in clients.ends:
        end.close()


@pytest.fixture
def impatient(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> Server:
    monkeypatch.setenv("TASKS_SERVER_CLIENT_TIMEOUT_SECONDS", "1")
    return serve("--role", "api")


def key_of(server: Server) -> str:
    answer = httpx.post(f"{server.url}/v1/owners/register", json={"name": "small-shop"})
    return str(answer.json()["key"])


def rest(end: socket.socket) -> bytes:
    """All that comes until the other end closes."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while part := end.recv(65_536):
            received += part
    return received


def is_open(end: socket.socket) -> bool:
    return end.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 8)[0] == ESTABLISHED


def test_a_connection_is_not_held_for_ever(impatient: Server, clients: Clients) -> None:
    silent = [b"", b"G", b"PRI * HT", b"GET /status HTTP/1.1\r\nHost: local"]
    ends = [clients.connect(impatient, first) for first in silent]
    over_http2 = clients.connect(impatient, PREFACE)
    kept = clients.connect(impatient, STATUS)
    assert [rest(end)[:4] for end in ends] in ([b""] * 4, [b"", b"", b"", b"HTTP"])
    assert rest(over_http2).count(b"\0\0\0\4\1") == 1, "its settings were acknowledged before"
    assert rest(kept).startswith(b"HTTP/1.1 200 OK")


def test_a_body_is_not_waited_for_for_ever(impatient: Server, clients: Clients) -> None:
    head = f"POST /v1/queues/register HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key_of(impatient)}\r\n"
    head += "Content-Type: application/json\r\n"
    ends = [
        clients.connect(impatient, f"{head}{framing}".encode())
        for framing in (
            "Content-Length: 100\r\n\r\n",
            'Content-Length: 100\r\n\r\n{"httpRequest"',
            "Transfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n",
        )
    ]
    for end in ends:
        answer = rest(end)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b'"code":"body_timeout"' in answer
    assert "unexpected" not in impatient.log()
    assert httpx.get(f"{impatient.url}/status").status_code == 200


def test_an_answer_is_not_held_for_who_does_not_take_it(impatient: Server, clients: Clients) -> None:
    end = clients.connect(impatient)
    end.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            end.send(b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * 100)
    until(lambda: not is_open(end), "the server closes the connection")


def test_who_holds_all_places_makes_room(serve: Serve, clients: Clients, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAX_CONNECTIONS", "32")
    server = serve("--role", "api")
    for first in (b"", b"G", PREFACE, STATUS):
        ends = [clients.connect(server, first, "127.0.0.5") for _ in range(96)]
        for address in ("127.0.0.1", "127.0.0.5", "127.0.0.6"):
            assert rest(clients.connect(server, STATUS[:-2] + b"Connection: close\r\n\r\n", address))[9:12] == b"200"
        until(lambda ends=ends: sum(map(is_open, ends)) <= 16, "no more than half of the places are of one address")
    until(lambda: "connections_dropped" in server.log(), "the operator is told")
    told = next(line for line in server.log().splitlines() if "connections_dropped" in line)
    assert (json.loads(told)["places"], json.loads(told)["most_of"]) == (32, "127.0.0.5")
    assert "unexpected" not in server.log()


def test_bodies_do_not_fill_the_memory(serve: Serve, clients: Clients, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixty-four unfinished bodies of 8 MiB, of which 64 MiB are kept."""
    server = serve("--role", "api")
    (api,) = server.pids("api")
    key = key_of(server)
    head = f"POST /v1/queues/batch HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n"
    head += "Content-Type: application/json\r\nContent-Length: 8388608\r\n\r\n"
    before = memory(api)
    answers = []
    for _ in range(64):
        end = clients.connect(server, head.encode())
        with contextlib.suppress(OSError):
            end.sendall(b" " * (8 * 1_048_576 - 1))
        end.setblocking(False)
        with contextlib.suppress(OSError):
            answers.append(end.recv(12))
    assert memory(api) - before < 128 * 1_048_576
    assert set(answers) <= {b"HTTP/1.1 503", b""}
    body = {"httpRequest": {"url": "http://127.0.0.1:9/", "method": "GET"}}
    answer = httpx.post(f"{server.url}/v1/queues/register", json=body, headers={"Authorization": f"Bearer {key}"})
    assert answer.status_code == 201


def memory(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))) * 1_024


def test_too_few_files_are_told(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAX_CONNECTIONS", "1000")
    limited = "import resource, os, sys; resource.setrlimit(resource.RLIMIT_NOFILE, (256, 1024)); "
    limited += "os.execv(sys.argv[1], sys.argv[1:])"
    command = [sys.executable, "-c", limited, sys.executable, "-m", "tasks_server", "serve", "--port", "0"]
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[1] >= 1_024
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    with process.stdout, process.stderr:
        while b"is ready" not in process.stdout.readline():
            pass
        process.terminate()
        told = process.stderr.read()
    assert process.wait(DEADLINE_SECONDS) == 0
    (line,) = [line for line in told.splitlines() if b"files_short" in line]
    short = json.loads(line)
    assert (short["files"], short["connections_wanted"], short["connections"]) == (1_024, 1_000, 614)
    assert "ulimit -n" in short["advice"]
