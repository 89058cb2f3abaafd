"""Options of authentication, cookies, redirects, connections and names, seen at a target."""

import base64
import hashlib
import hmac
import re
import time
from pathlib import Path
from typing import Any

import pytest

from tasks_server.domain.attempt import OutcomeKind
from tasks_server.domain.errors import InvalidRequest
from tests.engine.http.asking import ask
from tests.engine.http.driver import Driver
from tests.engine.http.target import DEADLINE_SECONDS, Connection, Received, Target, answer, redirect

JOE = {"username": "joe", "password": "pa:ss wörd"}
JOES_LINE = "Basic " + base64.b64encode("joe:pa:ss wörd".encode()).decode()


def md5(*parts: str) -> str:
    return hashlib.md5(":".join(parts).encode()).hexdigest()


def in_base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.option("authBasic")
def test_basic_authentication_stays_with_the_target(http: Driver, target: Target) -> None:
    target.scripts["/away"] = redirect(307, target.url("/there", host="localhost"))
    assert ask(http, target.url("/away"), authBasic=JOE).response == b"ok"
    assert ask(http, target.url("/plain")).response == b"ok"
    seen = [(received.path, received.header("Authorization")) for received in target.received]
    assert seen == [("/away", JOES_LINE), ("/there", None), ("/plain", None)]


@pytest.mark.option("locationTrusted")
def test_trusted_redirects_get_the_credentials(http: Driver, target: Target) -> None:
    target.scripts["/away"] = redirect(307, target.url("/there", host="localhost"))
    assert ask(http, target.url("/away"), {"locationTrusted": JOE}).response == b"ok"
    assert [received.header("Authorization") for received in target.received] == [JOES_LINE, JOES_LINE]


@pytest.mark.option("authDigest")
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_digest_authentication(http: Driver, target: Target, method: str) -> None:
    async def challenge(connection: Connection, request: Received) -> None:
        given = dict(re.findall(r'(\w+)="?([^",]*)"?', request.header("Authorization") or ""))
        if not given:
            line = 'Digest realm="shop", nonce="n1", qop="auth", algorithm=MD5'
            await connection.send(answer(401, b"", WWW_Authenticate=line))
            return
        expected = md5(
            md5("joe", "shop", "secret"), "n1", given["nc"], given["cnonce"], "auth", md5(request.method, "/")
        )
        await connection.send(answer(200 if given["response"] == expected else 403))

    target.scripts["/"] = challenge
    data = {"data": "payload"} if method == "POST" else {}
    outcome = ask(http, target.url(), None, method, authDigest={"username": "joe", "password": "secret"}, **data)
    assert outcome.status_code == 200
    assert target.last.body == (b"payload" if data else b"")
    refused = ask(http, target.url(), None, method, authDigest={"username": "joe", "password": "wrong"}, **data)
    assert refused.status_code == 403


@pytest.mark.option("authAwsSigv4")
def test_a_signature_that_amazon_would_take(http: Driver, target: Target) -> None:
    given = {
        **{"provider1": "aws", "provider2": "amz", "region": "eu-west-1", "service": "execute-api"},
        **{"key": "AKIDEXAMPLE", "secret": "wJalrXUtnFEMI/K7MDENG"},
    }
    assert ask(http, target.url("/orders"), None, "POST", data="payload", authAwsSigv4=given).status_code == 200
    sent = target.last
    found = re.fullmatch(
        r"AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/(\d{8})/eu-west-1/execute-api/aws4_request, "
        r"SignedHeaders=([a-z0-9;-]+), Signature=([0-9a-f]{64})",
        sent.header("Authorization") or "",
    )
    assert found
    day, names, signature = found.groups()
    digest = hashlib.sha256(sent.body).hexdigest()
    headers = "".join(f"{name}:{(sent.header(name) or '').strip()}\n" for name in names.split(";"))
    canonical = "\n".join(["POST", "/orders", "", headers, names, digest])
    scope = f"{day}/eu-west-1/execute-api/aws4_request"
    text = "\n".join(
        ["AWS4-HMAC-SHA256", sent.header("X-Amz-Date") or "", scope, hashlib.sha256(canonical.encode()).hexdigest()]
    )
    key = b"AWS4" + given["secret"].encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    assert hmac.digest(key, text.encode(), "sha256").hex() == signature


