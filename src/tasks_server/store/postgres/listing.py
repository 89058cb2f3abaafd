"""Reads tasks, specs, attempts and events. Lists walk an index from a key, so that every page costs the same."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from tasks_server.domain import limits
from tasks_server.domain.attempt import UNCOUNTED, Attempt, Event
from tasks_server.domain.notes import Notes
from tasks_server.domain.task import Task
from tasks_server.store import walks
from tasks_server.store.attempts import attempt_of
from tasks_server.store.filtering import HANDLERS, HOST, TaskFilter, of_host
from tasks_server.store.noting import notes_of, with_notes
from tasks_server.store.ports import TaskPage, TaskQuery
from tasks_server.store.postgres.link import Connection, one
from tasks_server.store.postgres.rows import load_task, storable
from tasks_server.store.postgres.statements import sql
from tasks_server.store.rows import TASK_COLUMNS, event_of, open_specs, task_of
from tasks_server.store.sealing import Sealer, spec_context

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
            attempts = [attempt_of(row, task_id, self._sealer) for row in rows]
            if any(attempt.outcome in UNCOUNTED and attempt.notes is None for attempt in attempts):
                with_notes(attempts, self._notes(connection, owner, task_id))
            answers.append(attempts)
        return answers

    def notes(self, connection: Connection, items: Sequence[tuple[str | None, str]]) -> Sequence[dict[int, Notes]]:
        """Each item is an owner and a task."""
        return [self._notes(connection, *item) for item in items]

    def _notes(self, connection: Connection, owner: str | None, task_id: str) -> dict[int, Notes]:
        rows = connection.execute(sql("notes_list"), _names(owner, task_id)).fetchall()
        return notes_of(rows, task_id, self._sealer)

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
        if walks.has_rest(query):
            query = replace(query, last=_last(connection, query))
        text, parameters = listing_sql(query)
        rows = connection.execute(text, parameters, prepare=False).fetchall()
        skip = 0
        if not rows and query.offset and query.last:
            text, parameters = _fitting_sql(query)
            skip = query.offset - one(connection, text, parameters)[0]
    shown = rows[: query.limit]
    tasks = [task_of(row, sealer) for row in shown]
    sealed = [row[TASK_COLUMNS + 1] for row in shown] if query.with_specs else []
    specs = open_specs(sealer, tasks, sealed)
    if len(rows) <= query.limit:
        return TaskPage(tasks, query.last, specs, skip)
    last, seq = tasks[-1], shown[-1][TASK_COLUMNS]
    key = {"created": seq, "ended": last.ended_at, "execution": last.execution_at}[query.order]
    return TaskPage(tasks, (key, seq), specs)


def _last(connection: Connection, query: TaskQuery) -> tuple[int, int] | None:
    """The place at which the page ends at the latest; None: it may look at all that there is."""
    values: dict[str, Any] = {"passed": walks.LOOKED_AT_MAX - 1}
    walk = _walk(query, _one_owner(query, values), values)
    text = f"SELECT {walk.key}, {walk.seq} {walk.text} LIMIT 1 OFFSET %(passed)s::bigint"
    row = connection.execute(text.encode(), values, prepare=False).fetchone()
    return None if row is None else (int(row[0]), int(row[1]))


def listing_sql(query: TaskQuery) -> tuple[bytes, dict[str, Any]]:
    """The statement for a query, put together from fixed fragments, and its parameters. One row more than asked for
    is read, which tells whether there is a next page.

    The page itself is a subquery over one index; names and metadata are joined to its few rows. Of any owner's tasks
    that have not ended or are stopped, the first of each owner are merged: there is no index over all of them.
    """
    values: dict[str, Any] = {"count_max": query.limit + 1, "skip": query.offset}
    if query.owner is None and walks.way_of(query) in ("unfinished", "stopped"):
        each = _fitting(query, "w.seq", values) + "LIMIT %(count_max)s::bigint + %(skip)s::bigint"
        page = (
            f"SELECT t.* FROM owner AS w CROSS JOIN LATERAL ({each}) AS t "
            f"ORDER BY {_order(query, 't.seq')} LIMIT %(count_max)s OFFSET %(skip)s"
        )
    else:
        page = _fitting(query, _one_owner(query, values), values) + "LIMIT %(count_max)s OFFSET %(skip)s"
    text = (
        f"SELECT {_COLUMNS}{', r.spec' if query.with_specs else ''} FROM ({page}) AS t "
        "JOIN request AS r ON r.task = t.seq JOIN owner AS o ON o.seq = t.owner JOIN lane AS l ON l.seq = t.lane "
        f"ORDER BY {_order(query, 't.seq')}"
    )
    return text.encode(), values


def _fitting_sql(query: TaskQuery) -> tuple[bytes, dict[str, Any]]:
    """How many tasks fit in a page, all of which its offset skips."""
    values: dict[str, Any] = {}
    return f"SELECT count(*) FROM ({_fitting(query, _one_owner(query, values), values)}) AS t".encode(), values


def _one_owner(query: TaskQuery, values: dict[str, Any]) -> str | None:
    if query.owner is None:
        return None
    values["owner"] = storable(query.owner)
    return "(SELECT seq FROM owner WHERE id = %(owner)s)"


class _Walk(msgspec.Struct, frozen=True):
    """A way from where the page begins to where it ends at the latest: what comes after the columns, in its order; the
    columns of the order, and what is called the instant of creation on it.
    """

    text: str
    key: str
    seq: str
    created: str


def _fitting(query: TaskQuery, owner: str | None, values: dict[str, Any]) -> str:
    """The query's tasks in its order, from where it begins, of that owner. What is looked at along the way stands
    outside of the walk, where `OFFSET 0` keeps it: with all in one, the planner might take a way that has no bound.
    """
    walk = _walk(query, owner, values)
    if not (rest := _rest(query, walk, values)):
        return f"SELECT t.* {walk.text} "
    created = ", q.created_at" if walk.created == "q.created_at" else ""
    return (
        f"SELECT t.* FROM (SELECT t.*{created} {walk.text} OFFSET 0) AS t "
        f"WHERE {' AND '.join(rest)} ORDER BY {_order(query, 't.seq')} "
    )


def _walk(query: TaskQuery, owner: str | None, values: dict[str, Any]) -> _Walk:
    way = walks.way_of(query)
    start, seq, of_owner, created = "task AS t", "t.seq", "t.owner", _CREATED
    conditions: list[str] = []
    if way == "metadata":
        # The index of the metadata is in order of arrival within each pair.
        start, seq, of_owner = "metadata AS m JOIN task AS t ON t.seq = m.task", "m.task", "m.owner"
        conditions.append(_pair(0, *query.metadata[0], values))
    elif way == "schedule":
        start, seq = "schedule_run AS f JOIN task AS t ON t.seq = f.task", "f.task"
        values["schedule"] = storable(query.filter.schedule or "")
        conditions.append("f.schedule = %(schedule)s")
    elif way == "owner":
        start, seq, of_owner = "request AS q JOIN task AS t ON t.seq = q.task", "q.task", "q.owner"
        created = "q.created_at"
    if owner is not None:
        conditions.insert(0, f"{of_owner} = {owner}")
    conditions += _of_way(query, way, values)
    if query.after is not None:
        values["after_key"], values["after_seq"] = query.after
        conditions.append(_beside(query, seq, "<" if query.descending else ">", "after"))
    if query.last is not None:
        values["last_key"], values["last_seq"] = query.last
        conditions.append(_beside(query, seq, ">=" if query.descending else "<=", "last"))
    where = f"WHERE {' AND '.join(conditions)} " if conditions else ""
    key = _KEYS[query.order]
    return _Walk(f"FROM {start} {where}ORDER BY {_order(query, seq)}", f"t.{key}" if key else seq, seq, created)


def _of_way(query: TaskQuery, way: walks.Way, values: dict[str, Any]) -> list[str]:
    """What a way asks of the tasks themselves, in the words of its index."""
    wanted: list[str] = []
    if way == "unfinished" or (way == "ended" and query.states == walks.UNFINISHED):
        wanted.append("t.ended_at = 0")
    elif way == "stopped" and query.states:
        wanted.append(f"t.state = '{next(iter(query.states)).value}'")
    elif way == "handlers":
        wanted.append(HANDLERS)
    elif way == "ended" and query.states and not query.states & walks.UNFINISHED:
        wanted.append("t.ended_at > 0")  # begins where those that never ended are over
    if way == "ended":
        ended = TaskFilter(ended_from=query.filter.ended_from, ended_until=query.filter.ended_until)
        wanted += _comparisons(ended, "ended", _CREATED, values)
    return wanted


def _rest(query: TaskQuery, walk: _Walk, values: dict[str, Any]) -> list[str]:
    """What is looked at along the way."""
    rest = walks.rest_of(query, walks.way_of(query))
    pairs = [_pair(number, *pair, values) for number, pair in enumerate(rest.metadata, start=1)]
    wanted = [  # not EXISTS: the planner would make a join of it, and might begin at the wrong end
        f"(SELECT true FROM metadata AS m WHERE m.owner = t.owner AND m.task = t.seq AND {pair})" for pair in pairs
    ]
    if rest.states is not None:
        wanted.append(f"t.state IN ({', '.join(repr(state.value) for state in sorted(rest.states))})")
    if rest.filter.handlers_only:
        wanted.append(HANDLERS)
    if rest.filter.host is not None:
        names = ("host", "host_from", "host_until")
        values |= dict(zip(names, map(storable, of_host(rest.filter.host)), strict=True))
        wanted.append(HOST.format(*(f"%({name})s" for name in names)))
    created = "t.created_at" if walk.created == "q.created_at" else _CREATED
    wanted += _comparisons(rest.filter, "wanted", created, values)
    if rest.filter.schedule is not None:
        values["schedule"] = storable(rest.filter.schedule)
        wanted.append(f"{_SCHEDULE} = %(schedule)s")
    if rest.lane is not None:
        values["lane"] = storable(rest.lane)
        wanted.append("(SELECT l.name FROM lane AS l WHERE l.seq = t.lane) = %(lane)s")
    return wanted


def _comparisons(wanted: TaskFilter, prefix: str, created: str, values: dict[str, Any]) -> list[str]:
    found = []
    for number, (column, operator, value) in enumerate(wanted.comparisons()):
        values[f"{prefix}_{number}"] = storable(value) if isinstance(value, str) else value
        found.append(f"{created if column == 'created_at' else f't.{column}'} {operator} %({prefix}_{number})s")
    return found


def _pair(number: int, key: str, value: str, values: dict[str, Any]) -> str:
    values[f"key_{number}"], values[f"value_{number}"] = storable(key), storable(value)
    return f"m.key = %(key_{number})s AND m.value = %(value_{number})s"


def _order(query: TaskQuery, seq: str) -> str:
    direction = "DESC" if query.descending else "ASC"
    key = _KEYS[query.order]
    return f"t.{key} {direction}, {seq} {direction}" if key else f"{seq} {direction}"


def _beside(query: TaskQuery, seq: str, sign: str, name: str) -> str:
    key = _KEYS[query.order]
    if key is None:
        return f"{seq} {sign} %({name}_seq)s::bigint"
    return f"(t.{key}, {seq}) {sign} (%({name}_key)s::bigint, %({name}_seq)s::bigint)"
