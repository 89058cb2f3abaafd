"""Priorities, from the request that asks for one to the order in which calls are made: by an engine with one slot."""

import contextlib
from collections.abc import AsyncIterator

import httpx
import pytest

from tasks_server.api.app import ApiConfig, create_app
from tasks_server.domain.request import TaskConfig
from tasks_server.engine.ageing import AFTER_SECONDS, EVERY
from tasks_server.engine.loop import EngineConfig
from tasks_server.telemetry import Telemetry

from .conftest import OpenShop
from .shop import Shop

WAITING = 1_000
RUN_MS = 100


@pytest.fixture
async def shop(open_shop: OpenShop) -> Shop:
    return await open_shop(EngineConfig(concurrency_max=1))


@contextlib.asynccontextmanager
async def spoken_to(shop: Shop) -> AsyncIterator[httpx.AsyncClient]:
    """The API over the shop's store, for its owner."""
    key = "k" * 40
    app = create_app(
        shop.store, clock=shop.clock, telemetry=Telemetry(shop.clock, write=shop.lines.append),
        config=ApiConfig(admin_key=key),
    )  # fmt: skip
    headers = {"Authorization": f"Bearer {key}", "X-Tasks-Owner-Id": shop.owner.id}
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://api.test", headers=headers) as client:
        yield client


async def run_one(shop: Shop) -> str:
    """Lets the engine run one task; its id."""
    (token,) = await shop.look()
    task_id = shop.caller.headers(token)["X-Tasks-Queue-Id"]
    shop.clock.advance(RUN_MS)
    shop.caller.end(token)
    await shop.settle()
    return task_id


async def test_of_a_thousand_waiting_tasks_the_most_urgent_run_first(shop: Shop) -> None:
    async with spoken_to(shop) as client:
        request = {"url": "http://a.example/", "method": "GET"}
        tasks = [{"httpRequest": request, "config": {"priority": 9 * (n % 10 == 5)}} for n in range(WAITING)]
        answer = await client.post("/v1/queues/batch", json={"tasks": tasks})
        assert answer.status_code == 201
        ids = [made["id"] for made in answer.json()["tasks"]]
        urgent = [task_id for number, task_id in enumerate(ids) if number % 10 == 5]
        shop.clock.advance(RUN_MS)
        ran = [await run_one(shop) for _ in range(len(urgent) + 1)]
        assert set(ran[:-1]) == set(urgent)
        assert ran[-1] not in urgent


async def test_an_endless_stream_of_urgent_tasks_leaves_a_place_for_others(shop: Shop) -> None:
    """Two tasks of priority 9 wait before each run; those of priority 0 and 4 get their turn all the same."""
    patient = [await shop.submit(TaskConfig(priority=priority)) for priority in (0, 4, 0, 4)]
    ran: list[str] = []
    while not set(patient) <= set(ran):
        await shop.submit(TaskConfig(priority=9))
        await shop.submit(TaskConfig(priority=9))
        ran.append(await run_one(shop))
        assert len(ran) < 1_000
    turns = [ran.index(task_id) for task_id in patient]
    begins = AFTER_SECONDS * 1_000 / RUN_MS
    assert min(turns) >= begins, "at first, only the most urgent run"
    assert max(turns) <= begins + EVERY * (len(patient) + 1)
    between = [later - sooner for sooner, later in zip(sorted(turns), sorted(turns)[1:], strict=False)]
    assert between == [EVERY] * (len(patient) - 1)


async def test_levels_that_are_served_anyway_do_not_age(shop: Shop) -> None:
    """A stream that leaves gaps: in each, all that waits has its turn, and nothing is owed to it afterwards."""
    order = []
    for _ in range(3 * round(AFTER_SECONDS * 1_000 / RUN_MS)):
        made = {await shop.submit(TaskConfig(priority=priority)): priority for priority in (0, 9)}
        order += [made[await run_one(shop)] for _ in made]
    assert order == [9, 0] * (len(order) // 2)
