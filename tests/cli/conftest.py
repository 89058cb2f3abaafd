"""Runs the command line: in this process for most, as a real server where processes are what is tested."""

import contextlib
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tasks_server.cli import keys
from tasks_server.cli.main import main
from tasks_server.settings.table import ENV_PREFIX, PLANNED, SHORT_NAMES

DEADLINE_SECONDS = 60.0


@pytest.fixture(autouse=True)
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder of the test's own, in an environment that sets nothing else."""
    known = {name.upper() for name in SHORT_NAMES} | set(PLANNED)
    for name in os.environ:
        if name.startswith(ENV_PREFIX) or name in known:
            monkeypatch.delenv(name)
    folder = tmp_path / "data"
    monkeypatch.setenv("TASKS_SERVER_DATA_DIR", str(folder))
    return folder


@dataclass
class Result:
    """What a command printed, and how it ended."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        assert self.out, self.err
        return msgspec.json.decode(self.out)


@pytest.fixture
def no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody else has the database open: a change of keys need not wait for who may seal with the old one."""
    monkeypatch.setattr(keys, "_ROUND_SECONDS", 0.0)


Cli = Callable[..., Result]


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Runs `tasks-server` with these arguments, in this process."""
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: str) -> Result:
        monkeypatch.setattr(sys, "argv", ["tasks-server", *arguments])
        before = os.umask(0o077)
        code = 0
        try:
            main()
        except SystemExit as ended:
            code = int(ended.code or 0)
        finally:
            os.umask(before)
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return run


def until(fact: Callable[[], bool], what: str) -> None:
    """Waits for a fact that another process brings about."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not fact():
        assert time.monotonic() < deadline, f"in vain waited for: {what}"
        time.sleep(0.01)


@dataclass
class Server:
    """A running `tasks-server serve`."""

    process: "subprocess.Popen[bytes]"
    banner: str
    errors: Path
    url: str = ""
    children: list[int] = field(default_factory=list)

    def log(self) -> str:
        return self.errors.read_text()

    def pids(self, role: str) -> list[int]:
        """Children of this server that have this role now."""
        folder = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        with contextlib.suppress(OSError):
            return [int(pid) for pid in folder.read_text().split() if f"\0{role}\0" in _command(int(pid))]
        return []

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(DEADLINE_SECONDS)


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def lives(pid: int) -> bool:
    """Whether the process runs; one that only waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


Serve = Callable[..., Server]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Starts servers with these flags on free ports, waits until they are ready, and ends what is left of them."""
    servers: list[Server] = []

    def start(*flags: str, command: Sequence[str] = ("serve", "--port", "0"), folder: Path | None = None) -> Server:
        errors = tmp_path / f"errors-{len(servers)}"
        words = [sys.executable, "-P", "-m", "tasks_server", *command, *flags]
        with errors.open("wb") as err:
            process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=err, cwd=folder)
        server = Server(process, "", errors)
        servers.append(server)
        server.banner = _read_banner(process, errors)
        found = re.search(r"http://\S+:\d+", server.banner)
        server.url = found[0] if found else ""
        return server

    yield start
    for server in servers:
        if server.process.poll() is None:
            server.process.kill()
        server.process.wait(DEADLINE_SECONDS)
        assert server.process.stdout is not None
        server.process.stdout.close()


def _read_banner(process: "subprocess.Popen[bytes]", errors: Path) -> str:
    assert process.stdout is not None
    deadline = time.monotonic() + DEADLINE_SECONDS
    text = b""
    while b"  Database  " not in text:  # written in one piece
        ready, _, _ = select.select([process.stdout], [], [], max(0, deadline - time.monotonic()))
        assert ready, f"the server was not ready in time: {errors.read_text()}"
        part = os.read(process.stdout.fileno(), 65_536)
        assert part, f"the server ended: {errors.read_text()}"
        text += part
    return text.decode()
