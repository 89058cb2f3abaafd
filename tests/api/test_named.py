"""`/tasks` and `/monitor`: handlers run by their names, in the words of the contract."""

from functools import partial
from typing import Any

import httpx
import pytest

from tasks_server.api.app import ApiConfig
from tasks_server.api.named_wire import iso
from tasks_server.clock import ManualClock
from tasks_server.domain.attempt import Outcome, OutcomeKind
from tasks_server.domain.engines import EngineFacts, EngineReport, KnownHandler, Repertoire
from tasks_server.domain.forms import decode_spec
from tasks_server.domain.request import Fallback, HandlerCall, TaskSpec
from tasks_server.domain.retry import RetryPolicy
from tasks_server.engine.reports import report_lost
from tasks_server.engine.runs import UNREGISTERED

from .conftest import ADMIN_KEY, Api, claimed, task, worked

FALLBACK = Fallback(3, 1_000, "exponential")
FAILED = Outcome(OutcomeKind.HANDLER_ERROR, 500, "ValueError: no such address")


async def made(client: httpx.AsyncClient, **fields: Any) -> str:
    """The id of a new task that runs `send-email`, unless told otherwise."""
    answer = await client.post("/tasks", json={"task_name": "send-email"} | fields)
    assert answer.status_code == 201, answer.text
    assert set(answer.json()) == {"id"}
    return str(answer.json()["id"])


async def shown(client: httpx.AsyncClient, task_id: str) -> dict[str, Any]:
    answer = await client.get(f"/tasks/{task_id}")
    assert answer.status_code == 200, answer.text
    detail: dict[str, Any] = answer.json()
    return detail


async def refused(client: httpx.AsyncClient, body: Any) -> dict[str, str]:
    """The faults of a task, by field."""
    answer = await client.post("/tasks", json=body)
    assert answer.status_code == 400, answer.text
    return {fault["field"]: fault["message"] for fault in answer.json()["errors"]}


def policy(spec: TaskSpec) -> RetryPolicy:
    """How the task is tried again when its handler is registered with nothing."""
    assert spec.handler is not None
    return UNREGISTERED.applied_to(spec.config, spec.handler).retry_policy()


def told(api: Api, *handlers: KnownHandler) -> EngineReport:
    """What an engine with these handlers tells of itself."""
    facts = EngineFacts("here", 7, "1", 10, 9, 10, Repertoire(True, handlers))
    return EngineReport(api.clock.now(), api.clock.now(), facts)


# Making


async def test_a_task_waits_for_nothing_unless_it_says_so(
    api: Api, client: httpx.AsyncClient, clock: ManualClock
) -> None:
    task_id = await made(client, payload={"to": "a", "password": "Hidden"})
    assert await shown(client, task_id) == {
        "id": task_id, "task_name": "send-email", "payload": {"to": "a", "password": "***"}, "status": "pending",
        "priority": 0, "scheduled_at": iso(clock.now()), "created_at": iso(clock.now()),
        "updated_at": iso(clock.now()), "max_retries": 3, "retry_count": 0, "last_error": None,
        "next_retry_at": None, "locked_by": None, "locked_at": None, "result": None, "result_truncated": False,
        "notes": None,
    }  # fmt: skip
    (claim,) = await claimed(api.store, clock)
    spec = decode_spec(claim.spec)
    assert spec.handler == HandlerCall("send-email", b'{"to":"a","password":"Hidden"}', FALLBACK)
    assert policy(spec) == RetryPolicy(3, 1_000, "exponential", jitter=0.2)


@pytest.mark.parametrize(
    ("fields", "due_in"),
    [
        ({"scheduled_at": "2023-11-14T22:13:30Z"}, 10_000),
        ({"scheduled_at": "2023-11-14T23:13:21+01:00"}, 1_000),
        ({"scheduled_at": "2023-11-14T22:13:21"}, 1_000),
        ({"scheduled_at": "2023-11-14T23:13:21[Europe/Berlin]"}, 1_000),
        ({"scheduled_at": "2023-11-14T23:13:21", "timezone": "Europe/Berlin"}, 1_000),
        ({"scheduled_at": "2023-11-14T22:13:21Z", "timezone": "Europe/Berlin"}, 1_000),
        ({"scheduled_at": "2000-01-01T00:00:00Z"}, 0),
        ({"scheduled_at": None}, 0),
    ],
)
async def test_a_task_is_due_when_it_says(
    client: httpx.AsyncClient, clock: ManualClock, fields: dict[str, Any], due_in: int
) -> None:
    detail = await shown(client, await made(client, **fields))
    assert detail["scheduled_at"] == iso(clock.now() + due_in)


