"""Answers of `/tasks`: instants are ISO 8601 there, and become datetimes."""

from datetime import datetime
from typing import Any

import msgspec


class Created(msgspec.Struct, frozen=True):
    """The id of the task, or of the schedule that makes tasks. `hint`: what probably keeps the task from running, such
    as a handler that no engine knows.
    """

    id: str
    hint: str | None = None


class ListedHandlerTask(msgspec.Struct, frozen=True, kw_only=True):
    """A task that runs a handler, in a list. `retry_count` counts the retries that were made or are planned."""

    id: str
    task_name: str
    payload: Any
    status: str
    priority: int
    scheduled_at: datetime
    created_at: datetime
    max_retries: int | None
    retry_count: int
    last_error: str | None
    next_retry_at: datetime | None
    unreadable: str | None = None
    """What of it cannot be read, why, and what to do."""


class HandlerLine(msgspec.Struct, frozen=True):
    """A line that a handler logged, at an instant."""

    at: datetime
    text: str


class HandlerNotes(msgspec.Struct, frozen=True):
    """What a handler noted of the attempt that runs, or of the last one. `at`: when last; `progress`: from 0 to 1, None
    when it told none, and what it says of it; `dropped`: how many lines before these are not kept.
    """

    attempt: int
    at: datetime
    progress: float | None
    message: str | None
    lines: list[HandlerLine]
    dropped: int


class HandlerTask(ListedHandlerTask, frozen=True, kw_only=True):
    """A task that runs a handler. `locked_by` is the process that runs it, `result` what its last attempt gave when
    that succeeded; with `result_truncated` only the first part of that, as text.
    """

    updated_at: datetime
    locked_by: str | None
    locked_at: datetime | None
    result: Any
    result_truncated: bool = False
    notes: HandlerNotes | None = None
