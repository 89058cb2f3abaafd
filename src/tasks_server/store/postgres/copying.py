"""Both ends of moving a database, for PostgreSQL: rows come and go by COPY, in binary form."""

import contextlib
import hashlib
from collections.abc import Iterator, Sequence
from typing import Any, Final

import psycopg
from psycopg import sql as composing

from tasks_server.clock import Clock
from tasks_server.domain.errors import Corrupt, Refused
from tasks_server.store.clockwork import walk_anew
from tasks_server.store.copying.progress import NAME, Progress, decode, encode, refuse_unfinished
from tasks_server.store.copying.shapes import ATTEMPT, EMPTIED, LOST, LOST_ERROR, MOVED, TASK, Row, Shape, metadata_rows
from tasks_server.store.postgres import roster, schema
from tasks_server.store.postgres.days import Days
from tasks_server.store.postgres.link import Connection, Link, one, translate
from tasks_server.store.postgres.rows import day_of, storable, storable_json
from tasks_server.store.postgres.statements import sql
from tasks_server.store.sealing import Sealer

_SPEC: Final = len(TASK.columns) - 1
_ID, _CREATED_AT, _METADATA = TASK.places("id", "created_at", "metadata")
_REQUEST: Final = {
    "task": "int8",
    "owner": "int4",
    "created_at": "int8",
    "id": "text",
    "metadata": "text",
    "spec": "bytea",
}
_SEARCHABLE: Final = {"owner": "int4", "key": "text", "value": "text", "task": "int8"}
_TASK_PLACES: Final = [place for place in range(_SPEC) if place not in (_ID, _CREATED_AT, _METADATA)]
_TASK_KINDS: Final = {TASK.columns[place]: TASK.kinds[TASK.columns[place]] for place in _TASK_PLACES}
_ENDED_AT: Final = ATTEMPT.columns.index("ended_at")
_FREE: Final = {shape.name: shape.places(*shape.free) for shape in MOVED}
_NUMBERED: Final = ("owner", "lane", "task", "event", "schedule", "bulk", "act")
_LIMITS: Final = ("statement_timeout", "idle_in_transaction_session_timeout")
_WORKED: Final = ("counter_change_seq_seq", "owner_seq_seq", "event_seq_seq", "schedule_seq_seq", "act_seq_seq")
"""Sequences that move with each task that changes its state, each new owner, each thing done to a task."""


def _identity(connection: Connection, sealer: Sealer) -> bytes:
    """No two databases have the same canary, as it is sealed. Raises `Corrupt` under another key."""
    canary = schema.canary(connection)
    sealer.open(canary, b"canary")
    return hashlib.sha256(canary).digest()


def _workers(connection: Connection) -> str | None:
    """Who works on the database, in words; None: nobody."""
    alive = [node for node in roster.read(connection) if node.alive]
    named = ", ".join(f"{node.host} (pid {node.pid}, {node.role})" for node in alive[:3])
    more = f" and {len(alive) - 3} more" if len(alive) > 3 else ""
    return f"servers work on it: {named}{more}" if alive else None


def _lift_limits(connection: Connection) -> None:
    """For this transaction: it may last, and must walk its indexes however the session was set up."""
    for name in _LIMITS:
        connection.execute(f"SET LOCAL {name} = 0")
    for way in ("seqscan", "hashjoin", "mergejoin", "sort"):
        connection.execute(f"SET LOCAL enable_{way} = off")


def _select(shape: Shape, after: Sequence[Any] | None, now: int) -> composing.Composed:
    columns = (f"{name}::int AS {name}" if kind == "bool" else name for name, kind in shape.kinds.items())
    inner: composing.Composable = composing.SQL(f"SELECT {', '.join(columns)} FROM {shape.name}")
    if shape is TASK:
        inner = composing.SQL(sql("copy_task").decode())
    elif shape is LOST:
        names = {"now": composing.Literal(now), "error": composing.Literal(LOST_ERROR)}
        text = sql("copy_lost").decode().replace("%(now)s", "{now}").replace("%(error)s", "{error}")
        inner = composing.SQL(text).format(**names)
    key = composing.SQL(", ".join(shape.columns[: shape.key]))
    behind: composing.Composable = composing.SQL("")
    if after:
        values = composing.SQL(", ").join(composing.Literal(value) for value in after)
        behind = composing.SQL(" WHERE ({}) > ({})").format(key, values)
    return composing.SQL("COPY (SELECT * FROM ({}) AS r{} ORDER BY {}) TO STDOUT (FORMAT binary)").format(
        inner, behind, key
    )


