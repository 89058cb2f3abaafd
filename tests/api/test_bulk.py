"""`/v1/bulk` from outside: asked for, tried dry, shown, cancelled; what is refused, and how."""

from typing import Any

import httpx
import pytest

from tasks_server.clock import ManualClock
from tasks_server.domain import limits
from tasks_server.domain.attempt import Outcome, OutcomeKind
from tasks_server.domain.bulk import STEP_FAILURES_MAX, Bulk
from tasks_server.domain.ids import is_task_id
from tasks_server.domain.task import Task
from tasks_server.engine.bulks import BulkWorker
from tasks_server.store.bulking import Stride
from tasks_server.store.sqlite.store import SqliteStore
from tasks_server.telemetry import Telemetry

from .conftest import Api, task, worked

PATH = "/v1/bulk"
DOWN = Outcome(OutcomeKind.HTTP_ERROR, status_code=503, error="Service Unavailable")


async def registered(client: httpx.AsyncClient, count: int = 1, **fields: Any) -> list[str]:
    found = []
    for _ in range(count):
        answer = await client.post("/v1/queues/register", json=task() | fields)
        assert answer.status_code == 201, answer.text
        found.append(answer.json()["id"])
    return found


async def failed(client: httpx.AsyncClient, store: SqliteStore, clock: ManualClock, count: int) -> list[str]:
    made = await registered(client, count)
    clock.advance(10)
    await worked(store, clock, DOWN)
    return made


async def asked(client: httpx.AsyncClient, action: str, **conditions: Any) -> dict[str, Any]:
    answer = await client.post(PATH, json={"action": action, "filter": conditions})
    assert answer.status_code == 202, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def refused(client: httpx.AsyncClient, **body: Any) -> dict[str, str]:
    """The faults, by field."""
    answer = await client.post(PATH, json=body)
    assert answer.status_code == 400, answer.text
    return {fault["field"]: fault["message"] for fault in answer.json()["errors"]}


async def work(api: Api) -> None:
    """All there is to do, as an engine does it."""
    worker = BulkWorker(api.store, api.clock, Telemetry(api.clock, write=api.logged.append))
    while await api.store.next_bulk() is not None:
        await worker.look()
        api.clock.advance(1)


async def test_dead_letters_are_run_again(api: Api, client: httpx.AsyncClient) -> None:
    made = await failed(client, api.store, api.clock, 3)
    bulk = await asked(client, "retry", statusCode="5XX", host="TARGET.test")
    assert is_task_id(bulk["id"])
    assert bulk == (await client.get(f"{PATH}/{bulk['id']}")).json()
    assert bulk | {"id": ""} == {
        "id": "",
        "action": "retry",
        "filter": {"states": ["ERROR"], "host": "target.test", "statusCode": "5xx"},
        "state": "pending",
        "total": 3,
        **dict.fromkeys(("seen", "changed", "skipped", "startedAt", "endedAt"), 0),
        "waitsFor": None,
        "error": None,
        "askedBy": "owner",
        "createdAt": api.clock.now(),
        "updatedAt": api.clock.now(),
    }
    await work(api)
    done = (await client.get(f"{PATH}/{bulk['id']}")).json()
    assert (done["state"], done["total"], done["seen"], done["changed"], done["skipped"]) == ("done", 3, 3, 3, 0)
    assert done["endedAt"] == done["startedAt"] > 0
    assert await worked(api.store, api.clock, Outcome(OutcomeKind.SUCCESS, status_code=200)) == 3
    states = {entry["state"] for entry in (await client.get("/v1/queues")).json()}
    assert states == {"SUCCESS"}
    moments = (await client.get(f"/v1/queues/{made[0]}/timeline")).json()
    assert [moment["detail"] for moment in moments if moment["event"] == "restarted"] == [f"by bulk work {bulk['id']}"]


async def test_a_dry_run_counts_and_changes_nothing(api: Api, client: httpx.AsyncClient) -> None:
    made = await failed(client, api.store, api.clock, 12)
    waiting = await registered(client, 2, config={"executionDelay": 60_000})
    answer = await client.post(
        PATH, json={"action": "retry", "filter": {"ids": [*made, *waiting, "0" * 24]}, "dryRun": True}
    )
    assert answer.status_code == 200
    assert answer.json() == {
        "action": "retry",
        "filter": {"ids": [*made, *waiting, "0" * 24]},
        "dryRun": True,
        "seen": 14,
        "changed": 12,
        "skipped": 2,
        "atLeast": False,
        "sample": made[:10],
    }
    assert (await client.get(PATH)).json() == []


