"""Why a task does not run: each case made for real, with the true gate first among those that are closed."""

from pathlib import Path

import msgspec
import pytest

from tasks_server.domain import dates, gates
from tasks_server.domain.engines import LATE_MS, SILENT_MS, HandlersTrouble
from tasks_server.domain.errors import Busy, NotFound
from tasks_server.domain.gate import KINDS
from tasks_server.domain.owner import By, by_whom
from tasks_server.domain.request import HandlerCall, TaskConfig
from tasks_server.engine.loop import EngineConfig
from tasks_server.engine.runs import Known
from tasks_server.service.explain import ExplainService
from tasks_server.service.ground import Ground

from .explaining import explain, has, held, seen, tasks
from .scripted import DOWN, ScriptedHandlers
from .shop import OpenShop, Shop, working

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
    await tasks(shop).revoke(shop.owner.id, task_id, by="owner")
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


async def test_a_task_whose_engine_hangs(shop: Shop) -> None:
    """Told long before its lease ends, and before the engine counts as gone."""
    task_id = await shop.submit()
    await shop.look()
    await seen(shop)
    began = shop.clock.now()
    shop.clock.advance(LATE_MS)
    assert "it runs now on" in (await held(shop, task_id)).text
    shop.clock.advance(1)
    gate = await held(shop, task_id, operator=True)
    assert has(gate, silentSince=began)
    (engine,) = await shop.store.engines()
    who = f"engine {engine.number} (process {engine.facts.pid} on {engine.facts.host})"
    assert gate.text.startswith(f"{who} runs attempt 1 since 2023-11-14T22:13:20.000Z and has not been heard of since ")
    waiting = await explain(shop, await shop.submit())
    (others,) = [gate for gate in waiting.gates if gate.gate == "engine"]
    assert has(others, silent=[engine.number])
    assert "has not been heard of since" in others.text


async def test_the_deadline_of_a_first_attempt_and_of_a_handler(open_shop: OpenShop) -> None:
    shop = await open_shop(None, ScriptedHandlers({"@mail": Known(5, timeout_ms=9_000)}))
    first = await shop.submit(TaskConfig(timeout_at=shop.clock.now() + 1_500))
    mail = await shop.submit_handler(HandlerCall("mail"))
    chosen = await shop.submit_handler(HandlerCall("mail"), TaskConfig(timeout=400))
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
    assert "has not been heard of since: its lease ended at 2023-11-14T22:13:50.000Z" in gate.text


@pytest.mark.parametrize("in_the_owners_name", [True, False])
@pytest.mark.parametrize("by", ["owner", "operator"])
async def test_a_paused_task_tells_by_whom_and_when(shop: Shop, by: By, in_the_owners_name: bool) -> None:
    task_id = await shop.submit(delay=90_000)
    shop.clock.advance(30_000)
    await tasks(shop).pause(shop.owner.id if in_the_owners_name else None, task_id, by=by)
    paused_at = shop.clock.now()
    shop.clock.advance(3_600_000)
    gate = await held(shop, task_id)
    assert (gate.gate, has(gate, pausedAt=paused_at, detail=by_whom(by), remainingMs=60_000)) == ("paused", True)
    assert f"paused at 2023-11-14T22:13:50.000Z ({by_whom(by)}); resume it: 1 min of its wait are left" in gate.text


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
    assert explained.summary == "It is due in 1 h, at 2023-11-14T23:13:20.000Z. Wait, or run it now."


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
    await tasks(shop).pause(shop.owner.id, task_id, by="owner")
    shop.clock.advance(50_000)
    await tasks(shop).resume(shop.owner.id, task_id, by="owner")
    explained = await explain(shop, task_id)
    gate = gates.closed(explained.gates)[0]
    assert (gate.gate, gate.facts["expireAt"], explained.estimate_at) == ("expiry", expire_at, None)
    assert "before it is due" in gate.text
    shop.clock.advance(50_000)
    assert "it expired at 2023-11-14T22:14:50.000Z" in (await held(shop, task_id)).text


