"""Which calls may use each other's connections: those of one identity do, those of two never. The target counts."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.engine.http.asking import ask
from tests.engine.http.authority import Authority, base64_of, server_context
from tests.engine.http.driver import Driver
from tests.engine.http.proxies import HttpProxy
from tests.engine.http.target import Target
from tests.engine.http.versions import VersionsTarget

pytestmark = pytest.mark.filterwarnings("ignore:coroutine 'QuicProtocol._handle_timer':RuntimeWarning")

AUTHORITY, OTHER, CLIENTS = Authority(), Authority("another"), Authority("authority of clients")
FIRST, SECOND = CLIENTS.issue("first"), CLIENTS.issue("second")
CA = base64_of(AUTHORITY.pem)
SERVER = AUTHORITY.issue("server", "127.0.0.1", "shop.test")

# Two configurations that differ in one thing, and that both reach the target.
APART: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "ca": ({"ca": CA}, {"ca": base64_of(AUTHORITY.pem + OTHER.pem)}),
    "insecure": ({"ca": CA}, {"ca": CA, "insecure": True}),
    "insecure or an authority": ({"insecure": True}, {"ca": CA}),
    "cert": (
        {"ca": CA, "cert": {"value": base64_of(FIRST.key() + FIRST.pem)}},
        {"ca": CA, "cert": {"value": base64_of(SECOND.key() + SECOND.pem)}},
    ),
    "cert or none": ({"ca": CA, "cert": {"value": base64_of(FIRST.key() + FIRST.pem)}}, {"ca": CA}),
    "tlsMaxVersion": ({"ca": CA, "tlsMaxVersion": "1.3"}, {"ca": CA}),
    "sessionId": ({"ca": CA, "sessionId": False}, {"ca": CA}),
    "ipVersion": ({"ca": CA, "ipVersion": 4}, {"ca": CA}),
}
VERSIONS = ["1.1", "2", "3"]


@pytest.fixture
def target(tmp_path: Path) -> Iterator[VersionsTarget]:
    with VersionsTarget(tmp_path, SERVER) as running:
        yield running


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("apart", APART)
def test_connections_are_kept_apart_by_one_thing_alone(
    http: Driver, target: VersionsTarget, apart: str, version: str
) -> None:
    first, second = ({"httpVersion": version} | config for config in APART[apart])
    for config in (first, second, first, second, second, first):
        assert ask(http, target.url(), config).response == b"ok"
    assert target.connections == [1, 2, 1, 2, 2, 1]
    assert {seen.version for seen in target.seen} == {version}


def test_the_key_of_a_certificate_counts(http: Driver, tmp_path: Path) -> None:
    """A certificate is no secret: without its key nobody gets the connection that was made with both."""
    owner = {"ca": CA, "cert": {"value": base64_of(FIRST.pem)}, "key": base64_of(FIRST.key())}
    thief = owner | {"key": base64_of(SECOND.key())}
    with Target(tls=server_context(SERVER, tmp_path, CLIENTS.pem)) as target:
        assert [ask(http, target.url(), config).response for config in (owner, thief, owner)] == [b"ok", None, b"ok"]
        assert [received.connection for received in target.received] == [1, 1]


def login(username: str, password: str) -> dict[str, Any]:
    return {"proxyAuthBasic": {"username": username, "password": password}}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (login("joe", "a"), login("ann", "a")),
        (login("joe", "a"), login("joe", "b")),
        (login("joe", "a"), {}),
        ({"proxyHeaders": {"X-Key": "a"}}, {"proxyHeaders": {"X-Key": "b"}}),
    ],
    ids=["users", "passwords", "user or nobody", "headers"],
)
def test_tunnels_are_kept_apart_by_who_asked_for_them(
    http: Driver, target: VersionsTarget, first: dict[str, Any], second: dict[str, Any]
) -> None:
    with HttpProxy() as proxy:
        way = {"ca": CA, "proxy": {"protocol": "http", "host": "127.0.0.1", "port": proxy.port}}
        for config in (first, second, first, second):
            assert ask(http, target.url(), way | config).response == b"ok"
    assert target.connections == [1, 2, 1, 2]


@pytest.mark.parametrize("version", VERSIONS)
def test_credentials_of_a_request_travel_with_it_on_one_connection(
    http: Driver, target: VersionsTarget, version: str
) -> None:
    config = {"ca": CA, "httpVersion": version}
    people = [{"username": name, "password": "secret"} for name in ("joe", "ann", "joe")]
    for one in people:
        assert ask(http, target.url(), config, authBasic=one).response == b"ok"
    assert ask(http, target.url(), config).response == b"ok"
    assert target.connections == [1, 1, 1, 1]
    joe, ann, again, nobody = (seen.header("authorization") for seen in target.seen)
    assert joe == again
    assert joe != ann
    assert nobody is None
