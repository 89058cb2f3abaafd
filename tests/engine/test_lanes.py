"""The engine and lanes with limits: when it looks again, what wakes it, and what several engines do together."""

import asyncio
from typing import Any

import pytest

from tasks_server.domain import lifecycle, limits
from tasks_server.domain.task import State
from tasks_server.engine.loop import Engine, EngineConfig
from tasks_server.telemetry import Telemetry
from tests.store.lanes import set_lane

from .scripted import ScriptedCaller
from .shop import OpenShop, Shop, working


async def limited(shop: Shop, **chosen: Any) -> None:
    await set_lane(shop.world, shop.owner, **chosen)


async def test_the_dispatcher_sleeps_until_there_is_a_token(shop: Shop) -> None:
    await limited(shop, rate=2, burst=3)
    for _ in range(10):
        await shop.submit()
    assert len(await shop.look()) == 3
    assert await shop.engine.dispatcher.look() == pytest.approx(0.5)
    shop.clock.advance(200)
    assert await shop.engine.dispatcher.look() == pytest.approx(0.3)
    shop.clock.advance(300)
    assert len(await shop.look()) == 4


async def test_one_look_is_enough_for_what_a_lane_may_start(shop: Shop) -> None:
    await limited(shop, rate=2, burst=3)
    for number in range(5):
        await shop.submit(target=f"host-{number}.example:80")
    shop.engine.executor.start()
    assert await shop.engine.dispatcher.look() == pytest.approx(0.5)
    assert len(shop.caller.sent) == 3


async def test_a_place_that_others_hold_is_looked_for(shop: Shop) -> None:
    await limited(shop, concurrent_max=1)
    await shop.submit()
    await shop.world.claim_one()  # another engine
    await shop.submit()
    assert await shop.look() == []
    assert await shop.engine.dispatcher.look() == pytest.approx(limits.LANE_LOOK_MS / 1_000)


async def test_nobody_looks_again_for_a_paused_lane(shop: Shop) -> None:
    await limited(shop, paused_at=1, paused_by="owner")
    for _ in range(3):
        await shop.submit()
    assert await shop.look() == []
    assert await shop.engine.dispatcher.look() == pytest.approx(5.0)


async def test_many_paused_lanes_are_walked_over_once(shop: Shop) -> None:
    for number in range(600):
        name = f"lane-{number}"
        await set_lane(shop.world, shop.owner, name, paused_at=1, paused_by="owner")
        await shop.world.submit(shop.owner, lane=name)
    last = await shop.world.submit(shop.owner, lane="open")
    shop.engine.executor.start()
    waits = [await shop.engine.dispatcher.look() for _ in range(3)]
    assert waits[:2] == [0.0, 0.0]
    assert await shop.world.state(last) is State.RUNNING
    while waits[-1] == 0.0:  # what was taken may have had others behind it
        waits.append(await shop.engine.dispatcher.look())
    assert len(waits) <= 6


async def test_a_place_that_is_freed_is_taken_at_once(open_shop: OpenShop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = await open_shop(EngineConfig(look_again_seconds=3_600))
    monkeypatch.setattr(limits, "LANE_LOOK_MS", limits.DAY_MS)  # nobody finds it by looking
    await limited(shop, concurrent_max=2)
    for _ in range(6):
        await shop.submit()
    async with working(shop):
        for _ in range(3):
            await shop.until(lambda: len(shop.caller.sent) == 2)
            shop.caller.end_all()
        await shop.until(lambda: not len(shop.engine.inflight))
        await shop.engine.settler.drained()
    tasks = await shop.store.lane(shop.owner.id, "default")
    assert tasks is not None
    assert tasks.counts[State.COMPLETED] == 6


async def test_a_lane_without_room_leaves_its_owners_other_lanes_the_slots(shop: Shop) -> None:
    await limited(shop, concurrent_max=1)
    for _ in range(3):
        await shop.submit()
    second = await shop.world.submit(shop.owner, lane="second")
    await shop.look()
    await shop.look()
    assert await shop.world.state(second) is State.RUNNING
    assert len(shop.caller.sent) == 2


async def test_engines_keep_to_a_limit_together(shop: Shop) -> None:
    """Whoever ends a task, and whichever engine looks first: never more than there are places."""
    await limited(shop, concurrent_max=3)
    told = Telemetry(shop.clock, write=lambda _: None)
    callers = [ScriptedCaller() for _ in range(3)]
    config = EngineConfig(concurrency_max=8)
    engines = [Engine(shop.store, caller, shop.clock, config, told, lambda: 0.0) for caller in callers]
    for engine in engines:
        engine.executor.start()
    tasks = [await shop.submit() for _ in range(12)]
    most = 0
    for turn in range(60):
        await engines[turn % 3].dispatcher.look()
        most = max(most, sum(len(engine.inflight) for engine in engines))
        for caller in callers[turn % 2 :: 2]:
            for token in list(caller.sent)[:1]:
                caller.end(token)
        await asyncio.sleep(0)  # lets the hand-over from the callers' threads run
        for engine in engines:
            await engine.settler.flush()
    assert most == 3
    assert {await shop.world.state(task) for task in tasks} == {State.COMPLETED}


async def test_a_task_of_a_paused_lane_that_runs_goes_on(shop: Shop) -> None:
    task_id = await shop.submit()
    [token] = await shop.look()
    await limited(shop, paused_at=1, paused_by="owner")
    await shop.engine._leases.recheck()
    shop.caller.end(token)
    await shop.settle()
    assert (await shop.task(task_id)).state is State.COMPLETED


async def test_a_stopped_task_frees_its_place(shop: Shop) -> None:
    await limited(shop, concurrent_max=1)
    first, second = await shop.submit(), await shop.submit()
    await shop.look()
    await shop.world.steer(first, lifecycle.revoke)
    await shop.engine._leases.recheck()
    assert len(await shop.look()) == 1
    assert (await shop.task(second)).state is State.RUNNING
