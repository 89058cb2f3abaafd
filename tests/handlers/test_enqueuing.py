"""Enqueueing a handler: what is sent, by whom, and what is refused before anything is sent."""

import asyncio
import functools
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import httpx
import msgspec
import pydantic
import pytest

from tasks_server import handlers
from tasks_server.client import AsyncClient, Client
from tasks_server.handlers import enqueuing
from tasks_server.handlers.payloads import reader
from tasks_server.handlers.registry import registered
from tests.client.scripted import KEY, TASK, Script, json


class Line(pydantic.BaseModel):
    amount: int = pydantic.Field(alias="Amount")


@dataclass
class Order:
    number: int
    day: date = date(2026, 1, 31)
    raw: bytes = b"\xff"


class Box(msgspec.Struct, rename="camel"):
    item_count: int
    lines: list[Line]


@pytest.fixture(autouse=True)
def _a_register_of_its_own() -> Iterator[None]:
    before = dict(registered)
    registered.clear()
    yield
    registered.clear()
    registered.update(before)


@pytest.fixture
def script() -> Script:
    return Script([json(201, TASK)] * 5)


def sent(script: Script) -> list[Any]:
    return [msgspec.json.decode(request.content) for request in script.requests]


def test_a_task_is_made_from_the_handler(script: Script) -> None:
    @handlers.register("ship")
    def ship(order: Order) -> None: ...

    with script.sync() as client:
        at = datetime(2030, 1, 1, tzinfo=UTC)
        made = ship.enqueue(Order(7), client=client, at=at, retry=3, metadata={"a": "b"}, idempotency_key="ship-7")
    assert made.id == TASK["id"]
    assert sent(script) == [
        {
            "handler": {"name": "ship", "payload": {"number": 7, "day": "2026-01-31", "raw": "/w=="}},
            "config": {"executeAt": 1_893_456_000_000, "retry": 3},
            "metadata": {"a": "b"},
        }
    ]
    assert script.requests[0].headers["idempotency-key"] == "ship-7"


@pytest.mark.parametrize(
    ("wanted", "value"),
    [
        (Order, Order(7)), (Line, Line(Amount=3)), (Box, Box(2, [Line(Amount=1)])), (list[Line], [Line(Amount=1)]),
        (datetime, datetime(2030, 1, 1, tzinfo=UTC)), (bytes, b"\xff\x00"), (dict[str, int], {"a": 1}), (None, None),
    ],
)  # fmt: skip
def test_a_payload_arrives_as_it_was(script: Script, wanted: Any, value: Any) -> None:
    def take(payload: Any) -> None: ...

    take.__annotations__["payload"] = wanted
    ready: Any = handlers.register("take")(take)
    with script.sync() as client:
        ready.enqueue(value, client=client)
    read = reader(registered["take"])
    assert read is not None
    assert read(msgspec.json.encode(sent(script)[0]["handler"].get("payload"))) == value


def test_what_the_handler_would_not_take_is_not_sent(script: Script) -> None:
    @handlers.register("ship")
    def ship(order: Order) -> None: ...

    @handlers.register("tidy")
    def tidy() -> None: ...

    wrong: Any = ship.enqueue
    none: Any = tidy.enqueue
    with script.sync() as client:
        with pytest.raises(ValueError, match=r"'ship' does not take this: payload.number: Expected `int`, got `str`"):
            wrong({"number": "7"}, client=client)
        with pytest.raises(TypeError, match=r"'ship' takes a payload: enqueue\(payload, …\)"):
            wrong(client=client)
        with pytest.raises(ValueError, match=r"payload\.number: nan is no number"):
            wrong(Order(float("nan")), client=client)  # type: ignore[arg-type]  # the fault
        with pytest.raises(TypeError, match="'tidy' takes no payload"):
            none(7, client=client)
        with pytest.raises(TypeError, match="unknown: dely"):
            wrong(Order(7), client=client, dely="5m")
        tidy.enqueue(client=client)
    assert sent(script) == [{"handler": {"name": "tidy"}}]


def test_a_default_stands_for_what_is_not_given(script: Script) -> None:
    @handlers.register("report")
    def report(days: int = 7) -> None: ...

    bare: Any = report.enqueue
    with script.sync() as client:
        bare(client=client)
        bare(None, client=client)
    assert sent(script) == [{"handler": {"name": "report"}}, {"handler": {"name": "report", "payload": None}}]


def test_it_can_be_awaited(script: Script) -> None:
    @handlers.register("ship")
    async def ship(order: Order) -> None: ...

    async def run(client: AsyncClient) -> None:
        async with client:
            await ship.enqueue_async(Order(1), client=client, delay="5m")

    asyncio.run(run(script.asynchronous()))
    handlers.connect(client=script.sync())
    asyncio.run(ship.enqueue_async(Order(2)))
    assert [each["handler"]["payload"]["number"] for each in sent(script)] == [1, 2]


def test_bound_methods_and_objects_with_slots_are_enqueued_too(script: Script) -> None:
    class Shop:
        __slots__ = ()

        def ship(self, order: int) -> int:
            return order

        def __call__(self, order: int) -> int:
            return order

    for number, function in enumerate([Shop().ship, Shop(), functools.partial(Shop().ship)]):
        ready = handlers.register(f"ship-{number}")(function)
        assert ready(3) == 3
        with script.sync() as client:
            ready.enqueue(7, client=client)
    assert [each["handler"]["name"] for each in sent(script)] == ["ship-0", "ship-1", "ship-2"]


@pytest.fixture
def _nobody_connected() -> Iterator[None]:
    before = enqueuing._client, enqueuing._from_environment
    enqueuing._client, enqueuing._from_environment = None, False
    yield
    if enqueuing._client is not None:
        enqueuing._client.close()
    enqueuing._client, enqueuing._from_environment = before


@pytest.mark.usefixtures("_nobody_connected")
def test_the_environment_says_where_to_send(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[httpx.Request] = []

    def answer(http: httpx.Client, request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return json(201, TASK)

    monkeypatch.setattr(httpx.Client, "send", answer)
    monkeypatch.setenv("TASKS_SERVER_URL", "http://tasks.test:9420")
    monkeypatch.setenv("TASKS_SERVER_KEY", KEY)

    @handlers.register("ship")
    def ship(order: int) -> None: ...

    ship.enqueue(1)
    handlers.connect("http://other.test", "k" * 64)
    ship.enqueue(2)
    assert [(request.url.host, request.headers["authorization"]) for request in seen] == [
        ("tasks.test", f"Bearer {KEY}"),
        ("other.test", f"Bearer {'k' * 64}"),
    ]
    with pytest.raises(ValueError, match="url and key, or a client"):
        handlers.connect("http://other.test", client=enqueuing._client)


def test_the_key_of_the_environment_goes_to_no_other_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKS_SERVER_KEY", KEY)
    with Client("http://other.test") as named, Client() as here:
        assert "authorization" not in named._http.headers
        assert here._http.headers["authorization"] == f"Bearer {KEY}"
    monkeypatch.setenv("TASKS_SERVER_URL", "tasks.test")
    with pytest.raises(ValueError, match="TASKS_SERVER_URL: the url must read"):
        Client()


def test_a_worker_does_not_carry_the_client() -> None:
    code = """
import sys
from tasks_server import handlers
@handlers.register("ship")
def ship(order: int) -> None: ...
print(sorted(name for name in ("httpx", "msgspec", "tasks_server.client") if name in sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
