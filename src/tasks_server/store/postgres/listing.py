"""Reads tasks, specs, attempts and events. Lists walk an index from a key, so that every page costs the same."""

from collections.abc import Sequence
from typing import Any, Final

from msgspec.structs import replace

from tasks_server.domain import limits
from tasks_server.domain.attempt import Attempt, Event
from tasks_server.domain.task import PENDING, State, Task
from tasks_server.store.attempts import attempt_of
from tasks_server.store.filtering import HANDLERS, TaskFilter
from tasks_server.store.journal import FOREVER, LOOKED_AT_MAX
from tasks_server.store.ports import TaskPage, TaskQuery
from tasks_server.store.postgres.link import Connection, one
from tasks_server.store.postgres.rows import load_task, storable
from tasks_server.store.postgres.statements import sql
from tasks_server.store.rows import TASK_COLUMNS, event_of, open_specs, task_of
from tasks_server.store.sealing import Sealer, spec_context

_UNFINISHED: Final = PENDING | {State.RUNNING}
_STOPPED: Final = frozenset({State.PAUSED, State.FAILED, State.REVOKED})
"""Those that the partial index task_stopped holds: few among many, and asked for when something is wrong."""
_COLUMNS: Final = (
    "r.id, o.id, l.name, t.state, t.priority, r.created_at, t.due_at, t.execution_at, t.ended_at, t.attempt, "
    "t.failures, t.repeats, t.status_code, t.error, t.remaining_ms, t.expire_at, t.target, t.urgency < 0, r.metadata, "
    "t.seq"
)
_CREATED: Final = "(SELECT c.created_at FROM request AS c WHERE c.task = t.seq)"
_SCHEDULE: Final = "(SELECT f.schedule FROM schedule_run AS f WHERE f.task = t.seq)"
_KEYS: Final = {"created": None, "ended": "ended_at", "execution": "execution_at"}


class Listings:
    """The batch functions that read."""

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer

    def task(self, connection: Connection, items: Sequence[tuple[str | None, str, bool]]) -> Sequence[Task | None]:
        """Each item is an owner, a task, and whether its response is wanted."""
        answers = []
        for owner, task_id, response in items:
            loaded = load_task(connection, self._sealer, owner, task_id, response=response)
            answers.append(loaded.task if loaded else None)
        return answers

    @staticmethod
    def exists(connection: Connection, items: Sequence[tuple[str | None, str]]) -> Sequence[bool]:
        """Each item is an owner and a task."""
        return [one(connection, sql("task_exists"), _names(*item))[0] for item in items]

    def spec(self, connection: Connection, items: Sequence[tuple[str | None, str]]) -> Sequence[bytes | None]:
        """Each item is an owner and a task."""
        answers: list[bytes | None] = []
        for owner, task_id in items:
            loaded = load_task(connection, self._sealer, owner, task_id, response=False)
            answers.append(self._sealer.open(loaded.sealed_spec, spec_context(task_id)) if loaded else None)
        return answers

    def attempts(
        self, connection: Connection, items: Sequence[tuple[str | None, str, int | None, int]]
    ) -> Sequence[list[Attempt]]:
        """Each item is an owner, a task, the number after which to begin (None: with the last ones), how many."""
        answers = []
        for owner, task_id, after, limit in items:
            names = _names(owner, task_id) | {"limit": limit}
            if after is None:
                rows = connection.execute(sql("attempts_newest"), names).fetchall()[::-1]
            else:
                rows = connection.execute(sql("attempts_list"), names | {"after": after}).fetchall()
            answers.append([attempt_of(row, task_id, self._sealer) for row in rows])
        return answers

    @staticmethod
    def events(connection: Connection, items: Sequence[tuple[str | None, str]]) -> Sequence[list[Event]]:
        """Each item is an owner and a task."""
        answers = []
        for item in items:
            names = _names(*item) | {"limit": limits.HISTORY_MAX}
            answers.append([event_of(row) for row in connection.execute(sql("events_list"), names).fetchall()[::-1]])
        return answers

    def tasks(self, connection: Connection, items: Sequence[TaskQuery]) -> Sequence[TaskPage]:
        """Each item is a query."""
        return [_page(connection, self._sealer, query) for query in items]


