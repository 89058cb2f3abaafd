"""What is fetch's own, seen at targets of several origins: credentials, mode, the Referer by its policy."""

import re
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tasks_server.domain.attempt import OutcomeKind
from tasks_server.domain.egress import Egress
from tests.engine.http.asking import ask
from tests.engine.http.authority import Authority, Identity, base64_of, server_context
from tests.engine.http.driver import Driver
from tests.engine.http.proxies import HttpProxy
from tests.engine.http.target import Connection, Received, Target, answer, redirect

JOE = {"username": "joe", "password": "secret"}
JOES_LINE, ANNS_LINE = "Basic am9lOnNlY3JldA==", "Basic YW5uOnBhOnNz"


@pytest.fixture
def other() -> Iterator[Target]:
    """A target on another port of the same host: another origin, to which cookies belong all the same."""
    with Target() as running:
        yield running


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture
def server(authority: Authority) -> Identity:
    return authority.issue("server", "127.0.0.1", "localhost", "shop.test")


@pytest.fixture
def secure(server: Identity, tmp_path: Path) -> Iterator[Target]:
    with Target(tls=server_context(server, tmp_path)) as running:
        yield running


def round_trip(target: Target, other: Target, status: int = 307) -> str:
    """A URL that leads from `target` to `other` and back; every answer sets a cookie."""

    def leads(to: str, name: str) -> bytes:
        return answer(status, b"", Location=to, Set_Cookie=f"{name}=1")

    target.scripts |= {"/1": leads("/2", "one"), "/2": leads(other.url("/3"), "two"), "/5": leads("/6", "five")}
    other.scripts |= {"/3": leads("/4", "three"), "/4": leads(target.url("/5"), "four")}
    return target.url("/1")


def told(name: str, *targets: Target) -> dict[str, str | None]:
    """A header of every request, by path."""
    return {received.path: received.header(name) for target in targets for received in target.received}


def cookies(*targets: Target) -> dict[str, str]:
    """The names of the cookies of every request, by path."""
    lines = told("Cookie", *targets)
    return {path: " ".join(sorted(re.findall(r"(?:^|; )(\w+)=", line or ""))) for path, line in lines.items()}


GIVEN: dict[str, Any] = {"authBasic": JOE, "cookie": [{"name": "given", "value": "two words=2"}]}


@pytest.mark.option("credentials")
@pytest.mark.parametrize(
    ("credentials", "named", "known"),
    [
        (None, {"/1": "given", "/2": "given one", "/3": "one two", "/4": "one three two"}, "1256"),
        ("omit", dict.fromkeys(("/1", "/2", "/3", "/4", "/5", "/6"), ""), ""),
        ("same-origin", {"/1": "given", "/2": "given one", "/3": "", "/4": "", "/5": "", "/6": ""}, "12"),
        ("include", {"/1": "given", "/2": "given one", "/3": "given one two", "/4": "given one three two",
                     "/5": "four given one three two", "/6": "five four given one three two"}, "1256"),
    ],
)  # fmt: skip
def test_where_cookies_and_credentials_go(
    http: Driver, target: Target, other: Target, credentials: str | None, named: dict[str, str], known: str
) -> None:
    config = {"credentials": credentials} if credentials else {}
    assert ask(http, round_trip(target, other), config, **GIVEN).response == b"ok"
    assert cookies(target, other) | named == cookies(target, other)
    authorized = {path for path, line in told("Authorization", target, other).items() if line is not None}
    assert authorized == {f"/{step}" for step in known}
    assert set(told("Authorization", target, other).values()) <= {JOES_LINE, None}


def test_cookies_are_as_they_were_given(http: Driver, target: Target) -> None:
    for credentials in ("same-origin", "include"):
        assert ask(http, target.url(), {"credentials": credentials}, **GIVEN).response == b"ok"
        assert target.last.header("Cookie") == "given=two words=2"


