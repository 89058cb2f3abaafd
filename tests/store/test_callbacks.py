"""Callbacks: the end of a task that is to be told of makes a task that tells of it, in one transaction, once."""

import base64
from typing import Any

import msgspec
import pytest

from tasks_server.domain import lifecycle
from tasks_server.domain.attempt import Outcome, OutcomeKind
from tasks_server.domain.bulk import Action
from tasks_server.domain.callback import NO_CALLBACKS, Callback, CallbackHandler, Callbacks
from tasks_server.domain.forms import decode_spec
from tasks_server.domain.lane import LaneFacts, LaneLimits
from tasks_server.domain.owner import Owner
from tasks_server.domain.request import TaskConfig, TaskSpec
from tasks_server.domain.task import State, Task
from tasks_server.store.laning import LaneChange
from tasks_server.store.ports import QueueFull, TaskQuery

from .bulks import Desk
from .lanes import delete_lane, pause_lane
from .world import FAILURE, INTERRUPTED, SUCCESS, World, sample_spec, up_to

URL = "https://ops.example/told"
ASKS = TaskConfig(failure_callback=Callback(URL), success_callback=Callback(URL))


async def owner_asks(world: World, owner: Owner, callbacks: Callbacks) -> None:
    assert await world.store.change_owner_callbacks(owner.id, lambda _: callbacks) == callbacks


async def lane_asks(world: World, owner: Owner, callbacks: Callbacks, name: str = "default") -> None:
    change = LaneChange(LaneFacts(LaneLimits()), callbacks)
    await world.store.change_lane(owner.id, name, lambda _: change, 10)


async def callbacks_of(world: World, owner: Owner) -> list[Task]:
    """The tasks in the lane of callbacks, the oldest first."""
    found = (await world.store.tasks(TaskQuery(owner.id, lane="callbacks", limit=100))).tasks
    return [await world.read(task.id) for task in found]


async def body_of(world: World, callback: Task) -> Any:
    """What a callback tells."""
    spec = await spec_of(world, callback)
    assert spec.request is not None
    assert spec.request.json is not None
    return msgspec.json.decode(spec.request.json)


async def spec_of(world: World, callback: Task) -> TaskSpec:
    stored = await world.store.spec(None, callback.id)
    assert stored is not None
    return decode_spec(stored)


async def test_a_failure_for_good_makes_the_callback_that_its_task_asks_for(world: World, owner: Owner) -> None:
    task = await world.submit(owner, spec=sample_spec(config=ASKS), metadata={"order": "7"})
    claim = await world.claim_one()
    outcome = Outcome(OutcomeKind.HTTP_ERROR, 503, "Service Unavailable", b"busy")
    await world.settle(claim, outcome, ASKS)
    (callback,) = await callbacks_of(world, owner)
    assert (callback.callback_of, callback.state, callback.target) == (task.id, State.AVAILABLE, "ops.example:443")
    spec = await spec_of(world, callback)
    assert spec.request is not None
    assert (spec.request.url, spec.request.method) == (URL, "POST")
    told = await body_of(world, callback)
    assert told["type"] == "task.failed"
    assert told["data"] == {
        "id": task.id,
        "handler": None,
        "method": "GET",
        "url": "http://a.example:80/",
        "lane": "default",
        "metadata": {"order": "7"},
        "schedule": None,
        "state": "ERROR",
        "attempts": 1,
        "failures": 1,
        "outcome": "http_error",
        "statusCode": 503,
        "error": "Service Unavailable",
        "response": base64.b64encode(b"busy").decode(),
        "responseTruncated": False,
        "createdAt": task.created_at,
        "startedAt": world.now,
        "endedAt": world.now,
    }
    (event,) = await world.store.events(None, task.id)
    assert (event.kind, event.detail) == ("callback_made", f"{callback.id}, POST {URL}")
    assert await world.in_queue(owner) == 1
    await world.check_counters()


async def test_what_goes_on_is_not_told_and_the_last_end_is(world: World, owner: Owner) -> None:
    config = TaskConfig(retry=1, retry_interval=1, repeat=1, repeat_interval=1, success_callback=Callback(URL))
    await world.submit(owner, spec=sample_spec(config=config))
    for outcome in (FAILURE, INTERRUPTED, SUCCESS):
        await world.settle(await world.claim_one(), outcome, config)
        assert await callbacks_of(world, owner) == []
        world.clock.advance(10)
    await world.settle(await world.claim_one(), SUCCESS, config)
    (callback,) = await callbacks_of(world, owner)
    assert (await body_of(world, callback))["type"] == "task.succeeded"
    assert (await body_of(world, callback))["data"]["attempts"] == 4


