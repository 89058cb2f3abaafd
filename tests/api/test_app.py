"""Around the routes: unknown paths, methods, headers of every answer, errors of the store, the public pages."""

import json
from typing import Any

import httpx
import pytest

from tasks_server.api.app import ApiConfig, create_app
from tasks_server.api.openapi import codes_of
from tasks_server.api.problems import CODES, STATUSES, MethodNotAllowed, problem, status_of
from tasks_server.api.throttle import Throttle
from tasks_server.clock import ManualClock
from tasks_server.domain.errors import (
    Busy,
    Conflict,
    Corrupt,
    Forbidden,
    Gone,
    InvalidRequest,
    NotFound,
    Overloaded,
    ReadOnly,
    Refused,
    SchemaOutOfDate,
    StoreError,
    TasksServerError,
    Throttled,
    TooLarge,
    TooSlow,
    Unauthorized,
    Unavailable,
    Uncertain,
    Unreadable,
    UnsupportedEncoding,
)
from tasks_server.telemetry import Telemetry

from .conftest import Api, task

EVERYWHERE = {"x-content-type-options": "nosniff", "x-frame-options": "DENY", "referrer-policy": "no-referrer"}


async def test_status_answers_ok_to_everyone(api: Api) -> None:
    answer = await api.client().get("/status")
    assert (answer.status_code, answer.text) == (200, "OK")
    assert answer.headers["content-type"].startswith("text/plain")


@pytest.mark.parametrize("path", ["/status", "/v1/queues", "/nowhere", "/openapi.json", "/docs", "/"])
async def test_every_answer_has_its_headers(client: httpx.AsyncClient, path: str) -> None:
    first, second = await client.get(path), await client.get(path)
    for answer in (first, second):
        assert EVERYWHERE.items() <= dict(answer.headers).items()
        assert int(answer.headers["content-length"]) == len(answer.content)
    assert first.headers["x-request-id"] != second.headers["x-request-id"]


@pytest.mark.parametrize("path", ["/nowhere", "/v1", "/v1/queues/", "/v1/owner", "/v1/queues/x/y", "/status/"])
async def test_unknown_paths(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(path)
    assert (answer.status_code, answer.json()["code"]) == (404, "path_not_found")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v1/queues/register", "POST"),
        ("PUT", "/v1/queues", "GET, HEAD"),
        ("GET", "/v1/queues/x/pause", "PATCH, POST"),
        ("OPTIONS", "/v1/queues/x", "DELETE, GET, HEAD, PATCH"),
        ("POST", "/status", "GET, HEAD"),
        ("BREW", "/status", "GET, HEAD"),
    ],
)
async def test_other_methods_of_known_paths(client: httpx.AsyncClient, method: str, path: str, allowed: str) -> None:
    answer = await client.request(method, path)
    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
    assert answer.headers["allow"] == allowed


@pytest.mark.parametrize("path", ["/status", "/v1/queues", "/openapi.json", "/docs"])
async def test_head_is_get_without_the_body(client: httpx.AsyncClient, path: str) -> None:
    got, head = await client.get(path), await client.head(path)
    assert head.status_code == got.status_code
    assert head.content == b""
    for name in ("content-length", "content-type"):
        assert head.headers[name] == got.headers[name]


@pytest.mark.parametrize("query", ["pretty", "pretty=", "pretty=1", "limit=5&pretty"])
async def test_pretty_indents_answers_and_errors(client: httpx.AsyncClient, query: str) -> None:
    await client.post("/v1/queues/register", json=task())
    answer = await client.get(f"/v1/queues?{query}")
    assert answer.text.startswith("[\n  {\n    ")
    assert answer.json() == (await client.get("/v1/queues")).json()
    wrong = await client.get("/v1/queues?pretty&limit=x")
    assert wrong.text.startswith("{\n  ")


