"""Versions of HTTP, as targets that speak them all saw them: over TLS, in clear text and over QUIC."""

import gzip
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tasks_server.domain.attempt import OutcomeKind
from tasks_server.domain.egress import Egress
from tests.engine.http.asking import ask, asked
from tests.engine.http.authority import Authority, base64_of, server_context
from tests.engine.http.driver import RESPONSE_MAX_BYTES, Driver
from tests.engine.http.target import Connection, Received, Target
from tests.engine.http.versions import Send, VersionsTarget, hang, respond

# A timer of a QUIC connection that hypercorn makes while it is stopped is never awaited.
pytestmark = pytest.mark.filterwarnings("ignore:coroutine 'QuicProtocol._handle_timer':RuntimeWarning")

VERSIONS = ["1.0", "1.1", "2", "2-prior-knowledge", "3"]
SEEN = {"1.0": "1.0", "1.1": "1.1", "2": "2", "2-prior-knowledge": "2", "3": "3"}
MULTIPLEXED = ["2", "2-prior-knowledge", "3"]
MODERN = ["2", "3"]


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture
def secure(authority: Authority, tmp_path: Path) -> Iterator[VersionsTarget]:
    with VersionsTarget(tmp_path, authority.issue("server", "127.0.0.1", "localhost")) as running:
        yield running


@pytest.fixture
def clear(tmp_path: Path) -> Iterator[VersionsTarget]:
    with VersionsTarget(tmp_path) as running:
        yield running


@pytest.fixture
def trust(authority: Authority) -> dict[str, Any]:
    return {"ca": base64_of(authority.pem)}


@pytest.mark.option("httpVersion")
@pytest.mark.parametrize("version", VERSIONS)
def test_each_version_is_spoken(http: Driver, secure: VersionsTarget, trust: dict[str, Any], version: str) -> None:
    secure.answers["/a"] = respond(201, b"all of it", (b"x-given", b"yes"))
    outcome = ask(
        http, secure.url("/a?b=1"), trust | {"httpVersion": version}, "POST", data="payload", headers={"X-Own": "1"}
    )
    assert (outcome.kind, outcome.status_code, outcome.response) == (OutcomeKind.SUCCESS, 201, b"all of it")
    (seen,) = secure.seen
    assert (seen.version, seen.method, seen.path, seen.body) == (SEEN[version], "POST", "/a", b"payload")
    assert seen.header("x-own") == "1"
    assert seen.header("content-type") == "text/plain; charset=utf-8"
    assert seen.header("content-length") == "7"
    assert (seen.header("user-agent") or "").startswith("Tasks-Server/")


@pytest.mark.parametrize(
    ("version", "spoken"),
    [("0.9", "1.0"), ("1.0", "1.0"), ("1.1", "1.1"), ("2", "1.1"), ("2-prior-knowledge", "2"), ("3", "1.1")],
)
def test_versions_in_clear_text(http: Driver, clear: VersionsTarget, version: str, spoken: str) -> None:
    assert ask(http, clear.url(), {"httpVersion": version}).response == b"ok"
    assert [seen.version for seen in clear.seen] == [spoken]


def test_no_version_rides_on_the_connection_of_another(
    http: Driver, secure: VersionsTarget, trust: dict[str, Any]
) -> None:
    for version in [*VERSIONS, *reversed(VERSIONS)]:
        assert ask(http, secure.url(), trust | {"httpVersion": version}).response == b"ok"
    assert [seen.version for seen in secure.seen] == [SEEN[version] for version in [*VERSIONS, *reversed(VERSIONS)]]
    first, last = secure.connections[1:5], list(reversed(secure.connections[5:9]))
    assert first == last, "each is kept for its own version"
    assert len(set(first)) == 4


def test_versions_without_other_options_are_kept_apart_too(http: Driver, clear: VersionsTarget) -> None:
    for version in ("1.1", "2-prior-knowledge", "1.1", "2-prior-knowledge"):
        assert ask(http, clear.url(), {"httpVersion": version}).response == b"ok"
    assert [seen.version for seen in clear.seen] == ["1.1", "2", "1.1", "2"]
    assert clear.connections == [1, 2, 1, 2]


@pytest.mark.parametrize("version", MULTIPLEXED)
def test_calls_at_once_share_a_connection(
    http: Driver, secure: VersionsTarget, trust: dict[str, Any], version: str
) -> None:
    async def together(target: VersionsTarget, send: Send) -> None:
        await target.released.wait()
        await respond()(target, send)

    secure.answers["/"] = together
    calls = [asked(secure.url(), trust | {"httpVersion": version}) for _ in range(20)]
    http.client.send(calls)
    secure.wait(lambda target: len(target.seen) == 20)  # all of them are there before the first is answered
    secure.release()
    assert {done.outcome.response for done in http.wait([call.token for call in calls])} == {b"ok"}
    assert set(secure.connections) == {1}


