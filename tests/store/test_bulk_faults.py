"""Bulk work whose steps cannot be done: it holds up nobody, and says why in the end."""

import pytest
from psycopg.errors import QueryCanceled

from tasks_server.domain import limits
from tasks_server.domain.bulk import STEP_FAILED, STEP_FAILURES_MAX, Action, Bulk, Deleted, Steered
from tasks_server.domain.errors import Corrupt, Unavailable
from tasks_server.domain.owner import Owner
from tasks_server.domain.task import State, Task
from tasks_server.store.bulking import Stride, Worked
from tasks_server.store.postgres.store import PostgresStore

from .bulks import Desk, decide
from .world import World


@pytest.fixture
def desk(world: World) -> Desk:
    return Desk(world)


class Fault:
    """Decides as the engine does, but raises for a task of this piece of work while it is there."""

    def __init__(self, world: World, bulk: Bulk, task_id: str) -> None:
        self.world, self.bulk, self.task_id = world, bulk, task_id
        self.error: Exception | None = ZeroDivisionError("of its own")

    def __call__(self, bulk: Bulk, task: Task) -> Steered | Deleted | None:
        if self.error is not None and (bulk.id, task.id) == (self.bulk.id, self.task_id):
            raise self.error
        return decide(self.world.now, bulk, task)

    async def step(self) -> Worked:
        return await self.world.store.work_bulk(self.world.now, Stride(), self)


async def test_a_step_that_breaks_off_did_nothing_and_holds_up_nobody(world: World, desk: Desk, owner: Owner) -> None:
    made = await desk.failed(owner, 5)
    bulk = await desk.make(owner, Action.RETRY, ids=tuple(made[:3]))
    world.clock.advance(1)
    behind = await desk.make(owner, Action.DELETE, ids=tuple(made[3:]))
    fault = Fault(world, bulk, made[2])
    worked = await fault.step()
    assert (worked.bulk, worked.restarted, worked.failed is not None) == (None, False, True)
    assert worked.failed is not None
    assert (worked.failed.bulk, worked.failed.cause) == (bulk.id, fault.error)
    assert worked.failed.next_at == world.now + 1_000
    set_back = await desk.read(bulk)
    assert (set_back.standing, set_back.waits, set_back.failures) == ("waiting", STEP_FAILED, 1)
    assert set_back.error == "a fault of the server (ZeroDivisionError)"
    assert (set_back.seen, set_back.changed, set_back.ended_at) == (0, 0, 0)
    assert [await world.state(task) for task in made] == [State.FAILED] * 5
    worked = await fault.step()
    assert worked.bulk is not None
    assert (worked.bulk.id, worked.bulk.standing, worked.bulk.changed) == (behind.id, "done", 2)
    assert await fault.step() == Worked()
    assert await world.store.next_bulk() == set_back.updated_at + 1_000
    await world.check_counters()


async def test_one_that_can_be_done_again_goes_on_as_if_nothing_had_been(
    world: World, desk: Desk, owner: Owner
) -> None:
    made = await desk.failed(owner, 3)
    bulk = await desk.make(owner, Action.RETRY)
    fault = Fault(world, bulk, made[1])
    for _ in range(STEP_FAILURES_MAX - 1):
        worked = await fault.step()
        assert worked.failed is not None
        assert worked.failed.next_at is not None
        world.clock.advance(worked.failed.next_at - world.now)
    fault.error = None
    worked = await fault.step()
    assert worked.bulk is not None
    done = await desk.read(bulk)
    assert (done.standing, done.changed, done.waits, done.error, done.failures) == ("done", 3, None, None, 0)
    assert worked.bulk == done


async def test_one_that_never_can_ends_and_says_why(world: World, desk: Desk, owner: Owner) -> None:
    made = await desk.failed(owner, 3)
    bulk = await desk.make(owner, Action.RETRY)
    fault = Fault(world, bulk, made[1])
    waits = []
    for _ in range(STEP_FAILURES_MAX):
        worked = await fault.step()
        assert worked.failed is not None
        waits.append(worked.failed.next_at and worked.failed.next_at - world.now)
        world.clock.advance(limits.MINUTE_MS)
    assert waits == [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000, 60_000, None]
    ended = await desk.read(bulk)
    assert (ended.standing, ended.waits, ended.changed) == ("failed", None, 0)
    assert ended.error == "a fault of the server (ZeroDivisionError)"
    assert await world.store.next_bulk() is None
    assert await fault.step() == Worked()


async def test_what_is_damaged_is_named(world: World, desk: Desk, owner: Owner) -> None:
    made = await desk.failed(owner, 1)
    bulk = await desk.make(owner, Action.RETRY)
    fault = Fault(world, bulk, made[0])
    fault.error = Corrupt("stored data was changed or damaged")
    await fault.step()
    assert (await desk.read(bulk)).error == "stored data was changed or damaged"


async def test_trouble_of_the_whole_store_is_no_fault_of_the_work(world: World, desk: Desk, owner: Owner) -> None:
    made = await desk.failed(owner, 1)
    bulk = await desk.make(owner, Action.RETRY)
    fault = Fault(world, bulk, made[0])
    fault.error = Unavailable("the disk is full")
    with pytest.raises(Unavailable, match="disk is full"):
        await fault.step()
    assert await desk.read(bulk) == bulk


async def test_one_that_finds_the_store_busy_leaves_its_turn_and_never_ends_by_it(
    world: World, desk: Desk, owner: Owner
) -> None:
    if not isinstance(world.store, PostgresStore):
        pytest.skip("on SQLite, who is busy is busy for all")
    made = await desk.failed(owner, 1)
    bulk = await desk.make(owner, Action.RETRY)
    fault = Fault(world, bulk, made[0])
    fault.error = QueryCanceled("canceling statement due to statement timeout")
    for _ in range(STEP_FAILURES_MAX + 1):
        worked = await fault.step()
        assert worked.failed is not None
        assert worked.failed.next_at == world.now + 5_000
        world.clock.advance(5_000)
    found = await desk.read(bulk)
    assert (found.standing, found.error, found.failures) == ("waiting", "the database was busy for too long", 0)
