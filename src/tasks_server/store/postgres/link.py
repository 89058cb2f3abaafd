"""How to reach the database: connecting, backing off, what errors mean, and the time that it tells."""

import contextlib
import logging
import random
import select
import threading
from collections.abc import Iterator
from typing import Any, Final, LiteralString, TypeVar

import psycopg
from psycopg import errors
from psycopg.abc import Params, PQGen, QueryNoTemplate
from psycopg.rows import TupleRow

from tasks_server.clock import Clock, DatabaseClock
from tasks_server.domain.errors import Busy, Corrupt, ReadOnly, SchemaOutOfDate, StoreError, Unavailable, Uncertain
from tasks_server.store.postgres import manner
from tasks_server.store.postgres.address import shown

Connection = psycopg.Connection[TupleRow]

_CONNECT_SECONDS: Final = 5
_BACK_OFF_FIRST_SECONDS: Final = 0.05
_BACK_OFF_MAX_SECONDS: Final = 2.0
_UNREACHABLE_MS: Final = 10_000
"""After so long without an answer on the wire, a connection counts as lost: a server that vanished tells nobody."""
ANSWER_SECONDS: Final = 40.0
"""After so long without an answer to a statement, too: what stands in between may be alive, and wait for ever."""
_VERSION_MIN: Final = 140_000
_ENCODING: Final = "UTF8"

_T = TypeVar("_T")


class Lost(Uncertain):
    """The connection went in the middle: whether the work was done is unknown."""

    @classmethod
    def of(cls, where: str) -> "Lost":
        return cls(f"{where}: the connection to the database was lost; whether it was done is not known")


class Conflicted(Busy):
    """Transactions got into each other's way, and this one was undone: trying again helps."""


# What it says of a lost connection, we say in our own form.
logging.getLogger("psycopg").addHandler(logging.NullHandler())


class _Bounded(psycopg.Connection[TupleRow]):
    """Ends itself when the database leaves a statement without an answer. On a session that is shared with others, it
    says in each transaction what that is to be like (`manner`); a statement by itself becomes one.
    """

    answer_seconds: float | None = _CONNECT_SECONDS
    manner: bytes | None = None
    _begun = False

    def execute(  # type: ignore[override]  # nobody here uses template strings
        self, query: QueryNoTemplate, params: Params | None = None, *, prepare: bool | None = None, binary: bool = False
    ) -> psycopg.Cursor[TupleRow]:
        if self.manner is None or self._begun:
            return super().execute(query, params, prepare=prepare, binary=binary)
        with self.pipeline(), self.transaction():
            return super().execute(query, params, prepare=prepare, binary=binary)

    @contextlib.contextmanager
    def transaction(
        self, savepoint_name: str | None = None, force_rollback: bool = False
    ) -> Iterator[psycopg.Transaction]:
        with super().transaction(savepoint_name, force_rollback) as transaction:
            if self.manner is None or self._begun:
                yield transaction
                return
            self._begun = True
            try:
                self.execute(self.manner)
                yield transaction
            finally:
                self._begun = False

    def wait(self, gen: PQGen[_T], interval: float = 0.1, timeout: float | None = None) -> _T:
        if timeout is not None:
            return super().wait(gen, interval, timeout)
        try:
            return super().wait(gen, interval, self.answer_seconds)
        except errors._WaitTimeout as error:
            self.close()  # the answer may come yet, and would be taken for that to another question
            raise psycopg.OperationalError("no answer came in time") from error


