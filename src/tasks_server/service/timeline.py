"""What happened to a task, in order, put together from its row, its attempts and the events beside them."""

from collections.abc import Iterable, Iterator

import msgspec

from tasks_server.domain.attempt import Attempt, Event
from tasks_server.domain.task import State, Task


class TimelineEntry(msgspec.Struct, frozen=True, rename="camel"):
    """Something that happened at the instant `at` (ms since the epoch)."""

    at: int
    event: str
    attempt: int | None = None
    status_code: int | None = None
    detail: str | None = None


def timeline(task: Task, attempts: Iterable[Attempt], events: Iterable[Event]) -> list[TimelineEntry]:
    """All that happened so far, oldest first."""
    entries = [
        TimelineEntry(task.created_at, "registered", detail=f"due at {task.due_at}" if not task.attempt else None)
    ]
    entries += [TimelineEntry(event.at, event.kind, detail=event.detail) for event in events]
    for attempt in attempts:
        entries += _of_attempt(attempt)
    entries += _of_now(task)
    # A stable sort: what shares a millisecond stays in the order in which it was put here.
    return sorted(entries, key=lambda entry: entry.at)


def _of_attempt(attempt: Attempt) -> Iterator[TimelineEntry]:
    late = attempt.started_at - attempt.due_at
    yield TimelineEntry(attempt.started_at, "attempt_started", attempt.number, detail=f"{late} ms after it was due")
    yield TimelineEntry(
        attempt.ended_at,
        f"attempt_{attempt.outcome.value}",
        attempt.number,
        attempt.status_code or None,
        attempt.error,
    )


def _of_now(task: Task) -> Iterator[TimelineEntry]:
    if task.state is State.RUNNING:
        yield TimelineEntry(task.execution_at, "attempt_started", task.attempt)
    elif task.state in (State.COMPLETED, State.FAILED):
        yield TimelineEntry(task.ended_at, task.state.value, detail=task.error)
