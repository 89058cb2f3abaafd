"""The task as the store knows it, and what is handed in to make one."""

from enum import StrEnum
from typing import Final

import msgspec

from tasks_server.domain import limits
from tasks_server.domain.attempt import OutcomeKind


class State(StrEnum):
    """Where a task stands. `docs/ARCHITECTURE.md` draws how they follow each other, from `lifecycle.TRANSITIONS`."""

    SCHEDULED = "scheduled"
    AVAILABLE = "available"
    RUNNING = "running"
    RETRYABLE = "retryable"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"
    REVOKED = "revoked"


FINAL = frozenset({State.COMPLETED, State.FAILED, State.REVOKED})
WAITING = frozenset({State.SCHEDULED, State.RETRYABLE})
"""Waits for its time; promoted when it comes."""
PENDING = WAITING | {State.AVAILABLE}
"""Waits for its time or for a slot: not begun, not stopped."""


HANDLER_MARK: Final = "@"


class Task(msgspec.Struct):
    """One unit of work. Instants are ms since the epoch; 0 means "not yet".

    `attempt` only grows; `failures` counts those since the last success and drives the wait and giving up;
    `repeats` counts the repeats that were planned. `execution_at` is what lists call the estimate: when the next
    attempt is due, or when the last began. `ended_at` is the end, or the time of the pause while paused.
    """

    id: str
    owner: str
    lane: str
    state: State
    priority: int
    created_at: int
    due_at: int
    execution_at: int
    ended_at: int = 0
    attempt: int = 0
    failures: int = 0
    repeats: int = 0
    status_code: int = 0
    error: str | None = None
    remaining_ms: int | None = None
    """The wait that was left when it was paused; while it is not, how long the wait for `due_at` is when it begins.
    None: it waits for an instant, not for so long.
    """
    expire_at: int | None = None
    target: str = ""
    forced: bool = False
    """Its owner wants it run now: first in line until its next attempt."""
    metadata: dict[str, str] | None = None
    response: bytes | None = None
    response_truncated: bool = False
    """The target sent more than that; loaded with it."""
    outcome: OutcomeKind | None = None
    """How the last attempt ended that was recorded; loaded with its response."""
    schedule: str | None = None
    """The id of the schedule that made it; loaded with its response."""
    fire_at: int = 0
    """The fire time that it was made for."""
    callback_of: str | None = None
    """The id of the task of whose end it tells; loaded with its response."""
    held_by: int | None = None
    """The number of the process that holds its lease, while it runs; loaded with its response."""
    unreadable: str | None = None
    """What is stored of it and cannot be read, why, and what to do. The rest of it is as it should be."""


class NewTask(msgspec.Struct):
    """A task on its way in: placed, with its spec, not stored yet."""

    id: str
    owner: str
    lane: str
    state: State
    priority: int
    created_at: int
    due_at: int
    target: str
    spec: bytes
    remaining_ms: int | None = None
    expire_at: int | None = None
    metadata: dict[str, str] | None = None
    idempotency_key: str | None = None
    idempotency_digest: bytes | None = None
    schedule: str | None = None
    fire_at: int = 0
    callback_of: str | None = None


def as_task(new: NewTask) -> Task:
    """A task that was just stored, as reading it would show it."""
    return Task(
        id=new.id,
        owner=new.owner,
        lane=new.lane,
        state=new.state,
        priority=new.priority,
        created_at=new.created_at,
        due_at=new.due_at,
        execution_at=new.due_at,
        remaining_ms=new.remaining_ms,
        expire_at=new.expire_at,
        target=new.target,
        metadata=new.metadata,
    )


def handler_target(name: str) -> str:
    """What stands in a task's `target` when it runs a handler; no host has such a name.

    >>> handler_target("send-email")
    '@send-email'
    """
    return HANDLER_MARK + name


def urgency(priority: int, *, forced: bool = False) -> int:
    """What the available index sorts by: the most urgent first, ascending. Priority 9 is 0, priority 0 is 9."""
    return limits.URGENCY_FORCED if forced else limits.PRIORITY_MAX - priority