def _rows(connection: Connection, where: str, shape: Shape, after: Sequence[Any] | None, now: int) -> Iterator[Row]:
    """Streamed: the server sends as fast as the rows are taken."""
    try:
        with connection.cursor() as cursor, cursor.copy(_select(shape, after, now)) as copy:
            copy.set_types(["int4" if kind == "bool" else kind for kind in shape.kinds.values()])
            for row in copy.rows():
                if shape is TASK and row[_SPEC] is None:
                    raise Corrupt(f"{where}: the task with handle {row[0]} has no request: the database is damaged")
                yield row
    except psycopg.Error as error:
        raise translate(error, where) from error


class PostgresSource:
    """A database to copy from; it is not changed. `live`: others may work on it. Raises `Refused`, `StoreError`."""

    def __init__(self, url: str, sealer: Sealer, clock: Clock, *, live: bool = False) -> None:
        link = Link(url, clock)
        self.shown = link.where
        self._connection = link.connect()
        self._reading = contextlib.ExitStack()
        try:
            self._open(sealer, live)
        except BaseException as error:
            self._connection.close()
            if isinstance(error, psycopg.Error):
                raise translate(error, self.shown) from error
            raise

    def _open(self, sealer: Sealer, live: bool) -> None:
        connection = self._connection
        schema.verify(connection, sealer, self.shown, unfinished=True)
        if not live and (who := _workers(connection)):
            raise Refused(
                f"{self.shown}: {who}; stop them first. With --live it is copied as it is at this instant: "
                "what comes in or is done from now on is lost to the copy, and tasks that wait or run now are "
                "called from both databases",
            )
        self._worked = self._work_done()
        connection.isolation_level, connection.read_only = psycopg.IsolationLevel.REPEATABLE_READ, True
        self._reading.enter_context(connection.transaction())
        _lift_limits(connection)
        refuse_unfinished(schema.copy_progress(connection))
        self.identity = _identity(connection, sealer)

    def counts(self) -> dict[str, int]:
        counted = {}
        for shape in MOVED:
            what = "task WHERE state = 'running'" if shape is LOST else shape.name
            (counted[shape.name],) = one(self._connection, f"SELECT count(*) FROM {what}")
        return counted

    def rows(self, shape: Shape, after: Sequence[Any] | None, now: int) -> Iterator[Row]:
        return _rows(self._connection, self.shown, shape, after, now)

    def changed(self) -> bool:
        try:
            self._reading.close()
            return self._work_done() != self._worked or _workers(self._connection) is not None
        except psycopg.Error as error:
            raise translate(error, self.shown) from error

    def close(self) -> None:
        with contextlib.suppress(psycopg.Error):
            self._reading.close()
        self._connection.close()

    def _work_done(self) -> list[Any]:
        found = (one(self._connection, f"SELECT last_value, is_called FROM {name}") for name in _WORKED)
        return list(found)


