"""When a lease is over. Not when a clock says so, since clocks are set: when whoever looks has seen for long enough
that nobody extends it. Pure; instants of the wall clock only say which leases are worth watching.
"""

from collections.abc import Hashable, Iterable
from typing import Final, Generic, TypeVar

import msgspec

from tasks_server.domain import limits

RENEWED_SECONDS: Final = limits.LEASE_MS / 3_000
"""How often whoever holds leases extends them."""
_LATE_MS: Final = 12_000
"""A lease that was not extended for so long is watched: it should have been."""
_PATIENCE_SECONDS: Final = (limits.LEASE_MS - _LATE_MS) / 1_000
"""For so long it is watched: one that nobody extends lasts `LEASE_MS` in all."""
_AHEAD_MS: Final = 1_000
"""A lease that lasts longer than leases do, by more than this, was given by a clock that has been set back since."""
_GAP_SECONDS: Final = 5.0
_SETTLED_SECONDS: Final = limits.LEASE_MS / 1_000
_SET_MS: Final = 1_000
_FLOOR_MS: Final = 120_000
EVER: Final = 2**62
"""Later than any instant."""

_Thing = TypeVar("_Thing", bound=Hashable)


class Vigil(Generic[_Thing]):
    """For how long things have been seen as they are, by one who looks again and again. Who has not looked for a while
    was held up itself, and has seen nothing meanwhile.
    """

    def __init__(self) -> None:
        self._since: dict[_Thing, float] = {}
        self._looked_at = 0.0

    def __len__(self) -> int:
        return len(self._since)

    def look(self, seen: Iterable[_Thing], at: float) -> dict[_Thing, float]:
        """What is seen at `at` (seconds, monotonic), and for how many seconds it has been seen by now."""
        gap = max(0.0, at - self._looked_at - _GAP_SECONDS)
        self._looked_at = at
        self._since = {thing: self._since.get(thing, at - gap) + gap for thing in seen}
        return {thing: at - since for thing, since in self._since.items()}


class Seen(msgspec.Struct, frozen=True, array_like=True):
    """A lease as it was seen: whose, its token, until when it was given."""

    ref: int
    lease: int
    until: int


class Sight(msgspec.Struct, frozen=True):
    """Which leases to look at: of those given until `floor` or later, but before `until`, the ones given until before
    `low` or after `high`.
    """

    floor: int
    until: int
    low: int
    high: int


class LeaseWatch:
    """What one rescuer has seen of leases that should have been extended.

    While the clock goes as it went and none is late, only leases that were given lately are looked at: the dead entries
    that an index has of older ones are not walked.
    """

    def __init__(self) -> None:
        self._vigil: Vigil[Seen] = Vigil()
        self._looked: tuple[int, float] | None = None
        self._settled_at = 0.0
        self._floor = 0

    def sight(self, now: int, at: float) -> Sight:
        """Where to look at `now`; `at` is the monotonic clock's, in seconds."""
        if self._looked is None or abs((now - self._looked[0]) - (at - self._looked[1]) * 1_000) >= _SET_MS:
            self._settled_at = at + _SETTLED_SECONDS
        self._looked = now, at
        low, high = now + limits.LEASE_MS - _LATE_MS, now + limits.LEASE_MS + _AHEAD_MS
        if at < self._settled_at or len(self._vigil):
            return Sight(0, EVER, low, high)
        return Sight(self._floor, low, low, high)

    def over(self, seen: Iterable[Seen]) -> list[Seen]:
        """Those of the leases just seen that are over; given all that are in sight."""
        assert self._looked is not None
        now, at = self._looked
        standing = self._vigil.look(seen, at)
        if not standing:
            self._floor = now - _FLOOR_MS
        return [one for one, seconds in standing.items() if seconds >= _PATIENCE_SECONDS]
