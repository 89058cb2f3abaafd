"""Tasks: registered one by one and in batches, shown with what they brought."""

import base64
from typing import Any

import httpx
import pytest

from tasks_server.domain.attempt import Outcome, OutcomeKind, Redirected

from .conftest import Api, claimed, task, worked


async def registered(client: httpx.AsyncClient, **config: object) -> dict[str, Any]:
    answer = await client.post("/v1/queues/register", json=task(**config))
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def shown(client: httpx.AsyncClient, made: dict[str, Any], part: str = "") -> Any:
    answer = await client.get(f"/v1/queues/{made['id']}{part}")
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_registering_answers_the_contracts_fields(client: httpx.AsyncClient, api: Api) -> None:
    answer = await client.post("/v1/queues/register", json={**task(executionDelay=60_000), "metadata": {"order": "17"}})

    now = api.clock.now()
    assert answer.status_code == 201
    made = answer.json()
    assert len(made.pop("id")) == 24
    assert made == {
        "state": "RUNNING",
        "createdAt": now,
        "statusCode": 0,
        "estimateEndAt": 0,
        "estimateExecutionAt": now + 60_000,
        "response": None,
        "metadata": {"order": "17"},
    }


async def test_without_a_config_it_is_due_at_once(client: httpx.AsyncClient, api: Api) -> None:
    made = (await client.post("/v1/queues/register", json={"httpRequest": task()["httpRequest"]})).json()
    assert made["estimateExecutionAt"] == api.clock.now() + 1
    assert (await shown(client, made))["phase"] == "available"


async def test_what_was_registered_is_shown(client: httpx.AsyncClient) -> None:
    made = await registered(client, executionDelay="90s", priority=3, lane="mail")

    now_shown = await shown(client, made)

    assert now_shown | made == now_shown
    more = {key: now_shown[key] for key in now_shown.keys() - made.keys()}
    assert more == {
        "phase": "scheduled",
        "lane": "mail",
        "priority": 3,
        "attempts": 0,
        "failures": 0,
        "repeats": 0,
        "error": None,
        "expireAt": None,
        "schedule": None,
        "responseTruncated": False,
        "callbackOf": None,
    }


@pytest.mark.parametrize("task_id", ["0" * 24, "nonsense", "ö", "a" * 24, "%00"])
async def test_ids_that_name_no_task(client: httpx.AsyncClient, task_id: str) -> None:
    answer = await client.get(f"/v1/queues/{task_id}")
    assert (answer.status_code, answer.json()["code"]) == (404, "task_not_found")


# What came of it


async def test_a_success_with_its_response(client: httpx.AsyncClient, api: Api) -> None:
    made = await registered(client)
    api.clock.advance(5)
    assert await worked(api.store, api.clock, Outcome(OutcomeKind.SUCCESS, 201, response=b"\xff\x00")) == 1

    done = await shown(client, made)

    assert (done["state"], done["statusCode"], done["attempts"]) == ("SUCCESS", 201, 1)
    assert base64.b64decode(done["response"]) == b"\xff\x00"
    assert done["estimateEndAt"] == api.clock.now()


async def test_a_failure_without_a_response_tells_its_reason(client: httpx.AsyncClient, api: Api) -> None:
    made = await registered(client)
    api.clock.advance(5)
    await worked(api.store, api.clock, Outcome(OutcomeKind.CONNECTION, 0, error="connection refused"))

    failed = await shown(client, made)

    assert (failed["state"], failed["statusCode"], failed["error"]) == ("ERROR", 0, "connection refused")
    assert base64.b64decode(failed["response"]) == b"connection refused"


