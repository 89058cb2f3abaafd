"""What goes wrong in production, done to a real server: each is told in the log, and by health."""

import contextlib
import os
import re
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.postgres.databases import Databases

from .conftest import DEADLINE_SECONDS, Cli, Serve, until

pytestmark = pytest.mark.process


def health(url: str) -> dict[str, object]:
    answer: dict[str, object] = httpx.get(f"{url}/monitor/health").json()
    return answer


def test_a_key_file_that_vanishes_is_told_while_the_server_runs(serve: Serve, data_dir: Path) -> None:
    server = serve()
    key = data_dir / "cipher.key"
    key.rename(data_dir / "elsewhere")
    until(lambda: '"event":"key_file_trouble"' in server.log(), "it is told")
    assert f"the cipher key {key} cannot be read: No such file or directory" in server.log()
    assert httpx.get(f"{server.url}/readyz").text == "OK", "the server goes on"
    (data_dir / "elsewhere").rename(key)
    until(lambda: '"event":"key_file_back"' in server.log(), "it is back")
    assert server.stop() == 0


def test_an_engine_that_hangs_is_told_with_its_process(serve: Serve, cli: Cli) -> None:
    server = serve()
    (pid,) = server.pids("engine")
    until(lambda: health(server.url)["status"] == "ok", "the engine has told of itself")
    os.kill(pid, signal.SIGSTOP)
    until(lambda: '"event":"engine_silent"' in server.log(), "it is told")
    (told,) = [line for line in server.log().splitlines() if "engine_silent" in line]
    assert f'"host":"{socket.gethostname()}","pid":{pid},' in told
    assert '"level":"warning"' in told
    (node,) = [found["number"] for found in cli("nodes", "--json").json() if found["pid"] == pid]
    assert f'"node":{node},' in told
    assert health(server.url)["status"] == "unavailable"
    os.kill(pid, signal.SIGKILL)
    until(lambda: health(server.url)["status"] == "ok", "another engine took its place")
    assert server.stop() == 0


class Gate:
    """A port that leads to the database, once it is opened; until then nobody listens there."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._to = (parts.hostname or "", parts.port or 5432)
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        port = self._listener.getsockname()[1]
        self.url = url.replace(f"{parts.hostname}:{parts.port}", f"127.0.0.1:{port}")
        self._ends: list[socket.socket] = []
        self._threads: list[threading.Thread] = []

    def open(self) -> None:
        self._listener.listen()
        self._run(self._accept)

    def _run(self, work: Callable[..., None], *arguments: socket.socket) -> None:
        self._threads.append(threading.Thread(target=work, args=arguments))
        self._threads[-1].start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(self._to)
            self._ends += [near, far]
            self._run(self._carry, near, far)
            self._run(self._carry, far, near)

    def _carry(self, one: socket.socket, other: socket.socket) -> None:
        try:
            while data := one.recv(65_536):
                other.sendall(data)
            other.shutdown(socket.SHUT_WR)
        except OSError:
            return

    def close(self) -> None:
        for end in (self._listener, *self._ends):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        for thread in self._threads:
            thread.join()


@pytest.fixture
def gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    lent = Databases.lend(tmp_path)
    assert lent is not None
    gate = Gate(lent)
    monkeypatch.setenv("DATABASE_URL", gate.url)
    monkeypatch.setenv("CIPHER_KEY", "c" * 64)
    yield gate
    gate.close()


def test_a_database_that_starts_late_is_waited_for(gate: Gate, tmp_path: Path) -> None:
    errors = tmp_path / "errors"
    with errors.open("wb") as err:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "tasks_server", "serve", "--port", "0"], stdout=subprocess.PIPE, stderr=err
        )
    assert process.stdout is not None
    try:
        said = r'"doing":"reach the database","code":"store_unavailable","message":".*; waiting for it, for \d+ s'
        until(lambda: re.search(said, errors.read_text()) is not None, "the server says that it waits")
        assert process.poll() is None
        gate.open()
        ready, _, _ = select.select([process.stdout], [], [], DEADLINE_SECONDS)
        assert ready
        assert b"is ready" in os.read(process.stdout.fileno(), 65_536)
        assert '"event":"store_back"' in errors.read_text()
        process.terminate()
        assert process.wait(DEADLINE_SECONDS) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_one_who_waits_for_a_database_can_be_stopped(gate: Gate, tmp_path: Path) -> None:
    errors = tmp_path / "errors"
    with errors.open("wb") as err:
        process = subprocess.Popen([sys.executable, "-P", "-m", "tasks_server", "serve", "--port", "0"], stderr=err)
    try:
        until(lambda: "waiting for it" in errors.read_text(), "the server says that it waits")
        process.terminate()
        assert process.wait(DEADLINE_SECONDS) == 0
    finally:
        process.kill()
        process.wait()
