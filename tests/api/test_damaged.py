"""What clients see of things that are stored and cannot be read: lists come, and say of it what, why and what to do."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tasks_server.api.app import ApiConfig
from tasks_server.clock import ManualClock
from tasks_server.domain.attempt import Outcome, OutcomeKind
from tasks_server.domain.firing import fire
from tests.store.adapters import ADAPTERS, Adapter

from .conftest import Api, claimed, task, worked

OTHER_KEY = bytes([1, 0xDE, 0xAD, 0xBE, 0xEF]) + bytes(55)
SEALED_ELSEWHERE = (
    "the stored request of the task cannot be read: it is sealed under another cipher key than those of this server, "
    "the one with the id deadbeef; start the server with that key beside the present one"
)
FAILED = Outcome(OutcomeKind.HTTP_ERROR, 503, response=b"no")


class Shop:
    """An owner's client, and the means to damage what is stored."""

    def __init__(self, api: Api, adapter: Adapter, client: httpx.AsyncClient) -> None:
        self.api, self.adapter, self.client = api, adapter, client

    async def register(self, body: dict[str, object], path: str = "/v1/queues/register") -> str:
        answer = await self.client.post(path, json=body)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    async def get(self, path: str, status: int = 200) -> Any:
        answer = await self.client.get(path)
        assert answer.status_code == status, answer.text
        return answer.json()

    async def damage(self, task_id: str, table: str, change: str) -> None:
        column = "seq" if table == "task" else "task"
        found = self.adapter.seq_of(task_id)
        await self.adapter.query(self.api.store, f"UPDATE {table} SET {change} WHERE {column} = ({found})")

    async def lose_request(self, task_id: str) -> None:
        await self.damage(task_id, "request", f"spec = {self.adapter.blob(OTHER_KEY)}")

    def told(self) -> list[dict[str, Any]]:
        """The lines of the log."""
        return [json.loads(line) for line in self.api.logged]


@pytest.fixture(params=["sqlite-memory", "postgres"])
async def shop(
    request: pytest.FixtureRequest, clock: ManualClock, config: ApiConfig, tmp_path: Path
) -> AsyncIterator[Shop]:
    adapter = ADAPTERS[request.param]
    store = adapter.make(tmp_path, clock)
    await store.open()
    api = Api(store, clock, config)  # type: ignore[arg-type]  # any store will do
    client, _ = await api.owner()
    yield Shop(api, adapter, client)
    await store.close()


def refused(problem: dict[str, Any], told: str) -> None:
    assert (problem["status"], problem["code"]) == (422, "stored_unreadable")
    assert problem["detail"] == told


async def test_a_request_under_a_lost_key(shop: Shop) -> None:
    good, bad = [await shop.register(task(executionDelay="1h")) for _ in range(2)]
    await shop.lose_request(bad)
    assert [one["id"] for one in await shop.get("/v1/queues")] == [good, bad]
    assert (await shop.get(f"/v1/queues/{bad}"))["state"] == "RUNNING"
    assert [entry["event"] for entry in await shop.get(f"/v1/queues/{bad}/timeline")] == ["registered"]
    assert await shop.get(f"/v1/queues/{bad}/attempts") == []
    for path in ("config", "explain"):
        refused(await shop.get(f"/v1/queues/{bad}/{path}", 422), SEALED_ELSEWHERE)
        assert (await shop.get(f"/v1/queues/{good}/{path}")) is not None
    edited = await shop.client.patch(f"/v1/queues/{bad}", json={"config": {"retry": 1}})
    refused(edited.json(), SEALED_ELSEWHERE)
    assert shop.told() == [
        {
            "at": "2023-11-14T22:13:20.000Z", "level": "warning", "event": "stored_unreadable",
            "doing": f"{method} /v1/queues/{bad}{path}", "message": SEALED_ELSEWHERE,
        }
        for method, path in (("GET", "/config"), ("GET", "/explain"), ("PATCH", ""))
    ]  # fmt: skip
    for step in ("pause", "resume", "revoke"):
        assert (await shop.client.patch(f"/v1/queues/{bad}/{step}")).status_code == 200
    assert (await shop.client.delete(f"/v1/queues/{bad}")).status_code == 200


