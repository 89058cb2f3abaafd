"""Ageing: who has urgent tasks without end still gets the others done, late and little by little.

The most urgent of an owner's tasks go first, and no others while they last. Where that goes on for a while, one place
in ten goes to the less urgent, each level in its turn.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from tasks_server.clock import Clock
from tasks_server.domain import limits
from tasks_server.store.ports import Group, Quota

AFTER_SECONDS: Final = 15.0
"""How long less urgent tasks are passed over before they get their part."""
EVERY: Final = 10
"""Of so many places, one goes to them."""
_REMEMBERED_MAX: Final = 10_000


class _Passed(msgspec.Struct):
    """Since when an owner's less urgent tasks have been passed over, when that was last seen, and how many places its
    tasks have had meanwhile.
    """

    since: float
    seen: float
    places: int = 0


class Ageing:
    """What an engine remembers of owners whose less urgent tasks wait while more urgent ones run. Forgotten as soon as
    a look shows tasks of one urgency only: then all levels have had their turn.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._passed: dict[int, _Passed] = {}

    def due(self) -> dict[int, int]:
        """The owners whose less urgent tasks get their part by now, with the places that they have had meanwhile."""
        if not self._passed:
            return {}
        begun = self._clock.monotonic() - AFTER_SECONDS
        return {owner: passed.places for owner, passed in self._passed.items() if passed.since <= begun}

    def note(self, groups: Sequence[Group], quotas: Sequence[Quota]) -> None:
        """What a look showed, and what was taken of it."""
        now = self._clock.monotonic()
        urgencies: defaultdict[int, set[int]] = defaultdict(set)
        for group in groups:
            urgencies[group.owner].add(group.urgency)
        places: defaultdict[int, int] = defaultdict(int)
        for quota in quotas:
            places[quota.group.owner] += quota.count
        for owner, count in places.items():
            if len(urgencies[owner]) == 1:
                self._passed.pop(owner, None)
                continue
            passed = self._passed.get(owner)
            if passed is None or now - passed.seen > AFTER_SECONDS:
                passed = self._passed[owner] = _Passed(now, now)
            passed.seen = now
            passed.places += count
        if len(self._passed) > _REMEMBERED_MAX:
            self._passed = {owner: one for owner, one in self._passed.items() if now - one.seen <= AFTER_SECONDS}


def share_of_others(places: int, had: int) -> int:
    """How many of the next places are those that go to the less urgent, after so many places."""
    return (had + places) // EVERY - had // EVERY


def turn(urgencies: Sequence[int], places: int, had: int | None) -> tuple[int, int]:
    """How many of an owner's places go to which of its less urgent levels, as ageing has it. `urgencies`: the levels
    that could get any, the most urgent first; `had`: from `Ageing.due`.

    >>> [turn((0, 5, 9), 1, had) for had in (None, 8, 9, 19)]
    [(0, 0), (0, 0), (1, 5), (1, 9)]
    >>> turn((0, 9), 45, 0)
    (4, 9)
    """
    if had is None or len(urgencies) == 1 or urgencies[0] == limits.URGENCY_FORCED:
        return 0, urgencies[0]
    aged = share_of_others(places, had)
    return aged, urgencies[1 + (had // EVERY) % (len(urgencies) - 1)] if aged else urgencies[0]


NOBODY: Final[Mapping[int, int]] = {}
