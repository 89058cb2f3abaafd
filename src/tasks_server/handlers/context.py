"""What a handler gets to know of the attempt it works on, and the exceptions by which it steers its task."""

import logging
import threading
from collections.abc import MutableMapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from tasks_server.clock import SystemClock
from tasks_server.handlers.noting import Noting

_CLOCK: Final = SystemClock()


class Retry(Exception):
    """Raised by a handler: this attempt failed, try again `after` so many seconds (or a timedelta), whatever the task's
    waits are; None: after the wait that is due. It counts as a failure: when no retries are left, the task fails.
    """

    def __init__(self, message: str = "", *, after: float | timedelta | None = None) -> None:
        super().__init__(message)
        if isinstance(after, bool) or not isinstance(after, int | float | timedelta | None):
            raise TypeError(f"after must be a number of seconds or a timedelta, not {after!r}")
        seconds = after.total_seconds() if isinstance(after, timedelta) else after
        if seconds is not None and not 0 <= seconds < float("inf"):
            raise ValueError(f"after must be 0 or more seconds, not {after}")
        self.after_seconds = seconds


class Permanent(Exception):
    """Raised by a handler: the task fails for good, whatever retries are left."""


class Stopped(BaseException):
    """Raised inside of a handler that is no coroutine when its time is over or its task was paused or revoked. Not an
    `Exception`, so that `except Exception` does not hold it up.
    """


class TaskLogger(logging.LoggerAdapter[logging.Logger]):
    """A logger whose lines carry the id of the task."""

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        kwargs["extra"] = {**(kwargs.get("extra") or {}), **(self.extra or {})}
        return msg, kwargs


class Context:
    """The attempt that a handler works on. Instants are aware datetimes in UTC. Made without arguments it is that of
    a first attempt with thirty seconds, for tests that call a handler themselves.
    """

    __slots__ = (
        "_created_ms",
        "_due_ms",
        "_ends_at",
        "_noting",
        "attempt",
        "cancelled",
        "failures",
        "metadata",
        "name",
        "task_id",
    )

    def __init__(
        self,
        *,
        task_id: str = "TEST",
        name: str = "test",
        attempt: int = 1,
        failures: int = 0,
        created_at_ms: int | None = None,
        due_at_ms: int | None = None,
        timeout_seconds: float = 30.0,
        metadata: dict[str, str] | None = None,
        noting: Noting | None = None,
    ) -> None:
        now_ms = _CLOCK.now() if created_at_ms is None or due_at_ms is None else 0
        self.task_id = task_id
        self.name = name
        """The name that the handler is registered with."""
        self.attempt = attempt
        """1 for the first; it only grows."""
        self.failures = failures
        """How many attempts have failed since the last success."""
        self.metadata: dict[str, str] = metadata or {}
        """What the task was registered with beside its payload."""
        self.cancelled = threading.Event()
        """Set when the attempt is over for the server: its time is up, or its task was paused, revoked, deleted."""
        self._noting = Noting(_CLOCK.now) if noting is None else noting
        self._created_ms = now_ms if created_at_ms is None else created_at_ms
        self._due_ms = now_ms if due_at_ms is None else due_at_ms
        self._ends_at = _CLOCK.monotonic() + timeout_seconds

    @property
    def created_at(self) -> datetime:
        """When the task was registered."""
        return _instant(self._created_ms)

    @property
    def due_at(self) -> datetime:
        """When this attempt was due."""
        return _instant(self._due_ms)

    @property
    def deadline(self) -> datetime:
        """When the time of this attempt is over."""
        return _instant(_CLOCK.now()) + timedelta(seconds=self._ends_at - _CLOCK.monotonic())

    @property
    def remaining(self) -> float:
        """How many seconds are left until the deadline; 0 when it has passed."""
        return max(0.0, self._ends_at - _CLOCK.monotonic())

    def is_cancelled(self) -> bool:
        """Whether to give up: nobody waits for the result any more."""
        return self.cancelled.is_set()

    def progress(self, fraction: float | None = None, message: object = None) -> None:
        """Notes how far the attempt has come, from 0 to 1, and what to say of it. It is shown with the attempt, while
        it runs and afterwards; without arguments it is a sign of life. Costs no write: what is noted within a second
        is stored together. Raises `TypeError` for a fraction that is no number.
        """
        self._noting.progress(fraction, message)

    def log(self, text: object) -> None:
        """Adds a line to the log of the attempt, which its owner sees; of many lines, the last hundred are kept."""
        self._noting.log(text)

    @property
    def logger(self) -> TaskLogger:
        """A logger of the standard library, named after the handler; its lines carry the task's id."""
        return TaskLogger(logging.getLogger(f"handlers.{self.name}"), {"task": self.task_id})

    def __repr__(self) -> str:
        return f"Context(task_id={self.task_id!r}, name={self.name!r}, attempt={self.attempt})"


def _instant(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1_000, UTC)
