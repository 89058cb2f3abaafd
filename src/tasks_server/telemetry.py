"""What the server tells of itself: typed events, and the sink that turns them into log lines.

Events carry facts, never secrets, bodies or header values; URLs go through `shown_url`. On hot paths ask
`telemetry.debug` first: then an event that nobody wants costs one attribute look-up. No metrics and traces yet.
"""

import contextlib
import errno
import os
import re
import termios
from collections.abc import Callable
from datetime import UTC, datetime
from typing import ClassVar, Final, Literal
from urllib.parse import urlsplit

import msgspec

from tasks_server import traces
from tasks_server.clock import Clock
from tasks_server.domain import texts
from tasks_server.domain.errors import StoreError

Level = Literal["debug", "info", "warning", "error"]
Format = Literal["console", "json"]
_RANK: Final[dict[Level, int]] = {"debug": 0, "info": 1, "warning": 2, "error": 3}
_QUIET_MAX: Final = 1_000
VALUE_LENGTH_MAX: Final = 16_384
"""Characters of a field in a line; a trace has a bound of its own (`traces.LENGTH_MAX`)."""
_PLAIN: Final = frozenset({int, float, bool, type(None)})
_WORDS: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_COLORS: Final[dict[Level, str]] = {"debug": "\x1b[2m", "info": "\x1b[32m", "warning": "\x1b[33m", "error": "\x1b[31m"}


class TelemetryEvent(msgspec.Struct, frozen=True):
    """Something worth telling. A subclass says what, in its fields, and how important it is."""

    level: ClassVar[Level] = "info"
    quiet_ms: ClassVar[int] = 0
    """How long the same event is not told again: what happens to every request would bury all else."""


class ProcessStarted(TelemetryEvent, frozen=True):
    """A process of ours is ready for work."""

    role: str
    pid: int


class ProcessStopped(TelemetryEvent, frozen=True):
    """A process of ours ended as it was asked to."""

    role: str
    pid: int


class ProcessDied(TelemetryEvent, frozen=True):
    """A process of ours ended on its own; it is started again after the wait."""

    level: ClassVar[Level] = "error"
    role: str
    pid: int
    how: str
    restart_in_ms: int


class Stopping(TelemetryEvent, frozen=True):
    """The server was asked to stop."""

    by: str
    grace_seconds: float


class SignalIgnored(TelemetryEvent, frozen=True):
    """The server got a signal that means nothing to it."""

    level: ClassVar[Level] = "warning"
    signal: str


class SettingsReloaded(TelemetryEvent, frozen=True):
    """The settings were read anew: which of those that have changed are in force now."""

    settings: str


class RestartNeeded(TelemetryEvent, frozen=True):
    """The settings were read anew: which of those that have changed are in force after the next start only."""

    level: ClassVar[Level] = "warning"
    settings: str


class SettingsNotReloaded(TelemetryEvent, frozen=True):
    """The settings could not be read anew; all stay as they were."""

    level: ClassVar[Level] = "error"
    error: str


class SettingIgnored(TelemetryEvent, frozen=True):
    """Something is set that has no effect."""

    level: ClassVar[Level] = "warning"
    message: str


class ConnectionsDropped(TelemetryEvent, frozen=True):
    """There were more connections than places, or too many of one address; so many idle ones were closed since this was
    last told, most of them of this address.
    """

    level: ClassVar[Level] = "warning"
    count: int
    places: int
    most_of: str


class FilesShort(TelemetryEvent, frozen=True):
    """The system lets this process have too few files open for the connections that it is to have."""

    level: ClassVar[Level] = "warning"
    files: int
    connections_wanted: int
    connections: int
    advice: str = "raise LimitNOFILE= of the service, or `ulimit -n` before the start"


class RequestServed(TelemetryEvent, frozen=True):
    """The API answered."""

    level: ClassVar[Level] = "debug"
    method: str
    path: str
    status: int
    ms: float
    request_id: str


class AttemptEnded(TelemetryEvent, frozen=True):
    """A task was tried."""

    level: ClassVar[Level] = "debug"
    task: str
    attempt: int
    target: str
    outcome: str
    status: int
    ms: int


class PayloadLogged(TelemetryEvent, frozen=True):
    """The handler `default` ran."""

    task: str
    attempt: int
    payload: str


class HandlerLine(TelemetryEvent, frozen=True):
    """A handler logged something."""

    task: str
    logger: str
    message: str
    trace: str = ""


class HandlerDetail(HandlerLine, frozen=True):
    """The same, for who looks closely."""

    level: ClassVar[Level] = "debug"


class HandlerWarning(HandlerLine, frozen=True):
    """The same, and somebody should look at it."""

    level: ClassVar[Level] = "warning"


class HandlerProblem(HandlerLine, frozen=True):
    """The same, and something is broken."""

    level: ClassVar[Level] = "error"


class HandlerFailed(TelemetryEvent, frozen=True):
    """A handler raised something, or could not be called with its payload."""

    level: ClassVar[Level] = "warning"
    task: str
    handler: str
    attempt: int
    error: str
    trace: str = ""


class ResultNotKept(TelemetryEvent, frozen=True):
    """A handler did its work, but what it gave cannot be stored."""

    level: ClassVar[Level] = "warning"
    task: str
    handler: str
    reason: str


class LoopBlocked(TelemetryEvent, frozen=True):
    """A coroutine keeps the event loop from going on; `trace` shows where. Without a task: nobody knows which one."""

    level: ClassVar[Level] = "error"
    task: str
    handler: str
    trace: str


