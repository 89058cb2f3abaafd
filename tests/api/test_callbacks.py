"""Callbacks over the API: asked for by tasks, lanes and owners; refused, masked, shown where they come from."""

from typing import Any

import httpx
import pytest

from tasks_server.api.app import ApiConfig
from tasks_server.domain.attempt import Outcome, OutcomeKind
from tasks_server.domain.egress import Egress

from .conftest import ADMIN_KEY, Api, task, worked

PATH = "/v1/owners/small-shop/callbacks"
URL = "https://ops.test/told?token=Zx81"
SHOWN = {
    "url": "https://ops.test/told?token=***", "method": "POST", "headers": None, "handler": None, "retry": 8,
    "lane": "callbacks",
}  # fmt: skip
DOWN = Outcome(OutcomeKind.HTTP_ERROR, 503, "Service Unavailable")


@pytest.fixture
def config() -> ApiConfig:
    return ApiConfig(admin_key=ADMIN_KEY, registration="open", egress=Egress.parse("public", "", ""))


async def register(client: httpx.AsyncClient, path: str = "/v1/queues/register", **fields: Any) -> str:
    answer = await client.post(path, json=fields)
    assert answer.status_code == 201, answer.text
    found: str = answer.json()["id"]
    return found


async def config_of(client: httpx.AsyncClient, task_id: str) -> dict[str, Any]:
    answer = await client.get(f"/v1/queues/{task_id}/config")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()["config"]
    return found


async def told_of(api: Api, client: httpx.AsyncClient, source: str) -> list[str]:
    """The ids of the callbacks that the timeline of a task tells of."""
    timeline = (await client.get(f"/v1/queues/{source}/timeline")).json()
    return [entry["detail"].partition(",")[0] for entry in timeline if entry["event"] == "callback_made"]


def faults_of(answer: httpx.Response) -> list[tuple[str, str]]:
    assert answer.status_code == 400, answer.text
    return [(fault["field"], fault["message"]) for fault in answer.json()["errors"]]


@pytest.mark.parametrize("asked", [URL, {"url": URL}, {"url": URL, "method": "post"}])
async def test_a_task_asks_for_one(api: Api, client: httpx.AsyncClient, asked: object) -> None:
    source = await register(client, **task(failureCallback=asked, executionDelay=0))
    assert (await config_of(client, source))["failureCallback"] == SHOWN
    await worked(api.store, api.clock, DOWN)
    (callback,) = await told_of(api, client, source)
    shown = (await client.get(f"/v1/queues/{callback}")).json()
    assert (shown["callbackOf"], shown["lane"], shown["state"]) == (source, "callbacks", "RUNNING")
    assert (await client.get(f"/v1/queues/{source}")).json()["callbackOf"] is None
    (first, *_) = (await client.get(f"/v1/queues/{callback}/timeline")).json()
    assert first["detail"] == f"made to tell of the end of the task {source}"
    listed = (await client.get("/v1/queues", params={"lane": "callbacks"})).json()
    assert [one["id"] for one in listed] == [callback]
    body = (await client.get(f"/v1/queues/{callback}/config")).json()
    assert "Zx81" not in str(body)
    assert body["httpRequest"]["data"]["type"] == "task.failed"
    assert body["config"]["failureCallback"] is False
    assert "Zx81" not in (await client.get(f"/v1/queues/{source}/timeline")).text


async def test_the_timeline_tells_it_after_the_end_and_both_ends_of_a_task_that_ran_again(
    api: Api, client: httpx.AsyncClient
) -> None:
    source = await register(client, **task(failureCallback=URL, successCallback=URL, executionDelay=0))
    await worked(api.store, api.clock, DOWN)
    (first,) = await told_of(api, client, source)
    await client.patch(f"/v1/queues/{first}/revoke")
    await client.post(f"/v1/queues/{source}/retry")
    await worked(api.store, api.clock, Outcome(OutcomeKind.SUCCESS, 200))
    events = [entry["event"] for entry in (await client.get(f"/v1/queues/{source}/timeline")).json()]
    assert events == [
        "registered", "started", "failed", "given_up", "callback_made", "restarted", "started", "succeeded",
        "completed", "callback_made",
    ]  # fmt: skip
    assert len(set(await told_of(api, client, source))) == 2


