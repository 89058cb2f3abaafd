"""Whether the files of an open database are still those that lie at its path.

SQLite goes on in files that were removed, moved or replaced, and what it commits there is nowhere after a restart. So
each commit is acknowledged only when, after it, the database and its write-ahead log are found at their paths as they
were opened. That takes a look at three names; it is not worth less.

A copy onto the database leaves it the same file. In WAL mode only a checkpoint writes to it, and tells so in the index
of the log (https://sqlite.org/walformat.html); a database that was written to while the index tells of no checkpoint
was overwritten by something else. The log that lies beside it then belongs to another content: played into it, it
would damage it. So nothing is written any more, and a mark is left that keeps everybody from opening the two.
"""

import contextlib
import os
import threading
from pathlib import Path
from typing import ClassVar, Final, NamedTuple

import apsw

from tasks_server.domain.errors import Gone, Unavailable

_MARK: Final = ".mixed"
_INDEX_AT: Final = 32
_INDEX_BYTES: Final = 100
"""From the salts of the log to how far the last checkpoint meant to go."""
_SALTS: Final = slice(0, 8)
_DONE: Final = slice(64, 68)
_MEANT: Final = slice(96, 100)


class _Known(NamedTuple):
    """What a look at the three names finds."""

    device: int
    database: int
    written_ns: int
    size: int
    log: int
    log_index: int


