"""`/monitor`, and the default owner: for whom requests without a key act, on loopback."""

import asyncio

import httpx
import msgspec
import pytest

from tasks_server.api.app import ApiConfig
from tasks_server.clock import ManualClock
from tasks_server.domain.attempt import Outcome, OutcomeKind
from tasks_server.domain.engines import HandlersTrouble, Trouble
from tasks_server.domain.errors import ReadOnly, SchemaOutOfDate, StoreError, Unavailable
from tasks_server.service import monitoring

from .conftest import ADMIN_KEY, Api, claimed, task, worked
from .test_named import FAILED, made, told


async def health(api: Api) -> tuple[int, dict[str, str]]:
    """The status of the answer, and that of each check."""
    answer = await api.client().get("/monitor/health")
    checks = {name: check["status"] for name, check in answer.json()["checks"].items()}
    assert answer.json()["status"] in (("ok", "degraded") if answer.status_code == 200 else ("unavailable",))
    assert bool(answer.json()["reasons"]) == (answer.json()["status"] != "ok")
    assert ("retry-after" in answer.headers) == (answer.status_code != 200)
    return answer.status_code, checks


async def test_a_server_is_well_when_its_parts_are(api: Api, clock: ManualClock) -> None:
    assert await health(api) == (200, {"store": "ok", "engine": "unknown", "handlers": "unknown", "clock": "ok"})
    api.store._join()
    await api.store.report(told(api))
    assert await health(api) == (200, {"store": "ok", "engine": "ok", "handlers": "ok", "clock": "ok"})
    clock.advance(16_000)
    assert await health(api) == (503, {"store": "ok", "engine": "unavailable", "handlers": "unknown", "clock": "ok"})
    await api.store.report(told(api))
    assert (await health(api))[0] == 200


async def test_an_engine_that_is_started_again_is_waited_for(api: Api, clock: ManualClock) -> None:
    api.store._join()
    await api.store.report(told(api))
    api.store._nodes.number = 5  # the process that told is gone
    clock.advance(1_000)
    assert await health(api) == (200, {"store": "ok", "engine": "starting", "handlers": "unknown", "clock": "ok"})
    clock.advance(15_000)
    assert await health(api) == (503, {"store": "ok", "engine": "unavailable", "handlers": "unknown", "clock": "ok"})


async def test_handlers_that_cannot_be_imported_are_told_of(api: Api, clock: ManualClock) -> None:
    """The server does all else, and what the import said is nobody's business here."""
    api.store._join()
    report = told(api)
    trouble = HandlersTrouble(clock.now() - 7_000, "ModuleNotFoundError: No module named 'shop'")
    facts = msgspec.structs.replace(report.facts, handlers_trouble=trouble)
    await api.store.report(msgspec.structs.replace(report, facts=facts))
    assert await health(api) == (200, {"store": "ok", "engine": "ok", "handlers": "failing", "clock": "ok"})
    answer = await api.client().get("/monitor/health")
    assert answer.json()["checks"]["handlers"] == {"status": "failing", "engines": 1, "for_ms": 7_000}


