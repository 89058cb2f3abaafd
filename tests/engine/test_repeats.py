"""Repeats on success from the request to the history: registered over the API, run by the engine, told by the API."""

import base64
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from tasks_server.api.app import ApiConfig, create_app
from tasks_server.domain.attempt import Outcome, OutcomeKind
from tasks_server.telemetry import Telemetry

from .scripted import DOWN, OK
from .shop import Shop

EMPTY = Outcome(OutcomeKind.SUCCESS, 204)


class Counter:
    """A client of the API over the store that the shop's engine works on."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        told = Telemetry(shop.clock, write=shop.lines.append)
        self.app = create_app(shop.store, clock=shop.clock, telemetry=told, config=ApiConfig(registration="open"))
        self.key = ""
        self.id = ""
        self.begun_at = shop.clock.now()

    async def ask(self, method: str, path: str, body: Any = None) -> Any:
        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        transport = httpx.ASGITransport(self.app)  # type: ignore[arg-type]  # an App is one, in other words
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=headers) as client:
            answer = await client.request(method, path, json=body)
        assert answer.is_success, answer.text
        return answer.json()

    async def register(self, **config: object) -> None:
        self.key = (await self.ask("POST", "/v1/owners/register", {"name": "small-shop"}))["key"]
        request = {"url": "http://target.test/hook", "method": "GET"}
        asked = {"httpRequest": request, "config": {"executionDelay": 0, **config}}
        self.id = (await self.ask("POST", "/v1/queues/register", asked))["id"]

    async def show(self, rest: str = "") -> Any:
        return await self.ask("GET", f"/v1/queues/{self.id}{rest}")

    async def run(self, outcome: Outcome = OK) -> dict[str, str]:
        """The one attempt that is due; the headers that it was sent with."""
        [token] = await self.shop.look()
        headers = self.shop.caller.headers(token)
        self.shop.caller.end(token, outcome)
        await self.shop.settle()
        return headers

    async def idle(self) -> bool:
        return await self.shop.look() == []

    async def told(self, *events: str) -> list[tuple[int, Any, Any]]:
        """When these happened, and which of how many they were."""
        entries = await self.show("/timeline")
        return [
            (entry["at"] - self.begun_at, entry["number"], entry["of"]) for entry in entries if entry["event"] in events
        ]


@pytest.fixture
def counter(shop: Shop) -> Counter:
    return Counter(shop)


async def test_three_repeats_each_after_its_interval(counter: Counter) -> None:
    await counter.register(repeat=3, repeatInterval=2_000)
    headers = [await counter.run()]
    for number in (1, 2, 3):
        shown = await counter.show()
        assert (shown["state"], shown["phase"], shown["repeats"]) == ("RUNNING", "scheduled", number)
        assert shown["estimateExecutionAt"] == counter.shop.clock.now() + 2_000 * number
        assert (shown["estimateEndAt"], shown["statusCode"]) == (0, 200)
        counter.shop.clock.advance(2_000 * number - 1_000)
        assert await counter.idle()
        counter.shop.clock.advance(1_000)
        headers.append(await counter.run())
    done = await counter.show()
    assert (done["state"], done["attempts"], done["repeats"], done["failures"]) == ("SUCCESS", 4, 3, 0)
    assert await counter.idle()
    assert [one.get("X-Tasks-Repeat-Count") for one in headers] == [None, "1", "2", "3"]
    assert [one["X-Tasks-Attempt"] for one in headers] == ["1", "2", "3", "4"]
    assert len({one["Idempotency-Key"] for one in headers}) == 4
    assert await counter.told("repeated") == [(0, 1, 3), (2_000, 2, 3), (6_000, 3, 3)]
    assert await counter.told("succeeded") == [(at, None, None) for at in (0, 2_000, 6_000, 12_000)]
    assert await counter.told("promoted") == [(at, None, None) for at in (2_000, 6_000, 12_000)]
    log = await counter.ask("GET", f"/v1/logs?task={counter.id}")
    assert [(entry["attempt"], entry["state"]) for entry in log] == [(number, "SUCCESS") for number in (4, 3, 2, 1)]


@pytest.mark.parametrize("constant", [False, True])
async def test_intervals_grow_or_do_not(counter: Counter, constant: bool) -> None:
    await counter.register(repeat=2, repeatInterval="5s", repeatExponential=not constant)
    for wait in (5_000, 5_000 if constant else 10_000):
        await counter.run()
        assert (await counter.show())["estimateExecutionAt"] == counter.shop.clock.now() + wait
        counter.shop.clock.advance(wait)


async def test_one_repeat_at_a_date(counter: Counter) -> None:
    at = counter.begun_at + 86_400_000
    await counter.register(repeatAt=datetime.fromtimestamp(at / 1_000, UTC).isoformat())
    await counter.run()
    assert (await counter.show())["estimateExecutionAt"] == at
    counter.shop.clock.advance(86_400_000)
    headers = await counter.run()
    assert headers["X-Tasks-Repeat-Count"] == "1"
    done = await counter.show()
    assert (done["state"], done["repeats"]) == ("SUCCESS", 1)
    assert await counter.told("repeated") == [(0, 1, 1)]


async def test_each_repeat_has_all_its_retries(counter: Counter) -> None:
    await counter.register(repeat=2, repeatInterval=60_000, repeatExponential=False, retry=2, retryInterval=1_000)
    for _ in range(3):
        first = await counter.run(DOWN)
        assert "X-Tasks-Retry-Count" not in first
        counter.shop.clock.advance(1_000)
        assert (await counter.run(DOWN))["X-Tasks-Retry-Count"] == "1"
        assert (await counter.show())["failures"] == 2
        counter.shop.clock.advance(2_000)
        last = await counter.run()
        assert (last["X-Tasks-Retry-Count"], last["X-Tasks-Retry-Limit"]) == ("2", "2")
        assert (await counter.show())["failures"] == 0
        counter.shop.clock.advance(60_000)
    done = await counter.show()
    assert (done["state"], done["attempts"], done["repeats"]) == ("SUCCESS", 9, 2)
    planned = [(number, of) for _, number, of in await counter.told("retry_planned", "repeated")]
    assert planned == [(1, 2), (2, 2), (1, 2), (1, 2), (2, 2), (2, 2), (1, 2), (2, 2)]


async def test_a_repeat_that_fails_for_good_ends_the_task(counter: Counter) -> None:
    await counter.register(repeat=5, repeatInterval=1_000, retry=0)
    await counter.run()
    counter.shop.clock.advance(1_000)
    await counter.run(DOWN)
    done = await counter.show()
    assert (done["state"], done["statusCode"], done["repeats"]) == ("ERROR", 503, 1)
    await counter.ask("POST", f"/v1/queues/{counter.id}/retry")
    await counter.run()
    again = await counter.show()
    assert (again["phase"], again["repeats"]) == ("scheduled", 2)
    assert [number for _, number, _ in await counter.told("repeated")] == [1, 2]


async def test_a_pause_between_repeats_keeps_the_wait(counter: Counter) -> None:
    await counter.register(repeat=1, repeatInterval=10_000)
    await counter.run()
    counter.shop.clock.advance(4_000)
    await counter.ask("PATCH", f"/v1/queues/{counter.id}/pause")
    counter.shop.clock.advance(3_600_000)
    assert await counter.idle()
    assert (await counter.show())["state"] == "PAUSED"
    resumed = await counter.ask("PATCH", f"/v1/queues/{counter.id}/resume")
    assert resumed["estimateExecutionAt"] == counter.shop.clock.now() + 6_000
    counter.shop.clock.advance(6_000)
    assert (await counter.run())["X-Tasks-Repeat-Count"] == "1"
    events = [entry["event"] for entry in await counter.show("/timeline")]
    assert events == [
        *("registered", "started", "succeeded", "repeated", "paused", "resumed", "promoted"),
        *("started", "succeeded", "completed"),
    ]
    (repeated,) = [entry for entry in await counter.show("/timeline") if entry["event"] == "repeated"]
    assert repeated["dueAt"] == counter.begun_at + 10_000


async def test_no_repeat_comes_after_the_expiry(counter: Counter) -> None:
    await counter.register(repeat=9, repeatInterval=10_000, expireAt=counter.begun_at + 15_000)
    await counter.run()
    counter.shop.clock.advance(10_000)
    await counter.run()
    done = await counter.show()
    assert (done["state"], done["repeats"]) == ("SUCCESS", 1)


@pytest.mark.parametrize("kept", [True, False])
async def test_a_response_is_kept_or_nowhere(counter: Counter, kept: bool) -> None:
    await counter.register(repeat=1, repeatInterval=1_000, traceResponseData=kept)
    body = base64.b64encode(b"fine").decode() if kept else None
    await counter.run()
    assert (await counter.show())["response"] == body
    counter.shop.clock.advance(1_000)
    await counter.run()
    assert (await counter.show())["response"] == body
    rows = await counter.shop.world.query("SELECT response IS NULL FROM attempt")
    assert [bool(row[0]) for row in rows] == [not kept] * 2
    for rest in ("/attempts", "/timeline"):
        assert "response" not in (await counter.show(rest))[0]
    assert all("response" not in entry for entry in await counter.ask("GET", "/v1/logs"))