async def test_attempts_and_timeline_tell_the_history(client: httpx.AsyncClient, api: Api) -> None:
    made = await registered(client, retry=1, retryInterval=1_000)
    created = api.clock.now()
    api.clock.advance(5)
    await worked(api.store, api.clock, Outcome(OutcomeKind.HTTP_ERROR, 503, response=b"part", response_truncated=True))
    assert (await shown(client, made))["responseTruncated"] is True
    await client.patch(f"/v1/queues/{made['id']}/pause")
    await client.patch(f"/v1/queues/{made['id']}/resume")
    api.clock.advance(1_000)
    led = Redirected(1, "GET", "https://elsewhere.test/", method_changed=True)
    await worked(api.store, api.clock, Outcome(OutcomeKind.SUCCESS, 200, redirected=led))

    assert await shown(client, made, "/attempts") == [
        {
            "number": 1,
            "dueAt": created + 1,
            "startedAt": created + 5,
            "endedAt": created + 12,
            "late": 4,
            "outcome": "http_error",
            "statusCode": 503,
            "error": None,
            "responseTruncated": True,
            "redirected": None,
            "notes": None,
        },
        {
            "number": 2,
            "dueAt": created + 1_012,
            "startedAt": created + 1_012,
            "endedAt": created + 1_019,
            "late": 0,
            "outcome": "success",
            "statusCode": 200,
            "error": None,
            "responseTruncated": False,
            "redirected": {"count": 1, "method": "GET", "url": "https://elsewhere.test/", "methodChanged": True},
            "notes": None,
        },
    ]
    timeline = await shown(client, made, "/timeline")
    assert {entry["event"]: entry["redirected"]["url"] for entry in timeline if entry["redirected"]} == {
        "succeeded": "https://elsewhere.test/"
    }
    events = [(entry["at"] - created, entry["event"]) for entry in timeline]
    assert events == [
        (0, "registered"),
        (5, "started"),
        (12, "failed"),
        (12, "retry_planned"),
        (12, "paused"),
        (12, "resumed"),
        (1_012, "promoted"),
        (1_012, "started"),
        (1_019, "succeeded"),
        (1_019, "completed"),
    ]


async def test_the_timeline_of_a_task_in_flight_shows_the_attempt_that_runs(
    client: httpx.AsyncClient, api: Api
) -> None:
    made = await registered(client)
    api.clock.advance(5)
    await claimed(api.store, api.clock)

    last = (await shown(client, made, "/timeline"))[-1]

    assert (last["event"], last["attempt"]) == ("started", 1)


# Config


async def test_the_config_is_shown_with_defaults_and_without_secrets(client: httpx.AsyncClient) -> None:
    body = {
        "httpRequest": {
            "url": "https://target.test/",
            "method": "post",
            "headers": {"Authorization": "Bearer hush", "Cookie": "a=hush", "Accept": "*/*"},
            "query": {"api_key": "hush", "page": "2"},
            "data": [{"name": "a", "value": "b"}],
        },
        "config": {"timeout": "5s"},
        "metadata": {"password": "is masked, too"},
    }
    made = (await client.post("/v1/queues/register", json=body)).json()

    spec = await shown(client, made, "/config")

    assert spec["httpRequest"] == {
        "url": "https://target.test/",
        "method": "POST",
        "headers": {"Authorization": "***", "Cookie": "***", "Accept": "*/*"},
        "query": {"api_key": "***", "page": "2"},
        "data": [{"name": "a", "value": "b"}],
        "dataBase64": None,
        "transport": "fetch",
        **dict.fromkeys(["cookie", "authBasic", "authDigest", "authNtlm", "authAwsSigv4"]),
    }
    assert (spec["config"]["timeout"], spec["config"]["retry"], spec["config"]["retryMaxInterval"]) == (
        5_000,
        0,
        86_400_000,
    )
    assert spec["metadata"] == {"password": "***"}


# What is told of the answer


@pytest.mark.parametrize(
    ("outcome", "response"),
    [
        (Outcome(OutcomeKind.HTTP_ERROR, 503, "the target answered 503"), None),
        (Outcome(OutcomeKind.HTTP_ERROR, 503, "the target answered 503", b"no"), b"no"),
        (Outcome(OutcomeKind.CONNECTION, 0, "refused"), b"refused"),
        (Outcome(OutcomeKind.SUCCESS, 204), None),
    ],
)
async def test_the_response_is_the_targets_or_says_why_there_is_none(
    client: httpx.AsyncClient, api: Api, outcome: Outcome, response: bytes | None
) -> None:
    made = (await client.post("/v1/queues/register", json=task())).json()
    api.clock.advance(5)
    await worked(api.store, api.clock, outcome)
    shown = (await client.get(f"/v1/queues/{made['id']}")).json()
    assert shown["response"] == (base64.b64encode(response).decode() if response else None)


