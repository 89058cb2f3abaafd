"""The days of history: attempts lie in one partition a day, which is made ahead and dropped as a whole. What is to be
kept for longer is moved, once, to a partition of its own, and goes from there row by row.
"""

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Final

from psycopg import sql as composing

from tasks_server.store.postgres.link import Connection, one
from tasks_server.store.postgres.rows import day_of
from tasks_server.store.postgres.statements import sql

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LOCK: Final = 0x74617370
"""Advisory: partitions are made by one process at a time."""
_AHEAD: Final = 2
_NAME: Final = re.compile(r"attempt_(\d{8})")
KEPT_DAY: Final = -1
"""What stands for the day of attempts that are kept beyond it."""


class Days:
    """Which partitions there are, as far as this process knows."""

    def __init__(self) -> None:
        self._known: set[int] = set()
        self._walked: dict[int, tuple[int, int]] = {}
        """How far days that are to go were looked through."""

    def ensure(self, connection: Connection, days: Iterable[int]) -> None:
        """Makes the partitions of these days where they are missing, and those of the days that follow."""
        wanted = set(days) - self._known
        if not wanted:
            return
        wanted |= {day + ahead for day in wanted for ahead in range(1, _AHEAD + 1)}
        with connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
            for day in sorted(wanted - self._known):
                _make(connection, day)
        self._known |= wanted

    def forget(self) -> None:
        self._known.clear()
        self._walked.clear()

    def drop_before(self, connection: Connection, before: int, now: int, limit: int) -> int:
        """Does a piece of dropping the partitions of all days before that of `before`. What is to be kept beyond its
        day is moved first, some rows at a time: of each task that is still there the last attempt, and what owners
        want kept for longer. How many rows were looked at and partitions dropped; less than `limit`: all is done.
        """
        done = 0
        for day in existing(connection):
            if day >= day_of(before):
                break
            while done < limit:
                names = {"day": day, "now": now, "kept_day": KEPT_DAY, "count_max": limit - done}
                task, number = self._walked.get(day, (0, 0))
                row = one(connection, sql("attempts_keep"), {**names, "task": task, "number": number})
                looked_at, task, number = row
                done += looked_at
                if looked_at < names["count_max"]:
                    _drop(connection, day)
                    self._walked.pop(day, None)
                    self._known.discard(day)
                    done += 1
                    break
                self._walked[day] = task, number
            else:
                return done
        return done


def existing(connection: Connection) -> list[int]:
    """The days that have a partition, in their order."""
    rows = connection.execute(sql("partitions_list")).fetchall()
    named = [_NAME.fullmatch(name) for (name,) in rows]
    return sorted((datetime.strptime(name[1], "%Y%m%d").replace(tzinfo=UTC) - _EPOCH).days for name in named if name)


def _drop(connection: Connection, day: int) -> None:
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        text = composing.SQL("DROP TABLE IF EXISTS {table}").format(table=composing.Identifier(_name(day)))
        connection.execute(text)  # another process may have been quicker


def _name(day: int) -> str:
    return f"attempt_{_EPOCH + timedelta(days=day):%Y%m%d}"


def _make(connection: Connection, day: int) -> None:
    """Attaching needs a weaker lock on the whole table than making a partition in its place: nobody has to wait."""
    name = _name(day)
    (there,) = one(connection, "SELECT to_regclass(%s) IS NOT NULL", (name,))
    if there:
        return
    names = {"table": composing.Identifier(name), "first": composing.Literal(day), "end": composing.Literal(day + 1)}
    for text in (
        "CREATE TABLE {table} (LIKE attempt INCLUDING ALL, CHECK (day >= {first} AND day < {end}))"
        " WITH (autovacuum_vacuum_insert_scale_factor = 0.2)",
        "ALTER TABLE attempt ATTACH PARTITION {table} FOR VALUES FROM ({first}) TO ({end})",
    ):
        connection.execute(composing.SQL(text).format(**names))
