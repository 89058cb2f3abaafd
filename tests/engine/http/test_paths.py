"""A path is sent as it came, on every way to the target: no segment is taken out of it, nothing written otherwise."""

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tasks_server.domain.errors import InvalidRequest
from tests.engine.http.asking import ask
from tests.engine.http.authority import Authority, Identity, base64_of, server_context
from tests.engine.http.driver import Driver
from tests.engine.http.ntlm_servers import NtlmProxy, NtlmTarget
from tests.engine.http.proxies import HttpProxy, SocksProxy
from tests.engine.http.target import Connection, Received, Target, answer, redirect
from tests.engine.http.versions import VersionsTarget

# A timer of a QUIC connection that hypercorn makes while it is stopped is never awaited.
pytestmark = pytest.mark.filterwarnings("ignore:coroutine 'QuicProtocol._handle_timer':RuntimeWarning")

PATHS = [
    "/a/../b",
    "/a/./b/",
    "/..",
    "/%2e%2E/%2f%2F?x=%2f/../y",
    "//a//b",
    "/a?",
    "/a??b=?",
    "/a%/%zz%4",
    "/a\\b\\..\\c",
    "/!$&'()*+,;=:@-._~\"<>^`{|}[]",
]
ODD = "/a/../%2e%2E/%2fb?x=/../%2e"
JOE = {"username": "joe", "password": "secret"}


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture
def server(authority: Authority) -> Identity:
    return authority.issue("server", "127.0.0.1", "localhost")


@pytest.fixture
def secure(server: Identity, tmp_path: Path) -> Iterator[Target]:
    with Target(tls=server_context(server, tmp_path)) as running:
        yield running


@pytest.mark.parametrize("path", PATHS)
def test_a_path_is_sent_as_it_came(http: Driver, target: Target, path: str) -> None:
    for config in ({}, {"insecure": True}, {"credentials": "include"}):
        assert ask(http, target.url(path), config).response == b"ok"
        assert target.last.line == f"GET {path} HTTP/1.1"
        assert ask(http, target.url("/Plain%2F?x")).response == b"ok"
        assert target.last.line == "GET /Plain%2F?x HTTP/1.1"


@pytest.mark.parametrize(
    ("given", "sent"),
    [("", "/"), ("?q=1", "/?q=1"), ("#part", "/"), ("/ü?ö=ä", "/%C3%BC?%C3%B6=%C3%A4"), ("/a#b/../c", "/a")],
)
def test_what_is_written_otherwise(http: Driver, target: Target, given: str, sent: str) -> None:
    assert ask(http, target.url(given)).response == b"ok"
    assert target.last.line == f"GET {sent} HTTP/1.1"


def test_a_query_is_joined_to_it(http: Driver, target: Target) -> None:
    assert ask(http, target.url("/%2f/../a?x=1"), query={"y": "/../"}).response == b"ok"
    assert target.last.line == "GET /%2f/../a?x=1&y=%2F..%2F HTTP/1.1"


def test_redirects_keep_theirs(http: Driver, target: Target) -> None:
    for config in ({}, {"insecure": True}, {"credentials": "include"}):
        target.scripts["/from"] = redirect(307, ODD)
        assert ask(http, target.url("/from"), config).response == b"ok"
        assert target.last.line == f"GET {ODD} HTTP/1.1"
    target.scripts["/%2ffrom"] = redirect(307, "/Plain%2F")
    assert ask(http, target.url("/%2ffrom")).response == b"ok"
    assert target.last.line == "GET /Plain%2F HTTP/1.1"