@pytest.mark.parametrize("path", ["/status", "/v1/queues/x", "/v1/owners/small-shop", "/openapi.json"])
async def test_unknown_names_in_the_query_are_refused_everywhere(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(f"{path}?pritty=1")
    assert (answer.status_code, answer.json()["errors"][0]["allowed"]) == (400, ["pretty"])


# Errors


async def test_what_a_key_may_see_is_told_only_where_one_was_used(
    api: Api, client: httpx.AsyncClient, admin: httpx.AsyncClient
) -> None:
    for path in ("/v1/queues/nonsense", "/v1/schedules/nonsense", "/v1/bulk/nonsense", "/v1/owners/nobodys"):
        assert (await client.get(path)).json()["detail"].endswith("that this key may see")
        assert "key" not in (await admin.get(path)).json()["detail"]


async def test_an_error_has_the_shape_of_the_contract(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/queues/nonsense")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    detail = "there is no task of this id that this key may see"
    assert answer.json() == {
        "type": "/docs#error-task_not_found",
        "title": "Task not found",
        "status": 404,
        "detail": detail,
        "code": "task_not_found",
        "action": "Show a task",
        "message": detail,
    }


class Broken:
    """Raises whatever it is asked."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def __call__(self, *_: Any) -> Any:
        raise self.error


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (Unavailable("/data/x.db: the disk is full; nothing was stored"), 503, "store_unavailable"),
        (Uncertain("db.example: the connection was lost"), 503, "store_outcome_unknown"),
        (Gone("/data/x.db: the database is gone"), 503, "store_gone"),
        (ReadOnly("/data/x.db: the disk is read-only"), 503, "store_read_only"),
        (Busy("another process holds the lock"), 503, "store_busy"),
    ],
)
async def test_a_store_that_cannot_now_is_a_503(
    api: Api, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int, code: str
) -> None:
    monkeypatch.setattr(api.store, "insert", Broken(error))
    answer = await client.post("/v1/queues/register", json=task())
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert int(answer.headers["retry-after"]) >= 1
    assert "/data" not in answer.text
    (line,) = api.logged
    logged = json.loads(line)
    assert (logged["event"], logged["message"]) == ("store_trouble", str(error))
    assert (await client.get("/v1/queues")).status_code == 200
    assert len(api.logged) == 1  # nothing is known of what could not be done
    monkeypatch.undo()
    assert (await client.post("/v1/queues/register", json=task())).status_code == 201
    assert [json.loads(line)["event"] for line in api.logged] == ["store_trouble", "store_back"]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ValueError("the secret is 42"), "internal_error"),
        (Corrupt("the secret is 42"), "store_corrupt"),
        (StoreError("the secret is 42"), "store_error"),
        (SchemaOutOfDate("the secret is 42"), "store_schema_out_of_date"),
    ],
)
async def test_a_fault_of_ours_is_logged_and_tells_no_internals(
    api: Api, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, error: Exception, code: str
) -> None:
    monkeypatch.setattr(api.store, "insert", Broken(error))
    answer = await client.post("/v1/queues/register", json=task())
    assert (answer.status_code, answer.json()["code"]) == (500, code)
    assert "42" not in answer.text
    (line,) = api.logged
    logged = json.loads(line)
    assert answer.headers["x-request-id"] in logged["doing"]
    assert "the secret is 42" in logged["error"]


def subclasses(kind: type[TasksServerError]) -> set[type[TasksServerError]]:
    return {kind} | {deeper for inner in kind.__subclasses__() for deeper in subclasses(inner)}


EXAMPLES: list[TasksServerError] = [
    InvalidRequest([]),
    UnsupportedEncoding([]),
    Unauthorized(""),
    Forbidden(""),
    NotFound(""),
    Conflict("", code="owner_name_taken"),
    TooLarge(""),
    TooSlow(""),
    Overloaded(""),
    Refused(""),
    Throttled("", retry_after_seconds=3, limit=2),
    MethodNotAllowed("PUT", ["GET"]),
    Unavailable(""),
    Uncertain(""),
    Gone(""),
    ReadOnly(""),
    Busy(""),
    Corrupt(""),
    Unreadable(""),
    SchemaOutOfDate(""),
    StoreError(""),
]


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_every_error_is_answered_with_the_status_of_its_code(error: TasksServerError) -> None:
    answer = problem(error, "Test")
    assert answer.status == status_of(error) == CODES[error.code].status


def test_every_class_of_error_has_a_status() -> None:
    told = {type(error) for error in EXAMPLES}
    abstract = {"TasksServerError", "RequestError", "SettingsError", "IllegalTransition", "HandlersFailed"}
    ours = {kind for kind in subclasses(TasksServerError) if kind.__module__ == TasksServerError.__module__}
    assert {kind.__name__ for kind in ours - told} <= abstract  # kinds of others count as what they are derived from
    assert {kind for kind, _ in STATUSES} <= told


# Throttle


class TestThrottle:
    @pytest.fixture
    def config(self) -> ApiConfig:
        return ApiConfig(registration="open", throttle_requests_max=3, throttle_window_ms=10_000)

    async def test_who_asks_too_often_is_told_when_to_go_on(self, api: Api) -> None:
        client, _ = await api.owner()
        left = [(await client.get("/v1/queues")).headers["ratelimit-remaining"] for _ in range(3)]
        assert left == ["2", "1", "0"]

        api.clock.advance(4_000)
        held = await client.get("/v1/queues")
        assert (held.status_code, held.json()["code"], held.headers["retry-after"]) == (429, "throttled", "6")
        assert (held.headers["ratelimit-limit"], held.headers["ratelimit-remaining"]) == ("3", "0")
        assert held.headers["ratelimit-reset"] == "6"

        api.clock.advance(6_000)
        assert (await client.get("/v1/queues")).status_code == 200

    async def test_owners_are_counted_apart(self, api: Api) -> None:
        mine, _ = await api.owner("my-shop")
        other, _ = await api.owner("other-shop")
        for _ in range(4):
            await mine.get("/v1/queues")
        assert (await other.get("/v1/queues")).status_code == 200

    async def test_who_guesses_keys_is_counted_by_address(self, api: Api) -> None:
        statuses = [(await api.client("k" * 63 + str(n)).get("/v1/queues")).status_code for n in range(5)]
        assert statuses == [401, 401, 401, 429, 429]

    async def test_status_is_never_held_back(self, api: Api) -> None:
        assert {(await api.client().get("/status")).status_code for _ in range(9)} == {200}


async def test_without_a_throttle_no_limits_are_told(client: httpx.AsyncClient) -> None:
    assert "ratelimit-limit" not in (await client.get("/v1/queues")).headers


# Public pages


async def test_the_document_describes_every_route_and_every_code(api: Api) -> None:
    document = (await api.client().get("/openapi.json")).json()

    described = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    shown = [route for route in api.app.table if not route.hidden]
    served = {(method, route.path) for route in shown for method in (route.method, route.also) if method is not None}
    assert described == served
    assert document["openapi"].startswith("3.1")
    assert set(document["x-error-codes"]) == set(CODES)
    told = {code for route in api.app.table for code in codes_of(route)}
    assert set(CODES) - told == {"path_not_found", "method_not_allowed"}
    names = [operation["operationId"] for methods in document["paths"].values() for operation in methods.values()]
    assert len(names) == len(set(names))


async def test_every_reference_of_the_document_leads_somewhere(api: Api) -> None:
    text = (await api.client().get("/openapi.json")).text
    schemas = json.loads(text)["components"]["schemas"]
    referred = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert referred <= set(schemas)
    assert {"Registration", "HttpRequest", "TaskConfig", "TaskDetailView", "Problem"} <= referred


async def test_the_docs_load_nothing_from_elsewhere(api: Api) -> None:
    page = await api.client().get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    policy = page.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    for part in ("docs.css", "docs.js"):
        assert f'"/docs/{part}"' in page.text
        answer = await api.client().get(f"/docs/{part}")
        assert answer.status_code == 200
        assert "http://" not in answer.text
        assert "https://" not in answer.text
    assert "style=" not in page.text
    assert "<script>" not in page.text


async def test_the_root_leads_to_the_docs(api: Api) -> None:
    answer = await api.client().get("/")
    assert (answer.status_code, answer.headers["location"]) == (307, "/docs")


class TestWithoutDocs:
    @pytest.fixture
    def config(self) -> ApiConfig:
        return ApiConfig(docs=False)

    async def test_the_page_is_gone_and_the_document_stays(self, api: Api) -> None:
        assert (await api.client().get("/docs")).status_code == 404
        assert (await api.client().get("/")).status_code == 404
        assert (await api.client().get("/openapi.json")).status_code == 200


# ASGI


async def test_lifespan_is_answered_and_websockets_are_refused(api: Api) -> None:
    sent: list[Any] = []
    messages = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])

    async def receive() -> Any:
        return next(messages)

    async def send(message: Any) -> None:
        sent.append(message["type"])

    await api.app({"type": "lifespan"}, receive, send)
    await api.app({"type": "websocket", "path": "/"}, receive, send)
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete", "websocket.close"]


async def test_every_request_is_told_of_when_that_is_asked_for(api: Api, clock: ManualClock) -> None:
    lines: list[bytes] = []
    telemetry = Telemetry(clock, level="debug", form="json", write=lines.append)
    app = create_app(api.store, clock=clock, telemetry=telemetry, config=ApiConfig())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        answer = await client.get("/nowhere?key=secret&pretty")

    (line,) = map(json.loads, lines)

    assert (line["event"], line["method"], line["path"], line["status"]) == ("request_served", "GET", "/nowhere", 404)
    assert line["request_id"] == answer.headers["x-request-id"]


def test_a_throttle_forgets_who_went_away(clock: ManualClock) -> None:
    throttle = Throttle(1, 1_000, clock)
    for number in range(10_000):
        throttle.count(str(number))
    with pytest.raises(Throttled):
        throttle.count("0")
    clock.advance(1_000)
    throttle.count("new")
    throttle.count("0")
    assert len(throttle._windows) == 2
