"""Lends databases with our schema and nothing in it. Making one takes far longer than a test: they are used again."""

import os
import time
from pathlib import Path
from typing import Any, ClassVar, Final, LiteralString, cast
from urllib.parse import urlsplit

import psycopg
from psycopg import sql

from tasks_server.store.postgres import schema
from tests.postgres.run import PGBOUNCER, POSTGRES, Servers

_KEPT: Final = {"migration"}
"""Tables that say what the schema is; a test that changes them takes a database of its own."""
_SMALL_BYTES: Final = 256 * 1_024
_LEAVE_SECONDS: Final = 10


def named(url: str, database: str) -> str:
    """The URL with another database."""
    return urlsplit(url)._replace(path=f"/{database}").geturl()


def _plain(text: str) -> LiteralString:
    """Names of our own tables in statements of ours."""
    return cast("LiteralString", text)


class Lent:
    """A database, and how it was when it was made."""

    def __init__(self, name: str, url: str) -> None:
        self.name = name
        self.connection = psycopg.connect(url, autocommit=True, application_name="tests")
        schema.upgrade(self.connection)
        self._tables = self._names("r")
        self._partitioned = self._names("p")
        self._sequences = self._names("S")
        self._books = self._read_books()
        self._look = _plain(
            "SELECT " + ", ".join(f"EXISTS (SELECT FROM {t}), pg_relation_size('{t}')" for t in self._tables)
        )
        self._restart = _plain(
            "SELECT " + ", ".join(f"(SELECT setval('{s}', 1, false) FROM {s} WHERE is_called)" for s in self._sequences)
        )

    def _names(self, kind: str) -> list[str]:
        found = self.connection.execute(
            "SELECT relname FROM pg_class WHERE relkind = %s AND relnamespace = 'public'::regnamespace ORDER BY 1",
            (kind,),
        )
        return [name for (name,) in found]

    def _read_books(self) -> list[Any]:
        return self.connection.execute("SELECT * FROM migration ORDER BY number").fetchall()

    def guests(self) -> list[str]:
        """Who else is connected."""
        found = self.connection.execute(
            "SELECT application_name FROM pg_stat_activity "
            "WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )
        return [name for (name,) in found]

    def show_out(self) -> None:
        """Ends the connections of all others."""
        self.connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
            "AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )

    def empty(self) -> bool:
        """As it was at first. False when that cannot be: a test changed the schema."""
        made = [name for name in self._names("r") if name not in self._tables]
        for name in made:  # partitions
            self.connection.execute(_plain(f"DROP TABLE {name}"))
        row = self.connection.execute(self._look).fetchone()
        assert row is not None
        for table, filled, size in zip(self._tables, row[::2], row[1::2], strict=True):
            if table not in _KEPT and (filled or size > _SMALL_BYTES):
                # Rows that were deleted stay in the way until they are vacuumed; of a few, nobody notices.
                how = "TRUNCATE" if size > _SMALL_BYTES else "DELETE FROM"
                self.connection.execute(_plain(f"{how} {table}"))
        self.connection.execute(self._restart)
        return self._read_books() == self._books


class Databases:
    """The databases of one process, on the servers of the run."""

    _current: ClassVar["Databases | None"] = None

    def __init__(self, servers: Servers) -> None:
        Databases._current = self
        self._servers = servers
        self._admin: psycopg.Connection[Any] | None = None
        self._free: dict[str, list[Lent]] = {POSTGRES: [], PGBOUNCER: []}
        self._lent: list[tuple[str, Lent]] = []
        self._bare: list[str] = []
        self._number = 0

    @classmethod
    def lend(cls, folder: Path, of: str = POSTGRES) -> str | None:
        """The URL of the database that belongs to the folder, until the test is over; None: `of` is not installed.
        Processes that the test starts find it, too, by the note that is left in the folder.
        """
        note = folder / "database.url"
        if not note.exists():
            assert cls._current is not None
            url = cls._current._take(of)
            if url is None:
                return None
            note.write_text(url)
        return note.read_text()

    def _take(self, of: str) -> str | None:
        server = self._servers.url(of)
        if server is None:
            return None
        lent = self._free[of].pop() if self._free[of] else self._make()
        self._lent.append((of, lent))
        return named(server, lent.name)

    def bare(self, encoding: str = "UTF8") -> str:
        """The URL of a database without any table, gone with `take_back`."""
        name = self._create(encoding)
        self._bare.append(name)
        return named(self._url(), name)

    def pooled(self, url: str) -> str | None:
        """The same database through PgBouncer; None: that is not installed."""
        pooler = self._servers.url(PGBOUNCER)
        return None if pooler is None else named(pooler, urlsplit(url).path.removeprefix("/"))

    def keep(self) -> str:
        """The URL of a database without any table, until it is thrown away."""
        return named(self._url(), self._create())

    def throw_away(self, url: str) -> None:
        """Removes a database of `keep`."""
        self._drop(urlsplit(url).path.removeprefix("/"))

    def take_back(self) -> None:
        """The test is over. Fails when it left connections open."""
        left: list[str] = []
        for of, lent in self._lent:
            if of == POSTGRES:  # PgBouncer keeps sessions open for whoever comes next
                left += _see_off(lent)
            if lent.empty():
                self._free[of].append(lent)
            else:
                lent.connection.close()
                self._drop(lent.name)
        self._lent.clear()
        for name in self._bare:
            self._drop(name)
        self._bare.clear()
        assert left == [], "connections were left open"

    def close(self) -> None:
        """Removes them all."""
        for lent in (lent for free in self._free.values() for lent in free):
            lent.connection.close()
            self._drop(lent.name)
        if self._admin is not None:
            self._admin.close()
            self._admin = None

    def _url(self) -> str:
        url = self._servers.url()
        assert url is not None
        return url

    def _make(self) -> Lent:
        name = self._create()
        return Lent(name, named(self._url(), name))

    def _create(self, encoding: str = "UTF8") -> str:
        if self._admin is None:
            self._admin = psycopg.connect(self._url(), autocommit=True, application_name="tests")
        self._number += 1
        name = f"tasks_server_test_{os.getpid()}_{self._number}"
        self._admin.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING {} LOCALE 'C'").format(
                sql.Identifier(name), sql.Literal(encoding)
            )
        )
        return name

    def _drop(self, name: str) -> None:
        assert self._admin is not None
        self._admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def _see_off(lent: Lent) -> list[str]:
    """Those who do not go by themselves: a session ends a moment after it was closed."""
    end = time.monotonic() + _LEAVE_SECONDS
    while guests := lent.guests():
        if time.monotonic() > end:
            lent.show_out()
            break
        time.sleep(0.002)
    return guests
