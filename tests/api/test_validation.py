"""Bodies: what is no JSON, too large, of another type, or wrong in its fields."""

import json
from typing import Any

import httpx
import pytest

from tasks_server.api.app import ApiConfig
from tasks_server.domain.limits import BODY_REQUEST_MAX_BYTES

from .conftest import Api, task

JSON = {"Content-Type": "application/json"}


async def post(client: httpx.AsyncClient, content: Any, path: str = "register", **headers: str) -> dict[str, Any]:
    answer = await client.post(f"/v1/queues/{path}", content=content, headers={**JSON, **headers})
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.json()


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"{}x", b"nonsense", b'"\xff"', b'"\\ud800"', b"[NaN]", b"[1e999]"]
    + [b"[" * depth + b"]" * depth for depth in (65, 5_000)]
    + [b'{"httpRequest":{"url":"http://a","method":"POST","data":' + b'{"a":' * 5_000 + b"1" + b"}" * 5_002],
)
@pytest.mark.parametrize("path", ["register", "batch"])
async def test_what_is_no_json_is_told_so(client: httpx.AsyncClient, content: bytes, path: str) -> None:
    problem = await post(client, content, path)
    assert (problem["status"], problem["code"]) == (400, "malformed_json")


@pytest.mark.parametrize("content", [b'"\\ud800"', b'{"a": ["\\udfff x"]}', b'{"\\uD83D": 1}'])
async def test_half_of_a_surrogate_pair_is_called_so(client: httpx.AsyncClient, content: bytes) -> None:
    assert "half of a surrogate pair" in (await post(client, content))["errors"][0]["message"]
    for other in (content[:-1], content + b" x", b'"\\ud83d\\ude00'):
        assert "half of a surrogate pair" not in (await post(client, other))["errors"][0]["message"]


@pytest.mark.parametrize(
    "content_type", ["text/plain", "", "application/jsonp", "application/json; charset=latin-1", "application/xml"]
)
async def test_other_content_types_are_refused(client: httpx.AsyncClient, content_type: str) -> None:
    problem = await post(client, json.dumps(task()), **{"Content-Type": content_type})
    assert (problem["status"], problem["code"]) == (400, "content_type_invalid")


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", 'Application/JSON;charset="UTF-8"'])
async def test_json_in_utf8_is_taken_however_it_is_named(client: httpx.AsyncClient, content_type: str) -> None:
    headers = {"Content-Type": content_type}
    answer = await client.post("/v1/queues/register", content=json.dumps(task()), headers=headers)
    assert answer.status_code == 201


async def in_pieces(size: int) -> Any:
    for _ in range(size // 1_024):
        yield b" " * 1_024


@pytest.mark.parametrize("whole", [True, False], ids=["with a length", "chunked"])
async def test_a_body_over_its_limit_is_refused(client: httpx.AsyncClient, whole: bool) -> None:
    content = b" " * (BODY_REQUEST_MAX_BYTES + 1) if whole else in_pieces(BODY_REQUEST_MAX_BYTES + 1_024)
    problem = await post(client, content)
    assert (problem["status"], problem["code"]) == (413, "body_too_large")


async def test_a_body_of_many_pieces_is_put_together(client: httpx.AsyncClient) -> None:
    async def pieces() -> Any:
        for byte in json.dumps(task()).encode():
            yield bytes([byte])

    assert (await client.post("/v1/queues/register", content=pieces(), headers=JSON)).status_code == 201


async def test_a_body_of_just_its_limit_is_taken(client: httpx.AsyncClient) -> None:
    content = json.dumps(task()).encode().ljust(BODY_REQUEST_MAX_BYTES)
    assert (await client.post("/v1/queues/register", content=content, headers=JSON)).status_code == 201


async def test_reading_stops_where_the_limit_is_passed(client: httpx.AsyncClient, api: Api) -> None:
    """A sender without end must not fill the memory."""
    asked = 0

    async def receive() -> dict[str, Any]:
        nonlocal asked
        asked += 1
        assert asked < 100
        return {"type": "http.request", "body": b" " * 8_192, "more_body": True}

    sent = await raw(api, receive, {b"authorization": client.headers["authorization"].encode()})
    assert sent[0]["status"] == 413
    assert asked == BODY_REQUEST_MAX_BYTES // 8_192 + 1


@pytest.mark.parametrize("before", [[], [{"type": "http.request", "body": b"{", "more_body": True}]])
async def test_a_body_that_does_not_come_whole(client: httpx.AsyncClient, api: Api, before: list[Any]) -> None:
    messages = iter([*before, {"type": "http.disconnect"}])

    async def receive() -> dict[str, Any]:
        return next(messages)

    start, body = await raw(api, receive, {b"authorization": client.headers["authorization"].encode()})
    assert start["status"] == 400
    assert json.loads(body["body"])["code"] == "malformed_body"
    assert api.logged == []


async def raw(api: Api, receive: Any, headers: dict[bytes, bytes]) -> list[dict[str, Any]]:
    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/queues/register",
        "query_string": b"",
        "http_version": "1.1",
        "headers": [(b"host", b"localhost"), (b"content-type", b"application/json"), *headers.items()],
    }
    await api.app(scope, receive, send)
    return sent


