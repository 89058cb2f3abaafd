"""The only way to learn the time. Tests bring a clock of their own; nothing else in the package asks the system."""

import math
import time
from typing import Final, Literal, Protocol


class Clock(Protocol):
    """Tells the time. `now()` is ms since the epoch, UTC; `monotonic()` is seconds, for measuring spans."""

    def now(self) -> int: ...

    def monotonic(self) -> float: ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        return time.monotonic()


class ManualClock:
    """A clock that stands still until it is moved. For tests and simulations."""

    def __init__(self, now: int = 1_700_000_000_000) -> None:
        self._now = now

    def now(self) -> int:
        return self._now

    def monotonic(self) -> float:
        return self._now / 1_000

    def advance(self, ms: int) -> int:
        """Moves the time on by `ms` and gives the new instant."""
        self._now += ms
        return self._now


_DRIFT: Final = 0.0002
"""How far clocks of two machines may drift apart: 200 ms in 1 000 s, far more than a bad crystal does."""
_JUMP_MS: Final = 1_000
"""From so far apart on, the database's clock was set: then what it says now counts, not what it said."""


class DatabaseClock:
    """The database's time, which all processes share whatever their machines' clocks say; from samples of it, without
    asking it each time.

    A sample says: between two readings of our monotonic clock, the database's clock showed this. So the database's
    time is known within the time that the question took. `early` stays at the lower bound: it is never ahead of the
    database, and no task runs early. `late` stays at the upper: a delay that is counted from it is never too short.
    """

    def __init__(self, bound: Literal["early", "late"], machine: Clock | None = None) -> None:
        self._late = bound == "late"
        self._machine = machine or SystemClock()
        self._offset_ms: float | None = None
        self._sampled_at = 0.0

    def sample(self, before: float, after: float, at_ms: float) -> None:
        """Takes in what the database's clock showed between `before` and `after` (seconds, monotonic)."""
        offset = at_ms - (before if self._late else after) * 1_000
        known = self._offset_ms
        if known is not None and abs(offset - known) < _JUMP_MS:
            # The tighter bound counts, an older one less what drift may have added to it since.
            slack = (after - self._sampled_at) * 1_000 * _DRIFT
            offset = min(offset, known + slack) if self._late else max(offset, known - slack)
        self._offset_ms = offset
        self._sampled_at = after

    def now(self) -> int:
        """Ms since the epoch. Before the first sample, this machine's time."""
        if self._offset_ms is None:
            return self._machine.now()
        return math.floor(self._machine.monotonic() * 1_000 + self._offset_ms) + self._late

    def monotonic(self) -> float:
        return self._machine.monotonic()
