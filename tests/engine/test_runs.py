"""How the engine deals with handler tasks: which it takes, by which rules they run, and the handlers it has itself."""

import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tasks_server.clock import ManualClock
from tasks_server.domain import lifecycle, limits
from tasks_server.domain.attempt import Outcome, OutcomeKind
from tasks_server.domain.defaults import VERSIONS
from tasks_server.domain.forms import encode_spec
from tasks_server.domain.request import NO_FALLBACK, Fallback, HandlerCall, TaskConfig
from tasks_server.domain.task import State
from tasks_server.engine import executor
from tasks_server.engine.loop import EngineConfig
from tasks_server.engine.runs import Known
from tasks_server.store.ports import Change

from ..store.adapters import ADAPTERS
from ..store.world import World
from .scripted import ScriptedHandlers
from .shop import Shop, working

BROKEN = Outcome(OutcomeKind.HANDLER_ERROR, status_code=500, error="ValueError: no")


@pytest.fixture
async def open_shop(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Callable[..., Any]]:
    async with contextlib.AsyncExitStack() as stack:

        async def make(
            known: dict[str, Known] | None = None,
            runs_max: int | None = None,
            config: EngineConfig | None = None,
            store: str = "sqlite-memory",
        ) -> tuple[Shop, ScriptedHandlers]:
            adapter = ADAPTERS[store]
            opened = adapter.make(tmp_path, clock)
            await opened.open()
            stack.push_async_callback(opened.close)
            world = World(opened, clock, adapter, tmp_path)
            handlers = ScriptedHandlers(known or {"@mail": Known(concurrency_max=10)}, runs_max)
            shop = Shop(world, await world.owner(), config or EngineConfig(), handlers)
            shop.engine.executor.start()
            shop.engine._handlers_changed()
            return shop, handlers

        yield make


async def test_a_handler_task_goes_to_who_runs_handlers(open_shop: Callable[..., Any]) -> None:
    shop, handlers = await open_shop()
    task_id = await shop.submit_handler(HandlerCall("mail", b'{"to": ["a"], "n": 1.0}'))
    assert await shop.look() == [], "no HTTP call"
    ((token, run),) = handlers.sent.items()
    assert (run.name, run.payload, run.task_id, run.attempt, run.timeout_ms) == (
        "mail", b'{"to": ["a"], "n": 1.0}', task_id, 1, 30_000,
    )  # fmt: skip
    handlers.end(token, Outcome(OutcomeKind.SUCCESS, 200, response=b"[1]"))
    await shop.settle()
    task = await shop.task(task_id)
    assert (task.state, task.status_code, task.response) == (State.COMPLETED, 200, b"[1]")


@pytest.mark.parametrize(
    ("outcome", "ignored", "state"),
    [
        (Outcome(OutcomeKind.TIMEOUT, status_code=408), [408], State.FAILED),
        (Outcome(OutcomeKind.TIMEOUT, status_code=408), [500], State.RETRYABLE),
        (BROKEN, [500], State.FAILED),
        (BROKEN, [408], State.RETRYABLE),
    ],
)
async def test_statuses_of_handlers_are_ignored_as_those_of_targets(
    open_shop: Callable[..., Any], outcome: Outcome, ignored: list[int], state: State
) -> None:
    shop, handlers = await open_shop()
    config = TaskConfig(retry=3, retry_interval=1_000, ignore_status_code=ignored)
    task_id = await shop.submit_handler(HandlerCall("mail"), config)
    await shop.look()
    handlers.end(next(iter(handlers.sent)), outcome)
    await shop.settle()
    assert (await shop.task(task_id)).state is state


async def test_names_that_nobody_here_knows_are_left_alone(open_shop: Callable[..., Any]) -> None:
    shop, handlers = await open_shop()
    strange = [await shop.submit_handler(HandlerCall(f"strange-{number}")) for number in range(70)]
    known = await shop.submit_handler(HandlerCall("mail"))
    looks = 0
    while await shop.engine.dispatcher.look() == 0:
        looks += 1
        assert looks < 10, "the dispatcher comes to rest"
    assert [run.task_id for run in handlers.sent.values()] == [known]
    assert {(await shop.task(task_id)).state for task_id in strange} == {State.AVAILABLE}


async def test_a_name_that_becomes_known_is_taken_at_once(open_shop: Callable[..., Any]) -> None:
    shop, handlers = await open_shop()
    task_id = await shop.submit_handler(HandlerCall("late"))
    async with working(shop):
        await shop.submit_handler(HandlerCall("mail"))
        await shop.until(lambda: len(handlers.sent) == 1)
        handlers.learn({"@mail": Known(10), "@late": Known(10)})
        await shop.until(lambda: task_id in {run.task_id for run in handlers.sent.values()})


