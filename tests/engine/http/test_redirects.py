"""Redirects: how many, with which method and body, and what may go along to another host."""

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from tasks_server.domain.attempt import OutcomeKind, Redirected
from tasks_server.domain.options import Cookie, Credentials
from tasks_server.domain.request import TaskConfig
from tests.engine.http.driver import Driver, call
from tests.engine.http.target import Target, answer, hang, redirect

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


WAYS: list[tuple[str, dict[str, Any], TaskConfig]] = [
    ("plain", {}, TaskConfig()),
    ("curl", {"transport": "curl"}, TaskConfig()),
    ("special", {"cookie": [Cookie("a", "1")]}, TaskConfig()),
    ("fetch", {}, TaskConfig(credentials="include")),
    ("ntlm", {"auth_ntlm": Credentials("joe", "secret")}, TaskConfig()),
]
"""Calls whose redirects are followed in ways of their own."""


@pytest.fixture(params=WAYS, ids=[name for name, *_ in WAYS])
def way(request: pytest.FixtureRequest) -> tuple[dict[str, Any], TaskConfig]:
    return request.param[1:]  # type: ignore[no-any-return]  # one of those above


@pytest.fixture
def other() -> Iterator[Target]:
    """A target on another port: another origin."""
    with Target() as running:
        yield running


def method_after(status: int, method: str) -> str:
    """What fetch does (WHATWG Fetch, HTTP-redirect fetch, step 12)."""
    if status in (301, 302) and method == "POST":
        return "GET"
    if status == 303 and method not in ("GET", "HEAD"):
        return "GET"
    return method


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("data", [None, "hello"])
def test_method_and_body_go_on_as_fetch_does(
    http: Driver, target: Target, method: str, status: int, data: str | None
) -> None:
    target.scripts["/from"] = redirect(status, "/to")
    outcome = http.get(target.url("/from"), method, data=data)
    assert (outcome.kind, outcome.status_code) == (OutcomeKind.SUCCESS, 200)
    first, second = target.received
    assert (first.method, second.path) == (method, "/to")
    assert second.method == method_after(status, method)
    kept = first.body if second.method == method else b""
    assert second.body == kept
    assert second.header("Expect") is None


def test_a_chain_keeps_the_method_it_came_to(http: Driver, target: Target) -> None:
    target.scripts |= {"/a": redirect(307, "/b"), "/b": redirect(303, "/c"), "/c": redirect(308, "/d")}
    http.get(target.url("/a"), "PUT", data="x")
    assert [(received.method, received.body) for received in target.received] == [
        ("PUT", b"x"), ("PUT", b"x"), ("GET", b""), ("GET", b""),
    ]  # fmt: skip


@pytest.mark.option("location", "redirectAttempts")
@pytest.mark.parametrize("config", [TaskConfig(location=False), TaskConfig(redirect_attempts=0)])
def test_not_followed_a_redirect_is_the_answer(http: Driver, target: Target, config: TaskConfig) -> None:
    target.scripts["/from"] = redirect(302, "/to")
    outcome = http.get(target.url("/from"), config=config)
    assert (outcome.kind, outcome.status_code, outcome.response) == (OutcomeKind.SUCCESS, 302, b"moved")
    assert len(target.received) == 1


def test_a_redirect_without_a_place_is_the_answer(http: Driver, target: Target) -> None:
    target.scripts["/from"] = b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n"
    assert http.get(target.url("/from")).status_code == 302


@pytest.mark.option("redirectAttempts")
@pytest.mark.parametrize("attempts", [1, 3, 32])
def test_redirects_are_counted(http: Driver, target: Target, attempts: int) -> None:
    for step in range(attempts + 1):
        target.scripts[f"/{step}"] = redirect(302, f"/{step + 1}")
    config = TaskConfig(redirect_attempts=attempts)
    outcome = http.get(target.url("/0"), config=config)
    assert (outcome.kind, outcome.status_code) == (OutcomeKind.CONNECTION, 0)
    assert outcome.error == f"more than {attempts} redirects"
    assert len(target.received) == attempts + 1
    assert http.get(target.url("/1"), config=config).kind is OutcomeKind.SUCCESS


