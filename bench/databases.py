"""Which database the product works on: SQLite in its data folder, or one on PostgreSQL. That PostgreSQL is started
here, as an operator would run it on this machine (fsync on), or is the server that BENCH_DATABASE_URL names.
"""

import argparse
import contextlib
import os
import secrets
import shutil
import signal
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Literal, Protocol
from urllib.parse import urlsplit

import apsw
import psycopg
from tests.postgres import server

from bench import processes
from bench.processes import Usage
from tasks_server.store.postgres import schema

Kind = Literal["sqlite", "postgres"]
OTHER_SERVER: Final = "BENCH_DATABASE_URL"
"""Names the variable with the URL of a server to use. Its user must be allowed to make databases."""
_SETTINGS: Final[dict[str, str]] = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "shared_buffers": "256MB",
    "max_wal_size": "4GB",
    "max_connections": "200",
    "autovacuum_naptime": "10s",
    "log_min_messages": "warning",
}
_TOLD: Final = (*_SETTINGS, "wal_level", "effective_cache_size", "autovacuum", "jit")


class Database(Protocol):
    """One database that is there when a server is started on it."""

    kind: Kind

    @property
    def settings(self) -> Mapping[str, str]:
        """What a server has to be told."""
        ...

    @property
    def conditions(self) -> dict[str, Any]:
        """What a reader of the results has to know."""
        ...

    def usage(self) -> dict[str, Usage]:
        """What processes of the database cost, when they are ours."""
        ...


class Sqlite:
    """A file in the data folder of the server."""

    kind: Kind = "sqlite"
    settings: Final[Mapping[str, str]] = {}

    @property
    def conditions(self) -> dict[str, Any]:
        return {"sqlite": apsw.sqlite_lib_version()}

    def usage(self) -> dict[str, Usage]:
        return {}


class Postgres:
    """One database on a server, made with our tables; more of them by `another`."""

    kind: Kind = "postgres"

    def __init__(self, cluster: "Cluster") -> None:
        self._cluster = cluster
        self.url = cluster.create()
        self.cipher_key = "c" * 64
        with self.connected() as connection:
            schema.upgrade(connection)

    @property
    def settings(self) -> Mapping[str, str]:
        return {"DATABASE_URL": self.url, "CIPHER_KEY": self.cipher_key}

    @property
    def conditions(self) -> dict[str, Any]:
        return self._cluster.conditions

    def usage(self) -> dict[str, Usage]:
        return self._cluster.usage()

    def another(self) -> "Postgres":
        """A new one on the same server."""
        return Postgres(self._cluster)

    @contextlib.contextmanager
    def connected(self) -> Iterator[psycopg.Connection[Any]]:
        """A connection of its own, in autocommit mode."""
        with psycopg.connect(self.url, autocommit=True, application_name="bench") as connection:
            yield connection

    def drop(self) -> None:
        """Removes it, to have its place on disk."""
        self._cluster.drop(self.url)

    def counters(self) -> dict[str, int]:
        """How far its server is, with all its databases: transactions that wrote, bytes of its log."""
        with self.connected() as connection:
            row = connection.execute(
                "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint, "
                "pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint"
            ).fetchone()
        assert row is not None
        return {"writes": row[0], "wal_bytes": row[1]}


class Cluster:
    """A server of PostgreSQL: our own in `folder`, or another."""

    def __init__(self, folder: Path) -> None:
        self._other = os.environ.get(OTHER_SERVER)
        self._own = None if self._other else server.Postgres(folder, _SETTINGS)
        self._made: list[str] = []

    def __enter__(self) -> "Cluster":
        if self._own is not None:
            self._own.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._own is not None:
            self._own.stop(signal.SIGQUIT)  # nothing of it is kept
            return
        for url in list(self._made):
            self.drop(url)

    @property
    def _url(self) -> str:
        if self._own is not None:
            return self._own.url
        assert self._other is not None
        return self._other

    def create(self) -> str:
        """The URL of a new, empty database."""
        name = f"tasks_server_bench_{secrets.token_hex(4)}"
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE template0".encode())
        made = urlsplit(self._url)._replace(path=f"/{name}").geturl()
        self._made.append(made)
        return made

    def drop(self, url: str) -> None:
        self._made.remove(url)
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {urlsplit(url).path[1:]} WITH (FORCE)".encode())

    @property
    def conditions(self) -> dict[str, Any]:
        with psycopg.connect(self._url) as connection:
            told = {name: connection.execute(f"SHOW {name}".encode()).fetchone() for name in _TOLD}
            version = connection.info.parameter_status("server_version")
        settings = {name: row[0] for name, row in told.items() if row}
        return {"postgresql": version, "own": self._own is not None, "settings": settings}

    def usage(self) -> dict[str, Usage]:
        """Sessions as `postgres`, what the server does beside them as `postgres_background`. Of sessions and workers
        that have ended, the kernel adds the time to their parent's.
        """
        if self._own is None or self._own.pid is None:
            return {}
        found = {"postgres": Usage(), "postgres_background": Usage()}
        found["postgres_background"].cpu_seconds += processes.reaped_cpu_seconds(self._own.pid)
        for pid in processes.tree(self._own.pid):
            title = " ".join(processes.command(pid))
            session = "tasks_server_bench_" in title and "autovacuum" not in title
            found["postgres" if session else "postgres_background"].add(processes.usage(pid))
        return found


def choose(parser: argparse.ArgumentParser) -> None:
    """Adds the argument that says which."""
    parser.add_argument("--store", choices=["sqlite", "postgres"], default="sqlite", help="which database")


@contextlib.contextmanager
def database(kind: Kind) -> Iterator[Database]:
    """A database of that kind, empty; gone afterwards."""
    if kind == "sqlite":
        yield Sqlite()
        return
    with postgres() as made:
        yield made


@contextlib.contextmanager
def postgres() -> Iterator[Postgres]:
    """An empty database on PostgreSQL; gone afterwards, its server, too, when that was our own."""
    folder = Path(tempfile.mkdtemp(prefix="bench-postgres-"))
    folder.chmod(0o755)  # the one as whom it serves is not root
    try:
        with Cluster(folder) as cluster:
            yield Postgres(cluster)
    finally:
        shutil.rmtree(folder)


def named(benchmark: str, kind: Kind) -> str:
    """The name of a benchmark's results on that kind of database."""
    return benchmark if kind == "sqlite" else f"{benchmark}_{kind}"
