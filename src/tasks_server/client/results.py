"""What the API answers: frozen structs with its names in snake_case. Instants and durations are milliseconds."""

from typing import Any, Final, Literal, TypeAlias

import msgspec

State: TypeAlias = Literal["RUNNING", "PAUSED", "SUCCESS", "ERROR", "REVOKED"]
FINAL: Final[frozenset[str]] = frozenset({"SUCCESS", "ERROR", "REVOKED"})
"""States that a task leaves only by its owner's hand."""


class Result(msgspec.Struct, rename="camel", frozen=True):
    """An answer. What newer servers say beyond it is left out."""


class _Secretive(Result, frozen=True):
    """An answer with a secret, which is not shown where the answer is printed."""

    def __repr__(self) -> str:
        shown = ("***" if name in ("key", "secret") else repr(getattr(self, name)) for name in self.__struct_fields__)
        pairs = ", ".join(f"{name}={value}" for name, value in zip(self.__struct_fields__, shown, strict=True))
        return f"{type(self).__name__}({pairs})"


class ListedTask(Result, frozen=True):
    """A task in a list. Instants are ms since the epoch, 0: not yet."""

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


class Task(ListedTask, frozen=True):
    """A task. `response` is what the target answered last, or the reason why there is no answer."""

    response: bytes | None
    metadata: dict[str, str] | None


class ScheduleRun(Result, frozen=True):
    """Which schedule made a task, and for which fire time."""

    id: str
    fire_at: int


class TaskDetail(Task, frozen=True):
    """A task with where it stands. `phase` tells what `state` sums up as RUNNING."""

    phase: str
    lane: str
    priority: int
    attempts: int
    failures: int
    repeats: int
    error: str | None
    expire_at: int | None
    schedule: ScheduleRun | None


class Batch(Result, frozen=True):
    """The tasks of a batch, in its order."""

    tasks: list[Task]


class Spec(Result, frozen=True):
    """What was registered, with the defaults filled in and secrets masked; names are those of the API."""

    http_request: dict[str, Any] | None
    config: dict[str, Any]
    metadata: dict[str, str] | None
    handler: dict[str, Any] | None = None


class Attempt(Result, frozen=True):
    """One try of a task. `late` is how many ms it began after it was due."""

    number: int
    due_at: int
    started_at: int
    ended_at: int
    late: int
    outcome: str
    status_code: int
    error: str | None


class TimelineEntry(Result, frozen=True):
    """Something that happened to a task at the instant `at`."""

    at: int
    event: str
    attempt: int | None = None
    status_code: int | None = None
    detail: str | None = None


class MissedRuns(Result, frozen=True):
    """Fire times that got no task, from the first to the last, and why."""

    first_at: int
    last_at: int
    reason: str
    detail: str


class ListedSchedule(Result, frozen=True):
    """A schedule in a list. `runs` counts the tasks that its fire times made; `last_fire_at` is the last fire time
    that was decided on, with or without a task.
    """

    id: str
    name: str
    state: str
    cron: str | None
    every: int | None
    timezone: str
    start_at: int | None
    end_at: int | None
    max_runs: int | None
    jitter: int
    missed: str
    missed_window: int
    overlap: str
    created_at: int
    updated_at: int
    next_fire_at: int | None
    last_fire_at: int | None
    last_task_id: str | None
    runs: int
    buffered_at: int | None
    last_missed: MissedRuns | None


class Schedule(ListedSchedule, frozen=True):
    """A schedule with what its tasks are made from, secrets masked."""

    task: Spec


class FireTime(Result, frozen=True):
    """A fire time, and how the clock of the schedule's time zone shows it."""

    at: int
    local: str


class Preview(Result, frozen=True):
    """The next fire times by the rule, as if the schedule were not paused."""

    timezone: str
    times: list[FireTime]


class OwnerKey(Result, frozen=True):
    """A live key of an owner, without its secret."""

    key_id: str
    created_at: int


class Owner(Result, frozen=True):
    """An owner. `tasks_in_queue` counts every task that is not final."""

    id: str
    name: str
    created_at: int
    tasks_in_queue: int
    tasks_in_queue_limit: int
    keys: list[OwnerKey]


class RegisteredOwner(_Secretive, frozen=True):
    """A new owner with its first key, which the server shows this once."""

    id: str
    key: str
    name: str
    key_id: str


class IssuedKey(_Secretive, frozen=True):
    """A new key, which the server shows this once."""

    key_id: str
    key: str


class SigningSecret(_Secretive, frozen=True):
    """A secret that calls are signed with. `expires_at` is set once a newer one has taken its place; only the owner
    sees `secret`, the operator sees None.
    """

    id: str
    secret: str | None
    created_at: int
    expires_at: int | None


class Signing(Result, frozen=True):
    """How an owner's calls are signed: by every one of the secrets, newest first."""

    enabled: bool
    secrets: list[SigningSecret]


class LaneTasks(Result, frozen=True):
    """How many tasks of a lane that are not final are in each phase."""

    scheduled: int
    available: int
    running: int
    retryable: int
    paused: int


class Lane(Result, frozen=True):
    """A lane: its settings, with the burst that holds when none was chosen, and its tasks. None: no such limit."""

    name: str
    max_concurrent: int | None
    rate_per_second: float | None
    burst: int | None
    paused: bool
    paused_at: int | None
    paused_by: str | None
    tasks: LaneTasks


class LogEntry(Result, frozen=True):
    """One attempt of one task. `late` is how many ms it began after it was due, `duration` how many it took. `host` is
    None for a task that runs a handler, `handler` for one that sends a request.
    """

    task_id: str
    owner_id: str
    attempt: int
    state: str
    outcome: str
    status_code: int
    host: str | None
    handler: str | None
    lane: str
    schedule_id: str | None
    fire_at: int | None
    due_at: int
    started_at: int
    ended_at: int
    late: int
    duration: int
    error: str | None


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


class Bulk(Result, frozen=True):
    """Bulk work. It has looked at `seen` tasks of about `total`; those that its filter found were `changed`, or
    `skipped` because their state did not allow it. `waits_for`: what it needs to go on, or None.
    """

    id: str
    action: str
    filter: dict[str, Any]
    state: str
    total: int
    seen: int
    changed: int
    skipped: int
    waits_for: str | None
    error: str | None
    asked_by: str
    created_at: int
    started_at: int
    updated_at: int
    ended_at: int

    @property
    def is_final(self) -> bool:
        """Whether it has ended."""
        return self.state in ("done", "cancelled", "failed")


class BulkSight(Result, frozen=True):
    """What bulk work would do now. `at_least`: there are more tasks than a dry run looks at. `sample`: ids of some that
    would change.
    """

    action: str
    filter: dict[str, Any]
    dry_run: bool
    seen: int
    changed: int
    skipped: int
    at_least: bool
    sample: list[str]