async def test_runs_of_handlers_under_a_lost_key(shop: Shop) -> None:
    good, bad, other = [
        await shop.register({"task_name": "send-email", "scheduled_at": "2030-01-01"}, "/tasks") for _ in range(3)
    ]
    await shop.lose_request(bad)
    page = {one["id"]: one for one in await shop.get("/tasks?task_name=send-email&status=pending")}
    assert list(page) == [other, bad, good]
    assert page[bad]["unreadable"] == SEALED_ELSEWHERE
    known = ("task_name", "status", "payload", "max_retries", "scheduled_at")
    assert [page[bad][name] for name in known] == ["send-email", "pending", None, None, "2030-01-01T00:00:00.000Z"]
    assert "unreadable" not in page[good]
    refused(await shop.get(f"/tasks/{bad}", 422), SEALED_ELSEWHERE)
    moved = await shop.client.patch(f"/tasks/{bad}", json={"scheduled_at": "2031-01-01"})
    refused(moved.json(), SEALED_ELSEWHERE)
    assert (await shop.client.delete(f"/tasks/{bad}")).status_code == 204
    assert (await shop.get("/tasks?status=cancelled"))[0]["unreadable"] == SEALED_ELSEWHERE


async def test_a_request_of_another_version(shop: Shop, clock: ManualClock) -> None:
    """It opens, and is not understood."""
    bad = await shop.register({"task_name": "a", "scheduled_at": "2030-01-01"}, "/tasks")
    found = await shop.api.store.task(None, bad)
    assert found is not None

    def garble(before: Any, _: bytes) -> Any:
        from tasks_server.store.ports import Change

        return Change(before, spec=b"\xc1")

    await shop.api.store.change(None, bad, garble)
    (entry,) = await shop.get("/tasks")
    assert entry["unreadable"].startswith(
        "the stored request of the task cannot be read: it is damaged, or of another version ("
    )
    assert entry["unreadable"].endswith(
        "); start the version of the server that stored it, or delete the task and register it anew"
    )
    for path in (f"/tasks/{bad}", f"/v1/queues/{bad}/config", f"/v1/queues/{bad}/explain"):
        refused(await shop.get(path, 422), entry["unreadable"])


async def test_a_state_of_another_version(shop: Shop) -> None:
    good, bad = [await shop.register({"task_name": "a", "scheduled_at": "2030-01-01"}, "/tasks") for _ in range(2)]
    await shop.damage(bad, "task", "state = 'frozen'")
    told = "its state cannot be read: this version knows no frozen; start the version of the server that stored it"
    page = {one["id"]: one for one in await shop.get("/v1/queues")}
    assert (page[bad]["state"], page[bad]["unreadable"]) == ("UNREADABLE", told)
    assert (page[good]["state"], "unreadable" in page[good]) == ("RUNNING", False)
    detail = await shop.get(f"/v1/queues/{bad}")
    assert (detail["state"], detail["phase"], detail["unreadable"]) == ("UNREADABLE", "frozen", told)
    named = {one["id"]: one for one in await shop.get("/tasks")}
    assert (named[bad]["status"], named[bad]["unreadable"]) == ("UNREADABLE", told)
    assert (await shop.get(f"/tasks/{bad}"))["unreadable"] == told
    refused(await shop.get(f"/v1/queues/{bad}/explain", 422), told)
    steered = await shop.client.patch(f"/v1/queues/{bad}/pause")
    assert (steered.status_code, steered.json()["code"]) == (422, "state_refuses")
    assert (await shop.get("/monitor/stats"))["pending"] in (1, 2)
    lane = await shop.get("/v1/lanes/default")
    assert [one["name"] for one in await shop.get("/v1/lanes")] == [lane["name"]] == ["default"]
    assert (await shop.get("/v1/owners/small-shop"))["name"] == "small-shop"


async def test_an_outcome_of_another_version(shop: Shop, clock: ManualClock) -> None:
    bad = await shop.register(task(retry=1, retryInterval="1h"))
    await worked(shop.api.store, clock, FAILED)
    good = await shop.register(task())
    await worked(shop.api.store, clock, FAILED)
    await shop.damage(bad, "attempt", "outcome = 'throttled'")
    told = "its outcome cannot be read: this version knows no throttled; start the version of the server that stored it"
    (attempt,) = await shop.get(f"/v1/queues/{bad}/attempts")
    assert (attempt["outcome"], attempt["unreadable"]) == ("throttled", told)
    log = {entry["taskId"]: entry for entry in await shop.get("/v1/logs")}
    assert (log[bad]["state"], log[bad]["outcome"], log[bad]["unreadable"]) == ("UNREADABLE", "throttled", told)
    assert (log[good]["state"], "unreadable" in log[good]) == ("ERROR", False)
    assert [entry["taskId"] for entry in await shop.get("/v1/logs?state=ERROR")] == [good]
    told_of = (await shop.get(f"/v1/queues/{bad}/timeline"))[2]
    assert (told_of["event"], told_of["outcome"], told_of["detail"]) == ("unreadable", "throttled", told)
    assert (await shop.get(f"/v1/queues/{bad}"))["state"] == "RUNNING"


