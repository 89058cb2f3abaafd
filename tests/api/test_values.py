"""Data and payloads: refused when they are no JSON, shown as they came, and changed by a patch where it says so."""

from typing import Any

import httpx
import pytest

from tasks_server.clock import ManualClock
from tasks_server.domain.forms import decode_spec
from tasks_server.domain.request import HttpRequest

from ..domain.json_texts import nested
from .conftest import Api, claimed

JSON = {"Content-Type": "application/json"}
REQUEST = b'{"httpRequest":{"url":"http://a.example/","method":"POST","data":%b}}'
OTHER_REQUEST = REQUEST[:-1] + b',"config":{"timeout":"30s"}}'
HANDLER = b'{"handler":{"name":"a","payload":%b}}'
OTHER_HANDLER = HANDLER[:-1] + b',"config":{"timeout":"30s"}}'
NAMED = b'{"task_name":"a","payload":%b}'
OTHER_NAMED = NAMED[:-1] + b',"priority":1.0}'
REGISTER, BATCH, SCHEDULES, TASKS = "/v1/queues/register", "/v1/queues/batch", "/v1/schedules", "/tasks"
SCHEDULE = b'{"name":"s","every":"1h","task":%b}'
WAYS = [
    (REGISTER, REQUEST), (REGISTER, OTHER_REQUEST), (REGISTER, HANDLER), (REGISTER, OTHER_HANDLER),
    (BATCH, b'{"tasks":[%b]}' % REQUEST), (BATCH, b'{"tasks":[%b,%b]}' % (HANDLER.replace(b"%b", b"1"), REQUEST)),
    (BATCH, b'{"tasks":[%b]}' % HANDLER), (TASKS, NAMED), (TASKS, OTHER_NAMED),
    (TASKS, b'{"type":"recurring","schedule":"@daily",' + NAMED[1:]),
    (SCHEDULES, SCHEDULE % REQUEST), (SCHEDULES, SCHEDULE % HANDLER), (SCHEDULES, SCHEDULE % NAMED),
]  # fmt: skip
"""Where something may come in, and the frame around it."""


async def sent(client: httpx.AsyncClient, path: str, body: bytes, method: str = "POST") -> httpx.Response:
    return await client.request(method, path, content=body, headers=JSON)


NOT_JSON = {
    b'{"a":NaN}': "is not JSON",
    b'{"a":Infinity}': "is not JSON",
    b'{"a":-Infinity}': "is not JSON",
    b'{"a":01}': "is not JSON",
    b'{"a":"\\ud800"}': "half of a surrogate pair",
    b'{"a":"\\ud800\\u0041"}': "half of a surrogate pair",
    b'{"a":"\xff"}': "is no text in UTF-8",
    b'{"a":"\xed\xa0\x80"}': "is no text in UTF-8",
    b'{"a":"x\ny"}': "is not JSON",
    b'{"a":1,}': "is not JSON",
    nested(2_000): "is nested too deep",
}


@pytest.mark.parametrize(("path", "frame"), WAYS)
async def test_what_is_no_json_is_refused_wherever_it_comes_in(
    client: httpx.AsyncClient, path: str, frame: bytes
) -> None:
    for text, message in NOT_JSON.items():
        answer = await sent(client, path, frame % text)
        assert (answer.status_code, answer.json()["code"]) == (400, "malformed_json"), answer.text
        assert message in answer.json()["errors"][0]["message"]
    assert (await client.get("/v1/queues")).json() == (await client.get("/v1/schedules")).json() == []


@pytest.mark.parametrize(("path", "frame"), WAYS)
async def test_levels_are_counted_wherever_it_comes_in(client: httpx.AsyncClient, path: str, frame: bytes) -> None:
    answer = await sent(client, path, frame % nested(33))
    (fault,) = answer.json()["errors"]
    assert (fault["message"], fault["allowed"]) == ("is nested too deep", "at most 32 levels")
    assert fault["field"].endswith(("httpRequest.data", "payload"))
    assert (await sent(client, path, frame % nested(65))).status_code == 400
    assert (await sent(client, path, frame % nested(32))).status_code == 201


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"5", {"field": "httpRequest.data", "given": 5}),
        (b"1e400", {"field": "httpRequest.data", "given": "1E+400"}),
        (b"true", {"field": "httpRequest.data", "given": True}),
        (b"[]", {"field": "httpRequest.data", "given": "an array of 0"}),
        (b"[1e400]", {"field": "httpRequest.data.0", "given": "1E+400"}),
        (b'[{"name":"a","value":1e400}]', {"field": "httpRequest.data.0.value", "given": "1E+400"}),
    ],
)
async def test_data_of_another_kind_are_refused(client: httpx.AsyncClient, data: bytes, fault: dict[str, Any]) -> None:
    answer = await sent(client, REGISTER, REQUEST % data)
    assert answer.status_code == 400, answer.text
    (told,) = answer.json()["errors"]
    assert told | fault == told


