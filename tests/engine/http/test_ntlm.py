"""NTLM at targets and proxies that truly check it."""

import gc
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tasks_server.domain.attempt import OutcomeKind
from tasks_server.domain.egress import Egress
from tasks_server.engine.http import ntlm
from tasks_server.engine.http.talk import Talk
from tasks_server.engine.http.tunnel import Tunnel
from tests.engine.http.asking import ask, asked
from tests.engine.http.authority import Authority, server_context
from tests.engine.http.driver import Driver
from tests.engine.http.ntlm_servers import NtlmProxy, NtlmTarget
from tests.engine.http.target import DEADLINE_SECONDS, Target, answer, redirect

JOE = {"username": "SHOP\\joe", "password": "päss wörd"}
WRONG = {"username": "SHOP\\joe", "password": "wrong"}
JOES_NAME = "SHOP\\joe"


@pytest.fixture(autouse=True)
def users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "users"
    path.write_text("SHOP:joe:päss wörd\nSHOP:eve:evil\n")
    monkeypatch.setenv("NTLM_USER_FILE", str(path))


@pytest.fixture
def shop() -> Iterator[NtlmTarget]:
    with NtlmTarget() as running:
        running.scripts["/"] = running.guarded()
        yield running


@pytest.fixture
def proxy() -> Iterator[NtlmProxy]:
    with NtlmProxy() as running:
        yield running


@pytest.fixture
def secure(tmp_path: Path) -> Iterator[NtlmTarget]:
    with NtlmTarget(tls=server_context(Authority().issue("server", "127.0.0.1", "localhost"), tmp_path)) as running:
        yield running


def through(proxy: Target, who: dict[str, str] | None = JOE, **config: Any) -> dict[str, Any]:
    way = {"proxy": {"protocol": "http", "host": "127.0.0.1", "port": proxy.port}, "insecure": True, **config}
    return way if who is None else {**way, "proxyAuthNtlm": who}


@pytest.mark.option("authNtlm")
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE"])
def test_ntlm_at_the_target(http: Driver, shop: NtlmTarget, method: str) -> None:
    data = {"data": "payload"} if method in ("POST", "PUT") else {}
    if method == "HEAD":
        shop.scripts["/"] = answer()
    outcome = ask(http, shop.url(), None, method, authNtlm=JOE, **data)
    assert (outcome.kind, outcome.status_code) == (OutcomeKind.SUCCESS, 200)
    if method == "HEAD":
        return
    assert shop.served == [(JOES_NAME, method, "/", b"payload" if data else b"")]
    assert [(seen.connection, seen.body) for seen in shop.received] == [(1, b""), (1, shop.served[0][3])]


def test_the_authenticated_connection_is_nobody_elses(http: Driver, shop: NtlmTarget) -> None:
    assert ask(http, shop.url(), authNtlm=JOE).status_code == 200
    assert ask(http, shop.url()).status_code == 401
    assert ask(http, shop.url(), authNtlm={"username": "SHOP\\eve", "password": "evil"}).status_code == 200
    assert ask(http, shop.url(), authNtlm=JOE).status_code == 200
    assert [user for user, *_ in shop.served] == [JOES_NAME, "SHOP\\eve", JOES_NAME]
    assert [seen.connection for seen in shop.received] == [1, 1, 2, 3, 3, 4, 4]
    shop.wait(lambda seen: seen.closed == 3)  # all but that of the plain task


def test_a_wrong_password_is_answered_with_401(http: Driver, shop: NtlmTarget) -> None:
    outcome = ask(http, shop.url(), None, "POST", authNtlm=WRONG, data="payload")
    assert (outcome.kind, outcome.status_code, outcome.error) == (
        OutcomeKind.HTTP_ERROR, 401, "the target answered 401",
    )  # fmt: skip
    assert (shop.guard.refused, shop.served, len(shop.received)) == (1, [], 2)


