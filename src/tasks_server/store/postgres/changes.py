"""Keeps the counters true: collects what a transaction moves, and adds it as rows, so that nobody waits for anybody."""

from collections import defaultdict
from typing import Any, Final

from tasks_server.store.postgres.rows import pack

OWNER_LOCK: Final = 0x7461736F
"""Advisory lock, with an owner's handle: who counts what an owner has in queue, to add to it or to delete the owner,
does so alone."""


class Changes:
    """Changes of how many tasks of an owner's lane are in a state."""

    def __init__(self) -> None:
        self._counts: defaultdict[tuple[int, int, str], int] = defaultdict(int)

    def enter(self, owner: int, lane: int, state: str, count: int = 1) -> None:
        """Tasks that come into a state."""
        self._counts[owner, lane, state] += count

    def leave(self, owner: int, lane: int, state: str, count: int = 1) -> None:
        """Tasks that go from a state."""
        self._counts[owner, lane, state] -= count

    def rows(self) -> str:
        """All of it, as `counters_add` takes it; also parts of other statements."""
        found: list[Any] = [(owner, lane, str(state), n) for (owner, lane, state), n in self._counts.items() if n]
        return pack(found)