def _names(owner: str | None, task_id: str) -> dict[str, str | int | None]:
    return {"owner": None if owner is None else storable(owner), "id": storable(task_id)}


def _page(connection: Connection, sealer: Sealer, query: TaskQuery) -> TaskPage:
    if query.states == frozenset():
        return TaskPage([])
    with connection.pipeline(), connection.transaction():
        connection.execute(sql("walk"))
        if query.is_bounded:
            query = replace(query, floor=_floor(connection, query))
        text, parameters = listing_sql(query)
        rows = connection.execute(text, parameters, prepare=False).fetchall()
    shown = rows[: query.limit]
    tasks = [task_of(row) for row in shown]
    sealed = [row[TASK_COLUMNS + 1] for row in shown] if query.with_specs else []
    specs = open_specs(sealer, tasks, sealed)
    if len(rows) <= query.limit or not tasks:
        return TaskPage(tasks, None if query.floor is None else (query.floor, query.floor), specs)
    last, seq = tasks[-1], shown[-1][TASK_COLUMNS]
    key = {"created": seq, "ended": last.ended_at, "execution": last.execution_at}[query.order]
    return TaskPage(tasks, (key, seq), specs)


def _floor(connection: Connection, query: TaskQuery) -> int | None:
    """The handle at which the page ends at the latest; None: it may look at all that there is."""
    before = FOREVER if query.after is None else query.after[1]
    names: dict[str, Any] = {"before": before, "passed": LOOKED_AT_MAX - 1}
    name = "listing_floor_of_all" if query.owner is None else "listing_floor"
    of_owner = {} if query.owner is None else {"owner": storable(query.owner)}
    row = connection.execute(sql(name), names | of_owner).fetchone()
    return None if row is None else int(row[0])


def listing_sql(query: TaskQuery) -> tuple[bytes, dict[str, Any]]:
    """The statement for a query, put together from fixed fragments, and its parameters. One row more than asked for
    is read, which tells whether there is a next page.

    The page itself is a subquery over one index; names and metadata are joined to its few rows. Of any owner's tasks,
    the first of each owner are merged: there is no index over all of them, but for their order of arrival.
    """
    values: dict[str, Any] = {"count_max": query.limit + 1, "skip": query.offset}
    if query.owner is not None:
        values["owner"] = storable(query.owner)
        page = _walk(query, "(SELECT seq FROM owner WHERE id = %(owner)s)", values)
        page += "LIMIT %(count_max)s OFFSET %(skip)s"
    elif query.order == "created" and not (query.metadata or query.filter.handlers_only or _few(query.states)):
        page = _walk(query, None, values) + "LIMIT %(count_max)s OFFSET %(skip)s"
    else:
        each = _walk(query, "w.seq", values) + "LIMIT %(count_max)s::bigint + %(skip)s::bigint"
        page = (
            f"SELECT t.* FROM owner AS w CROSS JOIN LATERAL ({each}) AS t "
            f"ORDER BY {_order(query, 't.seq')} LIMIT %(count_max)s OFFSET %(skip)s"
        )
    text = (
        f"SELECT {_COLUMNS}{', r.spec' if query.with_specs else ''} FROM ({page}) AS t "
        "JOIN request AS r ON r.task = t.seq JOIN owner AS o ON o.seq = t.owner JOIN lane AS l ON l.seq = t.lane "
        f"ORDER BY {_order(query, 't.seq')}"
    )
    return text.encode(), values


