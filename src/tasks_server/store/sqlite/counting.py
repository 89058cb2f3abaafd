"""Counts tasks by state, from the counters."""

from collections.abc import Sequence
from typing import Final

import apsw

from tasks_server.domain.task import State
from tasks_server.store.sqlite.rows import pack, single, unpack

_STATES: Final = pack(list(State))


class Counts:
    """The batch function that counts."""

    @staticmethod
    def of(connection: apsw.Connection, items: Sequence[str | None]) -> Sequence[dict[State, int]]:
        """Each item is an owner, or None for all."""
        return [_count(connection, item) for item in items]


def _count(connection: apsw.Connection, owner: str | None) -> dict[State, int]:
    if owner is None:
        (found,) = single(connection, "counts_of_all", {"states": _STATES})
    else:
        (found,) = single(connection, "counts_of_owner", {"states": _STATES, "owner": owner})
    return {State(state): n for state, n in unpack(found)}
