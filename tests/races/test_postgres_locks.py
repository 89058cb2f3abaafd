"""Who waits for whom at PostgreSQL, shown with a stranger holding a lock until the server reports who waits for it."""

import asyncio
import time
from collections.abc import Callable, Iterator

import psycopg
import pytest

from tasks_server.domain import lifecycle
from tasks_server.domain.bulk import Action
from tasks_server.domain.owner import Owner
from tasks_server.domain.task import State
from tasks_server.store.bulking import Worked
from tasks_server.store.ports import Claim, Inserted, QueueFull, UnknownOwner
from tasks_server.store.postgres.changes import OWNER_LOCK
from tests.postgres.databases import Databases
from tests.store.adapters import ADAPTERS, Adapter
from tests.store.bulks import Desk
from tests.store.lanes import set_lane
from tests.store.world import World, up_to

from .conftest import Pair

DEADLINE_SECONDS = 30
MIDST = 7
"""An advisory lock that stands for a moment in the midst of a statement."""


@pytest.fixture
def adapter() -> Adapter:
    return ADAPTERS["postgres"]


class Stranger:
    """Another session on the same database."""

    def __init__(self, url: str) -> None:
        self.connection = psycopg.connect(url, autocommit=True)
        self._looking = psycopg.connect(url, autocommit=True)

    def close(self) -> None:
        self.connection.close()
        self._looking.close()

    def hold(self, statement: str) -> None:
        """Runs a statement whose locks stay until `let_go`."""
        self.connection.execute(f"BEGIN; {statement}".encode())

    def let_go(self) -> None:
        self.connection.execute("ROLLBACK")

    def waiting(self) -> int:
        """How many sessions wait for a lock."""
        row = self._looking.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        ).fetchone()
        assert row is not None
        return int(row[0])

    async def until_wait(self, count: int) -> None:
        await until(lambda: self.waiting() == count)


@pytest.fixture
def stranger(pair: Pair) -> Iterator[Stranger]:
    url = Databases.lend(pair[0].folder)
    assert url is not None
    stranger = Stranger(url)
    yield stranger
    stranger.close()


@pytest.fixture
def stopping(stranger: Stranger) -> Iterator[Stranger]:
    """Whoever changes tasks stops in the midst of it, with all its locks, while the stranger holds `MIDST`."""
    stranger.connection.execute(
        "CREATE FUNCTION stop() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$BEGIN PERFORM pg_advisory_xact_lock_shared({MIDST}); RETURN NULL; END$$"
    )
    stranger.connection.execute("CREATE TRIGGER stop AFTER UPDATE ON task FOR EACH ROW EXECUTE FUNCTION stop()")
    yield stranger
    stranger.connection.execute("DROP FUNCTION stop() CASCADE")


async def until(fact: Callable[[], bool]) -> None:
    """Returns once `fact` holds; another process brings it about."""
    end = time.monotonic() + DEADLINE_SECONDS
    while not fact():
        assert time.monotonic() < end, "it never came about"
        await asyncio.sleep(0.001)


def hold_owner(stranger: Stranger, owner: Owner) -> None:
    """Nobody stores tasks of the owner while this is held."""
    stranger.hold(f"SELECT pg_advisory_xact_lock({OWNER_LOCK}, seq) FROM owner WHERE id = '{owner.id}'")


# Claims


async def test_two_claims_in_the_midst_of_it_take_different_tasks(pair: Pair, owner: Owner, stopping: Stranger) -> None:
    one, two = pair
    made = await one.submit_many(owner, 10)
    stopping.hold(f"SELECT pg_advisory_xact_lock({MIDST})")
    first = asyncio.ensure_future(one.claim(up_to(5)))
    await stopping.until_wait(1)
    second = asyncio.ensure_future(two.claim(up_to(50)))
    await stopping.until_wait(2)
    stopping.let_go()
    taken = [[claim.id for claim in claims] for claims in await asyncio.gather(first, second)]
    assert taken == [made[:5], made[5:]]
    await two.check_counters()