async def test_each_handler_has_a_limit_of_its_own(open_shop: Callable[..., Any]) -> None:
    shop, handlers = await open_shop({"@few": Known(2), "@many": Known(5)}, config=EngineConfig(per_target_max=3))
    for _ in range(8):
        await shop.submit_handler(HandlerCall("few"))
        await shop.submit_handler(HandlerCall("many"))
        await shop.submit()
    for _ in range(3):
        await shop.look()
    names = [run.name for run in handlers.sent.values()]
    assert (names.count("few"), names.count("many"), len(shop.caller.sent)) == (2, 5, 3)
    handlers.end(next(token for token, run in handlers.sent.items() if run.name == "few"))
    await shop.settle()
    await shop.look()
    assert [run.name for run in handlers.sent.values()].count("few") == 2, "what freed is taken"


async def test_all_handlers_have_a_limit_together(open_shop: Callable[..., Any]) -> None:
    shop, handlers = await open_shop({"@a": Known(4), "@b": Known(4)}, runs_max=5)
    for _ in range(4):
        await shop.submit_handler(HandlerCall("a"))
        await shop.submit_handler(HandlerCall("b"))
        await shop.submit()
    for _ in range(3):
        await shop.look()
    assert (len(handlers.sent), len(shop.caller.sent)) == (5, 4)


async def test_an_engine_for_handlers_leaves_http_to_others(open_shop: Callable[..., Any]) -> None:
    shop, handlers = await open_shop(config=EngineConfig(http=False))
    call = await shop.submit()
    await shop.submit_handler(HandlerCall("mail"))
    await shop.look()
    assert (len(shop.caller.sent), len(handlers.sent)) == (0, 1)
    assert (await shop.task(call)).state is State.AVAILABLE


@pytest.mark.parametrize("store", ADAPTERS)
async def test_an_error_is_recorded_whatever_its_text(open_shop: Callable[..., Any], store: str) -> None:
    shop, handlers = await open_shop(store=store)
    odd, plain = await shop.submit_handler(HandlerCall("mail")), await shop.submit_handler(HandlerCall("mail"))
    await shop.look()
    for token, run in list(handlers.sent.items()):
        error = "a\0b caf\udce9.txt " + "x" * 1_000 if run.task_id == odd else "no"
        handlers.end(token, Outcome(OutcomeKind.HANDLER_ERROR, 500, error))
    await shop.settle()
    task = await shop.task(odd)
    assert (task.state, (await shop.task(plain)).error) == (State.FAILED, "no")
    assert (task.error or "").startswith("a\\x00b caf\\udce9.txt xxx")
    assert len(task.error or "") == limits.ERROR_LENGTH_MAX
    (attempt,) = await shop.store.attempts(shop.owner.id, odd)
    assert attempt.error == task.error


BY_NAME = Fallback(3, 500, "exponential")
REGISTERED = Known(10, timeout_ms=60_000, retries_max=2, retry_interval_ms=7_000, backoff="fixed")


@pytest.mark.parametrize(
    ("known", "said", "fallback", "expected"),
    [
        (REGISTERED, {}, NO_FALLBACK, (60_000, 2, 7_000, "fixed")),
        (REGISTERED, {"retry": 0}, NO_FALLBACK, (60_000, 0, 7_000, "fixed")),
        (REGISTERED, {"timeout": 5_000}, BY_NAME, (5_000, 2, 7_000, "fixed")),
        (REGISTERED, {"retry_interval": 1}, BY_NAME, (60_000, 2, 1, "fixed")),
        (REGISTERED, {"retry_backoff": "linear"}, BY_NAME, (60_000, 2, 7_000, "linear")),
        (REGISTERED, {"retry_exponential": True}, BY_NAME, (60_000, 2, 7_000, "linear")),
        (REGISTERED, {"retry_at": 9}, BY_NAME, (60_000, 1, 7_000, "fixed")),
        (Known(10), {}, NO_FALLBACK, (30_000, 0, 1_000, "exponential")),
        (Known(10), {}, BY_NAME, (30_000, 3, 500, "exponential")),
        (Known(10), {"retry": 9}, BY_NAME, (30_000, 9, 500, "exponential")),
        (Known(10), {"retry": 9}, NO_FALLBACK, (30_000, 9, 1_000, "exponential")),
        (Known(10, retry_base_ms=70), {"retry": 9}, NO_FALLBACK, (30_000, 9, 70, "exponential")),
        (Known(10, retry_base_ms=70), {"retry": 9, "retry_exponential": False}, NO_FALLBACK, (30_000, 9, 70, "fixed")),
        (Known(10, retries_max=4), {}, NO_FALLBACK, (30_000, 4, 1_000, "exponential")),
        (Known(10, retries_max=4), {}, BY_NAME, (30_000, 4, 500, "exponential")),
        (Known(10, retries_max=4), {"retry": 2}, NO_FALLBACK, (30_000, 2, 1_000, "exponential")),
        (Known(10, retries_max=4, retry_base_ms=70), {}, NO_FALLBACK, (30_000, 4, 70, "exponential")),
        (Known(10, retries_max=4), {"retry_interval": 70}, NO_FALLBACK, (30_000, 4, 70, "linear")),
        (Known(10, retry_interval_ms=50), {"retry": 9}, BY_NAME, (30_000, 9, 50, "exponential")),
        (Known(10, backoff="fixed"), {"retry": 9}, BY_NAME, (30_000, 9, 500, "fixed")),
    ],
)
def test_what_the_task_says_wins_over_the_registration(
    known: Known, said: dict[str, Any], fallback: Fallback, expected: Any
) -> None:
    config = known.applied_to(TaskConfig(priority=3, **said), HandlerCall("mail", fallback=fallback))
    policy = config.retry_policy()
    assert (config.timeout_ms, policy.retries_max, policy.interval_ms, policy.backoff) == expected
    assert config.priority == 3


