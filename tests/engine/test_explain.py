"""Why a task does not run: each case made for real, with the true gate first among those that are closed."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from tasks_server.domain import gates
from tasks_server.domain.engines import SILENT_MS
from tasks_server.domain.errors import Busy, NotFound
from tasks_server.domain.gate import KINDS, Gate
from tasks_server.domain.lane import PausedBy
from tasks_server.domain.request import HandlerCall, TaskConfig
from tasks_server.engine.loop import EngineConfig
from tasks_server.engine.runs import Known
from tasks_server.service.explain import ExplainService, Explanation
from tasks_server.service.ground import Ground
from tasks_server.service.lanes import LaneService
from tasks_server.service.tasks import TaskService

from .scripted import DOWN, ScriptedHandlers
from .shop import OpenShop, Shop, working


async def explain(shop: Shop, task_id: str, *, operator: bool = False) -> Explanation:
    service = ExplainService(Ground(shop.store, shop.clock))
    explained = await service.explain(None if operator else shop.owner.id, task_id)
    assert {gate.gate for gate in explained.gates} <= KINDS.keys()
    places = [list(KINDS).index(gate.gate) for gate in explained.gates]
    assert places == sorted(places), "the gates are in their order"
    assert explained.runnable == (not gates.closed(explained.gates))
    return explained


async def held(shop: Shop, task_id: str, *, operator: bool = False) -> Gate:
    """The gate that holds the task."""
    return gates.closed((await explain(shop, task_id, operator=operator)).gates)[0]


async def seen(shop: Shop) -> None:
    """The engine has told of itself just now."""
    await shop.engine.reporting.tick()


def tasks(shop: Shop) -> TaskService:
    return TaskService(Ground(shop.store, shop.clock))


def has(gate: Gate, **facts: Any) -> bool:
    """Whether these facts are told."""
    return {name: gate.facts.get(name) for name in facts} == facts


# Tasks that have ended, run, or are stopped


async def test_a_task_that_succeeded(shop: Shop) -> None:
    task_id = await shop.submit()
    await shop.look()
    shop.caller.end_all()
    await shop.settle()
    explained = await explain(shop, task_id)
    (gate,) = explained.gates
    assert (gate.gate, has(gate, endedAt=shop.clock.now(), attempts=1, statusCode=200)) == ("final", True)
    assert explained.summary == "It succeeded at 2023-11-14T22:13:20.000Z; retry it to run it once more."
    assert explained.estimate_at is None


async def test_a_task_that_failed_tells_of_what(shop: Shop) -> None:
    task_id = await shop.submit()
    await shop.look()
    shop.caller.end_all(DOWN)
    await shop.settle()
    gate = await held(shop, task_id)
    assert (gate.gate, has(gate, statusCode=503, error="the target answered 503")) == ("final", True)
    assert "failed at 2023-11-14T22:13:20.000Z after attempt 1: the target answered 503; retry it" in gate.text


async def test_a_task_that_was_revoked_tells_by_whom(shop: Shop) -> None:
    task_id = await shop.submit()
    await tasks(shop).revoke(shop.owner.id, task_id)
    gate = await held(shop, task_id)
    assert (gate.gate, gate.facts["detail"]) == ("final", "by its owner")
    assert "was revoked at 2023-11-14T22:13:20.000Z (by its owner)" in gate.text


async def test_a_task_that_runs(shop: Shop) -> None:
    task_id = await shop.submit(TaskConfig(timeout=7_000))
    await shop.look()
    await seen(shop)
    began = shop.clock.now()
    shop.clock.advance(3_000)
    gate = await held(shop, task_id)
    (engine,) = await shop.store.engines()
    assert gate.gate == "running"
    told = {"attempt": 1, "startedAt": began, "deadlineAt": began + 7_000, "leaseUntil": began + 30_000}
    assert has(gate, engine=engine.number, **told)
    assert gate.until == began + 7_000
    assert f"it runs now on engine {engine.number}: attempt 1, since 2023-11-14T22:13:20.000Z" in gate.text
    operators = await held(shop, task_id, operator=True)
    assert f"(process {engine.facts.pid} on {engine.facts.host})" in operators.text
    assert engine.facts.host not in gate.text


async def test_the_deadline_of_a_first_attempt_and_of_a_handler(open_shop: OpenShop) -> None:
    shop = await open_shop(None, ScriptedHandlers({"@mail": Known(5, timeout_ms=9_000)}))
    first = await shop.submit(TaskConfig(timeout_at=shop.clock.now() + 1_500))
    mail, own = await shop.submit_handler(HandlerCall("mail")), HandlerCall("mail", own_timeout=True)
    chosen = await shop.submit_handler(own, TaskConfig(timeout=400))
    async with working(shop):
        await shop.until(lambda: len(shop.engine.inflight) == 3)
        await seen(shop)
        now = shop.clock.now()
        deadlines = [(await held(shop, task_id)).until for task_id in (first, mail, chosen)]
    assert deadlines == [now + 1_500, now + 9_000, now + 400]


async def test_a_task_whose_engine_lost_its_lease(shop: Shop) -> None:
    task_id = await shop.submit()
    await shop.look()
    began = shop.clock.now()
    shop.clock.advance(31_000)
    gate = await held(shop, task_id)
    assert (gate.gate, gate.until, gate.facts["leaseUntil"]) == ("running", None, began + 30_000)
    assert "was not heard of any more: its lease ended at 2023-11-14T22:13:50.000Z" in gate.text


@pytest.mark.parametrize("by", ["by its owner", "by the operator"])
async def test_a_paused_task_tells_by_whom_and_when(shop: Shop, by: str) -> None:
    task_id = await shop.submit(delay=90_000)
    shop.clock.advance(30_000)
    await tasks(shop).pause(shop.owner.id if by == "by its owner" else None, task_id)
    paused_at = shop.clock.now()
    shop.clock.advance(3_600_000)
    gate = await held(shop, task_id)
    assert (gate.gate, has(gate, pausedAt=paused_at, detail=by, remainingMs=60_000)) == ("paused", True)
    assert f"paused at 2023-11-14T22:13:50.000Z ({by}); resume it: 1 min of its wait are left" in gate.text


async def test_another_owners_task_is_not_there(shop: Shop) -> None:
    task_id = await shop.submit()
    stranger = await shop.world.owner()
    for asked in (task_id, "0" * 24, "../etc"):
        with pytest.raises(NotFound):
            await ExplainService(Ground(shop.store, shop.clock)).explain(stranger.id, asked)


# Its time


async def test_a_task_whose_time_has_not_come(shop: Shop) -> None:
    await seen(shop)
    task_id = await shop.submit(delay=3_600_000)
    explained = await explain(shop, task_id)
    gate = gates.closed(explained.gates)[0]
    due = shop.clock.now() + 3_600_000
    assert (gate.gate, gate.until, explained.estimate_at) == ("due", due, due)
    assert explained.summary == "It is due in 1 h, at 2023-11-14T23:13:20.000Z."


async def test_a_task_that_waits_for_a_retry_tells_after_which_error(shop: Shop) -> None:
    task_id = await shop.submit(TaskConfig(retry=4, retry_interval=60_000))
    await shop.look()
    shop.caller.end_all(DOWN)
    await shop.settle()
    gate = await held(shop, task_id)
    assert gate.gate == "due"
    assert has(gate, retry=1, retriesMax=4, error="the target answered 503", statusCode=503)
    assert "retry 1 of 4 after: the target answered 503; it comes in 1 min" in gate.text


async def test_retries_of_a_handler_are_those_of_its_registration(open_shop: OpenShop) -> None:
    handlers = ScriptedHandlers({"@mail": Known(5, retries_max=9, retry_interval_ms=60_000)})
    shop = await open_shop(None, handlers)
    task_id = await shop.submit_handler(HandlerCall("mail"))
    async with working(shop):
        await shop.until(lambda: bool(handlers.sent))
        handlers.end(next(iter(handlers.sent)), DOWN)
        await shop.until(lambda: not len(shop.engine.inflight))
        await shop.engine.settler.drained()
        await seen(shop)
        assert (await held(shop, task_id)).facts["retriesMax"] == 9


async def test_a_task_that_waits_for_a_repeat(shop: Shop) -> None:
    task_id = await shop.submit(TaskConfig(repeat=3, repeat_interval=60_000))
    await shop.look()
    shop.caller.end_all()
    await shop.settle()
    gate = await held(shop, task_id)
    assert (gate.gate, has(gate, repeat=1, repeatsMax=3)) == ("due", True)
    assert "repeat 1 of 3 comes in 1 min" in gate.text


async def test_a_task_that_expires_before_it_is_due(shop: Shop) -> None:
    """A pause moved its time beyond its end."""
    expire_at = shop.clock.now() + 90_000
    task_id = await shop.submit(TaskConfig(expire_at=expire_at), delay=60_000)
    await tasks(shop).pause(shop.owner.id, task_id)
    shop.clock.advance(50_000)
    await tasks(shop).resume(shop.owner.id, task_id)
    explained = await explain(shop, task_id)
    gate = gates.closed(explained.gates)[0]
    assert (gate.gate, gate.facts["expireAt"], explained.estimate_at) == ("expiry", expire_at, None)
    assert "before it is due" in gate.text
    shop.clock.advance(50_000)
    assert "it expired at 2023-11-14T22:14:50.000Z" in (await held(shop, task_id)).text


async def test_a_clock_that_was_set_back(shop: Shop) -> None:
    task_id = await shop.submit()
    shop.clock.advance(-60_000)
    await seen(shop)
    gate = await held(shop, task_id)
    assert (gate.gate, gate.facts["aheadMs"]) == ("clock", 60_000)


# Engines


async def test_no_engine_was_ever_there(shop: Shop) -> None:
    explained = await explain(shop, await shop.submit())
    gate = gates.closed(explained.gates)[0]
    assert (gate.gate, has(gate, alive=0, lastSeenAt=None)) == ("engine", True)
    assert explained.summary == "No engine has ever run on this database."
    assert (explained.engines_alive, explained.engine_seen_at, explained.estimate_at) == (0, None, None)


async def test_the_engine_was_stopped(shop: Shop) -> None:
    async with working(shop):
        await shop.until(lambda: shop.engine.dispatcher.looked_at > 0)
    stopped = shop.clock.now()
    shop.clock.advance(60_000)
    gate = await held(shop, await shop.submit())
    assert (gate.gate, has(gate, alive=0, lastSeenAt=stopped)) == ("engine", True)
    assert "since 2023-11-14T22:13:20.000Z, when the last one was stopped" in gate.text


async def test_the_engine_is_silent(shop: Shop) -> None:
    await seen(shop)
    shop.clock.advance(SILENT_MS + 1)
    explained = await explain(shop, await shop.submit())
    gate = gates.closed(explained.gates)[0]
    assert gate.gate == "engine"
    assert "no engine has been heard of since 2023-11-14T22:13:20.000Z" in gate.text
    assert (explained.engines_alive, explained.engine_seen_at) == (0, shop.clock.now() - SILENT_MS - 1)


async def test_no_engine_sends_requests(open_shop: OpenShop) -> None:
    shop = await open_shop(EngineConfig(http=False))
    await seen(shop)
    gate = await held(shop, await shop.submit())
    assert (gate.gate, has(gate, alive=1, takers=0)) == ("http", True)
    curl = await shop.submit_handler(HandlerCall("curl", "http://a.example/"))
    assert (await explain(shop, curl)).runnable


async def test_no_worker_knows_the_handler(shop: Shop) -> None:
    await seen(shop)
    task_id = await shop.submit_handler(HandlerCall("send-email"))
    gate = await held(shop, task_id)
    (engine,) = await shop.store.engines()
    assert (gate.gate, gate.facts["handler"], gate.facts["takers"]) == ("handler", "send-email", 0)
    assert gate.facts["engines"] == [f"engine {engine.number}"]
    assert gate.text == "1 engine is running, none of them knows the handler send-email"
    await shop.look()
    assert len(shop.engine.inflight) == 0, "the engine sees it the same way"


async def test_the_database_refuses_the_engines(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    task_id = await shop.submit()

    async def refuse(*_: object) -> None:
        raise Busy("somebody else writes")

    monkeypatch.setattr(shop.store, "claim", refuse)
    async with working(shop):
        await shop.until(lambda: shop.engine.dispatcher.trouble is not None)
        await seen(shop)
        gate = await held(shop, task_id)
    assert (gate.gate, gate.facts["codes"]) == ("database", ["store_busy"])


# Room


async def test_all_slots_are_taken_by_whomever(open_shop: OpenShop) -> None:
    shop = await open_shop(EngineConfig(concurrency_max=4, per_target_max=4))
    stranger = await shop.world.owner()
    for number in range(4):
        await shop.world.submit(stranger, target=f"{number}.example:80")
    await shop.submit(target="own.example:80")
    await shop.look()
    await shop.look()
    await seen(shop)
    task_id = await shop.submit()
    gate = await held(shop, task_id)
    assert (gate.gate, has(gate, taken=4, slots=4)) == ("slots", True)
    await shop.look()
    assert len(shop.caller.sent) == 4, "the engine sees it the same way"
    assert stranger.id not in str(msgspec.to_builtins((await explain(shop, task_id)).gates))
    assert stranger.name not in str(msgspec.to_builtins((await explain(shop, task_id)).gates))


async def test_the_owner_has_its_share(open_shop: OpenShop) -> None:
    shop = await open_shop(EngineConfig(concurrency_max=10, per_target_max=10))
    for number in range(9):
        await shop.submit(target=f"{number}.example:80")
    await shop.look()
    await seen(shop)
    task_id = await shop.submit()
    gate = await held(shop, task_id)
    assert (gate.gate, has(gate, taken=9, ownerMax=9)) == ("owner_share", True)
    assert "9 of the 9 slots that one owner may have" in gate.text
    await shop.look()
    assert len(shop.caller.sent) == 9
    stranger = await shop.world.submit(await shop.world.owner())
    assert (await explain(shop, stranger.id, operator=True)).runnable


async def test_the_host_is_at_its_limit(open_shop: OpenShop) -> None:
    shop = await open_shop(EngineConfig(concurrency_max=10, per_target_max=2))
    stranger = await shop.world.owner()
    await shop.submit(target="slow.example:80")
    await shop.world.submit(stranger, target="slow.example:80")
    await shop.look()
    await seen(shop)
    task_id = await shop.submit(target="slow.example:80")
    gate = await held(shop, task_id)
    assert (gate.gate, has(gate, host="slow.example:80", taken=2, hostMax=2)) == ("host", True)
    await shop.look()
    assert len(shop.caller.sent) == 2
    assert (await explain(shop, await shop.submit(target="quick.example:80"))).runnable


async def test_the_handler_is_at_its_limit_and_so_are_all_together(open_shop: OpenShop) -> None:
    known = {"@mail": Known(concurrency_max=1), "@print": Known(5), "@scan": Known(5)}
    shop = await open_shop(None, ScriptedHandlers(known, runs_max=2))
    shop.engine.executor.start()
    shop.engine._handlers_changed()
    await shop.submit_handler(HandlerCall("mail"))
    await shop.look()
    await seen(shop)
    gate = await held(shop, await shop.submit_handler(HandlerCall("mail")))
    assert (gate.gate, has(gate, handler="mail", taken=1, handlerMax=1)) == ("handler_limit", True)
    await shop.submit_handler(HandlerCall("print"))
    await shop.look()
    gate = await held(shop, await shop.submit_handler(HandlerCall("scan")))
    assert (gate.gate, has(gate, handler="scan", taken=0, runs=2, runsMax=2)) == ("handler_limit", True)
    curl = await shop.submit_handler(HandlerCall("curl", "http://a.example/"))
    assert (await explain(shop, curl)).runnable, "those that are built in are not counted among them"


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
    assert "due since 1 s 500 ms" in gate.text
    assert explained.estimate_at is None


# Lanes


async def limit_lane(shop: Shop, name: str = "default", **settings: Any) -> None:
    await LaneService(Ground(shop.store, shop.clock)).put(shop.owner.id, name, settings, "owner")


@pytest.mark.parametrize(("by", "text"), [("owner", "by its owner"), ("operator", "by the operator")])
async def test_its_lane_is_paused(shop: Shop, by: PausedBy, text: str) -> None:
    await seen(shop)
    task_id = await shop.submit()
    lanes = LaneService(Ground(shop.store, shop.clock))
    await lanes.pause(shop.owner.id, "default", by)
    gate = await held(shop, task_id)
    assert (gate.gate, has(gate, lane="default", pausedAt=shop.clock.now(), by=by)) == ("lane_paused", True)
    assert f"its lane default was paused {text} at 2023-11-14T22:13:20.000Z; resume the lane" in gate.text
    await shop.look()
    assert not shop.caller.sent, "the engine sees it the same way"
    await lanes.resume(shop.owner.id, "default")
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


def test_every_gate_is_made_here() -> None:
    """A gate that no test makes is none that anybody can trust."""
    text = Path(__file__).read_text()
    assert [name for name in KINDS if f'"{name}"' not in text] == []
