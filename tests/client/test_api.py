"""Every method over the real API, in this process."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tasks_server.client import (
    AsyncClient,
    Conflict,
    Forbidden,
    InvalidRequest,
    NotFound,
    Refused,
    Retries,
    Unauthorized,
)
from tasks_server.clock import ManualClock
from tasks_server.domain.attempt import Outcome, OutcomeKind
from tests.api.conftest import ADMIN_KEY, Api, worked

URL = "https://target.test/hook"


class Door:
    """The API of this process."""

    def __init__(self, api: Api) -> None:
        self.api = api

    def client(self, key: str | None = None, **options: Any) -> AsyncClient:
        transport = httpx.ASGITransport(self.api.app)
        return AsyncClient("http://localhost", key, transport=transport, retries=Retries(deadline=0.0), **options)


@pytest.fixture
def door(api: Api) -> Door:
    return Door(api)


@pytest.fixture
async def client(door: Door) -> AsyncClient:
    async with door.client() as stranger:
        return door.client((await stranger.owners.register("small-shop")).key)


async def test_the_life_of_a_task(client: AsyncClient, api: Api, clock: ManualClock) -> None:
    task = await client.tasks.register(url=URL, delay="1h", metadata={"order": "7"}, lane="mails", priority=3)
    assert (task.state, task.metadata, task.is_final) == ("RUNNING", {"order": "7"}, False)
    assert task.estimate_execution_at == clock.now() + 3_600_000
    shown = await client.tasks.get(task.id)
    assert (shown.phase, shown.lane, shown.priority) == ("scheduled", "mails", 3)
    edited = await client.tasks.edit(task.id, at=datetime.fromtimestamp(clock.now() / 1_000 + 60, UTC), retry=2)
    assert edited.estimate_execution_at == clock.now() + 60_000
    spec = await client.tasks.config(task.id)
    assert spec.http_request is not None
    assert (spec.http_request["method"], spec.config["retry"]) == ("POST", 2)
    explained = await client.tasks.explain(task.id)
    assert (explained.phase, explained.runnable, explained.engines.alive) == ("scheduled", False, 0)
    assert "due" in {gate.gate for gate in explained.gates if gate.closed}
    await client.tasks.pause(task.id)
    assert (await client.tasks.get(task.id)).state == "PAUSED"
    assert (await client.tasks.resume(task.id)).phase == "scheduled"
    await client.tasks.execute(task.id)
    assert await worked(api.store, clock, Outcome(OutcomeKind.SUCCESS, 200, response=b"\xffthanks")) == 1
    done = await client.tasks.wait(task.id)
    assert (done.state, done.status_code, done.response, done.is_final) == ("SUCCESS", 200, b"\xffthanks", True)
    (attempt,) = await client.tasks.attempts(task.id)
    assert (attempt.number, attempt.outcome, attempt.status_code) == (1, "success", 200)
    assert (await client.tasks.timeline(task.id))[0].event == "registered"
    assert (await client.tasks.retry(task.id)).phase == "available"
    await client.tasks.revoke(task.id)
    await client.tasks.delete(task.id)
    with pytest.raises(NotFound) as told:
        await client.tasks.get(task.id)
    assert told.value.code == "task_not_found"
    assert told.value.request_id


async def test_a_task_may_run_a_handler(client: AsyncClient) -> None:
    task = await client.tasks.register(handler="send-email", payload={"to": 7}, delay="1h", retry=2)
    await client.tasks.edit(task.id, payload={"to": 8}, priority=3)
    spec = await client.tasks.config(task.id)
    assert (spec.http_request, spec.handler) == (None, {"name": "send-email", "payload": {"to": 8}})
    made = await client.schedules.put("mails", cron="@daily", task={"handler": "send-email"})
    assert made.task.handler is not None
    assert made.task.handler["name"] == "send-email"


async def test_the_same_key_makes_one_task(client: AsyncClient) -> None:
    first = await client.tasks.register(url=URL, delay="1h", idempotency_key="order-7")
    again = await client.tasks.register(url=URL, delay="1h", idempotency_key="order-7")
    assert again.id == first.id
    with pytest.raises(Conflict):
        await client.tasks.register(url=URL, delay="2h", idempotency_key="order-7")
    assert (await client.tasks.register(url=URL, delay="1h")).id != first.id


async def test_lists_go_from_page_to_page(client: AsyncClient) -> None:
    batch = await client.tasks.register_batch({"url": URL, "delay": "1h", "lane": f"l{n % 2}"} for n in range(7))
    assert len(batch.tasks) == 7
    listed = [task.id async for task in client.tasks.list(page_size=3)]
    assert listed == [task.id for task in batch.tasks]
    backwards = [task.id async for task in client.tasks.list(page_size=2, sort="desc", order="createdAt", lane="l1")]
    assert backwards == [task.id for task in reversed(batch.tasks[1::2])]
    assert [task async for task in client.tasks.list(state=["ERROR", "REVOKED"])] == []


async def test_waiting_ends_with_the_time_for_it(door: Door, client: AsyncClient) -> None:
    task = await client.tasks.register(url=URL, delay="1h")
    now = 0.0

    async def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    client._sleep = sleep
    object.__setattr__(client.core, "monotonic", lambda: now)
    with pytest.raises(TimeoutError, match="is scheduled after 5 s"):
        await client.tasks.wait(task.id, timedelta(seconds=5))
    assert now == 5.0


async def test_the_life_of_a_schedule(client: AsyncClient) -> None:
    made = await client.schedules.create("daily", cron="@daily", timezone="Europe/Rome", task={"url": URL, "retry": 1})
    assert (made.name, made.cron, made.state, made.task.config["retry"]) == ("daily", "@daily", "active", 1)
    put = await client.schedules.put("hourly", every=timedelta(hours=1), overlap="skip", task={"url": URL})
    assert (put.every, put.overlap) == (3_600_000, "skip")
    assert {each.name async for each in client.schedules.list(page_size=1)} == {"daily", "hourly"}
    assert (await client.schedules.edit("hourly", name="often", every="5m", max_runs=9)).every == 300_000
    assert (await client.schedules.pause("often")).state == "paused"
    assert (await client.schedules.resume(put.id)).state == "active"
    assert len((await client.schedules.preview("often", 3)).times) == 3
    task = await client.schedules.run("often")
    shown = await client.tasks.get(task.id)
    assert shown.schedule is not None
    assert shown.schedule.id == put.id
    assert (await client.schedules.get("often")).runs == 0
    await client.schedules.delete("often")
    with pytest.raises(Conflict):
        await client.schedules.create("daily", cron="@daily", task={"url": URL})


async def test_the_log_of_all_attempts(client: AsyncClient, api: Api, clock: ManualClock) -> None:
    began = clock.now()
    for lane in ("a", "b", "a"):
        await client.tasks.register(url=URL, lane=lane)
    clock.advance(1)
    assert await worked(api.store, clock, Outcome(OutcomeKind.HTTP_ERROR, 503)) == 3
    entries = [entry async for entry in client.logs.list(page_size=1, since=began, until=clock.now() + 1)]
    assert {(entry.status_code, entry.outcome, entry.host) for entry in entries} == {
        (503, "http_error", "target.test:443")
    }
    assert len(entries) == 3
    narrow = client.logs.list(state=["ERROR"], status_code="5xx", lane="a", host="target.test")
    assert len([entry async for entry in narrow]) == 2
    assert [entry async for entry in client.logs.list(until=datetime.fromtimestamp(began / 1_000, UTC))] == []
    (one,) = [entry async for entry in client.logs.list(task=entries[0].task_id)]
    assert one == entries[0]


async def test_the_life_of_bulk_work(client: AsyncClient, clock: ManualClock) -> None:
    for number in range(3):
        await client.tasks.register(url=URL, delay="1h", metadata={"order": str(number)})
    sight = await client.bulk.dry_run("pause", states=["RUNNING"], created_since=0)
    assert (sight.changed, sight.dry_run) == (3, True)
    made = await client.bulk.create("revoke", metadata={"order": "1"}, lane="default")
    assert (made.action, made.state, made.is_final) == ("revoke", "pending", False)
    clock.advance(1)
    await client.bulk.create("delete", all=True)
    assert [bulk.action async for bulk in client.bulk.list(page_size=1)] == ["delete", "revoke"]
    assert (await client.bulk.get(made.id)).id == made.id
    assert (await client.bulk.cancel(made.id)).state == "cancelled"
    assert (await client.bulk.wait(made.id)).is_final


async def test_the_life_of_a_lane(client: AsyncClient) -> None:
    made = await client.lanes.put("mails", max_concurrent=5, rate_per_second=2.5, burst=3)
    assert (made.max_concurrent, made.rate_per_second, made.burst, made.paused) == (5, 2.5, 3, False)
    await client.tasks.register(url=URL, lane="mails", delay="1h")
    await client.tasks.register(url=URL, lane="other", delay="1h")
    assert [lane.name async for lane in client.lanes.list(page_size=1)] == ["mails", "other"]
    edited = await client.lanes.edit("mails", max_concurrent=None)
    assert (edited.max_concurrent, edited.rate_per_second) == (None, 2.5)
    assert (await client.lanes.pause("mails")).paused
    assert not (await client.lanes.resume("mails")).paused
    assert (await client.lanes.get("mails")).tasks.scheduled == 1
    assert (await client.lanes.purge("mails")).filter["lane"] == "mails"
    with pytest.raises(Refused):
        await client.lanes.delete("mails")
    await client.lanes.put("empty", paused=True)
    await client.lanes.delete("empty")
    with pytest.raises(NotFound):
        await client.lanes.get("empty")


async def test_handlers_run_by_name(client: AsyncClient, clock: ManualClock) -> None:
    at = datetime.fromtimestamp(clock.now() / 1_000 + 60, UTC)
    made = await client.handler_tasks.create(
        "send-email", {"to": 7}, scheduled_at=at, priority=3, idempotency_key="mail-7"
    )
    again = await client.handler_tasks.create(
        "send-email", {"to": 7}, scheduled_at=at, priority=3, idempotency_key="mail-7"
    )
    assert made == again
    shown = await client.handler_tasks.get(made.id)
    assert (shown.task_name, shown.payload, shown.status) == ("send-email", {"to": 7}, "pending")
    assert shown.scheduled_at == at
    clock.advance(1)
    second = await client.handler_tasks.create("other", scheduled_at=at)
    listed = [task.id async for task in client.handler_tasks.list(page_size=1, status=["pending", "paused"])]
    assert listed == [second.id, made.id]
    assert [task.id async for task in client.handler_tasks.list(task_name="other", scheduled_after=at)] == [second.id]
    later = at + timedelta(hours=1)
    assert (await client.handler_tasks.reschedule(made.id, later)).scheduled_at == later
    await client.handler_tasks.delete(made.id)
    assert (await client.handler_tasks.get(made.id)).status == "cancelled"
    with pytest.raises(Conflict, match="task_cancelled"):
        await client.handler_tasks.delete(made.id)
    await client.tasks.pause(second.id)
    with pytest.raises(Conflict):
        await client.handler_tasks.delete(second.id)
    recurring = await client.handler_tasks.create_recurring("send-email", "@daily", name="mails", max_retries=1)
    assert (await client.schedules.get("mails")).id == recurring.id
    stats = await client.monitor.stats()
    assert (stats.paused, stats.cancelled, stats.total) == (1, 1, 2)
    assert (await client.monitor.health()).status == "ok"


async def test_what_the_operator_does_with_owners(door: Door) -> None:
    async with door.client(ADMIN_KEY) as admin:
        owner = await admin.owners.register("big-shop")
        await admin.owners.register("small-shop")
        assert [one.name async for one in admin.owners.list(page_size=1)] == ["big-shop", "small-shop"]
        assert [one.name async for one in admin.owners.list(prefix="big-")] == ["big-shop"]
        assert (await admin.owners.edit("big-shop", requests_per_minute=50)).requests_per_minute == 50
        edited = [one async for one in admin.audit.list(kind="owner", action=["edit"])]
        assert [(one.by, one.owner, one.detail) for one in edited] == [
            ("operator", "big-shop", "requestsPerMinute: 50")
        ]
        async with door.client(owner.key) as client:
            assert (await admin.owners.suspend("big-shop")).suspended
            with pytest.raises(Forbidden) as refused:
                await client.owners.get("big-shop")
            assert refused.value.code == "owner_suspended"
            assert not (await admin.owners.resume("big-shop")).suspended
            assert (await client.owners.get("big-shop")).suspended_at is None


async def test_the_life_of_an_owner(door: Door) -> None:
    async with door.client(ADMIN_KEY) as admin:
        owner = await admin.owners.register("big-shop", tasks_in_queue_limit=5)
        assert owner.key not in repr(owner)
        assert "key=***" in repr(owner)
        assert (await admin.owners.edit("big-shop", tasks_in_queue_limit=1)).tasks_in_queue_limit == 1
    async with door.client(owner.key) as client:
        second = await client.owners.add_key("big-shop")
        assert second.key not in repr(second)
        assert {key.key_id for key in (await client.owners.get("big-shop")).keys} == {owner.key_id, second.key_id}
        assert {key.key_id for key in await client.owners.keys("big-shop")} == {owner.key_id, second.key_id}
        await client.owners.delete_key("big-shop", second.key_id)
        (secret,) = (await client.owners.signing("big-shop")).secrets
        rotated = await client.owners.rotate_signing("big-shop", overlap_seconds=timedelta(hours=1))
        assert secret.secret
        assert secret.secret not in repr(rotated)
        assert [each.id for each in rotated.secrets][1:] == [secret.id]
        assert len((await client.owners.rotate_signing("big-shop")).secrets) == 2
        assert not (await client.owners.edit_signing("big-shop", enabled=False)).enabled
        task = await client.tasks.register(url=URL, delay="1h")
        with pytest.raises(Refused) as full:
            await client.tasks.register(url=URL)
        assert full.value.code == "queue_full"
        await client.tasks.delete(task.id)
        await client.owners.delete("big-shop")
        with pytest.raises(Unauthorized):
            await client.owners.get("big-shop")


async def test_the_operator_acts_for_an_owner(door: Door) -> None:
    async with door.client(ADMIN_KEY) as admin:
        owner = await admin.owners.register("big-shop")
        with pytest.raises(Forbidden):
            await admin.tasks.register(url=URL)
    async with door.client(ADMIN_KEY, owner_id=owner.id) as acting:
        await acting.tasks.register(url=URL)
    async with door.client(owner.key) as client:
        assert len([task async for task in client.tasks.list()]) == 1


async def test_every_fault_is_told(client: AsyncClient) -> None:
    with pytest.raises(InvalidRequest) as told:
        await client.tasks.register(url="ftp://target.test", retry=-1, lane="")
    assert {fault.field for fault in told.value.errors} == {"httpRequest.url", "config.retry", "config.lane"}


async def test_the_server_is_well(door: Door) -> None:
    async with door.client() as stranger:
        assert await stranger.monitor.status() == "OK"


def test_the_client_loads_nothing_of_the_server() -> None:
    loaded = "import sys, tasks_server.client; print(*sys.modules)"
    ended = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True)
    modules = set(ended.stdout.split())
    ours = {name for name in modules if name.startswith("tasks_server")}
    assert {name for name in ours if not name.startswith("tasks_server.client")} == {"tasks_server"}
    assert modules & {"apsw", "granian", "psycopg", "pycurl", "starlette", "typer", "uvloop", "cryptography"} == set()


async def test_callbacks_of_tasks_lanes_and_owners(client: AsyncClient, api: Api, clock: ManualClock) -> None:
    asked = await client.owners.edit_callbacks("small-shop", failure_callback={"url": URL, "retry": 2})
    assert (asked.failure_callback.url, asked.failure_callback.retry, asked.success_callback) == (URL, 2, None)
    assert await client.owners.callbacks("small-shop") == asked
    assert (await client.lanes.put("quiet", failure_callback=False)).failure_callback is False
    told = await client.tasks.register(url=URL, delay=0)
    own = await client.tasks.register(url=URL, delay=0, lane="quiet", failure_callback=URL, success_callback=False)
    quiet = await client.tasks.register(url=URL, delay=0, lane="quiet")
    await client.handler_tasks.create("ship", failure_callback={"handler": {"name": "told"}})
    assert await worked(api.store, clock, Outcome(OutcomeKind.UNSENDABLE, 0, "it cannot")) == 4
    made = [await client.tasks.get(task.id) async for task in client.tasks.list(lane="callbacks")]
    assert {task.callback_of for task in made} > {told.id, own.id}
    assert quiet.id not in {task.callback_of for task in made}
    assert len(made) == 3
