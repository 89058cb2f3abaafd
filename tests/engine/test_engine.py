"""The engine over a real store, with a clock that stands still and a caller that calls nobody."""

import asyncio

import pytest

from tasks_server.domain import lifecycle
from tasks_server.domain.attempt import Outcome, OutcomeKind
from tasks_server.domain.errors import StoreError, Unavailable
from tasks_server.domain.request import TaskConfig
from tasks_server.domain.task import State
from tasks_server.engine.loop import EngineConfig
from tasks_server.store.ports import Change
from tasks_server.store.settling import Report

from .scripted import DOWN, OK
from .shop import OpenShop, Shop, working


async def test_a_due_task_is_called_and_recorded(shop: Shop) -> None:
    task_id = await shop.submit()
    [token] = await shop.look()
    assert (await shop.task(task_id)).state is State.RUNNING
    shop.caller.end(token)
    await shop.settle()
    task = await shop.task(task_id)
    assert (task.state, task.status_code, task.response, task.attempt) == (State.COMPLETED, 200, b"fine", 1)
    [attempt] = await shop.store.attempts(shop.owner.id, task_id)
    assert attempt.outcome is OutcomeKind.SUCCESS


async def test_the_target_can_tell_task_and_attempt(shop: Shop) -> None:
    task_id = await shop.submit(TaskConfig(retry=3, retry_interval=1_000, retry_backoff="fixed"))
    [token] = await shop.look()
    assert shop.caller.headers(token) == {
        "X-Tasks-Queue-Id": task_id,
        "X-Tasks-Attempt": "1",
        "Idempotency-Key": task_id,
    }
    shop.caller.end(token, DOWN)
    await shop.settle()
    now = shop.clock.advance(1_000)
    [token] = await shop.look()
    headers = shop.caller.headers(token)
    assert headers["X-Tasks-Attempt"] == "2"
    assert headers["X-Tasks-Retry-Count"] == "1"
    assert headers["X-Tasks-Retry-Limit"] == "3"
    assert headers["X-Tasks-Estimate-Next-Retry-At"] == str(now + 1_000)


async def test_a_later_task_is_sent_for_its_very_millisecond(shop: Shop) -> None:
    await shop.submit(delay=60_000)
    assert await shop.look() == []
    shop.clock.advance(59_985)
    [token] = await shop.look()
    assert shop.caller.sent[token].start_at == shop.clock.now() + 15


async def test_the_dispatcher_sleeps_until_the_next_task_is_near(shop: Shop) -> None:
    await shop.submit(delay=4_000)
    assert await shop.engine.dispatcher.look() == pytest.approx(3.99)


async def test_retries_wait_and_end(shop: Shop) -> None:
    task_id = await shop.submit(TaskConfig(retry=1, retry_interval=5_000))
    [token] = await shop.look()
    shop.caller.end(token, DOWN)
    await shop.settle()
    task = await shop.task(task_id)
    assert (task.state, task.due_at, task.failures) == (State.RETRYABLE, shop.clock.now() + 5_000, 1)
    assert await shop.look() == []
    shop.clock.advance(5_000)
    [token] = await shop.look()
    shop.caller.end(token, DOWN)
    await shop.settle()
    task = await shop.task(task_id)
    assert (task.state, task.status_code, task.attempt) == (State.FAILED, 503, 2)


async def test_an_expired_task_is_not_sent(shop: Shop) -> None:
    task_id = await shop.submit(TaskConfig(expire_at=shop.clock.now() + 500))
    shop.clock.advance(500)
    assert await shop.look() == []
    await shop.settle()
    task = await shop.task(task_id)
    assert task.state is State.FAILED
    assert task.error == lifecycle.EXPIRED_ERROR


async def test_the_deadline_of_the_first_attempt_replaces_the_timeout(shop: Shop) -> None:
    await shop.submit(TaskConfig(timeout=30_000, timeout_at=shop.clock.now() + 2_000, retry=1, retry_interval=1))
    [token] = await shop.look()
    assert shop.caller.sent[token].timeout_ms == 2_000
    shop.caller.end(token, DOWN)
    await shop.settle()
    shop.clock.advance(10)
    [token] = await shop.look()
    assert shop.caller.sent[token].timeout_ms == 30_000


