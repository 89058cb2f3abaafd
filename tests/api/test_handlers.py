"""Tasks and schedules that run handlers, as `/v1` takes, shows and changes them. What runs them is the engine's."""

from typing import Any

import httpx
import msgspec
import pytest

from tasks_server.clock import ManualClock
from tasks_server.domain import dates
from tasks_server.domain.attempt import Outcome, OutcomeKind
from tasks_server.domain.engines import EngineFacts, EngineReport, KnownHandler, Repertoire
from tasks_server.domain.forms import decode_spec
from tasks_server.domain.notes import Line, Notes
from tasks_server.domain.request import HandlerCall, TaskConfig
from tasks_server.domain.task import handler_target
from tasks_server.engine.reports import report_of
from tasks_server.store.noting import Note

from .conftest import Api, claimed, task

NAME = "send-email"


def call(payload: Any = None, **config: Any) -> dict[str, Any]:
    """A body for registration."""
    return {"handler": {"name": NAME, "payload": payload}, "config": config}


async def registered(client: httpx.AsyncClient, body: dict[str, Any]) -> dict[str, Any]:
    answer = await client.post("/v1/queues/register", json=body)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def refused(client: httpx.AsyncClient, body: dict[str, Any]) -> dict[str, str]:
    """The faults of a registration, by field."""
    answer = await client.post("/v1/queues/register", json=body)
    assert answer.status_code == 400, answer.text
    return {fault["field"]: fault["message"] for fault in answer.json()["errors"]}


async def config_of(client: httpx.AsyncClient, task_id: str) -> dict[str, Any]:
    answer = await client.get(f"/v1/queues/{task_id}/config")
    assert answer.status_code == 200
    shown: dict[str, Any] = answer.json()
    return shown


@pytest.mark.parametrize("payload", [None, 0, -1.5, "text", "", [], [1, {"a": None}], {"a": {"b": [True]}}])
async def test_any_json_is_a_payload(api: Api, client: httpx.AsyncClient, clock: ManualClock, payload: Any) -> None:
    made = await registered(client, call(payload, executionDelay=0))
    assert (await config_of(client, made["id"]))["handler"] == {"name": NAME, "payload": payload}
    (claim,) = await claimed(api.store, clock)
    assert claim.target == handler_target(NAME) == "@send-email"
    spec = decode_spec(claim.spec)
    assert (spec.request, spec.handler) == (None, HandlerCall(NAME, msgspec.json.encode(payload)))


async def test_statuses_that_are_not_tried_again_may_be_given(client: httpx.AsyncClient) -> None:
    made = await registered(client, call(ignoreStatusCode=[408, 500]))
    assert (await config_of(client, made["id"]))["config"]["ignoreStatusCode"] == [408, 500]


# Both ways of reading: canonical JSON, and what is read thoroughly for a duration as text


@pytest.mark.parametrize("thorough", [{}, {"repeatInterval": "1s"}])
@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"retry": 0},
        {"retryAt": 1_900_000_000_000},
        {"retryInterval": 1, "priority": 3, "lane": "mail", "repeat": 2},
        {"retryExponential": True, "retryMaxInterval": 86_400_000},
        {"timeout": 30_000},
        {"timeoutAt": 1_900_000_000_000, "retryAt": None},
    ],
)
async def test_what_a_task_names_is_remembered_though_it_is_the_default(
    api: Api,
    client: httpx.AsyncClient,
    clock: ManualClock,
    asked: dict[str, Any],
    thorough: dict[str, Any],
) -> None:
    await registered(client, call(1, executionDelay=0, **asked, **thorough))
    (claim,) = await claimed(api.store, clock)
    spec = decode_spec(claim.spec)
    assert spec.handler == HandlerCall(NAME, b"1")
    assert spec.config == msgspec.convert({"executionDelay": 0, **asked}, TaskConfig)


