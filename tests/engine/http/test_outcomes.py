"""How answers and failures become outcomes (contract section 5)."""

import gzip
import socket

import pytest

from tasks_server.clock import ManualClock
from tasks_server.domain.attempt import OutcomeKind
from tasks_server.domain.request import TaskConfig
from tests.engine.http.driver import RESPONSE_MAX_BYTES, Driver, call
from tests.engine.http.target import Connection, Received, Target, answer, close

CAP = RESPONSE_MAX_BYTES


def raw(data: bytes, *, then_close: bool = True):
    """Answers with these bytes, and closes."""

    async def script(connection: Connection, _request: Received) -> None:
        await connection.send(data)
        if then_close:
            await connection.close()

    return script


@pytest.mark.parametrize("status", [200, 201, 204, 299, 304, 399])
def test_below_400_is_success(http: Driver, target: Target, status: int) -> None:
    target.scripts["/"] = answer(status, b"")
    outcome = http.get(target.url())
    assert (outcome.kind, outcome.status_code, outcome.error, outcome.response) == ("success", status, None, None)


@pytest.mark.parametrize("status", [400, 404, 410, 489, 500, 503, 599])
def test_from_400_on_is_an_error_with_its_body(http: Driver, target: Target, status: int) -> None:
    target.scripts["/"] = answer(status, b"why")
    outcome = http.get(target.url())
    assert (outcome.kind, outcome.status_code, outcome.response) == (OutcomeKind.HTTP_ERROR, status, b"why")
    assert outcome.error == f"the target answered {status}"
    assert outcome.no_retry == (status in (410, 489))
    assert outcome.retry_after_ms is None


@pytest.mark.parametrize(
    ("status", "what"), [(700, "is no status of HTTP"), (999, "is no status of HTTP"), (101, "ends no request")]
)
def test_a_status_that_is_none_fails_in_plain_words(http: Driver, target: Target, status: int, what: str) -> None:
    target.scripts["/"] = raw(f"HTTP/1.1 {status} Reason\r\nUpgrade: x\r\n\r\nmore".encode())
    outcome = http.get(target.url())
    assert outcome.kind is OutcomeKind.CONNECTION
    assert outcome.error == f"the target answered {status}, which {what}"


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("X-Tasks-No-Retry: true", True),
        ("x-tasks-no-retry:TRUE ", True),
        ("X-Tasks-No-Retry: false", False),
        ("X-Tasks-No-Retry: ", False),
        ("X-Other: true", False),
    ],
)
def test_the_target_may_end_the_retries(http: Driver, target: Target, header: str, expected: bool) -> None:
    target.scripts["/"] = f"HTTP/1.1 500 No\r\n{header}\r\nContent-Length: 0\r\n\r\n".encode()
    assert http.get(target.url()).no_retry is expected


NOW = 1_700_000_000_000  # Tue, 14 Nov 2023 22:13:20 GMT


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("0", 0),
        ("7", 7_000),
        ("86400", 86_400_000),
        ("9" * 50, 10**12),
        ("9" * 5_000, 10**12),
        ("Tue, 14 Nov 2023 22:13:25 GMT", 5_000),
        ("Tuesday, 14-Nov-23 22:13:25 GMT", 5_000),
        ("Tue Nov 14 22:13:25 2023", 5_000),
        ("Tue, 14 Nov 2023 22:13:00 GMT", 0),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("", None),
        ("Tue, 99 Nov 2023 22:13:25 GMT", None),
        ("\xff\xfe", None),
    ],
)
def test_retry_after_is_seconds_or_a_date_against_the_clock(target: Target, value: str, expected: int | None) -> None:
    target.scripts["/"] = f"HTTP/1.1 429 Slow\r\nRetry-After: {value}\r\nContent-Length: 0\r\n\r\n".encode("latin-1")
    with Driver(ManualClock(NOW)) as http:
        assert http.get(target.url()).retry_after_ms == expected