def _walk(query: TaskQuery, owner: str | None, values: dict[str, Any]) -> str:
    """The query's tasks in its order, from where it begins, of that owner."""
    few = _few(query.states) if query.order == "created" else None
    conditions: list[str] = []
    pairs = [_pair(number, *pair, values) for number, pair in enumerate(query.metadata)]
    start, seq, of_owner = "task AS t", "t.seq", "t.owner"
    if query.order == "created" and pairs:
        # The index of the metadata is in order of arrival within each pair.
        start, seq, of_owner = "metadata AS m JOIN task AS t ON t.seq = m.task", "m.task", "m.owner"
        conditions.append(pairs.pop(0))
    elif query.order == "created" and query.filter.schedule is not None:
        start, seq = "schedule_run AS f JOIN task AS t ON t.seq = f.task", "f.task"
    elif query.order == "created" and owner is not None and few is None and not query.filter.handlers_only:
        start, seq, of_owner = "request AS q JOIN task AS t ON t.seq = q.task", "q.task", "q.owner"
    if owner is not None:
        conditions.append(f"{of_owner} = {owner}")
    conditions += [
        # Not EXISTS: the planner would make a join of it, and might begin at the wrong end.
        f"(SELECT true FROM metadata AS m WHERE m.owner = t.owner AND {pair} AND m.task = t.seq)"
        for pair in pairs
    ]
    if query.states is not None:
        conditions.append(few or _any_of(query.states))
        if query.order == "ended" and not query.states & _UNFINISHED:
            conditions.append("t.ended_at > 0")  # begins where those that never ended are over
    _narrow(query.filter, start, conditions, values)
    if query.lane is not None:
        values["lane"] = storable(query.lane)
        conditions.append("(SELECT l.name FROM lane AS l WHERE l.seq = t.lane) = %(lane)s")
    if query.after is not None:
        values["after_key"], values["after_seq"] = query.after
        conditions.append(_ahead(query, seq))
    if query.floor is not None:
        values["floor"] = query.floor
        conditions.append(f"{seq} >= %(floor)s::bigint")
    where = f"WHERE {' AND '.join(conditions)} " if conditions else ""
    return f"SELECT t.* FROM {start} {where}ORDER BY {_order(query, seq)} "


def _narrow(wanted: TaskFilter, start: str, conditions: list[str], values: dict[str, Any]) -> None:
    """Adds what the filter asks for to a walk that begins at `start`."""
    if wanted.handlers_only:
        conditions.append(HANDLERS)
    created = "q.created_at" if start.startswith("request") else _CREATED
    for number, (column, operator, value) in enumerate(wanted.comparisons()):
        values[f"wanted_{number}"] = storable(value) if isinstance(value, str) else value
        conditions.append(f"{created if column == 'created_at' else f't.{column}'} {operator} %(wanted_{number})s")
    if wanted.schedule is not None:
        values["schedule"] = storable(wanted.schedule)
        walked = start.startswith("schedule_run")
        conditions.append(f"{'f.schedule' if walked else _SCHEDULE} = %(schedule)s")


def _pair(number: int, key: str, value: str, values: dict[str, Any]) -> str:
    values[f"key_{number}"], values[f"value_{number}"] = storable(key), storable(value)
    return f"m.key = %(key_{number})s AND m.value = %(value_{number})s"


def _order(query: TaskQuery, seq: str) -> str:
    direction = "DESC" if query.descending else "ASC"
    key = _KEYS[query.order]
    return f"t.{key} {direction}, {seq} {direction}" if key else f"{seq} {direction}"


def _ahead(query: TaskQuery, seq: str) -> str:
    sign = "<" if query.descending else ">"
    key = _KEYS[query.order]
    if key is None:
        return f"{seq} {sign} %(after_seq)s::bigint"
    return f"(t.{key}, {seq}) {sign} (%(after_key)s::bigint, %(after_seq)s::bigint)"


def _few(states: frozenset[State] | None) -> str | None:
    """The condition for states that have an index in order of arrival for themselves."""
    if states == _UNFINISHED:
        return "t.ended_at = 0"
    if states is not None and len(states) == 1 and states < _STOPPED:
        return f"t.state = '{next(iter(states)).value}'"
    return None


def _any_of(states: frozenset[State]) -> str:
    """The condition for any states."""
    if states == _UNFINISHED:
        return "t.ended_at = 0"
    return f"t.state IN ({', '.join(repr(state.value) for state in sorted(states))})"
