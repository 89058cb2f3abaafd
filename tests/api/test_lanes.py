"""`/v1/lanes` from outside: shown, set up, steered; what is refused, and how."""

from typing import Any

import httpx
import pytest

from tasks_server.clock import ManualClock
from tasks_server.domain import limits
from tasks_server.engine.bulks import BulkWorker
from tasks_server.store.sqlite.store import SqliteStore
from tasks_server.telemetry import Telemetry

from .conftest import ADMIN_KEY, Api, claimed, task

PATH = "/v1/lanes"
NO_TASKS = {"scheduled": 0, "available": 0, "running": 0, "retryable": 0, "paused": 0}
PLAIN = {
    "maxConcurrent": None, "ratePerSecond": None, "burst": None,
    "paused": False, "pausedAt": None, "pausedBy": None, "tasks": NO_TASKS, "failureCallback": None,
    "successCallback": None,
}  # fmt: skip


async def put(client: httpx.AsyncClient, name: str = "mail", **settings: Any) -> dict[str, Any]:
    answer = await client.put(f"{PATH}/{name}", json=settings)
    assert answer.status_code in (200, 201), answer.text
    found: dict[str, Any] = answer.json()
    return found


async def register(client: httpx.AsyncClient, lane: str = "mail", **config: Any) -> str:
    answer = await client.post("/v1/queues/register", json=task(lane=lane, executionDelay=0, **config))
    assert answer.status_code == 201, answer.text
    found: str = answer.json()["id"]
    return found