class LoopDisturbed(TelemetryEvent, frozen=True):
    """Something in a process for handlers stopped its event loop, or raised in a task of its own what ends a program,
    such as SystemExit. The loop goes on.
    """

    level: ClassVar[Level] = "error"
    how: str
    trace: str


class HandlersImporting(TelemetryEvent, frozen=True):
    """The import of these modules takes long; none of their handlers runs before its end."""

    level: ClassVar[Level] = "warning"
    modules: str


class HandlersLoaded(TelemetryEvent, frozen=True):
    """A process for handlers is ready."""

    pid: int
    handlers: str


class RunnerRetired(TelemetryEvent, frozen=True):
    """A process for handlers gets no more calls; another takes its place."""

    level: ClassVar[Level] = "warning"
    pid: int
    reason: str


class HandlersNotLoaded(TelemetryEvent, frozen=True):
    """The handlers cannot be imported; it is tried again after the wait. Meanwhile all else goes on."""

    level: ClassVar[Level] = "error"
    quiet_ms: ClassVar[int] = 60_000
    error: str
    retry_in_ms: int
    trace: str


class StoreTrouble(TelemetryEvent, frozen=True):
    """The store could not do something now; it is tried again."""

    level: ClassVar[Level] = "warning"
    quiet_ms: ClassVar[int] = 5_000
    doing: str
    code: str
    message: str


class ResourcesShort(TelemetryEvent, frozen=True):
    """The machine has not enough of something to send a task, which comes back uncounted; the engine takes fewer."""

    level: ClassVar[Level] = "warning"
    quiet_ms: ClassVar[int] = 5_000
    lacking: str
    in_flight: int


class StoreBack(TelemetryEvent, frozen=True):
    """The store does again what it could not, after so long."""

    doing: str
    away_ms: int


class DutyDone(TelemetryEvent, frozen=True):
    """A background duty found work: tasks rescued from dead workers, expired, or pruned."""

    duty: str
    count: int


class BulkEnded(TelemetryEvent, frozen=True):
    """A piece of bulk work has come to its end: how many tasks it looked at, and what became of those it was for."""

    bulk: str
    action: str
    state: str
    seen: int
    changed: int
    skipped: int


class BulkStepFailed(TelemetryEvent, frozen=True):
    """A step of bulk work could not be done: when it is tried again, or that it has ended (None). `trace` is for
    whoever mends it.
    """

    level: ClassVar[Level] = "error"
    bulk: str
    retry_in_ms: int | None
    error: str
    trace: str

    @classmethod
    def of(cls, bulk: str, error: BaseException, retry_in_ms: int | None) -> "BulkStepFailed":
        """The event of an exception that a step raised."""
        return cls(bulk, retry_in_ms, texts.described(error, VALUE_LENGTH_MAX), traces.traced(error))


class StoredUnreadable(TelemetryEvent, frozen=True):
    """One thing that is stored cannot be read: what, why, and what to do. All else goes on."""

    level: ClassVar[Level] = "warning"
    quiet_ms: ClassVar[int] = 60_000
    doing: str
    message: str


class RunsMissed(TelemetryEvent, frozen=True):
    """Fire times of a schedule, from the first to the last of them, got no task."""

    quiet_ms: ClassVar[int] = 60_000
    schedule: str
    reason: str
    first_at: int
    last_at: int


class Unexpected(TelemetryEvent, frozen=True):
    """A fault of ours. `trace` is for whoever mends it."""

    level: ClassVar[Level] = "error"
    doing: str
    error: str
    trace: str

    @classmethod
    def of(cls, doing: str, error: BaseException) -> "Unexpected":
        """The event of an exception that nobody expected."""
        return cls(doing=doing, error=texts.described(error, VALUE_LENGTH_MAX), trace=traces.traced(error))


def event_name(kind: type[TelemetryEvent]) -> str:
    """The name of an event in log lines.

    >>> event_name(ProcessDied)
    'process_died'
    """
    return _WORDS.sub("_", kind.__name__).lower()


def shown_url(url: str) -> str:
    """A URL that may be logged: without user, password, query and fragment.

    >>> shown_url("https://me:secret@host.test:8443/a/b?token=1#x")
    'https://host.test:8443/a/b'
    >>> shown_url("http://[broken")
    '(no valid URL)'
    """
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
    except ValueError:
        return "(no valid URL)"
    return f"{parts.scheme}://{host}{parts.path}"


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
        self._quiet_until: dict[TelemetryEvent, int] = {}
        self._failing: dict[str, float] = {}
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
            if event.quiet_ms and self._is_quiet(event, now):
                return False
            self._write(self._render(now, event))
        except Exception:  # a line less is better than work that is not done because of it
            return False
        return True

    def _is_quiet(self, event: TelemetryEvent, now: int) -> bool:
        """Whether the same event was told a moment ago."""
        if now < self._quiet_until.get(event, 0):
            return True
        if len(self._quiet_until) >= _QUIET_MAX:
            self._quiet_until.clear()
        self._quiet_until[event] = now + event.quiet_ms
        return False

    def store_failed(self, doing: str, error: StoreError) -> None:
        """Tells now and then that the store cannot do something, which is tried again, until `store_worked`."""
        self._failing.setdefault(doing, self._clock.monotonic())
        told = self.emit(StoreTrouble(doing=doing, code=error.code, message=error.message))
        self._trouble_told = self._trouble_told or told

    def store_worked(self, doing: str) -> None:
        """The store did this. If it could not before, and that was told, so is this: once for all that failed."""
        if doing not in self._failing:
            return
        since = self._failing[doing]
        self._failing.clear()
        if self._trouble_told:
            self._trouble_told = False
            self.emit(StoreBack(doing=doing, away_ms=round((self._clock.monotonic() - since) * 1_000)))


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
