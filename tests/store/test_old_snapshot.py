"""Claims cost the same while dead rows pile up that no vacuum may remove, because some session holds an old snapshot.

Work is counted in pages that the statements touch, as EXPLAIN counts them, with the parameters that the adapter gives.
The clock goes by that work, so that what the adapter takes for slow is the same on every machine.
"""

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Final

import psycopg
import pytest

from tasks_server.domain import lifecycle
from tasks_server.domain.attempt import Attempt, OutcomeKind
from tasks_server.domain.lifecycle import Progress
from tasks_server.domain.request import TaskConfig
from tasks_server.store.ports import Claim, Look
from tasks_server.store.postgres import schema
from tasks_server.store.postgres.callbacks import CallbackKeeper
from tasks_server.store.postgres.claiming import Claims
from tasks_server.store.postgres.days import Days
from tasks_server.store.postgres.folding import Folded
from tasks_server.store.postgres.link import Connection, Link
from tasks_server.store.postgres.nodes import Nodes
from tasks_server.store.postgres.settling import Settlements
from tasks_server.store.postgres.statements import sql
from tasks_server.store.postgres.submitting import Lanes, Submissions
from tasks_server.store.sealing import Sealer
from tasks_server.store.settling import Report, Settled
from tests.postgres.databases import Databases

from .adapters import MASTER
from .world import LEASE_MS, SUCCESS, up_to

COUNTED: Final = (
    "lanes_lock",
    "lanes_running",
    "buckets_write",
    "promote",
    "groups_find",
    "groups_new",
    "heads_find",
    "task_last",
    "claim",
    "settle",
    "counters_fold",
)
DEAD: Final = 12_000
ROUNDS: Final = 40
EACH: Final = 10
SEALER: Final = Sealer(MASTER)
CHURN: Final = (
    f"""INSERT INTO task (owner, lane, state, urgency, priority, due_at, execution_at, target)
        SELECT 1, 1, 'scheduled', 9, 0, i, i, 'a.example:80' FROM generate_series(1, {DEAD}) AS i""",
    "UPDATE task SET state = 'available' WHERE state = 'scheduled'",
    "UPDATE task SET state = 'running', lease = 1, lease_until = 1 WHERE state = 'available'",
    "UPDATE task SET state = 'completed', lease = NULL, lease_until = NULL, ended_at = 1 WHERE state = 'running'",
)
SUBMIT: Final = """
WITH made AS (
    INSERT INTO task (owner, lane, state, urgency, priority, due_at, execution_at, target)
    SELECT 1, 1, %(state)s, 9, 0, %(due)s, %(due)s, 'a.example:80' FROM generate_series(1, %(count)s)
    RETURNING seq
) INSERT INTO request (task, owner, created_at, id, spec) SELECT seq, 1, 0, lpad(seq::text, 24, '0'), '' FROM made
"""


class WorkClock:
    """Goes by the pages that were touched, and by nothing else."""

    SECONDS_A_PAGE = 0.000_1

    def __init__(self) -> None:
        self.pages = 0
        self.passed_seconds = 0.0

    def now(self) -> int:
        return 1_700_000_000_000 + int(self.monotonic() * 1_000)

    def monotonic(self) -> float:
        return self.pages * self.SECONDS_A_PAGE + self.passed_seconds

    elapsed = monotonic


class Counted:
    """A connection that tries the counted statements first, undoes them, and adds up what they touched."""

    def __init__(self, connection: Connection, clock: WorkClock) -> None:
        self._connection = connection
        self._clock = clock
        self._names = {sql(name): name for name in COUNTED}
        self.pages: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def pipeline(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def execute(self, text: Any, parameters: Any = None, **more: Any) -> Any:
        name = self._names.get(text) if isinstance(text, bytes) else None
        if name is not None:
            touched = self._touched(text, parameters)
            self.pages[name] += touched
            self._clock.pages += touched
        return self._connection.execute(text, parameters, **more)

    def _touched(self, text: bytes, parameters: Any) -> int:
        explain = b"EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) " + text
        with self._connection.transaction(force_rollback=True):
            row = self._connection.execute(explain, parameters).fetchone()
        assert row is not None
        plan = row[0][0]["Plan"]
        return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


class Engine:
    """Claims and settles on a counted connection."""

    def __init__(self, url: str) -> None:
        self.clock = WorkClock()
        link = Link(url, self.clock, durable=False)
        self.real = link.connect()
        self.connection: Any = Counted(self.real, self.clock)
        self._nodes = Nodes(link, self.clock, "engine")
        self.folded = Folded(self.clock)
        callbacks = CallbackKeeper(Submissions(Lanes(), SEALER, self.folded), SEALER)
        self._settlements = Settlements(self._nodes, Days(), callbacks, SEALER, self.clock)
        self._claims = Claims(lambda _: 1, self.folded, SEALER, self.clock)

    def submit(self, state: str) -> None:
        self.real.execute(SUBMIT, {"state": state, "due": self.clock.now(), "count": EACH})

    def round(self, state: str) -> None:
        """Some tasks are submitted, claimed, settled."""
        self.submit(state)
        now = self.clock.now()
        (claimed,) = self._claims.claim(self.connection, [(Look(now, now, now + LEASE_MS), up_to(1_000))])
        assert len(claimed.claims) == EACH
        assert self._settlements.settle(self.connection, [[self._report(claim) for claim in claimed.claims]]) == [
            Settled(set())
        ]

    def rounds(self, state: str) -> float:
        """The pages that a round touched."""
        self.connection.pages.clear()
        for _ in range(ROUNDS):
            self.round(state)
        return self.connection.pages.total() / ROUNDS

    def _report(self, claim: Claim) -> Report:
        now = self.clock.now()
        settlement = lifecycle.settle(Progress(claim.due_at, 0, 0, None, 0, None), TaskConfig(), SUCCESS, now, 0.0)
        return Report(claim.ref, claim.lease, claim.id, settlement, Attempt(1, now, now, now, OutcomeKind.SUCCESS, 200))


Begin = Callable[[], Engine]


@pytest.fixture
def begin(databases: Databases) -> Iterator[Begin]:
    """Engines on one database that is not vacuumed while a session holds a snapshot of its beginning."""
    url = databases.bare()
    engines: list[Engine] = []
    with psycopg.connect(url, autocommit=True) as connection:
        schema.upgrade(connection)
        for table in ("task", "counter_change", "lane_bucket"):
            connection.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = off)".encode())
    with psycopg.connect(url, autocommit=True) as snapshot:
        snapshot.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        snapshot.execute("SELECT count(*) FROM task")

        def new() -> Engine:
            engines.append(Engine(url))
            return engines[-1]

        yield new
        for engine in engines:
            engine.real.close()
        snapshot.execute("ROLLBACK")


