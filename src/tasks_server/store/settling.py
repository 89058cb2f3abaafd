"""What the store is asked about the ends of attempts, whoever tells of them: the engine that made the call, or the one
that finds that nobody is there any more to tell.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec
from msgspec.structs import replace

from tasks_server.domain.attempt import Attempt
from tasks_server.domain.lifecycle import Settlement
from tasks_server.store.sealed_texts import opened_error
from tasks_server.store.sealing import Sealer


class Report(msgspec.Struct):
    """One attempt's end: whose it was, what becomes of the task, what is recorded."""

    ref: int
    lease: int
    task_id: str
    settlement: Settlement
    attempt: Attempt | None
    """None when nothing was sent and nothing is worth recording."""
    lane: int = 0
    tells: bool | None = False
    """Whether this end is told by a callback. None: the task's lane and owner decide; False of all that is no end."""


class Settled(msgspec.Struct, frozen=True):
    """What came of a batch of reports. `lost`: the `ref`s whose lease was lost; of those nothing was changed."""

    lost: set[int]
    callbacks: int = 0
    """How many tasks were made that tell of ends."""


class Lost(msgspec.Struct, frozen=True, array_like=True):
    """A running task that nobody works on any more, with all that its settlement needs. Its spec is not read: the end
    says nothing of the target, so that the task's configuration has no say.
    """

    ref: int
    lease: int
    id: str
    lane: int
    attempt: int
    due_at: int
    started_at: int
    failures: int
    repeats: int
    status_code: int
    error: str | None
    remaining_ms: int | None
    expire_at: int | None


def opened(lost: Lost, sealer: Sealer) -> Lost:
    """The same with its error opened; without it, where it cannot be read."""
    return lost if lost.error is None else replace(lost, error=opened_error(lost.error, lost.id, sealer)[0])


DecideLost = Callable[[Lost], Report]
"""Given a task that was lost, the end of its attempt. Pure: it is called inside a transaction, and may be more than
once."""


class Settling(Protocol):
    """Asked by the settler."""

    async def settle(self, reports: Sequence[Report]) -> set[int]:
        """Records tasks and attempts where the lease still holds. The `ref`s whose lease was lost; of those nothing
        was changed. Tasks that go on are a hint to engines, with the instant at which the first of them is due.
        """
        ...

    async def extend(self, leases: Sequence[tuple[int, int]], lease_until: int) -> set[int]:
        """Extends leases given as (ref, lease). The `ref`s whose lease was lost."""
        ...

    async def held(self, leases: Sequence[tuple[int, int]]) -> set[int]:
        """Which of these (ref, lease) still hold."""
        ...