@pytest.mark.parametrize(("status", "sent"), [(200, [b"", b"payload"]), (404, [b"", b"payload"]), (401, [b""])])
def test_a_target_that_does_not_ask_for_ntlm(http: Driver, target: Target, status: int, sent: list[bytes]) -> None:
    target.scripts["/"] = answer(status, b"plain", WWW_Authenticate='Basic realm="shop"')
    outcome = ask(http, target.url(), None, "POST", authNtlm=JOE, data="payload")
    assert (outcome.status_code, outcome.response) == (status, b"plain")
    assert [seen.body for seen in target.received] == sent
    outcome = ask(http, target.url(), authNtlm=JOE)
    assert (outcome.status_code, len(target.received)) == (status, len(sent) + 1)


@pytest.mark.parametrize("token", ["TlRMTVNTUAACAAAA", "not base64!", "AAAA"])
def test_a_challenge_that_makes_no_sense(http: Driver, target: Target, token: str) -> None:
    target.scripts["/"] = answer(401, b"", WWW_Authenticate=f"NTLM {token}")
    outcome = ask(http, target.url(), authNtlm=JOE)
    assert outcome.kind is OutcomeKind.CONNECTION
    assert (outcome.error or "").startswith(
        f"authentication failed at 127.0.0.1:{target.port}: its NTLM challenge makes no sense"
    )
    assert len(target.received) == 1


def test_a_connection_closed_between_the_steps(http: Driver, shop: NtlmTarget) -> None:
    shop.guard.close_after_challenge = 1
    assert ask(http, shop.url(), None, "POST", authNtlm=JOE, data="payload").status_code == 200
    assert shop.served == [(JOES_NAME, "POST", "/", b"payload")]
    shop.guard.close_after_challenge = 10
    assert ask(http, shop.url(), authNtlm=JOE).status_code == 401
    assert shop.guard.close_after_challenge == 8


def test_redirects_take_the_proof_to_the_first_origin_only(http: Driver, shop: NtlmTarget, target: Target) -> None:
    shop.scripts |= {
        "/away": shop.guarded(redirect(307, target.url("/there"))),
        "/home": shop.guarded(redirect(307, shop.url("/"))),
    }
    target.scripts["/there"] = redirect(307, shop.url("/"))
    assert ask(http, shop.url("/home"), None, "POST", authNtlm=JOE, data="payload").status_code == 200
    assert [seen.connection for seen in shop.received] == [1, 1, 1]
    assert shop.last.header("Authorization") is None  # the connection is known
    assert [each[2:] for each in shop.served] == [("/home", b"payload"), ("/", b"payload")]
    assert ask(http, shop.url("/away"), None, "POST", authNtlm=JOE, data="payload").status_code == 200
    assert (target.last.header("Authorization"), target.last.body) == (None, b"payload")
    shop.scripts["/open"] = redirect(302, target.url("/"))
    target.scripts["/"] = answer(401, b"", WWW_Authenticate="NTLM")
    assert ask(http, shop.url("/open"), authNtlm=JOE).status_code == 401
    assert target.last.header("Authorization") is None


@pytest.mark.parametrize(
    ("credentials", "status", "known"), [("include", 200, 1), ("same-origin", 401, 1), ("omit", 401, 0)]
)
def test_ntlm_under_fetchs_rules(
    http: Driver, shop: NtlmTarget, target: Target, credentials: str, status: int, known: int
) -> None:
    shop.scripts |= {"/first": shop.guarded(answer(302, b"", Location=target.url("/away"))), "/last": shop.guarded()}
    target.scripts["/away"] = redirect(302, shop.url("/last"))
    outcome = ask(http, shop.url("/first"), {"credentials": credentials}, authNtlm=JOE)
    assert outcome.status_code == status
    assert len(shop.guard.users) == known
    assert len(target.received) == known


def test_cookies_and_no_keep_alive_go_with_ntlm(http: Driver, shop: NtlmTarget) -> None:
    cookie = [{"name": "a", "value": "1"}]
    assert ask(http, shop.url(), {"keepAliveDuration": 0}, authNtlm=JOE, cookie=cookie).status_code == 200
    assert [seen.header("Cookie") for seen in shop.received] == ["a=1", "a=1"]