def test_cookies_that_must_be_secure(http: Driver, secure: Target, authority: Authority) -> None:
    cookie = [{"name": name, "value": "1"} for name in ("__Host-a", "__Secure-b", "c")]
    config = {"ca": base64_of(authority.pem), "credentials": "include"}
    for host in ("127.0.0.1", "LocalHost"):
        assert ask(http, secure.url(host=host), config, cookie=cookie).response == b"ok"
        assert sorted((secure.last.header("Cookie") or "").split("; ")) == ["__Host-a=1", "__Secure-b=1", "c=1"]


def test_cookies_of_targets_count_without_any_of_ours(http: Driver, target: Target, other: Target) -> None:
    assert ask(http, round_trip(target, other), {"credentials": "same-origin"}).response == b"ok"
    assert cookies(target, other) == {"/1": "", "/2": "one", "/3": "", "/4": "", "/5": "", "/6": ""}
    assert ask(http, target.url("/next"), {"credentials": "include"}).response == b"ok"
    assert target.last.header("Cookie") is None


def test_a_cookie_goes_to_no_other_host(http: Driver, target: Target) -> None:
    target.scripts["/away"] = redirect(302, target.url("/there", host="localhost"))
    assert ask(http, target.url("/away"), {"credentials": "include"}, **GIVEN).response == b"ok"
    assert cookies(target) == {"/away": "given", "/there": ""}
    assert told("Authorization", target) == {"/away": JOES_LINE, "/there": None}


@pytest.mark.parametrize(("credentials", "seen"), [("omit", ""), ("same-origin", "12"), ("include", "12")])
def test_an_authorization_header_does_not_come_back(
    http: Driver, target: Target, other: Target, credentials: str, seen: str
) -> None:
    headers = {"Authorization": "Bearer x", "X-Own": "1"}
    assert ask(http, round_trip(target, other), {"credentials": credentials}, headers=headers).response == b"ok"
    known = {path for path, line in told("Authorization", target, other).items() if line == "Bearer x"}
    assert known == {f"/{step}" for step in seen}
    assert set(told("X-Own", target, other).values()) == {"1"}


def test_trusted_redirects_still_get_the_credentials(http: Driver, target: Target, other: Target) -> None:
    url = round_trip(target, other)
    assert ask(http, url, {"credentials": "include", "locationTrusted": JOE}).response == b"ok"
    assert set(told("Authorization", target, other).values()) == {JOES_LINE}


@pytest.mark.parametrize(("credentials", "status"), [("include", 200), ("same-origin", 401), ("omit", 401)])
def test_digest_authentication_follows_the_same_rules(
    http: Driver, target: Target, other: Target, credentials: str, status: int
) -> None:
    async def challenge(connection: Connection, request: Received) -> None:
        if request.header("Authorization") is None:
            challenge = 'Digest realm="shop", nonce="n1", qop="auth", algorithm=MD5'
            await connection.send(answer(401, b"", WWW_Authenticate=challenge))
        elif request.path == "/first":
            await connection.send(redirect(302, other.url("/away")))
        else:
            await connection.send(answer())

    target.scripts |= {"/first": challenge, "/last": challenge}
    other.scripts["/away"] = redirect(302, target.url("/last"))
    outcome = ask(http, target.url("/first"), {"credentials": credentials}, authDigest=JOE)
    assert outcome.status_code == status
    assert told("Authorization", other) == ({} if credentials == "omit" else {"/away": None})
    lines = [line for line in told("Authorization", target).values() if line is not None]
    assert all(line.startswith('Digest username="joe"') for line in lines)
    assert len(lines) == {"include": 2, "same-origin": 1, "omit": 0}[credentials]


