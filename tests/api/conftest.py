"""The whole API over a real store in memory, spoken to through ASGI, under a clock that stands still."""

from collections.abc import AsyncIterator

import httpx
import pytest

from tasks_server.api.app import ApiConfig, create_app
from tasks_server.clock import ManualClock
from tasks_server.domain import callback_making
from tasks_server.domain.attempt import Attempt, Outcome
from tasks_server.domain.forms import decode_spec
from tasks_server.domain.lifecycle import Progress, settle
from tasks_server.engine.runs import UNREGISTERED
from tasks_server.store.ports import Claim, Look, Quota
from tasks_server.store.sealing import Sealer
from tasks_server.store.settling import Report
from tasks_server.store.sqlite.store import SqliteStore
from tasks_server.telemetry import Telemetry

ADMIN_KEY = "the-operator-of-this-server"


class Api:
    """An application with its store, its clock and what it logged."""

    def __init__(self, store: SqliteStore, clock: ManualClock, config: ApiConfig) -> None:
        self.store, self.clock = store, clock
        self.logged: list[bytes] = []
        self.telemetry = Telemetry(clock, form="json", write=self.logged.append)
        self.app = create_app(store, clock=clock, telemetry=self.telemetry, config=config, machine=clock)

    def client(self, key: str | None = None, owner_id: str | None = None) -> httpx.AsyncClient:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        if owner_id:
            headers["X-Tasks-Owner-Id"] = owner_id
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=True)
        return httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=headers)

    async def owner(self, name: str = "small-shop") -> tuple[httpx.AsyncClient, dict[str, str]]:
        """A client of a new owner, and what registration answered."""
        answer = await self.client().post("/v1/owners/register", json={"name": name})
        assert answer.status_code == 201, answer.text
        return self.client(answer.json()["key"]), answer.json()


@pytest.fixture
def config() -> ApiConfig:
    return ApiConfig(admin_key=ADMIN_KEY, registration="open")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def store(clock: ManualClock) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(None, Sealer(bytes(32)), clock)
    await store.open()
    yield store
    await store.close()


@pytest.fixture
def api(store: SqliteStore, clock: ManualClock, config: ApiConfig) -> Api:
    return Api(store, clock, config)


@pytest.fixture
async def client(api: Api) -> httpx.AsyncClient:
    """A client of an owner named small-shop."""
    return (await api.owner())[0]


@pytest.fixture
def admin(api: Api) -> httpx.AsyncClient:
    return api.client(ADMIN_KEY)


def task(**config: object) -> dict[str, object]:
    """A body for registration."""
    return {"httpRequest": {"url": "https://target.test/hook", "method": "POST"}, "config": config}


async def claimed(store: SqliteStore, clock: ManualClock) -> list[Claim]:
    """Takes every due task for work, as an engine would."""
    now = clock.now()
    look = Look(now=now, horizon=now, lease_until=now + 30_000)
    return (await store.claim(look, lambda groups, _: [Quota(group, 100) for group in groups])).claims


async def worked(store: SqliteStore, clock: ManualClock, outcome: Outcome, took_ms: int = 7) -> int:
    """Runs every due task once, each with this outcome. How many there were."""
    claims = await claimed(store, clock)
    began, ended = clock.now(), clock.advance(took_ms)
    reports = []
    for claim in claims:
        spec = decode_spec(claim.spec)
        config = spec.config if spec.handler is None else UNREGISTERED.applied_to(spec.config, spec.handler)
        progress = Progress(claim.due_at, claim.failures, claim.repeats, claim.expire_at)
        settlement = settle(progress, config, outcome, ended, 0.0)
        attempt = Attempt(
            claim.attempt,
            claim.due_at,
            began,
            ended,
            outcome.kind,
            outcome.status_code,
            outcome.error,
            outcome.response,
            outcome.response_truncated,
            outcome.redirected,
        )
        tells = callback_making.tells(config, settlement.state) if settlement.ended_at else False
        reports.append(Report(claim.ref, claim.lease, claim.id, settlement, attempt, claim.lane, tells))
    assert await store.settle(reports) == set()
    return len(claims)
