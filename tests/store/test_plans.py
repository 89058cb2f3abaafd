"""What the SQLite statements cost: no full scan, no unbounded sort, and the same work whatever else is stored.

Work is counted in steps of SQLite's virtual machine, which are the same on every machine.
"""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from importlib import resources
from pathlib import Path
from typing import Any, Final

import apsw
import pytest

from tasks_server.clock import ManualClock
from tasks_server.domain import lifecycle
from tasks_server.domain.owner import Owner
from tasks_server.domain.task import PENDING, State
from tasks_server.store.filtering import TaskFilter
from tasks_server.store.ports import Claim, Order, TaskQuery
from tasks_server.store.sealing import Sealer
from tasks_server.store.sqlite import schema
from tasks_server.store.sqlite.connection import connect
from tasks_server.store.sqlite.listing import listing_sql
from tasks_server.store.sqlite.store import SqliteStore

from .adapters import ADAPTERS, query
from .world import World, nothing, up_to

STATEMENTS: Final = {
    entry.name.removesuffix(".sql"): entry.read_text(encoding="utf-8")
    for entry in resources.files("tasks_server.store.sqlite.sql").iterdir()
    if entry.name.endswith(".sql")
}
HOT: Final = {
    *("owner_facts", "idempotency_find", "task_insert", "request_insert", "metadata_insert", "idempotency_insert"),
    *(
        "counters_add",
        "owners_add",
        "due_find",
        "due_share",
        "promote",
        "groups_find",
        "available_pick",
        "claim",
        "claimed",
    ),
    *("leases_find", "settle", "attempt_insert", "leases_extend", "owner_by_key", "owner_by_id", "task_load"),
    *("task_change", "events_insert", "request_change"),
}
"""On the way of every task, or of every request."""
SCANS_ALLOWED: Final = {
    ("links_prune", "used_link"): "links that the operator used within ten minutes",
    ("leases_late", "task"): "only what runs now, and only the index of that",
    ("log_of_all", "o"): "owners are few; each is one seek",
    ("log_newest", "o"): "owners are few; each is one seek",
    ("prunable_find", "o"): "owners are few; each is one seek",
    ("owners_prune", "owner"): "owners are few",
    ("copy_task", "t"): "all of it moves, in the order of its handles",
    ("copy_lost", "task"): "only what runs now, and only the index of that",
    ("keys_used", "request"): "the operator asks, and everything is the question",
    ("keys_used", "attempt"): "the operator asks, and everything is the question",
    ("keys_used", "note"): "the operator asks, and everything is the question",
    ("keys_used", "signing_secret"): "the operator asks, and everything is the question",
    ("keys_used", "schedule"): "the operator asks, and everything is the question",
    ("keys_used", "task"): "the operator asks, and everything is the question",
    ("keys_used", "idempotency"): "the operator asks, and everything is the question",
    ("keys_used", "owner"): "the operator asks, and everything is the question",
    ("keys_used", "lane"): "the operator asks, and everything is the question",
    ("callbacks_any", "owner"): "ends at the first one, of an index that holds those alone",
    ("callbacks_any", "lane"): "ends at the first one, of an index that holds those alone",
    ("signing_missing", "owner"): "owners are few; once, when the database is opened",
    ("engines_list", "engine"): "engines are few",
    ("engines_prune", "engine"): "engines are few",
    ("explain_holders", "task"): "only what runs now, up to a limit, and only the index of that",
    ("explain_running", "task"): "only what runs now, up to a limit, and only the index of that",
    ("owner_any", "owner"): "ends at the first one",
    ("lanes_limited", "lane"): "ends at the first one",
    ("counts_of_all", "c"): "a row for each lane and state; the operator asks",
}
SORTS_ALLOWED: Final = {
    "explain_urgent": "what goes first, up to a limit",
    "explain_running": "what runs now, up to a limit",
    "idempotency_replay": "a key has a name for each cipher key that there is",
    "owner_keys_list": "an owner has two keys at most",
    "keys_used": "the operator asks; there is a group for each key",
}
ORDERS: Final[list[Order]] = ["created", "ended", "execution"]
STATES: Final = [
    None, frozenset(PENDING | {State.RUNNING}), *(frozenset({state}) for state in State),
    frozenset({State.PAUSED, State.FAILED}),
]  # fmt: skip


