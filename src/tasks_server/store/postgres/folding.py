"""Folds the changes of the counters into the counters, so that counting stays cheap."""

from collections import deque
from collections.abc import Sequence
from typing import Final

from tasks_server.clock import Clock
from tasks_server.store.postgres.link import Connection, one
from tasks_server.store.postgres.statements import sql

_FOLD_MAX: Final = 20_000
_LAG_SECONDS: Final = 60.0
"""Longer than any transaction of ours lasts: what was drawn from the sequence so long ago is there or never will be."""


class Folded:
    """Up to where (in their sequence) there are no changes left to fold.

    Whoever sums up changes begins after it: deleted rows stay in the index as long as some old snapshot elsewhere in
    the database might see them, and would be walked over each time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._seen: deque[tuple[float, int]] = deque()
        self.until = 0

    def fold(self, connection: Connection, items: Sequence[None]) -> Sequence[int]:
        """Each item asks for the same: it is done once. How many changes were folded."""
        parameters = {"folded": self.until, "count_max": _FOLD_MAX}
        count, last, first = one(connection, sql("counters_fold"), parameters)
        now = self._clock.monotonic()
        self._seen.append((now, last))
        while self._seen and self._seen[0][0] < now - _LAG_SECONDS:
            _, old = self._seen.popleft()
            self.until = max(self.until, old if first is None else min(old, first - 1))
        return [count] * len(items)
