"""Options of when and how often, from the registration of a task to its target, by a clock that the test moves."""

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tasks_server.clock import ManualClock
from tasks_server.domain.errors import InvalidRequest
from tasks_server.domain.task import State
from tests.engine.http.delivery import Delivery
from tests.engine.http.target import Connection, Received, Target, answer, hang
from tests.store.adapters import ADAPTERS
from tests.store.world import World

Deliver = Callable[..., Awaitable[Delivery]]
DOWN = answer(503, b"down")


@pytest.fixture
async def deliver(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Deliver]:
    adapter = ADAPTERS["sqlite-memory"]
    store = adapter.make(tmp_path, clock)
    await store.open()
    made: list[Delivery] = []

    async def start(**options: Any) -> Delivery:
        owner = await World(store, clock, adapter, tmp_path).owner()
        made.append(Delivery(store, owner.id, clock, **options))
        made[-1].start()
        return made[-1]

    yield start
    for one in made:
        await one.stop()
    await store.close()


@pytest.fixture
async def delivery(deliver: Deliver) -> Delivery:
    return await deliver()


def date(delivery: Delivery, after_ms: int) -> str:
    """The instant so long after the beginning, as ISO 8601."""
    return datetime.fromtimestamp((delivery.began_at + after_ms) / 1_000, UTC).isoformat(timespec="milliseconds")


def in_turns(*answers: bytes) -> Callable[[Connection, Received], Awaitable[None]]:
    """Gives these answers one after the other."""
    left = iter(answers)

    async def script(connection: Connection, _request: Received) -> None:
        await connection.send(next(left))

    return script


@pytest.mark.option("executionDelay", "executeAt")
@pytest.mark.parametrize(
    ("config", "due"),
    [
        ({}, 1),
        ({"executionDelay": 0}, 0),
        ({"executionDelay": 90_000}, 90_000),
        ({"executionDelay": "1.5m"}, 90_000),
        ({"executeAt": 60_000}, 60_000),
    ],
)
async def test_a_task_is_called_when_it_is_due(
    delivery: Delivery, target: Target, config: dict[str, Any], due: int
) -> None:
    if "executeAt" in config:
        config = {**config, "executeAt": date(delivery, config["executeAt"])}
    task = await delivery.submit(target.url("/a"), config)
    assert await delivery.calls(task, target) == [due]
    assert target.last.path == "/a"
    assert (await delivery.task(task)).response == b"ok"


@pytest.mark.option("timezone")
@pytest.mark.parametrize(
    ("zone", "hours"), [("Asia/Kolkata", 5.5), ("America/New_York", -5), (None, 0)], ids=["east", "west", "the server"]
)
async def test_a_date_without_a_zone_counts_in_that_of_the_task(
    delivery: Delivery, target: Target, zone: str | None, hours: float
) -> None:
    """The clock of these tests begins in November 2023."""
    at = delivery.began_at + 7 * 3_600_000
    there = datetime.fromtimestamp(at / 1_000 + hours * 3_600, UTC).isoformat(timespec="milliseconds")[:-6]
    task = await delivery.submit(target.url(), {"executeAt": there} | ({"timezone": zone} if zone else {}))
    assert await delivery.calls(task, target) == [7 * 3_600_000]


@pytest.mark.option("executeImmediately")
async def test_what_should_have_run_before_runs_at_once(delivery: Delivery, target: Target) -> None:
    past = {"executeAt": date(delivery, -3_600_000)}
    with pytest.raises(InvalidRequest, match="lies in the past"):
        await delivery.submit(target.url(), past)
    task = await delivery.submit(target.url(), {**past, "executeImmediately": True})
    assert await delivery.calls(task, target) == [0]


@pytest.mark.option("retry", "retryInterval", "retryExponential", "retryBackoff", "retryMaxInterval", "retryJitter")
@pytest.mark.parametrize(
    ("config", "waits"),
    [
        ({}, []),
        ({"retry": 4}, [900, 1_800, 3_600, 7_200]),  # half of a fifth is left to chance
        ({"retry": 2, "retryInterval": 1_000}, [1_000, 2_000]),
        ({"retry": 2, "retryExponential": True}, [1_000, 2_000]),
        ({"retry": 3, "retryInterval": "2s"}, [2_000, 4_000, 6_000]),
        ({"retry": 3, "retryExponential": False}, [1_000, 1_000, 1_000]),
        ({"retry": 3, "retryBackoff": "fixed"}, [1_000, 1_000, 1_000]),
        ({"retry": 3, "retryBackoff": "linear", "retryExponential": True}, [1_000, 2_000, 3_000]),
        ({"retry": 3, "retryBackoff": "exponential", "retryJitter": 0}, [1_000, 2_000, 4_000]),
        ({"retry": 3, "retryBackoff": "exponential"}, [900, 1_800, 3_600]),
        ({"retry": 2, "retryInterval": "1s", "retryJitter": 1}, [500, 1_000]),
        ({"retry": 3, "retryMaxInterval": 1_500, "retryJitter": 0}, [1_000, 1_500, 1_500]),
        ({"retry": 2, "retryInterval": "2d"}, [172_800_000, 172_800_000]),
        ({"retry": 2, "retryInterval": "2d", "retryMaxInterval": "3d"}, [172_800_000, 259_200_000]),
    ],
)
async def test_failures_are_tried_again(
    delivery: Delivery, target: Target, config: dict[str, Any], waits: list[int]
) -> None:
    target.scripts["/"] = DOWN
    task = await delivery.submit(target.url(), {"executionDelay": 0, **config})
    called = await delivery.calls(task, target)
    assert [after - before for before, after in itertools.pairwise(called)] == waits
    assert [seen.header("X-Tasks-Attempt") for seen in target.received] == [
        str(number) for number in range(1, len(waits) + 2)
    ]
    assert (await delivery.task(task)).state is State.FAILED


