"""Answers about schedules."""

from collections.abc import Iterator

from tasks_server.client.results.base import Readable, Result
from tasks_server.client.results.tasks import Spec


class MissedRuns(Result, frozen=True):
    """Fire times that got no task, from the first to the last, and why."""

    first_at: int
    last_at: int
    reason: str
    detail: str


class ListedSchedule(Readable, frozen=True):
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
    """A schedule with what its tasks are made from, secrets masked. `held`: what keeps it from firing although it is
    active.
    """

    held: str | None
    task: Spec


class FireTime(Result, frozen=True):
    """A fire time, and how the clock of the schedule's time zone shows it."""

    at: int
    local: str


class Preview(Result, frozen=True):
    """The next fire times by the rule, as if the schedule were not paused."""

    timezone: str
    times: list[FireTime]

    def __iter__(self) -> Iterator[FireTime]:
        return iter(self.times)

    def __len__(self) -> int:
        return len(self.times)

    def __getitem__(self, place: int) -> FireTime:
        return self.times[place]
