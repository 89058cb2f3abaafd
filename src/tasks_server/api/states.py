"""What `/v1` calls the states of tasks, and what stands beside things that cannot be read as a whole."""

from typing import Final

import msgspec
from msgspec import UNSET, UnsetType

from tasks_server.domain.stored import UNREADABLE
from tasks_server.domain.task import NewTask, State, Task

WIRE_STATES: Final[dict[State, str]] = {
    State.SCHEDULED: "RUNNING",
    State.AVAILABLE: "RUNNING",
    State.RUNNING: "RUNNING",
    State.RETRYABLE: "RUNNING",
    State.PAUSED: "PAUSED",
    State.COMPLETED: "SUCCESS",
    State.FAILED: "ERROR",
    State.REVOKED: "REVOKED",
}
"""What `/v1` calls each state."""


def state_word(task: Task | NewTask) -> str:
    """What `/v1` calls the state that a task is in."""
    return WIRE_STATES.get(task.state, UNREADABLE)


class Readable(msgspec.Struct, rename="camel", kw_only=True):
    """Something that is stored. `unreadable`: what of it cannot be read, why, and what to do; not there as a rule."""

    unreadable: str | UnsetType = UNSET