def test_only_the_last_answer_counts(http: Driver, target: Target) -> None:
    target.scripts["/from"] = (
        b"HTTP/1.1 302 Found\r\nLocation: /to\r\nRetry-After: 7\r\nX-Tasks-No-Retry: true\r\n"
        b"Content-Length: 5\r\n\r\nmoved"
    )
    target.scripts["/to"] = b"HTTP/1.1 503 No\r\nContent-Length: 4\r\n\r\nlast"
    outcome = http.get(target.url("/from"))
    assert (outcome.status_code, outcome.response, outcome.retry_after_ms, outcome.no_retry) == (
        503,
        b"last",
        None,
        False,
    )


@pytest.mark.parametrize("place", ["ftp://127.0.0.1/x", "file:///etc/hostname", "gopher://127.0.0.1/", "http://[bad/"])
def test_redirects_lead_to_http_only(http: Driver, target: Target, place: str) -> None:
    target.scripts["/from"] = redirect(302, place)
    outcome = http.get(target.url("/from"))
    assert (outcome.kind, outcome.status_code) == (OutcomeKind.CONNECTION, 0)
    assert outcome.error is not None
    assert outcome.error.startswith("a redirect could not be followed: ")


def test_credentials_stay_with_the_first_host(http: Driver, target: Target) -> None:
    headers = {"Authorization": "Bearer secret", "Cookie": "a=secret", "X-Own": "goes along"}
    target.scripts["/away"] = redirect(307, target.url("/there", host="localhost"))
    target.scripts["/home"] = redirect(307, "/here")
    http.get(target.url("/away"), "POST", data="x", headers=headers)
    sent, followed = target.received
    assert (sent.header("Authorization"), sent.header("Cookie")) == ("Bearer secret", "a=secret")
    assert followed.header("Host") == f"localhost:{target.port}"
    assert (followed.header("Authorization"), followed.header("Cookie")) == (None, None)
    assert followed.header("X-Own") == "goes along"
    http.get(target.url("/home"), headers=headers)
    assert target.last.path == "/here"
    assert target.last.header("Authorization") == "Bearer secret"


def test_credentials_do_not_go_to_another_port(http: Driver, target: Target) -> None:
    with Target() as other:
        target.scripts["/away"] = redirect(302, other.url("/there"))
        http.get(target.url("/away"), headers={"Authorization": "Bearer secret", "Cookie": "a=secret"})
        assert (other.last.header("Authorization"), other.last.header("Cookie")) == (None, None)


def test_a_host_header_of_the_caller_does_not_follow_to_another_host(http: Driver, target: Target) -> None:
    target.scripts["/away"] = redirect(302, target.url("/there", host="localhost"))
    http.get(target.url("/away"), headers={"Host": "virtual.example"})
    assert [received.header("Host") for received in target.received] == ["virtual.example", f"localhost:{target.port}"]


@pytest.mark.option("transport")
@pytest.mark.parametrize(("transport", "sends"), [("curl", True), ("fetch", False), (None, False)])
def test_curl_names_where_it_comes_from(http: Driver, target: Target, transport: str | None, sends: bool) -> None:
    target.scripts["/from"] = redirect(302, "/to")
    http.get(target.url("/from?q=1#part"), transport=transport)
    first, second = target.received
    assert first.header("Referer") is None
    assert second.header("Referer") == (target.url("/from?q=1") if sends else None)
    http.get(target.url("/next"), transport=transport)
    assert target.last.header("Referer") is None


def test_redirects_are_followed_by_a_refused_connection_in_plain_words(http: Driver, target: Target) -> None:
    target.scripts["/from"] = redirect(302, "http://127.0.0.1:9/secret?token=1")
    outcome = http.get(target.url("/from"))
    assert (outcome.kind, outcome.error) == (OutcomeKind.CONNECTION, "connection refused by 127.0.0.1:9")


Way = tuple[dict[str, Any], TaskConfig]


@pytest.mark.parametrize("status", [300, 304, 305, 306, 309, 310, 399])
def test_other_statuses_lead_nowhere(http: Driver, target: Target, way: Way, status: int) -> None:
    request, config = way
    target.scripts["/from"] = redirect(status, "/to") if status != 304 else answer(304, b"", Location="/to")
    outcome = http.get(target.url("/from"), "POST", data="x", config=config, **request)
    assert (outcome.kind, outcome.status_code, outcome.redirected) == (OutcomeKind.SUCCESS, status, None)
    assert {received.path for received in target.received} == {"/from"}