async def test_every_fault_is_in_the_answer(client: httpx.AsyncClient) -> None:
    body = {"httpRequest": {"url": "nowhere", "method": "POST"}, "config": {"retry": -1, "prioriti": 1}}

    problem = await post(client, json.dumps(body))

    assert problem["code"] == "invalid_request"
    assert problem["errors"] == [
        {
            "field": "config.retry",
            "message": "must be an integer from 0 to 2147483648",
            "given": -1,
            "allowed": "an integer from 0 to 2147483648",
        },
        {
            "field": "config.prioriti",
            "message": "is not a known field; did you mean priority?",
            "allowed": ["priority"],
        },
        {
            "field": "httpRequest.url",
            "message": "must be absolute, beginning with http:// or https://",
            "given": "nowhere",
            "allowed": "an absolute http or https URL of at most 8192 characters",
        },
    ]


@pytest.mark.parametrize("asked", [{"timeout": 30}, {"timeout": "30ms"}, {"timeout": None}, {"timeout": True}])
async def test_a_duration_out_of_bounds_is_told_with_its_unit(client: httpx.AsyncClient, asked: Any) -> None:
    (fault,) = (await post(client, json.dumps(task(**asked))))["errors"]
    words = "milliseconds from 100 to 86400000 (100 ms to 1 d), or text with units such as 30s"
    assert (fault["field"], fault["message"], fault["allowed"]) == ("config.timeout", f"must be {words}", words)


@pytest.mark.parametrize("name", ["executionDelay", "retryInterval", "retryMaxInterval", "repeatInterval"])
async def test_every_duration_is_told_with_its_unit(client: httpx.AsyncClient, name: str) -> None:
    for content in (task(**{name: -1}), {"handler": {"name": "a"}, "config": {name: -1}}):
        (fault,) = (await post(client, json.dumps(content)))["errors"]
        assert fault["field"] == f"config.{name}"
        assert "or text with units such as 30s" in fault["message"]


async def test_a_body_that_is_no_object_is_called_the_body(client: httpx.AsyncClient) -> None:
    for path in ("register", "batch"):
        (fault,) = (await post(client, b"[]", path))["errors"]
        assert (fault["field"], fault["message"]) == ("body", "must be a JSON object")


async def test_a_rule_broken_in_canonical_json_is_told_as_well(client: httpx.AsyncClient) -> None:
    problem = await post(client, json.dumps({"httpRequest": {"url": "http://u:p@x", "method": "GET"}}))
    assert [fault["field"] for fault in problem["errors"]] == ["httpRequest.url"]
    assert "u:p" not in json.dumps(problem)


async def test_thousands_of_faults_are_cut_short(client: httpx.AsyncClient) -> None:
    problem = await post(client, json.dumps({"tasks": [{} for _ in range(900)]}), "batch")
    assert len(problem["errors"]) == 200
    assert "700 more tasks were not looked at" in problem["detail"]


class TestBatchLimit:
    @pytest.fixture
    def config(self) -> ApiConfig:
        return ApiConfig(registration="open", batch_max_bytes=100_000)

    async def test_batches_have_a_limit_of_their_own(self, client: httpx.AsyncClient) -> None:
        batch = json.dumps({"tasks": [task()]}).encode()
        fits = await client.post("/v1/queues/batch", content=batch.ljust(100_000), headers=JSON)
        assert fits.status_code == 201
        assert (await post(client, batch.ljust(100_001), "batch"))["status"] == 413