@pytest.fixture(scope="module")
def connection() -> apsw.Connection:
    connection = connect(None, durable=False)
    schema.prepare(connection, Sealer(bytes(32)))
    return connection


def plan(connection: apsw.Connection, text: str) -> list[str]:
    """The steps of the plan. It does not depend on the parameters' values."""
    names = re.findall(r":(\w+)", re.sub(r"--.*", "", text))
    bound = [None] * text.count("?") if "?" in re.sub(r"--.*", "", text) else dict.fromkeys(names)
    return [row[3] for row in connection.execute("EXPLAIN QUERY PLAN " + text, bound)]


def scans(steps: list[str]) -> set[str]:
    """The tables (by alias) that a plan walks over, leaving out JSON parameters and what the statement made itself."""
    walked = set()
    made = {match[1] for step in steps if (match := re.match(r"(?:MATERIALIZE|CO-ROUTINE) (\w+)", step))}
    for step in steps:
        match = re.match(r"SCAN (\w+)", step)
        if match and "VIRTUAL TABLE" not in step and "CONSTANT ROW" not in step and match[1] not in made:
            walked.add(match[1])
    return walked


def test_a_scan_and_a_sort_would_be_seen(connection: apsw.Connection) -> None:
    steps = plan(connection, "SELECT * FROM task WHERE error = 'x' ORDER BY error || id")
    assert scans(steps) == {"task"}
    assert any("TEMP B-TREE" in step for step in steps)


def test_the_hot_statements_are_there() -> None:
    assert set(STATEMENTS) >= HOT
    assert not HOT & (SORTS_ALLOWED.keys() | {name for name, _ in SCANS_ALLOWED})


@pytest.mark.parametrize("name", sorted(STATEMENTS))
def test_no_statement_scans_or_sorts_what_has_no_bound(connection: apsw.Connection, name: str) -> None:
    steps = plan(connection, STATEMENTS[name])
    assert {table for table in scans(steps) if (name, table) not in SCANS_ALLOWED} == set(), steps
    assert name in SORTS_ALLOWED or not any("TEMP B-TREE" in step for step in steps), steps
    assert not any("AUTOMATIC" in step for step in steps), steps


@pytest.mark.parametrize("states", STATES, ids=lambda states: "+".join(sorted(states)) if states else "any")
@pytest.mark.parametrize("after", [None, (1, 1)], ids=["first", "later"])
@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("order", ORDERS)
def test_an_owners_lists_walk_an_index_in_its_order(
    connection: apsw.Connection,
    order: Order,
    descending: bool,
    after: tuple[int, int] | None,
    states: frozenset[State] | None,
) -> None:
    for text, _ in listing_sql(TaskQuery("owner", order, descending, states=states, after=after)):
        steps = plan(connection, text)
        assert scans(steps) == set(), steps
        assert not any("TEMP B-TREE" in step for step in steps), steps


@pytest.mark.parametrize("after", [None, (1, 1)], ids=["first", "later"])
@pytest.mark.parametrize("order", ORDERS)
def test_lists_of_what_ended_in_a_time_walk_an_index_in_their_order(
    connection: apsw.Connection, order: Order, after: tuple[int, int] | None
) -> None:
    wanted = TaskFilter(ended_from=1, ended_until=9, statuses=(500, 599))
    for text, _ in listing_sql(TaskQuery("owner", order, after=after, states=frozenset({State.FAILED}), filter=wanted)):
        steps = plan(connection, text)
        assert scans(steps) == set(), steps
        assert not any("TEMP B-TREE" in step for step in steps), steps
        if order == "ended" and after is None:
            assert any("(owner=? AND ended_at>? AND ended_at<?)" in step for step in steps), steps


@pytest.mark.parametrize("state", [State.PAUSED, State.FAILED, State.REVOKED])
def test_the_few_that_stopped_are_found_through_their_index(connection: apsw.Connection, state: State) -> None:
    for after in (None, (1, 1)):
        ((text, _),) = listing_sql(TaskQuery("owner", states=frozenset({state}), after=after))
        assert any("task_stopped (owner=? AND state=?" in step for step in plan(connection, text))


