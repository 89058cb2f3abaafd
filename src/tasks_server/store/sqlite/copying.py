"""Both ends of moving a database, for SQLite: a file that is read as it is at one instant, a file that is filled."""

import contextlib
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import apsw

from tasks_server.domain.errors import Corrupt, Refused, SchemaOutOfDate, Unavailable
from tasks_server.domain.task import FINAL
from tasks_server.store.clockwork import walk_anew
from tasks_server.store.copying.progress import NAME, Progress, decode, encode, refuse_unfinished
from tasks_server.store.copying.shapes import EMPTIED, LOST, LOST_ERROR, MOVED, TASK, Row, Shape, metadata_rows
from tasks_server.store.sealing import Sealer
from tasks_server.store.sqlite import schema
from tasks_server.store.sqlite.connection import connect, translate, turn
from tasks_server.store.sqlite.maintaining import checkpoint
from tasks_server.store.sqlite.presence import at_work
from tasks_server.store.sqlite.statements import sql

_SPEC: Final = len(TASK.columns) - 1
_READ: Final = {TASK.name: sql("copy_task"), LOST.name: sql("copy_lost")}


def _identity(connection: apsw.Connection, sealer: Sealer) -> bytes:
    """No two databases have the same canary, as it is sealed. Raises `Corrupt` under another key."""
    canary = schema.canary(connection)
    sealer.prove(canary, b"canary", connection.filename)
    return hashlib.sha256(canary).digest()


def _select(shape: Shape, after: Sequence[Any] | None) -> str:
    text = _READ.get(shape.name) or f"SELECT {', '.join(shape.columns)} FROM {shape.name}"
    key = ", ".join(shape.columns[: shape.key])
    behind = f"WHERE ({key}) > ({', '.join(f':after{place}' for place in range(shape.key))}) " if after else ""
    return f"SELECT * FROM ({text}) {behind}ORDER BY {key}"


def _rows(
    connection: apsw.Connection, path: Path, shape: Shape, after: Sequence[Any] | None, now: int
) -> Iterator[Row]:
    names: dict[str, Any] = {"now": now, "error": LOST_ERROR}
    names |= {f"after{place}": value for place, value in enumerate(after or ())}
    try:
        for row in connection.execute(_select(shape, after), names):
            if shape is TASK and row[_SPEC] is None:
                raise Corrupt(f"{path}: the task {row[1]} has no request: the database is damaged")
            yield row
    except apsw.Error as error:
        raise translate(error, path) from error


class SqliteSource:
    """A file to copy from; it is not changed. `live`: others may have it open. Raises `Refused`, `StoreError`."""

    def __init__(self, path: Path, sealer: Sealer, *, live: bool = False) -> None:
        self._path = path.resolve()
        self.shown = str(path)
        if not self._path.is_file() or not self._path.stat().st_size:
            raise Unavailable(f"there is no database {path}")
        if not live and (who := at_work(self._path)):
            raise Refused(
                f"{path}: {who}; stop what works on it first. With --live it is copied as it is at this instant: "
                "what comes in or is done from now on is lost to the copy, and tasks that wait or run now are "
                "called from both databases",
            )
        self._connection = connect(self._path, durable=False, read_only=True)
        try:
            self._begin(sealer)
        except BaseException as error:
            self._connection.close()
            if isinstance(error, apsw.Error):
                raise translate(error, self._path) from error
            raise

    def _begin(self, sealer: Sealer) -> None:
        self._version = self._connection.pragma("data_version")
        self._connection.execute("BEGIN")
        if schema.pending(self._connection):
            raise SchemaOutOfDate(
                f"{self.shown}: the schema is an older one: open it once with this version, by "
                "`tasks-server owner list`"
            )
        self.identity = _identity(self._connection, sealer)
        refuse_unfinished(schema.copy_progress(self._connection))

    def counts(self) -> dict[str, int]:
        counted = {}
        for shape in MOVED:
            what = "task WHERE state = 'running'" if shape is LOST else shape.name
            (counted[shape.name],) = self._connection.execute(f"SELECT count(*) FROM {what}").fetchone() or (0,)
        return counted

    def rows(self, shape: Shape, after: Sequence[Any] | None, now: int) -> Iterator[Row]:
        return _rows(self._connection, self._path, shape, after, now)

    def changed(self) -> bool:
        self._connection.execute("COMMIT")
        return bool(self._connection.pragma("data_version") != self._version)

    def close(self) -> None:
        self._connection.close()


