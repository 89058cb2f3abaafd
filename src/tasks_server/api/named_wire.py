"""JSON of `/tasks` and `/monitor`: snake_case, instants as ISO 8601."""

import contextlib
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from tasks_server.api import wire
from tasks_server.domain import dates, lifecycle, masking
from tasks_server.domain.attempt import OutcomeKind
from tasks_server.domain.json_text import as_it_came
from tasks_server.domain.named_reading import (
    KEPT,
    Manner,
    NamedTask,
    RecurringTask,
    is_recurring,
    judge_named,
    read_named,
)
from tasks_server.domain.named_reading import read_recurring as _read_recurring
from tasks_server.domain.notes import Notes
from tasks_server.domain.stored import UNREADABLE
from tasks_server.domain.task import HANDLER_MARK, State, Task
from tasks_server.domain.validation import Draft
from tasks_server.service.monitoring import Health
from tasks_server.service.named import Detail, Entry

STATUSES: Final[dict[State, str]] = {
    State.SCHEDULED: "pending",
    State.AVAILABLE: "pending",
    State.RUNNING: "processing",
    State.RETRYABLE: "failed",
    State.PAUSED: "paused",
    State.COMPLETED: "completed",
    State.FAILED: "failed",
    State.REVOKED: "cancelled",
}
"""What `/tasks` calls each state. One that failed and waits for a retry has `next_retry_at`."""
STATUS_NAMES: Final = tuple(dict.fromkeys(STATUSES.values()))
_NAMED: Final = msgspec.json.Decoder(NamedTask)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class CreatedView(msgspec.Struct):
    """The id of the task, or of the schedule that makes tasks. `hint`: what probably keeps the task from running, such
    as a handler that no engine knows; not there as a rule.
    """

    id: str
    hint: str | msgspec.UnsetType = msgspec.UNSET


class NamedEntryView(msgspec.Struct, kw_only=True):
    """A task in a list. `retry_count` counts the retries that were made or are planned. `unreadable`: what of it cannot
    be read, why, and what to do; not there as a rule. Its payload and `max_retries` are null then, a status that this
    version does not know is UNREADABLE.
    """

    id: str
    task_name: str
    payload: Any
    status: str
    priority: int
    scheduled_at: str
    created_at: str
    max_retries: int | None
    retry_count: int
    last_error: str | None
    next_retry_at: str | None
    unreadable: str | msgspec.UnsetType = msgspec.UNSET


class NamedLineView(msgspec.Struct):
    """A line that a handler logged, at an instant."""

    at: str
    text: str


class NamedNotesView(msgspec.Struct):
    """What the handler noted of the attempt that runs, or of the last one. `at`: when last; `progress`: from 0 to 1,
    null when it told none, and what it says of it; `dropped`: how many lines before these are not kept.
    """

    attempt: int
    at: str
    progress: float | None
    message: str | None
    lines: list[NamedLineView]
    dropped: int


class NamedDetailView(NamedEntryView, kw_only=True):
    """A task. `locked_by` is the process that runs it, `result` what its last attempt gave when that succeeded; with
    `result_truncated` it is only the first part of that, as text. `notes`: what the handler noted, null when it noted
    nothing.
    """

    updated_at: str
    locked_by: str | None
    locked_at: str | None
    result: Any
    result_truncated: bool
    notes: NamedNotesView | None


class HealthView(msgspec.Struct):
    """`ok`, `degraded` or `unavailable`, what is the reason, and what was looked at."""

    status: str
    checks: dict[str, dict[str, Any]]
    reasons: list[str]


class StatsView(msgspec.Struct):
    """How many tasks have which status, those that send requests included; of finished ones, those that are kept."""

    pending: int
    processing: int
    completed: int
    failed: int
    paused: int
    cancelled: int
    total: int


def read_task(body: bytes, now: int, manner: Manner) -> Draft | RecurringTask:
    """What a body asks for. Raises `InvalidRequest` with every fault."""
    try:
        return judge_named(_NAMED.decode(body), now, manner)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raw = wire.read_json(body, KEPT)
        if is_recurring(raw):
            return _read_recurring(raw)
        return read_named(raw, now, manner)


def iso(at: int) -> str:
    """An instant as ISO 8601, in UTC.

    >>> iso(1_700_000_000_007)
    '2023-11-14T22:13:20.007Z'
    """
    moment = _EPOCH + timedelta(milliseconds=min(at, dates.DATE_MAX_MS))
    return moment.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def entry_view(entry: Entry) -> NamedEntryView:
    return NamedEntryView(**_fields(entry))


def detail_view(detail: Detail) -> NamedDetailView:
    task = detail.task
    running = task.state is State.RUNNING
    return NamedDetailView(
        **_fields(detail),
        updated_at=iso(detail.updated_at),
        locked_by=detail.holder,
        locked_at=iso(task.execution_at) if running else None,
        result=_result(task),
        result_truncated=task.response_truncated and task.outcome is OutcomeKind.SUCCESS,
        notes=_notes_view(detail.notes, task.attempt),
    )


def _notes_view(notes: Notes | None, attempt: int) -> NamedNotesView | None:
    if notes is None:
        return None
    lines = [NamedLineView(iso(line.at), line.text) for line in notes.lines]
    return NamedNotesView(attempt, iso(notes.at), notes.progress, notes.message, lines, notes.dropped)


def health_view(health: Health) -> HealthView:
    return HealthView(health.status, health.checks, health.reasons)


def stats_view(counts: dict[State, int]) -> StatsView:
    by_status = dict.fromkeys(STATUS_NAMES, 0)
    for state, count in counts.items():
        by_status[STATUSES[state]] += count
    return StatsView(**by_status, total=sum(counts.values()))


def _fields(entry: Entry) -> dict[str, Any]:
    task, spec = entry.task, entry.spec
    shown = {"name": task.target.removeprefix(HANDLER_MARK), "payload": None}
    first_due = task.due_at if task.attempt == 0 else task.fire_at or task.created_at
    if spec is not None:
        assert spec.handler is not None  # tasks that send requests are not shown here
        shown = masking.shown_handler(spec.handler)
        first_due = task.due_at if task.attempt == 0 else task.fire_at or lifecycle.due_at(spec.config, task.created_at)
    ended = task.state in (State.FAILED, State.REVOKED)
    waits_again = task.failures > 0 and task.state in (State.RETRYABLE, State.AVAILABLE)
    return {
        "id": task.id,
        "task_name": shown["name"],
        "payload": shown["payload"],
        "status": STATUSES.get(task.state, UNREADABLE),
        "priority": task.priority,
        "scheduled_at": iso(first_due),
        "created_at": iso(task.created_at),
        "max_retries": entry.retries_max,
        "retry_count": max(0, task.failures - ended),
        "last_error": task.error,
        "next_retry_at": iso(task.due_at) if waits_again else None,
        "unreadable": task.unreadable or msgspec.UNSET,
    }


def _result(task: Task) -> Any:
    """What the last attempt gave, if it succeeded: the JSON that it is, or else the text."""
    if task.outcome is not OutcomeKind.SUCCESS or not task.response:
        return None
    if not task.response_truncated:  # a part of JSON may be JSON, too, and another
        with contextlib.suppress(msgspec.DecodeError, UnicodeError, RecursionError):
            return as_it_came(task.response)
    return task.response.decode("utf-8", "replace")
