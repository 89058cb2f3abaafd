"""A body that is no plain text in UTF-8 is told what it is, on every route that takes one."""

import bz2
import gzip
import json
import zlib
from typing import Any

import httpx
import pytest

from .conftest import ADMIN_KEY, Api, task
from .test_words import NAMED, REQUEST, Route

JSON = {"Content-Type": "application/json"}
TEXT = json.dumps({"name": "größer", "task": "€"}, ensure_ascii=False)
FORMS = {
    "gzip": (gzip.compress(TEXT.encode()), "is compressed (gzip); send it plain"),
    "deflate": (zlib.compress(TEXT.encode()), "is compressed (deflate); send it plain"),
    "bzip2": (bz2.compress(TEXT.encode()), "is compressed (bzip2); send it plain"),
    "zstd": (b"\x28\xb5\x2f\xfd\x20\x02\x11\x00\x00{}", "is compressed (zstd); send it plain"),
    "UTF-16 with a mark": (TEXT.encode("utf-16"), "is text in UTF-16; send it in UTF-8"),
    "UTF-16 of the other order": ("\ufeff{}".encode("utf-16-be"), "is text in UTF-16; send it in UTF-8"),
    "UTF-16 without": (TEXT.encode("utf-16-le"), "is text in UTF-16; send it in UTF-8"),
    "UTF-16 without, other order": (TEXT.encode("utf-16-be"), "is text in UTF-16; send it in UTF-8"),
    "UTF-32 with a mark": (TEXT.encode("utf-32"), "is text in UTF-32; send it in UTF-8"),
    "UTF-32 without": (TEXT.encode("utf-32-be"), "is text in UTF-32; send it in UTF-8"),
    "UTF-32 without, other order": (TEXT.encode("utf-32-le"), "is text in UTF-32; send it in UTF-8"),
    "Windows-1252": (TEXT.encode("cp1252"), "is no text in UTF-8: byte 12 is 0xf6; send it in UTF-8"),
}
WITH_BODY = list({(route.method, route.path): route for route, _ in NAMED}.values())


async def client_for(api: Api, route: Route) -> tuple[httpx.AsyncClient, str]:
    """Somebody who may ask the route, and where it is, about what is there."""
    client, owner = await api.owner()
    path = route.path.replace("{name}", "default" if "/lanes/" in route.path else "small-shop")
    body: Any = {"handler": {"name": "a"}} if path.startswith("/tasks") else task()
    made = await client.post("/v1/queues/register", json={**body, "config": {"executionDelay": "1h"}})
    if "{id}" in path:
        rule = {"name": "nightly", "cron": "@daily", "task": {"httpRequest": REQUEST}}
        await client.post("/v1/schedules", json=rule)
        path = path.replace("{id}", "nightly" if "/schedules/" in path else made.json()["id"])
    return (api.client(ADMIN_KEY, owner["id"]) if route.access == "admin" else client), path


@pytest.mark.parametrize("route", WITH_BODY, ids=[f"{route.method} {route.path}" for route in WITH_BODY])
async def test_what_is_no_text_in_utf_8_is_told_what_it_is(api: Api, route: Route) -> None:
    client, path = await client_for(api, route)
    for name, (content, message) in FORMS.items():
        answer = await client.request(route.method, path, content=content, headers=JSON)
        told = answer.json()
        assert (answer.status_code, told["code"], told["detail"]) == (400, "malformed_json", f"body: {message}"), name


@pytest.mark.parametrize("route", WITH_BODY, ids=[f"{route.method} {route.path}" for route in WITH_BODY])
async def test_a_coding_of_the_body_is_refused_by_its_name(api: Api, route: Route) -> None:
    client, path = await client_for(api, route)
    for coding in ("gzip", "BR", "gzip, identity"):
        headers = {**JSON, "Content-Encoding": coding}
        answer = await client.request(route.method, path, content=FORMS["gzip"][0], headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (415, "content_encoding_unsupported")
        assert answer.headers["accept-encoding"] == "identity"
        (fault,) = answer.json()["errors"]
        assert (fault["field"], fault["given"], fault["allowed"]) == ("content-encoding", coding.lower(), "identity")
    headers = {**JSON, "Content-Encoding": "identity"}
    plain = await client.request(route.method, path, content=b"[]", headers=headers)
    assert plain.json()["errors"][0]["message"] != "must be left out: bodies are sent plain"


@pytest.mark.parametrize("route", WITH_BODY, ids=[f"{route.method} {route.path}" for route in WITH_BODY])
async def test_a_byte_order_mark_says_nothing(api: Api, route: Route) -> None:
    client, path = await client_for(api, route)
    body = json.dumps({"unknown": 1}).encode()
    without, marked = [
        await client.request(route.method, path, content=content, headers=JSON)
        for content in (body, b"\xef\xbb\xbf" + body)
    ]
    assert (marked.status_code, marked.content) == (without.status_code, without.content)
    assert without.json()["code"] == "invalid_request"


@pytest.mark.parametrize("path", ["/v1/queues/register", "/v1/queues/batch", "/tasks"])
async def test_a_task_with_a_byte_order_mark_is_taken(client: httpx.AsyncClient, path: str) -> None:
    body: Any = {"task_name": "a"} if path == "/tasks" else task()
    text = json.dumps({"tasks": [body]} if path.endswith("batch") else body)
    assert (await client.post(path, content=text.encode("utf-8-sig"), headers=JSON)).status_code == 201