@pytest.mark.parametrize("method", ["GET", "POST", "PUT"])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_the_outcome_says_where_redirects_led(http: Driver, target: Target, way: Way, status: int, method: str) -> None:
    request, config = way
    target.scripts |= {"/from": redirect(status, "/next?a=1"), "/next": redirect(307, "/to?access_token=x&b=2#part")}
    outcome = http.get(target.url("/from"), method, config=config, **request)
    after = method_after(status, method)
    assert outcome.redirected == Redirected(2, after, target.url("/to?access_token=***&b=2"), after != method)
    assert (target.last.method, target.last.path) == (after, "/to?access_token=x&b=2")
    assert http.get(target.url("/to"), method, config=config, **request).redirected is None


def test_failures_say_where_redirects_led(http: Driver, target: Target, way: Way) -> None:
    request, config = way
    target.scripts |= {
        "/error": redirect(302, "/503"),
        "/503": answer(503),
        "/refused": redirect(302, "http://127.0.0.1:9/x"),
        "/late": redirect(302, "/hang"),
        "/hang": hang,
        "/odd": redirect(302, "/bad"),
        "/bad": redirect(302, "ftp://127.0.0.1/"),
    }
    seen = {}
    for path in ("/error", "/refused", "/late", "/odd"):
        (outcome,) = http.run(call(target.url(path), "POST", data="x", config=config, timeout_ms=400, **request))
        assert outcome.redirected is not None
        assert (outcome.redirected.count, outcome.redirected.method) == (1, "GET")
        seen[path] = (outcome.kind.value, outcome.redirected.url)
    assert seen == {
        "/error": ("http_error", target.url("/503")),
        "/refused": ("connection", "http://127.0.0.1:9/x"),
        "/late": ("timeout", target.url("/hang")),
        "/odd": ("connection", target.url("/bad")),
    }


def test_all_of_a_call_that_is_redirected_has_one_timeout(http: Driver, target: Target) -> None:
    async def slowly(connection: Any, _request: Any) -> None:
        until = time.monotonic() + 0.2
        while time.monotonic() < until:
            await asyncio.sleep(0.01)
        await connection.send(redirect(302, "/again"))

    target.scripts |= {"/from": slowly, "/again": slowly}
    (outcome,) = http.run(call(target.url("/from"), timeout_ms=500))
    assert (outcome.kind, outcome.error) == (
        OutcomeKind.TIMEOUT, f"no answer from 127.0.0.1:{target.port} within 500 ms",
    )  # fmt: skip
    assert outcome.redirected is not None
    assert outcome.redirected.count == 2


@pytest.mark.option("redirectMethod")
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT"])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_the_task_says_what_becomes_of_the_method(
    http: Driver, target: Target, way: Way, status: int, method: str
) -> None:
    request, config = way
    target.scripts["/from"] = redirect(status, "/to")

    def ended(rule: str) -> tuple[Any, str, bytes]:
        chosen = msgspec.structs.replace(config, redirect_method=rule)
        outcome = http.get(target.url("/from"), method, data="x", config=chosen, **request)
        return outcome, target.last.line, target.last.body

    after = method_after(status, method)
    outcome, line, body = ended("keep")
    kept = method if status in (301, 302) else after
    assert (outcome.status_code, line) == (200, f"{kept} /to HTTP/1.1")
    assert body == (b"x" if kept == method and method not in ("GET", "HEAD", "DELETE") else b"")
    assert outcome.redirected is not None
    assert outcome.redirected.method_changed is (kept != method)
    outcome, line, _ = ended("refuse")
    if after == method:
        assert (outcome.status_code, line) == (200, f"{method} /to HTTP/1.1")
    else:
        assert (outcome.kind, line) == (OutcomeKind.CONNECTION, f"{method} /from HTTP/1.1")
        why = f"after {status} it would be GET in place of {method}, which redirectMethod forbids"
        assert outcome.error == f"a redirect could not be followed: {why}"


SECRETS = ["X-Api-Key", "x-session-token", "Authorization", "Cookie"]
OURS = [("X-Tasks-Attempt", "1"), ("Idempotency-Key", "one")]


