"""Counts tasks by state, from the counters and what was not folded into them yet."""

from collections.abc import Sequence

from tasks_server.domain.stored import is_known, word_of
from tasks_server.domain.task import State
from tasks_server.store.postgres.folding import Folded
from tasks_server.store.postgres.link import Connection
from tasks_server.store.postgres.rows import storable
from tasks_server.store.postgres.statements import sql


class Counts:
    """The batch function that counts."""

    def __init__(self, folded: Folded) -> None:
        self._folded = folded

    def of(self, connection: Connection, items: Sequence[str | None]) -> Sequence[dict[State, int]]:
        """Each item is an owner, or None for all."""
        return [self._count(connection, item) for item in items]

    def _count(self, connection: Connection, owner: str | None) -> dict[State, int]:
        names: dict[str, object] = {"folded": self._folded.until}
        if owner is not None:
            names["owner"] = storable(owner)
        rows = connection.execute(sql("counts_of_all" if owner is None else "counts_of_owner"), names).fetchall()
        known = {state: n for word, n in rows if is_known(state := word_of(State, word))}
        return dict.fromkeys(State, 0) | known