class Link:
    """Makes connections to one database. Used from several threads; when the database cannot be reached, only one
    attempt is made every now and then, and all others learn of it at once.

    With each connection, a clock that follows the database's learns its time. `answer_seconds`: for how long to wait
    for the answer to a statement; None: for as long as it takes.
    """

    def __init__(
        self, url: str, clock: Clock, *, durable: bool = True, answer_seconds: float | None = ANSWER_SECONDS
    ) -> None:
        self._url = url
        self._clock = clock
        self._durable = durable
        self._answer_seconds = answer_seconds
        self._lock = threading.Lock()
        self._retry_at = 0.0
        self._back_off = _BACK_OFF_FIRST_SECONDS
        self._trouble = Unavailable("")
        self.pooled = False
        """Whether something stands between us and the database that shares its sessions, such as PgBouncer: there
        are no prepared statements, session settings or notifications then."""

    @property
    def where(self) -> str:
        """The database for messages, without credentials."""
        return shown(self._url)

    def connect(self, *, bare: bool = False) -> Connection:
        """A connection, in autocommit mode. `bare`: on a session that is shared with others, its statements go as they
        are, without what a transaction of ours is to be like. Raises `Unavailable`; at once while the database
        recovers.
        """
        with self._lock:
            if self._clock.monotonic() < self._retry_at:
                raise type(self._trouble)(self._trouble.message)
            try:
                connection = self._connect()
                if bare:
                    connection.manner = None
            except (psycopg.Error, Unavailable) as error:
                told = f"{self.where}: the database cannot be reached: {_plain(error)}"
                refused = error if isinstance(error, Unavailable) else Unavailable(told)
                self._trouble = refused
                self._retry_at = self._clock.monotonic() + self._back_off * random.uniform(0.5, 1.0)  # noqa: S311
                self._back_off = min(self._back_off * 2, _BACK_OFF_MAX_SECONDS)
                raise refused from error
            self._back_off = _BACK_OFF_FIRST_SECONDS
            return connection

    def _connect(self) -> _Bounded:
        connection = _Bounded.connect(
            self._url,
            autocommit=True,
            connect_timeout=_CONNECT_SECONDS,
            application_name="tasks-server",
            keepalives_idle=5,
            keepalives_interval=2,
            keepalives_count=3,
            tcp_user_timeout=_UNREACHABLE_MS,
            client_encoding="utf8",
        )
        try:
            if connection.info.server_version < _VERSION_MIN:
                raise StoreError(
                    f"{self.where}: this is PostgreSQL {connection.info.server_version // 10_000}; "
                    f"Tasks Server needs {_VERSION_MIN // 10_000} or newer"
                )
            _refuse_encoding(connection, self.where)
            self._set_up(connection)
            self.sample(connection)
            connection.answer_seconds = self._answer_seconds
        except BaseException:
            connection.close()
            raise
        return connection

    def _set_up(self, connection: _Bounded) -> None:
        backend, standby = one(connection, "SELECT pg_backend_pid(), pg_is_in_recovery()")
        if standby:
            raise ReadOnly(
                f"{self.where}: this is a standby, which takes no writes: name the primary in DATABASE_URL, or all "
                "hosts with ?target_session_attrs=read-write"
            )
        version = connection.info.server_version
        self.pooled = backend != connection.info.backend_pid  # a pooler invents the one that it gives at the start
        if self.pooled:
            connection.prepare_threshold = None
            connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
            connection.manner = manner.for_transaction(version, durable=self._durable)
        else:
            connection.prepare_threshold = 1
            connection.execute(manner.for_session(version, durable=self._durable), prepare=False)

    def sample(self, connection: Connection) -> None:
        """Learns the time of the database."""
        if isinstance(self._clock, DatabaseClock):
            before = self._clock.elapsed()
            (at,) = one(connection, "SELECT extract(epoch FROM clock_timestamp()) * 1000")
            self._clock.sample(before, self._clock.elapsed(), float(at))


def _refuse_encoding(connection: Connection, where: str) -> None:
    """Raises `StoreError` for a database that cannot keep every text."""
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != _ENCODING:
        raise StoreError(
            f"{where}: the database has the encoding {encoding}, and Tasks Server keeps texts of every script: make "
            "one with UTF-8 (CREATE DATABASE … ENCODING 'UTF8' LOCALE 'C' TEMPLATE template0) and name that"
        )


def one(connection: Connection, text: LiteralString | bytes, parameters: Any = None) -> TupleRow:
    """The one row of a statement."""
    row = connection.execute(text, parameters).fetchone()
    assert row is not None
    return row


def read_only(where: str) -> ReadOnly:
    """What to raise where nothing can be written."""
    return ReadOnly(
        f"{where}: the database is read-only: default_transaction_read_only is on, for the database, the user or the "
        "server. Nothing is stored"
    )


def ended(connection: Connection) -> bool:
    """Whether an idle connection has gone, as far as this side was told. The database says nothing to one who asks
    nothing, but that it ends the session; a changed setting, which it tells, too, is worth a new connection.
    """
    if connection.closed or connection.broken:
        return True
    readable, _, _ = select.select([connection.fileno()], [], [], 0)
    return bool(readable)


def translate(error: Exception, where: str) -> Exception:
    """What an error of PostgreSQL means to us, in words for the operator. Errors of our own pass unchanged."""
    if isinstance(error, errors.ReadOnlySqlTransaction):
        return read_only(where)
    for kinds, translated, message in _MEANINGS:
        if isinstance(error, kinds):
            return translated(f"{where}: {message}")
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return Lost.of(where)
    if isinstance(error, psycopg.Error):
        return StoreError(f"{where}: the database refused: {_plain(error)}")
    return error


def concerns_all(error: Exception) -> bool:
    """Whether the trouble is with the database, not with what was asked of it."""
    return isinstance(translate(error, ""), Unavailable | Conflicted | SchemaOutOfDate)


_MEANINGS: Final[tuple[tuple[tuple[type[Exception], ...], type[StoreError], str], ...]] = (
    ((errors.DiskFull,), Unavailable, "the database's disk is full; nothing was stored"),
    ((errors.DeadlockDetected, errors.SerializationFailure), Conflicted, "the database is busy: transactions collide"),
    ((errors.QueryCanceled, errors.LockNotAvailable), Busy, "the database is busy: a statement waited for too long"),
    (
        (errors.TooManyConnections, errors.ConfigurationLimitExceeded),
        Unavailable,
        "the database takes no more connections",
    ),
    (
        (errors.UndefinedTable, errors.UndefinedColumn, errors.InvalidSchemaName),
        SchemaOutOfDate,
        "the schema is not the one that this version needs: run `tasks-server db upgrade`",
    ),
    (
        (errors.InsufficientPrivilege,),
        Unavailable,
        "the database's user may not do what is needed: it must own the tables of Tasks Server",
    ),
    ((errors.DataCorrupted, errors.IndexCorrupted), Corrupt, "the database is damaged; restore it from a backup"),
)


def _plain(error: Exception) -> str:
    """The first lines of what libpq says, as one."""
    said = " ".join(str(error).split())
    return said or type(error).__name__
