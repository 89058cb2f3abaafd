"""The API while its database is gone: a plain 503, nothing half stored, and on by itself when it is back."""

import httpx
import psycopg
import pytest

from tasks_server.api.app import ApiConfig, create_app
from tasks_server.telemetry import Telemetry
from tests.postgres.wire import Wire
from tests.store.world import World

from .conftest import ASK_AGAIN_MS, COMMITTED, INSERT, count

TASK = {"httpRequest": {"url": "https://target.test/hook", "method": "POST"}}


@pytest.fixture
async def client(world: World) -> httpx.AsyncClient:
    """A client of a new owner."""
    telemetry = Telemetry(world.clock, write=lambda _: None)
    app = create_app(world.store, clock=world.clock, telemetry=telemetry, config=ApiConfig(registration="open"))
    client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost")
    owner = await client.post("/v1/owners/register", json={"name": "small-shop"})
    client.headers["Authorization"] = f"Bearer {owner.json()['key']}"
    return client


async def test_without_its_database_it_refuses_and_goes_on_by_itself(
    world: World, wire: Wire, client: httpx.AsyncClient, behind: psycopg.Connection
) -> None:
    stored = (await client.post("/v1/queues/register", json=TASK)).json()
    wire.refuses = True
    wire.cut()
    asks = [
        await client.post("/v1/queues/register", json=TASK),
        await client.post("/v1/queues/batch", json={"tasks": [TASK, TASK]}),
        await client.get(f"/v1/queues/{stored['id']}"),
        await client.delete(f"/v1/queues/{stored['id']}"),
    ]
    for answer in asks:
        assert answer.status_code == 503, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        assert int(answer.headers["retry-after"]) >= 1
        assert answer.json()["code"] == "store_unavailable"
        assert "127.0.0.1" not in answer.text
    assert (await client.get("/status")).status_code == 200
    assert count(behind, "task") == count(behind, "request") == 1
    wire.refuses = False
    world.clock.advance(ASK_AGAIN_MS)
    assert (await client.post("/v1/queues/register", json=TASK)).status_code == 201
    assert (await client.get(f"/v1/queues/{stored['id']}")).status_code == 200
    assert count(behind, "task") == 2
    await world.check_counters()


async def test_what_nobody_knows_is_not_called_refused_and_may_be_repeated(
    world: World, wire: Wire, client: httpx.AsyncClient, behind: psycopg.Connection
) -> None:
    key = {"Idempotency-Key": "order-17"}
    wire.refuse_after_answer(INSERT, COMMITTED)
    answer = await client.post("/v1/queues/register", json=TASK, headers=key)
    assert (answer.status_code, answer.json()["code"]) == (503, "store_outcome_unknown")
    assert int(answer.headers["retry-after"]) >= 1
    assert "nothing was stored" not in answer.text
    wire.refuses = False
    world.clock.advance(ASK_AGAIN_MS)
    again = await client.post("/v1/queues/register", json=TASK, headers=key)
    assert again.status_code in (200, 201)
    assert "idempotency-replayed" in again.headers
    assert count(behind, "task") == 1


async def test_an_insert_whose_session_was_lost_is_answered_as_stored_once(
    wire: Wire, client: httpx.AsyncClient, behind: psycopg.Connection
) -> None:
    wire.cut_before_answer(INSERT, COMMITTED)
    answer = await client.post("/v1/queues/batch", json={"tasks": [TASK] * 3})
    assert answer.status_code == 201
    assert count(behind, "task") == 3
