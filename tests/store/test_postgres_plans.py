"""What the PostgreSQL statements cost: with 100 000 tasks seeks only, and nothing that is sorted grows with them.

Sessions forbid sequential scans, so a full scan shows as a scan of an index without a condition, or as a disabled one.
"""

import re
from collections.abc import Iterator
from importlib import resources
from typing import Any, Final

import psycopg
import pytest

from tasks_server.domain.task import PENDING, State
from tasks_server.store.filtering import TaskFilter
from tasks_server.store.ports import Order, TaskQuery
from tasks_server.store.postgres import schema
from tasks_server.store.postgres.link import Connection
from tasks_server.store.postgres.listing import listing_sql
from tests.postgres.databases import Databases

STATEMENTS: Final = {
    entry.name.removesuffix(".sql"): entry.read_text(encoding="utf-8")
    for entry in resources.files("tasks_server.store.postgres.sql").iterdir()
    if entry.name.endswith(".sql")
}
HOT: Final = {
    *("owners_lock", "owner_rooms", "idempotency_find", "task_insert", "lane_find", "owner_handles"),
    *("promote", "promote_share", "groups_find", "heads_find", "groups_new", "claim", "leases_find", "leases_extend"),
    *("settle", "owner_by_key", "owner_by_id", "task_load", "task_lock", "task_change", "lost_find", "attempt_insert"),
    "leases_late",
}
"""On the way of every task, or of every request."""
ROWS: Final = 100_000
STATES: Final = [None, frozenset(PENDING | {State.RUNNING}), *(frozenset({state}) for state in State)]


@pytest.fixture(scope="module")
def connection(databases: Databases) -> Iterator[Connection]:
    """To a database with many tasks of one owner, most of them done, the others in every state."""
    url = databases.keep()
    with psycopg.connect(url, autocommit=True) as connection:
        schema.upgrade(connection)
        connection.execute(FILL.encode())
        connection.execute("ANALYZE")
        connection.execute("SET enable_seqscan = off")
        yield connection
    databases.throw_away(url)


FILL: Final = f"""
INSERT INTO owner (id, name, created_at, tasks_in_queue_max)
    SELECT 'owner-' || i, 'name-' || i, i, 1000000 FROM generate_series(1, 100) AS i;
INSERT INTO owner_key SELECT decode(lpad(to_hex(seq), 8, '0'), 'hex'), 'key', seq, 0 FROM owner;
INSERT INTO lane (owner, name) SELECT seq, 'default' FROM owner;
CREATE TABLE attempt_0 PARTITION OF attempt FOR VALUES FROM (0) TO (1);
CREATE TABLE attempt_1 PARTITION OF attempt FOR VALUES FROM (1) TO (2);
INSERT INTO task (due_at, execution_at, ended_at, owner, lane, urgency, priority, state, target, lease, lease_until)
SELECT i, i, CASE WHEN s = 'completed' THEN i ELSE 0 END, 1 + i % 3, 1 + i % 3, 9, 0, s, 'host-' || i % 7,
    CASE WHEN s = 'running' THEN i END, CASE WHEN s = 'running' THEN i END
FROM generate_series(1, {ROWS}) AS i
CROSS JOIN LATERAL (SELECT CASE i % 10 WHEN 0 THEN 'available' WHEN 1 THEN 'scheduled' WHEN 2 THEN 'running'
    WHEN 3 THEN 'paused' WHEN 4 THEN 'failed' WHEN 5 THEN 'retryable' ELSE 'completed' END) AS x (s);
INSERT INTO request (task, owner, created_at, id, spec)
    SELECT seq, owner, due_at, lpad(seq::text, 24, '0'), '\\x00' FROM task;
INSERT INTO attempt (task, number, owner, day, due_at, started_at, ended_at, status_code, outcome, response)
    SELECT seq, 1, owner, seq % 2, due_at, due_at, due_at, 200, 'success', '\\x00' FROM task;
INSERT INTO event (task, at, kind) SELECT seq, due_at, 'paused' FROM task;
INSERT INTO metadata SELECT owner, 'k', 'v' || seq % 10, seq FROM task;
INSERT INTO idempotency SELECT owner, 'key-' || seq, '\\x00', seq, due_at FROM task;
INSERT INTO counter SELECT seq, 'available', owner, 5 FROM lane;
INSERT INTO counter_change (owner, lane, state, n) SELECT owner, lane, state, 1 FROM task WHERE seq < 5000;
"""