def test_headers_of_trailers_and_interim_answers_do_not_count(http: Driver, target: Target) -> None:
    target.scripts["/"] = (
        b"HTTP/1.1 103 Early\r\nRetry-After: 1\r\n\r\n"
        b"HTTP/1.1 503 No\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Tasks-No-Retry: true\r\n\r\n"
    )
    outcome = http.get(target.url())
    assert (outcome.status_code, outcome.response, outcome.no_retry, outcome.retry_after_ms) == (
        503,
        b"abc",
        False,
        None,
    )


def test_the_response_is_the_bytes_received(http: Driver, target: Target) -> None:
    body = bytes(range(256))
    packed = gzip.compress(b"x" * 100_000)
    target.scripts |= {"/raw": answer(200, body), "/packed": answer(200, packed, Content_Encoding="gzip")}
    assert http.get(target.url("/raw")).response == body
    assert http.get(target.url("/packed"), headers={"Accept-Encoding": "gzip"}).response == packed
    assert http.get(target.url("/packed")).response == packed
    assert target.last.header("Accept-Encoding") is None


def test_a_body_in_pieces_is_put_together(http: Driver, target: Target) -> None:
    async def drip(connection: Connection, _request: Received) -> None:
        await connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for piece in (b"a", b"b", b"c"):
            await connection.send(b"1\r\n" + piece + b"\r\n")
        await connection.send(b"0\r\n\r\n")

    target.scripts["/"] = drip
    assert http.get(target.url()).response == b"abc"


@pytest.mark.option("traceResponseData")
@pytest.mark.parametrize("trace", [True, False])
@pytest.mark.parametrize("status", [200, 500])
def test_the_body_is_kept_only_when_asked_for(http: Driver, target: Target, trace: bool, status: int) -> None:
    target.scripts["/"] = answer(status, b"body")
    outcome = http.get(target.url(), config=TaskConfig(trace_response_data=trace))
    assert (outcome.status_code, outcome.response) == (status, b"body" if trace else None)


def test_nothing_may_be_kept(target: Target) -> None:
    target.scripts["/empty"] = answer(200, b"")
    with Driver(response_max_bytes=0) as http:
        outcome = http.get(target.url())
        assert (outcome.kind, outcome.response, outcome.response_truncated) == (OutcomeKind.SUCCESS, None, True)
        assert http.get(target.url("/empty")).response_truncated is False


@pytest.mark.parametrize("trace", [True, False])
def test_a_body_may_be_as_large_as_the_cap(http: Driver, target: Target, trace: bool) -> None:
    target.scripts["/"] = answer(200, b"x" * CAP)
    assert http.get(target.url(), config=TaskConfig(trace_response_data=trace)).kind is OutcomeKind.SUCCESS


@pytest.mark.parametrize("trace", [True, False])
@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("status", [200, 206, 304, 404, 410, 429, 503])
@pytest.mark.parametrize("size", [CAP, CAP + 1, 20 * CAP])
def test_a_large_body_drowns_nothing_of_what_status_and_headers_say(
    http: Driver, target: Target, trace: bool, method: str, status: int, size: int
) -> None:
    body = b"" if status == 304 else bytes(number % 251 for number in range(size))
    target.scripts["/"] = answer(status, body, Retry_After="3600", X_Tasks_No_Retry="true")
    outcome = http.get(target.url(), method, config=TaskConfig(trace_response_data=trace))
    succeeds = status < 400
    assert (outcome.kind, outcome.status_code) == ("success" if succeeds else "http_error", status)
    assert (outcome.retry_after_ms, outcome.no_retry) == ((None, False) if succeeds else (3_600_000, True))
    assert outcome.error == (None if succeeds else f"the target answered {status}")
    assert outcome.response == ((body[:CAP] or None) if trace else None)
    assert outcome.response_truncated is (trace and len(body) > CAP)
    assert http.get(target.url("/next")).response == b"ok"


def test_what_is_not_kept_is_not_read(http: Driver, target: Target) -> None:
    async def announce(connection: Connection, _request: Received) -> None:
        await connection.send(f"HTTP/1.1 200 OK\r\nContent-Length: {10**12}\r\n\r\n".encode() + b"x" * (CAP + 1))
        await connection.reader.read()

    target.scripts["/"] = announce
    outcome = http.get(target.url())
    assert (outcome.kind, outcome.response, outcome.response_truncated) == (OutcomeKind.SUCCESS, b"x" * CAP, True)
    target.wait(lambda seen: seen.closed == 1)


