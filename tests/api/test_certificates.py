"""Certificates and keys that tasks bring are examined before anything is stored, and locked ones kept unlocked."""

from collections.abc import Mapping, Sequence
from typing import Any

import httpx
import pytest

from tasks_server.api.app import ApiConfig, create_app
from tasks_server.clock import ManualClock
from tasks_server.domain.abilities import Abilities
from tasks_server.domain.certificates import Certificates, Examined, leave_unexamined
from tasks_server.domain.firing import decode_template
from tasks_server.domain.forms import decode_spec
from tasks_server.domain.request import TaskConfig
from tasks_server.engine.certificates.here import ExaminedHere
from tasks_server.store.sqlite.store import SqliteStore
from tasks_server.telemetry import Telemetry
from tests.engine.http.authority import Authority, base64_of

from .conftest import ADMIN_KEY, Api, claimed, task

ONE = Authority().issue("shop")
P12 = base64_of(ONE.p12("open"))


class Watched(ExaminedHere):
    """Remembers for whom it was asked for how much."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []

    async def examine(self, owner: str, asked: Sequence[Certificates]) -> Mapping[Certificates, Examined]:
        self.asked.append((owner, len(asked)))
        return await super().examine(owner, asked)


@pytest.fixture
def config() -> ApiConfig:
    return ApiConfig(admin_key=ADMIN_KEY, registration="open", abilities=Abilities(examine=leave_unexamined))


@pytest.fixture
def examiner() -> Watched:
    return Watched()


@pytest.fixture
def api(store: SqliteStore, clock: ManualClock, config: ApiConfig, examiner: Watched) -> Api:
    api = Api(store, clock, config)
    told = Telemetry(clock, form="json", write=api.logged.append)
    api.app = create_app(store, clock=clock, telemetry=told, config=config, examiner=examiner)
    return api


@pytest.fixture
async def shop(api: Api) -> tuple[httpx.AsyncClient, str]:
    client, owner = await api.owner()
    return client, owner["id"]


def locked(password: str = "open", **config: Any) -> dict[str, Any]:
    cert = {"value": P12, "password": password}
    return task(cert=cert, certType="P12", **config)


def is_unlocked(config: TaskConfig) -> bool:
    assert config.cert is not None
    return (config.cert.value, config.cert.password, config.key) == (base64_of(ONE.pem), None, base64_of(ONE.key()))


async def kept(store: SqliteStore, clock: ManualClock) -> list[TaskConfig]:
    clock.advance(1_000)
    return [decode_spec(claim.spec).config for claim in await claimed(store, clock)]


async def test_a_locked_file_is_kept_unlocked(
    shop: tuple[httpx.AsyncClient, str], store: SqliteStore, clock: ManualClock, examiner: Watched
) -> None:
    client, owner = shop
    answer = await client.post("/v1/queues/register", json=locked())
    assert answer.status_code == 201, answer.text
    assert examiner.asked == [(owner, 1)]
    shown = (await client.get(f"/v1/queues/{answer.json()['id']}/config")).json()["config"]
    assert (shown["certType"], shown["cert"].get("password")) == ("PEM", None)
    (config,) = await kept(store, clock)
    assert is_unlocked(config)


async def test_all_faults_are_told_at_once(shop: tuple[httpx.AsyncClient, str]) -> None:
    client, _ = shop
    answer = await client.post("/v1/queues/register", json=locked("shut", timeout=1))
    assert answer.status_code == 400
    assert {fault["field"] for fault in answer.json()["errors"]} == {"config.timeout", "config.cert.value"}
    assert "shut" not in answer.text


async def test_those_of_a_batch_are_examined_together(
    shop: tuple[httpx.AsyncClient, str], store: SqliteStore, clock: ManualClock, examiner: Watched
) -> None:
    client, owner = shop
    pem = task(cert={"value": base64_of(ONE.pem)}, key=base64_of(ONE.key()))
    answer = await client.post("/v1/queues/batch", json={"tasks": [locked(), task(), pem, locked()]})
    assert answer.status_code == 201, answer.text
    assert examiner.asked == [(owner, 2)], "each once"
    with_certificates = [config for config in await kept(store, clock) if config.cert is not None]
    assert [is_unlocked(config) for config in with_certificates] == [True, True, True]
    answer = await client.post("/v1/queues/batch", json={"tasks": [locked(), locked("shut")]})
    assert [fault["field"] for fault in answer.json()["errors"]] == ["tasks.1.config.cert.value"]


async def test_an_edit_opens_what_it_brings(
    shop: tuple[httpx.AsyncClient, str], store: SqliteStore, clock: ManualClock, examiner: Watched
) -> None:
    client, owner = shop
    path = f"/v1/queues/{(await client.post('/v1/queues/register', json=task(executionDelay=500))).json()['id']}"
    answer = await client.patch(path, json={"config": locked()["config"]})
    assert answer.status_code == 200, answer.text
    assert examiner.asked == [(owner, 1)]
    assert (await client.patch(path, json={"config": {"priority": 3}})).status_code == 200
    again = await client.patch(path, json={"config": locked()["config"]})
    assert again.status_code == 200, "the key that was opened makes way for that of the file"
    (config,) = await kept(store, clock)
    assert (is_unlocked(config), config.priority) == (True, 3)


async def test_a_schedule_is_kept_with_its_key_unlocked(
    shop: tuple[httpx.AsyncClient, str], store: SqliteStore, examiner: Watched
) -> None:
    client, owner = shop
    answer = await client.put("/v1/schedules/nightly", json={"every": "1h", "task": locked()})
    assert answer.status_code == 201, answer.text
    answer = await client.patch("/v1/schedules/nightly", json={"task": {"config": locked()["config"]}})
    assert answer.status_code == 200, answer.text
    assert [each[0] for each in examiner.asked] == [owner, owner]
    found = await store.schedule(owner, "nightly")
    assert found is not None
    assert is_unlocked(decode_template(found[1]).config)
