"""Reads the execution log. The attempts of one owner are walked by their end, some days at a time and the newest days
first, so that no more partitions are touched than the page needs; of all owners, spans of time are read.

Attempts lie in the partition of the day of their end, or among those that were kept beyond it (see `days`), wherever
they may be: so those are looked at with every day.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from tasks_server.domain import limits
from tasks_server.store.journal import Found, Key, LogPage, LogQuery, Spans, Step, entry_of, gather, steps_of_task
from tasks_server.store.postgres import days
from tasks_server.store.postgres.link import Connection, one
from tasks_server.store.postgres.rows import day_of, storable
from tasks_server.store.postgres.statements import sql
from tasks_server.store.sealing import Sealer

_DAYS_AT_ONCE: Final = 8
_NUMBER_MAX: Final = 2**31 - 1
_Window = tuple[int, int, int]
"""The first and the last day of a window, and the instant at which it begins."""


class Journals:
    """The batch function that reads the log."""

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer

    def page(self, connection: Connection, items: Sequence[LogQuery]) -> Sequence[LogPage]:
        """Each item is a query."""
        answers = []
        for query in items:
            with connection.transaction():
                connection.execute(sql("walk"))
                answers.append(_page(connection, query, self._sealer))
        return answers


def _page(connection: Connection, query: LogQuery, sealer: Sealer) -> LogPage:
    if query.task is not None:
        return gather(query, steps_of_task(query, lambda number: _of_task(connection, query, number)), sealer)
    if query.owner is not None:
        return gather(query, _of_owner(connection, query), sealer)
    return gather(query, _of_all(connection, query), sealer)


def _of_owner(connection: Connection, query: LogQuery) -> Iterator[Step]:
    before = query.before
    for first, last, begin in _windows(connection, before[0], query.since, _DAYS_AT_ONCE):
        while True:
            found = _window_of_owner(connection, query, (first, last, begin), before)
            if len(found) < query.step:
                break
            before = found[-1][0]
            yield found, before
        before = (begin, 0, 0)
        yield found, before if begin > query.since else None


def _of_all(connection: Connection, query: LogQuery) -> Iterator[Step]:
    before = query.before
    for first, last, begin in _windows(connection, before[0], query.since, 1):
        window = {"first": first, "last": last}

        def newest(since: int, until: int, window: dict[str, int] = window) -> int | None:
            row = one(connection, sql("log_newest"), {"since": since, "before": until, **window})
            at: int | None = row[0]
            return at

        def read(since: int, until: int, count_max: int, window: dict[str, int] = window) -> list[Found]:
            names = {"since": since, "before": until, "count_max": count_max, **window}
            return _read(connection, "log_of_all", names)

        for found, rest in Spans(newest, read, query.step).steps(before, begin):
            before = (begin, 0, 0) if rest is None else rest
            yield found, before if before[0] > query.since else None


def _windows(connection: Connection, until: int, since: int, days_max: int) -> Iterator[_Window]:
    """The days that may have attempts that ended in a span of time, the newest first, some at a time; and at last
    what was kept of the days that are gone.
    """
    wanted = [day for day in reversed(days.existing(connection)) if day_of(since) <= day <= day_of(until)]
    for place in range(0, len(wanted), days_max):
        some = wanted[place : place + days_max]
        yield some[-1], some[0], max(since, some[-1] * limits.DAY_MS)
    if not wanted or wanted[-1] * limits.DAY_MS > since:
        yield 0, -1, since


def _window_of_owner(connection: Connection, query: LogQuery, window: _Window, before: Key) -> list[Found]:
    first, last, begin = window
    place = {"instant": before[0], "task": before[1], "number": before[2]}
    assert query.owner is not None
    owner = {"owner": storable(query.owner), "since": begin, "count_max": query.step}
    return _read(connection, "log_of_owner", {"first": first, "last": last, **owner, **place})


def _of_task(connection: Connection, query: LogQuery, number: int) -> list[Found]:
    assert query.task is not None
    owner = None if query.owner is None else storable(query.owner)
    names = {"task": storable(query.task), "owner": owner, "number": min(number, _NUMBER_MAX), "count_max": query.step}
    return _read(connection, "log_of_task", names)


def _read(connection: Connection, name: str, names: dict[str, Any]) -> list[Found]:
    """Planned with the values, so that partitions which they rule out are not even looked up."""
    return [entry_of(row) for row in connection.execute(sql(name), names, prepare=False)]