@pytest.mark.parametrize("after", [None, (1, 1)], ids=["first", "later"])
@pytest.mark.parametrize(
    ("wanted", "index"),
    [
        (TaskFilter(handlers_only=True), "task_handler (owner=?"),
        (TaskFilter(handlers_only=True, target="@a", created_from=1), "task_handler (owner=?"),
        (TaskFilter(schedule="x"), "schedule_run_schedule (schedule=?"),
    ],
    ids=["handlers", "handler", "schedule"],
)
def test_handlers_and_runs_are_found_through_their_index(
    connection: apsw.Connection, wanted: TaskFilter, index: str, after: tuple[int, int] | None
) -> None:
    for descending in (False, True):
        ((text, _),) = listing_sql(TaskQuery("owner", descending=descending, after=after, filter=wanted))
        steps = plan(connection, text)
        assert any(index in step for step in steps), steps
        assert scans(steps) == set(), steps
        assert not any("TEMP B-TREE" in step for step in steps), steps


# The same work whatever else is stored


class Meter:
    """Counts the steps of all statements that a store's writer runs."""

    def __init__(self, store: SqliteStore) -> None:
        self.steps = 0
        self._before: dict[int, tuple[int, int]] = {}
        assert store._writer is not None
        store._writer.connection.trace_v2(apsw.SQLITE_TRACE_PROFILE, self._add)

    def _add(self, report: dict[str, Any]) -> None:
        runs = report["stmt_status"]["SQLITE_STMTSTATUS_RUN"]
        steps = report["stmt_status"]["SQLITE_STMTSTATUS_VM_STEP"]
        runs_before, steps_before = self._before.get(report["id"], (0, 0))
        # A statement that is kept counts on; one that was prepared anew may have got the place of another.
        self.steps += steps - steps_before if runs > runs_before else steps
        self._before[report["id"]] = (runs, steps)

    async def cost(self, call: Callable[[], Awaitable[object]]) -> int:
        """The steps of one call."""
        before = self.steps
        await call()
        return self.steps - before


@pytest.fixture
async def memory(clock: ManualClock, tmp_path: Path) -> AsyncIterator[World]:
    """A store in memory: everything it does, it does on the connection that the meter watches."""
    store = ADAPTERS["sqlite-memory"].make(tmp_path, clock)
    await store.open()
    yield World(store, clock, ADAPTERS["sqlite-memory"], tmp_path)
    await store.close()


BACKLOGS: Final = {
    "waiting": "'scheduled', 9, {now} + 1000000 + i, 0, 'far.example:80'",
    "due at one target": "'available', 9, {now} - i, 0, 'far.example:80'",
    "due at a busy target": "'available', 9, {now} - i, 0, 'busy.example:80'",
    "due and less urgent": "'available', 12, {now} - i, 0, 'a.example:80'",
    "due at one instant": "'available', 9, {now}, 0, 'far.example:80'",
    "retrying at one instant": "'retryable', 9, {now} + 1000000, 0, 'a.example:80'",
    "paused": "'paused', 9, {now}, {now} - i, 'a.example:80'",
    "completed": "'completed', 9, {now} - i, {now} - i, 'a.example:80'",
    "failed": "'failed', 9, {now}, {now}, 'a.example:80'",
}
SMALL, LARGE = 300, 12_000


async def fill(world: World, owner: Owner, columns: str, count: int) -> None:
    """Adds that many tasks of one kind to the owner's first lane, with their requests."""
    now, values = world.now, columns.format(now=world.now)
    await query(
        world.store,
        f"""
        INSERT INTO task (
            id, owner, lane, state, urgency, due_at, ended_at, target, priority, created_at, execution_at
        )
        SELECT printf('Z%023d', i), o.seq, l.seq, {values}, 0, {now}, {now}
        FROM (
            WITH RECURSIVE n(i) AS (VALUES ({count}) UNION ALL SELECT i + 1 FROM n WHERE i < {2 * count - 1})
            SELECT i FROM n
        )
        CROSS JOIN owner AS o ON o.id = '{owner.id}'
        JOIN lane AS l ON l.owner = o.seq AND l.name = 'default'
        """,
    )
    await query(world.store, "INSERT OR IGNORE INTO request SELECT seq, zeroblob(60) FROM task")


