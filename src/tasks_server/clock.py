"""The only way to learn the time. Tests bring a clock of their own; nothing else in the package asks the system."""

import math
import time
from typing import Final, Literal, Protocol

from tasks_server.domain import limits


class Clock(Protocol):
    """Tells the time. `now()` is ms since the epoch, UTC; it may be set, ahead or back. The others are seconds and only
    go on: `monotonic()` while the machine works, for spans in which something was done or watched; `elapsed()` also
    while it is suspended.
    """

    def now(self) -> int: ...

    def monotonic(self) -> float: ...

    def elapsed(self) -> float: ...


_ELAPSED: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""Linux alone has a clock that nobody sets and that counts while the machine is suspended."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        return time.monotonic()

    def elapsed(self) -> float:
        return time.clock_gettime(_ELAPSED)


class ManualClock:
    """A clock that stands still until it is moved. For tests and simulations."""

    def __init__(self, now: int = 1_700_000_000_000) -> None:
        self._now = now
        self._elapsed_ms = self._worked_ms = now

    def now(self) -> int:
        return self._now

    def monotonic(self) -> float:
        return self._worked_ms / 1_000

    def elapsed(self) -> float:
        return self._elapsed_ms / 1_000

    def advance(self, ms: int) -> int:
        """Moves the time on by `ms` and gives the new instant."""
        self._worked_ms += ms
        return self.suspend(ms)

    def suspend(self, ms: int) -> int:
        """So much time goes by while the machine is suspended. The new instant."""
        self._elapsed_ms += ms
        return self.set(ms)

    def set(self, by_ms: int) -> int:
        """Somebody sets the clock, ahead or back, in no time. The new instant."""
        self._now += by_ms
        return self._now


class Watch:
    """Notices that a clock is set, by comparing it with how much time has gone by."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._least_ms, self._most_ms = self._ahead()

    def look(self) -> int:
        """By how many ms the clock was set since the last look; 0: it goes as it went."""
        least_ms, most_ms = self._ahead()
        by_ms = least_ms - self._most_ms if least_ms > self._most_ms else min(0.0, most_ms - self._least_ms)
        self._least_ms, self._most_ms = least_ms, most_ms
        return round(by_ms) if abs(by_ms) >= limits.CLOCK_SET_MS else 0

    def _ahead(self) -> tuple[float, float]:
        """How far the clock is ahead of the time that has gone by, at least and at most: this process may have been
        held up between two looks at clocks.
        """
        before, now, after = self._clock.elapsed(), self._clock.now(), self._clock.elapsed()
        return now - after * 1_000, now - before * 1_000


_DRIFT: Final = 0.0002
"""How far clocks of two machines may drift apart: 200 ms in 1 000 s, far more than a bad crystal does."""
_JUMP_MS: Final = 1_000
"""From so far apart on, the database's clock was set: then what it says now counts, not what it said."""


class DatabaseClock:
    """The database's time, which all processes share whatever their machines' clocks say; from samples of it, without
    asking it each time.

    A sample says: between two readings of the time that goes by here, the database's clock showed this. So the
    database's time is known within the time that the question took, and what drift may have added since. `early` stays
    at the lower bound: it is never ahead of the database, and no task runs early. `late` stays at the upper: a delay
    that is counted from it is never too short.
    """

    def __init__(self, bound: Literal["early", "late"], machine: Clock | None = None) -> None:
        self._late = bound == "late"
        self._machine = machine or SystemClock()
        self._sampled: tuple[float, float] | None = None
        """How far the database's clock is ahead of the time that goes by here (ms), and when (seconds) that was so."""

    def sample(self, before: float, after: float, at_ms: float) -> None:
        """Takes in what the database's clock showed between `before` and `after` (seconds, `elapsed`)."""
        least, most = at_ms - after * 1_000, at_ms - before * 1_000
        offset, at = (most, before) if self._late else (least, after)
        if self._sampled is not None:
            known = self._bound(self._sampled, at)
            if least - _JUMP_MS < known < most + _JUMP_MS:  # an answer that took long says little; the tighter counts
                offset = min(offset, known) if self._late else max(offset, known)
        self._sampled = (offset, at)

    def now(self) -> int:
        """Ms since the epoch. Before the first sample, this machine's time."""
        sampled = self._sampled
        if sampled is None:
            return self._machine.now()
        at = self._machine.elapsed()
        return math.floor(at * 1_000 + self._bound(sampled, at)) + self._late

    def monotonic(self) -> float:
        return self._machine.monotonic()

    def elapsed(self) -> float:
        return self._machine.elapsed()

    def _bound(self, sampled: tuple[float, float], at: float) -> float:
        """What a sample says at `at`: less, or more, what drift may have added since."""
        offset, sampled_at = sampled
        slack = abs(at - sampled_at) * 1_000 * _DRIFT
        return offset + slack if self._late else offset - slack
