"""An engine whose session goes in the middle of a claim or a settlement, or whose leases end while it hears nothing."""

import pytest

from tasks_server.domain.owner import Owner
from tasks_server.domain.task import State
from tasks_server.engine.loop import EngineConfig
from tests.engine.shop import Shop, working
from tests.postgres.wire import Wire
from tests.store.world import World

from .conftest import CLAIM, ONE_ROW, SETTLE


@pytest.fixture
def shop(world: World, owner: Owner) -> Shop:
    return Shop(world, owner, EngineConfig())


def in_trouble(shop: Shop, doing: str) -> int:
    """How often it was told that the store refused that."""
    return sum(b"store trouble" in line and doing.encode() in line for line in shop.lines)


async def test_a_result_whose_lease_ended_meanwhile_is_refused_and_the_task_runs_again(shop: Shop, wire: Wire) -> None:
    task_id = await shop.submit()
    async with working(shop):
        await shop.until(lambda: bool(shop.caller.sent))
        wire.refuses = True
        wire.cut()
        shop.caller.end_all()
        await shop.until(lambda: in_trouble(shop, "settle") > 0)
        shop.clock.advance(5_000)
        await shop.world.adapter.query(shop.store, "UPDATE task SET lease = lease + 1")  # as another one takes it
        wire.refuses = False
        await shop.engine.settler.drained()
        assert shop.engine.settler.lost == 1
        assert await shop.world.leases_end() == 1
        await shop.until(lambda: bool(shop.caller.sent))
        shop.caller.end_all()
    task = await shop.task(task_id)
    assert (task.state, task.attempt) == (State.COMPLETED, 2)


async def test_a_result_whose_answer_was_lost_is_recorded_once(shop: Shop, wire: Wire) -> None:
    task_id = await shop.submit()
    async with working(shop):
        await shop.until(lambda: bool(shop.caller.sent))
        wire.cut_before_answer(SETTLE, ONE_ROW)
        shop.caller.end_all()
        await shop.engine.settler.drained()
    assert in_trouble(shop, "settle") == 1
    task = await shop.task(task_id)
    assert (task.state, task.attempt) == (State.COMPLETED, 1)
    assert len(await shop.store.attempts(shop.owner.id, task_id)) == 1
    await shop.world.check_counters()


async def test_a_claim_that_nobody_was_told_of_is_made_anew(shop: Shop, wire: Wire) -> None:
    wire.cut_before_answer(CLAIM, ONE_ROW)
    task_id = await shop.submit()
    async with working(shop):
        await shop.until(lambda: bool(shop.caller.sent))
        assert in_trouble(shop, "claim") == 1
        shop.caller.end_all()
        await shop.engine.settler.drained()
    task = await shop.task(task_id)
    assert (task.state, task.attempt) == (State.COMPLETED, 2)
    await shop.world.check_counters()
