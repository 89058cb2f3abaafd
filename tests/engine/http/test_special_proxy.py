"""Options of proxies, seen at a proxy and at the target behind it."""

import base64
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tasks_server.domain.attempt import OutcomeKind
from tests.engine.http.asking import ask
from tests.engine.http.authority import Authority, Identity, base64_of, server_context
from tests.engine.http.driver import Driver
from tests.engine.http.proxies import HttpProxy, SocksProxy
from tests.engine.http.target import Connection, Received, Target
from tests.engine.http.test_special import md5

JOE = {"username": "joe", "password": "secret"}
JOES_LINE = "Basic " + base64.b64encode(b"joe:secret").decode()


@pytest.fixture(scope="module")
def server() -> Identity:
    return Authority().issue("server", "127.0.0.1", "localhost")


@pytest.fixture
def secure(server: Identity, tmp_path: Path) -> Iterator[Target]:
    with Target(tls=server_context(server, tmp_path)) as running:
        yield running


@pytest.fixture
def proxy() -> Iterator[HttpProxy]:
    with HttpProxy() as running:
        yield running


def through(proxy: Target, protocol: str = "http", **config: Any) -> dict[str, Any]:
    return {"proxy": {"protocol": protocol, "host": "127.0.0.1", "port": proxy.port}, "insecure": True, **config}


@pytest.mark.option("proxy")
def test_requests_go_through_the_proxy(http: Driver, target: Target, secure: Target, proxy: HttpProxy) -> None:
    assert ask(http, target.url("/a"), through(proxy)).response == b"ok"
    assert ask(http, secure.url("/b"), through(proxy)).response == b"ok"
    assert ask(http, target.url("/c")).response == b"ok"
    assert [received.line for received in proxy.received] == [
        f"GET {target.url('/a')} HTTP/1.1", f"CONNECT 127.0.0.1:{secure.port} HTTP/1.1",
    ]  # fmt: skip
    assert [received.path for received in target.received] == ["/a", "/c"]
    assert [received.path for received in secure.received] == ["/b"]


@pytest.mark.parametrize("protocol", ["socks4", "socks4a", "socks5", "socks5h"])
def test_socks(http: Driver, target: Target, protocol: str) -> None:
    with SocksProxy() as proxy:
        host = "localhost" if protocol in ("socks4a", "socks5h") else "127.0.0.1"
        config = through(proxy, protocol) | ({"proxyAuthBasic": JOE} if protocol.startswith("socks5") else {})
        assert ask(http, target.url("/a", host=host), config).response == b"ok"
        assert ask(http, target.url("/b")).response == b"ok"
        assert proxy.asked == [(protocol.removeprefix("socks"), host, target.port)]
        assert proxy.logins == ([("joe", "secret")] if protocol.startswith("socks5") else [])
    assert [received.path for received in target.received] == ["/a", "/b"]


@pytest.mark.parametrize("lines", ["X-Long: " + "x" * 110_000 + "\r\n", "X: 1\r\n" * 6_000], ids=["long", "many"])
def test_long_headers_of_a_proxy_are_no_fault_of_the_request(
    http: Driver, secure: Target, proxy: HttpProxy, lines: str
) -> None:
    proxy.let_through = f"HTTP/1.1 200 OK\r\n{lines}\r\n".encode()
    outcome = ask(http, secure.url(), through(proxy))
    assert outcome.kind is OutcomeKind.CONNECTION
    assert secure.received == []


@pytest.mark.option("proxyAuthBasic")
def test_basic_authentication_at_the_proxy(http: Driver, secure: Target, proxy: HttpProxy) -> None:
    proxy.login = JOES_LINE
    assert ask(http, secure.url(), through(proxy, proxyAuthBasic=JOE)).response == b"ok"
    assert secure.last.header("Proxy-Authorization") is None
    # A tunnel that one login opened is not there for another, nor for those who have none.
    other = through(proxy, proxyAuthBasic={"username": "joe", "password": "other"})
    for config in (other, through(proxy)):
        outcome = ask(http, secure.url(), config)
        assert (outcome.kind, outcome.status_code) == (OutcomeKind.CONNECTION, 0)
        assert "407" in (outcome.error or "")
    assert len(secure.received) == 1