@pytest.mark.option("proxyAuthNtlm")
def test_ntlm_at_the_proxy(http: Driver, target: Target, proxy: NtlmProxy) -> None:
    assert ask(http, target.url("/a"), through(proxy), "POST", data="payload").response == b"ok"
    assert [(seen.method, seen.connection, seen.body) for seen in proxy.received] == [
        ("POST", 1, b""), ("POST", 1, b"payload"),
    ]  # fmt: skip
    assert proxy.guard is not None
    assert list(proxy.guard.users.values()) == [JOES_NAME]
    outcome = ask(http, target.url("/b"), through(proxy, WRONG))
    assert (outcome.kind, outcome.status_code) == (OutcomeKind.HTTP_ERROR, 407)
    assert ask(http, target.url("/c"), through(proxy, None)).status_code == 407
    assert [seen.path for seen in target.received] == ["/a"]


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_tunnel_through_the_proxy(http: Driver, secure: NtlmTarget, proxy: NtlmProxy, method: str) -> None:
    data = {"data": "payload"} if method == "POST" else {}
    config = through(proxy, proxyHeaders={"X-Tenant": "shop"}, userAgent="Own-Agent/1")
    assert ask(http, secure.url("/a"), config, method, **data).response == b"ok"
    assert [seen.line for seen in proxy.received] == [f"CONNECT 127.0.0.1:{secure.port} HTTP/1.1"] * 2
    assert [seen.connection for seen in proxy.received] == [1, 1]
    assert proxy.last.header("Host") == f"127.0.0.1:{secure.port}"
    assert (proxy.last.header("X-Tenant"), proxy.last.header("User-Agent")) == ("shop", "Own-Agent/1")
    assert (secure.last.path, secure.last.body) == ("/a", b"payload" if data else b"")
    assert (secure.last.header("X-Tenant"), secure.last.header("Proxy-Authorization")) == (None, None)
    proxy.wait(lambda seen: seen.closed == 1)


