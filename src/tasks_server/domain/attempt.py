"""One try of a task: how it can end, and what is recorded of it. Every ending is a value, never an exception."""

from enum import StrEnum
from typing import Final

import msgspec

from tasks_server.domain.notes import Notes


class OutcomeKind(StrEnum):
    """How an attempt ended."""

    SUCCESS = "success"
    HTTP_ERROR = "http_error"
    """The target answered 400 to 599."""
    TIMEOUT = "timeout"
    CONNECTION = "connection"
    """Refused, unknown host, TLS failure, too many redirects, a broken answer."""
    TOO_LARGE = "too_large"
    """Of old attempts alone: the answer was larger than what is kept of one. Now its status counts."""
    HANDLER_ERROR = "handler_error"
    """The handler raised, or its payload or result was not what it declares."""
    CRASHED = "crashed"
    """The process in which the handler ran has ended."""
    BLOCKED = "blocked"
    """The egress policy forbids the call."""
    EXPIRED = "expired"
    """`expireAt` had passed when it was to start; nothing was sent."""
    UNSENDABLE = "unsendable"
    """The stored request cannot be turned into a call; trying again would not help."""
    INTERRUPTED = "interrupted"
    """Cut short by our own shutdown."""
    LOST = "lost"
    """The worker died or lost its lease; what the target saw is unknown."""
    ABORTED = "aborted"
    """The owner paused, revoked or deleted the task during the call."""


UNCOUNTED = frozenset({OutcomeKind.INTERRUPTED, OutcomeKind.LOST, OutcomeKind.ABORTED})
"""Endings that say nothing of the target: they do not count as failures."""
PERMANENT = frozenset({OutcomeKind.BLOCKED, OutcomeKind.EXPIRED, OutcomeKind.UNSENDABLE})
"""Endings that no retry can mend."""


class Redirected(msgspec.Struct, frozen=True, rename="camel"):
    """Where redirects led an attempt: how many were followed, and what was asked for in the end. `url` is cut off where
    it is long, and secret parameters in it are masked. `method_changed`: it is not the task's method, as after 303, or
    after 301 and 302 to a POST; then the data did not come along.
    """

    count: int
    method: str
    url: str
    method_changed: bool = False


NO_ANSWER: Final = 0
"""The status of an attempt that brought no answer; `kind` says why."""
PORTS: Final = "local ports"
"""What a machine may lack towards one target alone."""


class Outcome(msgspec.Struct, frozen=True):
    """What one attempt brought. `status_code`: the target's answer; 0 where there was none, but 408 when its time was
    over and 403 when the call is forbidden. Of a handler 200, 422 for a payload that does not fit, else 500.
    """

    kind: OutcomeKind
    status_code: int = 0
    error: str | None = None
    response: bytes | None = None
    response_truncated: bool = False
    """The target sent more; `response` is the first part."""
    redirected: Redirected | None = None
    """None: no redirect was followed."""
    retry_after_ms: int | None = None
    no_retry: bool = False
    """The target asked for no retries: status 410, 489 or `X-Tasks-No-Retry: true`; or a handler did."""
    lacking: str | None = None
    """What this machine ran out of, so that nothing was sent; the task comes back uncounted."""
    wait_ms: int | None = None
    """How long to wait until the next attempt, whatever the policy says: a handler's wish."""


class Attempt(msgspec.Struct):
    """A recorded try. `due_at` tells how late it began."""

    number: int
    due_at: int
    started_at: int
    ended_at: int
    outcome: OutcomeKind
    status_code: int = 0
    error: str | None = None
    response: bytes | None = None
    response_truncated: bool = False
    redirected: Redirected | None = None
    notes: Notes | None = None
    """What its handler noted."""
    unreadable: str | None = None
    """What is stored of it and cannot be read, why, and what to do."""


class EventFacts(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a task stood when something happened to it: how many attempts had begun, for when it waited (None: it did
    not, or went on to). And which fields were edited.
    """

    attempt: int = 0
    due_at: int | None = None
    fields: list[str] = []


class Event(msgspec.Struct):
    """Something that happened to a task and that neither its row nor its attempts tell. The store adds where the task
    stood.
    """

    at: int
    kind: str
    detail: str | None = None
    facts: EventFacts | None = None
    unreadable: str | None = None
    """What is stored of it and cannot be read, why, and what to do."""
