"""Why a task in line does not run: those before it, its lane, engines that are behind."""

import pytest

from tasks_server.domain import gates
from tasks_server.domain.owner import By
from tasks_server.domain.request import TaskConfig
from tasks_server.engine.loop import EngineConfig
from tasks_server.service.ground import Ground
from tasks_server.service.lanes import LaneService

from .explaining import explain, has, held, limit_lane, seen
from .shop import OpenShop, Shop

# In line


async def test_others_of_its_lane_go_first(open_shop: OpenShop) -> None:
    shop = await open_shop(EngineConfig(concurrency_max=10, per_target_max=3))
    await seen(shop)
    ids = [await shop.submit() for _ in range(5)]
    assert [(await explain(shop, task_id)).runnable for task_id in ids] == [True, True, True, False, False]
    gate = await held(shop, ids[4])
    assert (gate.gate, has(gate, urgent=0, earlier=4, room=3)) == ("ahead", True)
    assert gate.text == "4 tasks of its owner go first: 4 due earlier to the same target"
    assert len(await shop.look()) == 3
    runs = [(await shop.task(task_id)).attempt for task_id in ids]
    assert runs == [1, 1, 1, 0, 0], "the engine sees it the same way"


async def test_more_urgent_tasks_of_other_lanes_go_first_too(open_shop: OpenShop) -> None:
    shop = await open_shop(EngineConfig(concurrency_max=3, per_target_max=3))
    await seen(shop)
    urgent = await shop.world.submit_many(shop.owner, 2, lane="urgent", priority=9, target="b.example:80")
    task_id = await shop.submit(TaskConfig(priority=1))
    gate = await held(shop, task_id)
    assert (gate.gate, has(gate, urgent=0, urgentInOtherLanes=2, earlier=0, room=2)) == ("ahead", True)
    await shop.look()
    assert [(await shop.task(each)).attempt for each in (*urgent, task_id)] == [1, 1, 0]


async def test_urgent_tasks_that_are_passed_over_hold_up_nobody(open_shop: OpenShop) -> None:
    """Those to a full host, of a handler that nobody knows, and of a lane without a place."""
    shop = await open_shop(EngineConfig(concurrency_max=20, per_target_max=2))
    await seen(shop)
    await shop.world.submit_many(shop.owner, 25, priority=9, target="slow.example:80")
    await shop.world.submit_many(shop.owner, 25, priority=9, target="@unknown")
    await limit_lane(shop, "narrow", maxConcurrent=1)
    await shop.world.submit_many(shop.owner, 25, priority=9, lane="narrow", target="b.example:80")
    await shop.look()
    task_id = await shop.submit(TaskConfig(priority=1))
    explained = await explain(shop, task_id)
    assert explained.runnable, explained.summary
    await shop.look()
    await shop.look()
    assert (await shop.task(task_id)).attempt == 1, "the engine sees it the same way"


async def test_nothing_holds_it(shop: Shop) -> None:
    await seen(shop)
    explained = await explain(shop, await shop.submit())
    assert explained.runnable
    assert explained.summary == "Nothing holds it: the next look of an engine takes it."
    assert explained.estimate_at == shop.clock.now()
    assert [gate.gate for gate in explained.gates] == [
        *("paused", "due", "engine", "http", "database", "slots", "owner_share", "host", "ahead", "behind")
    ]


@pytest.mark.parametrize(("delay", "in_line"), [(0, True), (60_000, False)])
async def test_the_engines_are_behind(shop: Shop, delay: int, in_line: bool) -> None:
    await shop.engine.dispatcher.look()
    looked_at = shop.clock.now()
    task_id = await shop.submit(delay=delay)
    shop.clock.advance(delay + 1_500)
    await seen(shop)
    explained = await explain(shop, task_id)
    gate = gates.closed(explained.gates)[0]
    assert (gate.gate, has(gate, lateMs=1_500, inLine=in_line, lookedAt=looked_at)) == ("behind", True)
    assert "due for 1 s 500 ms" in gate.text
    assert explained.estimate_at is None


# Lanes


@pytest.mark.parametrize(("by", "text"), [("owner", "by its owner"), ("operator", "by the operator")])
async def test_its_lane_is_paused(shop: Shop, by: By, text: str) -> None:
    await seen(shop)
    task_id = await shop.submit()
    lanes = LaneService(Ground(shop.store, shop.clock))
    await lanes.pause(shop.owner.id, "default", by)
    gate = await held(shop, task_id)
    assert (gate.gate, has(gate, lane="default", pausedAt=shop.clock.now(), by=by)) == ("lane_paused", True)
    assert f"its lane default was paused {text} at 2023-11-14T22:13:20.000Z; " in gate.text
    await shop.look()
    assert not shop.caller.sent, "the engine sees it the same way"
    await lanes.resume(shop.owner.id, "default", by)
    assert (await explain(shop, task_id)).runnable
    await shop.look()
    assert len(shop.caller.sent) == 1