@pytest.mark.parametrize(
    ("credentials", "shown"),
    [(None, ["client", "client"]), ("omit", [""]), ("same-origin", ["client", ""]), ("include", ["client", "client"])],
)
def test_the_client_certificate_is_a_credential(
    http: Driver, authority: Authority, server: Identity, other: Target, tmp_path: Path,
    credentials: str | None, shown: list[str],
) -> None:  # fmt: skip
    names: list[str] = []

    async def note(connection: Connection, request: Received) -> None:
        subject = (connection.writer.get_extra_info("peercert") or {}).get("subject", ())
        names.append("".join(value for part in subject for key, value in part if key == "commonName"))
        await connection.send(redirect(302, other.url("/away")) if request.path == "/first" else answer())

    context = server_context(server, tmp_path, authority.pem)
    context.verify_mode = ssl.CERT_OPTIONAL
    client = authority.issue("client")
    config = {
        "ca": base64_of(authority.pem),
        "cert": {"value": base64_of(client.pem)},
        "key": base64_of(client.key()),
        **({"credentials": credentials} if credentials else {}),
    }
    with Target(tls=context, scripts={"/first": note, "/last": note}) as mutual:
        other.scripts["/away"] = redirect(302, mutual.url("/last"))
        assert ask(http, mutual.url("/first"), config).response == b"ok"
        assert names == (shown if len(shown) == 2 else shown * 2)
        assert ask(http, mutual.url("/last"), {**config, "credentials": "include"}).response == b"ok"
        assert names[-1] == "client", "who shows nothing leaves nothing for others, and the other way round"
        assert ask(http, mutual.url("/last"), {**config, "credentials": "omit"}).response == b"ok"
        assert names[-1] == ""


def test_credentials_for_the_proxy_stay(http: Driver, target: Target) -> None:
    with HttpProxy() as proxy:
        proxy.login = JOES_LINE
        config = {
            "credentials": "omit",
            "proxy": {"protocol": "http", "host": "127.0.0.1", "port": proxy.port},
            "proxyAuthBasic": JOE,
        }
        target.scripts["/from"] = answer(302, Location="/to")
        assert ask(http, target.url("/from"), config, authBasic=JOE).response == b"ok"
        assert told("Proxy-Authorization", proxy) == dict.fromkeys((target.url("/from"), target.url("/to")), JOES_LINE)
    assert told("Authorization", target) == {"/from": None, "/to": None}


@pytest.mark.option("mode")
@pytest.mark.parametrize("status", [301, 307])
def test_same_origin_goes_nowhere_else(http: Driver, target: Target, other: Target, status: int) -> None:
    target.scripts |= {
        "/home": redirect(status, "/here"),
        "/port": redirect(status, other.url("/secret?x=1")),
        "/host": redirect(status, target.url("/secret", host="localhost")),
        "/scheme": redirect(status, f"https://127.0.0.1:{target.port}/secret"),
    }
    assert ask(http, target.url("/home"), {"mode": "same-origin"}).response == b"ok"
    places = {
        "/port": f"127.0.0.1:{other.port}",
        "/host": f"localhost:{target.port}",
        "/scheme": f"127.0.0.1:{target.port}",
    }
    for path, place in places.items():
        outcome = ask(http, target.url(path), {"mode": "same-origin"})
        assert (outcome.kind, outcome.status_code) == (OutcomeKind.CONNECTION, 0)
        why = f"it leads to another origin, {place}, which mode same-origin forbids"
        assert outcome.error == f"a redirect could not be followed: {why}"
    assert ask(http, target.url("/port"), {"mode": "same-origin", "location": False}).status_code == status
    assert (other.received, other.opened) == ([], 0)
    assert len(target.received) == 6


@pytest.mark.parametrize("mode", [None, "cors", "no-cors", "same-origin"])
def test_targets_are_told_the_mode_unless_others_could_read_it(http: Driver, target: Target, mode: str | None) -> None:
    config: dict[str, Any] = {"mode": mode} if mode else {"credentials": "include"}
    resolve = [{"host": "shop.test", "port": target.port, "address": ["127.0.0.1"]}]
    target.scripts["/"] = redirect(302, "/next")
    assert ask(http, target.url(), config).response == b"ok"
    assert told("Sec-Fetch-Mode", target) == {"/": mode, "/next": mode}
    target.received.clear()
    assert ask(http, f"http://shop.test:{target.port}/", {**config, "resolve": resolve}).response == b"ok"
    assert told("Sec-Fetch-Mode", target) == {"/": None, "/next": None}


