"""Connections to one SQLite file: one thread that writes, with group commit, and a few that read.

Work that arrives while a transaction runs waits for the next one and shares it, with its one fsync. Processes that
share the file take turns by a lock file: the kernel wakes the next in line, where SQLite's own busy handler sleeps
and guesses. Each statement does a whole batch in one step, because every step lets go of Python's interpreter lock
and may have to wait for it again.
"""

import contextlib
import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import apsw

from tasks_server.domain.errors import Busy, Corrupt, Gone, ReadOnly, StoreError, Unavailable, Uncertain
from tasks_server.store.batching import Batch, Job, Turns, Worker
from tasks_server.store.searching import SEARCH_SECONDS, too_long
from tasks_server.store.sqlite.files import Files, refuse_mixed

APPLICATION_ID: Final = 0x7461736B
"""Marks a file as ours, in its header: "task"."""
_BUSY_TIMEOUT_MS: Final = 5_000
_CACHE_KIB: Final = 32_768
_STEPS_BETWEEN: Final = 20_000
"""About a millisecond."""
_WAL_SAFETY_PAGES: Final = 32_768
"""Checkpoints are a background duty; should nobody do it, a commit does from here on (128 MiB)."""
_NOT_SYNCED: Final = frozenset({apsw.SQLITE_IOERR_FSYNC, apsw.SQLITE_IOERR_DIR_FSYNC})
"""What was written may reach the disk all the same."""


def connect(path: Path | None, *, durable: bool, read_only: bool = False, make: bool = False) -> apsw.Connection:
    """A connection set up as we need it; None is a database in memory. `make`: a file that is missing is made, which
    is for those alone who were asked to make a database. Raises `StoreError` when it cannot open.
    """
    flags = apsw.SQLITE_OPEN_READONLY if read_only else apsw.SQLITE_OPEN_READWRITE
    if make or path is None:
        flags |= apsw.SQLITE_OPEN_CREATE
    if path is not None:
        refuse_mixed(path)
    try:
        connection = apsw.Connection(":memory:" if path is None else str(path), flags=flags, statementcachesize=200)
        connection.set_busy_timeout(_BUSY_TIMEOUT_MS)
        _refuse_foreign(connection, path)  # before anything is set that would change the file
        if not read_only:
            mode = connection.pragma("journal_mode", "wal")
            if path is not None and mode != "wal":
                raise Unavailable(f"{path}: the file system does not support SQLite's write-ahead log")
        connection.pragma("synchronous", "FULL" if durable else "NORMAL")
        connection.pragma("wal_autocheckpoint", _WAL_SAFETY_PAGES)
        connection.pragma("journal_size_limit", 64 * 1024 * 1024)
        connection.pragma("cache_size", -_CACHE_KIB)
        connection.pragma("temp_store", "memory")
        connection.pragma("foreign_keys", 0)
    except apsw.Error as error:
        if isinstance(error, apsw.CantOpenError) and path is not None and path.parent.is_dir() and not path.exists():
            raise Gone(f"{path}: there is no database any more; put it back, or restore a backup") from error
        raise translate(error, path) from error
    return connection


def _refuse_foreign(connection: apsw.Connection, path: Path | None) -> None:
    """Raises `Corrupt` when the database is somebody else's. An empty one is anybody's."""
    if connection.pragma("application_id") == APPLICATION_ID:
        return
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone() or (0,)
    if tables or connection.pragma("application_id"):
        raise Corrupt(f"{path}: this is a SQLite database, but not one of Tasks Server")


def translate(error: Exception, path: Path | None = None) -> Exception:
    """What an error of SQLite means to us, in words for the operator. Errors of our own pass unchanged."""
    where = f"{path}: " if path else ""
    if isinstance(error, apsw.FullError):
        return Unavailable(f"{where}the disk is full; nothing was stored")
    if isinstance(error, apsw.NotADBError):
        return Corrupt(f"{where}this file is not a database of Tasks Server")
    if isinstance(error, apsw.CorruptError):
        return Corrupt(f"{where}the database file is damaged ({error}); restore it from a backup")
    if isinstance(error, apsw.ReadOnlyError | apsw.PermissionsError):
        return ReadOnly(f"{where}the database cannot be written: it, its folder or its disk is read-only")
    if isinstance(error, apsw.CantOpenError):
        return Unavailable(f"{where}the database cannot be opened; does its folder exist, and may it be written?")
    if isinstance(error, apsw.BusyError | apsw.LockedError):
        return Busy(f"{where}another process holds the database's lock for too long")
    if isinstance(error, apsw.IOError):
        return Unavailable(f"{where}reading or writing the database failed ({error}); is the disk full or failing?")
    if isinstance(error, apsw.Error):
        return StoreError(f"{where}the database refused: {error}")
    return error