async def shown(client: httpx.AsyncClient, name: str = "mail") -> dict[str, Any]:
    answer = await client.get(f"{PATH}/{name}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def code_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


async def test_a_lane_that_nobody_used_is_not_there(client: httpx.AsyncClient) -> None:
    assert (await client.get(PATH)).json() == []
    for method, path in (
        ("GET", ""),
        ("PATCH", ""),
        ("DELETE", ""),
        ("POST", "/pause"),
        ("POST", "/resume"),
        ("POST", "/purge"),
    ):
        body = {"json": {}} if method == "PATCH" else {}
        assert code_of(await client.request(method, f"{PATH}/mail{path}", **body)) == (404, "lane_not_found")


async def test_the_first_task_makes_it_with_the_defaults(client: httpx.AsyncClient) -> None:
    await register(client)
    assert await shown(client) == {"name": "mail", **PLAIN, "tasks": NO_TASKS | {"available": 1}}
    assert (await client.get(PATH)).json() == [await shown(client)]


async def test_put_makes_it_and_sets_all_of_it(client: httpx.AsyncClient) -> None:
    answer = await client.put(f"{PATH}/mail", json={"maxConcurrent": 5, "ratePerSecond": 50, "burst": 10})
    assert answer.status_code == 201
    assert answer.json() == {
        "name": "mail", **PLAIN, "maxConcurrent": 5, "ratePerSecond": 50.0, "burst": 10,
    }  # fmt: skip
    assert answer.json() == await shown(client)
    answer = await client.put(f"{PATH}/mail", json={"ratePerSecond": 0.5})
    assert (answer.status_code, answer.json()) == (200, {"name": "mail", **PLAIN, "ratePerSecond": 0.5, "burst": 1})


async def test_a_patch_changes_what_it_names(client: httpx.AsyncClient) -> None:
    await put(client, maxConcurrent=5, ratePerSecond=50, burst=10)
    merge = {"content-type": "application/merge-patch+json"}
    answer = await client.patch(f"{PATH}/mail", content=b'{"maxConcurrent": 6, "burst": null}', headers=merge)
    assert answer.json() == {"name": "mail", **PLAIN, "maxConcurrent": 6, "ratePerSecond": 50.0, "burst": 5}
    await put(client, ratePerSecond=50, burst=10)
    answer = await client.patch(f"{PATH}/mail", json={"ratePerSecond": None})
    assert answer.json() == {"name": "mail", **PLAIN}  # the burst went with its rate
    assert (await client.patch(f"{PATH}/mail", json={})).json() == {"name": "mail", **PLAIN}


async def test_who_paused_it_and_when_is_kept(client: httpx.AsyncClient, admin: httpx.AsyncClient, api: Api) -> None:
    await put(client, maxConcurrent=2)
    first = api.clock.now()
    answer = await client.post(f"{PATH}/mail/pause")
    assert answer.json() == {
        "name": "mail", **PLAIN, "maxConcurrent": 2, "paused": True, "pausedAt": first, "pausedBy": "owner",
    }  # fmt: skip
    api.clock.advance(5)
    owner = (await client.get("/v1/owners/small-shop")).json()["id"]
    as_owner = {"X-Tasks-Owner-Id": owner}
    assert (await admin.post(f"{PATH}/mail/pause", headers=as_owner)).json()["pausedAt"] == first
    assert (await client.put(f"{PATH}/mail", json={"paused": True})).json()["pausedAt"] == first
    assert (await admin.post(f"{PATH}/mail/resume", headers=as_owner)).json() == {"name": "mail", **PLAIN}
    assert (await client.post(f"{PATH}/mail/resume")).status_code == 200
    answer = await admin.patch(f"{PATH}/mail", json={"paused": True}, headers=as_owner)
    assert (answer.json()["pausedBy"], answer.json()["pausedAt"]) == ("operator", first + 5)
    resumed = await admin.patch(f"{PATH}/mail", json={"paused": False}, headers=as_owner)
    assert resumed.json() == {"name": "mail", **PLAIN}


async def test_its_tasks_keep_to_it(client: httpx.AsyncClient, store: SqliteStore, clock: ManualClock) -> None:
    for _ in range(5):
        await register(client)
    await put(client, paused=True)
    assert await claimed(store, clock) == []
    await put(client, maxConcurrent=2)
    assert len(await claimed(store, clock)) == 2
    assert await claimed(store, clock) == []
    assert (await shown(client))["tasks"] == NO_TASKS | {"available": 3, "running": 2}


async def test_it_is_deleted_once_nothing_of_it_is_in_queue(client: httpx.AsyncClient) -> None:
    task_id = await register(client)
    await put(client, ratePerSecond=1)
    assert code_of(await client.delete(f"{PATH}/mail")) == (422, "lane_in_use")
    await client.delete(f"/v1/queues/{task_id}")
    answer = await client.delete(f"{PATH}/mail")
    assert (answer.status_code, answer.json()) == (200, {"status": "Done"})
    assert (await client.get(PATH)).json() == []
    assert (await client.get(f"{PATH}/mail")).status_code == 404
    await register(client)
    assert (await shown(client))["ratePerSecond"] is None


async def test_a_purge_deletes_what_is_in_queue_then(client: httpx.AsyncClient, api: Api, store: SqliteStore) -> None:
    for _ in range(3):
        await register(client)
    assert len(await claimed(store, api.clock)) == 3
    done = await register(client)
    await client.patch(f"/v1/queues/{done}/revoke")
    kept = await register(client, "other")
    await register(client)
    answer = await client.post(f"{PATH}/mail/purge")
    assert answer.status_code == 202
    assert (answer.json()["action"], answer.json()["filter"]["lane"]) == ("delete", "mail")
    later = await register(client)
    await bulk_work(api)
    ended = (await client.get(f"/v1/bulk/{answer.json()['id']}")).json()
    assert (ended["state"], ended["changed"]) == ("done", 4)
    left = {task["id"] for task in (await client.get("/v1/queues")).json()}
    assert left == {done, kept, later}
    assert (await shown(client))["tasks"] == NO_TASKS | {"available": 1}


async def bulk_work(api: Api) -> None:
    """All bulk work that there is, as an engine does it."""
    worker = BulkWorker(api.store, api.clock, Telemetry(api.clock, write=lambda _: None))
    while await api.store.next_bulk() is not None:
        await worker.look()
        api.clock.advance(1)


async def test_the_list_goes_page_by_page(client: httpx.AsyncClient) -> None:
    names = [f"lane-{number}" for number in range(5)]
    for name in names:
        await put(client, name)
    seen: list[str] = []
    path: str | None = f"{PATH}?limit=2"
    while path is not None:
        answer = await client.get(path)
        seen += [lane["name"] for lane in answer.json()]
        link = answer.headers.get("link")
        path = None if link is None else link[1 : link.index(">")]
    assert seen == names


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "cursor=%C3%A9", "cursor=IQ==", "color=red"])
async def test_a_query_that_cannot_be_is_refused(client: httpx.AsyncClient, query: str) -> None:
    assert code_of(await client.get(f"{PATH}?{query}")) == (400, "invalid_request")