async def test_a_dry_run_looks_at_so_many_and_says_so(
    api: Api, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "BULK_SIGHT_MAX", 2)
    monkeypatch.setattr("tasks_server.service.bulks._WINDOW", 2)
    await registered(client, 3)
    found = (await client.post(PATH, json={"action": "delete", "filter": {"all": True}, "dryRun": True})).json()
    assert (found["seen"], found["changed"], found["atLeast"], found["filter"]) == (2, 2, True, {"all": True})


async def test_states_of_each_action_when_none_are_named(client: httpx.AsyncClient) -> None:
    for action, states in (
        ("retry", ["ERROR"]),
        ("revoke", ["RUNNING", "PAUSED"]),
        ("pause", ["RUNNING"]),
        ("resume", ["PAUSED"]),
        ("execute", ["RUNNING"]),
    ):
        assert (await asked(client, action, all=True))["filter"] == {"states": states}
        assert (await asked(client, action, states=["SUCCESS"]))["filter"] == {"states": ["SUCCESS"]}
    assert (await asked(client, "delete", all=True))["filter"] == {"all": True}


async def test_dates_and_schedules_may_be_named(client: httpx.AsyncClient, clock: ManualClock) -> None:
    schedule = {"name": "nightly", "every": "1m", "task": task()}
    made = (await client.post("/v1/schedules", json=schedule)).json()
    bulk = await asked(client, "delete", schedule="nightly", createdSince="2020-01-01T00:00:00Z", endedUntil=5.0)
    assert bulk["filter"] == {"schedule": made["id"], "createdSince": 1_577_836_800_000, "endedUntil": 5}
    assert (await asked(client, "delete", schedule="A" * 24))["filter"] == {"schedule": "A" * 24}
    faults = await refused(client, action="delete", filter={"schedule": "weekly"})
    assert faults == {"filter.schedule": "there is no schedule of this name; its id would do"}


async def test_all_faults_come_at_once(client: httpx.AsyncClient) -> None:
    faults = await refused(
        client,
        action="drop",
        filter={
            "states": ["FAILED"],
            "statusCode": "7xx",
            "ids": ["x"],
            "lanes": "a",
            "createdSince": "soon",
            "endedSince": 9,
            "endedUntil": 9,
            "host": "h",
            "handler": "n",
            "metadata": {},
            "errorContains": "",
        },
        dryRun="yes",
        more=1,
    )
    assert set(faults) == {
        "action",
        "filter.states.0",
        "filter.statusCode",
        "filter.ids.0",
        "filter.lanes",
        "filter.createdSince",
        "filter.endedUntil",
        "filter.handler",
        "filter.metadata",
        "filter.errorContains",
        "dryRun",
        "more",
    }


@pytest.mark.parametrize("action", ["delete", "retry"])
async def test_an_empty_filter_is_no_filter(client: httpx.AsyncClient, action: str) -> None:
    assert set(await refused(client, action=action, filter={})) == {"filter"}
    assert set(await refused(client, action=action, filter={"lane": None})) == {"filter"}
    assert await refused(client, action=action, filter={"all": False}) == {"filter.all": "must be true, or null"}
    assert set(await refused(client, action=action, filter={"all": True, "lane": "a"})) == {"filter.all"}
    assert set(await refused(client, action=action)) == {"filter"}
    assert set(await refused(client, action=action, filter=[])) == {"filter"}
    assert (await client.post(PATH, json=[])).status_code == 400


async def test_it_is_listed_the_newest_first(client: httpx.AsyncClient, clock: ManualClock) -> None:
    made = []
    for _ in range(5):
        made.append((await asked(client, "retry", all=True))["id"])
        clock.advance(1)
    first = await client.get(f"{PATH}?limit=3")
    assert [bulk["id"] for bulk in first.json()] == made[:1:-1]
    second = await client.get(first.links["next"]["url"])
    assert [bulk["id"] for bulk in second.json()] == made[1::-1]
    assert "next" not in second.links
    assert (await client.get(f"{PATH}?cursor=x")).status_code == 400