async def test_an_owner_and_a_lane_ask_for_them(api: Api, client: httpx.AsyncClient) -> None:
    nothing = {"failureCallback": None, "successCallback": None}
    assert (await client.get(PATH)).json() == nothing
    answer = await client.patch(PATH, json={"failureCallback": URL})
    assert (answer.status_code, answer.json()) == (200, {"failureCallback": SHOWN, "successCallback": None})
    answer = await client.patch(PATH, json={"failureCallback": {"retry": 3}, "successCallback": URL})
    assert answer.json() == {"failureCallback": SHOWN | {"retry": 3}, "successCallback": SHOWN}
    assert (await client.patch(PATH, json={"successCallback": None})).json()["successCallback"] is None
    answer = await client.put("/v1/lanes/quiet", json={"failureCallback": False})
    assert (answer.status_code, answer.json()["failureCallback"]) == (201, False)
    told = await register(client, **task(executionDelay=0))
    quiet = await register(client, **task(executionDelay=0, lane="quiet"))
    await worked(api.store, api.clock, DOWN)
    assert len(await told_of(api, client, told)) == 1
    assert await told_of(api, client, quiet) == []


async def test_a_lane_keeps_them_over_edits_and_loses_them_by_a_put(client: httpx.AsyncClient) -> None:
    await client.put("/v1/lanes/mail", json={"successCallback": URL})
    for path, body in (("", {"maxConcurrent": 3}), ("/pause", None), ("/resume", None)):
        method = "PATCH" if body else "POST"
        answer = await client.request(method, f"/v1/lanes/mail{path}", json=body)
        assert (answer.status_code, answer.json()["successCallback"]) == (200, SHOWN)
    handler = {"successCallback": {"handler": {"name": "on-success"}}}
    answer = await client.patch("/v1/lanes/mail", json=handler)
    assert answer.json()["successCallback"] == SHOWN | {"url": None, "handler": {"name": "on-success"}}
    assert (await client.put("/v1/lanes/mail", json={"maxConcurrent": 3})).json()["successCallback"] is None


async def test_an_edit_of_a_task_changes_adds_and_removes_it(client: httpx.AsyncClient) -> None:
    source = await register(client, **task(executionDelay="1h"))

    async def edited(callback: object) -> Any:
        answer = await client.patch(f"/v1/queues/{source}", json={"config": {"failureCallback": callback}})
        assert answer.status_code == 200, answer.text
        return (await config_of(client, source))["failureCallback"]

    assert await edited(URL) == SHOWN
    assert await edited({"method": "PUT"}) == SHOWN | {"method": "PUT"}
    assert await edited({"handler": {"name": "note"}}) == SHOWN | {"url": None, "handler": {"name": "note"}}
    assert await edited(False) is False
    assert await edited(None) is None


async def test_a_handlers_task_asks_for_one_in_both_ways(api: Api, client: httpx.AsyncClient) -> None:
    named = await register(client, "/tasks", task_name="ship", failure_callback=URL, success_callback=False)
    asked = await register(client, handler={"name": "ship"}, config={"failureCallback": URL, "executionDelay": 0})
    assert (await config_of(client, named))["failureCallback"] == SHOWN
    assert (await config_of(client, named))["successCallback"] is False
    await worked(api.store, api.clock, Outcome(OutcomeKind.UNSENDABLE, 0, "no such handler"))
    for source in (named, asked):
        (callback,) = await told_of(api, client, source)
        data = (await client.get(f"/v1/queues/{callback}/config")).json()["httpRequest"]["data"]["data"]
        assert (data["handler"], data["method"], data["outcome"]) == ("ship", None, "unsendable")
    recurring = {"task_name": "ship", "type": "recurring", "schedule": "0 3 * * *", "failure_callback": URL}
    answer = await client.post("/tasks", json=recurring)
    assert answer.status_code == 201, answer.text
    shown = (await client.get(f"/v1/schedules/{answer.json()['id']}")).json()
    assert shown["task"]["config"]["failureCallback"] == SHOWN