@pytest.mark.parametrize("trace", [True, False])
@pytest.mark.parametrize("chunked", [True, False])
@pytest.mark.parametrize("status", [200, 404])
def test_an_endless_body_is_cut_off(http: Driver, target: Target, trace: bool, chunked: bool, status: int) -> None:
    async def endless(connection: Connection, _request: Received) -> None:
        coding = "Transfer-Encoding: chunked\r\n" if chunked else ""
        await connection.send(f"HTTP/1.1 {status} OK\r\n{coding}\r\n".encode())
        while True:  # ends when the client has closed the connection
            await connection.send(b"64\r\n" + b"x" * 100 + b"\r\n" if chunked else b"x" * 100)

    target.scripts["/"] = endless
    outcome = http.get(target.url(), config=TaskConfig(trace_response_data=trace))
    assert outcome.status_code == status
    assert (outcome.response, outcome.response_truncated) == ((b"x" * CAP, True) if trace else (None, False))
    target.wait(lambda seen: seen.closed == 1)
    assert http.get(target.url("/next")).kind is OutcomeKind.SUCCESS


def test_the_size_that_head_announces_is_no_fault(http: Driver, target: Target) -> None:
    target.scripts["/"] = f"HTTP/1.1 200 OK\r\nContent-Length: {10**10}\r\n\r\n".encode()
    assert http.get(target.url(), "HEAD").kind is OutcomeKind.SUCCESS


@pytest.mark.parametrize("length", [f"Content-Length: {10**12}", "X-None: 1"])
def test_the_size_of_a_redirect_on_the_way_is_no_fault(http: Driver, target: Target, length: str) -> None:
    async def endless(connection: Connection, _request: Received) -> None:
        await connection.send(f"HTTP/1.1 302 Found\r\nLocation: /to\r\n{length}\r\n\r\n".encode())
        while True:  # ends when the client has closed the connection
            await connection.send(b"x" * 1_000)

    target.scripts["/from"] = endless
    outcome = http.get(target.url("/from"))
    assert (outcome.status_code, outcome.response, outcome.response_truncated) == (200, b"ok", False)


