"""What the store is asked about schedules, beside what `ports` has; see there for what holds of all of it.

Whatever crashes, a fire time makes one task: the store moves a schedule on and stores its tasks in one transaction,
alone with the schedule; and the task's id comes from the fire time, so that a second one of it cannot be stored.
"""

from collections.abc import Callable
from enum import StrEnum
from typing import Protocol

import msgspec

from tasks_server.domain.firing import Firing
from tasks_server.domain.schedule import MissedRuns, Schedule
from tasks_server.domain.task import Task
from tasks_server.domain.turns import HasTask


class ScheduleChange(msgspec.Struct, frozen=True):
    """What becomes of a schedule by its owner's hand. `template` None: it stays."""

    schedule: Schedule
    template: bytes | None = None


class ScheduleRefusal(StrEnum):
    """Why a schedule was not stored."""

    NAME_TAKEN = "name_taken"
    FULL = "full"
    UNKNOWN_OWNER = "unknown_owner"


DecideSchedule = Callable[[Schedule | None, bytes], ScheduleChange | None]
"""Given the schedule and its template, what becomes of it; given None, what to make. None: nothing. May raise a
`RequestError`: then nothing changes."""

DecideFiring = Callable[[Schedule, bytes, Task | None, int, HasTask], Firing]
"""Given a schedule whose turn it is, its template (empty when damaged), its last task when that is not final, how many
tasks its owner's queue takes, and who knows whether a fire time has its task: what becomes of it. Pure: it may be
called inside a transaction, and more than once."""


class Fired(msgspec.Struct):
    """What one look at the schedules did."""

    schedules: int = 0
    """How many had their turn."""
    tasks: int = 0
    missed: list[tuple[str, MissedRuns]] = []
    """Ids of schedules with fire times that got no task."""


class Scheduling(Protocol):
    """Asked by the service of schedules and by the scheduler. A `key` is an id or, with an owner, a name; `owner` None:
    any (the operator).
    """

    async def change_schedule(
        self, owner: str | None, key: str, decide: DecideSchedule, count_max: int
    ) -> Schedule | ScheduleRefusal | None:
        """Applies `decide` to the schedule as it is, alone with it; makes it when there was none and `decide` says so,
        unless the owner has `count_max` of them. The schedule afterwards, or None when there is none.
        """
        ...

    async def schedule(self, owner: str | None, key: str) -> tuple[Schedule, bytes] | None:
        """The schedule and its template."""
        ...

    async def schedules(self, owner: str | None, after: str, limit: int) -> list[Schedule]:
        """Schedules in order of their ids, those after `after`."""
        ...

    async def delete_schedule(self, owner: str | None, key: str) -> bool:
        """Removes it; its tasks stay. False when there is no such schedule."""
        ...

    async def next_look(self) -> int | None:
        """When the next schedule has its turn; None: none has."""
        ...

    async def fire(self, now: int, horizon: int, limit: int, decide: DecideFiring) -> Fired:
        """Applies `decide` to at most `limit` schedules whose turn comes by `horizon`, those first that wait longest,
        each alone, and stores the tasks. A schedule that another process has in hand is left to it.
        """
        ...
