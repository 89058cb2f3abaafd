"""What the store is asked about bulk work, beside what `ports` has; see there for what holds of all of it.

Whatever crashes, nothing is done twice and nothing is left out: a step changes some tasks and moves the mark of how far
the work has come, in one transaction, alone with it. What it may touch ends with the newest task at its making.
"""

from collections.abc import Callable
from enum import StrEnum
from typing import Protocol

import msgspec

from tasks_server.domain.bulk import Bulk, BulkFilter, Deleted, Steered
from tasks_server.domain.task import Task


class BulkRefusal(StrEnum):
    """Why bulk work was not stored."""

    FULL = "full"
    UNKNOWN_OWNER = "unknown_owner"


DecideBulk = Callable[[Bulk, Task], Steered | Deleted | None]
"""Given the work and a task that its filter finds, what becomes of the task; None: nothing, it is skipped. Pure: it may
be called inside a transaction, and more than once."""


class Stride(msgspec.Struct, frozen=True):
    """How far one step goes at most: tasks looked at, and tasks changed."""

    seen_max: int = 1_000
    changed_max: int = 200


class StepFailed(msgspec.Struct, frozen=True):
    """A step of the work of this id could not be done: what was raised, and what its owner is told of it. `next_at`:
    when it is tried again; None: it has ended.
    """

    bulk: str
    cause: Exception
    reason: str
    next_at: int | None


class Worked(msgspec.Struct, frozen=True):
    """What one step did. `bulk`: the work as it is now; None: there was none to do, or another process has it in hand,
    or it `failed`, and then nothing else was changed. `restarted`: tasks are due that were not. `stopped`: tasks in
    flight lost their leases.
    """

    bulk: Bulk | None = None
    restarted: bool = False
    stopped: bool = False
    failed: StepFailed | None = None


class Sighted(msgspec.Struct, frozen=True):
    """What a look without any change saw: how many tasks, which of them the filter finds, and where to go on (None:
    this was all).
    """

    seen: int
    found: list[Task]
    after: int | None


class Bulking(Protocol):
    """Asked by the service of bulk work and by the engine. `owner` None: any (the operator)."""

    async def create_bulk(self, bulk: Bulk, open_max: int) -> Bulk | BulkRefusal:
        """Stores new work with an estimate of its size, unless its owner has `open_max` that have not ended."""
        ...

    async def bulk(self, owner: str | None, bulk_id: str) -> Bulk | None: ...

    async def bulks(self, owner: str | None, before: str, limit: int) -> list[Bulk]:
        """The newest first, those made before the one of this id (empty: all)."""
        ...

    async def cancel_bulk(self, owner: str | None, bulk_id: str, now: int) -> Bulk | None:
        """Ends it where it stands; what has ended stays as it is. None when there is none."""
        ...

    async def sight_bulk(self, owner: str, asked: BulkFilter, after: int, seen_max: int) -> Sighted:
        """Looks at that many of the owner's tasks after the handle `after`, as a step would, and changes nothing."""
        ...

    async def next_bulk(self) -> int | None:
        """When the next work has its turn; None: there is none."""
        ...

    async def work_bulk(self, now: int, stride: Stride, decide: DecideBulk) -> Worked:
        """One step of the work that waits longest for its turn, among those whose turn has come. When it raises what is
        no trouble of the whole store, that work is set back, and others have their turn.
        """
        ...
