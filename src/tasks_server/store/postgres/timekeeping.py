"""Keeps what is known of the clock, and puts right what waits. What time it is, the database is asked before each."""

from collections.abc import Sequence
from typing import Any

from tasks_server.clock import Clock
from tasks_server.domain.timekeeping import Timekeeping
from tasks_server.store.clockwork import PuttingRight, timekeeping_of
from tasks_server.store.postgres.link import Connection, Link, one
from tasks_server.store.postgres.rows import pack
from tasks_server.store.postgres.statements import sql
from tasks_server.store.sealing import Sealer
from tasks_server.store.timekeeping import Righted


class Clockwork(PuttingRight):
    """The batch functions about the clock."""

    def __init__(self, link: Link, sealer: Sealer, clock: Clock) -> None:
        self._link = link
        self._sealer = sealer
        self._clock = clock

    def keep(self, connection: Connection, items: Sequence[int]) -> Sequence[Timekeeping]:
        """Each item is by how much the clock was seen to be set; each is a transaction of its own."""
        answers = []
        for seen_ms in items:
            with connection.transaction():
                (facts,) = one(connection, sql("clock_lock"))
                answers.append(self._keep(connection, facts, self._now(connection), seen_ms))
        return answers

    def step(self, connection: Connection, items: Sequence[int]) -> Sequence[Righted]:
        """Each item is how many tasks or schedules to look at; each is a transaction of its own. What another process
        has in hand is left to it.
        """
        answers = []
        for count_max in items:
            with connection.transaction():
                row = connection.execute(sql("clock_take")).fetchone()
                answers.append(
                    Righted() if row is None else self._step(connection, row[0], self._now(connection), count_max)
                )
        return answers

    @staticmethod
    def read(connection: Connection, items: Sequence[None]) -> Sequence[Timekeeping]:
        """For each item the same: what is known."""
        (facts,) = one(connection, sql("clock_read"))
        return [timekeeping_of(facts)] * len(items)

    def _now(self, connection: Connection) -> int:
        """What the database's clock shows, not what this process believes that it shows: it may have been set."""
        self._link.sample(connection)
        return self._clock.now()

    def _run(self, connection: Connection, statement: str, parameters: dict[str, Any]) -> None:
        connection.execute(sql(statement), parameters)

    def _rows(self, connection: Connection, statement: str, parameters: dict[str, Any]) -> Sequence[Sequence[Any]]:
        done = connection.execute(sql(statement), parameters)
        return done.fetchall() if done.description else ()

    def _pack(self, rows: Any) -> str:
        return pack(rows)
