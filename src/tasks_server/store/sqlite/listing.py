"""Reads tasks, specs, attempts and events. Lists walk an index from a key, so that every page costs the same."""

from collections.abc import Sequence
from typing import Any, Final

import apsw
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
from tasks_server.store.rows import TASK_COLUMNS, event_of, open_specs, task_of
from tasks_server.store.sealing import Sealer, spec_context
from tasks_server.store.sqlite.rows import load_task, single
from tasks_server.store.sqlite.statements import sql

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
            attempts = [attempt_of(row, task_id, self._sealer) for row in rows]
            if any(attempt.outcome in UNCOUNTED and attempt.notes is None for attempt in attempts):
                with_notes(attempts, self._notes(connection, owner, task_id))
            answers.append(attempts)
        return answers

    def notes(self, connection: apsw.Connection, items: Sequence[tuple[str | None, str]]) -> Sequence[dict[int, Notes]]:
        """Each item is an owner and a task."""
        return [self._notes(connection, *item) for item in items]

    def _notes(self, connection: apsw.Connection, owner: str | None, task_id: str) -> dict[int, Notes]:
        rows: list[Any] = connection.execute(sql("notes_list"), {"owner": owner, "id": task_id}).fetchall()
        return notes_of(rows, task_id, self._sealer)

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
    if query.states == frozenset():
        return TaskPage([])
    rows: list[tuple[Any, ...]] = []
    query = replace(query, last=_last(connection, query)) if walks.has_rest(query) else query
    skip = query.offset
    for part in _parts(query):
        here = replace(query, offset=skip)
        found = connection.execute(*_listing_sql(here, part, query.limit + 1 - len(rows))).fetchall()
        if skip and not found:
            skip -= _fitting(connection, query, part) if query.last or query.after else skip
            continue
        rows, skip = rows + found, 0
        if len(rows) > query.limit:
            break
    shown = rows[: query.limit]
    tasks = [task_of(row[1:], sealer) for row in shown]
    sealed = [row[TASK_COLUMNS + 1] for row in shown] if query.with_specs else []
    specs = open_specs(sealer, tasks, sealed)
    if len(rows) <= query.limit:
        return TaskPage(tasks, query.last, specs, skip if query.last else 0)
    last = shown[-1]
    key = {"created": last[0], "ended": last[9], "execution": last[8]}[query.order]
    return TaskPage(tasks, (key, last[0]), specs)


def _last(connection: apsw.Connection, query: TaskQuery) -> tuple[int, int] | None:
    """The place at which the page ends at the latest; None: it may look at all that there is."""
    walk = _walk(query)
    passed = walks.LOOKED_AT_MAX - 1
    parts = _parts(query)
    for ahead in parts:
        where, values = _where([walk.conditions, ahead])
        text = f"SELECT {walk.key}, {walk.seq} FROM {walk.start} {where}{_order(query, walk)}"
        row = connection.execute(f"{text} LIMIT 1 OFFSET ?", (*values, passed)).fetchone()
        if row is not None:
            return row[0], row[1]
        if ahead is not parts[-1]:
            passed -= _count(connection, f"SELECT count(*) FROM {walk.start} {where}", values)
    return None


def _fitting(connection: apsw.Connection, query: TaskQuery, ahead: "_Conditions") -> int:
    """How many tasks fit in a part of a page, all of which an offset skips."""
    return _count(connection, *_joined("count(*)", query, ahead))


def _count(connection: apsw.Connection, text: str, values: list[Any]) -> int:
    count: int
    ((count,),) = connection.execute(text, values).fetchall()  # type: ignore[assignment]  # what count() gives
    return count


_Conditions = list[tuple[str, tuple[Any, ...]]]
"""Conditions and the values of each."""


class _Walk(msgspec.Struct, frozen=True):
    """Where a statement begins: its tables, the columns of the order, what is true of all on the way."""

    start: str
    key: str
    seq: str
    conditions: _Conditions


_OF_OWNER: Final = "= (SELECT seq FROM owner WHERE id = ?)"


def _walk(query: TaskQuery) -> _Walk:
    """The way of a query. Its index is named: another one would go over more than the bound of a page says."""
    way = walks.way_of(query)
    owner: _Conditions = [] if query.owner is None else [(f"t.owner {_OF_OWNER}", (query.owner,))]
    if way == "metadata":
        pair = ("m.key = ? AND m.value = ?", query.metadata[0])
        start = "metadata AS m CROSS JOIN task AS t ON t.seq = m.task"
        return _Walk(start, "m.task", "m.task", [(f"m.owner {_OF_OWNER}", (query.owner,)), pair])
    if way == "schedule":
        start = "schedule_run AS f CROSS JOIN task AS t ON t.seq = f.task"
        return _Walk(start, "f.task", "f.task", [("f.schedule = ?", (query.filter.schedule,)), *owner])
    index = _INDEXES[way] if query.owner is not None or way == "all" else ""
    return _Walk(f"task AS t{index}", _KEYS[query.order], "t.seq", [*owner, *_of_way(query, way)])


_INDEXES: Final[dict[walks.Way, str]] = {
    "unfinished": " INDEXED BY task_ended",
    "stopped": " INDEXED BY task_stopped",
    "handlers": " INDEXED BY task_handler",
    "owner": " INDEXED BY task_owner",
    "all": " NOT INDEXED",
    "ended": " INDEXED BY task_ended",
    "execution": " INDEXED BY task_execution",
}