SECRET = (
    b'{"n": 12345678901234567.89,\n "token" : {"a":1.0,"b":[null,"x"]}, "token":"again", "e":1e400, "\\u0074oken":1 }'
)
MASKED = (
    b'{"n": 12345678901234567.89,\n "token" : {"a":"***","b":[null,"***"]}, "token":"***", "e":1e400, '
    b'"\\u0074oken":"***" }'
)


@pytest.mark.parametrize(
    ("path", "frame", "shown"),
    [
        (REGISTER, REQUEST, "/v1/queues/{id}/config"),
        (REGISTER, HANDLER, "/v1/queues/{id}/config"),
        (TASKS, NAMED, "/tasks/{id}"),
        (SCHEDULES, SCHEDULE % REQUEST, "/v1/schedules/{id}"),
    ],
)
async def test_it_is_shown_as_it_came_but_for_its_secrets(
    client: httpx.AsyncClient, path: str, frame: bytes, shown: str
) -> None:
    for text, expected in ((b'{"n":-0, "n" : 1E+2}', b'{"n":-0, "n" : 1E+2}'), (SECRET, MASKED)):
        await client.delete(f"{SCHEDULES}/s")
        made = await sent(client, path, frame % text)
        assert made.status_code == 201, made.text
        place = shown.replace("{id}", made.content[7:31].decode())
        assert expected in (await client.get(place)).content
    pretty = (await client.get(place, params={"pretty": ""})).content
    assert b": 12345678901234567.89,\n" in pretty
    assert b'"e": 1e400,\n' in pretty


async def test_a_patch_changes_what_it_names(api: Api, client: httpx.AsyncClient, clock: ManualClock) -> None:
    delayed = REQUEST[:-1] + b',"config":{"executionDelay":1000}}'
    data = b'{"a":1.0, "b":{"c":1e400,"d":"\\u00e9"},\n "b2":[1.50]}'
    task = (await sent(client, REGISTER, delayed % data)).json()["id"]
    for patch in (b'{"httpRequest":{"data":{"a":null,"b":{"c":2.0},"new":0.10}}}', b'{"config":{"retry":3}}'):
        answer = await sent(client, f"/v1/queues/{task}", patch, "PATCH")
        assert answer.status_code == 200, answer.text
    clock.advance(1_000)
    (claim,) = await claimed(api.store, clock)
    request = decode_spec(claim.spec).request
    assert isinstance(request, HttpRequest)
    assert request.json == b'{ "b":{"c":2.0,"d":"\\u00e9"},\n "b2":[1.50],"new":0.10}'


async def test_a_patch_turns_data_into_another_kind(api: Api, client: httpx.AsyncClient, clock: ManualClock) -> None:
    delayed = REQUEST[:-1] + b',"config":{"executionDelay":1000}}'
    task = (await sent(client, REGISTER, delayed % b'{"a":1}')).json()["id"]

    async def patched(data: bytes) -> int:
        answer = await sent(client, f"/v1/queues/{task}", b'{"httpRequest":{"data":%b}}' % data, "PATCH")
        return answer.status_code

    shown = f"/v1/queues/{task}/config"
    for data, told in ((b'"te\\u0078t"', "text"), (b'[{"name":"a","value":"b"}]', [{"name": "a", "value": "b"}])):
        assert await patched(data) == 200
        assert (await client.get(shown)).json()["httpRequest"]["data"] == told
    assert await patched(b"[{}]") == await patched(b"5") == await patched(b"NaN") == 400
    assert await patched(b"null") == 200
    assert (await client.get(shown)).json()["httpRequest"]["data"] is None
    assert await patched(b'{"a" : null, "b":1.0}') == 200
    clock.advance(1_000)
    (claim,) = await claimed(api.store, clock)
    assert decode_spec(claim.spec).request.json == b'{ "b":1.0}'


async def test_what_was_said_stays_said_when_something_else_is_patched(client: httpx.AsyncClient) -> None:
    """A cap that is given holds, whatever it is by default; a patch takes it back."""
    week = 7 * 86_400_000
    body = (
        b'{"httpRequest":{"url":"http://a.example/","method":"GET"},'
        b'"config":{"executionDelay":1000,"retryInterval":%d,"retryMaxInterval":86400000}}' % week
    )
    task = (await sent(client, REGISTER, body)).json()["id"]
    shown = f"/v1/queues/{task}/config"
    assert (await client.get(shown)).json()["config"]["retryMaxInterval"] == 86_400_000
    await sent(client, f"/v1/queues/{task}", b'{"config":{"priority":1}}', "PATCH")
    assert (await client.get(shown)).json()["config"]["retryMaxInterval"] == 86_400_000
    await sent(client, f"/v1/queues/{task}", b'{"config":{"retryMaxInterval":null}}', "PATCH")
    config = (await client.get(shown)).json()["config"]
    assert (config["retryMaxInterval"], config["retryInterval"], config["priority"]) == (week, week, 1)