async def test_a_store_in_trouble_is_told(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away() -> None:
        raise Unavailable("away")

    async def stuck() -> None:
        await asyncio.Event().wait()

    for trouble, code, seconds in ((away, "store_unavailable", 60), (stuck, "store_slow", 0.01)):
        monkeypatch.setattr(monitoring, "STORE_SECONDS", seconds)
        monkeypatch.setattr(api.store, "engines", trouble)
        unknown = {"store": "unavailable", "engine": "unknown", "handlers": "unknown", "clock": "ok"}
        assert await health(api) == (503, unknown)
        answer = await api.client().get("/monitor/health")
        assert answer.json()["checks"]["store"]["code"] == code


async def test_what_was_asked_of_the_store_in_vain_is_told(api: Api, clock: ManualClock) -> None:
    """The write of the check may have room where others have none."""
    api.telemetry.store_failed("register a task", Unavailable("the disk is full"))
    clock.advance(20_000)
    answer = (await api.client().get("/monitor/health")).json()
    assert answer["status"] == "degraded"
    (reason,) = answer["reasons"]
    assert "(register a task: store_unavailable, for 20s)" in reason.replace("20 s", "20s")
    api.telemetry.store_worked("register a task")
    assert (await api.client().get("/monitor/health")).json()["status"] == "ok"


async def test_one_engine_of_two_that_hangs_is_told(api: Api, clock: ManualClock) -> None:
    api.store._join()
    await api.store.report(told(api))
    own, lives = api.store._nodes.number, api.store._nodes.alive
    api.store._nodes.number = other = own + 1
    api.store._nodes.alive = lambda: {own, other}
    clock.advance(16_000)
    await api.store.report(told(api))
    answer = (await api.client().get("/monitor/health")).json()
    assert (answer["status"], answer["checks"]["engine"]["silent"]) == ("degraded", [own])
    assert answer["reasons"][0].startswith(f"1 of 2 engines tell nothing ({own}), the first for 16")
    api.store._nodes.alive = lives


@pytest.mark.parametrize(("ahead_ms", "status"), [(59_000, "ok"), (1_800_000, "degraded"), (-1_800_000, "degraded")])
async def test_a_clock_that_is_far_off_is_told(api: Api, ahead_ms: int, status: str) -> None:
    api.store._join()
    report = told(api)
    facts = msgspec.structs.replace(report.facts, clock_ahead_ms=ahead_ms)
    await api.store.report(msgspec.structs.replace(report, facts=facts))
    assert (await api.client().get("/monitor/health")).json()["status"] == status


async def test_engines_that_the_store_refuses_are_told(api: Api) -> None:
    api.store._join()
    report = told(api)
    facts = msgspec.structs.replace(report.facts, troubles=(Trouble("settle", "store_unavailable"),))
    await api.store.report(msgspec.structs.replace(report, facts=facts))
    answer = (await api.client().get("/monitor/health")).json()
    assert (answer["status"], answer["reasons"]) == (
        "degraded",
        ["the store refuses engines (settle: store_unavailable)"],
    )


# Probes


@pytest.mark.parametrize("path", ["/status", "/livez", "/readyz"])
async def test_probes_need_no_key_and_say_one_word(api: Api, path: str) -> None:
    answer = await api.client().get(path)
    assert (answer.status_code, answer.text) == (200, "OK")
    assert (await api.client().head(path)).status_code == 200


@pytest.mark.parametrize("error", [Unavailable("away"), ReadOnly("no"), SchemaOutOfDate("old")])
async def test_a_store_that_takes_nothing_makes_it_unready_but_not_dead(
    api: Api, monkeypatch: pytest.MonkeyPatch, error: StoreError
) -> None:
    async def refuses() -> None:
        raise error

    monkeypatch.setattr(api.store, "ready", refuses)
    answer = await api.client().get("/readyz")
    assert (answer.status_code, answer.text) == (503, error.code)
    assert int(answer.headers["retry-after"]) > 0
    assert (await api.client().get("/livez")).status_code == 200


async def test_a_store_that_does_not_answer_makes_it_unready(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitoring, "STORE_SECONDS", 0.01)
    monkeypatch.setattr(api.store, "ready", asyncio.Event().wait)
    answer = await api.client().get("/readyz")
    assert (answer.status_code, answer.text) == (503, "store_slow")


async def test_who_is_about_to_stop_is_unready_but_alive(api: Api) -> None:
    api.app.stop()
    answer = await api.client().get("/readyz")
    assert (answer.status_code, answer.text) == (503, "server_stopping")
    assert (await api.client().get("/livez")).status_code == 200


async def test_counts_by_status(
    api: Api, client: httpx.AsyncClient, admin: httpx.AsyncClient, clock: ManualClock
) -> None:
    await made(client)
    await worked(api.store, clock, Outcome(OutcomeKind.SUCCESS, 200))
    await made(client, max_retries=0)
    await made(client)
    await worked(api.store, clock, FAILED)
    await made(client)
    await claimed(api.store, clock)
    paused = await made(client)
    await client.patch(f"/v1/queues/{paused}/pause")
    revoked = (await client.post("/v1/queues/register", json=task())).json()["id"]
    await client.patch(f"/v1/queues/{revoked}/revoke")
    await made(client, scheduled_at="2030-01-01")
    await made(client)
    expected = {
        "pending": 2, "processing": 1, "completed": 1, "failed": 2, "paused": 1, "cancelled": 1, "total": 8,
    }  # fmt: skip
    assert (await client.get("/monitor/stats")).json() == expected
    other, _ = await api.owner("other-shop")
    await made(other)
    assert (await client.get("/monitor/stats")).json() == expected
    assert (await admin.get("/monitor/stats")).json() == expected | {"pending": 3, "total": 9}


# The default owner


class TestDefaultOwner:
    @pytest.fixture
    def config(self) -> ApiConfig:
        return ApiConfig(admin_key=ADMIN_KEY, default_owner="local-user")

    @pytest.fixture
    def guest(self, api: Api) -> httpx.AsyncClient:
        client = api.client()
        client.base_url = httpx.URL("http://127.0.0.1:9420")
        return client

    async def test_requests_without_a_key_act_for_it(self, api: Api, guest: httpx.AsyncClient) -> None:
        task_id = await made(guest)
        assert (await guest.get(f"/tasks/{task_id}")).status_code == 200
        assert [entry["id"] for entry in (await guest.get("/tasks")).json()] == [task_id]
        assert (await guest.get("/monitor/stats")).json()["total"] == 1
        assert (await guest.patch(f"/tasks/{task_id}", json={"scheduled_at": "2030-01-01"})).status_code == 200
        assert (await guest.delete(f"/tasks/{task_id}")).status_code == 204
        (owner,) = await api.store.owners()
        assert owner.name == "local-user"

    async def test_an_owner_that_is_there_is_taken(self, api: Api, guest: httpx.AsyncClient) -> None:
        admin = api.client(ADMIN_KEY)
        answer = await admin.post("/v1/owners/register", json={"name": "local-user"})
        task_id = await made(guest)
        own = api.client(answer.json()["key"])
        assert (await own.get(f"/tasks/{task_id}")).status_code == 200
        await own.delete(f"/tasks/{task_id}")
        assert (await own.delete("/v1/owners/local-user")).status_code == 200
        await made(guest)
        assert [owner.name for owner in await api.store.owners()] == ["local-user"], "it was made again"

    @pytest.mark.parametrize("path", ["/v1/queues", "/v1/schedules", "/v1/owners/local-user"])
    async def test_all_else_needs_a_key(self, guest: httpx.AsyncClient, path: str) -> None:
        answer = await guest.get(path)
        assert (answer.status_code, answer.json()["code"]) == (401, "credentials_missing")

    async def test_credentials_count_where_they_are_given(self, guest: httpx.AsyncClient) -> None:
        for headers, status in (
            ({"Authorization": f"Bearer {'x' * 64}"}, 401),
            ({"Authorization": ""}, 401),
            ({"X-Tasks-Owner-Id": "0" * 26}, 401),
        ):
            assert (await guest.get("/tasks", headers=headers)).status_code == status

    @pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example"])
    async def test_a_page_whose_name_leads_here_gets_nothing(self, guest: httpx.AsyncClient, host: str) -> None:
        answer = await guest.get("/tasks", headers={"Host": host})
        assert answer.status_code == 403
        for own in ("localhost", "LOCALHOST:9420", "[::1]:9420", "127.0.0.2"):
            assert (await guest.get("/tasks", headers={"Host": own})).status_code == 200


async def test_without_a_default_owner_every_request_needs_a_key(api: Api) -> None:
    client = api.client()
    client.base_url = httpx.URL("http://127.0.0.1:9420")
    for answer in (
        await client.get("/tasks"),
        await client.post("/tasks", json={}),
        await client.get("/monitor/stats"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (401, "credentials_missing")
    assert await api.store.owners() == []


@pytest.mark.parametrize("by", [3_600_000, -3_600_000, 86_400_000, -86_400_000])
async def test_a_clock_that_was_set_is_told_and_no_fault(api: Api, clock: ManualClock, by: int) -> None:
    """Engines tell of themselves by the clock as it was; they have time to do so by the new one."""
    api.store._join()
    await api.store.report(told(api))
    await api.store.keep_time()
    assert (await health(api))[0] == 200
    clock.set(by)
    await api.store.keep_time(by)
    expected = {"store": "ok", "engine": "starting", "handlers": "unknown", "clock": "set"}
    assert await health(api) == (200, expected)
    told_of = (await api.client().get("/monitor/health")).json()["checks"]["clock"]
    way, hours = ("ahead" if by > 0 else "back"), abs(by) // 3_600_000
    assert f"the clock was set {way} by {'1 h' if hours == 1 else '1 d'}" in told_of["detail"]
    assert (told_of["set_ms"], told_of["set_at"], told_of["putting_right"]) == (by, clock.now(), by < 0)
    await api.store.report(told(api))
    while (await api.store.put_right(100)).more:
        pass
    assert await health(api) == (200, expected | {"engine": "ok", "handlers": "ok"})
    clock.advance(3_600_001)
    await api.store.report(told(api))
    assert (await health(api))[1]["clock"] == "ok"
