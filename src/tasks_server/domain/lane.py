"""Lanes: named lines of one owner's tasks, and how many of them may start now. Pure; the engine and whoever explains
why a task waits ask the same function.

The rate is a token bucket whose whole state is one integer, `full_at`: the microsecond at which the bucket is full
again. To take from it moves that instant on; nothing has to run for it to fill.
"""

import math
from typing import Final, Literal

import msgspec
from msgspec.structs import replace

from tasks_server.domain import limits
from tasks_server.domain.callback import NO_CALLBACKS, Callbacks
from tasks_server.domain.errors import Forbidden
from tasks_server.domain.owner import By
from tasks_server.domain.task import FINAL, State

_US: Final = 1_000_000
_TOLERANCE: Final = 1e-9
"""Of a token: what floating-point numbers may be off by."""
_SKEW_US: Final = _US
"""A bucket that is emptier by more than this than it can be was written by a clock that has been set back since."""

Why = Literal["paused", "rate", "concurrency"]


class LaneLimits(msgspec.Struct, frozen=True):
    """What a lane may do. None: no such limit."""

    concurrent_max: int | None = None
    """How many of its tasks may run at once."""
    rate: float | None = None
    """How many may start in a second, in the long run."""
    burst: int | None = None
    """How many may start at once, after a while without any; None: what `burst_of` gives."""
    paused_at: int | None = None
    paused_by: By | None = None

    @property
    def held(self) -> bool:
        """Whether the operator paused it, so that its owner cannot resume it."""
        return self.paused_at is not None and self.paused_by == "operator"

    @property
    def limited(self) -> bool:
        return self.concurrent_max is not None or self.rate is not None or self.paused_at is not None


class LaneFacts(msgspec.Struct, frozen=True):
    """What it depends on how many may start."""

    limits: LaneLimits
    full_at: int = 0
    """Microseconds since the epoch."""
    running: int = 0


class Lane(msgspec.Struct, frozen=True):
    """A lane as its owner sees it."""

    name: str
    facts: LaneFacts = LaneFacts(LaneLimits())
    counts: dict[State, int] = {}
    """How many of its tasks are in each state."""
    callbacks: Callbacks = NO_CALLBACKS
    """What is to be called when its tasks end."""

    @property
    def in_queue(self) -> int:
        """Its tasks that are not final."""
        return sum(count for state, count in self.counts.items() if state not in FINAL)


class Room(msgspec.Struct, frozen=True):
    """How many tasks of a lane may start now. When it is none: why, and when there is room again, if that is known."""

    count: int | None = None
    """None: as many as there are."""
    why: Why | None = None
    again_at: int | None = None


OPEN: Final = Room()
_PAUSED: Final = Room(0, "paused")


def burst_of(chosen: LaneLimits) -> int:
    """How many may start at once: what its owner chose, or what the rate brings in a tenth of a second.

    >>> [burst_of(LaneLimits(rate=rate)) for rate in (0.5, 10, 50, 25_000)], burst_of(LaneLimits(rate=50, burst=10))
    ([1, 1, 5, 2500], 10)
    """
    if chosen.burst is not None:
        return chosen.burst
    return max(1, math.ceil((chosen.rate or 0) * limits.LANE_BURST_DEFAULT_MS / limits.SECOND_MS))


def room(facts: LaneFacts, now: int) -> Room:
    """How many tasks of the lane may start at `now` (ms).

    >>> room(LaneFacts(LaneLimits(concurrent_max=5), running=3), 0).count
    2
    >>> room(LaneFacts(LaneLimits(rate=2, burst=1), full_at=500_000), 100)
    Room(count=0, why='rate', again_at=500)
    """
    chosen = facts.limits
    if chosen.paused_at is not None:
        return _PAUSED
    places = None if chosen.concurrent_max is None else max(0, chosen.concurrent_max - facts.running)
    if places == 0:
        return Room(0, "concurrency")
    if chosen.rate is None:
        return OPEN if places is None else Room(places)
    tokens = _tokens(facts, chosen.rate, now)
    if tokens == 0:
        return Room(0, "rate", _filled_at(facts, chosen.rate, 1))
    return Room(tokens if places is None else min(places, tokens))


def look_at(facts: LaneFacts, now: int) -> int | None:
    """When to look again for a lane that may start none at `now` (ms) and has due tasks: once some tokens have gathered
    or, for a place that others hold, before long. None: somebody will say.
    """
    found = room(facts, now)
    if found.why == "rate":
        rate = facts.limits.rate or 0
        gathered = min(max(1, burst_of(facts.limits) // 2), max(1, int(rate * limits.LANE_GATHER_MS / 1_000)))
        return max(now + 1, _filled_at(facts, rate, gathered))
    return now + limits.LANE_LOOK_MS if found.why == "concurrency" else None


def take(facts: LaneFacts, count: int, now: int) -> LaneFacts:
    """The facts once `count` tasks have started at `now` (ms)."""
    rate = facts.limits.rate
    full_at = facts.full_at
    if rate is not None and count:
        full_at = now * 1_000 + _missing(facts, rate, now) + math.ceil(count * _US / rate)
    return LaneFacts(facts.limits, full_at, facts.running + count)


def changed(facts: LaneFacts, after: LaneLimits, now: int) -> LaneFacts:
    """The facts under other limits: the tokens that were missing are missing still, as far as the bucket holds them."""
    before = facts.limits
    if before.rate == after.rate and before.burst == after.burst:
        return LaneFacts(after, facts.full_at, facts.running)
    full_at = 0
    if before.rate is not None and after.rate is not None:
        tokens = min(_missing(facts, before.rate, now) * before.rate / _US, burst_of(after))
        full_at = now * 1_000 + math.ceil(tokens * _US / after.rate) if tokens else 0
    return LaneFacts(after, full_at, facts.running)


def paused(before: LaneLimits, by: By, now: int) -> LaneLimits:
    """The limits of a lane that is paused. Paused already, it stays so since then; what the operator pauses is held."""
    if before.paused_at is not None:
        return replace(before, paused_by="operator") if by == "operator" else before
    return replace(before, paused_at=now, paused_by=by)


def resumed(before: LaneLimits, by: By) -> LaneLimits:
    """The limits of a lane that is paused no more. Raises `Forbidden` for its owner when the operator paused it."""
    if before.held and by == "owner":
        raise held()
    return replace(before, paused_at=None, paused_by=None)


def held() -> Forbidden:
    """The refusal of what would end the operator's pause."""
    return Forbidden("the operator paused this lane: only the operator can resume it", code="lane_held")


def _tokens(facts: LaneFacts, rate: float, now: int) -> int:
    return max(0, math.floor(burst_of(facts.limits) - _missing(facts, rate, now) * rate / _US + _TOLERANCE))


def _missing(facts: LaneFacts, rate: float, now: int) -> int:
    """How long it takes until the bucket is full, in microseconds. One that was written by a clock that has been set
    back since holds one token: the lane goes on at its rate, at once.
    """
    missing, burst = max(0, facts.full_at - now * 1_000), burst_of(facts.limits)
    return missing if missing <= burst * _US / rate + _SKEW_US else math.floor((burst - 1) * _US / rate)


def _filled_at(facts: LaneFacts, rate: float, tokens: int) -> int:
    """The first millisecond at which the bucket holds so many."""
    return -((math.floor((burst_of(facts.limits) - tokens) * _US / rate) - facts.full_at) // 1_000)