REFUSED = [
    (True, [("", "cannot be true")]),
    (7, [("", "must be")]),
    ({}, [("", "needs a url or a handler")]),
    ({"url": URL, "handler": {"name": "x"}}, [("", "cannot have both")]),
    ({"url": "https://a.test/", "retries": 1}, [(".retries", "did you mean retry?")]),
    ({"url": "https://a.test/", "retry": -1}, [(".retry", "must be an integer")]),
    ({"url": "https://a.test/", "method": "GET"}, [(".method", "must be one of PATCH, POST, PUT")]),
    ({"url": "https://a.test/", "headers": {"Webhook-Id": "x"}}, [(".headers.Webhook-Id", "signature")]),
    ({"url": "https://a.test/", "headers": {"Host": "a b"}}, [(".headers.Host", "is not a host")]),
    ({"url": "https://a.test/", "headers": {"Authorization": "***"}}, [(".headers.Authorization", "the mask")]),
    ("https://a.test/?token=***", [("", "the mask")]),
    ("http://127.0.0.1/", [("", "a loopback address")]),
    ({"url": "http://10.0.0.1/"}, [(".url", "a private address")]),
    ("ftp://a.test/", [("", "only http and https")]),
    ({"handler": {"name": "x"}, "method": "PUT"}, [(".method", "a handler has no use for it")]),
]
"""What is refused everywhere: where below the callback, and a part of what is said."""


@pytest.mark.parametrize(("asked", "expected"), REFUSED)
@pytest.mark.parametrize("name", ["failureCallback", "successCallback"])
async def test_what_is_refused_is_refused_everywhere(
    client: httpx.AsyncClient, name: str, asked: object, expected: list[tuple[str, str]]
) -> None:
    snake = name.replace("C", "_c")
    masked = "***" in str(asked)
    await client.put("/v1/lanes/mail", json={})
    waiting = await register(client, **task(executionDelay="1h"))
    answers = [
        (f"{name}", await client.patch(PATH, json={name: asked})),
        (f"{name}", await client.put("/v1/lanes/mail", json={name: asked})),
        (f"{name}", await client.patch("/v1/lanes/mail", json={name: asked})),
        (f"config.{name}", await client.patch(f"/v1/queues/{waiting}", json={"config": {name: asked}})),
    ]
    if not masked:  # of a registration, it is a value like any other
        answers += [
            (f"config.{name}", await client.post("/v1/queues/register", json=task(**{name: asked}))),
            (
                f"config.{name}",
                await client.post("/v1/queues/register", json={"handler": {"name": "x"}, "config": {name: asked}}),
            ),
            (snake, await client.post("/tasks", json={"task_name": "x", snake: asked})),
            (
                f"task.config.{name}",
                await client.put("/v1/schedules/nightly", json={"cron": "0 3 * * *", "task": task(**{name: asked})}),
            ),
        ]
    for prefix, answer in answers:
        found = faults_of(answer)
        assert [field for field, _ in found] == [prefix + field for field, _ in expected], answer.request.url
        for (_, message), (_, part) in zip(found, expected, strict=True):
            assert part in message


async def test_others_see_and_change_nothing(api: Api, client: httpx.AsyncClient) -> None:
    await client.patch(PATH, json={"failureCallback": URL})
    stranger, _ = await api.owner("other-shop")
    assert (await stranger.get(PATH)).status_code == 404
    assert (await stranger.patch(PATH, json={"failureCallback": None})).status_code == 404
    assert (await api.client().get(PATH)).status_code == 401
    assert (await client.patch(PATH, json={})).status_code == 400
    assert (await client.patch(PATH, json={"failure": URL})).status_code == 400
    assert (await client.get(PATH)).json()["failureCallback"] == SHOWN
