"""Calls of more than one transfer: one connection, one timeout, one gate, one outcome."""

import re
from collections.abc import Callable, Iterator

import msgspec
import pycurl
import pytest

from tasks_server.domain.attempt import Outcome, OutcomeKind
from tasks_server.domain.egress import Egress
from tasks_server.domain.options import AwsSigv4, Cookie, Credentials
from tasks_server.domain.request import TaskConfig
from tasks_server.engine.calls import Call
from tasks_server.engine.http import special_calls
from tasks_server.engine.http.conversation import Answer, Ask, Broken, Conversation, Ended, opening
from tasks_server.engine.http.redirects import follow
from tests.engine.http.driver import RESPONSE_MAX_BYTES, Driver, call
from tests.engine.http.target import Target, answer, close, hang, redirect

Talking = Callable[[Ask], Conversation]
Say = Callable[[Talking], None]


@pytest.fixture
def say(monkeypatch: pytest.MonkeyPatch) -> Say:
    """Makes every special call this conversation."""

    def set_up(talking: Talking, private: bool = True) -> None:
        def conversation_of(call: Call, agent_line: bytes) -> tuple[Conversation, bool]:
            return talking(opening(call, agent_line)), private

        monkeypatch.setattr(special_calls, "conversation_of", conversation_of)

    return set_up


def special(url: str, method: str = "GET", *, config: TaskConfig | None = None, timeout_ms: int = 20_000,
            **request: object) -> Call:  # fmt: skip
    made = call(url, method, config=config, timeout_ms=timeout_ms, **request)
    made.special = True
    return made


def play(ask: Ask) -> Conversation:
    return (yield ask)


def following(config: TaskConfig, names_referer: bool = False) -> Talking:
    return lambda first: follow(first, play, config, names_referer=names_referer)


def test_asks_follow_one_another_on_one_connection(http: Driver, target: Target, say: Say) -> None:
    target.scripts |= {"/1": answer(401, b"first", X_Mark="a"), "/2": answer(200, b"second")}
    heard: list[Answer] = []

    def talking(first: Ask) -> Conversation:
        heard.append((yield first))
        heard.append((yield Ask(target.url("/2"), "PUT", [b"X-Own: 2"], b"body", same_connection=True)))
        return heard[-1]

    say(talking)
    for count in (1, 2):
        outcome = http.run(special(target.url("/1"), "POST", data="x"))[0]
        assert (outcome.kind, outcome.status_code, outcome.response) == (OutcomeKind.SUCCESS, 200, b"second")
        target.wait(lambda seen, count=count: seen.closed == count)  # type: ignore[misc]  # a default in a lambda
    assert http.get(target.url("/plain")).status_code == 200
    assert [(seen.connection, seen.method, seen.body) for seen in target.received] == [
        (1, "POST", b"x"), (1, "PUT", b"body"), (2, "POST", b"x"), (2, "PUT", b"body"), (3, "GET", b""),
    ]  # fmt: skip
    assert target.received[1].header("X-Own") == "2"
    assert target.received[1].header("Content-Type") != "text/plain; charset=utf-8"
    assert [(one.status, one.values(b"x-mark"), one.connects, one.url) for one in heard[:2]] == [
        (401, [b"a"], 1, target.url("/1")), (200, [], 0, target.url("/2")),
    ]  # fmt: skip


def test_a_connection_that_went_away_is_told(http: Driver, target: Target, say: Say) -> None:
    target.scripts |= {"/1": answer(401, b"", Connection="close"), "/2": close}
    heard: list[Answer] = []

    def talking(first: Ask) -> Conversation:
        yield first
        for path in ("/ok", "/2"):
            heard.append((yield Ask(target.url(path), "GET", same_connection=True)))
        return heard[-1]

    say(talking)
    outcome = http.run(special(target.url("/1")))[0]
    assert (outcome.kind, outcome.error) == (
        OutcomeKind.CONNECTION, f"127.0.0.1:{target.port} closed the connection without an answer",
    )  # fmt: skip
    assert [(one.connects, one.status) for one in heard] == [(1, 200), (1, 0)]
    assert [bool(one.broken) for one in heard] == [False, True]


def test_how_a_conversation_may_end(http: Driver, target: Target, say: Say) -> None:
    ends: Iterator[Exception] = iter(
        [Broken(pycurl.E_TOO_MANY_REDIRECTS), Ended(Outcome(OutcomeKind.CONNECTION, error="enough")), ValueError("s")]
    )

    def talking(first: Ask) -> Conversation:
        yield first
        raise next(ends)

    say(talking)
    outcomes = [http.run(special(target.url()))[0] for _ in range(3)]
    assert [outcome.error for outcome in outcomes] == [
        "more than 8 redirects", "enough", "the request cannot be sent: preparing it failed with ValueError",
    ]  # fmt: skip
    target.wait(lambda seen: seen.closed == 3)


def test_one_timeout_for_all(http: Driver, target: Target, say: Say) -> None:
    target.scripts["/hang"] = hang

    def talking(first: Ask) -> Conversation:
        yield first
        yield Ask(target.url("/hang"), "GET")
        raise AssertionError("it was asked once more")

    say(talking)
    outcome = http.run(special(target.url(), timeout_ms=400))[0]
    assert outcome.error == f"no answer from 127.0.0.1:{target.port} within 400 ms"


