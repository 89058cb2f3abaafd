"""How much an engine may run at once, what is left of that, and which tasks are for it. The engine decides by it, and
whoever asks why a task waits is told by the same.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from tasks_server.domain.task import HANDLER_MARK

_NEWCOMERS: Final = 8
"""Of the slots that are kept for newcomers, one owner may hold one in so many of those that are still free."""


class Slots(msgspec.Struct, frozen=True):
    """How many calls may be in flight in total, for one owner, to one target. What lies between the first two is kept
    for newcomers: owners who hold little or nothing.
    """

    total: int
    owner_max: int
    target_max: int
    target_maxes: Mapping[str, int] = {}
    """The targets that have limits of their own: handlers."""
    runs_max: int | None = None
    """Runs of handlers in flight over all targets in `target_maxes`; None: as many as each allows."""

    @classmethod
    def of(cls, total: int, target_max: int) -> "Slots":
        """The limits for an engine of `total` slots: all owners together may hold nine tenths of them, so that one is
        kept at least, where there are two.
        """
        return cls(total, max(1, total - max(1, total // 10)), min(total, target_max))

    @property
    def kept(self) -> int:
        """How many slots are kept for newcomers."""
        return max(0, self.total - self.owner_max)

    def newcomer_max(self, free: int) -> int:
        """How many slots make an owner no newcomer any more when so many are free. As they get fewer, each may have
        less of them, down to one: so there is a slot for whoever has none, until as many owners as that have one.

        >>> slots = Slots.of(1_024, 1_024)
        >>> [slots.newcomer_max(free) for free in (922, 102, 20, 1)]
        [12, 12, 2, 1]
        """
        return max(1, min(free, self.kept) // _NEWCOMERS)

    def of_target(self, target: str) -> int:
        """How many calls to one target may be in flight."""
        return self.target_maxes.get(target, self.target_max)

    def free(self, held: int) -> int:
        """How many more calls there may be when so many are in flight."""
        return max(0, self.total - held)

    def owner_room(self, own: int, held: int) -> int:
        """How many more an owner may have who has `own` of the `held` that are in flight.

        >>> slots = Slots.of(1_024, 1_024)
        >>> slots.owner_room(0, 0), slots.owner_room(922, 922), slots.owner_room(0, 922), slots.owner_room(12, 934)
        (922, 0, 12, 0)
        """
        free = self.free(held)
        return min(free, max(0, free - self.kept, self.newcomer_max(free) - own))

    def target_room(self, target: str, held: int) -> int:
        """How many more calls may go to a target that has so many."""
        return max(0, self.of_target(target) - held)

    def runs_room(self, held: int) -> int | None:
        """How many more runs of handlers there may be when so many are in flight; None: as many as each allows."""
        return None if self.runs_max is None else max(0, self.runs_max - held)


class Held(msgspec.Struct, frozen=True):
    """What is in flight, by owner and by target."""

    total: int
    owners: Mapping[int, int]
    targets: Mapping[str, int]


class Reach(msgspec.Struct, frozen=True):
    """What an engine can work on: HTTP calls, and the handlers with these targets. The tasks of others are left to
    other engines.
    """

    http: bool
    handlers: frozenset[str]

    def has(self, target: str) -> bool:
        """Whether tasks with this target are for this engine.

        >>> [Reach(True, frozenset({"@mail"})).has(target) for target in ("a.example:80", "@mail", "@print")]
        [True, True, False]
        """
        return target in self.handlers if target.startswith(HANDLER_MARK) else self.http