async def test_what_a_task_says_itself_is_its_own(api: Api, client: httpx.AsyncClient, clock: ManualClock) -> None:
    await made(client, max_retries=0, timeout_ms=500, priority=9.0, lane="mail", metadata={"a": "b"}, type="one_time")
    (claim,) = await claimed(api.store, clock)
    spec = decode_spec(claim.spec)
    assert spec.handler == HandlerCall("send-email", fallback=FALLBACK)
    assert (spec.config.retry, spec.config.timeout, spec.config.priority, spec.config.lane) == (0, 500, 9, "mail")
    shown = (await client.get("/v1/queues?metadata.a=b")).json()
    assert len(shown) == 1


class TestRetryBase:
    @pytest.fixture
    def config(self) -> ApiConfig:
        return ApiConfig(admin_key=ADMIN_KEY, registration="open", retry_base_ms=250, tasks_max_bytes=2_000)

    async def test_the_operator_sets_the_first_wait(
        self, api: Api, client: httpx.AsyncClient, clock: ManualClock
    ) -> None:
        task_id = await made(client)
        for wait in (250, 500, 1_000):
            await worked(api.store, clock, FAILED, took_ms=10)
            detail = await shown(client, task_id)
            assert detail["next_retry_at"] == iso(clock.now() + wait)
            clock.advance(wait)
        await worked(api.store, clock, FAILED)
        assert (await shown(client, task_id))["status"] == "failed"

    async def test_the_operator_sets_how_large_a_body_may_be(self, client: httpx.AsyncClient) -> None:
        await made(client, payload="x" * 1_900)
        answer = await client.post("/tasks", json={"task_name": "a", "payload": "x" * 2_000})
        assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


@pytest.mark.parametrize(
    ("body", "field", "message"),
    [
        ([], "body", "must be a JSON object"),
        ({}, "task_name", "is required"),
        ({"task_name": "a b"}, "task_name", "must be text of 1 to 64 characters"),
        ({"task_name": "a\n"}, "task_name", "has a line break in it"),
        ({"task_name": "a", "priority": 10}, "priority", "must be an integer from 0 to 9"),
        ({"task_name": "a", "max_retries": -1}, "max_retries", "must be an integer from 0"),
        ({"task_name": "a", "max_retries": None}, "max_retries", "must be an integer from 0"),
        ({"task_name": "a", "timeout_ms": 5}, "timeout_ms", "must be an integer from 100"),
        ({"task_name": "a", "scheduled_at": 5}, "scheduled_at", "must be text"),
        ({"task_name": "a", "scheduled_at": "5"}, "scheduled_at", "a number in quotes is ambiguous"),
        ({"task_name": "a", "scheduled_at": "soon"}, "scheduled_at", "is not a date"),
        ({"task_name": "a", "lane": "a\n"}, "lane", "has a line break in it"),
        ({"task_name": "a", "lane": ""}, "lane", "must be text of 1 to 64 characters"),
        ({"task_name": "a", "metadata": {}}, "metadata", "must be an object of 1 to 8 entries"),
        ({"task_name": "a", "taskName": "b"}, "taskName", "did you mean task_name?"),
        ({"task_name": "a", "type": "daily"}, "type", "must be one of one_time, recurring"),
        ({"task_name": "a", "type": ["daily"]}, "type", "must be one of one_time, recurring"),
        ({"task_name": "a", "timezone": "UTC"}, "timezone", "has no meaning without a scheduled_at"),
        ({"task_name": "a", "timezone": "CEST", "scheduled_at": "2030-01-01"}, "timezone", "did you mean Europe/Berl"),
        ({"task_name": "a", "name": "b"}, "name", "belongs to a task of the type recurring, with a schedule"),
        ({"task_name": "a", "schedule": "@daily"}, "type", "must be recurring for a task with a schedule"),
        ({"task_name": "a", "type": "recurring"}, "schedule", "is required"),
        ({"task_name": "a", "type": "recurring", "schedule": "61 * * * *"}, "schedule", "does not fit"),
        ({"task_name": "a", "type": "recurring", "schedule": "@daily", "scheduled_at": "2030-01-01"}, "scheduled_at",
         "belongs to a task that runs once"),
        ({"task_name": "a", "type": "recurring", "schedule": "@daily", "timezone": "Mars/X"}, "timezone", "is no"),
        ({"task_name": "a\n", "type": "recurring", "schedule": "@daily"}, "task_name", "has a line break"),
    ],
)  # fmt: skip
async def test_what_does_not_fit_is_told(client: httpx.AsyncClient, body: Any, field: str, message: str) -> None:
    assert message in (await refused(client, body))[field]
    assert (await client.get("/v1/queues")).json() == []
    assert (await client.get("/v1/schedules")).json() == []


