"""What an answer comes to, from the target back into the store: whether it is tried again, what is kept of it."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tasks_server.clock import ManualClock
from tasks_server.domain.attempt import OutcomeKind, Redirected
from tasks_server.domain.task import State
from tasks_server.store.filtering import TaskFilter
from tasks_server.store.journal import LogQuery
from tasks_server.store.ports import Store, TaskQuery
from tests.engine.http.delivery import Delivery
from tests.engine.http.driver import RESPONSE_MAX_BYTES
from tests.engine.http.target import Target, answer, redirect
from tests.store.adapters import ADAPTERS
from tests.store.world import World

LARGE = b"x" * 40 * RESPONSE_MAX_BYTES
FIRST = LARGE[:RESPONSE_MAX_BYTES]
RETRIED: dict[str, Any] = {"executionDelay": 0, "retry": 2, "retryInterval": 1_000, "retryExponential": False}


@pytest.fixture(params=["sqlite-memory", "postgres"])
async def store(request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock) -> AsyncIterator[Store]:
    store = ADAPTERS[request.param].make(tmp_path, clock)
    await store.open()
    yield store
    await store.close()


@pytest.fixture
async def delivery(store: Store, tmp_path: Path, clock: ManualClock) -> AsyncIterator[Delivery]:
    owner = await World(store, clock, ADAPTERS["sqlite-memory"], tmp_path).owner()
    delivery = Delivery(store, owner.id, clock)
    delivery.start()
    yield delivery
    await delivery.stop()


@pytest.mark.parametrize(
    ("status", "headers", "config", "called"),
    [
        (503, {}, {}, [0, 1_000, 2_000]),
        (410, {}, {}, [0]),
        (503, {"X-Tasks-No-Retry": "true"}, {}, [0]),
        (404, {}, {"ignoreStatusCode": [404]}, [0]),
        (429, {"Retry-After": "3600"}, {}, [0, 3_600_000, 7_200_000]),
    ],
)
async def test_a_large_body_changes_nothing_of_what_comes_next(
    delivery: Delivery, store: Store, target: Target,
    status: int, headers: dict[str, str], config: dict[str, Any], called: list[int],
) -> None:  # fmt: skip
    target.scripts["/"] = answer(status, LARGE, **{name.replace("-", "_"): text for name, text in headers.items()})
    task = await delivery.submit(target.url(), RETRIED | config, "POST", data="x")
    assert await delivery.calls(task, target) == called
    ended = await delivery.task(task)
    assert (ended.state, ended.status_code, ended.error) == (State.FAILED, status, f"the target answered {status}")
    assert (ended.response, ended.response_truncated) == (FIRST, True)
    assert {(each.outcome, each.response_truncated) for each in await store.attempts(None, task)} == {
        (OutcomeKind.HTTP_ERROR, True)
    }
    # As dead letters are found.
    of_class = TaskFilter(statuses=(status // 100 * 100, status // 100 * 100 + 99))
    found = await store.tasks(TaskQuery(None, states=frozenset({State.FAILED}), filter=of_class))
    assert [each.id for each in found.tasks] == [task]


@pytest.mark.parametrize("trace", [True, False])
@pytest.mark.parametrize("status", [200, 304])
async def test_a_success_with_a_large_body_is_one(
    delivery: Delivery, store: Store, target: Target, trace: bool, status: int
) -> None:
    target.scripts["/"] = answer(status, LARGE if status == 200 else b"")
    task = await delivery.submit(target.url(), RETRIED | {"traceResponseData": trace}, "POST", data="x")
    assert await delivery.calls(task, target) == [0]
    ended = await delivery.task(task)
    assert (ended.state, ended.status_code) == (State.COMPLETED, status)
    is_truncated = trace and status == 200
    assert (ended.response, ended.response_truncated) == (FIRST if is_truncated else None, is_truncated)


@pytest.mark.parametrize("lines", ["X-Long: " + "x" * 110_000 + "\r\n", "X: 1\r\n" * 6_000], ids=["long", "many"])
async def test_headers_that_cannot_be_taken_in_are_tried_again(delivery: Delivery, target: Target, lines: str) -> None:
    target.scripts["/"] = f"HTTP/1.1 200 OK\r\n{lines}Content-Length: 2\r\n\r\nok".encode()
    task = await delivery.submit(target.url(), RETRIED, "POST", data="x")
    assert await delivery.calls(task, target) == [0, 1_000, 2_000]


async def test_history_tells_where_redirects_led(delivery: Delivery, store: Store, target: Target) -> None:
    target.scripts["/from"] = redirect(302, "/to?token=secret")
    task = await delivery.submit(target.url("/from"), {"executionDelay": 0}, "POST", data="x")
    assert await delivery.calls(task, target) == [0, 0]
    led = Redirected(1, "GET", target.url("/to?token=***"), method_changed=True)
    (attempt,) = await store.attempts(None, task)
    assert (attempt.outcome, attempt.status_code, attempt.redirected) == (OutcomeKind.SUCCESS, 200, led)
    (entry,) = (await store.log(LogQuery(None))).entries
    assert entry.attempt.redirected == led