async def test_two_promotions_in_the_midst_of_it_promote_different_tasks(
    pair: Pair, owner: Owner, stopping: Stranger
) -> None:
    one, two = pair
    await one.submit_many(owner, 10, delay=1_000)
    one.clock.advance(1_000)
    stopping.hold(f"SELECT pg_advisory_xact_lock({MIDST})")
    looks = [asyncio.ensure_future(one.look())]
    await stopping.until_wait(1)
    looks.append(asyncio.ensure_future(two.look()))
    # It finds nothing left to promote, so that nothing is in its way.
    assert (await looks[1]).promoted == 0
    stopping.let_go()
    assert (await looks[0]).promoted == 10
    await two.check_counters()


async def test_of_two_claims_from_a_lane_with_one_place_one_gets_it(
    pair: Pair, owner: Owner, stopping: Stranger
) -> None:
    one, two = pair
    await set_lane(one, owner, concurrent_max=1)
    made = await one.submit_many(owner, 3)
    free = await one.submit(owner, lane="free")
    stopping.hold(f"SELECT pg_advisory_xact_lock({MIDST})")
    first = asyncio.ensure_future(one.claim(up_to(1), lines_max=1))
    await stopping.until_wait(1)
    # What the first has in hand is not waited for; other lanes are taken from meanwhile.
    second = asyncio.ensure_future(two.look(up_to(1)))
    await stopping.until_wait(2)
    stopping.let_go()
    assert [claim.id for claim in await first] == made[:1]
    looked = await second
    assert [claim.id for claim in looked.claims] == [free.id]
    assert looked.lanes_again_at is not None
    assert looked.lanes_again_at > two.now
    assert await two.claim() == []
    await one.settle(await first)
    assert [claim.id for claim in await two.claim()] == made[1:2]
    await two.check_counters()


async def test_a_lane_is_not_changed_while_it_is_taken_from(pair: Pair, owner: Owner, stopping: Stranger) -> None:
    one, two = pair
    await set_lane(one, owner, rate=1, burst=5)
    await one.submit_many(owner, 9)
    stopping.hold(f"SELECT pg_advisory_xact_lock({MIDST})")
    first = asyncio.ensure_future(one.claim(up_to(3)))
    await stopping.until_wait(1)
    changing = asyncio.ensure_future(set_lane(two, owner, rate=2, burst=5))
    await stopping.until_wait(2)
    stopping.let_go()
    assert len(await first) == 3
    await changing
    assert len(await two.claim()) == 2  # what was taken under the old rate is missing under the new one


async def test_a_claim_goes_around_what_a_stranger_holds(pair: Pair, owner: Owner, stranger: Stranger) -> None:
    one, _ = pair
    made = await one.submit_many(owner, 10)
    stranger.hold("SELECT seq FROM task ORDER BY seq LIMIT 3 FOR UPDATE")
    assert [claim.id for claim in await one.claim()] == made[3:]
    stranger.let_go()
    assert [claim.id for claim in await one.claim()] == made[:3]


# One task, two minds


@pytest.mark.parametrize("settles_first", [True, False])
async def test_of_settling_and_stopping_the_first_in_line_wins(
    pair: Pair, owner: Owner, stranger: Stranger, settles_first: bool
) -> None:
    one, two = pair
    task = await one.submit(owner)
    claim = await one.claim_one()
    stranger.hold("SELECT seq FROM task FOR UPDATE")

    def settle() -> "asyncio.Future[set[int]]":
        return asyncio.ensure_future(one.store.settle([one.report(claim)]))

    def stop() -> "asyncio.Future[object]":
        return asyncio.ensure_future(two.steer(task, lifecycle.revoke))

    first = settle() if settles_first else stop()
    await stranger.until_wait(1)
    second = stop() if settles_first else settle()
    await stranger.until_wait(2)
    stranger.let_go()
    answers = await asyncio.gather(first, second, return_exceptions=True)
    if settles_first:
        assert answers[0] == set()
        assert isinstance(answers[1], lifecycle.IllegalTransition)
        assert await two.state(task) is State.COMPLETED
    else:
        assert answers[1] == {claim.ref}
        assert await two.state(task) is State.REVOKED
    assert len(await two.store.attempts(None, task.id)) == 1
    await two.check_counters()


