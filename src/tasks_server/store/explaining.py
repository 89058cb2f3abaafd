"""What the store is asked by whoever explains why a task waits, beside what `ports` has; see there for what holds of
all of it.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import msgspec

from tasks_server.domain.situation import AHEAD_COUNTED_MAX, LANES_COUNTED_MAX, Ahead, InWork, Lease
from tasks_server.domain.task import State, Task, urgency
from tasks_server.store.rows import NODE_SHIFT


class Standing(msgspec.Struct, frozen=True):
    """Where a task stands: itself, without its response, its spec, and what is in work and before it."""

    task: Task
    spec: bytes
    """Empty when it cannot be read, which the task tells of."""
    lease: Lease | None
    """While it runs."""
    in_work: list[InWork]
    """All that runs, of any owner; empty for a task that does not wait."""
    ahead: Ahead
    """While it is in line."""
    holders: list[str]
    """Of a task that waits in a lane with a limit of places: the ids of some that hold one, at most `HOLDERS_MAX`."""


class Explaining(Protocol):
    """Asked by the service that explains."""

    async def standing(self, owner: str | None, task_id: str) -> Standing | None:
        """Where the task stands; None: there is no such task for that owner. The cost is that of what runs, up to
        `RUNNING_COUNTED_MAX` tasks, and of what is before it, up to `AHEAD_COUNTED_MAX` of each kind; nothing else
        that is stored adds to it.
        """
        ...


def lease_of(state: State, lease: int | None, until: int | None) -> Lease | None:
    """Who runs a task, from its row."""
    if state is not State.RUNNING or lease is None or until is None:
        return None
    return Lease(lease >> NODE_SHIFT, until)


def place(ref: int, owner: int, lane: int, task: Task) -> dict[str, Any]:
    """Where a task stands in line, by its handle and those of its owner and lane; and how far to count before it."""
    return {
        "seq": ref,
        "owner": owner,
        "lane": lane,
        "urgency": urgency(task.priority, forced=task.forced),
        "target": task.target,
        "due_at": task.due_at,
        "count_max": AHEAD_COUNTED_MAX,
        "lanes_max": LANES_COUNTED_MAX,
    }


def ahead_of(urgent: Iterable[Sequence[Any]], earlier: int) -> Ahead:
    """What goes before a task, from rows of kind, target and count: see `explain_urgent`."""
    counts: tuple[dict[str, int], ...] = ({}, {}, {})
    for kind, target, count in urgent:
        counts[kind][target] = count
    here, elsewhere, alongside = counts
    return Ahead(here, elsewhere, earlier, alongside)