@pytest.mark.parametrize(
    ("config", "told_at_home", "told_elsewhere"),
    [
        ({"mode": "cors"}, ANNS_LINE, "refused"),
        ({"mode": "no-cors"}, ANNS_LINE, ANNS_LINE),
        ({"mode": "no-cors", "credentials": "same-origin"}, ANNS_LINE, None),
        ({"credentials": "include"}, ANNS_LINE, ANNS_LINE),
        ({"credentials": "omit"}, None, None),
    ],
)
def test_credentials_in_the_url_of_a_redirect(
    http: Driver, target: Target, other: Target, config: dict[str, Any], told_at_home: str, told_elsewhere: str
) -> None:
    target.scripts |= {
        "/home": redirect(302, target.url("/in").replace("//", "//ann:pa%3Ass@")),
        "/in": redirect(302, "/next"),
        "/away": redirect(302, other.url("/there").replace("//", "//ann:pa%3Ass@")),
    }
    assert ask(http, target.url("/home"), config).response == b"ok"
    assert told("Authorization", target) == {"/home": None, "/in": told_at_home, "/next": None}
    outcome = ask(http, target.url("/away"), config)
    if told_elsewhere == "refused":
        assert (outcome.kind, outcome.status_code) == (OutcomeKind.CONNECTION, 0)
        assert "holds credentials, which mode cors forbids" in (outcome.error or "")
        assert "pa" not in (outcome.error or "").replace("page", "").split("credentials")[0]
        assert other.received == []
    else:
        assert told("Authorization", other) == {"/there": told_elsewhere}
        assert other.last.line == "GET /there HTTP/1.1"


PAGE, PAGES_ORIGIN = "https://page.test/a?b=1", "https://page.test/"


@pytest.mark.option("referrerPolicy")
@pytest.mark.parametrize(
    ("policy", "seen"),
    [
        # Whence to whence: from a page to another origin, to this machine; then on by http, to a host elsewhere.
        ("", (PAGES_ORIGIN, PAGES_ORIGIN, None)),
        ("no-referrer", (None, None, None)),
        ("no-referrer-when-downgrade", (PAGE, PAGE, None)),
        ("same-origin", (None, None, None)),
        ("origin", (PAGES_ORIGIN, PAGES_ORIGIN, PAGES_ORIGIN)),
        ("strict-origin", (PAGES_ORIGIN, PAGES_ORIGIN, None)),
        ("origin-when-cross-origin", (PAGES_ORIGIN, PAGES_ORIGIN, PAGES_ORIGIN)),
        ("strict-origin-when-cross-origin", (PAGES_ORIGIN, PAGES_ORIGIN, None)),
        ("unsafe-url", (PAGE, PAGE, PAGE)),
    ],
)
def test_how_much_of_the_page_is_told(
    http: Driver, target: Target, secure: Target, authority: Authority, policy: str, seen: tuple[str | None, ...]
) -> None:
    secure.scripts["/1"] = redirect(302, target.url("/2"))
    target.scripts["/2"] = redirect(302, f"http://shop.test:{target.port}/3")
    config = {
        "ca": base64_of(authority.pem),
        "resolve": [{"host": "shop.test", "port": target.port, "address": ["127.0.0.1"]}],
        "refererUrl": f"{PAGE}#part",
        "referrerPolicy": policy,
    }
    assert ask(http, secure.url("/1"), config).response == b"ok"
    assert told("Referer", secure, target) == dict(zip(("/1", "/2", "/3"), seen, strict=True))


@pytest.mark.parametrize(
    ("policy", "tells"),
    [("", "wo"), ("no-referrer", "--"), ("unsafe-url", "ww"), ("origin", "oo"), ("same-origin", "w-")],
)
def test_without_a_page_the_url_that_redirected_is_told(
    http: Driver, target: Target, other: Target, policy: str, tells: str
) -> None:
    target.scripts |= {"/1": redirect(302, "/2#part"), "/2": redirect(302, other.url("/3"))}
    assert ask(http, target.url("/1?q=1#part"), {"referrerPolicy": policy}).response == b"ok"

    def said(letter: str, whole: str) -> str | None:
        return {"w": whole, "o": target.url(), "-": None}[letter]

    assert told("Referer", target, other) == {
        "/1?q=1": None, "/2": said(tells[0], target.url("/1?q=1")), "/3": said(tells[1], target.url("/2")),
    }  # fmt: skip


