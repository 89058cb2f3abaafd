"""The parent of the processes that serve: starts them, starts them again when they die, stops them in order.

It is started in place of the command line (`exec`), so that one small process stays: no web framework, no store, no
HTTP client. Each child has a socket to it: the plan goes down, readiness or the reason of a failure comes up, and
its end tells the child that the supervisor is gone, however it went.
"""

import contextlib
import os
import resource
import selectors
import signal
import socket
import sys
import time
from collections.abc import Sequence
from typing import Final

import msgspec

from tasks_server import exit_codes
from tasks_server.children import AGAIN, LEFT_ALONE, Beat, Child, Failed, Ready, Reread, held_by, how
from tasks_server.clock import SystemClock
from tasks_server.telemetry import Format, Telemetry, leave_lost_terminal, write_to_stderr
from tasks_server.telemetry.events import (
    Level,
    ProcessDied,
    ProcessHeld,
    ProcessHung,
    ProcessStarted,
    ProcessStopped,
    RestartNeeded,
    SettingIgnored,
    SettingsNotReloaded,
    SettingsReloaded,
    SignalIgnored,
    Stopping,
)

FIRST_WAIT_SECONDS: Final = 0.1
LONGEST_WAIT_SECONDS: Final = 10.0
HEALTHY_AFTER_SECONDS: Final = 60.0
DEATHS_BEFORE_READY_MAX: Final = 3
KILL_MARGIN_SECONDS: Final = 5.0
"""Beyond the grace time: what settling and closing may take."""
_FILES_MAX: Final = 65_536
_NEVER: Final = float("inf")
_HELD_SECONDS: Final = 2.0
"""Who sleeps so much longer than was meant was held up itself, and cannot tell how long others were silent."""
_READING_SECONDS: Final = 30.0
"""How long reading the settings anew may take."""


class Orders(msgspec.Struct):
    """What the supervisor is to do. `plan` is handed to the children as it is; it and `in_force`, to the program that
    reads the settings anew (`reread`), as two lines.
    """

    roles: list[str]
    command: list[str]
    plan: msgspec.Raw
    reread: list[str] = []
    in_force: msgspec.Raw = msgspec.Raw(b"{}")
    banner: str = ""
    listen_fd: int = -1
    grace_seconds: float = 20.0
    hung_seconds: float = 60.0
    log_level: Level = "info"
    log_format: Format = "console"
    colored: bool = False


def restart_wait_seconds(deaths: int) -> float:
    """How long to wait before a child that died `deaths` times in a row is started again; the first time, not at all.

    >>> [restart_wait_seconds(deaths) for deaths in (1, 2, 3, 4, 20)]
    [0.0, 0.1, 0.2, 0.4, 10.0]
    """
    if deaths <= 1:
        return 0.0
    return float(min(FIRST_WAIT_SECONDS * 2 ** min(deaths - 2, 30), LONGEST_WAIT_SECONDS))