def churn(engine: Engine, times: int = 1) -> None:
    """Tasks that went all the way leave dead entries in each index of those that wait, are due, or run."""
    for _ in range(times):
        for statement in CHURN:
            engine.real.execute(statement.encode())


@pytest.mark.parametrize("state", ["available", "scheduled"])
def test_claims_touch_no_more_pages_however_many_dead_rows_there_are(begin: Begin, state: str) -> None:
    engine = begin()
    before = engine.rounds(state)
    churn(engine)
    after = engine.rounds(state)
    churn(engine)
    later = engine.rounds(state)
    just_started = begin()
    just_started.round(state)
    # Seeing everything may take a twentieth of the time for each index that is walked; and the indexes are deeper.
    assert max(after, later) < 1.6 * before
    assert just_started.connection.pages.total() > 20 * before


@pytest.mark.parametrize(
    ("held", "goes_on"),
    [
        (
            "INSERT INTO lane (seq, owner, name, paused_at) VALUES (1, 1, 'default', 1)",
            "UPDATE lane SET paused_at = NULL",
        ),
        (
            "INSERT INTO owner (seq, id, created_at, tasks_in_queue_max, suspended_at) VALUES (1, 'owner', 1, 1, 1)",
            "UPDATE owner SET suspended_at = NULL",
        ),
    ],
    ids=["lane", "owner"],
)
def test_what_goes_on_is_seen_while_all_is_seen_seldom(begin: Begin, held: str, goes_on: str) -> None:
    engine = begin()
    engine.real.execute(held)
    churn(engine)
    engine.submit("available")
    engine.real.execute("SELECT setval('task_seq_seq', last_value + 100000) FROM task_seq_seq")  # they are not new

    def claimed() -> int:
        now = engine.clock.now()
        (look,) = engine._claims.claim(engine.connection, [(Look(now, now, now + LEASE_MS), up_to(1_000))])
        return len(look.claims)

    assert claimed() == 0
    engine.connection.pages.clear()
    assert claimed() == 0
    assert engine.connection.pages["groups_find"] == 0  # only what is known is asked for
    engine.real.execute(goes_on)
    assert claimed() == EACH


def test_a_lane_with_limits_costs_the_same_however_often_was_taken_from_it(begin: Begin) -> None:
    engine = begin()
    engine.real.execute(
        "INSERT INTO lane (seq, owner, name, concurrent_max, rate, burst) VALUES (1, 1, 'default', 1000, 1e5, 100000)"
    )

    def rounds() -> dict[str, float]:
        """The pages that a round touches for the lane's limits."""
        for _ in range(2):  # what is folded for long is not walked over
            engine.folded.fold(engine.connection, [None])
            engine.clock.passed_seconds += 61
        engine.rounds("available")
        return {
            name: engine.connection.pages[name] / ROUNDS for name in ("lanes_running", "buckets_write", "lanes_lock")
        }

    before = rounds()
    assert all(pages > 0 for pages in before.values())
    # As that many takes leave them: buckets that were full earlier, and changes of the counters that were folded.
    engine.real.execute(f"INSERT INTO lane_bucket SELECT 1, i FROM generate_series(1, {DEAD}) AS i")
    engine.real.execute(f"DELETE FROM lane_bucket WHERE full_at <= {DEAD}")
    engine.real.execute(
        f"INSERT INTO counter_change (owner, lane, state, n) SELECT 1, 1, 'paused', 0 FROM generate_series(1, {DEAD})"
    )
    after = rounds()
    assert all(after[name] < 2 * before[name] for name in before), (before, after)


def test_the_fold_does_not_walk_over_what_it_has_folded(begin: Begin) -> None:
    engine = begin()
    folded = Folded(engine.clock)

    def fold() -> int:
        engine.connection.pages.clear()
        engine.real.execute("INSERT INTO counter_change (owner, lane, state, n) VALUES (1, 1, 'running', 1)")
        folded.fold(engine.connection, [None])
        return engine.connection.pages["counters_fold"]

    fold()
    first = fold()
    engine.real.execute(
        f"INSERT INTO counter_change (owner, lane, state, n) SELECT 1, 1, 'running', 1 FROM generate_series(1, {DEAD})"
    )
    fold()
    walking = fold()
    engine.clock.passed_seconds += 61
    fold()
    engine.clock.passed_seconds += 61
    fold()
    assert walking > 3 * first
    assert fold() < 2 * first