# Idempotency


async def test_the_same_key_and_body_give_the_first_task_as_it_is_now(client: httpx.AsyncClient, api: Api) -> None:
    headers = {"Idempotency-Key": "order-17"}
    first = await client.post("/v1/queues/register", json=task(), headers=headers)
    api.clock.advance(5)
    await worked(api.store, api.clock, Outcome(OutcomeKind.SUCCESS, 200))

    again = await client.post("/v1/queues/register", json=task(), headers=headers)

    assert (first.status_code, again.status_code) == (201, 200)
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert (again.json()["id"], again.json()["state"]) == (first.json()["id"], "SUCCESS")
    assert len((await client.get("/v1/queues")).json()) == 1


async def test_the_same_key_for_another_body_is_a_conflict(client: httpx.AsyncClient) -> None:
    headers = {"Idempotency-Key": "order-17"}
    await client.post("/v1/queues/register", json=task(), headers=headers)
    other = await client.post("/v1/queues/register", json=task(retry=1), headers=headers)
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_key_reused")


async def test_a_request_asked_again_after_its_date_is_known_by_its_key(client: httpx.AsyncClient, api: Api) -> None:
    headers = {"Idempotency-Key": "order-17"}
    body = task(executeAt=api.clock.now() + 60_000)
    first = await client.post("/v1/queues/register", json=body, headers=headers)
    api.clock.advance(120_000)
    again = await client.post("/v1/queues/register", json=body, headers=headers)
    other = await client.post("/v1/queues/register", json=task(executeAt=1), headers=headers)
    unknown = await client.post("/v1/queues/register", json=body, headers={"Idempotency-Key": "order-18"})
    assert (again.status_code, again.json()["id"]) == (200, first.json()["id"])
    assert (other.status_code, unknown.status_code) == (409, 400)
    api.clock.advance(86_400_000)
    late = await client.post("/v1/queues/register", json=body, headers=headers)
    assert late.status_code == 400


async def test_owners_have_idempotency_keys_of_their_own(api: Api) -> None:
    headers = {"Idempotency-Key": "order-17"}
    for name in ("my-shop", "other-shop"):
        client, _ = await api.owner(name)
        assert (await client.post("/v1/queues/register", json=task(), headers=headers)).status_code == 201


@pytest.mark.parametrize("key", [b"", b" ", b"k" * 256, "ü".encode(), b"a\tb"])
async def test_idempotency_keys_that_are_none(client: httpx.AsyncClient, key: bytes) -> None:
    answer = await client.post("/v1/queues/register", json=task(), headers=[(b"Idempotency-Key", key)])
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "idempotency-key")


# Batches


async def test_a_batch_is_registered_in_its_order(client: httpx.AsyncClient) -> None:
    tasks = [task(executionDelay=n * 60_000) for n in range(1, 4)]

    answer = await client.post("/v1/queues/batch", json={"tasks": tasks})

    assert answer.status_code == 201
    made = answer.json()["tasks"]
    due = [one["estimateExecutionAt"] - one["createdAt"] for one in made]
    assert due == [60_000, 120_000, 180_000]
    assert [(await shown(client, one))["phase"] for one in made] == ["scheduled"] * 3


async def test_one_bad_task_refuses_the_whole_batch(client: httpx.AsyncClient) -> None:
    tasks = [task(), task(retry=-1), task(executionDelay="1h"), {"httpRequest": {}}]

    answer = await client.post("/v1/queues/batch", json={"tasks": tasks})

    assert answer.status_code == 400
    assert [fault["field"] for fault in answer.json()["errors"]] == [
        "tasks.1.config.retry",
        "tasks.3.httpRequest.url",
        "tasks.3.httpRequest.method",
    ]
    assert (await client.get("/v1/queues")).json() == []


async def test_a_batch_may_use_every_form(client: httpx.AsyncClient) -> None:
    tasks = [task(executionDelay="1h"), task(executeAt="2030-01-01T00:00:00Z")]
    assert (await client.post("/v1/queues/batch", json={"tasks": tasks})).status_code == 201