async def test_what_is_in_flight_is_bounded(open_shop: OpenShop) -> None:
    shop = await open_shop(EngineConfig(concurrency_max=10, per_target_max=4))
    for number in range(20):
        await shop.submit(target="slow.example:80" if number < 15 else "quick.example:80")
    await shop.look()
    await shop.look()
    flying = [call.request.url for call in shop.caller.sent.values()]
    assert flying.count("http://slow.example:80/") == 4
    assert flying.count("http://quick.example:80/") == 4


async def test_owners_who_hold_all_that_they_may_leave_a_slot_for_the_next(open_shop: OpenShop) -> None:
    shop = await open_shop(EngineConfig(concurrency_max=64, per_target_max=64))
    for number in range(5):
        silent = await shop.world.owner()
        for place in range(64):
            await shop.world.submit(silent, target=f"silent-{number}-{place}.example:80")
        await shop.look()
    for _ in range(10):
        await shop.look()
    held = len(await shop.look())
    assert 58 <= held < 64
    task_id = await shop.submit(target="own.example:80")
    assert len(await shop.look()) == held + 1
    assert (await shop.task(task_id)).state is State.RUNNING


async def test_an_unreadable_request_fails_with_a_reason(shop: Shop) -> None:
    new = shop.world.task(shop.owner, spec=b"\xc1 not ours")
    await shop.store.insert(new)
    assert await shop.look() == []
    await shop.settle()
    task = await shop.task(new.id)
    assert task.state is State.FAILED
    assert "the stored request of the task cannot be read" in (task.error or "")


