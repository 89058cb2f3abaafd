"""Answers about lanes."""

from tasks_server.client.results.base import Result
from tasks_server.client.results.callbacks import Callback


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
    failure_callback: Callback | bool | str | None = None
    success_callback: Callback | bool | str | None = None
