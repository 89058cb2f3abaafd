"""The product as a user runs it: `tasks-server serve` on a data folder; found, measured, stopped by its process id."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal

import msgspec

from bench import processes
from bench.databases import Database, Sqlite
from bench.processes import Usage
from bench.stored import Stored, stored_in

Role = Literal["all", "api", "engine"]
OWNER: Final = "bench-owner"
UNLIMITED: Final = 1_000_000_000
_READY_SECONDS_MAX: Final = 60.0
_STOP_SECONDS_MAX: Final = 30.0
_COMMAND: Final = [sys.executable, "-P", "-m", "tasks_server"]


class Account(msgspec.Struct, frozen=True):
    """An owner with its key."""

    id: str
    name: str
    key: str


def free_port() -> int:
    """A port of loopback that nobody has right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def environment(settings: Mapping[str, str] | None = None) -> dict[str, str]:
    """Ours without anything that the product would take for a setting, and with `settings`."""
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "TMPDIR")}
    return kept | dict(settings or {})


class Server:
    """A server on `folder`. As a context: started on the way in, stopped in order on the way out."""

    def __init__(
        self,
        folder: Path,
        *,
        role: Role = "all",
        settings: Mapping[str, str] | None = None,
        database: Database | None = None,
    ) -> None:
        self.folder = folder
        self.database = database or Sqlite()
        self.file = folder / "tasks.sqlite"
        self.port = 0
        self._role = role
        self._settings = {**self.database.settings, **(settings or {})}
        self._process: subprocess.Popen[bytes] | None = None
        self._log = folder.with_name(folder.name + ".log")

    def __enter__(self) -> "Server":
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    # Owners, by the command line: it works on the database, whether a server runs or not.

    def account(self, name: str = OWNER, limit: int = UNLIMITED) -> Account:
        """A new owner who may have `limit` tasks in queue."""
        made = self._cli("owner", "create", name, "--limit", str(limit), "--json")
        return Account(made["id"], made["name"], made["key"])

    def _cli(self, *arguments: str) -> dict[str, Any]:
        command = [*_COMMAND, *arguments, "--data-dir", str(self.folder)]
        done = subprocess.run(command, capture_output=True, env=environment(self._settings), check=False, timeout=60)
        if done.returncode:
            sys.exit(f"bench: {' '.join(command)} failed: {done.stderr.decode()}")
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    # Life

    def launch(self) -> None:
        """Starts the processes without waiting for anything."""
        self.port = free_port()
        command = [*_COMMAND, "serve", "--data-dir", str(self.folder), "--port", str(self.port), "--role", self._role]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "--log-level", "warning", "--log-format", "json"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment(self._settings),
            )

    def start(self) -> None:
        """Starts it and waits until every process is ready and, with an API, `/status` answers."""
        self.launch()
        began_at = self._log.stat().st_size
        deadline = time.monotonic() + _READY_SECONDS_MAX
        while not self._ready(began_at):
            if self._process is None or self._process.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"bench: the server did not start:\n{self.said()}")
            time.sleep(0.01)

    def _ready(self, began_at: int) -> bool:
        with self._log.open("rb") as log:
            log.seek(began_at)
            if b"is ready." not in log.read():
                return False
        if self._role == "engine":
            return True
        try:
            with urllib.request.urlopen(self.url + "/status", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def stop(self) -> None:
        """Asks it to stop, waits until it has; what hangs is killed and told."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            for pid in processes.tree(process.pid):
                os.kill(pid, signal.SIGKILL)
            process.wait()
            print("bench: the server did not stop in time and was killed", file=sys.stderr)

    def kill(self) -> None:
        """Kills every process of it at once (kill -9)."""
        process, self._process = self._process, None
        assert process is not None
        for pid in processes.tree(process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()

    def said(self) -> str:
        """What it wrote to its outputs so far."""
        return self._log.read_text(errors="replace")

    def complaints(self) -> list[str]:
        """The warnings and errors it logged."""
        return [line for line in self.said().splitlines() if line.startswith("{")]

    # Cost

    def usage(self) -> dict[str, Usage]:
        """By kind of process: supervisor, api, engine; those of the database."""
        found = self.database.usage()
        for pid in processes.tree(self.pid):
            found.setdefault(_kind(processes.command(pid)), Usage()).add(processes.usage(pid))
        return found

    # What it stored

    @property
    def stored(self) -> Stored:
        """What is in its database, read after or beside the run."""
        return stored_in(self.database, self.file)

    def wait_until_final(self, seconds_max: float) -> float | None:
        """When (time.time()) no task was left in queue; None when some were after `seconds_max`."""
        with self.stored as stored:
            return stored.wait_until_final(seconds_max)

    def states(self) -> dict[str, int]:
        """How many tasks are in which state, counted."""
        with self.stored as stored:
            return stored.states()

    def task_ids(self) -> set[str]:
        """The ids of all tasks."""
        with self.stored as stored:
            return stored.task_ids()


def _kind(command: list[str]) -> str:
    for module, name in (
        ("tasks_server.supervisor", "supervisor"),
        ("tasks_server.runner", "runner"),
        ("tasks_server.child", ""),
    ):
        if module in command:
            return name or command[command.index(module) + 1]
    return "other"


def cost(before: Mapping[str, Usage], after: Mapping[str, Usage], tasks: int) -> dict[str, float]:
    """CPU microseconds a task, by kind of process."""
    spent = {kind: used.cpu_seconds - before.get(kind, Usage()).cpu_seconds for kind, used in after.items()}
    return {kind: round(seconds / tasks * 1e6, 1) for kind, seconds in spent.items()} if tasks else {}