async def costs(world: World, meter: Meter, owner: Owner) -> dict[str, int]:
    """What each call of the daily work costs, on ten tasks of one's own."""
    other = await world.owner()
    spent: dict[str, int] = {}
    busy = frozenset({"busy.example:80"})
    for whose, name in ((owner, "same owner"), (other, "other owner")):
        made: list[str] = []

        async def insert(whose: Owner = whose, made: list[str] = made) -> None:
            made += await world.submit_many(whose, 10, target=f"{whose.name}.example:80", priority=0)

        spent[f"insert, {name}"] = await meter.cost(insert)
        first = made[0]
        spent[f"show, {name}"] = await meter.cost(lambda first=first: world.store.task(None, first))
        spent[f"explain, {name}"] = await meter.cost(lambda first=first: world.store.standing(None, first))
        spent[f"pause, {name}"] = await meter.cost(lambda first=first: world.steer(first, lifecycle.pause))
        spent[f"resume, {name}"] = await meter.cost(lambda first=first: world.steer(first, lifecycle.resume))
    spent["look"] = await meter.cost(lambda: world.look(nothing, targets_excluded=busy))
    claims: list[Claim] = []

    async def claim() -> None:
        claims.extend(await world.claim(up_to(5), targets_excluded=busy))

    spent["claim"] = await meter.cost(claim)
    leases = [(claim.ref, claim.lease) for claim in claims]
    spent["extend"] = await meter.cost(lambda: world.store.extend(leases, world.now + 60_000))
    spent["settle"] = await meter.cost(lambda: world.store.settle([world.report(claim) for claim in claims]))
    spent["rescue"] = await meter.cost(lambda: world.rescue(100))
    spent["expire"] = await meter.cost(lambda: world.store.expire(world.now, 100))
    spent["count"] = await meter.cost(lambda: world.store.owner(owner.id))
    return spent


@pytest.mark.parametrize("backlog", BACKLOGS)
async def test_a_backlog_makes_no_call_dearer(memory: World, backlog: str) -> None:
    measured = []
    assert isinstance(memory.store, SqliteStore)
    meter = Meter(memory.store)
    for size in (SMALL, LARGE):
        owner = await memory.owner()
        await memory.store.delete(None, (await memory.submit(owner)).id)  # the first lane is made
        await fill(memory, owner, BACKLOGS[backlog], size)
        measured.append(await costs(memory, meter, owner))
        for table in ("task", "request", "attempt", "event"):
            await query(memory.store, f"DELETE FROM {table}")
    small, large = measured
    dearer = {call: (small[call], large[call]) for call in small if large[call] > 1.2 * small[call] + 50}
    assert dearer == {}


@pytest.mark.parametrize("backlog", BACKLOGS)
@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("order", ORDERS)
async def test_a_page_costs_the_same_however_deep_it_lies(
    memory: World, backlog: str, order: Order, descending: bool
) -> None:
    assert isinstance(memory.store, SqliteStore)
    meter = Meter(memory.store)
    owner = await memory.owner()
    await memory.submit(owner)
    await fill(memory, owner, BACKLOGS[backlog], LARGE)
    spent = []
    after = None
    for _ in range(LARGE // 1_000):
        page = TaskQuery(owner.id, order, descending, 10, after=after)
        spent.append(await meter.cost(lambda page=page: memory.store.tasks(page)))
        after = (await memory.store.tasks(TaskQuery(owner.id, order, descending, 1_000, after=after))).next
    assert max(spent) <= 1.2 * spent[0] + 100, spent


async def test_a_look_shows_no_more_lines_than_it_was_asked_for(memory: World) -> None:
    assert isinstance(memory.store, SqliteStore)
    meter = Meter(memory.store)
    spent = []
    for count in (20, 200):
        for _ in range(count):
            await memory.submit(await memory.owner())
        spent.append(await meter.cost(lambda: memory.look(nothing, lines_max=16)))
    assert spent[1] <= 1.2 * spent[0]


async def test_a_meter_sees_a_scan(memory: World) -> None:
    assert isinstance(memory.store, SqliteStore)
    meter = Meter(memory.store)
    spent = []
    owner = await memory.owner()
    for count in (10, 1_000):
        await memory.submit_many(owner, count, delay=60_000)
        spent.append(await meter.cost(lambda: query(memory.store, "SELECT count(*) FROM task WHERE error = 'x'")))
    assert spent[1] > 10 * spent[0]