def test_a_redirect_may_bring_another_policy(http: Driver, target: Target, other: Target) -> None:
    def leads(to: str, policy: str) -> bytes:
        return answer(302, b"", Location=to, Referrer_Policy=policy)

    target.scripts |= {"/1": leads("/2", "no-referrer, unknown, unsafe-url"), "/2": leads(other.url("/3"), "")}
    other.scripts["/3"] = leads("/4", "No-Referrer")
    assert ask(http, target.url("/1"), {"refererUrl": target.url("/p"), "referrerPolicy": "origin"}).response == b"ok"
    # What the first request was not told, the next cannot tell.
    assert told("Referer", target, other) == {"/1": target.url(), "/2": target.url(), "/3": target.url(), "/4": None}
    other.received.clear(), target.received.clear()
    assert ask(http, target.url("/1"), {"referrerPolicy": "origin"}).response == b"ok"
    assert told("Referer", target, other) == {"/1": None, "/2": target.url("/1"), "/3": target.url("/2"), "/4": None}
    # Without a policy of the task, nobody's counts.
    other.received.clear(), target.received.clear()
    assert ask(http, target.url("/1"), {"refererUrl": PAGE, "mode": "cors"}).response == b"ok"
    assert set(told("Referer", target, other).values()) == {PAGE}


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("method", ["POST", "PUT", "GET", "HEAD"])
def test_what_a_redirect_makes_of_a_request(
    http: Driver, target: Target, other: Target, status: int, method: str
) -> None:
    target.scripts["/from"] = redirect(status, other.url("/to"))
    data = {"data": {"a": 1}} if method in ("POST", "PUT") else {}
    assert ask(http, target.url("/from"), {"mode": "cors"}, method, **data).status_code == 200
    is_dropped = (status == 303 and bool(data)) or (status < 303 and method == "POST")
    sent = other.last
    assert sent.method == ("GET" if is_dropped else method)
    assert sent.body == (b'{"a":1}' if data and not is_dropped else b"")
    assert sent.header("Content-Type") == ("application/json" if data and not is_dropped else None)


def test_the_other_options_of_redirects_hold(http: Driver, target: Target, other: Target) -> None:
    target.scripts |= {"/loop": redirect(302, "/loop"), "/away": redirect(302, other.url("/there"))}
    fetching = {"credentials": "include"}
    assert ask(http, target.url("/loop"), {**fetching, "redirectAttempts": 3}).error == "more than 3 redirects"
    assert len(target.received) == 4
    assert ask(http, target.url("/away"), {**fetching, "location": False}).status_code == 302
    assert ask(http, target.url("/away"), {**fetching, "redirectAttempts": 0}).status_code == 302
    refused = ask(http, target.url("/away"), {**fetching, "protoRedirect": "https"})
    assert (refused.kind, other.received) == (OutcomeKind.CONNECTION, [])
    assert (refused.error or "").startswith("a redirect could not be followed")
    with Driver(egress=Egress.parse("open", "", "localhost")) as careful:
        target.scripts["/away"] = redirect(302, target.url("/there", host="localhost"))
        assert ask(careful, target.url("/away"), fetching).kind is OutcomeKind.BLOCKED
    assert "/there" not in told("Host", target, other)


def test_hosts_that_want_https_are_called_so(http: Driver, secure: Target, authority: Authority) -> None:
    plain = f"http://localhost:{secure.port}/next"
    secure.scripts["/"] = answer(302, b"", Location=plain, Strict_Transport_Security="max-age=1000")
    config = {"ca": base64_of(authority.pem), "mode": "cors"}
    assert ask(http, secure.url(host="localhost"), {**config, "hsts": True}).response == b"ok"
    assert ask(http, secure.url(host="localhost"), config).kind is OutcomeKind.CONNECTION
    assert [received.path for received in secure.received] == ["/", "/next", "/"]