@pytest.mark.parametrize(
    ("body", "field", "message"),
    [
        ({}, "httpRequest", "is required, or handler in its place"),
        ({"handler": None}, "handler", "must be an object"),
        ({"handler": {}}, "handler.name", "is required"),
        ({"handler": {"name": "a b"}}, "handler.name", "must be text of 1 to 64 characters"),
        ({"handler": {"name": "a\n"}}, "handler.name", "has a line break in it"),
        ({"handler": {"name": "a", "ownRetries": True}}, "handler.ownRetries", "is not a known field"),
        ({**task(), "handler": {"name": "a"}}, "httpRequest", "cannot be given together with handler"),
        ({"httpRequest": None, "handler": {"name": "a"}}, "httpRequest", "cannot be given together with handler"),
        ({"handler": {"name": "a"}, "config": {"httpVersion": "1.1"}}, "config.httpVersion", "belongs to an httpReq"),
        ({"handler": {"name": "a"}, "config": {"redirectMethod": "keep"}}, "config.redirectMethod", "belongs to an"),
        ({"handler": {"name": "a"}, "config": {"retri": 1}}, "config.retri", "did you mean retry?"),
        ({"handler": {"name": "a"}, "config": {"executeAt": 1}}, "config.executeAt", "lies in the past"),
        ({"handler": {"name": "a"}, "config": []}, "config", "must be an object"),
        ({"handler": {"name": "a"}, "metadata": {}}, "metadata", "must be an object of 1 to 8 entries"),
        ({"handler": {"name": "a"}, "headers": {}}, "headers", "is not a known field"),
    ],
)
async def test_what_does_not_fit_is_told(
    client: httpx.AsyncClient, body: dict[str, Any], field: str, message: str
) -> None:
    assert message in (await refused(client, body))[field]
    batch = await client.post("/v1/queues/batch", json={"tasks": [call(), body]})
    assert batch.status_code == 400
    told = {fault["field"]: fault["message"] for fault in batch.json()["errors"]}
    assert message in told[f"tasks.1.{field}"]
    assert (await client.get("/v1/queues")).json() == []


async def test_all_faults_are_told_at_once(client: httpx.AsyncClient) -> None:
    body = {
        "httpRequest": {}, "handler": {"name": "", "payload": 1}, "config": {"proxy": 1, "retry": -1, "lane": "a\n"},
        "metadata": {"": "x"}, "colour": "red",
    }  # fmt: skip
    told = await refused(client, body)
    assert set(told) == {
        "httpRequest", "handler.name", "config.proxy", "config.retry", "config.lane", "metadata.", "colour"
    }  # fmt: skip


async def test_a_payload_is_nested_as_deep_as_data_may_be(client: httpx.AsyncClient) -> None:
    deep: Any = 1
    for _ in range(32):
        deep = [deep]
    await registered(client, call(deep))
    assert (await refused(client, call([deep])))["handler.payload"] == "is nested too deep"
    assert (await refused(client, call([deep], timeout="1s")))["handler.payload"] == "is nested too deep"
    assert (await client.post("/v1/queues/register", json=call("x" * 40_000))).status_code == 413


async def test_a_batch_holds_both_kinds(api: Api, client: httpx.AsyncClient, clock: ManualClock) -> None:
    for bodies in ([call(1), call(2)], [call(1), task(), call(2, executionDelay="1ms")]):
        answer = await client.post("/v1/queues/batch", json={"tasks": bodies})
        assert answer.status_code == 201, answer.text
        clock.advance(1_000)
        targets = [claim.target for claim in await claimed(api.store, clock)]
        assert sorted(targets) == sorted("@send-email" if "handler" in body else "target.test:443" for body in bodies)


async def test_the_same_idempotency_key_is_the_same_task(client: httpx.AsyncClient) -> None:
    headers = {"Idempotency-Key": "mail-1"}
    first = await client.post("/v1/queues/register", json=call(1), headers=headers)
    again = await client.post("/v1/queues/register", json=call(1), headers=headers)
    other = await client.post("/v1/queues/register", json=call(2), headers=headers)
    assert (first.status_code, again.status_code, other.status_code) == (201, 200, 409)
    assert again.json()["id"] == first.json()["id"]


# Showing


