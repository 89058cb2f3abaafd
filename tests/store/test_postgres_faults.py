"""PostgreSQL goes away at the worst moments: nothing is half done, nothing is done twice, and it goes on by itself."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psycopg
import pytest

from tasks_server.clock import Clock, DatabaseClock, ManualClock, SystemClock
from tasks_server.domain.errors import Unavailable
from tasks_server.domain.owner import Owner
from tasks_server.domain.task import State
from tasks_server.store.ports import Hints, Inserted, Look
from tasks_server.store.postgres.store import PostgresStore
from tasks_server.store.sealing import Sealer
from tests.postgres.databases import Databases
from tests.postgres.run import POSTGRES
from tests.postgres.wire import Wire, until

from .adapters import ADAPTERS, MASTER, Postgres
from .world import World, up_to

COMMITTED = b"COMMIT\0"
ONE_ROW = b"SELECT 1\0"
"""What PostgreSQL says at the end of a statement (CommandComplete): of a transaction, of one that gives one row."""
INSERT = b"Stores tasks with their sealed specs"
CLAIM = b"Takes the oldest tasks of groups"
SETTLE = b"Records what became of running tasks"
"""What the texts of the statements begin with; sent once in a session, which prepares them."""
END_ALL = (
    "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
    " WHERE datname = current_database() AND application_name = 'tasks-server'"
)
ASK_AGAIN_MS = 3_000
"""Longer than the database is ever left alone after a refusal."""


@pytest.fixture
def url(tmp_path: Path) -> str:
    lent = Databases.lend(tmp_path)
    assert lent is not None
    return lent


@pytest.fixture
def behind(url: str) -> Iterator[psycopg.Connection]:
    """A session of the test's own, past the wire."""
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


@pytest.fixture
async def wire(url: str) -> AsyncIterator[Wire]:
    async with Wire(url) as wire:
        yield wire


@pytest.fixture
async def world(wire: Wire, url: str, clock: ManualClock, tmp_path: Path) -> AsyncIterator[World]:
    store, adapter = PostgresStore(wire.url, Sealer(MASTER), clock), Postgres(POSTGRES)
    adapter.urls[store] = url
    await store.open()
    yield World(store, clock, adapter, tmp_path)
    clock.advance(ASK_AGAIN_MS)
    await store.close()


@pytest.fixture
async def owner(world: World) -> Owner:
    return await world.owner("first-owner")


def count(behind: psycopg.Connection, table: str) -> int:
    row = behind.execute(f"SELECT count(*) FROM {table}".encode()).fetchone()
    assert row is not None
    return int(row[0])


async def end_all(world: World, wire: Wire, behind: psycopg.Connection) -> None:
    """Ends all sessions of the store, also one that is just beginning, which is a refusal."""
    while not wire.quiet:
        behind.execute(END_ALL)
        await asyncio.sleep(0.01)
    world.clock.advance(ASK_AGAIN_MS)


async def test_a_task_whose_answer_was_lost_is_looked_for(
    world: World, wire: Wire, owner: Owner, behind: psycopg.Connection
) -> None:
    wire.cut_before_answer(INSERT, COMMITTED)
    task = world.task(owner)
    assert await world.store.insert(task) == Inserted()
    assert count(behind, "task") == 1
    assert await world.state(task) is State.AVAILABLE
    assert await world.in_queue(owner) == 1


async def test_a_task_whose_request_was_lost_is_stored_at_the_second_try(
    world: World, wire: Wire, owner: Owner, behind: psycopg.Connection
) -> None:
    wire.cut_before_request(INSERT)
    assert await world.store.insert(world.task(owner)) == Inserted()
    assert count(behind, "task") == count(behind, "request") == 1
    assert await world.in_queue(owner) == 1


async def test_a_task_of_unknown_fate_is_not_called_stored(
    world: World, wire: Wire, owner: Owner, behind: psycopg.Connection
) -> None:
    task = world.task(owner)
    wire.refuse_after_answer(INSERT, COMMITTED)
    with pytest.raises(Unavailable, match="whether it was done is not known"):
        await world.store.insert(task)
    assert count(behind, "task") == 1
    wire.refuses = False
    world.clock.advance(ASK_AGAIN_MS)
    assert await world.in_queue(owner) == 1


