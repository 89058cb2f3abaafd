"""Bulk work: one action over all tasks of an owner that a filter finds. What it finds, what it does to each, and where
it stands; how it gets on piece by piece is the store's affair, when that happens the engine's.
"""

from collections.abc import Callable
from enum import StrEnum
from typing import Final, Literal

import msgspec

from tasks_server.domain import lifecycle, limits
from tasks_server.domain.attempt import Attempt, Event
from tasks_server.domain.lifecycle import EventKind, IllegalTransition
from tasks_server.domain.task import FINAL, PENDING, State, Task, handler_target

_RESERVED_SHARE: Final = 10


class Action(StrEnum):
    """What is done to each task."""

    RETRY = "retry"
    REVOKE = "revoke"
    DELETE = "delete"
    PAUSE = "pause"
    RESUME = "resume"
    EXECUTE = "execute"


_S = State
DEFAULT_STATES: Final[dict[Action, frozenset[State]]] = {
    Action.RETRY: frozenset({_S.FAILED}),
    Action.REVOKE: frozenset(State) - FINAL,
    Action.DELETE: frozenset(State),
    Action.PAUSE: PENDING | {_S.RUNNING},
    Action.RESUME: frozenset({_S.PAUSED}),
    Action.EXECUTE: PENDING,
}
"""Which tasks an action is meant for when a filter names neither states nor ids."""

_STEERS: Final[dict[Action, tuple[EventKind, Callable[[Task, int], Task]]]] = {
    Action.RETRY: (EventKind.RESTART, lifecycle.restart),
    Action.REVOKE: (EventKind.REVOKE, lifecycle.revoke),
    Action.PAUSE: (EventKind.PAUSE, lifecycle.pause),
    Action.RESUME: (EventKind.RESUME, lifecycle.resume),
    Action.EXECUTE: (EventKind.EXECUTE, lifecycle.execute),
}


