"""Who is let in without a key: no page of another site, no page that made its name lead here, and no proxy."""

from collections.abc import Sequence
from typing import Any

import httpx
import pytest

from tasks_server.api.app import ApiConfig, App
from tasks_server.api.probe_routes import PROBES
from tasks_server.domain.own_hosts import KnownHosts

from .conftest import ADMIN_KEY, Api, task

Headers = Sequence[tuple[str, str]]
FOREIGN = ["rebound.example", "rebound.example:9420", "localhost.example", "127.0.0.1.example", "192.0.2.7", "0.0.0.0"]
OWN = ["localhost", "LocalHost:9420", "localhost.", "app.localhost", "127.0.0.1:9420", "127.9.9.9", "[::1]:9420"]
OWN += ["[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]"]
CROSS_SITE: list[Headers] = [
    [("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "no-cors")],
    [("Sec-Fetch-Site", "same-site"), ("Sec-Fetch-Mode", "cors")],
    [("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "iframe")],
    [("Origin", "https://elsewhere.example")],
    [("Origin", "http://localhost:3000")],
    [("Origin", "null")],
]
REGISTER = ("POST", "/v1/owners/register", {"name": "led-astray"})
"""Made without a key by whoever gets in."""


def told(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json().get("code", "")


def keyless(app: App, guests: bool) -> list[tuple[str, str, Any]]:
    """A request for every route that is served without a key; beside the table, what the router makes up."""
    requests: list[tuple[str, str, Any]] = [("GET", "/nowhere", None), ("POST", "/status", None)]
    for route in app.table:
        if route.access in ("none", "open") or (guests and route.guests):
            body = {"POST": {"name": "led-astray"}, "PATCH": {"scheduled_at": "2030-01-01T00:00:00Z"}}.get(route.method)
            requests.append((route.method, route.path.replace("{id}", "T" * 24), body))
    return requests


async def ask(api: Api, request: tuple[str, str, Any], headers: Headers, key: str | None = None) -> httpx.Response:
    method, path, body = request
    return await api.client(key).request(method, path, json=body, headers=list(headers))


class TestOpen:
    """Where everybody may register and there is a default owner, every such route has the same guard."""

    @pytest.fixture
    def config(self) -> ApiConfig:
        return ApiConfig(admin_key=ADMIN_KEY, registration="open", default_owner="local-user")

    async def test_the_routes_are_those_that_need_no_key(self, api: Api) -> None:
        paths = {path for _, path, _ in keyless(api.app, guests=True)}
        assert paths > {"/status", "/monitor/health", "/monitor/stats", "/openapi.json", "/docs", "/", "/tasks"}
        assert "/v1/owners/register" in paths

    @pytest.mark.parametrize("host", FOREIGN)
    async def test_no_route_answers_at_a_foreign_host(self, api: Api, host: str) -> None:
        for request in keyless(api.app, guests=True):
            assert told(await ask(api, request, [("Host", host)])) == (403, "host_unknown"), request

    @pytest.mark.parametrize("headers", CROSS_SITE, ids=lambda headers: " ".join(value for _, value in headers))
    async def test_no_route_answers_a_page_of_another_site(self, api: Api, headers: Headers) -> None:
        for request in keyless(api.app, guests=True):
            assert told(await ask(api, request, headers)) == (403, "cross_site"), request

    async def test_what_was_refused_was_not_done(self, api: Api, admin: httpx.AsyncClient) -> None:
        for headers in ([("Host", FOREIGN[0])], *CROSS_SITE):
            await ask(api, REGISTER, headers)
        assert told(await admin.get("/v1/owners/led-astray")) == (404, "owner_not_found")

    @pytest.mark.parametrize("host", OWN)
    async def test_it_answers_at_its_own(self, api: Api, host: str) -> None:
        for request in (REGISTER, ("GET", "/status", None), ("GET", "/monitor/stats", None)):
            assert (await ask(api, request, [("Host", host)])).is_success, request

    @pytest.mark.parametrize(
        "headers",
        [
            [("Sec-Fetch-Site", "same-origin"), ("Sec-Fetch-Mode", "cors"), ("Origin", "http://127.0.0.1:9420")],
            [("Sec-Fetch-Site", "none"), ("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "document")],
            [("Host", "127.0.0.1:9420"), ("Origin", "http://127.0.0.1:9420")],
            [("Host", "localhost"), ("Origin", "http://localhost")],
            [("Host", "localhost"), ("Origin", "https://localhost")],
        ],
    )
    async def test_its_own_page_may_ask(self, api: Api, headers: Headers) -> None:
        assert (await ask(api, REGISTER, headers)).status_code == 201

    async def test_a_link_to_it_may_be_followed(self, api: Api) -> None:
        link = [("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "document")]
        assert (await ask(api, ("GET", "/docs", None), link)).status_code == 200
        assert told(await ask(api, REGISTER, link)) == (403, "cross_site")

    async def test_who_has_a_key_may_ask_anywhere(self, api: Api, client: httpx.AsyncClient) -> None:
        for headers in ([("Host", FOREIGN[0])], *CROSS_SITE):
            answer = await client.post("/v1/queues/register", json=task(), headers=headers)
            assert answer.status_code == 201
            body = {"name": f"shop-{len(str(headers))}"}
            registered = await ask(api, ("POST", "/v1/owners/register", body), headers, key=ADMIN_KEY)
            assert registered.status_code == 201

    @pytest.mark.parametrize("sign", ["X-Forwarded-For", "X-Forwarded-Proto", "Forwarded", "Via", "X-Real-IP"])
    async def test_what_a_proxy_passes_on_is_no_guest(self, api: Api, sign: str) -> None:
        answer = await ask(api, ("GET", "/tasks", None), [(sign, "203.0.113.9")])
        assert told(answer) == (401, "credentials_missing")
        assert sign.lower() in answer.json()["detail"]
        assert (await ask(api, REGISTER, [(sign, "203.0.113.9")])).status_code == 201  # the operator opened it to all


class TestOnLoopback:
    """Registration that is open because only this machine can reach the server."""

    @pytest.fixture
    def config(self) -> ApiConfig:
        return ApiConfig(admin_key=ADMIN_KEY, registration="loopback")

    async def test_who_is_on_the_machine_may_register(self, api: Api) -> None:
        assert (await ask(api, REGISTER, [])).status_code == 201

    @pytest.mark.parametrize("sign", ["X-Forwarded-For", "X-Forwarded-Host", "Forwarded", "Via", "X-Real-IP", "CF-Ray"])
    async def test_a_proxy_does_not_open_it_to_the_world(self, api: Api, sign: str) -> None:
        answer = await ask(api, REGISTER, [(sign, "203.0.113.9")])
        assert told(answer) == (401, "registration_closed")
        assert "TASKS_SERVER_REGISTRATION=open" in answer.json()["detail"]
        assert (await ask(api, REGISTER, [(sign, "203.0.113.9")], key=ADMIN_KEY)).status_code == 201

    async def test_proxies_speak_http_1_0(self, api: Api) -> None:
        status, code = await spoken(api.app, "/v1/owners/register", [(b"host", b"127.0.0.1")], "1", method="POST")
        assert (status, code) == (401, "registration_closed")


class TestForOthers:
    """A server that other machines reach."""

    @pytest.fixture
    def config(self) -> ApiConfig:
        hosts = KnownHosts(["tasks.example.com", "*.corp.example", "box"], loopback=False)
        return ApiConfig(registration="open", hosts=hosts)

    @pytest.mark.parametrize(
        "host", ["tasks.example.com", "a.b.corp.example:443", "10.0.0.7:9420", "[2001:db8::7]", "Box"]
    )
    async def test_it_answers_at_its_names_and_at_any_address(self, api: Api, host: str) -> None:
        assert (await ask(api, REGISTER, [("Host", host)])).status_code == 201
        assert (await ask(api, ("GET", "/monitor/health", None), [("Host", host)])).status_code == 200

    @pytest.mark.parametrize("host", ["example.com", "corp.example", "evil-corp.example", "boxes"])
    async def test_under_another_name_it_says_that_it_is_alive_and_no_more(self, api: Api, host: str) -> None:
        for request in keyless(api.app, guests=False):
            answer = await ask(api, request, [("Host", host)])
            if request[0] == "GET" and request[1] in PROBES:
                assert (answer.status_code, answer.text) == (200, "OK")
            else:
                assert told(answer) == (403, "host_unknown"), request

    async def test_a_page_at_a_name_that_the_operator_gave_may_ask_through_a_proxy(self, api: Api) -> None:
        through = [("Host", "10.0.0.7:9420"), ("Origin", "https://tasks.example.com")]
        assert (await ask(api, REGISTER, through)).status_code == 201

    async def test_a_page_of_an_address_is_still_of_another_site(self, api: Api) -> None:
        through = [("Host", "10.0.0.7:9420"), ("Origin", "http://10.0.0.8:9420")]
        assert told(await ask(api, REGISTER, through)) == (403, "cross_site")


class TestAnyName:
    @pytest.fixture
    def config(self) -> ApiConfig:
        return ApiConfig(registration="open", hosts=KnownHosts(["*"], loopback=False))

    async def test_the_operator_may_allow_every_name(self, api: Api) -> None:
        assert (await ask(api, REGISTER, [("Host", "whatever.example")])).status_code == 201
        through = [("Host", "whatever.example"), ("Origin", "https://elsewhere.example")]
        assert told(await ask(api, REGISTER, through)) == (403, "cross_site")


# One Host, and a valid one


async def spoken(
    app: App, path: str, headers: list[tuple[bytes, bytes]], version: str = "1.1", method: str = "GET"
) -> tuple[int, str]:
    """What the application answers to these very headers, as a server hands them over."""
    sent: list[Any] = []
    scope = {
        "type": "http", "method": method, "path": path, "query_string": b"", "http_version": version,
        "headers": headers, "client": ("127.0.0.1", 50_000),
    }  # fmt: skip

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    answer = httpx.Response(sent[0]["status"], content=sent[1]["body"])
    return answer.status_code, "" if answer.is_success else answer.json()["code"]


@pytest.mark.parametrize(
    "hosts",
    [
        [b"localhost", b"localhost"],
        [b"localhost", b"elsewhere.example"],
        [],
        [b""],
        [b"user@localhost"],
        [b"local host"],
        [b"localhost/"],
        [b"localhost:99999"],
        [b"localhost:x"],
        [b"[::1"],
        [b"[::g]"],
        [b"a\xffb"],
        [b"localhost, elsewhere.example"],
    ],
)
@pytest.mark.parametrize("path", ["/status", "/v1/queues", "/nowhere"])
async def test_a_request_has_one_valid_host(api: Api, path: str, hosts: list[bytes]) -> None:
    headers = [(b"host", host) for host in hosts]
    for version in ("1.1", "2"):
        assert await spoken(api.app, path, headers, version) == (400, "host_invalid")


async def test_http_1_0_does_without_a_host(api: Api) -> None:
    assert await spoken(api.app, "/status", [], "1") == (200, "")
    assert await spoken(api.app, "/status", [(b"host", b"")], "1") == (200, "")
    assert await spoken(api.app, "/status", [(b"host", b"rebound.example")], "1") == (403, "host_unknown")


async def test_other_headers_may_come_twice(api: Api) -> None:
    headers = [(b"host", b"localhost"), (b"accept", b"a/b"), (b"accept", b"c/d")]
    assert await spoken(api.app, "/status", headers) == (200, "")


async def test_any_number_of_hosts_takes_no_more_memory_than_a_thousand(api: Api) -> None:
    for number in range(3_000):
        assert await spoken(api.app, "/status", [(b"host", b"n%d.localhost" % number)]) == (200, "")
    assert len(api.app._door._seen) <= 1_024