async def test_a_clock_that_was_set_back(shop: Shop) -> None:
    """A wait that began by the clock before begins now. What waits for an instant, waits for it."""
    waits = await shop.submit(delay=5_000)
    due = shop.clock.now() + 5_000
    instant = await shop.submit(delay=5_000, remaining_ms=None)
    assert (await held(shop, waits)).gate == (await held(shop, instant)).gate == "due"
    await shop.engine.keeper.tick()
    shop.clock.set(-60_000)
    await seen(shop)
    gate = await held(shop, waits)
    assert (gate.gate, gate.until) == ("clock", shop.clock.now() + 5_000)
    while await shop.engine.keeper.tick():
        pass
    gate = await held(shop, waits)
    assert (gate.gate, gate.until) == ("due", shop.clock.now() + 5_000)
    assert (await held(shop, instant)).gate == "due"
    shop.clock.advance(5_000)
    gate = await held(shop, instant)
    assert (gate.gate, gate.until, gate.facts["setBackMs"]) == ("clock", due, 60_000)
    assert "the clock was set back by 1 min at 2023-11-14T22:12:20.000Z" in gate.text


async def test_a_task_in_line_is_not_held_by_a_clock_that_was_set_back(shop: Shop) -> None:
    task_id = await shop.submit()
    await shop.engine.keeper.tick()
    shop.clock.set(-60_000)
    await shop.engine.keeper.tick()
    await seen(shop)
    explained = await explain(shop, task_id)
    assert explained.runnable, explained.summary
    assert [gate.gate for gate in explained.gates if gate.closed] == []


# Engines


async def test_no_engine_was_ever_there(shop: Shop) -> None:
    explained = await explain(shop, await shop.submit())
    gate = gates.closed(explained.gates)[0]
    assert (gate.gate, has(gate, alive=0, lastSeenAt=None)) == ("engine", True)
    assert explained.summary.startswith("No engine has ever run on this database. Start one: ")
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
    curl = await shop.submit_handler(HandlerCall("curl", b'"http://a.example/"'))
    assert (await explain(shop, curl)).runnable


async def test_no_worker_knows_the_handler(shop: Shop) -> None:
    await seen(shop)
    task_id = await shop.submit_handler(HandlerCall("send-email"))
    gate = await held(shop, task_id)
    (engine,) = await shop.store.engines()
    assert (gate.gate, gate.facts["handler"], gate.facts["takers"]) == ("handler", "send-email", 0)
    assert gate.facts["engines"] == [f"engine {engine.number}"]
    assert gate.text == "no engine that is running knows the handler send-email (1 running)"
    await shop.look()
    assert len(shop.engine.inflight) == 0, "the engine sees it the same way"


@pytest.mark.parametrize("operator", [False, True])
async def test_an_engine_cannot_import_its_handlers(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, operator: bool
) -> None:
    trouble = HandlersTrouble(shop.clock.now(), "ModuleNotFoundError: No module named 'shop'")
    monkeypatch.setattr(shop.engine.reporting, "_handlers_trouble", lambda: trouble)
    await seen(shop)
    task_id = await shop.submit_handler(HandlerCall("send-email"))
    gate = await held(shop, task_id, operator=operator)
    (engine,) = await shop.store.engines()
    named = f"engine {engine.number}" + (f" (process {engine.facts.pid} on {engine.facts.host})" if operator else "")
    assert gate.facts["cannotImport"] == [named]
    said = f": {trouble.error}" if operator else ""
    assert gate.text == (
        "no engine that is running knows the handler send-email (1 running); "
        f"{named} cannot import its handlers since {dates.shown(trouble.since)} and goes on trying{said}"
    )


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
    await shop.world.submit(stranger, target="0.example:80")
    for number in (1, 2):
        await shop.world.submit(await shop.world.owner(), target=f"{number}.example:80")
    await shop.look()
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
    assert "9 slots are taken by tasks of this owner; owners may fill 9, and 1 more is kept" in gate.text
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
    curl = await shop.submit_handler(HandlerCall("curl", b'"http://a.example/"'))
    assert (await explain(shop, curl)).runnable, "those that are built in are not counted among them"


def test_every_gate_is_made_here() -> None:
    """A gate that no test makes is none that anybody can trust."""
    text = "".join(path.read_text() for path in Path(__file__).parent.glob("test_explain*.py"))
    assert [name for name in KINDS if f'"{name}"' not in text] == []