@pytest.mark.parametrize("leads_on", [False, True])
def test_a_large_answer_is_an_answer(http: Driver, target: Target, say: Say, leads_on: bool) -> None:
    """Where the connection is wanted again, more of it is read than is kept."""
    much = b"x" * 20 * RESPONSE_MAX_BYTES
    target.scripts |= {"/much": answer(401, much), "/more": answer(200, much)}
    heard: list[Answer] = []

    def talking(first: Ask) -> Conversation:
        heard.append((yield first))
        return (yield Ask(target.url("/more"), "GET", same_connection=True))

    say(lambda first: talking(msgspec.structs.replace(first, leads_on=leads_on)))
    outcome = http.run(special(target.url("/much")))[0]
    assert (heard[0].status, heard[0].broken) == (401, 0)
    assert (outcome.status_code, outcome.response) == (200, much[:RESPONSE_MAX_BYTES])
    assert outcome.response_truncated
    assert [seen.connection for seen in target.received] == ([1, 1] if leads_on else [1, 2])


def test_a_conversation_can_be_dropped(http: Driver, target: Target, say: Say) -> None:
    target.scripts["/hang"] = hang

    def talking(first: Ask) -> Conversation:
        yield first
        return (yield Ask(target.url("/hang"), "GET"))

    say(talking)
    dropped = special(target.url("/1"))
    http.client.send([dropped])
    target.wait(lambda seen: len(seen.received) == 2)
    http.client.abort([dropped.token])
    assert http.get(target.url()).status_code == 200  # it has been dropped by now
    target.release()
    target.wait(lambda seen: seen.closed >= 1)
    assert dropped.token not in http.done


def test_the_gate_judges_every_ask(target: Target, say: Say) -> None:
    say(following(TaskConfig()))
    with Driver(egress=Egress.parse("open", "", "localhost")) as http:
        for place in ("localhost", "LOCALHOST"):
            target.scripts["/away"] = redirect(302, f"http://{place}:{target.port}/there")
            outcome = http.run(special(target.url("/away")))[0]
            assert (outcome.kind, outcome.status_code) == (OutcomeKind.BLOCKED, 403)
    assert [seen.path for seen in target.received] == ["/away", "/away"]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    ("method", "data"), [("GET", None), ("HEAD", None), ("POST", "x"), ("PUT", "x"), ("POST", None)]
)
def test_redirects_are_followed_as_libcurl_does(
    http: Driver, target: Target, say: Say, status: int, method: str, data: str | None
) -> None:
    config = TaskConfig(redirect_attempts=3)
    own = {"Authorization": "Bearer x", "Cookie": "a=1", "Host": "virtual.test", "X-Own": "1"}
    target.scripts |= {
        "/from": redirect(status, "/next page?q=1#part"),
        "/next%20page": redirect(307, target.url("/there", "localhost")),
        "/there": redirect(307, target.url("/back")),
    }  # fmt: skip
    asked = special(target.url("/from"), method, data=data, headers=own, config=config, transport="curl")
    by_libcurl = http.get(target.url("/from"), method, data=data, headers=own, config=config, transport="curl")
    say(following(config, names_referer=True))
    outcome = http.run(asked)[0]
    assert outcome == by_libcurl
    assert outcome.status_code == 200

    def told(start: int) -> list[tuple[str, list[tuple[str, str]], bytes]]:
        # But for one thing: libcurl names the type of a body that it does not send any more.
        return [
            (seen.line, sorted(each for each in seen.headers if seen.body or each[0] != "Content-Type"), seen.body)
            for seen in target.received[start : start + 4]
        ]

    assert len(target.received) == 8
    assert told(4) == told(0)


@pytest.mark.parametrize("place", ["ftp://127.0.0.1/x", "http://[bad/", "http://127.0.0.1:9/"])
def test_bad_redirects_end_as_with_libcurl(http: Driver, target: Target, say: Say, place: str) -> None:
    target.scripts["/from"] = redirect(302, place)
    by_libcurl = http.get(target.url("/from"))
    say(following(TaskConfig()))
    outcome = http.run(special(target.url("/from")))[0]
    assert outcome == by_libcurl
    assert re.match("a redirect could not be followed|connection refused", outcome.error or "")
    target.scripts["/from"] = redirect(302, "/from")
    assert http.run(special(target.url("/from")))[0].error == "more than 8 redirects"


@pytest.mark.parametrize("given", ["auth_basic", "location_trusted", "auth_aws_sigv4"])
def test_credentials_of_libcurl_go_where_libcurl_takes_them(http: Driver, target: Target, say: Say, given: str) -> None:
    target.scripts |= {
        "/from": redirect(302, target.url("/there", "localhost")),
        "/there": redirect(302, target.url("/back")),
    }
    joe = Credentials("joe", "secret")
    config = TaskConfig(location_trusted=joe) if given == "location_trusted" else TaskConfig()
    own: dict[str, object] = {"cookie": [Cookie("a", "1")]}
    if given == "auth_basic":
        own["auth_basic"] = joe
    elif given == "auth_aws_sigv4":
        own["auth_aws_sigv4"] = AwsSigv4("aws", "amz", "eu", "s3", "key", "secret")
    assert http.run(special(target.url("/from"), config=config, **own))[0].status_code == 200
    say(following(config))
    assert http.run(special(target.url("/from"), config=config, **own))[0].status_code == 200

    def told(start: int) -> list[tuple[bool, str | None]]:
        seen = target.received[start : start + 3]
        return [(each.header("Authorization") is not None, each.header("Cookie")) for each in seen]

    assert told(0)[0] == (True, "a=1")
    assert told(3) == told(0)