class SqliteTarget:
    """A file to copy into, made when it is missing. Raises `Refused` while others have it open, `StoreError`."""

    def __init__(self, path: Path, sealer: Sealer) -> None:
        self._path = path.resolve()
        self.shown = str(path)
        if who := at_work(self._path):
            raise Refused(f"{path}: {who}; stop what works on the target first")
        with turn(self._path):
            self._connection = connect(self._path, durable=True, make=True)
            try:
                schema.prepare(self._connection, sealer, unfinished=True)
                self.identity = _identity(self._connection, sealer)
                self._mark = schema.copy_progress(self._connection)
            except BaseException as error:
                self._connection.close()
                if isinstance(error, apsw.Error):
                    raise translate(error, self._path) from error
                raise

    def fit(self, shape: Shape, row: Row) -> Row:
        return row

    def progress(self) -> Progress | None:
        return None if self._mark is None else decode(self._mark)

    def held(self) -> dict[str, int]:
        held = {}
        for name in ("owner", "task"):
            (count,) = self._connection.execute(f"SELECT count(*) FROM {name}").fetchone() or (0,)
            if count:
                held[name] = int(count)
        return held

    def begin(self, progress: Progress, *, replace: bool) -> None:
        with self._step(progress):
            if replace:
                for table in EMPTIED:
                    self._connection.execute(f"DELETE FROM {table}")

    def write(self, shape: Shape, rows: Sequence[Row], progress: Progress) -> None:
        with self._step(progress):
            if shape is TASK:
                self._insert("task", shape.columns[:_SPEC], [row[:_SPEC] for row in rows])
                self._insert("request", ("task", "spec"), [(row[0], row[_SPEC]) for row in rows])
                searchable = [entry for row in rows for entry in metadata_rows(row)]
                self._insert("metadata", ("owner", "key", "value", "task"), searchable)
            else:
                self._insert(shape.goes_to, shape.columns, rows)

    def note(self, progress: Progress) -> None:
        with self._step(progress):
            pass

    def rows(self, shape: Shape) -> Iterator[Row]:
        return _rows(self._connection, self._path, shape, None, 0)

    def finish(self, progress: Progress) -> None:
        final = ", ".join(f"'{state.value}'" for state in sorted(FINAL))
        with self._step(progress):
            self._connection.execute(
                f"""
                DELETE FROM counter;
                INSERT INTO counter (lane, state, n) SELECT lane, state, count(*) FROM task GROUP BY lane, state;
                UPDATE owner SET tasks_in_queue = (
                    SELECT coalesce(sum(c.n), 0) FROM lane AS l JOIN counter AS c ON c.lane = l.seq
                    WHERE l.owner = owner.seq AND c.state NOT IN ({final})
                )
                """
            )
            self._connection.execute(sql("clock_write"), {"facts": walk_anew()})
        checkpoint(self._path)

    def close(self) -> None:
        self._connection.close()

    def _insert(self, table: str, columns: Sequence[str], rows: Sequence[Row]) -> None:
        marks = ", ".join("?" * len(columns))
        self._connection.executemany(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})", rows)

    @contextlib.contextmanager
    def _step(self, progress: Progress) -> Iterator[None]:
        """One transaction, which keeps the progress too. Raises `Refused` when another copy has come between."""
        connection = self._connection
        mark = encode(progress)
        try:
            with turn(self._path):
                connection.execute("BEGIN IMMEDIATE")
                try:
                    if schema.copy_progress(connection) != self._mark:
                        raise Refused(f"{self.shown}: another copy into it is at work")
                    yield
                    connection.execute("INSERT OR REPLACE INTO meta (name, value) VALUES (?, ?)", (NAME, mark))
                    connection.execute("COMMIT")
                except BaseException:
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
                    raise
        except apsw.Error as error:
            raise translate(error, self._path) from error
        self._mark = mark