@pytest.mark.parametrize(
    "line", [b"HTTP/1.0 200 Connection established", b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 7"]
)
def test_proxies_say_yes_in_many_ways(http: Driver, secure: NtlmTarget, proxy: NtlmProxy, line: bytes) -> None:
    proxy.let_through = line + b"\r\n\r\n"
    assert ask(http, secure.url(), through(proxy)).response == b"ok"
    proxy.guard = None
    assert ask(http, secure.url(), through(proxy)).response == b"ok"


def test_refused_tunnels_in_plain_words(http: Driver, secure: NtlmTarget, proxy: NtlmProxy) -> None:
    where = f"the proxy 127.0.0.1:{proxy.port} refused to connect to 127.0.0.1:{secure.port}"
    outcome = ask(http, secure.url(), through(proxy, WRONG))
    assert (outcome.kind, outcome.status_code) == (OutcomeKind.CONNECTION, 0)
    assert outcome.error == f"{where}: CONNECT tunnel failed, response 407"
    proxy.scripts.script = answer(403, b"no")  # type: ignore[attr-defined]  # the kind of this proxy's scripts
    assert ask(http, secure.url(), through(proxy)).error == f"{where}: CONNECT tunnel failed, response 403"
    gone = through(proxy) | {"proxy": {"protocol": "http", "host": "127.0.0.1", "port": 1}}
    assert ask(http, secure.url(), gone).error == "connection refused by the proxy 127.0.0.1:1"
    unknown = through(proxy) | {"proxy": {"protocol": "http", "host": "proxy.invalid"}}
    assert ask(http, secure.url(), unknown).error == "the proxy's name is unknown"
    assert not secure.received


def test_a_proxy_that_asks_for_nothing(http: Driver, target: Target, secure: NtlmTarget, proxy: NtlmProxy) -> None:
    proxy.guard = None
    assert ask(http, secure.url(), through(proxy), "POST", data="payload").response == b"ok"
    assert (secure.last.body, len(secure.received)) == (b"payload", 1)
    assert ask(http, target.url(), through(proxy)).response == b"ok"


def test_a_proxy_closes_between_the_steps(http: Driver, target: Target, secure: NtlmTarget, proxy: NtlmProxy) -> None:
    assert proxy.guard is not None
    for url in (target.url(), secure.url()):
        proxy.guard.close_after_challenge = 1
        assert ask(http, url, through(proxy)).response == b"ok"


def test_tunnels_along_redirects(http: Driver, target: Target, secure: NtlmTarget, proxy: NtlmProxy) -> None:
    secure.scripts |= {"/1": redirect(302, "/2"), "/2": redirect(302, target.url("/3")),
                       "/closing": answer(302, b"", Location="/5", Connection="close")}  # fmt: skip
    target.scripts |= {"/3": answer(302, Location=secure.url("/4"))}
    assert ask(http, secure.url("/1"), through(proxy)).response == b"ok"
    assert [seen.path for seen in secure.received] == ["/1", "/2", "/4"]
    assert [seen.path for seen in target.received] == ["/3"]
    assert ask(http, secure.url("/closing"), through(proxy)).response == b"ok"
    assert secure.last.path == "/5"


def test_both_at_once(http: Driver, shop: NtlmTarget, secure: NtlmTarget, proxy: NtlmProxy) -> None:
    secure.scripts["/"] = secure.guarded()
    eve = {"username": "SHOP\\eve", "password": "evil"}
    outcome = ask(http, secure.url(), through(proxy, eve), "POST", authNtlm=JOE, data="payload")
    assert outcome.status_code == 200
    assert secure.served == [(JOES_NAME, "POST", "/", b"payload")]
    assert proxy.guard is not None
    assert list(proxy.guard.users.values()) == ["SHOP\\eve"]


def test_the_gate_stands_before_tunnels(secure: NtlmTarget, proxy: NtlmProxy) -> None:
    url = secure.url("/", host="localhost")
    for denied, host in (("localhost", "localhost"), ("127.0.0.0/8", "127.0.0.1")):
        with Driver(egress=Egress.parse("open", "", denied)) as http:
            call = asked(url, through(proxy))
            outcome = http.run(call)[0]
        assert (outcome.kind, outcome.status_code) == (OutcomeKind.BLOCKED, 403)
        assert host in (outcome.error or "")
    assert not proxy.received


def test_the_gate_judges_redirects_inside_a_tunnel(secure: NtlmTarget, proxy: NtlmProxy) -> None:
    secure.scripts["/away"] = redirect(302, secure.url("/there", host="localhost"))
    with Driver(egress=Egress.parse("open", "", "localhost")) as http:
        assert ask(http, secure.url("/away"), through(proxy)).kind is OutcomeKind.BLOCKED
    assert len(proxy.received) == 2


def test_nobody_waits_until_ntlm_is_loaded(target: Target, shop: NtlmTarget, monkeypatch: pytest.MonkeyPatch) -> None:
    may_load, is_loading = threading.Event(), threading.Event()

    def load() -> None:
        is_loading.set()
        may_load.wait(DEADLINE_SECONDS)

    monkeypatch.setattr(ntlm, "load", load)
    with Driver() as http:
        calls = [asked(shop.url(), authNtlm=JOE) for _ in range(3)]
        http.client.send(calls)
        assert is_loading.wait(DEADLINE_SECONDS)
        assert ask(http, target.url()).status_code == 200
        http.client.abort([calls[0].token])
        assert ask(http, target.url()).status_code == 200
        assert (http.done.keys() & {call.token for call in calls}, shop.received) == (set(), [])
        may_load.set()
        assert [done.outcome.status_code for done in http.wait([call.token for call in calls[1:]])] == [200, 200]
        assert calls[0].token not in http.done


def test_nothing_of_a_call_stays(http: Driver, secure: NtlmTarget, proxy: NtlmProxy) -> None:
    gc.collect()
    gc.disable()
    try:
        assert ask(http, secure.url(), through(proxy)).response == b"ok"
        assert ask(http, secure.url(), through(proxy, WRONG)).status_code == 0
        secure.wait(lambda seen: seen.closed == 1)
        # By their type: `isinstance` asks the object for its class, which another library's lazy object
        # may answer by loading its settings.
        assert [each for each in gc.get_objects() if issubclass(type(each), Talk | Tunnel)] == []
    finally:
        gc.enable()
