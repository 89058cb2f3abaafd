"""What goes wrong in production, done to a real server: each is told in the log, and by health."""

import contextlib
import os
import re
import resource
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
import psycopg
import pytest
from psycopg import sql

from tests.postgres.databases import Databases

from .conftest import DEADLINE_SECONDS, Cli, Serve, Server, until

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
    assert cli("owner", "create", "small-shop").code == 0
    with socket.create_server(("127.0.0.1", 0)) as target:  # it takes calls and never answers
        url = f"http://127.0.0.1:{target.getsockname()[1]}/"
        task = cli("task", "submit", url, "-o", "small-shop", "--json").json()["id"]
        until(lambda: cli("task", "show", task, "--json").json()["phase"] == "running", "the task is sent")
        until(lambda: health(server.url)["status"] == "ok", "the engine has told of itself")
        hang(cli, server, pid, task)


def hang(cli: Cli, server: Server, pid: int, task: str) -> None:
    os.kill(pid, signal.SIGSTOP)
    until(lambda: '"event":"engine_silent"' in server.log(), "it is told")
    (told,) = [line for line in server.log().splitlines() if "engine_silent" in line]
    assert f'"host":"{socket.gethostname()}","pid":{pid},' in told
    assert '"level":"warning"' in told
    (node,) = [found["number"] for found in cli("nodes", "--json").json() if found["pid"] == pid]
    assert f'"node":{node},' in told
    assert health(server.url)["status"] == "unavailable"
    assert f"engine {node} (process {pid} on " in (explained := cli("task", "explain", task).out)
    assert "has not been heard of since" in explained
    os.kill(pid, signal.SIGKILL)
    until(lambda: '"event":"tasks_rescued"' in server.log(), "its task runs again")
    (rescued,) = [line for line in server.log().splitlines() if "tasks_rescued" in line]
    assert f'"count":1,"node":{node},"host":"{socket.gethostname()}","pid":{pid}' in rescued
    until(lambda: health(server.url)["status"] == "ok", "another engine took its place")
    assert server.stop() == 0


def test_a_disk_that_takes_nothing_more(serve: Serve, cli: Cli) -> None:
    """A limit of the size of files, set from outside, does to a running process what a full disk does."""
    server = serve()
    key = cli("owner", "create", "small-shop", "--json").json()["key"]
    asked = {"httpRequest": {"url": "https://shop.test/", "method": "GET"}, "config": {"executionDelay": "1h"}}

    def submit() -> int:
        headers = {"Authorization": f"Bearer {key}"}
        return httpx.post(f"{server.url}/v1/queues/register", json=asked, headers=headers).status_code

    (pid,) = server.pids("api")
    until(lambda: httpx.get(f"{server.url}/readyz").text == "OK", "it is ready")
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    assert submit() == 503
    assert health(server.url)["status"] in ("degraded", "unavailable"), "at once, by what was refused"
    until(lambda: httpx.get(f"{server.url}/readyz").status_code == 503, "it is not ready")
    until(lambda: health(server.url)["status"] == "unavailable", "the write of health itself is refused")
    assert httpx.get(f"{server.url}/livez").text == "OK"
    resource.prlimit(pid, resource.RLIMIT_FSIZE, before)
    until(lambda: health(server.url)["status"] == "ok", "it is well again, though nobody tries anew what had failed")
    assert httpx.get(f"{server.url}/readyz").text == "OK"
    until(lambda: '"event":"store_back"' in server.log(), "that is told")
    assert submit() == 201


def test_a_database_that_is_frozen(serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lent = Databases.lend(tmp_path)
    assert lent is not None
    monkeypatch.setenv("DATABASE_URL", lent)
    monkeypatch.setenv("CIPHER_KEY", "c" * 64)
    server = serve()
    until(lambda: httpx.get(f"{server.url}/readyz").text == "OK", "it is ready")
    with psycopg.connect(lent, autocommit=True) as connection:
        name = sql.Identifier(connection.info.dbname)
        connection.execute(sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = on").format(name))
        ours = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'tasks-server'"
        connection.execute(f"{ours} AND datname = current_database()")
        until(lambda: httpx.get(f"{server.url}/readyz").text == "store_read_only", "it is not ready")
        assert httpx.get(f"{server.url}/livez").text == "OK"
        assert health(server.url)["reasons"] == ["the store takes no writes: store_read_only"]
        connection.execute("SET default_transaction_read_only = off")
        connection.execute(sql.SQL("ALTER DATABASE {} RESET default_transaction_read_only").format(name))
        connection.execute(f"{ours} AND datname = current_database()")
    until(lambda: health(server.url)["status"] == "ok", "it is well again")
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
