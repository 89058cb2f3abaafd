"""Registration refuses what the egress policy would refuse later, as far as the request shows it."""

import pytest

from tasks_server.api.app import ApiConfig
from tasks_server.domain.egress import Egress
from tests.api.conftest import ADMIN_KEY, Api

LOOPBACK = "leads to a loopback address, which the egress policy (public) refuses"


@pytest.fixture
def config() -> ApiConfig:
    egress = Egress.parse("public", "127.0.0.9", "denied.test")
    return ApiConfig(admin_key=ADMIN_KEY, registration="open", egress=egress)


def body(url: str, **rest: object) -> dict[str, object]:
    return {"httpRequest": {"url": url, "method": "GET"}, **rest}


@pytest.mark.parametrize("url", ["http://127.0.0.1/", "http://0x7f.1:9420/x", "https://[::1]/", "http://2130706433"])
async def test_a_refused_address_is_a_fault_of_the_url(api: Api, url: str) -> None:
    client, _ = await api.owner()
    answer = await client.post("/v1/queues/register", json=body(url))
    assert answer.status_code == 400
    (fault,) = answer.json()["errors"]
    assert (fault["field"], fault["message"]) == ("httpRequest.url", LOOPBACK)


async def test_a_denied_host_is_a_fault_of_the_url(api: Api) -> None:
    client, _ = await api.owner()
    answer = await client.post("/v1/queues/register", json=body("https://a.Denied.test./"))
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["message"] == "leads to a host that EGRESS_DENY lists"


async def test_it_is_reported_with_the_other_faults(api: Api) -> None:
    client, _ = await api.owner()
    answer = await client.post("/v1/queues/register", json=body("http://10.0.0.1/", config={"timeout": 1}))
    assert sorted(fault["field"] for fault in answer.json()["errors"]) == ["config.timeout", "httpRequest.url"]


async def test_a_batch_names_the_task(api: Api) -> None:
    client, _ = await api.owner()
    tasks = [body("http://8.8.8.8/"), body("http://127.1/")]
    answer = await client.post("/v1/queues/batch", json={"tasks": tasks})
    assert answer.status_code == 400
    assert [fault["field"] for fault in answer.json()["errors"]] == ["tasks.1.httpRequest.url"]


async def test_a_task_cannot_be_edited_to_a_refused_address(api: Api) -> None:
    client, _ = await api.owner()
    answer = await client.post("/v1/queues/register", json=body("http://8.8.8.8/", config={"executionDelay": 60_000}))
    path = f"/v1/queues/{answer.json()['id']}"
    patch = {"httpRequest": {"url": "http://[::ffff:127.0.0.1]/"}}
    answer = await client.patch(path, json=patch)
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["message"] == LOOPBACK
    spec = (await client.get(f"{path}/config")).json()
    assert spec["httpRequest"]["url"] == "http://8.8.8.8/"


@pytest.mark.parametrize("url", ["http://127.0.0.9/", "http://8.8.8.8/", "http://shop.test/", "http://[2600::1]/"])
async def test_what_may_be_called_is_taken(api: Api, url: str) -> None:
    client, _ = await api.owner()
    assert (await client.post("/v1/queues/register", json=body(url))).status_code == 201


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"dnsServer": ["8.8.8.8", "10.0.0.1"]}, "config.dnsServer.1"),
        ({"dohUrl": "https://127.1/dns-query"}, "config.dohUrl"),
        ({"proxy": {"protocol": "http", "host": "\uff11\uff10.1"}}, "config.proxy.host"),
    ],
)
async def test_servers_on_the_way_are_judged(api: Api, options: dict[str, object], field: str) -> None:
    client, _ = await api.owner()
    answer = await client.post("/v1/queues/register", json=body("http://8.8.8.8/", config=options))
    assert answer.status_code == 400
    assert [fault["field"] for fault in answer.json()["errors"]] == [field]
