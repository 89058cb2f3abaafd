"""Reads tasks, specs, attempts and events. Lists walk an index from a key, so that every page costs the same."""

from collections.abc import Sequence
from typing import Any, Final

import apsw
from msgspec.structs import replace

from tasks_server.domain import limits
from tasks_server.domain.attempt import Attempt, Event
from tasks_server.domain.task import PENDING, State, Task
from tasks_server.store.attempts import attempt_of
from tasks_server.store.filtering import HANDLERS
from tasks_server.store.journal import FOREVER, LOOKED_AT_MAX
from tasks_server.store.ports import TaskPage, TaskQuery
from tasks_server.store.rows import TASK_COLUMNS, event_of, open_specs, task_of
from tasks_server.store.sealing import Sealer, spec_context
from tasks_server.store.sqlite.rows import load_task, single
from tasks_server.store.sqlite.statements import sql

_UNFINISHED: Final = PENDING | {State.RUNNING}
_STOPPED: Final = frozenset({State.PAUSED, State.FAILED, State.REVOKED})
"""Those that the partial index task_stopped holds: few among many, and asked for when something is wrong."""
_COLUMNS: Final = (
    "t.seq, t.id, o.id, l.name, t.state, t.priority, t.created_at, t.due_at, t.execution_at, t.ended_at, "
    "t.attempt, t.failures, t.repeats, t.status_code, t.error, t.remaining_ms, t.expire_at, t.target, t.urgency < 0, "
    "t.metadata"
)
_HAS_ENTRY: Final = (
    "EXISTS (SELECT 1 FROM metadata AS m WHERE m.owner = t.owner AND m.key = ? AND m.value = ? AND m.task = t.seq)"
)
_KEYS: Final = {"created": "t.seq", "ended": "t.ended_at", "execution": "t.execution_at"}


class Listings:
    """The batch functions that read."""

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer

    def task(self, connection: apsw.Connection, items: Sequence[tuple[str | None, str, bool]]) -> Sequence[Task | None]:
        """Each item is an owner, a task, and whether its response is wanted."""
        answers = []
        for owner, task_id, response in items:
            loaded = load_task(connection, self._sealer, owner, task_id, response=response)
            answers.append(loaded.task if loaded else None)
        return answers

    @staticmethod
    def exists(connection: apsw.Connection, items: Sequence[tuple[str | None, str]]) -> Sequence[bool]:
        """Each item is an owner and a task."""
        return [bool(single(connection, "task_exists", {"owner": owner, "id": task_id})[0]) for owner, task_id in items]

    def spec(self, connection: apsw.Connection, items: Sequence[tuple[str | None, str]]) -> Sequence[bytes | None]:
        """Each item is an owner and a task."""
        answers: list[bytes | None] = []
        for owner, task_id in items:
            loaded = load_task(connection, self._sealer, owner, task_id, response=False)
            answers.append(self._sealer.open(loaded.sealed_spec, spec_context(task_id)) if loaded else None)
        return answers

    def attempts(
        self, connection: apsw.Connection, items: Sequence[tuple[str | None, str, int | None, int]]
    ) -> Sequence[list[Attempt]]:
        """Each item is an owner, a task, the number after which to begin (None: with the last ones), how many."""
        answers = []
        for owner, task_id, after, limit in items:
            names = {"owner": owner, "id": task_id, "limit": limit}
            if after is None:
                rows = connection.execute(sql("attempts_newest"), names).fetchall()[::-1]
            else:
                rows = connection.execute(sql("attempts_list"), names | {"after": after}).fetchall()
            answers.append([attempt_of(row, task_id, self._sealer) for row in rows])
        return answers

    @staticmethod
    def events(connection: apsw.Connection, items: Sequence[tuple[str | None, str]]) -> Sequence[list[Event]]:
        """Each item is an owner and a task."""
        return [
            [
                event_of(row)
                for row in connection.execute(
                    sql("events_list"), {"owner": owner, "id": task_id, "limit": limits.HISTORY_MAX}
                ).fetchall()[::-1]
            ]
            for owner, task_id in items
        ]

    def tasks(self, connection: apsw.Connection, items: Sequence[TaskQuery]) -> Sequence[TaskPage]:
        """Each item is a query."""
        return [_page(connection, self._sealer, query) for query in items]


def _page(connection: apsw.Connection, sealer: Sealer, query: TaskQuery) -> TaskPage:
    rows: list[tuple[Any, ...]] = []
    query = replace(query, floor=_floor(connection, query)) if query.is_bounded else query
    for text, parameters in listing_sql(query):
        rows += connection.execute(text, parameters)
        if len(rows) > query.limit:
            break
    more = len(rows) > query.limit
    shown = rows[: query.limit]
    tasks = [task_of(row[1:]) for row in shown]
    sealed = [row[TASK_COLUMNS + 1] for row in shown] if query.with_specs else []
    specs = open_specs(sealer, tasks, sealed)
    if not more or not tasks:
        return TaskPage(tasks, None if query.floor is None else (query.floor, query.floor), specs)
    last = shown[-1]
    key = {"created": last[0], "ended": last[9], "execution": last[8]}[query.order]
    return TaskPage(tasks, (key, last[0]), specs)


