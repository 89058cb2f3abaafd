"""PostgreSQL goes away at the worst moments: nothing is half done, nothing is done twice, and it goes on by itself."""

import asyncio
from collections.abc import Callable, Iterator

import psycopg
import pytest

from tasks_server.clock import ManualClock
from tasks_server.domain.errors import Unavailable
from tasks_server.domain.owner import Owner
from tasks_server.domain.task import State
from tasks_server.store.ports import Hints, Inserted, QueueFull
from tasks_server.store.postgres.store import PostgresStore
from tasks_server.store.sealing import Sealer
from tests.postgres.wire import Wire, until

from ..store.adapters import MASTER
from ..store.world import World
from .conftest import ASK_AGAIN_MS, CLAIM, COMMITTED, END_ALL, INSERT, LISTENING, ONE_ROW, SETTLE, count, end_all


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
    def listening() -> bool:
        row = behind.execute(LISTENING.encode()).fetchone()
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


@pytest.fixture
def slow_commits(behind: psycopg.Connection, url: str) -> Iterator[Callable[[], None]]:
    """Whoever commits a request waits until the test calls this."""
    behind.execute(
        "CREATE FUNCTION linger() RETURNS trigger LANGUAGE plpgsql AS"
        " $$BEGIN PERFORM pg_advisory_xact_lock_shared(7); RETURN NULL; END$$"
    )
    behind.execute(
        "CREATE CONSTRAINT TRIGGER linger AFTER INSERT ON request DEFERRABLE INITIALLY DEFERRED"
        " FOR EACH ROW EXECUTE FUNCTION linger()"
    )
    with psycopg.connect(url, autocommit=True) as holder:
        holder.execute("SELECT pg_advisory_lock(7)")
        yield lambda: holder.execute("SELECT pg_advisory_unlock(7)") and None
    behind.execute("DROP FUNCTION linger() CASCADE")


async def test_a_session_that_was_left_at_its_work_stores_nothing_twice(
    world: World, wire: Wire, behind: psycopg.Connection, slow_commits: Callable[[], None]
) -> None:
    """Its task is stored after the store began to look for it; and fills the queue."""
    small = await world.owner(limit=1)
    inserting = asyncio.ensure_future(world.store.insert(world.task(small)))
    await until(lambda: waiting(behind) == 1)
    wire.cut()
    await until(lambda: waiting(behind) == 2)
    slow_commits()
    assert await inserting == Inserted()
    assert count(behind, "task") == count(behind, "request") == 1
    assert await world.in_queue(small) == 1
    assert await world.store.insert(world.task(small)) == QueueFull(1)


def waiting(behind: psycopg.Connection) -> int:
    """How many sessions wait for a lock."""
    text = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    return behind.execute(text).rowcount