@pytest.mark.parametrize("version", MODERN)
def test_redirects(http: Driver, secure: VersionsTarget, trust: dict[str, Any], version: str) -> None:
    secure.answers["/from"] = respond(307, b"", (b"location", b"/to"))
    config = trust | {"httpVersion": version}
    assert ask(http, secure.url("/from"), config, "POST", data="payload").response == b"ok"
    assert [(seen.version, seen.path, seen.body) for seen in secure.seen] == [
        (version, "/from", b"payload"), (version, "/to", b"payload"),
    ]  # fmt: skip
    secure.answers["/to"] = respond(307, b"", (b"location", b"/from"))
    endless = ask(http, secure.url("/from"), config | {"redirectAttempts": 3})
    assert (endless.kind, endless.error) == (OutcomeKind.CONNECTION, "more than 3 redirects")


@pytest.mark.parametrize("version", MODERN)
def test_timeouts(http: Driver, secure: VersionsTarget, trust: dict[str, Any], version: str) -> None:
    async def drip(target: VersionsTarget, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"a little", "more_body": True})
        await target.stopping.wait()

    secure.answers |= {"/never": hang, "/drip": drip}
    config = trust | {"httpVersion": version}
    for path in ("/never", "/drip"):
        waiting = asked(secure.url(path), config)
        waiting.timeout_ms = 300
        (outcome,) = http.run(waiting)
        assert (outcome.kind, outcome.status_code, outcome.response) == (OutcomeKind.TIMEOUT, 408, None)
    assert ask(http, secure.url("/ok"), config).response == b"ok"


@pytest.mark.parametrize("version", MODERN)
@pytest.mark.parametrize("announced", [True, False])
def test_of_a_large_answer_the_first_part_is_kept(
    http: Driver, secure: VersionsTarget, trust: dict[str, Any], version: str, announced: bool
) -> None:
    size = RESPONSE_MAX_BYTES + 1
    length = [(b"content-length", str(size).encode())] if announced else []
    secure.answers |= {"/large": respond(200, b"x" * size, *length), "/fits": respond(200, b"x" * RESPONSE_MAX_BYTES)}
    config = trust | {"httpVersion": version}
    for path, is_truncated in (("/large", True), ("/fits", False)):
        outcome = ask(http, secure.url(path), config)
        assert (outcome.kind, outcome.status_code) == (OutcomeKind.SUCCESS, 200)
        assert (outcome.response, outcome.response_truncated) == (b"x" * RESPONSE_MAX_BYTES, is_truncated)


@pytest.mark.parametrize("version", MODERN)
def test_headers_have_a_bound(http: Driver, secure: VersionsTarget, trust: dict[str, Any], version: str) -> None:
    many = [(f"x-padding-{number}".encode(), b"x" * 1_000) for number in range(400)]
    secure.answers["/"] = respond(200, b"ok", *many)
    outcome = ask(http, secure.url(), trust | {"httpVersion": version})
    assert (outcome.kind, outcome.status_code) == (OutcomeKind.CONNECTION, 0)
    assert ask(http, secure.url("/ok"), trust | {"httpVersion": version}).response == b"ok"


@pytest.mark.parametrize("version", MODERN)
def test_an_answer_that_breaks_off(http: Driver, secure: VersionsTarget, trust: dict[str, Any], version: str) -> None:
    async def half(_: VersionsTarget, send: Send) -> None:
        headers = [(b"content-length", b"100")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"half"})

    secure.answers["/half"] = half
    config = trust | {"httpVersion": version}
    waiting = asked(secure.url("/half"), config)
    waiting.timeout_ms = 3_000
    (outcome,) = http.run(waiting)
    assert outcome.kind in (OutcomeKind.CONNECTION, OutcomeKind.TIMEOUT)
    assert outcome.response is None
    assert ask(http, secure.url("/ok"), config).response == b"ok"


@pytest.mark.parametrize("version", MODERN)
def test_what_was_packed_without_being_asked_for_stays_packed(
    http: Driver, secure: VersionsTarget, trust: dict[str, Any], version: str
) -> None:
    bomb = gzip.compress(b"x" * 100 * RESPONSE_MAX_BYTES)
    large = gzip.compress(bytes(random.Random(1).randbytes(2 * RESPONSE_MAX_BYTES)))
    for body in (bomb, large):
        secure.answers["/bomb"] = respond(200, body, (b"content-encoding", b"gzip"))
        outcome = ask(http, secure.url("/bomb"), trust | {"httpVersion": version})
        assert (outcome.kind, outcome.response) == (OutcomeKind.SUCCESS, body[:RESPONSE_MAX_BYTES])
    assert secure.seen[0].header("accept-encoding") is None