async def test_a_batch_that_does_not_fit_is_refused_whole(api: Api, admin: httpx.AsyncClient) -> None:
    body = {"name": "small-shop", "tasksInQueueLimit": 2}
    client = api.client((await admin.post("/v1/owners/register", json=body)).json()["key"])
    answer = await client.post("/v1/queues/batch", json={"tasks": [task()] * 3})
    assert (answer.status_code, answer.json()["code"]) == (422, "queue_full")
    assert "has 0 of the 2 tasks in queue that it may have; 3 more do not fit. 0 of them" in answer.json()["detail"]
    assert (await client.get("/v1/queues")).json() == []


async def test_a_full_queue_tells_its_limit_and_what_waits_and_the_way_out(api: Api, admin: httpx.AsyncClient) -> None:
    client, _ = await api.owner("busy-shop")
    await admin.patch("/v1/owners/busy-shop", json={"tasksInQueueLimit": 4})
    made = [await registered(client, executionDelay="1h") for _ in range(3)]
    await client.patch(f"/v1/queues/{made[0]['id']}/pause")
    ended = await registered(client)
    api.clock.advance(10)
    await worked(api.store, api.clock, Outcome(OutcomeKind.HTTP_ERROR, 503))
    await registered(client)
    told = (
        "the queue is full: busy-shop has 4 of the 4 tasks in queue that it may have. 2 of them are due later, 1 are "
        "paused. Wait until some have ended, or have the operator raise the limit: tasks-server owner set-limit "
        "busy-shop N"
    )
    answers = [
        await client.post("/v1/queues/register", json=task()),
        await client.post("/tasks", json={"task_name": "a"}),
        await client.post(f"/v1/queues/{ended['id']}/retry"),
    ]
    for answer in answers:
        assert (answer.status_code, answer.json()["code"], answer.json()["detail"]) == (422, "queue_full", told)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ([], "body"),
        ({}, "tasks"),
        ({"tasks": []}, "tasks"),
        ({"tasks": {}}, "tasks"),
        ({"tasks": [task()] * 1_001}, "tasks"),
        ({"task": [task()], "tasks": [task()]}, "task"),
        ({"tasks": [5]}, "tasks.0"),
    ],
)
async def test_frames_that_are_no_batch(client: httpx.AsyncClient, body: object, field: str) -> None:
    answer = await client.post("/v1/queues/batch", json=body)
    assert answer.status_code == 400
    assert [fault["field"] for fault in answer.json()["errors"]] == [field]


async def test_a_batch_is_registered_once_for_its_key(api: Api, client: httpx.AsyncClient) -> None:
    path, headers = "/v1/queues/batch", {"Idempotency-Key": "orders-17"}
    body = {"tasks": [task() | {"metadata": {"n": "1"}}, task(executeAt=api.clock.now() + 5_000), task()]}
    first = await client.post(path, json=body, headers=headers)
    assert first.status_code == 201
    assert "idempotency-replayed" not in first.headers
    again = await client.post(path, json=body, headers=headers)
    assert (again.status_code, again.json()) == (200, first.json())
    assert again.headers["idempotency-replayed"].startswith("true")
    other = await client.post(path, json={"tasks": [task()]}, headers=headers)
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_key_reused")
    single = await client.post("/v1/queues/register", json=task(), headers=headers)
    assert (single.status_code, single.json()["code"]) == (409, "idempotency_key_reused")

    api.clock.advance(60_000)  # its date has passed: as a new one it would be refused
    await worked(api.store, api.clock, Outcome(OutcomeKind.SUCCESS, 200, response=b"ok"))
    last = await client.post(path, json=body, headers=headers)
    ids = [one["id"] for one in first.json()["tasks"]]
    assert [(one["id"], one["state"], one["statusCode"], one["response"]) for one in last.json()["tasks"]] == [
        (task_id, "SUCCESS", 200, None) for task_id in ids
    ]
    await client.delete(f"/v1/queues/{ids[1]}")
    left = await client.post(path, json=body, headers=headers)
    assert [one["id"] for one in left.json()["tasks"]] == [ids[0], ids[2]]
    assert len((await client.get("/v1/queues")).json()) == 2
    wrong = await client.post(path, json=body, headers={"Idempotency-Key": ""})
    assert (wrong.status_code, wrong.json()["errors"][0]["field"]) == (400, "idempotency-key")
