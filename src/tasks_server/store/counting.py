"""What the store is asked about numbers of tasks, beside what `ports` has; see there for what holds of all of it."""

from typing import Protocol

from tasks_server.domain.task import State


class Counting(Protocol):
    """Asked by whoever shows how a server fares."""

    async def counts(self, owner: str | None) -> dict[State, int]:
        """How many tasks are in each state, of an owner or (None) of all. From counters: no task is looked at."""
        ...
