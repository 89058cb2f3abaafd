"""Keeps what is known of the clock, and puts right what waits."""

from collections.abc import Sequence
from typing import Any

import apsw

from tasks_server.clock import Clock
from tasks_server.domain.timekeeping import Timekeeping
from tasks_server.store.clockwork import PuttingRight, timekeeping_of
from tasks_server.store.sealing import Sealer
from tasks_server.store.sqlite.rows import pack, single, unpack
from tasks_server.store.sqlite.statements import sql
from tasks_server.store.timekeeping import Righted

_GATHERED = frozenset({"waits_find"})
"""Statements that give their rows as one text."""


class Clockwork(PuttingRight):
    """The batch functions about the clock."""

    def __init__(self, sealer: Sealer, clock: Clock) -> None:
        self._sealer = sealer
        self._clock = clock

    def keep(self, connection: apsw.Connection, items: Sequence[int]) -> Sequence[Timekeeping]:
        """Each item is by how much the clock was seen to be set."""
        return [self._keep(connection, _facts(connection), self._clock.now(), seen_ms) for seen_ms in items]

    def step(self, connection: apsw.Connection, items: Sequence[int]) -> Sequence[Righted]:
        """Each item is how many tasks or schedules to look at."""
        return [self._step(connection, _facts(connection), self._clock.now(), count_max) for count_max in items]

    @staticmethod
    def read(connection: apsw.Connection, items: Sequence[None]) -> Sequence[Timekeeping]:
        """For each item the same: what is known."""
        return [timekeeping_of(_facts(connection))] * len(items)

    def _run(self, connection: apsw.Connection, statement: str, parameters: dict[str, Any]) -> None:
        connection.execute(sql(statement), parameters)

    def _rows(self, connection: apsw.Connection, statement: str, parameters: dict[str, Any]) -> Sequence[Sequence[Any]]:
        if statement in _GATHERED:
            rows: list[list[Any]] = unpack(single(connection, statement, parameters)[0])
            return rows
        return connection.execute(sql(statement), parameters).fetchall()

    def _pack(self, rows: Any) -> str:
        return pack(rows)


def _facts(connection: apsw.Connection) -> str:
    (facts,) = single(connection, "clock_read", {})
    return str(facts)
