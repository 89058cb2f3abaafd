"""No option of one call reaches the next on the same handle, whatever the order."""

import random
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from tasks_server.domain.attempt import Outcome, OutcomeKind
from tasks_server.domain.request import FormPart, TaskConfig
from tests.engine.http.driver import Driver, call
from tests.engine.http.target import Connection, Received, Target, answer, hang, redirect

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
PATHS = ["/plain", "/302", "/303", "/307", "/away", "/error", "/large", "/old", "/part", "/a%2fb/../c%2Fd"]
BODIES: list[dict[str, Any]] = [
    {},
    {"data": ""},
    {"data": "text"},
    {"data": {"a": 1}},
    {"data_base64": "AAEC"},
    # With a boundary of its own, so that the same call is the same bytes.
    {"data": [FormPart("a", "1")], "headers": {"Content-Type": "multipart/form-data; boundary=b"}},
]
HEADERS: list[dict[str, str] | None] = [
    None,
    {"X-Own": "1"},
    {"Accept": "text/x", "Content-Type": "text/own"},
    {"Authorization": "Bearer secret", "Cookie": "a=1"},
    {"User-Agent": "header/1.0", "X-Empty": ""},
    {"Host": "virtual.example"},
]


@pytest.fixture
def scripted(target: Target) -> Target:
    async def old(connection: Connection, _request: Received) -> None:
        await connection.send(b"no status line at all")
        await connection.close()

    async def part(connection: Connection, _request: Received) -> None:
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart")
        await connection.close()

    target.scripts |= {
        "/302": redirect(302, "/plain"),
        "/303": redirect(303, "/307"),
        "/307": redirect(307, "/plain"),
        "/away": redirect(307, target.url("/plain", host="localhost")),
        "/error": answer(503, b"no", Retry_After="5"),
        "/large": answer(200, b"x" * 5_000),
        "/old": old,
        "/part": part,
    }
    return target


def random_call(dice: random.Random, target: Target) -> Callable[[], Any]:
    """Builds the same call each time it is asked."""
    body = dice.choice(BODIES)
    headers = body.get("headers") or dice.choice(HEADERS)
    request = body | {
        "method": dice.choice(METHODS),
        "transport": dice.choice(["fetch", "curl", None]),
        "query": dice.choice([None, {"q": "1"}]),
        "headers": headers,
    }
    config = TaskConfig(
        http_version=dice.choice(["0.9", "1.0", "1.1", "1.1", "2"]),
        user_agent=dice.choice([None, None, "option/1.0"]),
        location=dice.random() < 0.8,
        redirect_attempts=dice.choice([0, 1, 2, 8]),
        trace_response_data=dice.random() < 0.7,
    )
    ours = dice.choice([[], [("X-Tasks-Attempt", "1")]])
    url = target.url(dice.choice(PATHS))
    return lambda: call(url, config=config, ours=ours, **request)


def seen_by(http: Driver, target: Target, build: Callable[[], Any]) -> tuple[Outcome, list[tuple[bytes, bytes]]]:
    before = len(target.received)
    (outcome,) = http.run(build())
    # What libcurl adds to the reason depends on whether the connection was a new one.
    told = msgspec.structs.replace(outcome, error=outcome.error and outcome.error.partition(": ")[0])
    return told, [(received.head, received.body) for received in target.received[before:]]


@pytest.mark.parametrize("seed", range(6))
def test_a_used_handle_sends_what_a_new_one_would(scripted: Target, seed: int) -> None:
    dice = random.Random(seed)
    # One call at a time: the pool gives the same handle again and again.
    with Driver() as used:
        for step in range(40):
            build = random_call(dice, scripted)
            with Driver() as fresh:
                expected = seen_by(fresh, scripted, build)
            assert seen_by(used, scripted, build) == expected, f"step {step} of seed {seed}: {build()}"
        used.get(scripted.url("/plain"))  # one that was redirected leaves none behind
        (handle,) = used.client._transfers._handles.by_curl.values()
        assert (handle.headers, handle.body.pieces, handle.call) == ([], [], None)


def test_a_short_timeout_does_not_stay(http: Driver, target: Target) -> None:
    target.scripts["/"] = hang
    assert http.get(target.url(), timeout_ms=100).kind is OutcomeKind.TIMEOUT
    waiting = call(target.url())
    http.client.send([waiting])
    target.wait(lambda seen: len(seen.received) == 2)
    # As long as the first timeout again, measured by a call that has it.
    assert http.get(target.url(), timeout_ms=150).kind is OutcomeKind.TIMEOUT
    target.release()
    assert http.wait([waiting.token])[0].outcome.kind is OutcomeKind.SUCCESS


def test_a_call_that_could_not_be_prepared_leaves_nothing_behind(http: Driver, target: Target) -> None:
    spoilt = {"method": "PUT", "data": "x", "headers": {"X-A": "1", "X-B": "\x00"}, "query": {"a": "1"}}
    assert http.run(call(target.url("/bad"), **spoilt))[0].kind is OutcomeKind.UNSENDABLE  # type: ignore[arg-type]  # it must not fit
    with Driver() as fresh:
        fresh.get(target.url("/good"))
    http.get(target.url("/good"))
    assert target.received[0].head == target.received[1].head
