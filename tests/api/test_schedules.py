"""`/v1/schedules` from outside: made, shown, changed, run; what is refused, and how."""

from typing import Any

import httpx
import pytest

from tasks_server.api.app import ApiConfig
from tasks_server.clock import ManualClock
from tasks_server.domain import limits
from tasks_server.domain.ids import is_task_id
from tasks_server.engine.scheduler import Scheduler
from tasks_server.engine.timekeeper import Timekeeper
from tasks_server.store.sqlite.store import SqliteStore
from tasks_server.telemetry import Telemetry

from .conftest import ADMIN_KEY, Api, task

PATH = "/v1/schedules"
DAY = limits.DAY_MS


def body(name: str = "nightly", **fields: Any) -> dict[str, Any]:
    """A schedule to ask for, every minute unless told otherwise."""
    when = {} if "cron" in fields else {"every": "1m"}
    return {"name": name, **when, "task": task(retry=3) | {"metadata": {"of": "test"}}, **fields}


async def made(client: httpx.AsyncClient, name: str = "nightly", **fields: Any) -> dict[str, Any]:
    answer = await client.post(PATH, json=body(name, **fields))
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def fire(api: Api) -> None:
    """All that is due, as an engine does it."""
    scheduler = Scheduler(api.store, api.clock, Telemetry(api.clock, write=lambda _: None))
    while await scheduler.look() == 0.0:
        pass


async def refused(client: httpx.AsyncClient, **fields: Any) -> dict[str, str]:
    """The faults of a schedule, by field."""
    answer = await client.post(PATH, json=body(**fields))
    assert answer.status_code == 400, answer.text
    return {fault["field"]: fault["message"] for fault in answer.json()["errors"]}


# Making


async def test_a_schedule_is_answered_with_all_that_counts(client: httpx.AsyncClient, clock: ManualClock) -> None:
    found = await made(client, cron="30 2 * * *", every=None, timezone="Europe/Berlin", jitter="5s", overlap="skip")
    assert is_task_id(found["id"])
    assert found == await _shown(client, found["id"]) == await _shown(client, "nightly")
    assert found["state"] == "active"
    assert (found["cron"], found["every"], found["timezone"]) == ("30 2 * * *", None, "Europe/Berlin")
    assert (found["jitter"], found["overlap"]) == (5_000, "skip")
    assert (found["missed"], found["missedWindow"], found["maxRuns"]) == ("once", DAY, None)
    assert (found["runs"], found["lastFireAt"], found["lastTaskId"], found["lastMissed"]) == (0, None, None, None)
    assert clock.now() < found["nextFireAt"] <= clock.now() + DAY
    assert found["task"]["httpRequest"]["url"] == "https://target.test/hook"
    assert (found["task"]["config"]["retry"], found["task"]["metadata"]) == (3, {"of": "test"})


async def _shown(client: httpx.AsyncClient, key: str) -> Any:
    answer = await client.get(f"{PATH}/{key}")
    assert answer.status_code == 200
    return answer.json()


async def test_its_tasks_say_where_they_are_from(api: Api, client: httpx.AsyncClient, clock: ManualClock) -> None:
    found = await made(client)
    clock.advance(60_000)
    await fire(api)
    (listed,) = (await client.get("/v1/queues")).json()
    shown = (await client.get(f"/v1/queues/{listed['id']}")).json()
    assert shown["schedule"] == {"id": found["id"], "fireAt": found["nextFireAt"]}
    assert (shown["estimateExecutionAt"], shown["metadata"]) == (found["nextFireAt"], {"of": "test"})
    config = (await client.get(f"/v1/queues/{listed['id']}/config")).json()
    assert config["httpRequest"] == found["task"]["httpRequest"]
    after = await _shown(client, "nightly")
    assert (after["runs"], after["lastTaskId"], after["lastFireAt"]) == (1, listed["id"], found["nextFireAt"])
    assert after["nextFireAt"] == found["nextFireAt"] + 60_000
    plain = await client.post("/v1/queues/register", json=task())
    assert (await client.get(f"/v1/queues/{plain.json()['id']}")).json()["schedule"] is None