@pytest.mark.parametrize("where", ["port", "host"])
@pytest.mark.parametrize("name", SECRETS)
def test_secrets_stay_with_the_first_origin(
    http: Driver, target: Target, other: Target, way: Way, name: str, where: str
) -> None:
    """What is masked wherever it is shown goes to nobody else, and is there again on the way back."""
    request, config = way
    away = other.url("/away") if where == "port" else target.url("/away", host="localhost")
    target.scripts |= {"/from": redirect(307, "/same"), "/same": redirect(307, away)}
    other.scripts["/away"] = target.scripts["/away"] = redirect(307, target.url("/back"))
    headers = {name: "secret", "X-Own": "mine", "Idempotency-Key": "one"}
    if (request.get("cookie") or request.get("auth_ntlm")) and name in ("Cookie", "Authorization"):
        pytest.skip("refused at registration")
    one = call(target.url("/from"), "POST", data="x", headers=headers, ours=OURS, config=config, **request)
    assert http.run(one)[0].status_code == 200
    received = [*target.received, *other.received]
    told = {each.path: each.header(name) for each in received}
    comes_back = config.credentials is None  # fetch: what was left out once does not come again
    assert told == {"/from": "secret", "/same": "secret", "/away": None, "/back": "secret" if comes_back else None}
    assert {each.header("X-Own") for each in received} == {"mine"}
    assert {each.header("X-Tasks-Attempt") for each in received} == {"1"}
    assert {each.header("Idempotency-Key") for each in received} == {"one"}


def test_signatures_go_along(http: Driver, target: Target, other: Target) -> None:
    """They are no secret, and whoever gets the body has to check it."""
    target.scripts["/from"] = redirect(307, other.url("/away"))
    signed = call(target.url("/from"), "POST", data="x")
    signed.signing, signed.message = (b"k" * 32,), "one"
    assert http.run(signed)[0].status_code == 200
    assert other.last.header("webhook-signature") == target.last.header("webhook-signature") != None  # noqa: E711


@pytest.mark.parametrize("credentials", [None, "include"])
def test_who_is_trusted_gets_all_but_the_host(http: Driver, target: Target, other: Target, credentials: Any) -> None:
    target.scripts["/from"] = redirect(307, other.url("/away"))
    config = TaskConfig(location_trusted=Credentials("joe", "secret"), credentials=credentials)
    headers = {"X-Api-Key": "secret", "Host": "virtual.test"}
    http.get(target.url("/from"), headers=headers, config=config)
    assert (target.last.header("Host"), target.last.header("X-Api-Key")) == ("virtual.test", "secret")
    assert (other.last.header("Host"), other.last.header("X-Api-Key")) == (f"127.0.0.1:{other.port}", "secret")
    assert other.last.header("Authorization") == target.last.header("Authorization")


def test_the_referer_tells_no_secret_to_another_origin(http: Driver, target: Target, other: Target) -> None:
    target.scripts |= {"/from": redirect(302, "/same?api_key=x"), "/same": redirect(302, other.url("/away"))}
    http.get(target.url("/from?access_token=x&a=1"), transport="curl")
    assert target.last.header("Referer") == target.url("/from?access_token=x&a=1")
    assert other.last.header("Referer") == target.url("/same?api_key=***")


@pytest.mark.parametrize(
    ("place", "path"),
    [
        ("/a/../b", "/a/../b"),
        ("/%2e%2e/b%2fc", "/%2e%2e/b%2fc"),
        ("{url}/a/../b?x=../y", "/a/../b?x=../y"),
        ("c/../d", "/x/c/../d"),
        ("../d", "/d"),
        ("../../../d", "/d"),
        ("./d", "/x/d"),
        (".", "/x/"),
        ("..", "/"),
        ("?y=2", "/x/from?y=2"),
        ("#part", "/x/from?q=1"),
        ("a b\u00fc", "/x/a%20b%C3%BC"),
        ("//{host}/e", "/e"),
        ("//{host}", "/"),
        ("HTTP://{host}?z", "/?z"),
        ("/a//b", "/a//b"),
        ("/\\b", "/\\b"),
        (";p=1", "/x/;p=1"),
        ("d?e/../f", "/x/d?e/../f"),
    ],
)
def test_a_redirect_leads_where_it_says(http: Driver, target: Target, place: str, path: str) -> None:
    host = f"127.0.0.1:{target.port}"
    target.scripts["/x/from"] = redirect(302, place.format(url=target.url(""), host=host))
    config = TaskConfig(redirect_attempts=1)
    http.get(target.url("/x/from?q=1"), config=config)
    assert target.received[1].path == path


def test_places_that_differ_lead_nowhere(http: Driver, target: Target) -> None:
    target.scripts["/from"] = b"HTTP/1.1 302 Found\r\nLocation: /a\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n"
    assert http.get(target.url("/from")).kind is OutcomeKind.CONNECTION
    assert len(target.received) == 1