@pytest.mark.parametrize(
    "garbage",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        bytes(range(256)),
        b"\0\0\0\x04\0\0\0\0\0" + b"\xff\xff\xff\x00\0\0\0\0\x01" + b"x" * 100,  # a frame of 16 MiB
        b"\0\0\0\x04\0\0\0\0\0" + b"\0\0\x05\x01\x05\0\0\0\x01" + b"\xff" * 5,  # headers that HPACK cannot read
        b"\0\0\0\x04\0\0\0\0\0" + b"\0\0\x02\x00\x01\0\0\0\x63ok",  # of a stream that nobody asked for
        b"",
    ],
    ids=["http 1", "bytes", "frame", "hpack", "stream", "nothing"],
)
def test_garbage_in_http_2(
    http: Driver, authority: Authority, tmp_path: Path, trust: dict[str, Any], garbage: bytes
) -> None:
    async def answer(connection: Connection, _request: Received) -> None:
        await connection.send(garbage)
        await connection.close()

    context = server_context(authority.issue("server", "127.0.0.1"), tmp_path)
    context.set_alpn_protocols(["h2"])
    with Target(tls=context, scripts={"*": answer}) as liar:  # the path of HTTP/2's first line
        outcome = ask(http, liar.url(), trust | {"httpVersion": "2"})
        assert (outcome.kind, outcome.status_code, outcome.response) == (OutcomeKind.CONNECTION, 0, None)
        assert f"127.0.0.1:{liar.port}" in (outcome.error or "")
        assert liar.received, "it was HTTP/2 that was spoken"


def test_http_3_falls_back_where_nobody_speaks_it(
    http: Driver, authority: Authority, tmp_path: Path, trust: dict[str, Any]
) -> None:
    with VersionsTarget(tmp_path, authority.issue("server", "127.0.0.1"), quic=False) as target:
        assert ask(http, target.url(), trust | {"httpVersion": "3"}).response == b"ok"
        assert [seen.version for seen in target.seen] == ["2"]


def test_a_certificate_is_checked_over_quic(http: Driver, authority: Authority, tmp_path: Path) -> None:
    with VersionsTarget(tmp_path, authority.issue("server", "127.0.0.1"), tcp=False) as target:
        outcome = ask(http, target.url(), {"httpVersion": "3", "ca": base64_of(Authority("another").pem)})
        assert outcome.kind is OutcomeKind.CONNECTION
        assert target.seen == []
        assert ask(http, target.url(), {"httpVersion": "3", "insecure": True}).response == b"ok"
        assert [seen.version for seen in target.seen] == ["3"]


def test_a_refused_address_gets_no_datagram(authority: Authority, tmp_path: Path, trust: dict[str, Any]) -> None:
    """Were it not for the policy, this target would answer: the second driver shows it."""
    config = trust | {"httpVersion": "3"}
    with VersionsTarget(tmp_path, authority.issue("server", "127.0.0.1", "shop.test"), tcp=False) as target:
        resolve = [{"host": "shop.test", "port": target.port, "address": ["127.0.0.1"]}]
        named = config | {"resolve": resolve}
        with Driver(egress=Egress.parse("public", "", "")) as http:
            # As a task that was stored under another policy comes: registration would refuse the address.
            outcome = ask(http, target.url(host="shop.test"), named)
        assert (outcome.kind, outcome.status_code) == (OutcomeKind.BLOCKED, 403)
        assert "shop.test is a loopback address" in (outcome.error or "")
        assert target.seen == []
        with Driver(egress=Egress.parse("public", "127.0.0.1", "")) as http:
            assert ask(http, target.url(host="shop.test"), named).response == b"ok"
        assert [seen.version for seen in target.seen] == ["3"]


def test_a_redirect_over_quic_is_judged(target: Target, secure: VersionsTarget, trust: dict[str, Any]) -> None:
    secure.answers["/"] = respond(302, b"", (b"location", f"http://127.0.0.2:{target.port}/".encode()))
    with Driver(egress=Egress.parse("public", "127.0.0.1", "")) as http:
        outcome = ask(http, secure.url(), trust | {"httpVersion": "3"})
    assert (outcome.kind, outcome.status_code) == (OutcomeKind.BLOCKED, 403)
    assert [seen.version for seen in secure.seen] == ["3"]
    assert target.opened == 0