async def test_a_lease_that_is_extended_is_not_rescued(pair: Pair, owner: Owner, stopping: Stranger) -> None:
    one, two = pair
    await one.submit(owner)
    claim = await one.claim_one()
    await two.leases_end(0)  # it sees that the lease is over
    stopping.hold(f"SELECT pg_advisory_xact_lock({MIDST})")
    extending = asyncio.ensure_future(one.store.extend([(claim.ref, claim.lease)], one.now + 30_000))
    await stopping.until_wait(1)
    await two.rescue(10)  # it does not wait for what another has in hand
    stopping.let_go()
    assert await extending == set()
    assert await two.rescue(10) == 0
    await one.settle(claim)


# Owners


async def test_an_owner_is_not_deleted_while_a_task_of_it_is_stored(
    pair: Pair, owner: Owner, stranger: Stranger
) -> None:
    one, two = pair
    hold_owner(stranger, owner)
    inserting = asyncio.ensure_future(one.store.insert(one.task(owner)))
    await stranger.until_wait(1)
    deleting = asyncio.ensure_future(two.store.delete_owner(owner.id))
    await stranger.until_wait(2)
    stranger.let_go()
    assert (await inserting, await deleting) == (Inserted(), False)
    assert await one.in_queue(owner) == 1


async def test_no_task_is_stored_for_an_owner_that_is_being_deleted(
    pair: Pair, owner: Owner, stranger: Stranger
) -> None:
    one, two = pair
    await one.settle(await claimed(one, owner))  # all that is remembered of the owner is
    hold_owner(stranger, owner)
    deleting = asyncio.ensure_future(two.store.delete_owner(owner.id))
    await stranger.until_wait(1)
    inserting = asyncio.ensure_future(one.store.insert(one.task(owner)))
    await stranger.until_wait(2)
    stranger.let_go()
    assert (await deleting, await inserting) == (True, UnknownOwner())
    assert sum((await one.adapter.books(one.store))[1].values()) == 1
    await two.check_counters()


async def claimed(world: World, owner: Owner) -> Claim:
    """A claim of a new task."""
    await world.submit(owner)
    return await world.claim_one()


@pytest.mark.parametrize("seed", range(3))
async def test_the_limit_is_exact_when_both_have_waited_at_the_door(pair: Pair, stranger: Stranger, seed: int) -> None:
    one, two = pair
    small = await one.owner(limit=25 + seed)
    hold_owner(stranger, small)
    inserts = [asyncio.ensure_future(one.store.insert(one.task(small)))]
    await stranger.until_wait(1)
    inserts += [asyncio.ensure_future(two.store.insert(two.task(small)))]
    await stranger.until_wait(2)
    inserts += [asyncio.ensure_future(world.store.insert(world.task(small))) for _ in range(20) for world in pair]
    stranger.let_go()
    answers = await asyncio.gather(*inserts)
    assert answers.count(Inserted()) == 25 + seed
    assert answers.count(QueueFull(25 + seed)) == 42 - 25 - seed
    assert await two.in_queue(small) == 25 + seed
    await one.check_counters()


async def test_owners_do_not_wait_for_each_other(pair: Pair, owner: Owner, stranger: Stranger) -> None:
    one, two = pair
    other = await one.owner()
    hold_owner(stranger, owner)
    waiting = asyncio.ensure_future(one.store.insert(one.task(owner)))
    await stranger.until_wait(1)
    assert await two.store.insert(two.task(other)) == Inserted()
    assert not waiting.done()
    stranger.let_go()
    assert await waiting == Inserted()


# Old snapshots


async def test_a_long_reader_holds_nobody_up_and_sees_its_own_time(
    pair: Pair, owner: Owner, stranger: Stranger
) -> None:
    one, two = pair
    await one.submit_many(owner, 100)
    stranger.connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
    assert stranger.connection.execute("SELECT count(*) FROM task WHERE state = 'available'").fetchone() == (100,)
    await two.settle(await two.claim())
    await one.submit_many(owner, 50)
    await one.store.checkpoint()
    assert len(await two.claim()) == 50
    assert stranger.connection.execute("SELECT count(*) FROM task WHERE state = 'available'").fetchone() == (100,)
    stranger.let_go()
    await one.check_counters()


# Bulk work