@pytest.mark.option("cookie")
def test_cookies_by_name(http: Driver, target: Target) -> None:
    target.scripts |= {
        "/set": b"HTTP/1.1 302 Found\r\nSet-Cookie: c=3\r\nLocation: /next\r\nContent-Length: 0\r\n\r\n",
        "/away": redirect(302, target.url("/there", host="localhost")),
    }
    cookie = [{"name": "a", "value": "1"}, {"name": "b", "value": "two words=2"}]
    for path in ("/set", "/away"):
        assert ask(http, target.url(path), cookie=cookie).response == b"ok"
    assert ask(http, target.url("/plain")).response == b"ok"
    seen = {received.path: received.header("Cookie") for received in target.received}
    assert seen["/set"] == seen["/away"] == "a=1; b=two words=2"
    assert sorted((seen["/next"] or "").split("; ")) == ["a=1", "b=two words=2", "c=3"]
    assert seen["/there"] is seen["/plain"] is None


def test_cookies_of_a_file(http: Driver, target: Target) -> None:
    lines = [
        "# Netscape HTTP Cookie File",
        "",
        "127.0.0.1\tFALSE\t/\tFALSE\t0\tsession\tabc",
        "#HttpOnly_127.0.0.1\tFALSE\t/\tFALSE\t0\thidden\tdef",
        "127.0.0.1\tFALSE\t/other\tFALSE\t0\telsewhere\tx",
        "other.test\tFALSE\t/\tFALSE\t0\tforeign\tx",
    ]
    assert ask(http, target.url("/a"), cookie=in_base64("\n".join(lines))).response == b"ok"
    assert sorted((target.last.header("Cookie") or "").split("; ")) == ["hidden=def", "session=abc"]
    assert ask(http, target.url("/a")).response == b"ok"
    assert target.last.header("Cookie") is None


@pytest.mark.option("refererUrl")
def test_the_referer(http: Driver, target: Target) -> None:
    target.scripts["/from"] = redirect(302, "/to")
    mine = "https://shop.test/page"
    assert ask(http, target.url("/from"), {"refererUrl": mine}, transport="curl").response == b"ok"
    assert ask(http, target.url("/from"), {"refererUrl": mine}).response == b"ok"
    for word in ("AUTO", "auto", "Auto"):
        assert ask(http, target.url("/from"), {"refererUrl": word}, transport="curl").response == b"ok"
    assert ask(http, target.url("/to")).response == b"ok"
    assert [received.header("Referer") for received in target.received] == [
        *(mine, mine), *(mine, mine), *(None, target.url("/from")) * 3, None,
    ]  # fmt: skip


@pytest.mark.option("keepAliveDuration")
def test_no_keep_alive_closes_the_connection(http: Driver, target: Target) -> None:
    for duration in (None, 0, 60):
        assert ask(http, target.url(), {} if duration is None else {"keepAliveDuration": duration}).response == b"ok"
    assert [received.connection for received in target.received] == [1, 2, 1]
    target.wait(lambda seen: seen.closed == 1)


def keep_alive_timers(port: int) -> list[float]:
    """How many seconds are left of the timers of the connections to a port, as the system says."""
    rows = [line.split() for line in Path("/proc/self/net/tcp").read_text().splitlines()[1:]]
    timers = [row[5].split(":") for row in rows if row[2].endswith(f":{port:04X}") and row[3] == "01"]
    return [int(left, 16) / 100 for kind, left in timers if kind == "02"]


def test_keep_alive_is_what_tcp_asks_for(http: Driver, target: Target) -> None:
    assert ask(http, target.url(), {"keepAliveDuration": 5_000}).response == b"ok"
    until = time.monotonic() + DEADLINE_SECONDS
    while not (timers := keep_alive_timers(target.port)):  # none while it is set anew
        assert time.monotonic() < until, "there is no timer of keep-alive"
        time.sleep(0.01)
    assert 4_000 < timers[0] <= 5_000


@pytest.mark.option("resolve")
def test_names_have_the_addresses_that_the_task_says(http: Driver, target: Target) -> None:
    config = {"resolve": [{"host": "shop.test", "port": target.port, "address": ["127.0.0.1"]}]}
    url = f"http://shop.test:{target.port}/"
    assert ask(http, url, config).response == b"ok"
    assert target.last.header("Host") == f"shop.test:{target.port}"
    # Neither the address nor the connection is there for others.
    assert ask(http, url).status_code == 0
    elsewhere = {"resolve": [{"host": "shop.test", "port": target.port, "address": ["127.0.0.2"]}]}
    assert ask(http, url, elsewhere).status_code == 0
    assert ask(http, url, config).response == b"ok"
    assert [received.connection for received in target.received] == [1, 1]
    several = {"resolve": [{"host": "shop.test", "port": target.port, "address": ["127.0.0.3", "::1", "127.0.0.1"]}]}
    assert ask(http, url, several).response == b"ok"


