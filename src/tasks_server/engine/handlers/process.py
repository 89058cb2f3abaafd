"""One runner as the engine sees it: a process of its own, the socket to it, and the runs it has."""

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Collection
from enum import Enum
from typing import Final

from tasks_server.domain.attempt import Outcome
from tasks_server.domain.notes import Notes
from tasks_server.engine.runs import Run
from tasks_server.handlers.frames import Announced, Start, ToEngine, ToRunner, frame, pack, to_engine

_READ_BYTES: Final = 1_048_576
COMMAND: Final = (sys.executable, "-P", "-m", "tasks_server.runner")


class Stage(Enum):
    """How far a runner is."""

    STARTING = "starting"
    READY = "ready"
    RETIRED = "retired"
    """It gets nothing new."""


class Flight:
    """A run in the hands of a runner. Times are seconds of the monotonic clock."""

    __slots__ = ("aborted", "began_at", "coroutine", "look_at", "notes", "run", "runner", "verdict")

    def __init__(self, run: Run, runner: "Runner", coroutine: bool, began_at: int, deadline: float) -> None:
        self.run = run
        self.runner = runner
        self.coroutine = coroutine
        self.began_at = began_at
        """When it was handed over, ms since the epoch."""
        self.look_at = deadline
        """When to do something about it: its deadline or, once it was told to stop, the end of our patience."""
        self.verdict: Outcome | None = None
        """How it ends now that it was told to stop, unless it is done with its work by then."""
        self.notes: Notes | None = None
        self.aborted = False
        """Whether nobody wants to know how it ends."""


class Runner:
    """A process that runs handlers. All of it is used by one thread."""

    def __init__(self, start: Start, now: float, *, ward: bool = False, withheld: Collection[str] = ()) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [*COMMAND, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                env={name: value for name, value in os.environ.items() if name not in withheld},
                process_group=0,  # Ctrl-C is for the supervisor; and what a handler starts ends with its runner
            )
        ours.setblocking(False)
        self.socket = ours
        self.pid = self._process.pid
        self.watched = os.pidfd_open(self.pid)
        """Readable once the process has ended; a child of its own may hold its end of the socket open."""
        self.ward = ward
        """Whether it is for runs under suspicion, one at a time."""
        self.stage = Stage.STARTING
        self.started_at = self.told_at = now
        self.handlers: dict[str, Announced] = {}
        self.flights: dict[int, Flight] = {}
        self.taken = 0
        """How many runs it was given."""
        self.worn = False
        """Whether it had as many runs as a process may have: it goes on until another has taken its place."""
        self.blocked = False
        """Whether its event loop does not go on."""
        self.unhealthy = False
        """Whether it was retired because something in it did not end."""
        self.kill_at: float | None = None
        self.killed = False
        self.garbled: str | None = None
        """Why it cannot be trusted any more: users' code has written into its socket."""
        self._frames = to_engine(start.result_bytes_max)
        self._outbox = [pack(start)]
        self._unsent = bytearray()

    def post(self, message: ToRunner) -> None:
        """Keeps a message for the next `flush`. Raises what packing it raises; then it is not kept."""
        self._outbox.append(pack(message))

    def flush(self) -> bool:
        """Sends what is kept, as much as the socket takes. Whether all of it is sent."""
        if self._outbox:
            self._unsent += frame(self._outbox)
            self._outbox.clear()
        while self._unsent:
            try:
                sent = self.socket.send(self._unsent)
            except BlockingIOError:
                return False
            except OSError:  # it is gone; reading tells
                self._unsent.clear()
                return True
            del self._unsent[:sent]
        return True

    @property
    def has_mail(self) -> bool:
        """Whether there is something to send."""
        return bool(self._outbox or self._unsent)

    def receive(self) -> list[ToEngine] | None:
        """What it says, as far as it can be understood; None: it is gone."""
        try:
            data = self.socket.recv(_READ_BYTES)
        except BlockingIOError:
            return []
        except OSError:
            data = b""
        if not data:
            return None
        messages = self._frames.feed(data)
        self.garbled = self.garbled or self._frames.broken
        return messages

    def leave(self, kill_at: float) -> None:
        """Asks it to end; it is killed if it still lives at `kill_at`."""
        if self.kill_at is None:
            self.kill_at = kill_at
            with contextlib.suppress(OSError):
                self.socket.shutdown(socket.SHUT_WR)

    def kill(self) -> None:
        """Ends it and what it started, at once."""
        self.killed = True
        self.kill_at = None
        self.stage = Stage.RETIRED
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def bury(self, patience_seconds: float = 0.0) -> str:
        """Waits until it has ended, and ends what it started. How it ended, for people. It is killed if it has not
        ended by itself after `patience_seconds`.
        """
        if patience_seconds:
            watch = select.poll()
            watch.register(self.watched, select.POLLIN)
            watch.poll(patience_seconds * 1_000)
        killed = self.killed
        self.kill()
        code = self._process.wait()
        self.socket.close()
        os.close(self.watched)
        if self.garbled is not None and not killed:
            return f"killed, because something in it has written to its socket: {self.garbled}"
        if code >= 0:
            return f"exit status {code}"
        name = signal.Signals(-code).name
        return f"killed by {name}" + (", as when memory runs out" if name == "SIGKILL" and not killed else "")
