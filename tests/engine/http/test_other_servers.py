"""Options seen at servers that others have written: nginx, where it is installed, and a forward proxy."""

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tasks_server.domain.attempt import OutcomeKind
from tests.engine.http.asking import ask
from tests.engine.http.authority import Authority, base64_of, server_context
from tests.engine.http.driver import Driver
from tests.engine.http.processes import NGINX, ForwardProxy, Nginx
from tests.engine.http.target import Target

pytestmark = pytest.mark.process
needs_nginx = pytest.mark.skipif(NGINX is None, reason="nginx is not installed (Debian: apt-get install nginx-light)")


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture(scope="module")
def clients() -> Authority:
    return Authority("authority of clients")


@pytest.fixture(params=[False])
def nginx(request: pytest.FixtureRequest, authority: Authority, clients: Authority, tmp_path: Path) -> Iterator[Nginx]:
    with socket.create_server(("127.0.0.1", 0)) as free:  # the kernel gives it to nobody else for a while
        port = free.getsockname()[1]
    with Nginx(tmp_path, authority.issue("server", "127.0.0.1"), port, clients, request.param) as running:
        yield running


@needs_nginx
@pytest.mark.option("ca")
def test_nginx_is_known_by_the_authority_of_the_task(http: Driver, nginx: Nginx, authority: Authority) -> None:
    assert ask(http, nginx.url("/a"), {"ca": base64_of(authority.pem)}).response == b"ok"
    refused = ask(http, nginx.url("/b"), {"ca": base64_of(Authority("another").pem)})
    assert refused.kind is OutcomeKind.CONNECTION
    assert "was refused" in (refused.error or "")
    assert [line[3] for line in nginx.seen(1)] == ["/a"]


@needs_nginx
@pytest.mark.option("cert", "key")
@pytest.mark.parametrize("nginx", [True], indirect=True)
def test_nginx_wants_a_client_certificate(http: Driver, nginx: Nginx, authority: Authority, clients: Authority) -> None:
    ca = {"ca": base64_of(authority.pem)}
    for one, status in ((clients.issue("shop"), 200), (Authority("another").issue("thief"), 400), (None, 400)):
        shown = {"cert": {"value": base64_of(one.pem)}, "key": base64_of(one.key())} if one else {}
        assert ask(http, nginx.url(), ca | shown).status_code == status
    assert nginx.seen(3)[0][4] == "CN=shop"


@needs_nginx
@pytest.mark.option("httpVersion", "keepAliveDuration")
def test_nginx_sees_the_version_and_who_comes_again(http: Driver, nginx: Nginx, authority: Authority) -> None:
    ca = {"ca": base64_of(authority.pem)}
    for version in ("1.1", "2", "1.1", "2"):
        assert ask(http, nginx.url(), ca | {"httpVersion": version}).response == b"ok"
    assert ask(http, nginx.url(), ca | {"httpVersion": "2", "keepAliveDuration": 0}).response == b"ok"
    seen = nginx.seen(5)
    assert [line[1] for line in seen] == ["HTTP/1.1", "HTTP/2.0", "HTTP/1.1", "HTTP/2.0", "HTTP/2.0"]
    first, second, third, fourth, fifth = (line[0] for line in seen)
    assert (first, second) == (third, fourth)
    assert len({first, second, fifth}) == 3


@pytest.fixture
def secure(authority: Authority, tmp_path: Path) -> Iterator[Target]:
    with Target(tls=server_context(authority.issue("server", "127.0.0.1"), tmp_path)) as running:
        yield running


@pytest.mark.option("proxy", "proxyAuthBasic")
def test_a_forward_proxy_of_others(
    http: Driver, target: Target, secure: Target, authority: Authority, tmp_path: Path
) -> None:
    ca = base64_of(authority.pem)
    with ForwardProxy(tmp_path, login="joe:secret") as proxy:

        def config(password: str | None) -> dict[str, Any]:
            way = {"ca": ca, "proxy": {"protocol": "http", "host": "127.0.0.1", "port": proxy.port}}
            return way | ({"proxyAuthBasic": {"username": "joe", "password": password}} if password else {})

        for where in (target, secure):
            outcome = ask(http, where.url("/a"), config("secret"), "POST", data="payload")
            assert outcome.response == b"ok", outcome.error
            assert (where.last.path, where.last.body) == ("/a", b"payload")
            assert where.last.header("Proxy-Authorization") is None
            for password in ("wrong", None):
                refused = ask(http, where.url("/b"), config(password))
                assert refused.kind in (OutcomeKind.HTTP_ERROR, OutcomeKind.CONNECTION)
                assert "407" in (refused.error or "")
            assert len(where.received) == 1
        # What came through the proxy came from it, and with nobody's word for us.
        assert "proxy.py" in (target.last.header("Via") or "")
