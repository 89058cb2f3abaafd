"""What the store is asked about the clock, beside what `ports` has; see there for what holds of all of it."""

from typing import Protocol

import msgspec

from tasks_server.domain.timekeeping import Timekeeping


class Righted(msgspec.Struct, frozen=True):
    """What one step put right: how many waits and schedules, and when the first of them is due; whether there is
    more to look at.
    """

    waits: int = 0
    schedules: int = 0
    due_at: int | None = None
    more: bool = False


class KeepingTime(Protocol):
    """Asked by whoever follows the clock. What the clock shows, the adapter reads itself, at the last moment."""

    async def keep_time(self, seen_ms: int = 0) -> Timekeeping:
        """Keeps what the clock shows, and by how much it was seen to be set just now; what is known then."""
        ...

    async def put_right(self, count_max: int) -> Righted:
        """One step of putting right what waits, if that is to be done, over so many tasks or schedules. Any number of
        processes may take steps, and die anywhere.
        """
        ...

    async def timekeeping(self) -> Timekeeping:
        """What is known of the clock."""
        ...