class Step:
    """A node of a plan, and whether something above it ends it after a few rows."""

    def __init__(self, given: dict[str, Any], limited: bool) -> None:
        self.kind: str = given["Node Type"]
        self.table: str = given.get("Relation Name", "")
        self.index: str = given.get("Index Name", "")
        self.conditions: bool = "Index Cond" in given
        self.limited = limited
        self.rows: int = given["Plan Rows"]

    def __repr__(self) -> str:
        return f"{self.kind} {self.table or self.index} ~{self.rows}"


def walk(given: dict[str, Any], limited: bool = False) -> Iterator[Step]:
    yield Step(given, limited)
    for below in given.get("Plans", ()):
        yield from walk(below, limited or given["Node Type"] == "Limit")


def plan(connection: Connection, text: str) -> list[Step]:
    """The plan that is kept for a prepared statement, whatever the parameters' values."""
    names: list[str] = []

    def number(match: re.Match[str]) -> str:
        if match[1] not in names:
            names.append(match[1])
        return f"${names.index(match[1]) + 1}"

    plain = re.sub(r"%\((\w+)\)s", number, re.sub(r"--.*", "", text)).replace("%%", "%")
    (row,) = connection.execute(f"EXPLAIN (GENERIC_PLAN, FORMAT JSON) {plain}".encode()).fetchall()
    return list(walk(row[0][0]["Plan"]))


LARGE: Final = {"task", "request", "attempt_0", "attempt_1", "event", "metadata", "idempotency"}


def scans(steps: list[Step]) -> list[Step]:
    """Walks over the whole of a table that grows, by itself or by an index."""
    return [step for step in steps if _is_scan(step)]


def _is_scan(step: Step) -> bool:
    if step.kind in ("Index Scan", "Index Only Scan"):
        return step.table in LARGE and not step.conditions and not step.limited
    if step.kind == "Bitmap Heap Scan":
        return step.rows > ROWS / 10
    return step.kind == "Seq Scan" and step.table in LARGE


def sorts(steps: list[Step]) -> list[Step]:
    """Sorts of much."""
    return [step for step in steps if step.kind in ("Sort", "Incremental Sort") and step.rows > ROWS / 20]


SCANS_ALLOWED: Final = {
    "copy_task": "all of it moves, in the order of its handles",
    "copy_lost": "only what runs now, and only the index of that",
    "keys_used": "the operator asks, and everything is the question",
    "owners_prune": "what a deleted owner left, once",
    "unclaim": "only what runs now, and only the index of that; after a claim whose answer was lost",
}


@pytest.fixture(autouse=True)
def _able(connection: Connection) -> None:
    if connection.info.server_version < 160_000:
        pytest.skip("this PostgreSQL does not explain plans without values")


def test_a_scan_and_a_sort_would_be_seen(connection: Connection) -> None:
    steps = plan(connection, "SELECT * FROM task WHERE error = %(x)s::text ORDER BY target")
    assert scans(steps)
    assert sorts(plan(connection, "SELECT * FROM task WHERE due_at < %(x)s ORDER BY target"))
    assert scans(plan(connection, "SELECT count(*) FROM request"))


def test_the_hot_statements_are_there() -> None:
    assert set(STATEMENTS) >= HOT
    assert not HOT & set(SCANS_ALLOWED)