async def test_a_damaged_response(shop: Shop, clock: ManualClock) -> None:
    bad = await shop.register(task())
    await worked(shop.api.store, clock, FAILED)
    await shop.damage(bad, "attempt", f"response = {shop.adapter.blob(OTHER_KEY)}")
    detail = await shop.get(f"/v1/queues/{bad}")
    assert (detail["state"], detail["statusCode"], detail["response"]) == ("ERROR", 503, None)
    assert detail["unreadable"].startswith("the stored response of the task cannot be read: it is sealed under another")
    assert (await shop.client.post(f"/v1/queues/{bad}/retry")).status_code == 200


async def test_damaged_metadata_and_events(shop: Shop) -> None:
    bad = await shop.register({**task(executionDelay="1h"), "metadata": {"order": "7"}})
    for step in ("pause", "resume"):
        await shop.client.patch(f"/v1/queues/{bad}/{step}")
    await shop.damage(bad, shop.adapter.metadata_of, "metadata = '{broken'")
    await shop.damage(bad, "event", "facts = '{broken', kind = 'resume'")
    (listed,) = await shop.get("/v1/queues?metadata.order=7")
    detail = await shop.get(f"/v1/queues/{bad}")
    for one in (listed, detail):
        assert one["unreadable"].startswith("its metadata cannot be read: it is damaged (")
        assert one["unreadable"].endswith("); set it anew by an edit of the task")
    assert detail["metadata"] is None
    assert (await shop.get(f"/v1/queues/{bad}/config"))["metadata"] is None
    entries = await shop.get(f"/v1/queues/{bad}/timeline")
    assert [entry["event"] for entry in entries] == ["registered", "resumed", "resumed"]
    assert "by its owner. where the task stood then cannot be read" in entries[1]["detail"]
    mended = await shop.client.patch(f"/v1/queues/{bad}", json={"metadata": {"order": "8"}})
    assert (mended.json()["metadata"], "unreadable" in mended.json()) == ({"order": "8"}, False)


async def test_bulk_work_of_another_version(shop: Shop) -> None:
    made = [await shop.client.post("/v1/bulk", json={"action": "retry", "filter": {"lane": "x"}}) for _ in range(2)]
    good, bad = [answer.json()["id"] for answer in made]
    await shop.adapter.query(shop.api.store, f"UPDATE bulk SET action = 'tickle' WHERE id = '{bad}'")
    page = {one["id"]: one for one in await shop.get("/v1/bulk")}
    assert (page[bad]["action"], page[bad]["filter"]) == ("tickle", {"states": ["ERROR"], "lane": "x"})
    assert page[bad]["unreadable"].startswith("its action cannot be read: this version knows no tickle")
    assert "unreadable" not in page[good]
    assert (await shop.get(f"/v1/bulk/{bad}"))["unreadable"] == page[bad]["unreadable"]
    await shop.adapter.query(shop.api.store, f"UPDATE bulk SET filter = '{{broken' WHERE id = '{bad}'")
    assert (await shop.get(f"/v1/bulk/{bad}"))["filter"] == {}


async def test_a_signing_secret_that_cannot_be_opened(shop: Shop) -> None:
    await shop.adapter.query(shop.api.store, f"UPDATE signing_secret SET secret = {shop.adapter.blob(OTHER_KEY)}")
    problem = await shop.get("/v1/owners/small-shop/signing", 422)
    assert problem["code"] == "stored_unreadable"
    assert problem["detail"].startswith("a signing secret of the owner cannot be read: it is sealed under another")
    assert (await shop.client.post("/v1/owners/small-shop/signing/rotate")).status_code == 201
    assert len((await shop.get("/v1/owners/small-shop/signing"))["secrets"]) == 1


async def test_a_damaged_task_fails_by_itself_when_its_turn_comes(shop: Shop, clock: ManualClock) -> None:
    good, bad = [await shop.register(task()) for _ in range(2)]
    await shop.lose_request(bad)
    claims = {claim.id: claim for claim in await claimed(shop.api.store, clock)}  # type: ignore[arg-type]  # any store will do
    assert claims[good].spec
    assert (claims[bad].spec, claims[bad].unreadable) == (b"", SEALED_ELSEWHERE)


