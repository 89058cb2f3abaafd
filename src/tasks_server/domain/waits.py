"""What holds for tasks that wait while clocks are set. A due time is an instant of the wall clock, and nothing runs
before it. Of a wait, a duration, is also known how long it was when it began: no clock makes it longer.
"""

from typing import Final

from tasks_server.domain import limits
from tasks_server.domain.request import TaskConfig

_CLAIMED_AHEAD_MS: Final = limits.PROMOTE_AHEAD_MS + limits.SECOND_MS
"""No task is claimed longer than this before its time, unless the clock was set back since it came in line."""


def first_wait_ms(config: TaskConfig, now: int) -> int | None:
    """How long a task that arrives at `now` waits first; None: for an instant that has not come."""
    if config.execute_at is None:
        return config.execution_delay
    return None if config.execute_at > now else 0


def starts_at(due_at: int, remaining_ms: int | None, now: int) -> int | None:
    """When a task that was claimed may start. None: not for long, because the clock was set back since it came in line,
    and it waits for an instant. A wait that was over once stays over, but for what was left when it came in line.

    >>> starts_at(1_020, 20, 1_000), starts_at(900, None, 1_000), starts_at(9_000, 20, 1_000), starts_at(9_000, None, 0)
    (1020, 1000, 1020, None)
    """
    if due_at <= now + _CLAIMED_AHEAD_MS:
        return max(now, due_at)
    return None if remaining_ms is None else now + min(remaining_ms, limits.PROMOTE_AHEAD_MS)


def shortened(due_at: int, remaining_ms: int | None, now: int) -> int | None:
    """When a waiting task is due instead, if no wait may be longer than it was when it began: one that began by a clock
    that was ahead and has been set back since, begins now. None: it stays.

    >>> shortened(9_000, 500, 1_000), shortened(9_000, 8_000, 1_000), shortened(9_000, None, 1_000)
    (1500, None, None)
    """
    if remaining_ms is None or due_at <= now + remaining_ms + limits.CLOCK_SET_MS:
        return None
    return now + remaining_ms


def is_set_back(start_at: int, now: int) -> bool:
    """Whether what was claimed, and is held until `start_at`, would be held for long: the clock was set back."""
    return start_at > now + _CLAIMED_AHEAD_MS
