"""The only way to learn the time. Tests bring a clock of their own; nothing else in the package asks the system."""

import time
from typing import Protocol


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