async def test_a_name_is_given_once(client: httpx.AsyncClient) -> None:
    await made(client)
    answer = await client.post(PATH, json=body())
    assert (answer.status_code, answer.json()["code"]) == (409, "schedule_name_taken")
    other = await made(client, "other")
    answer = await client.patch(f"{PATH}/{other['id']}", json={"name": "nightly"})
    assert (answer.status_code, answer.json()["code"]) == (409, "schedule_name_taken")


async def test_an_owner_has_so_many(client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SCHEDULES_MAX", 2)
    for number in range(2):
        await made(client, f"number-{number}")
    answer = await client.post(PATH, json=body())
    assert (answer.status_code, answer.json()["code"]) == (422, "schedules_full")


# What is refused


async def test_all_faults_are_told_at_once(client: httpx.AsyncClient) -> None:
    faults = await refused(
        client, name="no good", cron="61 * * * *", every="1s", timezone="Europe/Berln", startAt="5", endAt=1,
        jitter="2d", missed="maybe", missedWindow=True, overlap=7, maxRuns=0, color="red",
        task={"httpRequest": {"method": "GET"}},
    )  # fmt: skip
    assert set(faults) == {
        "name", "cron", "timezone", "startAt", "endAt", "jitter", "missed", "missedWindow", "overlap", "maxRuns",
        "color", "task.httpRequest.url",
    }  # fmt: skip
    assert "did you mean Europe/Berlin?" in faults["timezone"]


@pytest.mark.parametrize(
    ("fields", "field", "message"),
    [
        ({"every": None}, "cron", "is required, or every in its place"),
        ({"every": 999}, "every", "must be milliseconds from 1000 to "),
        ({"every": 999}, "every", "or text with units such as 30s"),
        ({"every": "soon"}, "every", "is not a duration"),
        ({"cron": "@never"}, "cron", "has a name that is not known"),
        ({"cron": "0 0 30 2 1"}, "", ""),
        ({"cron": "0 0 29 2 *", "endAt": 1_700_000_000_001}, "cron", "does not fire before endAt"),
        ({"name": "A" * 24}, "name", "looks like an id"),
        ({"name": "a b"}, "name", "must be text of 1 to 64 characters"),
        ({"endAt": 5}, "endAt", "must lie in the future"),
        ({"startAt": "2030-01-02", "endAt": "2030-01-01"}, "endAt", "must lie after startAt"),
        ({"timezone": "Europe/Berlin"}, "timezone", "belongs to cron: every counts how much time has passed"),
        ({"missed": "skip", "missedWindow": "1h"}, "missedWindow", "has no meaning where missed is skip"),
        ({"task": task(timezone="Europe/Berlin")}, "task.config.timezone", "has no place in a schedule's task"),
        ({"task": task(retryAt=1, retry=3)}, "task.config.retryAt", "has no place in a schedule"),
        ({"task": task(retryBackoff="fixed", retryExponential=True)}, "task.config.retryExponential", "says otherwise"),
        ({"task": None}, "task", "must be an object"),
        ({"task_name": "curl"}, "task_name", "belongs within task"),
        ({"task": {"task_name": "a b", "payload": {}}}, "task.task_name", "must be text of 1 to 64 characters"),
        ({"task": {"payload": {}}}, "task.task_name", "is required"),
        ({"task": {"taskName": "curl"}}, "task.taskName", "is not a known field"),
        ({"task": {"handler": {"name": "a b"}}}, "task.handler.name", "must be text of 1 to 64 characters"),
        ({"task": {"handler": {"name": "a"}, "task_name": "a"}}, "task.task_name", "cannot be given together with h"),
        ({"task": {"handler": {"name": "a"}, "payload": 1}}, "task.payload", "cannot be given together with handler"),
        ({"task": task() | {"task_name": "curl"}}, "task.httpRequest", "cannot be given together with task_name"),
        ({"task": {"task_name": "a", "config": {"ca": "x"}}}, "task.config.ca", "belongs to an httpRequest"),
        ({"task": {"task_name": "a", "config": {"expireAt": "2031-01-01"}}}, "task.config.expireAt", "no place in a"),
        ({"task": task(executeAt="2031-01-01")}, "task.config.executeAt", "has no place in a schedule"),
        ({"task": task(expireAt="2031-01-01")}, "task.config.expireAt", "has no place in a schedule"),
        ({"task": task(executionDelay="5s")}, "task.config.executionDelay", "has no place in a schedule"),
        ({"task": task(retry=-1)}, "task.config.retry", "must be an integer from 0"),
        ({"task": task() | {"color": 1}}, "task.color", "is not a known field"),
    ],
)
async def test_what_does_not_fit_is_told(
    client: httpx.AsyncClient, fields: dict[str, Any], field: str, message: str
) -> None:
    if not field:
        await made(client, **fields)
        return
    faults = await refused(client, **fields)
    assert message in faults[field]
    assert (await client.get(PATH)).json() == []


async def test_what_goes_with_a_task_name_is_told(client: httpx.AsyncClient) -> None:
    answer = await client.post(PATH, json=body(task={"task_name": "greet", "max_retries": 5}))
    (fault,) = answer.json()["errors"]
    assert fault["field"] == "task.max_retries"
    assert fault["allowed"] == ["config.retry"]
    faults = await refused(client, task={"handler": {"name": "a b"}, "task_name": "greet"})
    assert set(faults) == {"task.task_name", "task.handler.name"}


async def test_a_wrong_every_is_not_a_missing_cron(client: httpx.AsyncClient) -> None:
    for every in ("500ms", "soon", 5, True):
        assert set(await refused(client, every=every)) == {"every"}
    assert set(await refused(client, every="soon", cron="61 * * * *")) == {"every", "cron"}


async def test_a_missing_task_and_name_are_told(client: httpx.AsyncClient) -> None:
    answer = await client.post(PATH, json={"every": 60_000})
    assert [fault["field"] for fault in answer.json()["errors"]] == ["name", "task"]
    for raw in (b"[]", b'"x"', b"{"):
        answer = await client.post(PATH, content=raw, headers={"content-type": "application/json"})
        assert answer.status_code == 400
    assert (await client.post(PATH, json=body() | {"metadata": "x" * 40_000})).status_code == 413


class TestEgress:
    @pytest.fixture
    def config(self) -> ApiConfig:
        from tasks_server.domain.egress import Egress

        return ApiConfig(admin_key=ADMIN_KEY, registration="open", egress=Egress.parse("public", "", ""))

    async def test_what_tasks_may_not_call_schedules_may_not(self, client: httpx.AsyncClient) -> None:
        call = {"httpRequest": {"url": "http://127.0.0.1/", "method": "GET"}}
        faults = await refused(client, task=call)
        assert list(faults) == ["task.httpRequest.url"]
        assert (await made(client))["state"] == "active"
        answer = await client.patch(f"{PATH}/nightly", json={"task": call})
        assert answer.status_code == 400


async def test_headers_of_the_signature_are_the_signatures(client: httpx.AsyncClient) -> None:
    call = task()
    call["httpRequest"] |= {"headers": {"webhook-id": "x"}}  # type: ignore[operator]  # `call` holds objects of any kind
    assert list(await refused(client, task=call)) == ["task.httpRequest.headers.webhook-id"]
    await made(client)
    for answer in (
        await client.patch(f"{PATH}/nightly", json={"task": call}),
        await client.put(f"{PATH}/nightly", json=body(task=call)),
    ):
        assert [fault["field"] for fault in answer.json()["errors"]] == ["task.httpRequest.headers.webhook-id"]


# Secrets


async def test_secrets_are_masked_and_the_mask_is_not_taken_for_one(api: Api, client: httpx.AsyncClient) -> None:
    call = task()
    call["httpRequest"] |= {  # type: ignore[operator]  # `call` holds objects of any kind
        "url": "https://target.test/?token=Hidden1",
        "headers": {"X-Api-Key": "Hidden2"},
        "authBasic": {"username": "me", "password": "Hidden3"},
    }
    await made(client, task=call | {"metadata": {"api-key": "Hidden4", "plain": "shown"}})
    for answer in (
        await client.get(f"{PATH}/nightly"),
        await client.get(PATH),
        await client.post(f"{PATH}/nightly/pause"),
        await client.patch(f"{PATH}/nightly", json={"jitter": 5}),
        await client.put(f"{PATH}/nightly", json=body(task=call)),
        await client.post(f"{PATH}/nightly/run"),
    ):
        assert answer.status_code in (200, 201)
        assert "Hidden" not in answer.text
    shown = (await client.get(f"{PATH}/nightly")).json()["task"]["httpRequest"]
    assert (shown["url"], shown["headers"]) == ("https://target.test/?token=***", {"X-Api-Key": "***"})
    back = {"task": {"httpRequest": {"headers": {"X-Api-Key": "***"}}}}
    answer = await client.patch(f"{PATH}/nightly", json=back)
    assert [fault["field"] for fault in answer.json()["errors"]] == ["task.httpRequest.headers.X-Api-Key"]
    assert b"Hidden" not in b"".join(api.logged)


# Changing


async def test_a_patch_changes_what_it_names(client: httpx.AsyncClient, clock: ManualClock) -> None:
    before = await made(client)
    clock.advance(10_000)
    answer = await client.patch(
        f"{PATH}/nightly",
        json={"jitter": "1s", "task": {"config": {"retry": 5}}},
        headers={"content-type": "application/merge-patch+json"},
    )
    after = answer.json()
    assert after["nextFireAt"] == before["nextFireAt"], "its timing was left alone"
    assert (after["jitter"], after["task"]["config"]["retry"]) == (1_000, 5)
    assert after["task"]["httpRequest"] == before["task"]["httpRequest"]
    assert after == await _shown(client, before["id"])
    again = (await client.patch(f"{PATH}/{before['id']}", json={"every": "5m"})).json()
    assert again["nextFireAt"] == clock.now() + 300_000
    daily = (await client.patch(f"{PATH}/{before['id']}", json={"cron": "@daily"})).json()
    assert (daily["cron"], daily["every"]) == ("@daily", None)


async def test_a_patch_is_not_judged_by_dates_that_it_leaves_alone(
    client: httpx.AsyncClient, clock: ManualClock
) -> None:
    await made(client, endAt=clock.now() + 90_000)
    clock.advance(120_000)
    assert (await client.patch(f"{PATH}/nightly", json={"jitter": 7})).status_code == 200
    answer = await client.patch(f"{PATH}/nightly", json={"endAt": clock.now() - 5})
    assert [fault["field"] for fault in answer.json()["errors"]] == ["endAt"]


async def test_put_makes_replaces_and_leaves_alone(client: httpx.AsyncClient, clock: ManualClock) -> None:
    asked = body()
    del asked["name"]
    first = await client.put(f"{PATH}/nightly", json=asked)
    assert first.status_code == 201
    clock.advance(10_000)
    second = await client.put(f"{PATH}/nightly", json=asked)
    assert second.status_code == 200
    assert second.json() == first.json() | {"updatedAt": clock.now()}
    third = await client.put(f"{PATH}/{first.json()['id']}", json=asked | {"every": "2m", "name": "renamed"})
    assert (third.status_code, third.json()["id"]) == (200, first.json()["id"])
    assert third.json()["nextFireAt"] == clock.now() + 120_000
    assert (await client.get(f"{PATH}/nightly")).status_code == 404
    assert [one["name"] for one in (await client.get(PATH)).json()] == ["renamed"]


async def test_put_names_one_schedule(client: httpx.AsyncClient) -> None:
    answer = await client.put(f"{PATH}/nightly", json=body("other"))
    assert [fault["field"] for fault in answer.json()["errors"]] == ["name"]
    assert (await client.put(f"{PATH}/{'Z' * 24}", json=body())).status_code == 404
    assert (await client.put(f"{PATH}/{'Z' * 24}", json={"every": 5_000, "task": task()})).status_code == 404
    assert (await client.put(f"{PATH}/no%20good", json={"every": 5_000, "task": task()})).status_code == 400


# Steering


async def test_pause_resume_and_delete(api: Api, client: httpx.AsyncClient, clock: ManualClock) -> None:
    await made(client)
    paused = (await client.post(f"{PATH}/nightly/pause")).json()
    assert (paused["state"], paused["nextFireAt"]) == ("paused", None)
    assert (await client.post(f"{PATH}/nightly/pause")).json() == paused
    clock.advance(600_000)
    await fire(api)
    assert (await client.get("/v1/queues")).json() == []
    changed = (await client.patch(f"{PATH}/nightly", json={"every": "30s"})).json()
    assert (changed["state"], changed["nextFireAt"]) == ("paused", None)
    resumed = (await client.post(f"{PATH}/nightly/resume")).json()
    assert (resumed["state"], resumed["nextFireAt"]) == ("active", clock.now() + 30_000)
    assert (await client.delete(f"{PATH}/nightly")).json() == {"status": "Done"}
    for answer in (
        await client.get(f"{PATH}/nightly"),
        await client.delete(f"{PATH}/nightly"),
        await client.post(f"{PATH}/nightly/pause"),
        await client.post(f"{PATH}/nightly/run"),
        await client.get(f"{PATH}/nightly/preview"),
        await client.patch(f"{PATH}/nightly", json={"jitter": 1}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (404, "schedule_not_found")


async def test_run_makes_one_now(client: httpx.AsyncClient, clock: ManualClock) -> None:
    found = await made(client)
    await client.post(f"{PATH}/nightly/pause")
    answers = [await client.post(f"{PATH}/nightly/run") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201]
    first, second = (answer.json() for answer in answers)
    assert first["id"] != second["id"]
    assert first["estimateExecutionAt"] == clock.now()
    shown = (await client.get(f"/v1/queues/{first['id']}")).json()
    assert (shown["phase"], shown["schedule"]) == ("available", {"id": found["id"], "fireAt": clock.now()})
    assert (await _shown(client, "nightly"))["runs"] == 0


async def test_run_needs_room(client: httpx.AsyncClient, admin: httpx.AsyncClient) -> None:
    await made(client)
    assert (await admin.patch("/v1/owners/small-shop", json={"tasksInQueueLimit": 0})).status_code == 200
    answer = await client.post(f"{PATH}/nightly/run")
    assert (answer.status_code, answer.json()["code"]) == (422, "queue_full")


async def test_a_full_queue_is_shown(
    api: Api, client: httpx.AsyncClient, admin: httpx.AsyncClient, clock: ManualClock
) -> None:
    found = await made(client)
    await admin.patch("/v1/owners/small-shop", json={"tasksInQueueLimit": 0})
    clock.advance(60_000)
    await fire(api)
    shown = await _shown(client, "nightly")
    at = found["nextFireAt"]
    detail = "the owner had as many tasks in queue as it may have"
    assert shown["lastMissed"] == {"firstAt": at, "lastAt": at, "reason": "queue_full", "detail": detail}
    assert (shown["runs"], shown["nextFireAt"]) == (0, at + 60_000)


async def test_preview_tells_instants_and_the_clock_there(client: httpx.AsyncClient) -> None:
    await made(client, cron="30 2 29-30 3 *", every=None, timezone="Europe/Berlin")
    await client.post(f"{PATH}/nightly/pause")
    times = (await client.get(f"{PATH}/nightly/preview?n=4")).json()
    assert times["timezone"] == "Europe/Berlin"
    assert [time["local"] for time in times["times"]] == [
        "2024-03-29T02:30:00+01:00",
        "2024-03-30T02:30:00+01:00",
        "2025-03-29T02:30:00+01:00",
        "2025-03-30T03:00:00+02:00",
    ]
    assert times["times"][0]["at"] == 1_711_675_800_000
    assert len((await client.get(f"{PATH}/nightly/preview")).json()["times"]) == 10
    for n in ("0", "101", "x"):
        assert (await client.get(f"{PATH}/nightly/preview?n={n}")).status_code == 400


# Lists and owners


async def test_pages_follow_each_other(client: httpx.AsyncClient, clock: ManualClock) -> None:
    names = []
    for number in range(5):
        names.append((await made(client, f"number-{number}"))["name"])
        clock.advance(1)
    seen: list[str] = []
    url = f"{PATH}?limit=2"
    while url:
        answer = await client.get(url)
        seen += [one["name"] for one in answer.json()]
        link = answer.headers.get("link", "")
        url = link.partition(">")[0].removeprefix("<")
    assert seen == names
    assert "task" not in answer.json()[0]
    for query in ("cursor=x", "cursor=%C3%A9", "limit=0", "limit=1001", "offset=1"):
        assert (await client.get(f"{PATH}?{query}")).status_code == 400


async def test_owners_see_their_own_and_the_operator_all(
    api: Api, client: httpx.AsyncClient, admin: httpx.AsyncClient
) -> None:
    mine = await made(client)
    other, _ = await api.owner("other-shop")
    theirs = await made(other)
    assert [one["id"] for one in (await client.get(PATH)).json()] == [mine["id"]]
    answers = [
        await other.get(f"{PATH}/{mine['id']}"),
        await other.patch(f"{PATH}/{mine['id']}", json={"jitter": 1}),
        await other.put(f"{PATH}/{mine['id']}", json=body("stolen")),
        await other.delete(f"{PATH}/{mine['id']}"),
        *[await other.post(f"{PATH}/{mine['id']}/{act}") for act in ("pause", "resume", "run")],
        await other.get(f"{PATH}/{mine['id']}/preview"),
    ]
    assert {answer.status_code for answer in answers} == {404}
    assert await _shown(client, mine["id"]) == mine
    assert {one["id"] for one in (await admin.get(PATH)).json()} == {mine["id"], theirs["id"]}
    assert (await admin.post(f"{PATH}/{mine['id']}/pause")).status_code == 200
    assert (await admin.post(PATH, json=body())).status_code == 403
    assert (await api.client().get(PATH)).status_code == 401


async def test_an_owner_goes_with_its_schedules(api: Api, client: httpx.AsyncClient, store: SqliteStore) -> None:
    await made(client)
    assert (await client.delete("/v1/owners/small-shop")).status_code == 200
    assert await store.next_look() is None


# A clock that ran ahead and is set right


async def ran_ahead(api: Api, client: httpx.AsyncClient, by: int) -> None:
    """One that fires each minute, made before the clock ran ahead; it has been set right."""
    await made(client)
    api.clock.set(by)
    await fire(api)
    api.clock.set(-by)


@pytest.mark.parametrize("by", [3_600_000, DAY])
@pytest.mark.parametrize("how", ["pause", "patch", "patch every", "put", "engine"])
async def test_a_schedule_goes_on_from_now_whatever_mends_it(
    api: Api, client: httpx.AsyncClient, clock: ManualClock, by: int, how: str
) -> None:
    await ran_ahead(api, client, by)
    if how == "pause":
        await client.post(f"{PATH}/nightly/pause")
        answer = await client.post(f"{PATH}/nightly/resume")
    elif how == "patch":
        answer = await client.patch(f"{PATH}/nightly", json={"jitter": 0})
    elif how == "patch every":
        answer = await client.patch(f"{PATH}/nightly", json={"every": "1m"})
    elif how == "put":
        answer = await client.put(f"{PATH}/nightly", json=body())
    else:
        keeper = Timekeeper(api.store, clock, Telemetry(clock, write=lambda _: None), _nothing)
        while await keeper.tick():
            pass
        await api.store.keep_time(-by)
        answer = await client.get(f"{PATH}/nightly")
        assert answer.json()["held"] is not None
        clock.advance(6_000)
        while await keeper.tick():
            pass
        answer = await client.get(f"{PATH}/nightly")
    assert answer.status_code == 200, answer.text
    assert answer.json()["held"] is None
    assert clock.now() < answer.json()["nextFireAt"] <= clock.now() + 60_000
    before = (await _shown(client, "nightly"))["runs"]
    clock.advance(60_000)
    await fire(api)
    assert (await _shown(client, "nightly"))["runs"] == before + 1


async def test_one_that_is_stuck_is_shown_with_what_holds_it(
    api: Api, client: httpx.AsyncClient, clock: ManualClock
) -> None:
    await ran_ahead(api, client, DAY)
    shown = await _shown(client, "nightly")
    assert shown["nextFireAt"] > clock.now() + DAY - 60_000
    assert shown["held"] == "the clock was set back; it goes on from now as soon as an engine has seen that"
    preview = (await client.get(f"{PATH}/nightly/preview", params={"n": 1})).json()
    assert "held" not in preview
    clock.set(DAY)
    assert (await _shown(client, "nightly"))["held"] is None


async def _nothing() -> None:
    pass