async def test_failures_follow_the_registration(open_shop: Callable[..., Any]) -> None:
    shop, handlers = await open_shop({"@mail": REGISTERED})
    task_id = await shop.submit_handler(HandlerCall("mail"))
    waits = []
    for _ in range(3):
        await shop.look()
        ((token, run),) = handlers.sent.items()
        assert run.timeout_ms == 60_000
        handlers.end(token, BROKEN)
        await shop.settle()
        task = await shop.task(task_id)
        waits.append((task.state, task.due_at - shop.clock.now()))
        shop.clock.advance(7_000)
    assert waits[:2] == [(State.RETRYABLE, 7_000)] * 2
    assert waits[2][0] is State.FAILED
    assert (task.status_code, task.error) == (500, "ValueError: no")


async def test_a_handler_sets_its_own_wait(open_shop: Callable[..., Any]) -> None:
    """Unlike a target's Retry-After, which only makes the wait longer."""
    shop, handlers = await open_shop({"@mail": REGISTERED})
    task_id = await shop.submit_handler(HandlerCall("mail"))
    for wait_ms in (50, 100_000_000):
        await shop.look()
        (token,) = handlers.sent
        handlers.end(token, Outcome(OutcomeKind.HANDLER_ERROR, 500, error="later", wait_ms=wait_ms))
        await shop.settle()
        task = await shop.task(task_id)
        assert (task.state, task.due_at - shop.clock.now()) == (State.RETRYABLE, wait_ms)
        shop.clock.advance(wait_ms)


async def test_runs_that_lost_their_right_are_stopped(open_shop: Callable[..., Any]) -> None:
    shop, handlers = await open_shop()
    task_id = await shop.submit_handler(HandlerCall("mail"))
    async with working(shop):
        await shop.until(lambda: len(handlers.sent) == 1)
        await shop.store.change(shop.owner.id, task_id, lambda task, _: Change(lifecycle.pause(task, shop.clock.now())))
        shop.store.hint_cancel()
        await shop.until(lambda: len(handlers.aborted) == 1)
    assert (await shop.task(task_id)).state is State.PAUSED
    assert handlers.stopped


async def test_a_stop_gives_runs_back_uncounted(open_shop: Callable[..., Any]) -> None:
    shop, handlers = await open_shop()
    task_id = await shop.submit_handler(HandlerCall("mail"))
    async with working(shop) as running:
        await shop.until(lambda: len(handlers.sent) == 1)
        shop.engine.stop(0)
        await running
    task = await shop.task(task_id)
    assert (handlers.stopped, task.state, task.failures) == (True, State.AVAILABLE, 0)
    [attempt] = await shop.store.attempts(shop.owner.id, task_id)
    assert (attempt.outcome, attempt.error) == (OutcomeKind.INTERRUPTED, "cut short")


async def test_a_name_that_was_lost_after_the_claim_is_given_back(open_shop: Callable[..., Any]) -> None:
    shop, handlers = await open_shop()
    task_id = await shop.submit_handler(HandlerCall("mail"))
    handlers._known = {}
    await shop.look()
    await shop.settle()
    task = await shop.task(task_id)
    assert (task.state, task.failures, task.attempt) == (State.AVAILABLE, 0, 1)


