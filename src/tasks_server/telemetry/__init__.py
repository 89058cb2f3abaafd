"""What the server tells of itself: typed events, and the sink that turns them into log lines.

Events carry facts, never secrets, bodies or header values; URLs go through `shown_url`. On hot paths ask
`telemetry.debug` first: then an event that nobody wants costs one attribute look-up. No metrics and traces yet.
"""

import contextlib
import errno
import os
import termios
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, Literal

import msgspec

from tasks_server import traces
from tasks_server.clock import Clock
from tasks_server.domain import texts
from tasks_server.domain.errors import StoreError
from tasks_server.telemetry.events import (
    VALUE_LENGTH_MAX,
    Level,
    StoreBack,
    StoreTrouble,
    TelemetryEvent,
    event_name,
)

Format = Literal["console", "json"]
_RANK: Final[dict[Level, int]] = {"debug": 0, "info": 1, "warning": 2, "error": 3}
_QUIET_MAX: Final = 1_000
_BACK_AFTER_SECONDS: Final = 5.0
_PLAIN: Final = frozenset({int, float, bool, type(None)})
_COLORS: Final[dict[Level, str]] = {"debug": "\x1b[2m", "info": "\x1b[32m", "warning": "\x1b[33m", "error": "\x1b[31m"}


def write_to(descriptor: int) -> Callable[[bytes], None]:
    """What writes lines to a file: one line, one system call, so that lines of several processes do not mix."""

    def write(line: bytes) -> None:
        with contextlib.suppress(OSError):  # nobody listens any more; work goes on
            os.write(descriptor, line)

    return write


write_to_stderr: Final = write_to(2)


def leave_lost_terminal() -> None:
    """Lets the standard streams of this process that belong to a terminal which is gone lead nowhere, so that whoever
    prints goes on; does nothing to others.
    """
    for stream in (0, 1, 2):
        try:
            termios.tcgetattr(stream)
        except termios.error as error:
            if error.args[0] == errno.EIO:
                nowhere = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
                os.dup2(nowhere, stream)
                os.close(nowhere)


class Telemetry:
    """Takes events in and writes those that are important enough, one line each."""

    def __init__(
        self,
        clock: Clock,
        level: Level = "info",
        form: Format = "console",
        write: Callable[[bytes], None] = write_to_stderr,
        colored: bool = False,
    ) -> None:
        self._clock = clock
        self._write = write
        self._render = _json_line if form == "json" else _colored_line if colored else _console_line
        self.set_level(level)
        self._quiet_until: dict[TelemetryEvent, float] = {}
        self._failing: dict[str, tuple[float, str]] = {}
        self._failed_at = 0.0
        self._worked_at: float | None = None
        self._trouble_told = False

    def set_level(self, level: Level) -> None:
        """From now on, events of this importance and above are told."""
        self._least = _RANK[level]
        self.debug = level == "debug"

    def emit(self, event: TelemetryEvent) -> bool:
        """Tells of `event`, if it is important enough. Whether it did. Never raises: what cannot be written as it is,
        such as half of a surrogate pair, is escaped, and what is too long is cut.
        """
        if _RANK[event.level] < self._least:
            return False
        try:
            now = self._clock.now()
            if event.quiet_ms and self._is_quiet(event):
                return False
            self._write(self._render(now, event))
        except Exception:  # a line less is better than work that is not done because of it
            return False
        return True

    def _is_quiet(self, event: TelemetryEvent) -> bool:
        """Whether the same event was told a moment ago."""
        at = self._clock.monotonic()
        if at < self._quiet_until.get(event, 0.0):
            return True
        if len(self._quiet_until) >= _QUIET_MAX:
            self._quiet_until.clear()
        self._quiet_until[event] = at + event.quiet_ms / 1_000
        return False

    def store_failed(self, doing: str, error: StoreError) -> None:
        """Tells now and then that the store cannot do something, which is tried again, until `store_worked`."""
        self._failed_at = self._clock.monotonic()
        self._failing.setdefault(doing, (self._failed_at, error.code))
        self._worked_at = None
        told = self.emit(StoreTrouble(doing=doing, code=error.code, message=error.message))
        self._trouble_told = self._trouble_told or told

    def store_worked(self, doing: str) -> None:
        """The store did this. If it could not before, and that was told, so is this: once for all that failed."""
        if not self._failing:
            return
        if self._worked_at is None:
            self._worked_at = self._clock.monotonic()
        if doing in self._failing:
            self._is_back(doing)

    def store_writes(self, doing: str) -> None:
        """The store took a write for `doing`. After some seconds without a failure it is back, whether anybody tries
        anew what had failed or not.
        """
        self.store_worked(doing)
        if self._failing and self._clock.monotonic() - self._failed_at >= _BACK_AFTER_SECONDS:
            self._is_back(doing)

    def troubles(self) -> list[tuple[str, str, int]]:
        """What the store could not do last: what, the code of the first error, and for how many ms."""
        now = self._clock.monotonic()
        return [(doing, code, round((now - since) * 1_000)) for doing, (since, code) in self._failing.items()]

    def _is_back(self, doing: str) -> None:
        """It was away from the first failure until something worked after the last."""
        since, self._failing = min(since for since, _ in self._failing.values()), {}
        assert self._worked_at is not None
        if self._trouble_told:
            self._trouble_told = False
            self.emit(StoreBack(doing=doing, away_ms=round((self._worked_at - since) * 1_000)))


def _fields(event: TelemetryEvent) -> dict[str, object]:
    """The fields of an event as they can be written, whatever they were given."""
    return {field: _writable(getattr(event, field), field) for field in event.__struct_fields__}


def _writable(value: object, field: str) -> object:
    if type(value) in _PLAIN:
        return value
    length_max = traces.LENGTH_MAX if field == "trace" else VALUE_LENGTH_MAX
    return texts.fitting(value, length_max) if type(value) is str else texts.shown(value, length_max)


def _instant(now: int) -> str:
    return datetime.fromtimestamp(now / 1_000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _json_line(now: int, event: TelemetryEvent) -> bytes:
    head = {"at": _instant(now), "level": event.level, "event": event_name(type(event))}
    return msgspec.json.encode(head | _fields(event)) + b"\n"


def _console_line(now: int, event: TelemetryEvent, paint: str = "", plain: str = "") -> bytes:
    fields = _fields(event)
    trace = str(fields.pop("trace", "")).rstrip()
    told = "  ".join(f"{name}={_one_line(value)}" for name, value in fields.items())
    head = f"{_instant(now)} {paint}{event.level:<7}{plain} {event_name(type(event)).replace('_', ' '):<18} {told}"
    return (head.rstrip() + (f"\n{trace}" if trace else "") + "\n").encode("utf-8", "backslashreplace")


def _colored_line(now: int, event: TelemetryEvent) -> bytes:
    return _console_line(now, event, _COLORS[event.level], "\x1b[0m")


def _one_line(value: object) -> str:
    """A value that cannot break out of its line, whoever chose it."""
    text = str(value)
    return text if text.isprintable() else repr(text)