@pytest.mark.parametrize("name", sorted(STATEMENTS))
def test_no_statement_scans_or_sorts_what_grows(connection: Connection, name: str) -> None:
    steps = plan(connection, STATEMENTS[name])
    assert name in SCANS_ALLOWED or scans(steps) == [], steps
    assert sorts(steps) == [], steps


@pytest.mark.parametrize("states", STATES, ids=lambda states: "+".join(sorted(states)) if states else "any")
@pytest.mark.parametrize("after", [None, (1, 1)], ids=["first", "later"])
@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("order", ["created", "ended", "execution"])
def test_an_owners_lists_walk_an_index_in_its_order(
    connection: Connection,
    order: Order,
    descending: bool,
    after: tuple[int, int] | None,
    states: frozenset[State] | None,
) -> None:
    text, values = listing_sql(TaskQuery("owner-1", order, descending, states=states, after=after))
    with connection.transaction():
        connection.execute(STATEMENTS["walk"].encode())
        (row,) = connection.execute(b"EXPLAIN (FORMAT JSON) " + text, values).fetchall()
    steps = list(walk(row[0][0]["Plan"]))
    assert scans(steps) == [], steps
    assert sorts(steps) == [], steps


PLACE: Final = {"owner": "owner-1", "since": 0, "instant": 50_000, "task": 2**40, "number": 1, "before": 60_000}
DAYS: Final = {"first": 1, "last": 1, "count_max": 101}


@pytest.mark.parametrize("name", ["log_of_owner", "log_of_all", "log_newest"])
def test_the_log_touches_the_days_it_is_asked_for_and_walks_an_index(connection: Connection, name: str) -> None:
    with connection.transaction():
        connection.execute(STATEMENTS["walk"].encode())
        text = b"EXPLAIN (ANALYZE, FORMAT JSON) " + STATEMENTS[name].encode()
        (row,) = connection.execute(text, PLACE | DAYS).fetchall()
    steps = list(walk(row[0][0]["Plan"]))
    assert scans(steps) == [], steps
    assert {step.table for step in steps if step.table.startswith("attempt")} == {"attempt_1", "attempt_kept"}
    assert {step.index for step in steps if step.table == "attempt_1"} == {"attempt_1_owner_ended_at_idx"}


def test_a_page_of_the_log_reads_no_more_rows_than_it_has(connection: Connection) -> None:
    with connection.transaction():
        connection.execute(STATEMENTS["walk"].encode())
        text = b"EXPLAIN (ANALYZE, FORMAT JSON) " + STATEMENTS["log_of_owner"].encode()
        (row,) = connection.execute(text, PLACE | DAYS).fetchall()
    read = max(given["Actual Rows"] * given["Actual Loops"] for given in nodes(row[0][0]["Plan"]))
    assert 101 <= read <= 110, row


def nodes(given: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield given
    for below in given.get("Plans", ()):
        yield from nodes(below)


@pytest.mark.parametrize("after", [None, (ROWS // 2, ROWS // 2)], ids=["first", "later"])
@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize(
    ("wanted", "index"),
    [
        (TaskFilter(handlers_only=True), "task_handler"),
        (TaskFilter(handlers_only=True, target="@a", created_from=1), "task_handler"),
        (TaskFilter(schedule="x"), "schedule_run_schedule"),
    ],
    ids=["handlers", "handler", "schedule"],
)
def test_handlers_and_runs_are_found_through_their_index(
    connection: Connection, wanted: TaskFilter, index: str, descending: bool, after: tuple[int, int] | None
) -> None:
    text, values = listing_sql(TaskQuery("owner-1", descending=descending, after=after, filter=wanted))
    with connection.transaction():
        connection.execute(STATEMENTS["walk"].encode())
        (row,) = connection.execute(b"EXPLAIN (FORMAT JSON) " + text, values).fetchall()
    steps = list(walk(row[0][0]["Plan"]))
    assert any(step.index == index for step in steps), steps
    assert scans(steps) == [], steps
    assert sorts(steps) == [], steps