async def test_what_a_newer_version_stored_is_left_to_it(
    open_shop: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is held for a while, so that the engine does not claim it again and again, and given back uncounted."""
    shop, handlers = await open_shop()
    form = bytes([len(VERSIONS)])
    monkeypatch.setattr("tests.engine.shop.encode_spec", lambda spec: form + encode_spec(spec)[1:])
    tasks = [await shop.submit(), await shop.submit_handler(HandlerCall("mail"))]
    monkeypatch.setattr(executor, "_HOLD_SECONDS", 0.01)
    assert (await shop.look(), len(shop.engine.inflight)) == ([], 2)
    await shop.until(lambda: len(shop.engine.inflight) == 0)
    await shop.settle()
    for task_id in tasks:
        task = await shop.task(task_id)
        assert (task.state, task.failures, task.attempt) == (State.AVAILABLE, 0, 1)
        (attempt,) = await shop.store.attempts(shop.owner.id, task_id)
        assert attempt.outcome is OutcomeKind.INTERRUPTED
        assert "a newer version" in (attempt.error or "")
    assert not handlers.sent


async def test_default_logs_its_payload(open_shop: Callable[..., Any]) -> None:
    shop, _ = await open_shop()
    payload = '{"hello": "w\u00f6rld",\n "apiKey": "s3cret"}'
    task_id = await shop.submit_handler(HandlerCall("default", payload.encode()))
    assert await shop.look() == []
    await shop.settle()
    task = await shop.task(task_id)
    assert (task.state, task.status_code, task.response, task.attempt) == (State.COMPLETED, 200, None, 1)
    (line,) = [line for line in shop.lines if b"payload logged" in line]
    assert task_id.encode() in line
    assert '{"hello":"w\u00f6rld","apiKey":"***"}'.encode() in line


async def test_default_does_not_run_early(open_shop: Callable[..., Any]) -> None:
    shop, _ = await open_shop()
    task_id = await shop.submit_handler(HandlerCall("default", b'"soon"'), delay=20)
    await shop.look()
    await shop.settle()
    assert (await shop.task(task_id)).state is State.RUNNING
    assert not any(b"payload" in line for line in shop.lines)
    shop.clock.advance(20)
    await shop.until(lambda: any(b"payload" in line for line in shop.lines))
    await shop.settle()
    assert (await shop.task(task_id)).state is State.COMPLETED


async def test_default_holds_no_slot_when_the_clock_is_set_back(open_shop: Callable[..., Any]) -> None:
    shop, _ = await open_shop()
    task_id = await shop.submit_handler(HandlerCall("default", b'"soon"'), delay=20, remaining_ms=None)
    await shop.look()
    shop.clock.set(-3_600_000)
    await shop.until(lambda: not len(shop.engine.inflight))
    await shop.settle()
    assert (await shop.task(task_id)).state is State.SCHEDULED
    assert not any(b"payload" in line for line in shop.lines)


async def test_default_cuts_a_long_payload(open_shop: Callable[..., Any]) -> None:
    shop, _ = await open_shop()
    await shop.submit_handler(HandlerCall("default", b'"%s"' % (b"x" * 20_000)))
    await shop.look()
    (line,) = [line for line in shop.lines if b"payload logged" in line]
    assert len(line) < 3_000
    assert b"20002 characters" in line


async def test_curl_fetches_its_payload(open_shop: Callable[..., Any]) -> None:
    shop, _ = await open_shop()
    task_id = await shop.submit_handler(HandlerCall("curl", b'"http://a.example/x?y=1"'))
    [token] = await shop.look()
    request = shop.caller.sent[token].request
    assert (request.url, request.method) == ("http://a.example/x?y=1", "GET")
    shop.caller.end(token)
    await shop.settle()
    assert (await shop.task(task_id)).response == b"fine"


async def test_retries_of_the_built_in_wait_as_those_of_all_handlers(open_shop: Callable[..., Any]) -> None:
    """From the operator's base, where nothing else is said, whichever way the task came."""
    shop, _ = await open_shop(config=EngineConfig(retry_base_ms=7_000))
    task_id = await shop.submit_handler(
        HandlerCall("curl", b'"http://a.example/"'), TaskConfig(retry=2, retry_jitter=0)
    )
    for wait in (7_000, 14_000):
        [token] = await shop.look()
        shop.caller.end(token, Outcome(OutcomeKind.CONNECTION, error="refused"))
        await shop.settle()
        task = await shop.task(task_id)
        assert (task.state, task.due_at) == (State.RETRYABLE, shop.clock.now() + wait)
        shop.clock.advance(wait)


@pytest.mark.parametrize("payload", [None, 7, {"url": "http://a.example"}, "ftp://a.example", "a.example", "http://"])
async def test_curl_takes_urls_alone(open_shop: Callable[..., Any], payload: Any) -> None:
    shop, _ = await open_shop()
    task_id = await shop.submit_handler(HandlerCall("curl", msgspec.json.encode(payload)), TaskConfig(retry=5))
    assert await shop.look() == []
    await shop.settle()
    task = await shop.task(task_id)
    assert (task.state, task.status_code) == (State.FAILED, 422)
    assert (task.error or "").startswith("payload: ")
