"""The events that are told: typed, with their fields and how important each is.

They carry facts, never secrets, bodies or header values; URLs go through `shown_url`.
"""

import re
from typing import ClassVar, Final, Literal
from urllib.parse import urlsplit

import msgspec

from tasks_server import traces
from tasks_server.domain import texts

Level = Literal["debug", "info", "warning", "error"]
VALUE_LENGTH_MAX: Final = 16_384
"""Characters of a field in a line; a trace has a bound of its own (`traces.LENGTH_MAX`)."""
_WORDS: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


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


class DatabaseChanged(TelemetryEvent, frozen=True):
    """The server works on another database than the one that was started last with this data folder."""

    level: ClassVar[Level] = "warning"
    before: str
    now: str


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


class LoopHeld(TelemetryEvent, frozen=True):
    """Something kept the API from serving others for so long. `where`: the places in the code, the innermost first."""

    level: ClassVar[Level] = "warning"
    quiet_ms: ClassVar[int] = 1_000
    ms: int
    where: str


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


class ClockSet(TelemetryEvent, frozen=True):
    """The clock by which tasks are due was set ahead or, by less than nothing, back: by so much at least."""

    level: ClassVar[Level] = "warning"
    by_ms: int


class PutRight(TelemetryEvent, frozen=True):
    """After the clock was set back: so many waits began once more, so many schedules go on from now."""

    waits: int
    schedules: int


class TasksRescued(TelemetryEvent, frozen=True):
    """Tasks run again, because the engine that had them in work is gone or has not extended their leases. `host` and
    `pid` are empty and 0 where that engine never told of itself.
    """

    level: ClassVar[Level] = "warning"
    count: int
    node: int
    host: str
    pid: int


class EngineSilent(TelemetryEvent, frozen=True):
    """An engine that was not asked to stop has told nothing for so long: it hangs, its process is stopped, its machine
    is gone, or it does not reach the database. What it has in work waits for its leases to end.
    """

    level: ClassVar[Level] = "warning"
    quiet_ms: ClassVar[int] = 60_000
    node: int
    host: str
    pid: int
    since: int
    in_flight: int


class EngineHeard(TelemetryEvent, frozen=True):
    """An engine that was silent tells of itself again."""

    node: int
    host: str
    pid: int


class ProcessHung(TelemetryEvent, frozen=True):
    """A process of ours gave no sign of life for so long; it is ended, and started again."""

    level: ClassVar[Level] = "error"
    role: str
    pid: int
    silent_ms: int


class ProcessHeld(TelemetryEvent, frozen=True):
    """A process of ours gives no sign of life, because somebody stopped it (SIGSTOP) or looks at it with a debugger. It
    is left as it is.
    """

    level: ClassVar[Level] = "warning"
    role: str
    pid: int
    state: str


class TargetFailing(TelemetryEvent, frozen=True):
    """Attempts to call a target failed: the first one, and then once a minute how many more. `status` and `outcome` are
    those of the last one; `hosts` counts those that are not told by name, since there are too many.
    """

    level: ClassVar[Level] = "warning"
    target: str
    failures: int
    outcome: str
    status: int
    hosts: int = 0


class KeyFileTrouble(TelemetryEvent, frozen=True):
    """The file of the cipher key is gone or cannot be read. The server goes on with the key that it has; the next start
    will not find it.
    """

    level: ClassVar[Level] = "error"
    quiet_ms: ClassVar[int] = 60_000
    message: str


class KeyFileBack(TelemetryEvent, frozen=True):
    """The file of the cipher key can be read again."""

    path: str


class DutyDone(TelemetryEvent, frozen=True):
    """A background duty found work: tasks expired or pruned."""

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

    level: ClassVar[Level] = "warning"
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
