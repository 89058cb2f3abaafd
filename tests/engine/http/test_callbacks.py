"""Callbacks on the wire: signed, tried again, told to URLs and never told of, over every store."""

import base64
import hashlib
import hmac
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tasks_server.clock import ManualClock
from tasks_server.domain.task import State
from tasks_server.store.ports import TaskQuery
from tests.engine.http.delivery import Delivery
from tests.engine.http.driver import RESPONSE_MAX_BYTES
from tests.engine.http.target import Received, Target, answer
from tests.store.adapters import ADAPTERS
from tests.store.world import World, secret

NOW = {"executionDelay": 0}


@pytest.fixture(params=["sqlite-file", "postgres"])
async def world(request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock) -> AsyncIterator[World]:
    adapter = ADAPTERS[request.param]
    store = adapter.make(tmp_path, clock)
    await store.open()
    yield World(store, clock, adapter, tmp_path)
    await store.close()


@pytest.fixture
async def delivery(world: World) -> AsyncIterator[Delivery]:
    owner = await world.owner()
    made = Delivery(world.store, owner.id, world.clock)
    made.start()
    yield made
    await made.stop()


def told(request: Received) -> Any:
    """What a callback tells, once its signature is verified."""
    signed = f"{request.header('webhook-id')}.{request.header('webhook-timestamp')}.".encode() + request.body
    expected = base64.b64encode(hmac.digest(secret(1).key, signed, hashlib.sha256)).decode()
    assert request.header("webhook-signature") == f"v1,{expected}"
    assert request.header("Content-Type") == "application/json"
    return msgspec.json.decode(request.body)


def at(target: Target, path: str) -> list[Received]:
    return [request for request in target.received if request.path == path]


@pytest.mark.option("failureCallback", "successCallback")
async def test_both_ends_are_told_to_a_url(delivery: Delivery, target: Target) -> None:
    target.scripts["/down"] = answer(503, b"busy")
    asks = {"failureCallback": target.url("/failed"), "successCallback": target.url("/done"), "retry": 1}
    down = await delivery.submit(target.url("/down"), NOW | asks, headers={"Authorization": "Bearer Zx81"})
    fine = await delivery.submit(target.url("/fine"), NOW | asks)
    await delivery.run()
    (request,) = at(target, "/done")
    assert (told(request)["type"], told(request)["data"]["id"]) == ("task.succeeded", fine)
    assert at(target, "/failed") == []
    await delivery.at(1_000)
    (request,) = at(target, "/failed")
    body = told(request)
    assert (body["type"], body["data"]["id"], body["data"]["attempts"]) == ("task.failed", down, 2)
    assert (body["data"]["statusCode"], base64.b64decode(body["data"]["response"])) == (503, b"busy")
    assert b"Zx81" not in request.body


async def test_one_that_fails_is_tried_again_and_not_told_of(delivery: Delivery, target: Target, world: World) -> None:
    target.scripts["/"] = answer(500)
    callback = {"url": target.url("/told"), "retry": 2, "method": "PUT", "headers": {"X-Shop": "7"}}
    target.scripts["/told"] = answer(500)
    await delivery.submit(target.url(), NOW | {"failureCallback": callback})
    await delivery.run()
    for waited in (9_000, 27_000):  # the chance of every wait is a half of a fifth less
        await delivery.at(waited)
    first, *others = at(target, "/told")
    assert (first.method, first.header("X-Shop"), len(others)) == ("PUT", "7", 2)
    assert {request.header("webhook-id") for request in others} == {first.header("webhook-id")}
    page = await world.store.tasks(TaskQuery(None, limit=10))
    assert sorted((task.lane, task.state) for task in page.tasks) == [
        ("callbacks", State.FAILED), ("default", State.FAILED),
    ]  # fmt: skip


async def test_the_answer_goes_along_as_far_as_it_is_kept(delivery: Delivery, target: Target) -> None:
    target.scripts["/"] = answer(500, b"x" * 2_000)
    await delivery.submit(target.url(), NOW | {"failureCallback": target.url("/told")})
    quiet = {"failureCallback": target.url("/told"), "traceResponseData": False}
    await delivery.submit(target.url(), NOW | quiet)
    await delivery.run()
    bodies = [told(request)["data"] for request in at(target, "/told")]
    lengths = [None if body["response"] is None else len(base64.b64decode(body["response"])) for body in bodies]
    assert sorted(lengths, key=str) == [RESPONSE_MAX_BYTES, None]
    assert [body["responseTruncated"] for body in bodies if body["response"]] == [True]