@pytest.mark.parametrize(
    ("own", "of_lane", "of_owner", "expected"),
    [
        (None, None, Callback(URL), URL),
        (None, Callback("https://lane.example/"), Callback(URL), "https://lane.example/"),
        (Callback("https://own.example/"), Callback("https://lane.example/"), None, "https://own.example/"),
        (None, False, Callback(URL), None),
        (False, Callback(URL), Callback(URL), None),
        (None, None, None, None),
    ],
)
async def test_the_most_specific_one_counts(
    world: World,
    owner: Owner,
    own: Callback | bool | None,
    of_lane: Callback | bool | None,
    of_owner: Callback | bool | None,
    expected: str | None,
) -> None:
    await owner_asks(world, owner, Callbacks(of_owner))
    await lane_asks(world, owner, Callbacks(of_lane))
    config = TaskConfig(failure_callback=own)
    await world.submit(owner, spec=sample_spec(config=config))
    await world.settle(await world.claim_one(), FAILURE, config)
    found = await callbacks_of(world, owner)
    urls = [request.url for callback in found if (request := (await spec_of(world, callback)).request) is not None]
    assert urls == ([] if expected is None else [expected])
    await world.check_counters()


async def test_one_batch_tells_of_those_that_want_it(world: World, owner: Owner, other: Owner) -> None:
    await owner_asks(world, other, Callbacks(failure=Callback(URL)))
    for whose in (owner, other):
        await world.submit_many(whose, 3)
    await world.submit(owner, spec=sample_spec(config=ASKS))
    claims = await world.claim()
    asking = next(claim for claim in claims if decode_spec(claim.spec).config == ASKS)
    reports = [world.report(claim, FAILURE, ASKS if claim is asking else None) for claim in claims]
    stale = msgspec.structs.replace(world.report(claims[0], FAILURE, ASKS), lease=claims[0].lease + 1)
    assert await world.store.settle([*reports, stale]) == {stale.ref}
    assert len(await callbacks_of(world, owner)) == 1
    assert len(await callbacks_of(world, other)) == 3
    assert (await world.in_queue(owner), await world.in_queue(other)) == (1, 3)
    await world.check_counters()


async def test_a_lost_lease_tells_nothing(world: World, owner: Owner) -> None:
    await world.submit(owner, spec=sample_spec(config=ASKS))
    report = world.report(await world.claim_one(), FAILURE, ASKS)
    assert await world.store.settle([report]) == set()
    assert await world.store.settle([report]) == {report.ref}
    assert len(await callbacks_of(world, owner)) == 1


async def test_a_full_queue_loses_no_callback(world: World) -> None:
    owner = await world.owner(limit=2)
    await world.submit_many(owner, 2, spec=sample_spec(config=ASKS))
    await world.settle(await world.claim(), FAILURE, ASKS)
    assert len(await callbacks_of(world, owner)) == 2
    assert await world.store.insert(world.task(owner)) == QueueFull(2)
    await world.check_counters()


async def test_a_callback_has_none(world: World, owner: Owner) -> None:
    await owner_asks(world, owner, Callbacks(Callback(URL), Callback(URL)))
    await world.submit(owner)
    await world.settle(await world.claim_one(), FAILURE)
    claim = await world.claim_one()
    # What is edited into it asks in vain, too.
    await world.settle(claim, FAILURE, ASKS)
    assert [task.id for task in await callbacks_of(world, owner)] == [claim.id]
    assert await world.store.events(None, claim.id) == []


async def test_expiry_is_told(world: World, owner: Owner) -> None:
    await lane_asks(world, owner, Callbacks(failure=Callback(URL)), "other")
    own = await world.submit(owner, 60_000, expire_at=world.now + 1_000, spec=sample_spec(config=ASKS))
    by_lane = await world.submit(owner, 60_000, expire_at=world.now + 1_000, lane="other")
    await world.submit(owner, 60_000, expire_at=world.now + 1_000)
    world.clock.advance(1_000)
    assert await world.store.expire(world.now, 10) == 3
    found = await callbacks_of(world, owner)
    assert {task.callback_of for task in found} == {own.id, by_lane.id}
    told = (await body_of(world, found[0]))["data"]
    assert (told["outcome"], told["statusCode"], told["attempts"], told["startedAt"]) == ("expired", 408, 0, None)
    await world.check_counters()


async def test_revoked_and_deleted_tasks_are_not_told_of(world: World, owner: Owner) -> None:
    await owner_asks(world, owner, Callbacks(Callback(URL), Callback(URL)))
    await world.steer(await world.submit(owner), lifecycle.revoke)
    await world.store.delete(None, (await world.submit(owner)).id)
    assert await callbacks_of(world, owner) == []


async def test_each_end_is_told_of_when_a_task_runs_once_more(world: World, owner: Owner) -> None:
    task = await world.submit(owner, spec=sample_spec(config=ASKS))
    await world.settle(await world.claim_one(), FAILURE, ASKS)
    await world.steer(task, lifecycle.restart)
    (again,) = [claim for claim in await world.claim() if claim.id == task.id]
    await world.settle(again, SUCCESS, ASKS)
    found = [await body_of(world, callback) for callback in await callbacks_of(world, owner)]
    assert sorted(told["type"] for told in found) == ["task.failed", "task.succeeded"]