async def test_a_batch_of_many_requests_is_answered_one_by_one(world: World, wire: Wire, owner: Owner) -> None:
    small = await world.owner(limit=1)
    tasks = [world.task(owner) for _ in range(5)] + [world.task(small)]
    wire.cut_before_answer(INSERT, COMMITTED)
    answers = await asyncio.gather(*(world.store.insert(task) for task in tasks))
    assert answers == [Inserted()] * 6


async def test_a_claim_that_nobody_was_told_of_is_given_back(world: World, wire: Wire, owner: Owner) -> None:
    task = await world.submit(owner)
    wire.cut_before_answer(CLAIM, ONE_ROW)
    with pytest.raises(Unavailable):
        await world.claim()
    assert await world.state(task) is State.RUNNING
    claim = await world.claim_one()  # long before its lease would end
    assert (claim.id, claim.attempt) == (task.id, 2)
    await world.check_counters()


async def test_a_claim_that_did_not_arrive_took_nothing(world: World, wire: Wire, owner: Owner) -> None:
    task = await world.submit(owner)
    wire.cut_before_request(CLAIM)
    with pytest.raises(Unavailable):
        await world.claim()
    claim = await world.claim_one()
    assert (claim.id, claim.attempt) == (task.id, 1)


async def test_an_outcome_whose_answer_was_lost_is_recorded_once(world: World, wire: Wire, owner: Owner) -> None:
    task = await world.submit(owner)
    claim = await world.claim_one()
    report = world.report(claim)
    wire.cut_before_answer(SETTLE, ONE_ROW)
    with pytest.raises(Unavailable):
        await world.store.settle([report])
    assert await world.store.settle([report]) == {claim.ref}  # its lease is gone: it was recorded
    assert await world.state(task) is State.COMPLETED
    assert len(await world.store.attempts(None, task.id)) == 1
    await world.check_counters()


async def test_an_outcome_that_did_not_arrive_is_recorded_at_the_next_try(
    world: World, wire: Wire, owner: Owner
) -> None:
    task = await world.submit(owner)
    claim = await world.claim_one()
    wire.cut_before_request(SETTLE)
    with pytest.raises(Unavailable):
        await world.store.settle([world.report(claim)])
    assert await world.store.settle([world.report(claim)]) == set()
    assert await world.state(task) is State.COMPLETED
    await world.check_counters()


async def test_sessions_that_were_ended_meanwhile_are_noticed_before_they_are_used(
    world: World, wire: Wire, owner: Owner, behind: psycopg.Connection
) -> None:
    task = await world.submit(owner)
    await world.read(task)
    await end_all(world, wire, behind)
    await world.submit(owner)
    assert await world.in_queue(owner) == 2
    assert len(await world.claim()) == 2


async def test_a_database_that_refuses_is_asked_now_and_then_and_not_by_everybody(
    world: World, wire: Wire, owner: Owner
) -> None:
    task = await world.submit(owner)
    wire.refuses = True
    wire.cut()
    came = wire.came
    for _ in range(5):
        with pytest.raises(Unavailable, match="cannot be reached"):
            await world.store.insert(world.task(owner))
        with pytest.raises(Unavailable, match="cannot be reached"):
            await world.read(task)
    assert wire.came == came + 1
    for number in range(2, 6):
        world.clock.advance(ASK_AGAIN_MS)
        with pytest.raises(Unavailable, match="cannot be reached"):
            await world.read(task)
        assert wire.came == came + number
    wire.refuses = False
    world.clock.advance(ASK_AGAIN_MS)
    assert await world.state(task) is State.AVAILABLE
    await world.submit(owner)


async def test_a_message_names_the_database_and_no_password(wire: Wire, clock: ManualClock) -> None:
    wire.refuses = True
    store = PostgresStore(wire.url.replace("@", ":secret-word@"), Sealer(MASTER), clock)
    with pytest.raises(Unavailable, match=r"postgresql://127\.0\.0\.1:") as refused:
        await store.open()
    assert "secret-word" not in refused.value.message