@pytest.mark.option("proxyAuthDigest")
def test_digest_authentication_at_the_proxy(http: Driver, secure: Target, proxy: HttpProxy) -> None:
    proxy.login, proxy.challenge = "Digest ", 'Digest realm="shop", nonce="n1", qop="auth", algorithm=MD5'
    assert ask(http, secure.url(), through(proxy, proxyAuthDigest=JOE)).response == b"ok"
    line = proxy.last.header("Proxy-Authorization") or ""
    given = dict(re.findall(r'(\w+)="?([^",]*)"?', line))
    ha2 = md5("CONNECT", f"127.0.0.1:{secure.port}")
    assert given["response"] == md5(md5("joe", "shop", "secret"), "n1", given["nc"], given["cnonce"], "auth", ha2)


@pytest.mark.option("proxyHeaders")
def test_headers_for_the_proxy_alone(http: Driver, secure: Target, proxy: HttpProxy) -> None:
    config = through(proxy, proxyHeaders={"X-Tenant": "shop"})
    assert ask(http, secure.url(), config, headers={"X-Own": "1"}).response == b"ok"
    assert (proxy.last.header("X-Tenant"), proxy.last.header("X-Own")) == ("shop", None)
    assert (secure.last.header("X-Tenant"), secure.last.header("X-Own")) == (None, "1")


@pytest.mark.option("proxyHttpVersion")
def test_the_version_of_http_for_the_tunnel(http: Driver, secure: Target, proxy: HttpProxy, server: Identity,
                                            tmp_path: Path) -> None:  # fmt: skip
    for version in ("1.0", "1.1"):
        assert ask(http, secure.url(), through(proxy, proxyHttpVersion=version)).response == b"ok"
    assert [received.line.split(" ")[2] for received in proxy.received] == ["HTTP/1.0", "HTTP/1.1"]
    agreed: list[str | None] = []

    async def note(connection: Connection, _request: Received) -> None:
        agreed.append(connection.writer.get_extra_info("ssl_object").selected_alpn_protocol())
        connection.writer.transport.abort()
        raise ConnectionError

    context = server_context(server, tmp_path)
    context.set_alpn_protocols(["h2", "http/1.1"])
    with Target(tls=context) as other:
        other.scripts |= {"*": note, f"127.0.0.1:{secure.port}": note}
        for version in ("2", "1.1"):
            ask(http, secure.url(), through(other, "https", proxyInsecure=True, proxyHttpVersion=version))
    assert agreed == ["h2", "http/1.1"]


@pytest.mark.option("proxyInsecure")
def test_an_https_proxy(http: Driver, secure: Target, server: Identity, tmp_path: Path) -> None:
    with HttpProxy(tls=server_context(server, tmp_path)) as proxy:
        assert ask(http, secure.url(), through(proxy, "https", proxyInsecure=True)).response == b"ok"
        outcome = ask(http, secure.url(), through(proxy, "https"))
        assert outcome.kind is OutcomeKind.CONNECTION
        assert len(proxy.received) == 1


def test_the_authority_of_a_task_counts_at_its_proxy(http: Driver, tmp_path: Path) -> None:
    authority = Authority()
    context = server_context(authority.issue("both", "127.0.0.1"), tmp_path)
    with HttpProxy(tls=context) as proxy, Target(tls=context) as secure:
        config = {**through(proxy, "https"), "insecure": False, "ca": base64_of(authority.pem)}
        assert ask(http, secure.url(), config).response == b"ok"


def test_a_proxy_that_is_not_there_fails_in_plain_words(http: Driver, target: Target) -> None:
    config = {"proxy": {"protocol": "http", "host": "127.0.0.1", "port": 1}}
    outcome = ask(http, target.url(), config)
    assert (outcome.kind, outcome.status_code) == (OutcomeKind.CONNECTION, 0)
    assert "proxy" in (outcome.error or "")
    unknown = ask(http, target.url(), {"proxy": {"protocol": "http", "host": "proxy.invalid"}})
    assert unknown.error == "the proxy's name is unknown"


def test_the_environment_has_no_say(http: Driver, target: Target, proxy: HttpProxy,
                                    monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
    assert ask(http, target.url("/a")).response == b"ok"
    assert not proxy.received
    monkeypatch.setenv("no_proxy", "*")
    assert ask(http, target.url("/b"), through(proxy)).response == b"ok"
    assert len(proxy.received) == 1
