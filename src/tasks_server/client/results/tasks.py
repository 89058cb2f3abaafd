"""Answers about tasks."""

from collections.abc import Iterator
from typing import Any, Final, Literal, TypeAlias

from tasks_server.client.results.base import Readable, Result

State: TypeAlias = Literal["RUNNING", "PAUSED", "SUCCESS", "ERROR", "REVOKED", "UNREADABLE"]
"""UNREADABLE: the server does not know the state that is stored."""
FINAL: Final[frozenset[str]] = frozenset({"SUCCESS", "ERROR", "REVOKED"})
"""States that a task leaves only by its owner's hand."""


class Redirected(Result, frozen=True):
    """Where redirects led an attempt: how many were followed, and what was asked for in the end. `method_changed`: not
    by the task's method, as after 301 and 302 to a POST; then its data did not come along.
    """

    count: int
    method: str
    url: str
    method_changed: bool


class TaskHead(Readable, frozen=True):
    """Where a task stands. Instants are ms since the epoch, 0: not yet."""

    id: str
    state: State
    created_at: int
    status_code: int
    estimate_end_at: int
    estimate_execution_at: int

    @property
    def is_final(self) -> bool:
        """Whether it is over: nothing happens to it any more unless its owner asks for it."""
        return self.state in FINAL


class ListedTask(TaskHead, frozen=True):
    """A task in a list, with what it is: a request by its `method` and `url`, secrets masked, or the name of a
    `handler`; the others are None.
    """

    method: str | None
    url: str | None
    handler: str | None
    lane: str
    metadata: dict[str, str] | None


class Task(TaskHead, frozen=True):
    """A task. `response` is what the target answered last, or the reason why there is no answer."""

    response: bytes | None
    metadata: dict[str, str] | None


class NewTask(Task, frozen=True):
    """A task that was just registered. `hint`: what probably keeps it from running, such as a handler that no engine
    knows.
    """

    hint: str | None = None


class ScheduleRun(Result, frozen=True):
    """Which schedule made a task, and for which fire time."""

    id: str
    fire_at: int


class TaskDetail(Task, frozen=True):
    """A task with where it stands. `phase` tells what `state` sums up as RUNNING. With `response_truncated`, `response`
    is only the first part of what the target answered.
    """

    phase: str
    lane: str
    priority: int
    attempts: int
    failures: int
    repeats: int
    error: str | None
    expire_at: int | None
    schedule: ScheduleRun | None
    response_truncated: bool = False
    callback_of: str | None = None
    """The task of whose end it tells."""


class Batch(Result, frozen=True):
    """The tasks of a batch, in its order. It can be gone through, counted and indexed as its list."""

    tasks: list[NewTask]

    def __iter__(self) -> Iterator[NewTask]:
        return iter(self.tasks)

    def __len__(self) -> int:
        return len(self.tasks)

    def __getitem__(self, place: int) -> NewTask:
        return self.tasks[place]


class Spec(Result, frozen=True):
    """What was registered, with the defaults filled in and secrets masked; names are those of the API."""

    http_request: dict[str, Any] | None
    config: dict[str, Any]
    metadata: dict[str, str] | None
    handler: dict[str, Any] | None = None


class Line(Result, frozen=True):
    """A line that a handler logged, at an instant."""

    at: int
    text: str


class Notes(Result, frozen=True):
    """What a handler noted of an attempt. `at`: when last; `progress`: from 0 to 1, None when it told none, and what it
    says of it; `dropped`: how many lines before these are not kept.
    """

    at: int
    progress: float | None
    message: str | None
    lines: list[Line]
    dropped: int


class Attempt(Readable, frozen=True):
    """One try of a task. `late` is how many ms it began after it was due. `response_truncated`: of the answer only the
    first part was kept. `redirected`: where redirects led, None where none was followed.
    `notes`: what the handler noted.
    """

    number: int
    due_at: int
    started_at: int
    ended_at: int
    late: int
    outcome: str
    status_code: int
    error: str | None
    response_truncated: bool = False
    redirected: Redirected | None = None
    notes: Notes | None = None


class TimelineEntry(Result, frozen=True):
    """Something that happened to a task at the instant `at`."""

    at: int
    event: str
    attempt: int | None = None
    status_code: int | None = None
    outcome: str | None = None
    due_at: int | None = None
    late: int | None = None
    number: int | None = None
    of: int | None = None
    fields: list[str] | None = None
    schedule_id: str | None = None
    fire_at: int | None = None
    detail: str | None = None
    redirected: Redirected | None = None
    progress: float | None = None


class Gate(Result, frozen=True):
    """Something that a task must pass before it runs. `until`: when it opens, as far as known."""

    gate: str
    closed: bool
    text: str
    until: int | None
    facts: dict[str, Any]


class Engines(Result, frozen=True):
    """How many engines take tasks, and when one was heard of last (None: never)."""

    alive: int
    last_seen_at: int | None


class Explanation(Result, frozen=True):
    """Why a task has not run. The first closed gate is the answer; `estimate_at` is the earliest instant at which it
    can run, None when a closed gate has no known end.
    """

    id: str
    state: State
    phase: str
    summary: str
    runnable: bool
    gates: list[Gate]
    estimate_at: int | None
    engines: Engines

    def __iter__(self) -> Iterator[Gate]:
        return iter(self.gates)

    def __len__(self) -> int:
        return len(self.gates)