class LockFile:
    """Whose turn it is to write, among processes on one file. Nothing is written to it.

    There are two locks, and who waits for the second holds the first: so a process that writes without pause cannot
    take the turn again before the one who waits has had it. (The kernel alone wakes the waiting and lets them race.)
    """

    def __init__(self, path: Path) -> None:
        self._fds: list[int] = []
        try:
            for ending in (".turn", ".lock"):
                name = path.with_name(path.name + ending)
                self._fds.append(os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        except OSError as error:
            self.close()
            kind = ReadOnly if error.errno == errno.EROFS else Unavailable
            raise kind(f"{name}: the lock file cannot be opened: {error.strerror}") from error

    def __enter__(self) -> None:
        waiting, writing = self._fds
        fcntl.flock(waiting, fcntl.LOCK_EX)
        fcntl.flock(writing, fcntl.LOCK_EX)
        fcntl.flock(waiting, fcntl.LOCK_UN)

    def __exit__(self, *_: object) -> None:
        fcntl.flock(self._fds[1], fcntl.LOCK_UN)

    def close(self) -> None:
        for fd in self._fds:
            os.close(fd)
        self._fds.clear()


@contextlib.contextmanager
def turn(path: Path | None) -> Iterator[None]:
    """One turn to write, for those who have no writer thread."""
    lock = LockFile(path) if path else _NoLock()
    try:
        with lock:
            yield
    finally:
        lock.close()


class _NoLock:
    """For a database in memory, which nobody else can reach."""

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...

    def close(self) -> None: ...


class Writer(Worker):
    """The one thread that writes. Jobs of one batch function are done together, all jobs in one transaction. What it
    answers is in the `files` that lie at their paths.

    `on_rollback` is told when a transaction is undone, so that nothing cached in it outlives it.
    """

    def __init__(
        self, connection: apsw.Connection, path: Path | None, files: Files, on_rollback: Callable[[], None]
    ) -> None:
        super().__init__("sqlite-writer")
        self.connection = connection
        self._path = path
        self._files = files
        self._lock = LockFile(path) if path else _NoLock()
        self._on_rollback = on_rollback

    def perform(self, jobs: list[Job]) -> list[Any]:
        try:
            with self._lock:
                self._refuse_lost()
                answers = self._transaction(jobs)
                if (lost := self._files.look()) is not None:
                    raise Uncertain(f"{lost.message}; whether this was, before, is not known")
                return answers
        except Exception as error:
            if len(jobs) > 1 and not concerns_all(error):
                # One of them is at fault, and nobody knows which: each gets a transaction of its own.
                return [self.perform([job])[0] for job in jobs]
            return [self._told(error)] * len(jobs)

    def finish(self) -> None:
        self._files.leave(self.connection)
        self.connection.close()
        self._lock.close()

    def _refuse_lost(self) -> None:
        """Raises `Unavailable` while the files are not those that were opened, which the last commit has noticed."""
        if self._files.lost is not None and self._files.look() is not None:
            self._files.save(self.connection)
            if self._files.lost is not None:
                raise self._files.lost

    def _told(self, error: Exception) -> Exception:
        """What an error means, with what the system said of it."""
        if isinstance(error, apsw.IOError):
            if self.connection.system_errno == errno.EROFS:
                error = apsw.ReadOnlyError(str(error))
            elif getattr(error, "extendedresult", 0) in _NOT_SYNCED:
                return Uncertain(
                    f"{self._path}: the disk does not take it ({error}); whether it was stored is not known"
                )
        return translate(error, self._path)

    def _transaction(self, jobs: list[Job]) -> list[Any]:
        groups: dict[Batch, list[int]] = {}
        for index, job in enumerate(jobs):
            groups.setdefault(job.batch, []).append(index)
        answers: list[Any] = [None] * len(jobs)
        connection = self.connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            for batch, indexes in groups.items():
                done = batch(connection, [jobs[index].item for index in indexes])
                for index, answer in zip(indexes, done, strict=True):
                    answers[index] = answer
            connection.execute("COMMIT")
        except BaseException:
            self._on_rollback()
            if connection.in_transaction:  # SQLite undoes it by itself when the disk is full
                connection.execute("ROLLBACK")
            raise
        return answers


def concerns_all(error: Exception) -> bool:
    """Whether the trouble is with the database, not with one of the jobs (a sealed value of its task is damaged)."""
    return isinstance(
        error,
        Unavailable
        | apsw.FullError
        | apsw.IOError
        | apsw.CorruptError
        | apsw.NotADBError
        | apsw.ReadOnlyError
        | apsw.BusyError
        | apsw.LockedError
        | apsw.CantOpenError,
    )


class Reader(Worker):
    """A thread that reads, with a connection of its own."""

    def __init__(
        self, name: str, connection: apsw.Connection, path: Path | None, files: Files, jobs: Turns | None = None
    ) -> None:
        super().__init__(name, jobs)
        self._connection = connection
        self._path = path
        self._files = files

    def perform(self, jobs: list[Job]) -> list[Any]:
        if self._files.lost is not None:
            return [self._files.lost] * len(jobs)
        answers: list[Any] = []
        for job in jobs:
            try:
                answers.append(job.batch(self._connection, [job.item])[0])
            except apsw.InterruptError:
                answers.append(too_long())
            except Exception as error:
                answers.append(translate(error, self._path))
        return answers

    def finish(self) -> None:
        self._files.leave(self._connection)
        self._connection.close()


class Searcher(Reader):
    """A reader for searches: who asks takes turns, and each is given up after a while."""

    def __init__(
        self, connection: apsw.Connection, path: Path | None, files: Files, monotonic: Callable[[], float]
    ) -> None:
        super().__init__("sqlite-searcher", connection, path, files, Turns())
        self._monotonic = monotonic
        self._until = monotonic()
        connection.set_progress_handler(self._is_over, _STEPS_BETWEEN)

    def perform(self, jobs: list[Job]) -> list[Any]:
        self._until = self._monotonic() + SEARCH_SECONDS
        return super().perform(jobs)

    def _is_over(self) -> bool:
        """For SQLite, every so many steps of its machine: whether to give up."""
        return self._monotonic() > self._until
