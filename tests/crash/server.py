"""The product as its users start it: `tasks-server serve` in a folder of its own, killed and started again."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """One installation: a data folder and a port. Starting waits until `/status` answers, or an engine is ready."""

    def __init__(self, folder: Path, role: str = "all", **settings: str) -> None:
        self.folder = folder
        self.role = role
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        self._log = folder / "server.log"

    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("TASKS_SERVER_")}
        return kept | {"TASKS_SERVER_DATA_DIR": str(self.folder / "data")} | self._settings

    def start(self) -> float:
        """Starts it; how many seconds passed until it answered."""
        self.launch()
        return self.wait_until_ready()

    def launch(self) -> None:
        """Starts it and waits for nothing."""
        self._log.touch()
        self._told = self._log.stat().st_size
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tasks_server", "serve", "--role", self.role, "--port", str(self.port)],
                env=self.environment(), stdout=log, stderr=log,
            )  # fmt: skip

    def wait_until_ready(self) -> float:
        """How many seconds passed."""
        assert self._process is not None
        began = time.monotonic()
        while not (self.is_ready() if self.role == "engine" else self.answers()):
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < began + 30, self._log.read_text()
            time.sleep(0.005)
        return time.monotonic() - began

    def is_ready(self) -> bool:
        """Whether it has said so since it was started."""
        with self._log.open("rb") as log:
            log.seek(self._told)
            return b"is ready." in log.read()

    def answers(self) -> bool:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.url}/status", timeout=5) as answer:
            return bool(answer.status == 200)
        return False

    def processes(self) -> list[int]:
        """The supervisor and its children."""
        assert self._process is not None
        found = [self._process.pid]
        with contextlib.suppress(FileNotFoundError):
            tasks = Path(f"/proc/{self._process.pid}/task")
            for thread in tasks.iterdir():
                found += [int(pid) for pid in (thread / "children").read_text().split()]
        return found

    def kill(self, *pids: int) -> None:
        """Kills those processes, or all, without warning."""
        for pid in pids or self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if not pids and self._process is not None:
            self._process.wait(10)

    def stop(self) -> int:
        """Asks it to stop; its exit status."""
        if self._process is None:
            return 0
        self._process.terminate()
        return self._process.wait(30)

    def command(self, *arguments: str) -> str:
        """What a command of the product prints; it works on the same data folder."""
        done = subprocess.run(
            [sys.executable, "-m", "tasks_server", *arguments], env=self.environment(), capture_output=True,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode()

    def ask(self, method: str, path: str, body: Any = None, key: str = "") -> tuple[int, Any]:
        """Status and JSON of one request."""
        request = urllib.request.Request(f"{self.url}{path}", method=method)
        if key:
            request.add_header("Authorization", f"Bearer {key}")
        data = None
        if body is not None:
            data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, data, timeout=10) as answer:
                return answer.status, json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as refusal:
            with refusal:
                return refusal.code, json.loads(refusal.read() or b"null")