class Supervisor:
    """Runs until SIGTERM or SIGINT. One thread, one selector; every wait is for an event or a known time."""

    def __init__(self, orders: Orders, telemetry: Telemetry) -> None:
        self._orders = orders
        self._telemetry = telemetry
        self._children = [Child(role) for role in orders.roles]
        self._selector = selectors.DefaultSelector()
        self._was_ready = False
        self._stop_at: float | None = None
        self._exit_code = exit_codes.OK
        self._reader: Child | None = None
        """Who reads the settings anew."""
        self._read_by = _NEVER
        self._read_again = False

    def run(self) -> int:
        """Serves. The exit status, once everything has ended."""
        self._listen_to_signals()
        for child in self._children:
            self._start(child)
        while self._stop_at is None or any(child.pid for child in self._children):
            before, timeout = time.monotonic(), self._timeout()
            for key, _ in self._selector.select(timeout):
                key.data()
            if timeout is not None and time.monotonic() - before > timeout + _HELD_SECONDS:
                self._forgive()
            self._on_time()
        if self._reader is not None:
            self._reader.signal(signal.SIGKILL)
        return self._exit_code

    # Signals

    def _listen_to_signals(self) -> None:
        self._wake_in, wake_out = socket.socketpair()
        self._wake_in.setblocking(False)
        wake_out.setblocking(False)
        self._wake_out = wake_out
        signal.set_wakeup_fd(wake_out.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGTERM, *LEFT_ALONE):
            signal.signal(number, lambda *_: None)
        self._selector.register(self._wake_in, selectors.EVENT_READ, self._on_signals)

    def _on_signals(self) -> None:
        for number in self._wake_in.recv(4_096):
            if number in (signal.SIGTERM, signal.SIGINT):
                self._asked_to_stop(signal.Signals(number))
            elif number == signal.SIGHUP:
                self._reload()
            elif number != signal.SIGCHLD:
                self._telemetry.emit(SignalIgnored(signal=signal.Signals(number).name))
        self._reap()

    def _asked_to_stop(self, number: signal.Signals) -> None:
        if self._stop_at is None:
            self._telemetry.emit(Stopping(by=number.name, grace_seconds=self._orders.grace_seconds))
            self._stop()
            return
        self._exit_code = exit_codes.INTERRUPTED if number == signal.SIGINT else exit_codes.TERMINATED
        self._signal_all(signal.SIGKILL)

    # Children

    def _start(self, child: Child) -> None:
        inherited = [self._orders.listen_fd] if child.role == "api" else []
        channel = child.start(
            self._orders.command, bytes(self._orders.plan) + b"\n", inherited, [AGAIN] if self._was_ready else []
        )
        self._selector.register(channel, selectors.EVENT_READ, lambda: self._on_message(child))

    def _on_message(self, child: Child) -> None:
        messages = child.hear()
        if messages is None:
            self._hang_up(child)
            return
        for message in messages:
            match message:
                case Beat():
                    child.beat_at = time.monotonic()
                case Failed():
                    child.failure = message
                case Ready():
                    child.ready = True
                    self._telemetry.emit(ProcessStarted(role=child.role, pid=child.pid))
                case Reread():
                    child.ready = True
                    self._take_over(message)
        self._greet()

    def _greet(self) -> None:
        if not self._was_ready and all(child.ready for child in self._children):
            self._was_ready = True
            with contextlib.suppress(OSError):
                os.write(1, self._orders.banner.encode())

    def _hang_up(self, child: Child) -> None:
        if child.channel is not None:
            self._selector.unregister(child.channel)
            child.channel.close()
            child.channel = None

    def _reap(self) -> None:
        for child in self._children:
            if (code := child.exit_code()) is not None:
                self._ended(child, code)
        if self._reader is not None and (code := self._reader.exit_code()) is not None:
            self._has_read(self._reader, code)

    def _ended(self, child: Child, code: int) -> None:
        self._on_message(child)  # its last words
        self._hang_up(child)
        pid, child.pid = child.pid, 0
        if self._stop_at is not None:
            self._telemetry.emit(ProcessStopped(role=child.role, pid=pid))
            return
        now = time.monotonic()
        child.deaths = 1 if now - child.started_at >= HEALTHY_AFTER_SECONDS else child.deaths + 1
        if self._gives_up(child, code):
            return
        wait = restart_wait_seconds(child.deaths)
        child.start_at = now + wait
        told = child.failure.message if child.failure else how(code)
        self._telemetry.emit(ProcessDied(role=child.role, pid=pid, how=told, restart_in_ms=round(wait * 1_000)))

    def _gives_up(self, child: Child, code: int) -> bool:
        """Before it was ever ready, a server that cannot start says why and ends; later, it keeps trying."""
        if self._was_ready:
            return False
        if child.failure is None and child.deaths < DEATHS_BEFORE_READY_MAX:
            return False
        if child.failure is not None:
            message, self._exit_code = child.failure.message, child.failure.exit_code
        else:
            message = f"the {child.role} process ended {child.deaths} times before it was ready ({how(code)})"
            self._exit_code = exit_codes.REFUSED
        write_to_stderr(f"tasks-server: {message}\n".encode())
        self._stop()
        return True

    # Settings

    def _reload(self) -> None:
        """Has the settings read anew. Asked while that goes on, it is done once more: they may have changed again."""
        leave_lost_terminal()
        if self._reader is not None or self._stop_at is not None:
            self._read_again = True
            return
        self._reader, self._read_again = Child("settings"), False
        lines = b"".join(bytes(line) + b"\n" for line in (self._orders.plan, self._orders.in_force))
        reader = self._reader
        channel = reader.start(self._orders.reread, lines)
        self._read_by = reader.started_at + _READING_SECONDS
        self._selector.register(channel, selectors.EVENT_READ, lambda: self._on_message(reader))

    def _take_over(self, read: Reread) -> None:
        """What was read is in force from now on, here; children get it when the reader has ended."""
        self._orders.plan, self._orders.in_force = read.plan, read.in_force
        for warning in read.warnings:
            self._telemetry.emit(SettingIgnored(message=warning))
        reloaded = SettingsReloaded(settings=", ".join(read.reloaded) or "none has changed")
        told = self._telemetry.emit(reloaded)
        self._telemetry.set_level(read.log_level)
        if not told:
            self._telemetry.emit(reloaded)
        if read.restart:
            self._telemetry.emit(RestartNeeded(settings=", ".join(read.restart)))

    def _has_read(self, reader: Child, code: int) -> None:
        self._on_message(reader)
        self._hang_up(reader)
        self._reader = None
        if not reader.ready:
            error = reader.failure.message if reader.failure else f"the process that reads them: {how(code)}"
            self._telemetry.emit(SettingsNotReloaded(error=error))
        for child in self._children:  # also when nothing has changed: the terminal may have gone
            child.tell(bytes(self._orders.plan) + b"\n")
        if self._read_again:
            self._reload()

    # Time

    def _timeout(self) -> float | None:
        times = [child.start_at for child in self._children if not child.pid and self._stop_at is None]
        if self._stop_at is None and self._orders.hung_seconds:
            beats = [child.beat_at for child in self._children if child.pid and child.beat_at is not None]
            times += [beat_at + self._orders.hung_seconds for beat_at in beats]
        if self._reader is not None:
            times.append(self._read_by)
        if self._stop_at is not None:
            times.append(self._stop_at)
        soonest = min(times, default=_NEVER)
        return None if soonest == _NEVER else max(0.0, soonest - time.monotonic())

    def _on_time(self) -> None:
        now = time.monotonic()
        if self._reader is not None and now >= self._read_by:
            self._read_by = _NEVER
            self._reader.signal(signal.SIGKILL)
        if self._stop_at is None:
            for child in self._children:
                if not child.pid and child.start_at <= now:
                    self._start(child)
                elif child.pid and child.beat_at is not None:
                    self._look_after(child, child.beat_at, now)
        elif now >= self._stop_at:
            self._stop_at = _NEVER
            self._exit_code = self._exit_code or exit_codes.REFUSED
            write_to_stderr(b"tasks-server: not everything stopped within the grace time; ending the rest\n")
            self._signal_all(signal.SIGKILL)

    def _forgive(self) -> None:
        """We stood still, or the machine did: whoever was silent meanwhile gets as much time once more."""
        now = time.monotonic()
        for child in self._children:
            child.beat_at = None if child.beat_at is None else now

    def _look_after(self, child: Child, beat_at: float, now: float) -> None:
        """Ends a child that hangs; SIGCHLD tells of its end, and it is started again."""
        if not self._orders.hung_seconds or now - beat_at < self._orders.hung_seconds:
            return
        child.beat_at = now  # what the kernel holds may take long to end, and whoever is held may be let go
        if held := held_by(child.pid):
            self._telemetry.emit(ProcessHeld(role=child.role, pid=child.pid, state=held))
            return
        silent_ms = round((now - beat_at) * 1_000)
        self._telemetry.emit(ProcessHung(role=child.role, pid=child.pid, silent_ms=silent_ms))
        child.signal(signal.SIGKILL)

    def _stop(self) -> None:
        """Everybody at once: the API accepts no more, the engine claims no more, each finishes what it has."""
        self._stop_at = time.monotonic() + self._orders.grace_seconds + KILL_MARGIN_SECONDS
        if self._orders.listen_fd >= 0:
            os.close(self._orders.listen_fd)
            self._orders.listen_fd = -1
        self._signal_all(signal.SIGTERM)

    def _signal_all(self, number: signal.Signals) -> None:
        for child in self._children:
            child.signal(number)