def _of_way(query: TaskQuery, way: walks.Way) -> _Conditions:
    """What a way asks of the tasks themselves, in the words of its index."""
    wanted: _Conditions = []
    if way == "unfinished" or (way == "ended" and query.states == walks.UNFINISHED):
        wanted.append(("t.ended_at = 0", ()))
    elif way == "stopped" and query.states:
        (state,) = query.states
        wanted.append((f"t.state IN ('paused', 'failed', 'revoked') AND t.state = '{state.value}'", ()))
    elif way == "handlers":
        wanted.append((HANDLERS, ()))
    elif way == "ended" and query.states and not query.states & walks.UNFINISHED:
        wanted.append(("t.ended_at > 0", ()))
    if way == "ended":
        ended = TaskFilter(ended_from=query.filter.ended_from, ended_until=query.filter.ended_until)
        wanted += [(f"t.{column} {operator} ?", (value,)) for column, operator, value in ended.comparisons()]
    return wanted


def _rest(query: TaskQuery) -> _Conditions:
    """What is looked at along the way."""
    rest = walks.rest_of(query, walks.way_of(query))
    wanted: _Conditions = []
    if rest.states is not None:
        names = ", ".join(repr(state.value) for state in sorted(rest.states))
        wanted.append((f"t.state IN ({names})", ()))
    if rest.lane is not None:
        wanted.append(("l.name = ?", (rest.lane,)))
    wanted += [(_HAS_ENTRY, pair) for pair in rest.metadata]
    if rest.filter.handlers_only:
        wanted.append((HANDLERS, ()))
    if rest.filter.host is not None:
        wanted.append((HOST.format("?", "?", "?"), of_host(rest.filter.host)))
    wanted += [(f"t.{column} {operator} ?", (value,)) for column, operator, value in rest.filter.comparisons()]
    if rest.filter.schedule is not None:
        run = "(SELECT r.schedule FROM schedule_run AS r WHERE r.task = t.seq)"
        wanted.append((f"{run} = ?", (rest.filter.schedule,)))
    return wanted


def _parts(query: TaskQuery) -> list[_Conditions]:
    """From where to where the statements of a page go, whose rows follow each other: the rest of the keys that are
    equal to that of the page before, what lies beyond, and those of the key at which the page ends, up to there. For
    (key, seq) > (?, ?) SQLite would seek to the first equal key and walk over all those of the pages before.
    """
    walk = _walk(query)
    sign, back = ("<", ">") if query.descending else (">", "<")
    after, last = query.after, query.last
    if query.order == "created":
        bounds: _Conditions = []
        if after is not None:
            bounds.append((f"{walk.seq} {sign} ?", (after[1],)))
        if last is not None:
            bounds.append((f"{walk.seq} {back}= ?", (last[1],)))
        return [bounds]
    until: _Conditions = [] if last is None else [(f"{walk.seq} {back}= ?", (last[1],))]
    parts: list[_Conditions] = []
    between: _Conditions = []
    if after is not None:
        equal: _Conditions = [(f"{walk.key} = ?", (after[0],)), (f"{walk.seq} {sign} ?", (after[1],))]
        if last is not None and last[0] == after[0]:
            return [equal + until]
        parts.append(equal)
        between.append((f"{walk.key} {sign} ?", (after[0],)))
    if last is None:
        return [*parts, between]
    between.append((f"{walk.key} {back} ?", (last[0],)))
    return [*parts, between, [(f"{walk.key} = ?", (last[0],)), *until]]


def listing_sql(query: TaskQuery) -> list[tuple[str, list[Any]]]:
    """The statements for a query, put together from fixed fragments, and their parameters; their rows follow each
    other. One row more than asked for is read, which tells whether there is a next page.
    """
    return [_listing_sql(query, part, query.limit + 1) for part in _parts(query)]


def _listing_sql(query: TaskQuery, ahead: _Conditions, count_max: int) -> tuple[str, list[Any]]:
    """The statement for a part of a page."""
    columns = f"{_COLUMNS}, r.spec" if query.with_specs else _COLUMNS
    text, values = _joined(columns, query, ahead)
    return f"{text} {_order(query, _walk(query))} LIMIT ? OFFSET ?", [*values, count_max, query.offset]


def _joined(columns: str, query: TaskQuery, ahead: _Conditions) -> tuple[str, list[Any]]:
    walk = _walk(query)
    where, values = _where([walk.conditions, ahead, _rest(query)])
    specs = "CROSS JOIN request AS r ON r.task = t.seq " if query.with_specs else ""
    text = (
        f"SELECT {columns} FROM {walk.start} {specs}"
        f"CROSS JOIN owner AS o ON o.seq = t.owner CROSS JOIN lane AS l ON l.seq = t.lane {where}"
    )
    return text, values


def _where(groups: list[_Conditions]) -> tuple[str, list[Any]]:
    wanted = [one for group in groups for one in group]
    text = f"WHERE {' AND '.join(condition for condition, _ in wanted)} " if wanted else ""
    return text, [value for _, values in wanted for value in values]


def _order(query: TaskQuery, walk: _Walk) -> str:
    direction = "DESC" if query.descending else "ASC"
    by_seq = f"{walk.seq} {direction}"
    return f"ORDER BY {by_seq}" if walk.key == walk.seq else f"ORDER BY {walk.key} {direction}, {by_seq}"