async def test_a_handler_may_be_told(world: World, owner: Owner) -> None:
    config = TaskConfig(failure_callback=Callback(handler=CallbackHandler("on-failure"), lane="told", retry=3))
    await world.submit(owner, spec=sample_spec(config=config))
    await world.settle(await world.claim_one(), FAILURE, config)
    claim = await world.claim_one()
    spec = decode_spec(claim.spec)
    assert spec.handler is not None
    assert (claim.target, spec.handler.name, spec.config.retry, spec.config.lane) == (
        "@on-failure", "on-failure", 3, "told",
    )  # fmt: skip
    assert msgspec.json.decode(spec.handler.payload)["type"] == "task.failed"


async def test_a_paused_lane_does_not_keep_back_what_tells_of_it(world: World, owner: Owner) -> None:
    await world.submit(owner, spec=sample_spec(config=ASKS))
    claim = await world.claim_one()
    await pause_lane(world, owner)
    await world.settle(claim, FAILURE, ASKS)
    assert (await world.claim_one()).target == "ops.example:443"


async def test_what_is_asked_for_is_kept_and_forgotten(world: World, owner: Owner) -> None:
    secret = Callback(URL, headers={"Authorization": "Bearer Zx81"})
    await owner_asks(world, owner, Callbacks(failure=secret))
    await lane_asks(world, owner, Callbacks(success=secret))
    await world.submit(owner)
    assert await world.store.owner_callbacks(owner.id) == Callbacks(failure=secret)
    (shown,) = (await world.store.lanes(owner.id, "", 10)).lanes
    assert shown.callbacks == Callbacks(success=secret)
    kept = LaneChange(LaneFacts(LaneLimits(rate=5)))
    assert getattr(await world.store.change_lane(owner.id, "default", lambda _: kept, 10), "callbacks", None) == (
        Callbacks(success=secret)
    )
    assert b"Zx81" not in world.adapter.stored(world.folder)
    await owner_asks(world, owner, NO_CALLBACKS)
    await world.settle(await world.claim_one())
    assert await delete_lane(world, owner) is True
    assert await world.store.owner_callbacks(owner.id) == NO_CALLBACKS
    await world.submit(owner)
    lane = await world.store.lane(owner.id, "default")
    assert lane is not None
    assert lane.callbacks == NO_CALLBACKS
    assert await world.store.owner_callbacks("nobody") is None


async def test_what_cannot_be_read_any_more_is_told_and_holds_up_nobody(world: World, owner: Owner) -> None:
    await owner_asks(world, owner, Callbacks(failure=Callback(URL)))
    first = await world.submit(owner)
    claim = await world.claim_one()
    damaged = world.adapter.blob(b"\x01" * 64)
    await world.query(f"UPDATE owner SET callbacks = {damaged}")
    await world.settle(claim, FAILURE)
    assert await world.state(first) is State.FAILED
    (event,) = await world.store.events(None, first.id)
    assert event.kind == "callback_not_made"
    assert event.detail is not None
    assert event.detail.startswith("what the lane or the owner asks to be called cannot be read: ")
    await world.submit(owner, spec=sample_spec(config=ASKS))
    await world.settle(await world.claim_one(), FAILURE, ASKS)
    assert len(await callbacks_of(world, owner)) == 1


async def test_deleted_and_pruned_callbacks_leave_nothing(world: World, owner: Owner) -> None:
    await world.submit_many(owner, 2, spec=sample_spec(config=ASKS))
    await world.settle(await world.claim(), FAILURE, ASKS)
    first, second = await callbacks_of(world, owner)
    await world.store.delete(None, first.id)
    await world.settle([claim for claim in await world.claim() if claim.id == second.id])
    world.clock.advance(10)
    while await world.store.prune(world.now, 100):
        pass
    assert await world.query("SELECT * FROM callback") == []


async def test_many_failures_that_are_run_again_in_bulk_are_all_told_of_again(world: World, owner: Owner) -> None:
    count = 300
    await owner_asks(world, owner, Callbacks(failure=Callback(URL)))
    await pause_lane(world, owner, "callbacks")
    await world.submit_many(owner, count)
    desk = Desk(world)
    for times in (1, 2):
        claims = await world.claim(up_to(count), lease_until=world.now + 60_000)
        assert len(claims) == count
        await world.settle(claims, FAILURE)
        (made,) = await world.query("SELECT count(*), count(DISTINCT source) FROM callback")
        assert made == (times * count, count)
        assert await world.in_queue(owner) == times * count
        if times == 1:
            done = await desk.finish(await desk.make(owner, Action.RETRY), changed_max=100)
            assert done.changed == count
    await world.check_counters()