async def test_all_faults_are_told_at_once(client: httpx.AsyncClient) -> None:
    body = {"maxConcurrent": 0, "ratePerSecond": 100_001, "burst": 1.5, "paused": "yes", "ratePerSecnd": 5}
    answer = await client.put(f"{PATH}/no%20good", json=body)
    assert code_of(answer) == (400, "invalid_request")
    faults = {fault["field"]: fault for fault in answer.json()["errors"]}
    assert set(faults) == {"name", "maxConcurrent", "ratePerSecond", "burst", "paused", "ratePerSecnd"}
    assert "did you mean ratePerSecond?" in faults["ratePerSecnd"]["message"]
    assert faults["maxConcurrent"]["message"] == "must be an integer from 1 to 1000000, or null"
    assert (faults["name"]["given"], faults["burst"]["given"]) == ("no good", 1.5)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"burst": 5}, "burst"),
        ({"ratePerSecond": 0}, "ratePerSecond"),
        ({"ratePerSecond": -1}, "ratePerSecond"),
        ({"ratePerSecond": "5"}, "ratePerSecond"),
        ({"ratePerSecond": True}, "ratePerSecond"),
        ({"ratePerSecond": 1e-9}, "ratePerSecond"),
        ({"maxConcurrent": 1_000_001}, "maxConcurrent"),
        ({"maxConcurrent": 2**70}, "maxConcurrent"),
        ({"ratePerSecond": 5, "burst": 1_000_001}, "burst"),
        ({"paused": None}, "paused"),
        ({"name": "mail"}, "name"),
        ([], "body"),
    ],
)
async def test_what_no_lane_can_be(client: httpx.AsyncClient, body: Any, field: str) -> None:
    answer = await client.put(f"{PATH}/mail", json=body)
    assert code_of(answer) == (400, "invalid_request")
    assert [fault["field"] for fault in answer.json()["errors"]] == [field]
    assert (await client.get(f"{PATH}/mail")).status_code == 404


async def test_a_patch_is_judged_as_a_whole(client: httpx.AsyncClient) -> None:
    await put(client, maxConcurrent=3)
    for body in ({"burst": 5}, {"ratePerSecond": None, "burst": 5}, 7):
        assert code_of(await client.patch(f"{PATH}/mail", json=body)) == (400, "invalid_request")
    assert (await client.patch(f"{PATH}/mail", json={"ratePerSecond": 7, "burst": 5})).json()["burst"] == 5


async def test_whole_numbers_may_be_written_as_fractions(client: httpx.AsyncClient) -> None:
    assert (await put(client, maxConcurrent=3.0, ratePerSecond=7))["maxConcurrent"] == 3


async def test_lanes_are_their_owners(client: httpx.AsyncClient, api: Api) -> None:
    other, _ = await api.owner("other-shop")
    await put(client, ratePerSecond=5)
    assert (await other.get(f"{PATH}/mail")).status_code == 404
    assert (await other.get(PATH)).json() == []
    assert (await put(other, maxConcurrent=1))["ratePerSecond"] is None
    assert (await shown(client))["maxConcurrent"] is None


async def test_the_operator_names_the_owner(client: httpx.AsyncClient, admin: httpx.AsyncClient) -> None:
    await put(client, ratePerSecond=5)
    for method, path in (("GET", ""), ("GET", "/mail"), ("POST", "/mail/pause"), ("DELETE", "/mail")):
        assert code_of(await admin.request(method, PATH + path)) == (403, "owner_missing")
    owner = (await client.get("/v1/owners/small-shop")).json()["id"]
    answer = await admin.get(PATH, headers={"X-Tasks-Owner-Id": owner})
    assert [lane["name"] for lane in answer.json()] == ["mail"]


async def test_an_owner_has_so_many(client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LANES_MAX", 2)
    for name in ("a", "b"):
        await put(client, name)
    assert code_of(await client.put(f"{PATH}/c", json={})) == (422, "lanes_full")


async def test_what_the_operator_paused_its_owner_cannot_resume(client: httpx.AsyncClient, api: Api) -> None:
    owner = (await client.get("/v1/owners/small-shop")).json()["id"]
    operator = api.client(ADMIN_KEY, owner)
    made = (await client.post("/v1/queues/register", json=task(lane="mail"))).json()["id"]
    await put(client, paused=True)

    assert (await operator.post(f"{PATH}/mail/pause")).json()["pausedBy"] == "operator", "also what was paused before"
    assert (await client.post(f"{PATH}/mail/pause")).json()["pausedBy"] == "operator"
    for refused in (
        await client.post(f"{PATH}/mail/resume"),
        await client.put(f"{PATH}/mail", json={"maxConcurrent": 5}),
        await client.patch(f"{PATH}/mail", json={"paused": False}),
    ):
        assert code_of(refused) == (403, "lane_held")
    assert (await client.patch(f"{PATH}/mail", json={"maxConcurrent": 7})).json()["paused"]
    told = (await client.get(f"/v1/queues/{made}/explain")).json()["summary"]
    assert "paused by the operator" in told
    assert "only the operator can resume it" in told

    await client.delete(f"/v1/queues/{made}")
    assert code_of(await client.delete(f"{PATH}/mail")) == (403, "lane_held")
    assert not (await operator.post(f"{PATH}/mail/resume")).json()["paused"]
    assert (await client.delete(f"{PATH}/mail")).status_code == 200