class Files:
    """The files of one open database; none for one in memory. Asked by any thread."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._names = () if path is None else tuple(f"{path}{ending}" for ending in ("", "-wal", "-shm"))
        self._looking = threading.Lock()
        self._known = _Known(0, 0, 0, 0, 0, 0)
        self._index: _Index | None = None
        self._checkpoint = b""
        self._overwritten = False
        self._marked = False
        self._log_is_gone = False
        self._saved = False
        self.lost: Unavailable | None = None
        """Why nothing can be stored, as the last look found."""

    def open(self, connection: apsw.Connection) -> None:
        """Notes which files they are. The connection has done a transaction: the log is made by the first one."""
        if self._path is None:
            return
        try:
            self._index = _Index(self._names[2])
            if self._index.at_work(self._index.read()):  # it was recovered after a crash: it looks so until the next
                connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
            self._checkpoint = self._index.read()
            self._known = self._find()
        except OSError as error:
            raise Unavailable(f"{self._path}: {error.filename} cannot be looked at: {error.strerror}") from error

    def close(self) -> None:
        """The connections are closed."""
        if self._index is not None:
            self._index.close()
            self._index = None

    def look(self) -> Unavailable | None:
        """Why nothing can be stored any more; None: all is as it was."""
        if self._index is None:
            return self.lost
        with self._looking:
            checkpoint = self._index.read()  # before the file is looked at: it may be older than that, but not newer
            try:
                found = self._find()
            except OSError as error:
                self.lost = self._missing(error)
            else:
                if found != self._known or self._overwritten:
                    self.lost = self._judge(found)
                elif self.lost is not None:
                    self._forgive()
                if self.lost is None:
                    self._known, self._checkpoint = found, checkpoint
            return self.lost

    def save(self, connection: apsw.Connection) -> None:
        """Brings what a removed log holds into the database, where nobody has begun another log yet. Called by who has
        the turn to write.
        """
        if self._log_is_gone and not self._saved:
            with contextlib.suppress(apsw.Error):
                frames, done = connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
                self._saved = frames == done
                self.look()

    def leave(self, connection: apsw.Connection) -> None:
        """Called before a connection closes. What is not ours any more is not to be tidied by it."""
        if self.look() is not None:
            connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)

    def _find(self) -> _Known:
        # A Path would be taken apart at each look.
        database, log, index = (os.stat(name) for name in self._names)  # noqa: PTH116
        return _Known(
            database.st_dev, database.st_ino, database.st_mtime_ns, database.st_size, log.st_ino, index.st_ino
        )

    def _missing(self, error: OSError) -> Unavailable:
        """What a look means that failed."""
        if not isinstance(error, FileNotFoundError | NotADirectoryError):
            return Unavailable(f"{self._path}: the database cannot be looked at: {error.strerror}")
        database, log, index = self._names
        if not os.path.exists(database):  # noqa: PTH110
            return self._gone(
                "the database is gone: it was removed or moved, or its disk is not mounted any more. Put it back, and "
                "all goes on; or stop the server and restore a backup"
            )
        self._log_is_gone = not os.path.exists(log)  # noqa: PTH110
        name = log if self._log_is_gone else index
        kept = "what it held is in the database. " if self._log_is_gone and self._saved else ""
        return self._gone(f"{name} is gone, which belongs to the database. {_capital(kept)}Start the server anew")

    def _judge(self, found: _Known) -> Unavailable | None:
        """What a look means that found something else than before."""
        name = self._path.name if self._path else ""
        begin = (
            f"stop the server, remove {name}-wal and {name}-shm, put what is to be the database in its place as a "
            "whole, and start it"
        )
        if (found.device, found.database) != (self._known.device, self._known.database):
            self._mark(found)
            return self._gone(
                f"another file is in the place of the database. Put the former one back, and all goes on; or {begin}"
            )
        if (found.log, found.log_index) != (self._known.log, self._known.log_index):
            return self._gone(f"{name}-wal or {name}-shm was replaced. Start the server anew")
        if not self._overwritten:
            assert self._index is not None
            again = self._index.read()
            if again != self._checkpoint or self._index.at_work(again):
                self._forgive()
                return None
        self._overwritten = True
        self._mark(found)
        return self._gone(f"something else than SQLite wrote to the database, such as a copy onto it: {begin}")

    def _gone(self, what: str) -> Gone:
        return Gone(f"{self._path}: {what}. Nothing is stored")

    def _forgive(self) -> None:
        """All is as it was."""
        self.lost = None
        self._log_is_gone = self._saved = False
        if self._marked:
            self._marked = False
            _mark_of(self._names[0]).unlink(missing_ok=True)

    def _mark(self, found: _Known) -> None:
        """Leaves word that the log does not belong to what lies there as the database."""
        if not self._marked and found.log == self._known.log:
            self._marked = True
            with contextlib.suppress(OSError):
                _mark_of(self._names[0]).write_text(str(found.log))


def refuse_mixed(path: Path) -> None:
    """Raises `Gone` when the log beside the database was found not to belong to it, and still lies there."""
    mark = _mark_of(path)
    try:
        noted = mark.read_text()
    except OSError:
        return
    log = path.with_name(f"{path.name}-wal")
    if log.exists() and str(log.stat().st_ino) == noted:
        raise Gone(
            f"{path}: the database was replaced or overwritten while a server worked on it, and {log.name} belongs to "
            f"what was there before. Remove {log.name} and {path.name}-shm, put what is to be the database in its "
            f"place as a whole, and start anew. Where it is the former database after all, put back as it was, remove "
            f"{mark.name} alone"
        )
    mark.unlink(missing_ok=True)


def _mark_of(path: Path | str) -> Path:
    return Path(f"{path}{_MARK}")


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


class _Index:
    """The index of the log, as far as it tells of checkpoints. To close a file takes this process's locks off it, those
    of SQLite as well; so all that look at one file in this process share it, and the last one closes it.
    """

    _shared: ClassVar[dict[tuple[int, int], tuple[int, int]]] = {}
    """The descriptors by file, and how many use them."""
    _sharing: ClassVar = threading.Lock()

    def __init__(self, name: str) -> None:
        with self._sharing:
            found = os.stat(name)  # noqa: PTH116
            self._file = found.st_dev, found.st_ino
            descriptor, users = self._shared.get(self._file, (-1, 0))
            self._descriptor = descriptor if users else os.open(name, os.O_RDONLY | os.O_CLOEXEC)
            self._shared[self._file] = self._descriptor, users + 1

    def close(self) -> None:
        with self._sharing:
            descriptor, users = self._shared.pop(self._file)
            if users > 1:
                self._shared[self._file] = descriptor, users - 1
            else:
                os.close(descriptor)

    def read(self) -> bytes:
        found = os.pread(self._descriptor, _INDEX_BYTES, _INDEX_AT)
        return found[_SALTS] + found[_DONE] + found[_MEANT]

    @staticmethod
    def at_work(state: bytes) -> bool:
        """Whether a checkpoint has begun and not ended."""
        return state[8:12] != state[12:16]