class BulkFilter(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Which tasks; every condition that is set must hold. Instants: `since` is inside, `until` is not. A condition that
    another version has stored must not be passed over: more tasks would be found.
    """

    states: tuple[State, ...] | None = None
    lane: str | None = None
    host: str | None = None
    """Of the target, with its port or for any port."""
    handler: str | None = None
    schedule: str | None = None
    status: tuple[int, int] | None = None
    """The last status code, from the first to the second inclusive."""
    error: str | None = None
    """A part of the last error, in any case."""
    metadata: dict[str, str] | None = None
    created_since: int | None = None
    created_until: int | None = None
    ended_since: int | None = None
    ended_until: int | None = None
    ids: tuple[str, ...] | None = None


def in_queue_of(lane: str) -> BulkFilter:
    """All tasks of a lane that are in queue: what is deleted when it is purged."""
    return BulkFilter(states=tuple(state for state in State if state not in FINAL), lane=lane)


class Bulk(msgspec.Struct, frozen=True):
    """A piece of bulk work. Instants are ms since the epoch, 0: not yet. `total` estimates how many tasks it will look
    at, `seen` says how many it has looked at; of those, `changed` and `skipped` were found by the filter.
    """

    id: str
    owner: str
    action: Action
    filter: BulkFilter
    asked_by: str
    created_at: int
    started_at: int = 0
    updated_at: int = 0
    ended_at: int = 0
    cancelled: bool = False
    total: int = 0
    seen: int = 0
    changed: int = 0
    skipped: int = 0
    waits: str | None = None
    """Why it does not go on just now."""
    error: str | None = None
    """Why it ended before it was done, or why its last step could not be done."""
    failures: int = 0
    """How many steps in a row could not be done."""
    unreadable: str | None = None
    """What of it cannot be read, why, and what to do."""

    @property
    def standing(self) -> Literal["pending", "running", "waiting", "done", "cancelled", "failed"]:
        if self.cancelled:
            return "cancelled"
        if self.ended_at:
            return "failed" if self.error else "done"
        if self.waits:
            return "waiting"
        return "running" if self.started_at else "pending"


QUEUE_FULL: Final = "queue_full"
"""It waits for places in the owner's queue."""
STEP_FAILED: Final = "step_failed"
"""Its last step could not be done, and it waits for another try."""
STEP_FAILURES_MAX: Final = 10
"""After so many steps in a row that could not be done, it ends."""
_SET_BACK_FIRST_MS: Final = limits.SECOND_MS
_SET_BACK_MAX_MS: Final = limits.MINUTE_MS
_STORE_BUSY_MS: Final = 5 * limits.SECOND_MS


class Setback(msgspec.Struct, frozen=True):
    """What becomes of work whose step could not be done: how many could not in a row, when its next turn is, and the
    end of it (0: it goes on).
    """

    failures: int
    look_at: int
    ended_at: int = 0


def set_back(failures: int, now: int, *, busy: bool = False) -> Setback:
    """The work leaves its turn to others, for longer each time, after so many failures before this one; in the end, for
    good. That the store was `busy` is no failure of it.

    >>> [set_back(failures, 0).look_at for failures in (0, 1, 5, 6, 8)]
    [1000, 2000, 32000, 60000, 60000]
    >>> set_back(9, 5).ended_at, set_back(9, 5, busy=True)
    (5, Setback(failures=9, look_at=5005, ended_at=0))
    """
    if busy:
        return Setback(failures, now + _STORE_BUSY_MS)
    wait_ms = min(_SET_BACK_FIRST_MS << failures, _SET_BACK_MAX_MS)
    ended = failures + 1 >= STEP_FAILURES_MAX
    return Setback(failures + 1, now + wait_ms, now if ended else 0)


def with_states(action: Action, asked: BulkFilter) -> BulkFilter:
    """The filter with the states that the action is meant for, unless it names states or ids itself."""
    if asked.states is not None or asked.ids is not None:
        return asked
    states = DEFAULT_STATES[action]
    return asked if states == frozenset(State) else msgspec.structs.replace(asked, states=tuple(sorted(states)))


def matches(asked: BulkFilter, task: Task) -> bool:
    """Whether the filter finds the task."""
    return (
        (asked.states is None or task.state in asked.states)
        and (asked.lane is None or task.lane == asked.lane)
        and (asked.host is None or asked.host in (task.target, task.target.rpartition(":")[0]))
        and (asked.handler is None or task.target == handler_target(asked.handler))
        and (asked.schedule is None or task.schedule == asked.schedule)
        and (asked.status is None or asked.status[0] <= task.status_code <= asked.status[1])
        and (asked.error is None or asked.error.casefold() in (task.error or "").casefold())
        and (asked.metadata is None or asked.metadata.items() <= (task.metadata or {}).items())
        and _within(task.created_at, asked.created_since, asked.created_until)
        and (
            (asked.ended_since is None and asked.ended_until is None)
            or (task.state in FINAL and _within(task.ended_at, asked.ended_since, asked.ended_until))
        )
        and (asked.ids is None or task.id in asked.ids)
    )


def _within(at: int, since: int | None, until: int | None) -> bool:
    return (since is None or at >= since) and (until is None or at < until)


class Steered(msgspec.Struct, frozen=True):
    """What becomes of a task. `attempt`: the one in flight that is dropped, if there was one."""

    task: Task
    event: Event
    attempt: Attempt | None = None


class Deleted(msgspec.Struct, frozen=True):
    """The task goes, with all that is known of it."""


def act(action: Action, why: str, task: Task, now: int) -> Steered | Deleted | None:
    """What the action makes of a task; None when the task's state does not allow it, or it stays as it is."""
    if action is Action.DELETE:
        return Deleted()
    kind, steer = _STEERS[action]
    try:
        after = steer(task, now)
    except IllegalTransition:
        return None
    if after is task:
        return None
    return Steered(after, Event(now, kind.value, why), lifecycle.dropped(task, now, why))


def enters_queue(before: Task, after: Task) -> bool:
    """Whether a final task takes a place in its owner's queue again."""
    return before.state in FINAL and after.state not in FINAL


def room_for(limit: int, used: int) -> int:
    """How many places of a queue bulk work may take: a tenth of the limit stays free for new tasks.

    >>> room_for(1_000, 850), room_for(1_000, 950), room_for(5, 4)
    (50, 0, 1)
    """
    return max(0, limit - limit // _RESERVED_SHARE - used)