async def test_a_store_in_trouble_loses_no_outcome(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    task_id = await shop.submit()
    [token] = await shop.look()
    shop.caller.end(token)

    async def refuse(_: object) -> set[int]:
        raise Unavailable("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(shop.store, "settle", refuse)
        await asyncio.sleep(0)
        assert not await shop.engine.settler.flush()
    assert (await shop.task(task_id)).state is State.RUNNING
    assert await shop.engine.settler.flush()
    assert (await shop.task(task_id)).state is State.COMPLETED


async def test_a_report_that_can_never_be_recorded_holds_up_no_other(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    cursed, blessed = await shop.submit(), await shop.submit()
    await shop.look()
    shop.caller.end_all()
    settle = shop.store.settle

    async def choke(reports: list[Report]) -> set[int]:
        if any(report.task_id == cursed for report in reports):
            raise StoreError("the database refused")
        return await settle(reports)

    monkeypatch.setattr(shop.store, "settle", choke)
    await shop.settle()
    assert (await shop.task(blessed)).state is State.COMPLETED
    assert (await shop.task(cursed)).state is State.RUNNING
    assert any(cursed.encode() in line for line in shop.lines)
    await shop.engine.settler.drained()


async def test_with_nothing_to_give_the_dispatcher_comes_to_rest(
    open_shop: OpenShop,
) -> None:
    """More targets than one look shows, all of them busy: looks walk over them once, then wait for a slot."""
    shop = await open_shop(EngineConfig(concurrency_max=1_000, per_target_max=1))
    for _ in range(2):
        for number in range(150):
            await shop.submit(target=f"host-{number:03}.example:80")
    shop.engine.executor.start()
    looks = 0
    while await shop.engine.dispatcher.look() == 0:
        looks += 1
        assert looks < 50
    assert len(shop.caller.sent) == 150


async def test_a_running_engine_takes_work_as_it_comes(shop: Shop) -> None:
    async with working(shop):
        for _ in range(3):
            await shop.submit()
            await shop.until(lambda: len(shop.caller.sent) == 1)
            shop.caller.end_all()
        await shop.engine.settler.drained()
    assert shop.caller.stopped


async def test_room_made_during_a_look_is_used(open_shop: OpenShop) -> None:
    shop = await open_shop(EngineConfig(concurrency_max=2, per_target_max=1))
    for _ in range(50):
        await shop.submit()
    seen: set[int] = set()
    async with working(shop):
        while len(seen) < 50:
            await shop.until(lambda: bool(shop.caller.sent))
            seen.update(shop.caller.sent)
            shop.caller.end_all()


async def test_a_call_of_a_paused_task_is_dropped(shop: Shop) -> None:
    task_id = await shop.submit(TaskConfig(retry=5))
    async with working(shop):
        await shop.until(lambda: len(shop.caller.sent) == 1)
        await shop.store.change(shop.owner.id, task_id, lambda task, _: Change(lifecycle.pause(task, shop.clock.now())))
        shop.store.hint_cancel()
        await shop.until(lambda: len(shop.caller.aborted) == 1)
    assert (await shop.task(task_id)).state is State.PAUSED


async def test_the_report_of_a_call_whose_task_was_revoked_is_refused(shop: Shop) -> None:
    task_id = await shop.submit()
    [token] = await shop.look()
    await shop.store.change(shop.owner.id, task_id, lambda task, _: Change(lifecycle.revoke(task, shop.clock.now())))
    shop.caller.end(token)
    await shop.settle()
    assert shop.engine.settler.lost == 1
    assert (await shop.task(task_id)).state is State.REVOKED


async def test_a_stopping_engine_lets_calls_finish(shop: Shop) -> None:
    task_id = await shop.submit()
    async with working(shop) as running:
        await shop.until(lambda: len(shop.caller.sent) == 1)
        shop.engine.stop(20)
        later = await shop.submit()
        shop.caller.end_all()
        await running
    assert (await shop.task(task_id)).state is State.COMPLETED
    assert (await shop.task(later)).state is State.AVAILABLE


async def test_a_call_cut_short_by_the_stop_is_no_failure(shop: Shop) -> None:
    task_id = await shop.submit()
    async with working(shop) as running:
        await shop.until(lambda: len(shop.caller.sent) == 1)
        shop.engine.stop(0)
        await running
    task = await shop.task(task_id)
    assert (task.state, task.failures, task.attempt) == (State.AVAILABLE, 0, 1)
    [attempt] = await shop.store.attempts(shop.owner.id, task_id)
    assert attempt.outcome is OutcomeKind.INTERRUPTED


async def test_a_dead_part_ends_the_engine_loudly(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    async def die() -> float:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(shop.engine.dispatcher, "look", die)
    with pytest.raises(ZeroDivisionError):
        await shop.engine.run()


async def test_a_task_of_a_worker_that_is_silent_runs_again(shop: Shop) -> None:
    task_id = await shop.submit()
    await shop.look()
    assert await shop.world.leases_end() == 1
    await shop.look()
    task = await shop.task(task_id)
    assert (task.state, task.attempt, task.failures) == (State.RUNNING, 2, 0)


async def test_repeats_follow_success(shop: Shop) -> None:
    task_id = await shop.submit(TaskConfig(repeat=1, repeat_interval=2_000))
    [token] = await shop.look()
    shop.caller.end(token)
    await shop.settle()
    assert (await shop.task(task_id)).state is State.SCHEDULED
    shop.clock.advance(2_000)
    [token] = await shop.look()
    assert shop.caller.headers(token)["X-Tasks-Repeat-Count"] == "1"
    assert shop.caller.headers(token)["Idempotency-Key"] == f"{task_id}-1"
    shop.caller.end(token, Outcome(OutcomeKind.SUCCESS, status_code=204))
    await shop.settle()
    task = await shop.task(task_id)
    assert (task.state, task.status_code) == (State.COMPLETED, 204)


async def test_retries_and_repeats_need_no_other_reason_to_run(shop: Shop) -> None:
    """Nothing else happens on this server: only what a settlement planned can wake the engine."""
    task_id = await shop.submit(TaskConfig(retry=2, retry_interval=1, repeat=2, repeat_interval=1))
    outcomes = iter([DOWN, DOWN, OK, OK, OK])
    async with working(shop):
        for outcome in outcomes:
            async with asyncio.timeout(2):  # an engine that nobody wakes looks every five seconds
                while not shop.caller.sent:
                    await asyncio.sleep(0.001)
            shop.clock.advance(10)
            shop.caller.end_all(outcome)
        await shop.until(lambda: not shop.caller.sent)
        await shop.engine.settler.drained()
    task = await shop.task(task_id)
    assert (task.state, task.attempt) == (State.COMPLETED, 5)