@pytest.mark.parametrize("begin", [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 503 No\r\nContent-Length: 2\r\n", b""])
@pytest.mark.parametrize(
    ("first", "piece"),
    [
        (b"", b"X-Padding: " + b"x" * 1_000 + b"\r\n"),
        (b"", b"X: 1\r\n"),
        (b"X-Long: ", b"x" * 1_000),
        (b"HTTP/1.1 103 Early\r\n", b"Link: </a>\r\n"),
    ],
    ids=["large", "many", "long", "interim"],
)
def test_headers_without_end_are_the_answers_fault(
    http: Driver, target: Target, begin: bytes, first: bytes, piece: bytes
) -> None:
    async def endless(connection: Connection, _request: Received) -> None:
        await connection.send(begin + first)
        while True:  # ends when the client has closed the connection
            await connection.send(piece)

    target.scripts["/"] = endless
    outcome = http.get(target.url(), "POST", data="x")
    assert outcome.kind is OutcomeKind.CONNECTION
    assert (outcome.error or "").startswith(f"127.0.0.1:{target.port}") or "header" in (outcome.error or "")
    target.wait(lambda seen: seen.closed == 1)


@pytest.mark.parametrize("lines", ["X-Long: " + "x" * 110_000 + "\r\n", "X: 1\r\n" * 6_000])
@pytest.mark.parametrize("status", [200, 503])
def test_long_headers_are_the_answers_fault(http: Driver, target: Target, lines: str, status: int) -> None:
    target.scripts["/"] = f"HTTP/1.1 {status} OK\r\n{lines}Content-Length: 2\r\n\r\nok".encode()
    outcome = http.get(target.url(), "POST", data="x")
    assert outcome.kind is OutcomeKind.CONNECTION
    assert outcome.error == f"127.0.0.1:{target.port} sent more or longer header lines than can be taken in"


def test_no_answer_in_time(http: Driver, target: Target) -> None:
    async def silent(connection: Connection, _request: Received) -> None:
        await connection.reader.read()

    target.scripts["/"] = silent
    outcome = http.get(target.url(), timeout_ms=100)
    assert (outcome.kind, outcome.status_code, outcome.response) == (OutcomeKind.TIMEOUT, 408, None)
    assert outcome.error == f"no answer from 127.0.0.1:{target.port} within 100 ms"
    target.wait(lambda seen: seen.closed == 1)


def test_an_answer_that_stops_half_way_times_out(http: Driver, target: Target) -> None:
    async def half(connection: Connection, _request: Received) -> None:
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        await connection.reader.read()

    target.scripts["/"] = half
    outcome = http.get(target.url(), timeout_ms=100)
    assert (outcome.kind, outcome.response) == (OutcomeKind.TIMEOUT, None)


def test_a_refused_connection(http: Driver) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
        outcome = http.get(f"http://127.0.0.1:{port}/path?secret=1")
    assert (outcome.kind, outcome.status_code) == (OutcomeKind.CONNECTION, 0)
    assert outcome.error == f"connection refused by 127.0.0.1:{port}"


def test_an_unknown_host(http: Driver) -> None:
    outcome = http.get("http://name.invalid/path?secret=1")
    assert (outcome.kind, outcome.status_code) == (OutcomeKind.CONNECTION, 0)
    assert outcome.error == "unknown host name.invalid:80"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "{host} closed the connection without an answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Le", "the target closed the connection in the middle of its headers"),
        (b"HTTP/1.1 200 OK\r\nX-A: 1\r\n", "the target closed the connection in the middle of its headers"),
        (b"HTTP/1.1 200 OK\r\n", "the target closed the connection in the middle of its headers"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
            "{host} closed the connection in the middle of its answer",
        ),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhal",
            "{host} closed the connection in the middle of its answer",
        ),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "{host} did not answer in HTTP"),
        (b"HTTP/1.1 abc OK\r\n\r\n", "{host} did not answer in HTTP"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "the connection to {host} broke"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", "{host} did not answer in HTTP"),
        (b"\x00\x01\x02\x03" * 100, "{host} did not answer in HTTP"),
    ],
)
def test_broken_answers_end_in_plain_words(http: Driver, target: Target, data: bytes, reason: str) -> None:
    target.scripts["/"] = raw(data)
    outcome = http.get(target.url())
    assert (outcome.kind, outcome.status_code, outcome.response) == (OutcomeKind.CONNECTION, 0, None)
    assert outcome.error is not None
    assert outcome.error.startswith(reason.format(host=f"127.0.0.1:{target.port}"))


def test_an_answer_without_length_ends_with_the_connection(http: Driver, target: Target) -> None:
    target.scripts["/"] = raw(b"HTTP/1.1 200 OK\r\n\r\nall of it")
    assert http.get(target.url()).response == b"all of it"


def test_http_09_is_understood_only_when_asked_for(http: Driver, target: Target) -> None:
    target.scripts["/"] = raw(b"just text")
    assert http.get(target.url()).kind is OutcomeKind.CONNECTION
    outcome = http.get(target.url(), config=TaskConfig(http_version="0.9"))
    assert (outcome.kind, outcome.status_code, outcome.response) == (OutcomeKind.SUCCESS, 200, b"just text")
    assert http.get(target.url()).kind is OutcomeKind.CONNECTION


def test_a_kept_connection_that_the_target_closed_is_opened_anew(http: Driver, target: Target) -> None:
    http.get(target.url("/first"))
    target.scripts["/close"] = close
    assert http.get(target.url("/close")).kind is OutcomeKind.CONNECTION
    assert http.get(target.url("/second"), "POST", data="x").kind is OutcomeKind.SUCCESS


def test_instants_are_the_clocks(target: Target) -> None:
    clock = ManualClock(NOW)

    async def later(connection: Connection, _request: Received) -> None:
        clock.advance(250)
        await connection.send(answer())

    target.scripts["/"] = later
    with Driver(clock) as http:
        one = call(target.url())
        http.run(one)
        done = http.done[one.token]
    assert (done.started_at, done.ended_at) == (NOW, NOW + 250)