async def test_a_database_that_became_read_only_takes_nothing_and_says_so(
    world: World, wire: Wire, owner: Owner, behind: psycopg.Connection
) -> None:
    name = behind.info.dbname
    behind.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on'.encode())
    await end_all(world, wire, behind)
    with pytest.raises(Unavailable, match="read-only"):
        await world.store.insert(world.task(owner))
    assert await world.in_queue(owner) == 0  # reading goes on
    behind.execute("SET default_transaction_read_only = off")
    behind.execute(f'ALTER DATABASE "{name}" RESET default_transaction_read_only'.encode())
    await end_all(world, wire, behind)
    await world.submit(owner)


async def test_a_transaction_that_lost_a_deadlock_is_tried_again(
    world: World, owner: Owner, behind: psycopg.Connection
) -> None:
    behind.execute("CREATE SEQUENCE tried")
    behind.execute(
        "CREATE FUNCTION collide() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN"
        " IF nextval('tried') < 3 THEN RAISE EXCEPTION 'collided' USING ERRCODE = '40P01'; END IF; RETURN NULL; END$$"
    )
    behind.execute("CREATE TRIGGER collide AFTER INSERT ON task EXECUTE FUNCTION collide()")
    try:
        task = await world.submit(owner)
        assert await world.state(task) is State.AVAILABLE
        assert count(behind, "task") == 1
    finally:
        behind.execute("DROP FUNCTION collide() CASCADE")
        behind.execute("DROP SEQUENCE tried")


async def test_hints_come_again_after_the_listening_session_was_ended(
    world: World, owner: Owner, behind: psycopg.Connection, url: str
) -> None:
    ear = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'"

    def listening() -> bool:
        row = behind.execute(ear.encode()).fetchone()
        return row is not None and row[0] > 0

    await world.store.wait(0)
    await until(listening)
    behind.execute(END_ALL + " AND query LIKE 'LISTEN%'")
    assert (await world.store.wait(60)).work_at is not None  # it looks by itself while it hears nothing
    other = PostgresStore(url, Sealer(MASTER), world.clock)
    await other.open()
    try:
        while await world.store.wait(0.2) != Hints():  # until it hears again, and has been told that it does
            pass
        other.hint_work(123)
        assert await world.store.wait(60) == Hints(123)
    finally:
        await other.close()


class Skewed(SystemClock):
    """A machine whose clock is wrong by so many ms."""

    def __init__(self, wrong_ms: int) -> None:
        self._wrong_ms = wrong_ms

    def now(self) -> int:
        return super().now() + self._wrong_ms

    def monotonic(self) -> float:
        return super().monotonic() + self._wrong_ms / 1_000


@pytest.mark.parametrize("wrong_ms", [(30_000, 0), (0, 30_000), (-30_000, 0), (0, -30_000)])
async def test_machines_whose_clocks_differ_run_nothing_early(
    url: str, behind: psycopg.Connection, wrong_ms: tuple[int, int], tmp_path: Path
) -> None:
    taking: Clock = DatabaseClock("late", Skewed(wrong_ms[0]))
    running: Clock = DatabaseClock("early", Skewed(wrong_ms[1]))
    first, second = (PostgresStore(url, Sealer(MASTER), clock) for clock in (taking, running))
    await first.open()
    await second.open()
    try:
        world = World(first, taking, ADAPTERS["postgres"], tmp_path)  # type: ignore[arg-type]
        owner = await world.owner()
        before = behind.execute("SELECT extract(epoch FROM clock_timestamp()) * 1000").fetchone()
        task = await world.submit(owner, delay=150)
        assert before is not None
        assert task.due_at >= before[0] + 150
        claims = []
        while not claims:
            now = running.now()
            claims = (await second.claim(Look(now, now, now + 30_000), up_to(10))).claims
        after = behind.execute("SELECT extract(epoch FROM clock_timestamp()) * 1000").fetchone()
        assert after is not None
        assert task.due_at <= after[0] < task.due_at + 20_000
    finally:
        await first.close()
        await second.close()
