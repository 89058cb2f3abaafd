"""A process that the supervisor starts, with a socket to it: how it begins, what it says, how it ends.

What both say to each other is lines of JSON. Down go plans, the first one at the start; up come the messages below.
"""

import contextlib
import os
import signal
import socket
import time
from collections.abc import Sequence
from typing import Final

import msgspec

from tasks_server.telemetry.events import Level

LEFT_ALONE: Final = (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
"""Signals that a terminal or a service manager may send to all processes of the server: the supervisor decides."""


class Ready(msgspec.Struct, tag="ready"):
    """A child says that it works."""


class Beat(msgspec.Struct, tag="beat"):
    """A child says that it is alive."""


class Failed(msgspec.Struct, tag="failed"):
    """A child says why it cannot."""

    message: str
    exit_code: int


class Reread(msgspec.Struct, tag="reread"):
    """What reading the settings anew came to: the plan and what else is in force from now on, which settings that were
    changed are in force, which are not before the next start, and what else is to be told.
    """

    plan: msgspec.Raw
    in_force: msgspec.Raw
    log_level: Level
    reloaded: list[str]
    restart: list[str]
    warnings: list[str]


BEAT_SECONDS: Final = 2.0
"""How often a child says that it is alive."""
AGAIN: Final = "again"
"""Said to a child of a server that has been ready before: it must not wait for what it can do without."""
Message = Ready | Beat | Failed | Reread
_MESSAGE: Final = msgspec.json.Decoder(Message)


class Child:
    """One place for a process: who is in it now, and how often it died there."""

    def __init__(self, role: str) -> None:
        self.role = role
        self.pid = 0
        self.channel: socket.socket | None = None
        self._received = b""
        self.started_at = 0.0
        self.start_at = 0.0
        self.deaths = 0
        self.beat_at: float | None = None
        """When it last gave a sign of life; None: it has not begun to."""
        self.ready = False
        self.failure: Failed | None = None

    def start(
        self, command: Sequence[str], lines: bytes, inherited: Sequence[int] = (), words: Sequence[str] = ()
    ) -> socket.socket:
        """Starts a process in this place, with these descriptors and more words at the end of its command, and tells it
        the first lines. Its socket.
        """
        ours, theirs = socket.socketpair()
        self.pid = os.fork()
        if self.pid == 0:
            self._become([*command, self.role, str(theirs.fileno()), *words], theirs, inherited)
        theirs.close()
        self.channel, self._received = ours, b""
        self.ready, self.failure, self.beat_at = False, None, None
        self.started_at = time.monotonic()
        self.tell(lines)
        ours.setblocking(False)
        return ours

    def _become(self, command: list[str], channel: socket.socket, inherited: Sequence[int]) -> None:
        """In the new process: turns it into the child. Never returns."""
        try:
            signal.set_wakeup_fd(-1)
            for number in LEFT_ALONE:
                signal.signal(number, signal.SIG_IGN)
            for number in (signal.SIGCHLD, signal.SIGTERM):
                signal.signal(number, signal.SIG_DFL)
            for descriptor in (channel.fileno(), *inherited):
                os.set_inheritable(descriptor, True)
            os.execv(command[0], command)  # noqa: S606
        except BaseException as error:
            os.write(2, f"tasks-server: cannot start the {self.role} process: {error}\n".encode())
        finally:
            os._exit(127)

    def tell(self, lines: bytes) -> None:
        """Sends lines down. One that is gone hears nothing; SIGCHLD tells."""
        if self.channel is not None:
            with contextlib.suppress(OSError):
                self.channel.sendall(lines)

    def hear(self) -> list[Message] | None:
        """What it says; None: nothing more will come."""
        if self.channel is None:  # its end was noticed in this very round
            return []
        try:
            data = self.channel.recv(65_536)
        except BlockingIOError:
            return []
        except OSError:
            data = b""
        if not data:
            return None
        *lines, self._received = (self._received + data).split(b"\n")
        return [_MESSAGE.decode(line) for line in lines]

    def signal(self, number: signal.Signals) -> None:
        """Sends it a signal, if it is there."""
        if self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def exit_code(self) -> int | None:
        """How it ended, as an exit status or the negative number of a signal; None: it has not."""
        if self.pid:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
        return None


def held_by(pid: int) -> str | None:
    """What keeps a process from running: `stopped` by a signal, or `traced` by a debugger (proc(5)); None: neither."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:  # noqa: PTH123  (no pathlib here)
            state = file.read().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return None
    return {"T": "stopped", "t": "traced"}.get(state)


def how(code: int) -> str:
    """How a process ended, for people."""
    return f"exit status {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"
