"""What the store is asked about lanes, beside what `ports` has; see there for what holds of all of it.

A lane is made by the first task that names it, or when its owner sets it up. Its handle is never given again and never
goes while its owner is there: processes remember it. So a lane that is deleted loses its settings and is shown no more,
until it is set up again or has tasks in queue again.
"""

from collections.abc import Callable
from enum import StrEnum
from typing import Protocol

import msgspec

from tasks_server.domain.callback import Callbacks
from tasks_server.domain.lane import Lane, LaneFacts


class LaneRefusal(StrEnum):
    """Why a lane was not changed."""

    FULL = "full"
    IN_USE = "in_use"
    HELD = "held"
    UNKNOWN_OWNER = "unknown_owner"


class LanePage(msgspec.Struct, frozen=True):
    """Some lanes, and the name to go on after (None: this is the last page)."""

    lanes: list[Lane]
    next: str | None = None


class LaneChange(msgspec.Struct, frozen=True):
    """What a lane is to have: its limits and its bucket, and what is called when its tasks end (None: that stays)."""

    facts: LaneFacts
    callbacks: Callbacks | None = None


DecideLane = Callable[[Lane | None], LaneChange | None]
"""Given the lane, what it is to have; given None, what the one to make has. None: nothing.
May raise a `RequestError`: then nothing changes. Pure: it may be called more than once."""


class Laning(Protocol):
    """Asked by the service of lanes, and by whoever explains why a task waits. All of one owner."""

    async def lanes(self, owner: str, after: str, limit: int) -> LanePage:
        """Lanes by name, of those after `after`: at most `limit`, maybe fewer though more follow."""
        ...

    async def lane(self, owner: str, name: str) -> Lane | None:
        """The lane with its counts."""
        ...

    async def change_lane(self, owner: str, name: str, decide: DecideLane, count_max: int) -> Lane | LaneRefusal | None:
        """Applies `decide` to the lane as it is, alone with it; makes it when there was none and `decide` says so,
        unless the owner has `count_max` of them. The lane afterwards, or None when there is none. Engines keep to it
        from their next look on; tasks that run go on.
        """
        ...

    async def delete_lane(self, owner: str, name: str, now: int, *, held_too: bool = True) -> LaneRefusal | bool:
        """Forgets its settings. False when there is no such lane; refused while it has tasks in queue and, unless
        `held_too`, while the operator has paused it.
        """
        ...