class PostgresTarget:
    """A database to copy into, with our tables made. Raises `Refused` while servers work on it, `StoreError`."""

    def __init__(self, url: str, sealer: Sealer, clock: Clock) -> None:
        link = Link(url, clock)
        self.shown = link.where
        self._days = Days()
        self._connection = link.connect()
        try:
            schema.verify(self._connection, sealer, self.shown, unfinished=True)
            if who := _workers(self._connection):
                raise Refused(f"{self.shown}: {who}; stop what works on the target first")
            self.identity = _identity(self._connection, sealer)
            self._mark = schema.copy_progress(self._connection)
        except BaseException as error:
            self._connection.close()
            if isinstance(error, psycopg.Error):
                raise translate(error, self.shown) from error
            raise

    def fit(self, shape: Shape, row: Row) -> Row:
        """PostgreSQL keeps no U+0000 in texts; U+FFFD stands for it, as in all that is stored there."""
        for place in _FREE[shape.name]:
            text = row[place]
            if text is not None and ("\0" in text or (place == _METADATA and shape is TASK and "\\u0000" in text)):
                fitting = storable_json(text) if shape is TASK and place == _METADATA else storable(text)
                row = (*row[:place], fitting, *row[place + 1 :])
        return row

    def progress(self) -> Progress | None:
        return None if self._mark is None else decode(self._mark)

    def held(self) -> dict[str, int]:
        held = {}
        for name in ("owner", "task"):
            (count,) = one(self._connection, f"SELECT count(*) FROM {name}")
            if count:
                held[name] = int(count)
        return held

    def begin(self, progress: Progress, *, replace: bool) -> None:
        with self._step(progress):
            if replace:
                tables = ", ".join((*EMPTIED, "counter_change"))
                self._connection.execute(f"TRUNCATE {tables} RESTART IDENTITY")
                self._days.forget()

    def write(self, shape: Shape, rows: Sequence[Row], progress: Progress) -> None:
        if shape.goes_to == ATTEMPT.name:
            self._days.ensure(self._connection, {day_of(row[_ENDED_AT]) for row in rows})
        with self._step(progress):
            if shape is TASK:
                self._insert("task", _TASK_KINDS, ([row[place] for place in _TASK_PLACES] for row in rows))
                requests = ((row[0], row[2], row[_CREATED_AT], row[_ID], row[_METADATA], row[_SPEC]) for row in rows)
                self._insert("request", _REQUEST, requests)
                self._insert("metadata", _SEARCHABLE, (entry for row in rows for entry in metadata_rows(row)))
            elif shape.goes_to == ATTEMPT.name:
                kinds = {**shape.kinds, "day": "int4"}
                self._insert(ATTEMPT.name, kinds, ((*row, day_of(row[_ENDED_AT])) for row in rows))
            else:
                flags = [place for place, kind in enumerate(shape.kinds.values()) if kind == "bool"]
                self._insert(shape.goes_to, shape.kinds, (_with_flags(row, flags) for row in rows))

    def note(self, progress: Progress) -> None:
        with self._step(progress):
            pass

    def rows(self, shape: Shape) -> Iterator[Row]:
        with self._connection.transaction():
            _lift_limits(self._connection)
            yield from _rows(self._connection, self.shown, shape, None, 0)

    def finish(self, progress: Progress) -> None:
        with self._step(progress):
            self._connection.execute("TRUNCATE counter, counter_change")
            self._connection.execute(
                "INSERT INTO counter (lane, state, owner, n) "
                "SELECT lane, state, owner, count(*) FROM task GROUP BY lane, state, owner"
            )
            self._connection.execute(sql("clock_write"), {"facts": walk_anew()})
            for table in _NUMBERED:
                self._connection.execute(f"SELECT setval('{table}_seq_seq', max(seq)) FROM {table} HAVING count(*) > 0")
        with self._connection.transaction():
            _lift_limits(self._connection)
            for table in EMPTIED:
                self._connection.execute(f"ANALYZE {table}")

    def close(self) -> None:
        self._connection.close()

    def _insert(self, table: str, kinds: dict[str, str], rows: Iterator[Any]) -> None:
        columns = ", ".join(kinds)
        with (
            self._connection.cursor() as cursor,
            cursor.copy(f"COPY {table} ({columns}) FROM STDIN (FORMAT binary)") as copy,
        ):
            copy.set_types(list(kinds.values()))
            for row in rows:
                copy.write_row(row)

    @contextlib.contextmanager
    def _step(self, progress: Progress) -> Iterator[None]:
        """One transaction, which keeps the progress too. Raises `Refused` when another copy has come between."""
        connection = self._connection
        mark = encode(progress)
        try:
            with connection.transaction():
                _lift_limits(connection)
                if schema.copy_progress(connection, lock=True) != self._mark:
                    raise Refused(f"{self.shown}: another copy into it is at work")
                yield
                connection.execute(
                    "INSERT INTO meta (name, value) VALUES (%s, %s) "
                    "ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                    (NAME, mark),
                )
        except psycopg.Error as error:
            raise translate(error, self.shown) from error
        self._mark = mark


def _with_flags(row: Row, flags: Sequence[int]) -> Row:
    for place in flags:
        row = (*row[:place], bool(row[place]), *row[place + 1 :])
    return row
