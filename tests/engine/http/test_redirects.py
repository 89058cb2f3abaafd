"""Redirects: how many, with which method and body, and what may go along to another host."""

import pytest

from tasks_server.domain.attempt import OutcomeKind
from tasks_server.domain.request import TaskConfig
from tests.engine.http.driver import Driver
from tests.engine.http.target import Target, redirect

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


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
    assert (outcome.kind, outcome.status_code) == (OutcomeKind.CONNECTION, 500)
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
    assert (outcome.kind, outcome.status_code) == (OutcomeKind.CONNECTION, 500)
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
