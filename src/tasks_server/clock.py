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
    time is known within the time that the question took, and what drift may have added since. `early` stays at the
    lower bound: it is never ahead of the database, and no task runs early. `late` stays at the upper: a delay that is
    counted from it is never too short.
    """

    def __init__(self, bound: Literal["early", "late"], machine: Clock | None = None) -> None:
        self._late = bound == "late"
        self._machine = machine or SystemClock()
        self._sampled: tuple[float, float] | None = None
        """How far the database's clock is ahead of our monotonic one (ms), and when (seconds) that was so."""

    def sample(self, before: float, after: float, at_ms: float) -> None:
        """Takes in what the database's clock showed between `before` and `after` (seconds, monotonic)."""
        at = before if self._late else after
        offset = at_ms - at * 1_000
        if self._sampled is not None:
            known = self._bound(self._sampled, at)
            if abs(offset - known) < _JUMP_MS:  # the tighter bound counts
                offset = min(offset, known) if self._late else max(offset, known)
        self._sampled = (offset, at)

    def now(self) -> int:
        """Ms since the epoch. Before the first sample, this machine's time."""
        sampled = self._sampled
        if sampled is None:
            return self._machine.now()
        at = self._machine.monotonic()
        return math.floor(at * 1_000 + self._bound(sampled, at)) + self._late

    def monotonic(self) -> float:
        return self._machine.monotonic()

    def _bound(self, sampled: tuple[float, float], at: float) -> float:
        """What a sample says at `at`: less, or more, what drift may have added since."""
        offset, sampled_at = sampled
        slack = abs(at - sampled_at) * 1_000 * _DRIFT
        return offset + slack if self._late else offset - slack