def _floor(connection: apsw.Connection, query: TaskQuery) -> int | None:
    """The handle at which the page ends at the latest; None: it may look at all that there is."""
    before = FOREVER if query.after is None else query.after[1]
    names: dict[str, Any] = {"before": before, "passed": LOOKED_AT_MAX - 1}
    name = "listing_floor_of_all" if query.owner is None else "listing_floor"
    of_owner = {} if query.owner is None else {"owner": query.owner}
    row: tuple[int] | None = connection.execute(sql(name), names | of_owner).fetchone()
    return None if row is None else row[0]


def listing_sql(query: TaskQuery) -> list[tuple[str, list[Any]]]:
    """The statements for a query, put together from fixed fragments, and their parameters; their rows follow each
    other. One row more than asked for is read, which tells whether there is a next page.

    The planner picks the index by order and filter; the fragments are worded so that it can. A partial index needs
    its very predicate. And a page goes on in two statements, the rest of the equal keys and then what lies beyond:
    for (key, seq) > (?, ?) SQLite would seek to the first equal key and walk over all those of the pages before.
    """
    key = _KEYS[query.order]
    if query.after is None:
        return [_listing_sql(query, [], [])]
    assert not query.offset  # the port has said so
    sign = "<" if query.descending else ">"
    value, seq = query.after
    if query.order == "created":
        key = "f.task" if query.filter.schedule is not None else key
        return [_listing_sql(query, [f"{key} {sign} ?"], [seq])]
    return [
        _listing_sql(query, [f"{key} = ?", f"t.seq {sign} ?"], [value, seq]),
        _listing_sql(query, [f"{key} {sign} ?"], [value]),
    ]


def _listing_sql(query: TaskQuery, ahead: list[str], values: list[Any]) -> tuple[str, list[Any]]:
    """One statement: the query's filters, and where in its order to begin."""
    by_schedule = query.order == "created" and query.filter.schedule is not None
    key = "f.task" if by_schedule else _KEYS[query.order]
    conditions: list[str] = []
    parameters: list[Any] = []
    if query.owner is not None:
        conditions.append("t.owner = (SELECT seq FROM owner WHERE id = ?)")
        parameters.append(query.owner)
    if query.states is not None:
        conditions.append(_state_condition(query.states))
    if query.lane is not None:
        conditions.append("l.name = ?")
        parameters.append(query.lane)
    for name, value in query.metadata:
        if query.owner is not None:  # found out once; by the owner of each task, it would be for each
            of_owner = "(SELECT seq FROM owner WHERE id = ?)"
            conditions.append(
                f"t.seq IN (SELECT task FROM metadata WHERE owner = {of_owner} AND key = ? AND value = ?)"
            )
            parameters.append(query.owner)
        else:
            conditions.append(_HAS_ENTRY)
        parameters.extend((name, value))
    _narrow(query, conditions, parameters, by_schedule)
    conditions += ahead
    parameters += values
    if query.floor is not None:
        conditions.append("t.seq >= ?")
        parameters.append(query.floor)
    where = f"WHERE {' AND '.join(conditions)} " if conditions else ""
    direction = "DESC" if query.descending else "ASC"
    order = f"{key} {direction}" if query.order == "created" else f"{key} {direction}, t.seq {direction}"
    start = "schedule_run AS f CROSS JOIN task AS t ON t.seq = f.task" if by_schedule else "task AS t"
    parameters.extend((query.limit + 1, query.offset))
    columns, joined = (
        (f"{_COLUMNS}, r.spec", "CROSS JOIN request AS r ON r.task = t.seq ") if query.with_specs else (_COLUMNS, "")
    )
    return (
        f"SELECT {columns} FROM {start} {joined}"
        "CROSS JOIN owner AS o ON o.seq = t.owner CROSS JOIN lane AS l ON l.seq = t.lane "
        f"{where}ORDER BY {order} LIMIT ? OFFSET ?"
    ), parameters


def _narrow(query: TaskQuery, conditions: list[str], parameters: list[Any], by_schedule: bool) -> None:
    """Adds what the filter asks for. `by_schedule`: the statement walks over the runs of the schedule, as f."""
    wanted = query.filter
    if wanted.handlers_only:
        conditions.append(HANDLERS)
    for column, operator, value in wanted.comparisons():
        # The index by the end is for the order by the end: in another one, all that it finds would be sorted.
        away = "+" if column == "ended_at" and query.order != "ended" else ""
        conditions.append(f"{away}t.{column} {operator} ?")
        parameters.append(value)
    if wanted.schedule is not None:
        run = "(SELECT r.schedule FROM schedule_run AS r WHERE r.task = t.seq)"
        conditions.append("f.schedule = ?" if by_schedule else f"{run} = ?")
        parameters.append(wanted.schedule)


def _state_condition(states: frozenset[State]) -> str:
    if states == _UNFINISHED:
        return "t.ended_at = 0"
    names = sorted(state.value for state in states)
    if len(names) == 1:
        in_stopped = "t.state IN ('paused', 'failed', 'revoked') AND " if states < _STOPPED else ""
        return f"{in_stopped}t.state = '{names[0]}'"
    return f"t.state IN ({', '.join(repr(name) for name in names)})"