@pytest.mark.option("retryAt")
async def test_one_retry_at_its_time(delivery: Delivery, target: Target) -> None:
    target.scripts["/"] = DOWN
    task = await delivery.submit(target.url(), {"retryAt": date(delivery, 50_000)})
    assert await delivery.calls(task, target) == [1, 50_000]
    assert (await delivery.task(task)).state is State.FAILED


@pytest.mark.option("repeat", "repeatInterval", "repeatExponential")
@pytest.mark.parametrize(
    ("config", "waits"),
    [
        ({"repeat": 2}, [1_000, 2_000]),
        ({"repeat": 3, "repeatInterval": 500}, [500, 1_000, 1_500]),
        ({"repeat": 3, "repeatInterval": "1h", "repeatExponential": False}, [3_600_000] * 3),
    ],
)
async def test_successes_are_repeated(
    delivery: Delivery, target: Target, config: dict[str, Any], waits: list[int]
) -> None:
    task = await delivery.submit(target.url(), {"executionDelay": 0, **config})
    called = await delivery.calls(task, target)
    assert [after - before for before, after in itertools.pairwise(called)] == waits
    assert [seen.header("X-Tasks-Repeat-Count") for seen in target.received] == [
        None, *(str(number) for number in range(1, len(waits) + 1)),
    ]  # fmt: skip
    assert (await delivery.task(task)).state is State.COMPLETED


@pytest.mark.option("repeatAt")
async def test_one_repeat_at_its_time(delivery: Delivery, target: Target) -> None:
    task = await delivery.submit(target.url(), {"repeatAt": date(delivery, 50_000)})
    assert await delivery.calls(task, target) == [1, 50_000]
    assert (await delivery.task(task)).state is State.COMPLETED


@pytest.mark.option("ignoreStatusCode")
async def test_some_statuses_are_not_tried_again(delivery: Delivery, target: Target) -> None:
    target.scripts["/"] = in_turns(DOWN, answer(404, b"gone"), DOWN)
    config = {"executionDelay": 0, "retry": 5, "retryInterval": 1_000, "ignoreStatusCode": [404, 501]}
    task = await delivery.submit(target.url(), config)
    assert await delivery.calls(task, target) == [0, 1_000]
    ended = await delivery.task(task)
    assert (ended.state, ended.status_code) == (State.FAILED, 404)


@pytest.mark.option("ignoreStatusCode")
@pytest.mark.parametrize(("ignored", "calls"), [([408], [0]), ([504], [0, 1_000])])
async def test_timeouts_are_not_tried_again_where_408_is_ignored(
    delivery: Delivery, target: Target, ignored: list[int], calls: list[int]
) -> None:
    target.scripts["/"] = hang
    config = {"executionDelay": 0, "retry": 1, "retryInterval": 1_000, "ignoreStatusCode": ignored, "timeout": 100}
    task = await delivery.submit(target.url(), config)
    assert await delivery.calls(task, target) == calls
    ended = await delivery.task(task)
    assert (ended.state, ended.status_code) == (State.FAILED, 408)


@pytest.mark.option("timeout", "timeoutAt")
@pytest.mark.parametrize("config", [{"timeout": 100}, {"timeoutAt": 5_000}])
async def test_an_attempt_has_its_time(delivery: Delivery, target: Target, config: dict[str, Any]) -> None:
    target.scripts["/"] = hang
    if "timeoutAt" in config:
        config = {"timeoutAt": date(delivery, 5_000), "timeout": "1h"}
    task = await delivery.submit(target.url(), {"executionDelay": 0, **config})
    await delivery.at(4_900)  # it was held up: a tenth of a second is left of `timeoutAt`
    ended = await delivery.task(task)
    assert (ended.state, ended.status_code) == (State.FAILED, 408)
    assert ended.error == f"no answer from 127.0.0.1:{target.port} within 100 ms"
    assert len(target.received) == 1


@pytest.mark.option("expireAt")
async def test_what_is_expired_is_not_called(delivery: Delivery, target: Target) -> None:
    config = {"executionDelay": 0, "expireAt": date(delivery, 5_000)}
    in_time = await delivery.submit(target.url("/1"), config)
    await delivery.at(4_999)
    late = await delivery.submit(target.url("/2"), config)
    await delivery.at(5_000)
    assert [seen.path for seen in target.received] == ["/1"]
    assert (await delivery.task(in_time)).state is State.COMPLETED
    ended = await delivery.task(late)
    assert (ended.state, ended.status_code) == (State.FAILED, 408)


@pytest.mark.option("priority")
async def test_the_most_urgent_go_first(deliver: Deliver, target: Target) -> None:
    delivery = await deliver(slots=1)
    for number in (0, 5, 9, 1):
        await delivery.submit(target.url(f"/{number}"), {"priority": number})
        delivery.clock.advance(1)
    delivery.clock.advance(1_000)
    await delivery.run()
    assert [seen.path for seen in target.received] == ["/9", "/5", "/1", "/0"]


@pytest.mark.option("lane")
@pytest.mark.parametrize(("lane", "place"), [("quick", range(3)), ("default", range(10, 11))])
async def test_a_full_lane_holds_up_no_other(deliver: Deliver, target: Target, lane: str, place: range) -> None:
    delivery = await deliver(slots=3)
    for number in range(10):
        await delivery.submit(target.url(f"/{number}"))
        delivery.clock.advance(1)
    await delivery.submit(target.url("/last"), {"lane": lane})
    delivery.clock.advance(1_000)
    await delivery.run()
    assert len(target.received) == 11
    assert [seen.path for seen in target.received].index("/last") in place