async def test_a_config_shows_what_counts_for_a_handler(client: httpx.AsyncClient) -> None:
    made = await registered(client, call({"to": "a", "password": "Hidden", "list": [{"api_key": "Hidden"}]}))
    shown = await config_of(client, made["id"])
    assert shown["httpRequest"] is None
    assert shown["handler"]["payload"] == {"to": "a", "password": "***", "list": [{"api_key": "***"}]}
    assert "httpVersion" not in shown["config"]
    assert (shown["config"]["retry"], shown["config"]["timeout"]) == (None, None), "the handler's own count"
    made = await registered(client, call(retry=0, timeout=30_000))
    shown = await config_of(client, made["id"])
    assert (shown["config"]["retry"], shown["config"]["timeout"]) == (0, 30_000)


# Changing


async def patched(client: httpx.AsyncClient, task_id: str, patch: dict[str, Any]) -> dict[str, Any]:
    answer = await client.patch(f"/v1/queues/{task_id}", json=patch)
    assert answer.status_code == 200, answer.text
    return await config_of(client, task_id)


async def test_a_patch_changes_payload_and_name(api: Api, client: httpx.AsyncClient, clock: ManualClock) -> None:
    made = await registered(client, call({"a": 1, "b": 2}, retry=0, executionDelay=1_000))
    shown = await patched(client, made["id"], {"handler": {"payload": {"b": None, "c": 3}}})
    assert shown["handler"] == {"name": NAME, "payload": {"a": 1, "c": 3}}
    assert shown["config"]["retry"] == 0, "still the task's own"
    shown = await patched(client, made["id"], {"handler": {"name": "other"}, "config": {"retry": None, "timeout": 500}})
    assert (shown["config"]["retry"], shown["config"]["timeout"]) == (None, 500)
    clock.advance(1_000)
    (claim,) = await claimed(api.store, clock)
    assert claim.target == "@other"


async def test_a_patch_may_turn_one_kind_into_the_other(
    api: Api, client: httpx.AsyncClient, clock: ManualClock
) -> None:
    made = await registered(client, task(executionDelay=1_000))
    shown = await patched(client, made["id"], {"httpRequest": None, "handler": {"name": "a"}})
    assert (shown["httpRequest"], shown["handler"]["name"]) == (None, "a")
    both = await client.patch(
        f"/v1/queues/{made['id']}", json={"httpRequest": {"url": "http://a.test", "method": "GET"}}
    )
    assert [fault["field"] for fault in both.json()["errors"]] == ["httpRequest"]
    back = {"httpRequest": {"url": "http://a.test", "method": "GET"}, "handler": None}
    assert (await patched(client, made["id"], back))["handler"] is None
    clock.advance(1_000)
    (claim,) = await claimed(api.store, clock)
    assert claim.target == "a.test:80"


async def test_the_mask_is_not_taken_for_a_secret(client: httpx.AsyncClient) -> None:
    made = await registered(client, call({"password": "Hidden"}, executionDelay=1_000))
    answer = await client.patch(f"/v1/queues/{made['id']}", json={"handler": {"payload": {"password": "***"}}})
    assert [fault["field"] for fault in answer.json()["errors"]] == ["handler.payload.password"]


# Schedules


@pytest.mark.parametrize("form", [{"handler": {"name": NAME, "payload": [1]}}, {"task_name": NAME, "payload": [1]}])
async def test_a_schedule_runs_a_handler(
    api: Api, client: httpx.AsyncClient, clock: ManualClock, form: dict[str, Any]
) -> None:
    body = {"name": "mails", "every": "1h", "task": {**form, "config": {"priority": 4, "retry": 0}}}
    answer = await client.post("/v1/schedules", json=body)
    assert answer.status_code == 201, answer.text
    assert answer.json()["task"]["handler"] == {"name": NAME, "payload": [1]}
    assert (await client.put("/v1/schedules/mails", json=body)).status_code == 200
    assert (await client.post("/v1/schedules/mails/run")).status_code == 201
    (claim,) = await claimed(api.store, clock)
    spec = decode_spec(claim.spec)
    assert (claim.target, spec.handler) == ("@send-email", HandlerCall(NAME, b"[1]"))
    assert spec.config == TaskConfig(priority=4, retry=0)


