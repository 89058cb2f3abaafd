"""What a database knows of the clock, so that a clock that was set back is noticed even if nobody was there to see it,
and what waits is put right for it. Pure.

To put right is to walk over all schedules and all waiting tasks: waits that began by a clock that was ahead begin now,
schedules that fired by it go on from now. To do it twice, or by several at once, does no harm.
"""

from typing import Final, Literal

import msgspec

from tasks_server.domain import limits

KEPT_EVERY_SECONDS: Final = 5.0
"""How often an engine tells the database what the clock shows."""
CLOCK_EVENT: Final = "clock"
"""The kind of an event of a task: the clock was set back, and its wait began once more."""
_HEARD_MS: Final = 15_000
"""After so long every process has noticed that the clock was set, and nothing is on its way that it wrote before."""
_LATELY_MS: Final = limits.HOUR_MS


class Walk(msgspec.Struct, frozen=True):
    """How far putting right has come: next are the schedules after a handle, or the waiting tasks that are due after an
    instant (and, of one instant, come after a handle).
    """

    over: Literal["schedules", "tasks"] = "schedules"
    ref: int = -1
    due_at: int = 0


class Timekeeping(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is known of the clock, in instants as it showed them. `shown_at`: what it showed when it was looked at last.
    `set_at` and `set_ms`: when it was seen to be set last, by the clock as it was set, and by how much. `walk`: what is
    being put right; `again_at`: when to do so once more.
    """

    shown_at: int = 0
    set_at: int = 0
    set_ms: int = 0
    walk: Walk | None = None
    again_at: int = 0

    def set_lately(self, now: int) -> bool:
        """Whether the clock was set in the last hour."""
        return self.set_ms != 0 and abs(now - self.set_at) <= _LATELY_MS

    def set_ahead_lately(self, now: int) -> bool:
        """Whether it was set ahead in the last hour: it may be wrong, and be set right soon."""
        return self.set_ms > 0 and self.set_lately(now)


def kept(known: Timekeeping, now: int, seen_ms: int = 0) -> Timekeeping:
    """What is known once the clock shows `now`, set by `seen_ms` a moment ago, as somebody has seen (0: nobody has)."""
    set_ms = seen_ms
    if not set_ms and known.shown_at > now + limits.CLOCK_SET_MS:
        set_ms = now - known.shown_at  # nobody saw it: by so much at least
    if set_ms < 0:
        return Timekeeping(now, now, set_ms, Walk(), now + _HEARD_MS)
    if set_ms > 0:
        return Timekeeping(max(now, known.shown_at), now, set_ms, known.walk, known.again_at)
    if known.walk is None and known.again_at and not now < known.again_at <= now + _HEARD_MS:
        return msgspec.structs.replace(known, shown_at=now, walk=Walk(), again_at=0)
    return msgspec.structs.replace(known, shown_at=now)


def walked(known: Timekeeping, after: Walk | None) -> Timekeeping:
    """What is known once putting right has come so far; None: to its end."""
    return msgspec.structs.replace(known, walk=after)