async def test_its_owner_is_suspended(shop: Shop) -> None:
    await seen(shop)
    task_id = await shop.submit()
    await shop.world.suspend(shop.owner)
    gate = await held(shop, task_id)
    assert (gate.gate, has(gate, suspendedAt=shop.clock.now())) == ("owner_suspended", True)
    explained = await explain(shop, task_id)
    assert "suspended by the operator at 2023-11-14T22:13:20.000Z; only the operator can resume it" in explained.summary
    assert explained.estimate_at is None
    await shop.look()
    assert not shop.caller.sent, "the engine sees it the same way"
    await shop.world.suspend(shop.owner, suspended=False)
    assert (await explain(shop, task_id)).runnable
    await shop.look()
    assert len(shop.caller.sent) == 1


async def test_its_lane_has_no_place_left_and_those_that_hold_them_are_named(shop: Shop) -> None:
    await limit_lane(shop, maxConcurrent=2)
    first, second, third = [await shop.submit() for _ in range(3)]
    await shop.look()
    await seen(shop)
    gate = await held(shop, third)
    assert (gate.gate, has(gate, lane="default", running=2, max=2)) == ("lane_concurrency", True)
    assert set(gate.facts["heldBy"]) == {first, second}
    assert "2 of at most 2 tasks of its lane default run: " in gate.text
    assert first in gate.text
    await shop.look()
    assert len(shop.caller.sent) == 2
    shop.caller.end(next(iter(shop.caller.sent)))
    await shop.settle()
    assert (await explain(shop, third)).runnable


async def test_its_lanes_rate_is_used_up_until(shop: Shop) -> None:
    await limit_lane(shop, ratePerSecond=0.5, burst=1)
    ids = [await shop.submit() for _ in range(4)]
    await shop.look()
    await seen(shop)
    began = shop.clock.now()
    explained = await explain(shop, ids[1])
    gate = gates.closed(explained.gates)[0]
    assert (gate.gate, gate.until) == ("lane_rate", began + 2_000)
    assert has(gate, lane="default", ratePerSecond=0.5, burst=1)
    assert explained.estimate_at == began + 2_000
    assert "may start 0.5 tasks in a second and has started as many, the next one at" in gate.text
    assert (await explain(shop, ids[3])).estimate_at == began + 6_000, "two go before it"
    shop.clock.advance(1_999)
    await shop.look()
    assert len(shop.caller.sent) == 1
    assert (await held(shop, ids[1])).gate == "lane_rate"
    shop.clock.advance(1)
    assert (await explain(shop, ids[1])).runnable
    assert [gate.gate for gate in gates.closed((await explain(shop, ids[2])).gates)] == ["ahead"]
    shop.clock.advance(1_001)
    assert (await held(shop, ids[1])).gate == "behind", "for a second, an engine could have taken it"
    await shop.look()
    assert [(await shop.task(task_id)).attempt for task_id in ids] == [1, 1, 0, 0]


async def test_in_a_lane_with_a_rate_all_that_were_due_before_it_go_first(shop: Shop) -> None:
    await seen(shop)
    await limit_lane(shop, ratePerSecond=1, burst=1)
    ids = [await shop.submit(target=f"{number}.example:80") for number in range(3)]
    gate = await held(shop, ids[2])
    assert (gate.gate, has(gate, earlier=2, room=1)) == ("ahead", True)
    assert gate.text == "2 tasks of its owner go first: 2 due earlier to other targets"
    assert gate.until == shop.clock.now() + 2_000
    for _ in range(3):
        await shop.look()
        shop.clock.advance(1_000)
    assert [(await shop.task(task_id)).execution_at - shop.clock.now() + 3_000 for task_id in ids] == [0, 1_000, 2_000]


async def test_a_lane_without_limits_has_no_gate_and_a_paused_one_tells_all(shop: Shop) -> None:
    await seen(shop)
    assert not [gate for gate in (await explain(shop, await shop.submit())).gates if gate.gate.startswith("lane")]
    await shop.look()
    await limit_lane(shop, maxConcurrent=1, ratePerSecond=0.1, burst=1, paused=True)
    found = (await explain(shop, await shop.submit())).gates
    told = {gate.gate: gate.closed for gate in found if gate.gate.startswith("lane")}
    assert told == {"lane_paused": True, "lane_concurrency": True, "lane_rate": False}


async def test_another_owners_lane_of_the_name_is_not_meant(shop: Shop) -> None:
    await seen(shop)
    stranger = await shop.world.owner()
    theirs = await shop.world.submit(stranger)
    await limit_lane(shop, paused=True)
    assert (await explain(shop, theirs.id, operator=True)).runnable