async def test_bulk_work_stops_before_a_task_that_another_holds(pair: Pair, owner: Owner, stranger: Stranger) -> None:
    desk = Desk(pair[0])
    made = await desk.failed(owner, 6)
    bulk = await desk.make(owner, Action.RETRY)
    stranger.hold(f"SELECT FROM task WHERE seq = (SELECT task FROM request WHERE id = '{made[3]}') FOR UPDATE")
    worked = await desk.step()
    assert worked.bulk is not None
    assert (worked.bulk.seen, worked.bulk.changed) == (3, 3)
    again = await desk.step()  # holding others, it does not wait
    assert again.bulk is not None
    assert (again.bulk.seen, again.bulk.changed) == (3, 3)
    stranger.let_go()
    assert (await desk.finish(bulk)).changed == 6


async def test_bulk_work_that_another_has_in_hand_is_left_to_it(pair: Pair, owner: Owner, stranger: Stranger) -> None:
    desk = Desk(pair[0])
    (made,) = await desk.failed(owner, 1)
    bulk = await desk.make(owner, Action.RETRY)
    stranger.hold("SELECT FROM bulk FOR UPDATE")
    assert await desk.step() == Worked()
    assert await pair[0].state(made) is State.FAILED
    stranger.let_go()
    assert (await desk.finish(bulk)).changed == 1


async def test_bulk_work_waits_for_a_task_while_it_holds_none(pair: Pair, owner: Owner, stranger: Stranger) -> None:
    desk = Desk(pair[0])
    (made,) = await pair[0].submit_many(owner, 1)
    claim = await pair[0].claim_one()
    bulk = await desk.make(owner, Action.REVOKE)
    stranger.hold(f"SELECT FROM task WHERE seq = {claim.ref} FOR UPDATE")
    step = asyncio.ensure_future(desk.step())
    await stranger.until_wait(1)
    settling = asyncio.ensure_future(pair[1].store.settle([pair[1].report(claim)]))
    await stranger.until_wait(2)
    stranger.let_go()
    await asyncio.gather(step, settling)
    done = await desk.read(bulk)
    assert (await pair[0].state(made) is State.REVOKED) == (done.changed == 1)
    assert done.changed + done.skipped <= 1
    await pair[0].check_counters()


async def test_what_changed_while_bulk_work_waited_is_judged_anew(pair: Pair, owner: Owner, stranger: Stranger) -> None:
    desk = Desk(pair[0])
    (made,) = await desk.failed(owner, 1)
    bulk = await desk.make(owner, Action.DELETE, states=(State.FAILED,))
    stranger.hold(
        "UPDATE task SET state = 'revoked' WHERE state = 'failed'; "
        "INSERT INTO counter_change (owner, lane, state, n) "
        "SELECT owner, lane, s, n FROM task, (VALUES ('failed', -1), ('revoked', 1)) AS c (s, n)"
    )
    step = asyncio.ensure_future(desk.step())
    await stranger.until_wait(1)
    stranger.connection.execute("COMMIT")
    worked = await step
    assert worked.bulk is not None
    assert (worked.bulk.seen, worked.bulk.changed, worked.bulk.skipped) == (1, 0, 0)
    assert await pair[1].state(made) is State.REVOKED
    assert (await desk.finish(bulk)).standing == "done"
    await pair[0].check_counters()


async def test_a_retry_waits_for_the_queue_and_not_for_tasks_while_it_waits(
    pair: Pair, owner: Owner, stranger: Stranger
) -> None:
    desk = Desk(pair[0])
    made = await desk.failed(owner, 2)
    await desk.make(owner, Action.RETRY)
    hold_owner(stranger, owner)
    step = asyncio.ensure_future(desk.step())
    await stranger.until_wait(1)
    single = asyncio.ensure_future(pair[1].steer(made[0], lifecycle.restart))
    await stranger.until_wait(2)
    stranger.connection.execute("SELECT FROM task FOR UPDATE NOWAIT")  # nobody holds one
    stranger.let_go()
    await asyncio.gather(step, single, return_exceptions=True)
    assert [len(await pair[0].store.events(None, task)) for task in made] == [1, 1]
    assert await pair[0].in_queue(owner) == 2