async def test_a_schedules_handler_is_patched_in_both_words(client: httpx.AsyncClient) -> None:
    body = {"name": "mails", "every": "1h", "task": {"task_name": NAME, "payload": {"a": 1}, "config": {"retry": 0}}}
    await client.post("/v1/schedules", json=body)
    for patch in ({"payload": {"b": 2}}, {"handler": {"payload": {"c": 3}}}, {"task_name": "other"}):
        answer = await client.patch("/v1/schedules/mails", json={"task": patch})
        assert answer.status_code == 200, answer.text
    shown = answer.json()["task"]
    assert shown["handler"] == {"name": "other", "payload": {"a": 1, "b": 2, "c": 3}}
    assert (shown["config"]["retry"], shown["config"]["timeout"]) == (0, None)
    answer = await client.patch("/v1/schedules/mails", json={"task": {"payload": {"token": "***"}}})
    assert [fault["field"] for fault in answer.json()["errors"]] == ["task.handler.payload.token"]


async def test_a_handler_that_no_engine_knows_is_told(client: httpx.AsyncClient, api: Api) -> None:
    named = {"handler": {"name": "send_mail"}}
    assert "hint" not in (await client.post("/v1/queues/register", json=named)).json()  # no engine: none to know it
    known = (KnownHandler("send-email"), KnownHandler("ship"))
    facts = EngineFacts("here", 1, "1", 8, 7, 4, Repertoire(True, known))
    api.clock.advance(5_000)
    await api.store.report(EngineReport(api.clock.now(), api.clock.now(), facts))
    waits = "so it waits until one does"
    hint = f"no engine that is running knows the handler send_mail, {waits}; did you mean send-email?"
    made = (await client.post("/v1/queues/register", json=named)).json()
    assert made["hint"] == hint
    assert (await client.post("/tasks", json={"task_name": "send_mail"})).json()["hint"] == hint
    batch = [named, {"handler": {"name": "ship"}}, {"handler": {"name": "refund"}}]
    tasks = (await client.post("/v1/queues/batch", json={"tasks": batch})).json()["tasks"]
    refund = f"no engine that is running knows the handler refund, {waits}"
    assert [each.get("hint") for each in tasks] == [hint, None, refund]
    explained = (await client.get(f"/v1/queues/{made['id']}/explain")).json()
    (gate,) = (gate for gate in explained["gates"] if gate["gate"] == "handler")
    assert gate["text"] == "no engine that is running knows the handler send_mail (1 running); did you mean send-email?"
    assert gate["facts"]["didYouMean"] == "send-email"


async def test_what_a_handler_notes_is_shown_while_it_runs_and_afterwards(client: httpx.AsyncClient, api: Api) -> None:
    made = await registered(client, call())
    (claim,) = await claimed(api.store, api.clock)
    at = api.clock.now()
    notes = Notes(at, 0.4, "40 of 100", (Line(at, "skipped 7"),), 2)
    await api.store.note([Note(claim.ref, claim.lease, claim.id, claim.attempt, notes)])
    lines = [{"at": at, "text": "skipped 7"}]
    shown = {"at": at, "progress": 0.4, "message": "40 of 100", "lines": lines, "dropped": 2}

    async def look() -> tuple[Any, list[tuple[str, Any, Any]]]:
        named = (await client.get(f"/tasks/{made['id']}")).json()["notes"]
        timeline = (await client.get(f"/v1/queues/{made['id']}/timeline")).json()
        told = [each for each in timeline if each["event"] in ("logged", "progressed")]
        return named, [(each["event"], each["progress"], each["detail"]) for each in told]

    iso = dates.shown(at)
    named = shown | {"attempt": 1, "at": iso, "lines": [{"at": iso, "text": "skipped 7"}]}
    told = [
        ("logged", None, "2 earlier lines are not kept"),
        ("logged", None, "skipped 7"),
        ("progressed", 0.4, "40 of 100"),
    ]
    assert await look() == (named, told)
    report = report_of(claim, TaskConfig(), Outcome(OutcomeKind.SUCCESS, 200), at, at + 7, 0.0, notes)
    assert await api.store.settle([report]) == set()
    assert await look() == (named, told)
    (attempt,) = (await client.get(f"/v1/queues/{made['id']}/attempts")).json()
    assert attempt["notes"] == shown