@pytest.mark.option("resolve")
def test_one_address_for_every_name_at_a_port(http: Driver, target: Target) -> None:
    """As curl has it: `*` stands behind the entries that name a host."""

    def anywhere(address: str, *others: dict[str, Any]) -> dict[str, Any]:
        return {"resolve": [{"host": "*", "port": target.port, "address": [address]}, *others]}

    for host in ("shop.test", "Other.test", "203.0.113.9"):
        assert ask(http, target.url("/a", host=host), anywhere("127.0.0.1")).response == b"ok"
        assert target.last.header("Host") == f"{host}:{target.port}"
    target.scripts["/from"] = redirect(302, target.url("/to", host="elsewhere.test"))
    assert ask(http, target.url("/from", host="shop.test"), anywhere("127.0.0.1")).response == b"ok"
    assert target.last.header("Host") == f"elsewhere.test:{target.port}"
    named = {"host": "shop.test", "port": target.port, "address": ["127.0.0.1"]}
    assert ask(http, target.url(host="shop.test"), anywhere("127.0.0.2", named)).response == b"ok"
    assert ask(http, target.url(host="other.test"), anywhere("127.0.0.2", named)).kind is OutcomeKind.CONNECTION
    for host in ("*.test", "**", "a*"):
        with pytest.raises(InvalidRequest, match=r"is not a host name, nor \*"):
            ask(http, target.url(), {"resolve": [{"host": host, "port": 80, "address": ["127.0.0.1"]}]})


@pytest.mark.option("ipVersion")
def test_one_version_of_ip(http: Driver, target: Target) -> None:
    resolve = [{"host": "shop.test", "port": target.port, "address": ["127.0.0.1"]}]
    url = f"http://shop.test:{target.port}/"
    assert ask(http, url, {"resolve": resolve, "ipVersion": 4}).response == b"ok"
    assert ask(http, url, {"resolve": resolve, "ipVersion": 6}).kind is OutcomeKind.CONNECTION
    assert ask(http, target.url(), {"ipVersion": 4}).response == b"ok"
    with pytest.raises(InvalidRequest, match="ipVersion"):
        ask(http, target.url(), {"ipVersion": 6})
    assert len(target.received) == 2


@pytest.mark.option("proto", "protoRedirect")
def test_only_the_schemes_that_the_task_allows(http: Driver, target: Target) -> None:
    target.scripts["/secure"] = redirect(302, "https://127.0.0.1:1/")
    target.scripts["/same"] = redirect(302, "/plain")
    assert ask(http, target.url("/same"), {"proto": "http", "protoRedirect": "http"}).response == b"ok"
    refused = ask(http, target.url("/secure"), {"proto": "http", "protoRedirect": "http"})
    assert refused.kind is OutcomeKind.CONNECTION
    assert (refused.error or "").startswith("a redirect could not be followed")
    assert ask(http, target.url("/same"), {"protoRedirect": "https"}).kind is OutcomeKind.CONNECTION
    assert [received.path for received in target.received] == ["/same", "/plain", "/secure", "/same"]


@pytest.mark.option("haProxyProtocol", "haProxyClientIp")
@pytest.mark.parametrize(("client", "words"), [(None, "TCP4 127.0.0.1"), ("203.0.113.9", "TCP4 203.0.113.9"),
                                                ("2001:db8::1", "TCP6 2001:db8::1")])  # fmt: skip
def test_the_line_of_the_haproxy_protocol(http: Driver, target: Target, client: str | None, words: str) -> None:
    config: dict[str, Any] = {"haProxyProtocol": True}
    if client:
        config["haProxyClientIp"] = client
    assert ask(http, target.url("/plain")).response == b"ok"
    assert ask(http, target.url("/behind"), config).response == b"ok"
    assert ask(http, target.url("/plain")).response == b"ok"
    assert target.received[1].line.startswith(f"PROXY {words} ")
    assert b"\r\nGET /behind HTTP/1.1\r\n" in target.received[1].head
    assert [received.connection for received in target.received] == [1, 2, 1]
