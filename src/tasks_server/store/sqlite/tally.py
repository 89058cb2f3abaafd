"""Keeps the counters true: collects what a transaction moves, and adds it in two statements at its end."""

from collections import defaultdict

import apsw

from tasks_server.domain.task import FINAL
from tasks_server.store.sqlite.rows import pack
from tasks_server.store.sqlite.statements import sql

_IN_QUEUE_NOT: frozenset[str] = frozenset(state.value for state in FINAL)


class Tally:
    """Changes of counts, per lane and state, and of each owner's tasks in queue."""

    def __init__(self) -> None:
        self._states: defaultdict[tuple[int, str], int] = defaultdict(int)
        self._owners: defaultdict[int, int] = defaultdict(int)

    def enter(self, owner: int, lane: int, state: str, count: int = 1) -> None:
        """Tasks that come into a state."""
        self._states[lane, state] += count
        if state not in _IN_QUEUE_NOT:
            self._owners[owner] += count

    def leave(self, owner: int, lane: int, state: str, count: int = 1) -> None:
        """Tasks that go from a state."""
        self.enter(owner, lane, state, -count)

    def write(self, connection: apsw.Connection) -> None:
        """Adds all of it to the counters."""
        states = [(lane, state, n) for (lane, state), n in self._states.items() if n]
        if states:
            connection.execute(sql("counters_add"), {"rows": pack(states)})
        owners = [(owner, n) for owner, n in self._owners.items() if n]
        if owners:
            connection.execute(sql("owners_add"), {"rows": pack(owners)})