async def make_schedules(shop: Shop) -> tuple[str, str]:
    made = []
    for name in ("good", "bad"):
        body = {"name": name, "cron": "0 9 * * *", "timezone": "Europe/Berlin", "task": task()}
        made.append((await shop.client.post("/v1/schedules", json=body)).json()["id"])
    return made[0], made[1]


async def change_schedule(shop: Shop, schedule_id: str, change: str) -> None:
    await shop.adapter.query(shop.api.store, f"UPDATE schedule SET {change} WHERE id = '{schedule_id}'")


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (
            "Europe/Berlin", "Mars/Olympus",
            "the schedule's time zone cannot be read: this machine's time zone database has no Mars/Olympus; give it "
            "another timezone, or update the database (tzdata), start the server anew and resume it",
        ),
        (
            "0 9 * * *", "0 99 * * *",
            "the schedule's cron expression cannot be read: it has 99 for the hour, which does not fit; give it "
            "another cron",
        ),
    ],
)  # fmt: skip
async def test_a_rule_that_is_no_longer_understood(
    shop: Shop, clock: ManualClock, before: str, after: str, told: str
) -> None:
    good, bad = await make_schedules(shop)
    await change_schedule(shop, bad, f"facts = replace(facts, '{before}', '{after}')")
    page = {one["id"]: one for one in await shop.get("/v1/schedules")}
    assert (page[bad]["unreadable"], "unreadable" in page[good]) == (told, False)
    assert (await shop.get(f"/v1/schedules/{bad}"))["unreadable"] == told
    refused(await shop.get(f"/v1/schedules/{bad}/preview", 422), told)
    assert (await shop.get(f"/v1/schedules/{good}/preview"))["times"]
    at = clock.advance(86_400_000)
    fired = await shop.api.store.fire(at, at, 10, lambda *asked: fire(*asked, at, at))
    assert (fired.schedules, fired.tasks) == (2, 1)
    shown = await shop.get(f"/v1/schedules/{bad}")
    assert (shown["state"], shown["lastMissed"]["reason"]) == ("paused", "unreadable")
    assert shown["lastMissed"]["detail"] == told
    refused((await shop.client.post(f"/v1/schedules/{bad}/resume")).json(), told)
    assert (await shop.client.post(f"/v1/schedules/{bad}/run")).status_code == 201
    mended = await shop.client.patch(f"/v1/schedules/{bad}", json={"cron": "0 9 * * *", "timezone": "UTC"})
    assert (mended.status_code, "unreadable" in mended.json()) == (200, False)
    assert (await shop.client.post(f"/v1/schedules/{bad}/resume")).json()["state"] == "active"


async def test_a_schedule_of_which_nothing_can_be_read(shop: Shop) -> None:
    good, bad = await make_schedules(shop)
    await change_schedule(shop, bad, "facts = '{broken'")
    page = {one["id"]: one for one in await shop.get("/v1/schedules")}
    assert [page[bad][name] for name in ("name", "state", "cron")] == ["bad", "unreadable", None]
    told = page[bad]["unreadable"]
    assert told.startswith("what is stored of the schedule cannot be read: it is damaged, or of another version (")
    assert told.endswith("); start the version of the server that stored it, PUT it anew, or delete it")
    assert page[good]["state"] == "active"
    for path in ("", "/preview"):
        refused(await shop.get(f"/v1/schedules/{bad}{path}", 422), told)
    for path in ("/pause", "/resume", "/run"):
        refused((await shop.client.post(f"/v1/schedules/{bad}{path}")).json(), told)
    put = await shop.client.put("/v1/schedules/bad", json={"cron": "@daily", "task": task()})
    assert (put.status_code, put.json()["id"], put.json()["state"]) == (200, bad, "active")


async def test_a_template_under_a_lost_key(shop: Shop) -> None:
    _, bad = await make_schedules(shop)
    await change_schedule(shop, bad, f"template = {shop.adapter.blob(OTHER_KEY)}")
    assert len(await shop.get("/v1/schedules")) == 2
    problem = await shop.get(f"/v1/schedules/{bad}", 422)
    assert problem["detail"].startswith("what the schedule makes its tasks from cannot be read: it is sealed under")
    for path in ("/pause", "/resume", "/run"):
        refused((await shop.client.post(f"/v1/schedules/{bad}{path}")).json(), problem["detail"])
    assert (await shop.client.delete(f"/v1/schedules/{bad}")).status_code == 200
