"""Processes that share a SQLite file: who is alive, and hints between them without polling.

Each has a named pipe beside the database, `<database>.nodes/<number>`, and holds a lock on it while it lives: the
kernel lets go of the lock when the process dies, however it dies. A hint is a few bytes written to each pipe.
"""

import asyncio
import contextlib
import fcntl
import os
import secrets
import stat
from pathlib import Path
from typing import Final

from tasks_server.domain.errors import Unavailable
from tasks_server.store.ports import Hints

NODE_BITS: Final = 30
_HINT_BYTES: Final = 8
_CANCEL: Final = 2**64 - 1
_SCHEDULES: Final = 2**64 - 2
_WORDS: Final = frozenset({_CANCEL, _SCHEDULES})
_INSTANT_MAX: Final = 2**63
"""A hint on its way is a number of eight bytes: the instant of work, or one that stands for something else."""
_LOOK_AGAIN_SECONDS: Final = 1.0


class Nodes:
    """The process among its peers. `number` is ours as long as we live; without a path there are no peers."""

    def __init__(self, path: Path | None) -> None:
        self._folder = path.with_name(path.name + ".nodes") if path else None
        self.number = 0
        self._fd = -1
        self._peers: dict[int, int] = {}
        self._looked_at = -_LOOK_AGAIN_SECONDS
        self._hints: set[int] = set()
        self._going_out: set[int] = set()
        self._arrived = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def open(self) -> None:
        """Remembers the running event loop. A process that only submits is no node: it takes no number."""
        self._loop = asyncio.get_running_loop()
        if self._folder is not None:
            try:
                self._folder.mkdir(mode=0o700, exist_ok=True)
            except OSError as error:
                raise Unavailable(f"{self._folder}: cannot be made: {error.strerror}") from error

    def join(self) -> int:
        """Takes a number, once, and begins to listen. Our number. Raises `Unavailable`."""
        if self.number:
            return self.number
        if self._loop is None:
            raise Unavailable("the store is not open")
        number = secrets.randbits(NODE_BITS) or 1
        if self._folder is not None:
            born, pipe = self._folder / f"born-{number}", self._folder / str(number)
            try:
                os.mkfifo(born, 0o600)
                # Opened for both ways, a pipe neither waits for the other end nor ends when the other end goes.
                self._fd = os.open(born, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                born.rename(pipe)  # under its number only once it is locked: nobody takes a newborn for dead
            except OSError as error:
                raise Unavailable(f"{pipe}: cannot be made: {error.strerror}") from error
            self._loop.add_reader(self._fd, self._read)
        self.number = number
        return number

    def close(self) -> None:
        """Gives the number up: from now on we count as dead."""
        if self._fd >= 0 and self._folder is not None:
            if self._loop is not None and not self._loop.is_closed():
                self._loop.remove_reader(self._fd)
            with contextlib.suppress(OSError):
                (self._folder / str(self.number)).unlink()
            os.close(self._fd)
            self._fd = -1
        for fd in self._peers.values():
            os.close(fd)
        self._peers.clear()
        self._loop = None
        self.number = 0

    def alive(self) -> set[int]:
        """The numbers of all processes that live, ours included. Removes what dead ones left behind. Raises
        `Unavailable`.
        """
        living = {self.number}
        if self._folder is None:
            return living
        try:
            names = os.listdir(self._folder)  # noqa: PTH208  (names are all we need)
        except OSError as error:
            raise Unavailable(f"{self._folder}: cannot be read: {error.strerror}") from error
        for name in names:
            if name.isdigit() and int(name) != self.number and self._lives(self._folder / name):
                living.add(int(name))
        return living

    def hint_work(self, at: int) -> None:
        """Tells whoever listens that a task may be due at `at`. Never blocks; may be lost.

        Hints of one turn of the event loop go out together: a batch of inserts is one hint.
        """
        self._hint(min(at, _INSTANT_MAX))

    def hint_cancel(self) -> None:
        """Tells whoever listens that a lease was taken away."""
        self._hint(_CANCEL)

    def hint_schedules(self) -> None:
        """Tells whoever listens that schedules were changed."""
        self._hint(_SCHEDULES)

    async def wait(self, timeout_seconds: float) -> Hints:
        """The hints since the last call, as soon as there is one; empty after the timeout."""
        self.join()
        if not self._hints and timeout_seconds > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout_seconds):
                    await self._arrived.wait()
        hints, self._hints = self._hints, set()
        self._arrived.clear()
        return Hints(min(hints - _WORDS, default=None), _CANCEL in hints, _SCHEDULES in hints)

    def _hint(self, number: int) -> None:
        if self._loop is None:
            return
        if not self._going_out:
            self._loop.call_soon(self._send)
        self._going_out.add(number)

    def _send(self) -> None:
        going_out, self._going_out = self._going_out, set()
        self._note(going_out)
        if self._folder is None or self._loop is None:
            return
        if self._loop.time() - self._looked_at > _LOOK_AGAIN_SECONDS:
            with contextlib.suppress(Unavailable):  # nobody to tell
                self._find_peers(self._folder)
        told = b"".join(number.to_bytes(_HINT_BYTES, "big") for number in _telling(going_out))
        for number, fd in list(self._peers.items()):
            try:
                os.write(fd, told)
            except BlockingIOError:
                pass  # full of hints that it has not read yet: it will look anyway
            except OSError:
                os.close(self._peers.pop(number))

    def _note(self, hints: set[int]) -> None:
        self._hints = _telling(self._hints | hints)
        self._arrived.set()

    def _read(self) -> None:
        with contextlib.suppress(BlockingIOError):
            # A pipe takes so few bytes whole or not at all (PIPE_BUF, pipe(7)): hints never come in pieces.
            came = os.read(self._fd, 512 * _HINT_BYTES)
            self._note({int.from_bytes(came[at : at + _HINT_BYTES], "big") for at in range(0, len(came), _HINT_BYTES)})

    def _lives(self, pipe: Path) -> bool:
        try:
            fd = os.open(pipe, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        except OSError:  # no descriptor left, say: whoever cannot be asked is not declared dead
            return True
        try:
            if not stat.S_ISFIFO(os.fstat(fd).st_mode):  # nothing of ours: it stays
                return False
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        else:  # only a dead process lets us lock its pipe
            pipe.unlink(missing_ok=True)
            return False
        finally:
            os.close(fd)

    def _find_peers(self, folder: Path) -> None:
        assert self._loop is not None
        self._looked_at = self._loop.time()
        living = self.alive() - {self.number}
        for number in set(self._peers) - living:
            os.close(self._peers.pop(number))
        for number in living - set(self._peers):
            with contextlib.suppress(OSError):
                self._peers[number] = os.open(folder / str(number), os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)


def _telling(hints: set[int]) -> set[int]:
    """Of all the instants only the earliest matters; the others would pile up where nobody ever waits."""
    return {min(hints), *(hints & _WORDS)} if hints else hints