async def test_of_a_stray_schedule_the_type_alone_is_told(client: httpx.AsyncClient) -> None:
    stray = {"task_name": "a", "schedule": "@daily", "timezone": "UTC", "name": "b"}
    assert set(await refused(client, stray)) == {"type"}


async def test_all_faults_are_told_at_once(client: httpx.AsyncClient) -> None:
    deep: Any = 1
    for _ in range(33):
        deep = [deep]
    body = {"task_name": "", "payload": deep, "scheduled_at": "soon", "priority": "high", "metadata": {"a\n": "b"}}
    assert set(await refused(client, body)) == {"task_name", "payload", "scheduled_at", "priority", "metadata.a"}


async def test_bodies_are_json(client: httpx.AsyncClient) -> None:
    answer = await client.post("/tasks", content=b"{", headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed_json")
    answer = await client.post("/tasks", content=b"{}", headers={"content-type": "text/plain"})
    assert (answer.status_code, answer.json()["code"]) == (400, "content_type_invalid")


async def test_the_same_idempotency_key_is_the_same_task(client: httpx.AsyncClient, clock: ManualClock) -> None:
    headers = {"Idempotency-Key": "mail-1"}
    body = {"task_name": "a", "scheduled_at": "2023-11-14T22:13:30Z"}
    first = await client.post("/tasks", json=body, headers=headers)
    again = await client.post("/tasks", json=body, headers=headers)
    other = await client.post("/tasks", json=body | {"payload": 1}, headers=headers)
    assert (first.status_code, again.status_code, other.status_code) == (201, 200, 409)
    assert first.json() == again.json()
    assert again.headers["idempotency-replayed"] == "true"
    recurring = {"task_name": "a", "type": "recurring", "schedule": "@daily"}
    answer = await client.post("/tasks", json=recurring, headers={"Idempotency-Key": "mail-2"})
    assert [fault["field"] for fault in answer.json()["errors"]] == ["idempotency-key"]


async def test_a_full_queue_refuses(client: httpx.AsyncClient, admin: httpx.AsyncClient) -> None:
    await admin.patch("/v1/owners/small-shop", json={"tasksInQueueLimit": 0})
    answer = await client.post("/tasks", json={"task_name": "a"})
    assert (answer.status_code, answer.json()["code"]) == (422, "queue_full")


# Recurring


async def test_a_recurring_task_is_a_schedule(api: Api, client: httpx.AsyncClient, clock: ManualClock) -> None:
    schedule_id = await made(
        client, type="recurring", schedule="0 9 * * *", timezone="Europe/Berlin", payload=[1], priority=4,
    )  # fmt: skip
    shown = (await client.get(f"/v1/schedules/{schedule_id}")).json()
    assert (shown["cron"], shown["timezone"]) == ("0 9 * * *", "Europe/Berlin")
    assert shown["name"].startswith("send-email-")
    assert shown["task"]["handler"] == {"name": "send-email", "payload": [1]}
    named = await made(client, type="recurring", schedule="@daily", name="mails", max_retries=0, timeout_ms=900)
    answer = await client.post(
        "/tasks", json={"task_name": "a", "type": "recurring", "schedule": "@daily", "name": "mails"}
    )
    assert (answer.status_code, answer.json()["code"]) == (409, "schedule_name_taken")
    for schedule in (schedule_id, named):
        assert (await client.post(f"/v1/schedules/{schedule}/run")).status_code == 201
    specs = [decode_spec(claim.spec) for claim in await claimed(api.store, clock)]
    by_own = {spec.config.says_retries: spec for spec in specs}
    assert policy(by_own[False]) == RetryPolicy(3, 1_000, "exponential", jitter=0.2)
    assert (by_own[False].config.priority, by_own[True].config.retry, by_own[True].config.timeout) == (4, 0, 900)


async def test_an_edit_leaves_alone_whose_retries_count(
    api: Api, client: httpx.AsyncClient, clock: ManualClock
) -> None:
    task_id = await made(client)
    await client.patch(f"/v1/queues/{task_id}", json={"config": {"priority": 5}})
    schedule = await made(client, type="recurring", schedule="@daily")
    await client.patch(f"/v1/schedules/{schedule}", json={"task": {"config": {"priority": 5}}})
    await client.post(f"/v1/schedules/{schedule}/run")
    clock.advance(1)
    for claim in await claimed(api.store, clock):
        spec = decode_spec(claim.spec)
        assert spec.handler == HandlerCall("send-email", fallback=FALLBACK)
        assert (spec.config.says_retries, policy(spec).retries_max, spec.config.priority) == (False, 3, 5)


# Showing


async def test_a_task_goes_through_its_states(api: Api, client: httpx.AsyncClient, clock: ManualClock) -> None:
    task_id = await made(client, max_retries=1)
    await claimed(api.store, clock)
    detail = await shown(client, task_id)
    assert (detail["status"], detail["locked_at"]) == ("processing", iso(clock.now()))
    (node,) = await api.store.nodes()
    assert detail["locked_by"] == f"{node.host}#{node.number}"
    await client.post(f"/v1/queues/{task_id}/execute")
    rescued = 0
    while not rescued:
        clock.advance(5_000)
        rescued = await api.store.rescue(clock.now(), 10, partial(report_lost, clock.now()))
    assert rescued == 1
    await worked(api.store, clock, FAILED, took_ms=5)
    detail = await shown(client, task_id)
    assert detail["status"] == "failed"
    assert (detail["retry_count"], detail["last_error"]) == (1, "ValueError: no such address")
    assert detail["next_retry_at"] == iso(clock.now() + 1_000)
    assert detail["updated_at"] == iso(clock.now())
    clock.advance(1_000)
    await worked(api.store, clock, Outcome(OutcomeKind.SUCCESS, 200, response=b'{"sent": 1}'))
    detail = await shown(client, task_id)
    assert (detail["status"], detail["result"], detail["last_error"]) == ("completed", {"sent": 1}, None)
    assert (detail["locked_by"], detail["locked_at"], detail["next_retry_at"]) == (None, None, None)
    assert detail["updated_at"] == iso(clock.now())


async def test_a_task_that_failed_for_good(api: Api, client: httpx.AsyncClient, clock: ManualClock) -> None:
    task_id = await made(client, max_retries=1)
    for _ in range(2):
        await worked(api.store, clock, FAILED)
        clock.advance(1_000)
    detail = await shown(client, task_id)
    assert (detail["status"], detail["retry_count"], detail["max_retries"]) == ("failed", 1, 1)
    assert detail["next_retry_at"] is None


@pytest.mark.parametrize(
    ("response", "result"), [(b"", None), (b"null", None), (b"[1]", [1]), (b"<html>", "<html>"), (b"\xff", "\ufffd")]
)
async def test_a_result_is_json_or_else_text(
    api: Api, client: httpx.AsyncClient, clock: ManualClock, response: bytes, result: Any
) -> None:
    task_id = await made(client)
    await worked(api.store, clock, Outcome(OutcomeKind.SUCCESS, 200, response=response))
    assert (await shown(client, task_id))["result"] == result


async def test_a_part_of_a_result_is_text(api: Api, client: httpx.AsyncClient, clock: ManualClock) -> None:
    """Half of a number is another one."""
    task_id = await made(client)
    await worked(api.store, clock, Outcome(OutcomeKind.SUCCESS, 200, response=b"123", response_truncated=True))
    detail = await shown(client, task_id)
    assert (detail["result"], detail["result_truncated"]) == ("123", True)


async def test_retries_of_the_registration_are_shown(api: Api, client: httpx.AsyncClient) -> None:
    plain, own = await made(client), await made(client, max_retries=2)
    await api.store.report(told(api, KnownHandler("other", retries_max=9), KnownHandler("send-email", retries_max=7)))
    api.store._join()
    await api.store.report(told(api, KnownHandler("send-email", retries_max=7)))
    assert (await shown(client, plain))["max_retries"] == 7
    assert (await shown(client, own))["max_retries"] == 2
    assert {entry["id"]: entry["max_retries"] for entry in (await client.get("/tasks")).json()} == {plain: 7, own: 2}


async def test_tasks_that_send_requests_are_not_there(client: httpx.AsyncClient) -> None:
    made = (await client.post("/v1/queues/register", json=task(executionDelay=1_000))).json()["id"]
    for answer in (
        await client.get(f"/tasks/{made}"),
        await client.delete(f"/tasks/{made}"),
        await client.patch(f"/tasks/{made}", json={"scheduled_at": "2030-01-01"}),
        await client.get(f"/tasks/{'0' * 24}"),
        await client.delete("/tasks/nothing"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (404, "task_not_found")
    assert (await client.get("/tasks")).json() == []
    assert len((await client.get("/v1/queues")).json()) == 1


async def test_nobody_sees_the_tasks_of_others(api: Api, client: httpx.AsyncClient) -> None:
    task_id = await made(client)
    other, _ = await api.owner("other-shop")
    assert (await other.get(f"/tasks/{task_id}")).status_code == 404
    assert (await other.delete(f"/tasks/{task_id}")).status_code == 404
    assert (await other.get("/tasks")).json() == []
    assert (await other.get("/monitor/stats")).json()["total"] == 0


# Lists


async def test_lists_hold_what_is_asked_for(api: Api, client: httpx.AsyncClient, clock: ManualClock) -> None:
    begun = clock.now()
    ids = []
    for number, fields in enumerate([{}, {"task_name": "b"}, {"priority": 5}, {"scheduled_at": iso(begun + 60_000)}]):
        clock.advance(number and 1_000)
        ids.append(await made(client, **fields))
    await client.post("/v1/queues/register", json=task())
    await client.patch(f"/v1/queues/{ids[1]}/pause")
    for query, expected in {
        "": [3, 2, 1, 0],
        "task_name=b": [1],
        "status=paused": [1],
        "status=pending,paused&limit=2": [3, 2],
        "status=completed": [],
        "priority=5": [2],
        "priority=0&task_name=send-email": [3, 0],
        f"scheduled_after={iso(begun + 60_000)}": [3],
        f"scheduled_before={begun + 60_000}": [2, 1, 0],
        f"created_after={iso(begun + 1_000)}&created_before={iso(begun + 3_000)}": [2, 1],
        "limit=2&offset=1": [2, 1],
    }.items():
        answer = await client.get(f"/tasks?{query}")
        assert answer.status_code == 200, answer.text
        assert [entry["id"] for entry in answer.json()] == [ids[number] for number in expected], query
    first = await client.get("/tasks?limit=3")
    assert [entry["id"] for entry in (await client.get(first.links["next"]["url"])).json()] == [ids[0]]
    whole = await shown(client, ids[0])
    (entry,) = [entry for entry in (await client.get("/tasks")).json() if entry["id"] == ids[0]]
    assert entry == {name: whole[name] for name in entry}


async def test_faults_of_a_query_are_told_at_once(client: httpx.AsyncClient) -> None:
    answer = await client.get(
        "/tasks?task_name=a%20b&status=done&priority=10&scheduled_after=soon&created_before=-1&limit=0&cursor=x&offset=1"
    )
    assert answer.status_code == 400
    fields = {fault["field"].removeprefix("query.") for fault in answer.json()["errors"]}
    assert fields == {
        "task_name", "status", "priority", "scheduled_after", "created_before", "limit", "cursor", "offset"
    }  # fmt: skip


# Changing


async def test_a_pending_task_is_put_on_another_time(api: Api, client: httpx.AsyncClient, clock: ManualClock) -> None:
    task_id = await made(client, scheduled_at="2023-11-14T22:13:30Z")
    answer = await client.patch(f"/tasks/{task_id}", json={"scheduled_at": "2023-11-14T22:13:25Z"})
    assert answer.status_code == 200, answer.text
    assert answer.json() == await shown(client, task_id)
    assert answer.json()["scheduled_at"] == "2023-11-14T22:13:25.000Z"
    edited = (await client.get(f"/v1/queues/{task_id}/timeline")).json()[-1]
    assert (edited["event"], edited["detail"]) == ("edited", "by its owner")
    assert edited["fields"] == ["config.executeAt"]
    assert await worked(api.store, clock, FAILED) == 0
    there = {"scheduled_at": "2023-11-14T23:13:26", "timezone": "Europe/Berlin"}
    answer = await client.patch(f"/tasks/{task_id}", json=there)
    assert answer.json()["scheduled_at"] == "2023-11-14T22:13:26.000Z"
    edited = await client.patch(f"/v1/queues/{task_id}", json={"config": {"executionDelay": "5s"}})
    assert edited.json()["estimateExecutionAt"] == clock.now() + 5_000, "a task by /tasks is edited as any other"
    answer = await client.patch(f"/tasks/{task_id}", json={"scheduled_at": "2001-01-01"})
    assert answer.json()["scheduled_at"] == iso(clock.now()), "what is past means now"
    assert await worked(api.store, clock, FAILED) == 1
    for body in ({}, {"scheduled_at": "soon"}, {"scheduled_at": 5}, {"payload": 1, "scheduled_at": "2030-01-01"}, []):
        assert (await client.patch(f"/tasks/{task_id}", json=body)).status_code == 400


async def test_only_what_is_pending_is_changed_or_cancelled(
    api: Api, client: httpx.AsyncClient, clock: ManualClock
) -> None:
    running = await made(client)
    await claimed(api.store, clock)
    done, retried, paused = await made(client, max_retries=0), await made(client), await made(client)
    await client.patch(f"/v1/queues/{paused}/pause")
    await worked(api.store, clock, FAILED)
    for task_id, state in ((running, "running"), (done, "failed"), (retried, "retryable"), (paused, "paused")):
        before = await shown(client, task_id)
        for answer in (
            await client.delete(f"/tasks/{task_id}"),
            await client.patch(f"/tasks/{task_id}", json={"scheduled_at": "2030-01-01"}),
        ):
            assert (answer.status_code, answer.json()["code"]) == (409, "task_not_pending")
            assert state in answer.json()["detail"]
        assert await shown(client, task_id) == before


@pytest.mark.parametrize("fields", [{}, {"scheduled_at": "2023-11-14T22:13:30Z"}], ids=["available", "scheduled"])
async def test_what_is_cancelled_stays_with_its_history(
    api: Api, client: httpx.AsyncClient, clock: ManualClock, fields: dict[str, Any]
) -> None:
    task_id = await made(client, **fields)
    clock.advance(5)
    answer = await client.delete(f"/tasks/{task_id}")
    assert (answer.status_code, answer.content) == (204, b"")
    left = await shown(client, task_id)
    assert (left["status"], left["updated_at"]) == ("cancelled", iso(clock.now()))
    assert [entry["id"] for entry in (await client.get("/tasks", params={"status": "cancelled"})).json()] == [task_id]
    stats = (await client.get("/monitor/stats")).json()
    assert (stats["cancelled"], stats["pending"], stats["total"]) == (1, 0, 1)
    ended = (await client.get(f"/v1/queues/{task_id}/timeline")).json()[-1]
    assert (ended["event"], ended["at"], ended["detail"]) == ("revoked", clock.now(), "by its owner")
    for answer in (
        await client.delete(f"/tasks/{task_id}"),
        await client.patch(f"/tasks/{task_id}", json={"scheduled_at": "2030-01-01"}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (409, "task_cancelled")
    assert await shown(client, task_id) == left, "it was refused, and nothing was changed"
    clock.advance(60_000)
    assert await worked(api.store, clock, FAILED) == 0, "it never runs"
