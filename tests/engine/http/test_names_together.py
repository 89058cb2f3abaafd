"""Names looked up at servers of the task's own, together with the options that make calls of several transfers: the
modes of fetch and NTLM.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tasks_server.domain.attempt import OutcomeKind
from tasks_server.domain.egress import Egress
from tests.engine.http.asking import ask
from tests.engine.http.authority import Authority, base64_of, server_context
from tests.engine.http.driver import Driver
from tests.engine.http.name_servers import DnsServer, DohServer
from tests.engine.http.ntlm_servers import NtlmProxy, NtlmTarget
from tests.engine.http.proxies import HttpProxy
from tests.engine.http.target import Target, answer, redirect
from tests.engine.http.test_ntlm import JOE, JOES_NAME, users

__all__ = ["users"]
RECORDS = {(name, "A"): ["127.0.0.1"] for name in ("shop.test", "other.test", "proxy.test")}
COOKIE = [{"name": "a", "value": "1"}]


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture
def context(authority: Authority, tmp_path: Path) -> Any:
    return server_context(authority.issue("server", "127.0.0.1", "shop.test", "other.test"), tmp_path)


@pytest.fixture
def names() -> Iterator[DnsServer]:
    with DnsServer(records=dict(RECORDS)) as running:
        yield running


@pytest.fixture
def doh(context: Any) -> Iterator[DohServer]:
    with DohServer(context, records=dict(RECORDS)) as running:
        yield running


@pytest.fixture(params=["dnsServer", "dohUrl"])
def asks(request: pytest.FixtureRequest, names: DnsServer, doh: DohServer, authority: Authority) -> dict[str, Any]:
    """The configuration of a task that has its names looked up by servers of its own."""
    ca = {"ca": base64_of(authority.pem)}
    return ca | ({"dnsServer": ["127.0.0.1"]} if request.param == "dnsServer" else {"dohUrl": doh.doh_url})


@pytest.fixture
def http(names: DnsServer) -> Iterator[Driver]:
    with Driver(dns_port=names.port) as running:
        yield running


@pytest.fixture
def asked_for(names: DnsServer, doh: DohServer) -> Any:
    return lambda: names.names() | doh.names()


@pytest.mark.parametrize(
    ("credentials", "seen"),
    [
        ("omit", [(None, None), (None, None), (None, None)]),
        ("same-origin", [("a=1", True), (None, None), (None, None)]),
        ("include", [("a=1", True), (None, None), ("a=1", True)]),
    ],
)
def test_where_credentials_go(
    http: Driver, target: Target, asks: dict[str, Any], asked_for: Any, credentials: str, seen: list[Any]
) -> None:
    target.scripts["/1"] = redirect(302, target.url("/2", host="other.test"))
    target.scripts["/2"] = redirect(302, target.url("/3", host="shop.test"))
    config = {**asks, "credentials": credentials}
    outcome = ask(
        http, target.url("/1", host="shop.test"), config, cookie=COOKIE, authBasic={"username": "a", "password": "b"}
    )
    assert outcome.response == b"ok", outcome.error
    got = [(one.header("Cookie"), one.header("Authorization") and True) for one in target.received]
    assert got == seen
    assert asked_for() == {"shop.test", "other.test"}


def test_a_mode_and_a_policy(http: Driver, target: Target, asks: dict[str, Any], asked_for: Any) -> None:
    target.scripts["/1"] = redirect(302, target.url("/2", host="shop.test"))
    target.scripts["/2"] = redirect(302, target.url("/3", host="other.test"))
    outcome = ask(http, target.url("/1", host="shop.test"), {**asks, "mode": "same-origin"})
    assert outcome.kind is OutcomeKind.CONNECTION
    assert "leads to another origin" in (outcome.error or "")
    assert asked_for() == {"shop.test"}, "where nothing goes, nothing is looked up"
    outcome = ask(http, target.url("/1", host="shop.test"), {**asks, "referrerPolicy": "origin"})
    assert outcome.response == b"ok", outcome.error
    origin = f"http://shop.test:{target.port}/"
    assert [one.header("Referer") for one in target.received[2:]] == [None, origin, origin]


def test_https_is_known_of_before(http: Driver, context: Any, asks: dict[str, Any]) -> None:
    with Target(tls=context) as secure:
        config = {**asks, "credentials": "include", "hsts": base64_of(b'shop.test "unlimited"')}
        outcome = ask(http, f"http://shop.test:{secure.port}/", config)
        assert outcome.response == b"ok", outcome.error


def test_ntlm_at_a_target_that_is_looked_up(http: Driver, asks: dict[str, Any], asked_for: Any) -> None:
    with NtlmTarget() as shop:
        shop.scripts["/"] = shop.guarded(redirect(307, shop.url("/next", host="other.test")))
        outcome = ask(http, shop.url(host="shop.test"), asks, "POST", authNtlm=JOE, data="payload")
        assert outcome.response == b"ok", outcome.error
        assert shop.served == [(JOES_NAME, "POST", "/", b"payload")]
        assert (shop.last.path, shop.last.body, shop.last.header("Authorization")) == ("/next", b"payload", None)
    assert asked_for() == {"shop.test", "other.test"}


@pytest.mark.parametrize("mode", [{}, {"credentials": "include"}, {"credentials": "omit"}, {"mode": "cors"}])
def test_an_ntlm_proxy_by_name(
    http: Driver, target: Target, context: Any, asks: dict[str, Any], asked_for: Any, mode: dict[str, Any]
) -> None:
    with NtlmProxy() as proxy, Target(tls=context) as secure:
        way = {"proxy": {"protocol": "http", "host": "proxy.test", "port": proxy.port}, "proxyAuthNtlm": JOE}
        target.scripts["/1"] = answer(307, Location=secure.url("/2"))  # the proxy reads on until "ok"
        secure.scripts["/2"] = redirect(307, target.url("/3"))
        config = {**asks, **way, **mode}
        outcome = ask(http, target.url("/1"), config, "POST", data="payload")
        assert outcome.response == b"ok", outcome.error
        assert [(one.path, one.body) for one in target.received] == [("/1", b"payload"), ("/3", b"payload")]
        assert [(one.path, one.body) for one in secure.received] == [("/2", b"payload")]
        assert proxy.guard is not None
        assert set(proxy.guard.users.values()) == {JOES_NAME}
        # Names of targets are the proxy's to look up.
        assert asked_for() == {"proxy.test"}
        assert ask(http, secure.url("/4"), config).response == b"ok"


def test_an_ntlm_proxy_that_has_no_address(http: Driver, target: Target, asks: dict[str, Any], context: Any) -> None:
    way = {"proxy": {"protocol": "http", "host": "gone.test", "port": 1}, "proxyAuthNtlm": JOE}
    for url in (target.url(), "https://127.0.0.1:1/"):
        outcome = ask(http, url, {**asks, **way})
        assert (outcome.kind, outcome.error) == (OutcomeKind.CONNECTION, "unknown host gone.test")


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/", "https://127.0.0.1:1/"])
def test_an_ntlm_proxy_is_judged_by_its_address(names: DnsServer, url: str) -> None:
    names.records["proxy.test", "A"] = ["127.0.0.2"]
    with Driver(egress=Egress.parse("public", "127.0.0.1 proxy.test", ""), dns_port=names.port) as http:
        way = {"proxy": {"protocol": "http", "host": "proxy.test", "port": 1}, "proxyAuthNtlm": JOE}
        outcome = ask(http, url, {"dnsServer": ["127.0.0.1"], **way})
    assert (outcome.kind, outcome.status_code) == (OutcomeKind.BLOCKED, 403)
    assert "proxy.test" in (outcome.error or "")


def test_a_tunnel_that_was_closed_is_opened_again(http: Driver, context: Any, asks: dict[str, Any]) -> None:
    with NtlmProxy() as proxy, Target(tls=context) as secure:
        secure.scripts["/1"] = redirect(302, "/2").replace(b"\r\n", b"\r\nConnection: close\r\n", 1)
        way = {"proxy": {"protocol": "http", "host": "proxy.test", "port": proxy.port}, "proxyAuthNtlm": JOE}
        outcome = ask(http, secure.url("/1"), {**asks, **way})
        assert outcome.response == b"ok", outcome.error


def test_a_plain_proxy_and_a_mode(http: Driver, target: Target, asks: dict[str, Any], asked_for: Any) -> None:
    target.scripts["/1"] = answer(302, Location=target.url("/2"))
    with HttpProxy() as proxy:
        way = {"proxy": {"protocol": "http", "host": "proxy.test", "port": proxy.port}}
        outcome = ask(http, target.url("/1"), {**asks, **way, "credentials": "same-origin"})
        assert outcome.response == b"ok", outcome.error
    assert asked_for() == {"proxy.test"}