@pytest.mark.parametrize("version", ["1.1", "2", "3"])
def test_over_tls_and_quic(http: Driver, authority: Authority, server: Identity, tmp_path: Path, version: str) -> None:
    with VersionsTarget(tmp_path, server) as target:
        config = {"ca": base64_of(authority.pem), "httpVersion": version}
        assert ask(http, target.url(ODD), config).response == b"ok"
        assert target.seen[0].raw_path == ODD.partition("?")[0]


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("protocol", ["http", "socks5"])
def test_through_proxies(http: Driver, target: Target, secure: Target, scheme: str, protocol: str) -> None:
    aim = secure if scheme == "https" else target
    aim.scripts["/from"] = redirect(307, ODD)
    with HttpProxy() if protocol == "http" else SocksProxy() as proxy:
        way = {"proxy": {"protocol": protocol, "host": "127.0.0.1", "port": proxy.port}, "insecure": True}
        if protocol == "http" and scheme == "http":
            # This proxy of ours answers its client before it has told a redirect to the end.
            aim.scripts["/from"] = answer(307, Location=ODD)
        for path in (ODD, "/from"):
            assert ask(http, aim.url(path), way).response == b"ok"
            assert aim.last.line == f"GET {ODD} HTTP/1.1"
        if protocol == "http" and scheme == "http":
            assert proxy.last.line == f"GET {aim.url(ODD)} HTTP/1.1"


def test_with_ntlm(http: Driver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "users").write_text("SHOP:joe:secret\n")
    monkeypatch.setenv("NTLM_USER_FILE", str(tmp_path / "users"))
    joe = {"username": "SHOP\\joe", "password": "secret"}
    with NtlmTarget() as shop, NtlmProxy() as proxy:
        shop.scripts[ODD.partition("?")[0]] = shop.guarded()
        assert ask(http, shop.url(ODD), authNtlm=joe).status_code == 200
        assert {received.path for received in shop.received} == {ODD}
        shop.received.clear()
        way = {"proxy": {"protocol": "http", "host": "127.0.0.1", "port": proxy.port}, "proxyAuthNtlm": joe}
        shop.scripts.clear()
        assert ask(http, shop.url(ODD), way).response == b"ok"
        assert {received.path for received in shop.received} == {ODD}
        assert {received.path for received in proxy.received} == {shop.url(ODD)}


def test_what_digest_proves_is_what_is_sent(http: Driver, target: Target) -> None:
    """Escapes are in capitals there, as libcurl counts them into the proof; segments stay."""

    async def challenge(connection: Connection, request: Received) -> None:
        given = dict(re.findall(r'(\w+)="?([^",]*)"?', request.header("Authorization") or ""))
        if not given:
            line = 'Digest realm="shop", nonce="n1", qop="auth", algorithm=MD5'
            await connection.send(answer(401, b"", WWW_Authenticate=line))
            return
        proof = [hashlib.md5(b"joe:shop:secret").hexdigest(), "n1", given["nc"], given["cnonce"], "auth"]
        proof.append(hashlib.md5(f"GET:{request.path}".encode()).hexdigest())
        fits = given["uri"] == request.path and given["response"] == hashlib.md5(":".join(proof).encode()).hexdigest()
        await connection.send(answer(200 if fits else 403))

    for path, sent in (("/a/../b", "/a/../b"), ("/%2e./%2f?x=%2f", "/%2E./%2F?x=%2F")):
        target.scripts[sent.partition("?")[0]] = challenge
        assert ask(http, target.url(path), authDigest=JOE).status_code == 200
        assert target.last.path == sent


@pytest.mark.parametrize("path", ["/a/../b", "/a/.", "/%2e%2E/b", "/..?x"])
def test_a_signature_of_aws_cannot_hold_segments_of_dots(http: Driver, target: Target, path: str) -> None:
    given: dict[str, Any] = {
        **{"provider1": "aws", "provider2": "amz", "region": "eu-west-1", "service": "s3"},
        **{"key": "AKIDEXAMPLE", "secret": "wJalrXUtnFEMI/K7MDENG"},
    }
    with pytest.raises(InvalidRequest, match=r"httpRequest.url: has a segment \. or \.\. in its path"):
        ask(http, target.url(path), authAwsSigv4=given)
    assert ask(http, target.url("/a..b/.c?x=/../y"), authAwsSigv4=given).status_code == 200
    assert target.last.path == "/a..b/.c?x=/../y"
