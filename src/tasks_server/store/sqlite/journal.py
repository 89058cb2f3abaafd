"""Reads the execution log: walks the index of an owner's attempts by their end; of all owners, spans of time."""

from collections.abc import Iterator, Sequence
from typing import Any

import apsw

from tasks_server.store.journal import Found, LogPage, LogQuery, Spans, Step, entry_of, gather, steps_of_task
from tasks_server.store.sealing import Sealer
from tasks_server.store.sqlite.statements import sql


class Journals:
    """The batch function that reads the log."""

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer

    def page(self, connection: apsw.Connection, items: Sequence[LogQuery]) -> Sequence[LogPage]:
        """Each item is a query."""
        return [_page(connection, query, self._sealer) for query in items]


def _page(connection: apsw.Connection, query: LogQuery, sealer: Sealer) -> LogPage:
    if query.task is not None:
        return gather(query, steps_of_task(query, lambda number: _of_task(connection, query, number)), sealer)
    if query.owner is not None:
        return gather(query, _of_owner(connection, query), sealer)
    return gather(query, _of_all(connection, query), sealer)


def _of_owner(connection: apsw.Connection, query: LogQuery) -> Iterator[Step]:
    """First the rest of what ended at one instant, then what ended before: for (ended_at, task, number) < (?, ?, ?)
    SQLite would walk over all that ended at that instant.
    """
    instant, task, number = query.before
    while True:
        names: dict[str, Any] = {"owner": query.owner, "since": query.since}
        found: list[Found] = []
        if task and instant >= query.since:
            place = {"instant": instant, "task": task, "number": number, "count_max": query.step}
            found = _read(connection, "log_of_instant", names | place)
        if len(found) < query.step:
            place = {"before": instant, "count_max": query.step - len(found)}
            found += _read(connection, "log_of_owner", names | place)
        if len(found) < query.step:
            yield found, None
            return
        instant, task, number = found[-1][0]
        yield found, found[-1][0]


def _of_all(connection: apsw.Connection, query: LogQuery) -> Iterator[Step]:
    def newest(since: int, before: int) -> int | None:
        row = connection.execute(sql("log_newest"), {"since": since, "before": before}).fetchone()
        assert row is not None
        at: int | None = row[0]
        return at

    def read(since: int, before: int, count_max: int) -> list[Found]:
        return _read(connection, "log_of_all", {"since": since, "before": before, "count_max": count_max})

    return Spans(newest, read, query.step).steps(query.before, query.since)


def _of_task(connection: apsw.Connection, query: LogQuery, number: int) -> list[Found]:
    names = {"task": query.task, "owner": query.owner, "number": number, "count_max": query.step}
    return _read(connection, "log_of_task", names)


def _read(connection: apsw.Connection, name: str, names: dict[str, Any]) -> list[Found]:
    return [entry_of(row) for row in connection.execute(sql(name), names)]