def replace_this_process(orders: Orders) -> None:
    """Turns the running process into the supervisor: same process id, none of its memory. Never returns."""
    read, write = os.pipe()
    data = msgspec.json.encode(orders)
    if len(data) > 60_000:  # what a pipe holds without a reader
        raise ValueError("the plan is too large to hand over")
    os.write(write, data)
    os.close(write)
    os.set_inheritable(read, True)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # what it asks for has just been done
    if orders.listen_fd >= 0:
        os.set_inheritable(orders.listen_fd, True)
    command = python_module("tasks_server.supervisor", str(read))
    os.execv(command[0], command)  # noqa: S606


def python_module(name: str, *arguments: str) -> list[str]:
    """The command that runs a module of ours; files in the working directory cannot take its place."""
    return [sys.executable, "-P", "-m", name, *arguments]


def main(arguments: Sequence[str]) -> int:
    """What `replace_this_process` starts: reads the orders and obeys."""
    with os.fdopen(int(arguments[0]), "rb") as pipe:
        orders = msgspec.json.decode(pipe.read(), type=Orders)
    if orders.listen_fd >= 0:
        os.set_inheritable(orders.listen_fd, False)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES_MAX if hard == resource.RLIM_INFINITY else min(_FILES_MAX, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    telemetry = Telemetry(SystemClock(), orders.log_level, orders.log_format, colored=orders.colored)
    return Supervisor(orders, telemetry).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