async def test_another_owners_is_not_there(api: Api, client: httpx.AsyncClient, admin: httpx.AsyncClient) -> None:
    made = await failed(client, api.store, api.clock, 1)
    bulk = await asked(client, "delete", all=True)
    other, registration = await api.owner("other-shop")
    for answer in (
        await other.get(f"{PATH}/{bulk['id']}"),
        await other.post(f"{PATH}/{bulk['id']}/cancel"),
        await client.get(f"{PATH}/no-id"),
        await client.post(f"{PATH}/{'0' * 24}/cancel"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (404, "bulk_not_found")
    assert (await other.get(PATH)).json() == []
    api.clock.advance(1)
    theirs = await asked(other, "delete", ids=made)
    await api.store.cancel_bulk(None, bulk["id"], api.clock.now())
    await work(api)
    assert (await other.get(f"{PATH}/{theirs['id']}")).json()["seen"] == 0
    assert (await client.get(f"/v1/queues/{made[0]}")).status_code == 200
    assert [each["id"] for each in (await admin.get(PATH)).json()] == [theirs["id"], bulk["id"]]
    refusal = await admin.post(PATH, json={"action": "retry", "filter": {"all": True}})
    assert (refusal.status_code, refusal.json()["code"]) == (403, "owner_missing")
    named = {"X-Tasks-Owner-Id": registration["id"]}
    made_by = await admin.post(PATH, json={"action": "retry", "filter": {"all": True}}, headers=named)
    assert made_by.json()["askedBy"] == "operator"


async def test_cancelled_it_stays_cancelled(api: Api, client: httpx.AsyncClient) -> None:
    made = await failed(client, api.store, api.clock, 2)
    bulk = await asked(client, "retry", all=True)
    cancelled = await client.post(f"{PATH}/{bulk['id']}/cancel")
    assert (cancelled.status_code, cancelled.json()["state"]) == (200, "cancelled")
    await work(api)
    assert (await client.get(f"{PATH}/{bulk['id']}")).json() == cancelled.json()
    assert (await client.post(f"{PATH}/{bulk['id']}/cancel")).json() == cancelled.json()
    assert (await client.get(f"/v1/queues/{made[0]}")).json()["state"] == "ERROR"


async def test_an_owner_has_so_much_open_and_no_more(client: httpx.AsyncClient) -> None:
    for _ in range(limits.BULKS_OPEN_MAX):
        await asked(client, "retry", all=True)
    answer = await client.post(PATH, json={"action": "retry", "filter": {"all": True}})
    assert (answer.status_code, answer.json()["code"]) == (422, "bulks_full")
    last = (await client.get(PATH)).json()[0]["id"]
    await client.post(f"{PATH}/{last}/cancel")
    await asked(client, "retry", all=True)


async def test_the_end_is_told(api: Api, client: httpx.AsyncClient) -> None:
    await failed(client, api.store, api.clock, 2)
    bulk = await asked(client, "retry", all=True)
    await work(api)
    (line,) = [line for line in api.logged if b"bulk ended" in line]
    assert bulk["id"].encode() in line


async def test_a_single_retry_needs_a_place_in_the_queue(
    api: Api, client: httpx.AsyncClient, admin: httpx.AsyncClient
) -> None:
    (one,) = await failed(client, api.store, api.clock, 1)
    await admin.patch("/v1/owners/small-shop", json={"tasksInQueueLimit": 1})
    await registered(client, 1)
    answer = await client.post(f"/v1/queues/{one}/retry")
    assert (answer.status_code, answer.json()["code"]) == (422, "queue_full")


async def test_why_it_does_not_go_on_is_told(api: Api, client: httpx.AsyncClient) -> None:
    await failed(client, api.store, api.clock, 2)
    bulk = await asked(client, "retry", all=True)

    def raising(_: Bulk, task: Task) -> None:
        raise ZeroDivisionError

    for _ in range(STEP_FAILURES_MAX):
        await api.store.work_bulk(api.clock.now(), Stride(), raising)
        shown = (await client.get(f"{PATH}/{bulk['id']}")).json()
        assert shown["error"] == "a fault of the server (ZeroDivisionError)"
        api.clock.advance(60_000)
        if not shown["endedAt"]:
            assert (shown["state"], shown["waitsFor"]) == ("waiting", "step_failed")
    assert (shown["state"], shown["waitsFor"], shown["seen"]) == ("failed", None, 0)
