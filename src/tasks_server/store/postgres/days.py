"""The days of history: attempts lie in one partition a day, which is made ahead and dropped as a whole."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Final

from psycopg import sql as composing

from tasks_server.store.postgres.link import Connection, one

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LOCK: Final = 0x74617370
"""Advisory: partitions are made by one process at a time."""
_AHEAD: Final = 2


class Days:
    """Which partitions there are, as far as this process knows."""

    def __init__(self) -> None:
        self._known: set[int] = set()

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

    def drop_before(self, connection: Connection, day: int) -> int:
        """Drops the partitions of all days before `day`, and keeps of each task that is still there its last attempt,
        by moving it to `day`. How many partitions went.
        """
        found = [name for name, number in _partitions(connection) if number < day]
        for name in found:
            self.ensure(connection, [day])
            with connection.transaction():
                connection.execute("SET LOCAL statement_timeout = 0")
                connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
                if not any(name == there for there, _ in _partitions(connection)):
                    continue  # another process was quicker
                table = composing.Identifier(name)
                connection.execute(
                    composing.SQL(
                        "INSERT INTO attempt SELECT a.task, a.number, a.owner, {day}, a.due_at, a.started_at,"
                        " a.ended_at, a.status_code, a.outcome, a.error, a.response"
                        " FROM {table} AS a JOIN task AS t ON t.seq = a.task"
                        " WHERE a.number = t.attempt OR (t.state = 'running' AND a.number = t.attempt - 1)"
                    ).format(day=composing.Literal(day), table=table)
                )
                connection.execute(composing.SQL("DROP TABLE {table}").format(table=table))
        self._known = {known for known in self._known if known >= day}
        return len(found)


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


def _partitions(connection: Connection) -> list[tuple[str, int]]:
    """The partitions by name, with their day."""
    rows = connection.execute(
        "SELECT c.relname FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid"
        " WHERE i.inhparent = 'attempt'::regclass ORDER BY c.relname"
    ).fetchall()
    return [(name, (datetime.strptime(name[-8:], "%Y%m%d").replace(tzinfo=UTC) - _EPOCH).days) for (name,) in rows]
