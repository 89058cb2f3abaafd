"""What goes over the wire for each field of a request."""

import base64

import msgspec
import pytest

from tasks_server.domain.attempt import OutcomeKind
from tasks_server.domain.request import FormPart, TaskConfig
from tasks_server.engine.http.options import unsupported_http_versions
from tests.engine.http.driver import AGENT, Driver
from tests.engine.http.target import Target

METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]


@pytest.mark.parametrize("method", METHODS)
def test_each_method_without_data(http: Driver, target: Target, method: str) -> None:
    assert http.get(target.url("/a"), method).status_code == 200
    received = target.last
    assert received.line == f"{method} /a HTTP/1.1"
    assert received.body == b""
    expected = "0" if method in ("POST", "PUT", "PATCH") else None
    assert received.header("Content-Length") == expected
    assert received.header("Content-Type") is None
    assert received.header("Transfer-Encoding") is None


@pytest.mark.option("method", "data")
@pytest.mark.parametrize("method", METHODS)
def test_each_method_with_data(http: Driver, target: Target, method: str) -> None:
    http.get(target.url("/a"), method, data="hello")
    received = target.last
    http.get(target.url("/a"), method, data_base64=base64.b64encode(b"hello").decode())
    assert (target.last.body, target.last.header("Content-Length")) == (
        received.body,
        received.header("Content-Length"),
    )
    assert received.line == f"{method} /a HTTP/1.1"
    if method in ("GET", "HEAD", "DELETE"):
        assert (received.body, received.header("Content-Length"), received.header("Content-Type")) == (b"", None, None)
    else:
        assert received.body == b"hello"
        assert received.header("Content-Length") == "5"
        assert received.header("Content-Type") == "text/plain; charset=utf-8"


def test_the_plainest_request_byte_for_byte(http: Driver, target: Target) -> None:
    http.get(target.url())
    assert target.last.head == (
        f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{target.port}\r\nAccept: */*\r\nUser-Agent: {AGENT}\r\n\r\n".encode()
    )


@pytest.mark.option("url")
def test_a_bare_host_is_its_root_path(http: Driver, target: Target) -> None:
    http.get(target.url(""))
    assert target.last.path == "/"
    http.get(target.url("?a=1"))
    assert target.last.path == "/?a=1"


@pytest.mark.option("url", "query")
@pytest.mark.parametrize(
    ("url", "query", "path"),
    [
        ("/p", {"a": "1", "b": "x y&z=ü"}, "/p?a=1&b=x+y%26z%3D%C3%BC"),
        ("/p?c=3", {"a": "1"}, "/p?c=3&a=1"),
        ("/p?", {"a": "1"}, "/p?a=1"),
        ("/p?c=3&", {"a": "1"}, "/p?c=3&a=1"),
        ("/p?c=3#part?", {"a": "1"}, "/p?c=3&a=1"),
        ("/p#part", None, "/p"),
        ("/p#part", {"a": ""}, "/p?a="),
        ("?c=3", {"a[0]": "1"}, "/?c=3&a%5B0%5D=1"),
        ("/ü/%2F", None, "/%C3%BC/%2F"),
    ],
)
def test_query_and_fragment(http: Driver, target: Target, url: str, query: dict[str, str] | None, path: str) -> None:
    assert http.get(target.url(url), query=query).kind is OutcomeKind.SUCCESS
    assert target.last.path == path


def test_text_is_sent_as_utf8_and_literally(http: Driver, target: Target) -> None:
    for text in ("@/etc/hostname", "</etc/hostname", "käse\r\n\x00end", "a=b&c=d"):
        http.get(target.url(), "POST", data=text)
        assert target.last.body == text.encode()
        assert target.last.header("Content-Type") == "text/plain; charset=utf-8"


def test_empty_text_is_an_empty_body(http: Driver, target: Target) -> None:
    http.get(target.url(), "POST", data="")
    assert target.last.header("Content-Length") == "0"
    assert target.last.header("Content-Type") == "text/plain; charset=utf-8"


@pytest.mark.option("data")
def test_an_object_is_json_as_it_came(http: Driver, target: Target) -> None:
    data = '{"b": [1.0, 1e400 ,null],\n"a":{"ü":"\\u00fc"}, "":1, "":2}'.encode()
    http.get(target.url(), "PATCH", json=data)
    assert target.last.body == data
    assert target.last.header("Content-Type") == "application/json"


@pytest.mark.option("dataBase64")
def test_base64_is_raw_bytes(http: Driver, target: Target) -> None:
    raw = bytes(range(256))
    http.get(target.url(), "PUT", data_base64=base64.b64encode(raw).decode())
    assert target.last.body == raw
    assert target.last.header("Content-Type") == "application/octet-stream"
    http.get(
        target.url(), "PUT", data_base64=base64.b64encode(raw).decode(), headers={"content-type": "application/x-own"}
    )
    assert target.last.body == raw
    assert target.last.header("Content-Type") == "application/x-own"


def parts_of(target: Target) -> list[tuple[bytes, bytes]]:
    """(Content-Disposition line, value) of each part of the last request's form."""
    kind = target.last.header("Content-Type")
    assert kind is not None
    boundary = kind.partition("boundary=")[2].encode()
    first, *parts, last = (b"\r\n" + target.last.body).split(b"\r\n--" + boundary)
    assert (first, last) == (b"", b"--\r\n")
    return [tuple(part.removeprefix(b"\r\n").split(b"\r\n\r\n", 1)) for part in parts]  # type: ignore[misc]  # there are two parts


@pytest.mark.option("data")
def test_a_form_is_multipart_with_literal_values(http: Driver, target: Target) -> None:
    values = ["@/etc/hostname", "<~/.netrc", "ü\r\n--x\x00", ";type=text/html"]
    http.get(target.url(), "POST", data=[FormPart(f"n{i}", value) for i, value in enumerate(values)])
    assert (target.last.header("Content-Type") or "").startswith("multipart/form-data; boundary=")
    assert parts_of(target) == [
        (f'Content-Disposition: form-data; name="n{i}"'.encode(), value.encode()) for i, value in enumerate(values)
    ]


def test_a_form_name_cannot_leave_its_quotes(http: Driver, target: Target) -> None:
    http.get(target.url(), "POST", data=[FormPart('a"; filename="x\r\nX: y', "v")])
    assert parts_of(target) == [(b'Content-Disposition: form-data; name="a%22; filename=%22x%0D%0AX: y"', b"v")]


def test_a_form_takes_the_callers_type_and_boundary(http: Driver, target: Target) -> None:
    data = [FormPart("a", "1")]
    http.get(target.url(), "POST", data=data, headers={"Content-Type": "multipart/mixed"})
    assert (target.last.header("Content-Type") or "").startswith("multipart/mixed; boundary=")
    assert len(parts_of(target)) == 1
    http.get(target.url(), "POST", data=data, headers={"Content-Type": 'multipart/form-data; boundary="my own"'})
    assert target.last.header("Content-Type") == 'multipart/form-data; boundary="my own"'
    assert target.last.body.startswith(b"--my own\r\n")
    http.get(target.url(), "POST", data=data, headers={"Content-Type": "text/odd"})
    assert target.last.header("Content-Type") == "text/odd"


def test_a_large_body_waits_for_no_100_continue(http: Driver, target: Target) -> None:
    http.get(target.url(), "POST", data="x" * 3_000_000)
    assert len(target.last.body) == 3_000_000
    assert target.last.header("Expect") is None


@pytest.mark.option("headers")
def test_callers_headers_replace_defaults_in_any_case(http: Driver, target: Target) -> None:
    headers = {
        "uSER-aGENT": "mine/1.0",
        "accept": "text/x",
        "CONTENT-TYPE": "text/own",
        "idempotency-key": "k",
        "X-Own": "käse",
    }
    http.get(target.url(), "POST", json=b'{"a":1}', headers=headers, ours=[("X-Tasks-Queue-Id", "ID")])
    received = target.last
    assert received.header("User-Agent") == "mine/1.0"
    assert received.header("Accept") == "text/x"
    assert received.header("Content-Type") == "text/own"
    assert received.header("Idempotency-Key") == "k"
    assert received.header("X-Own") == "käse"
    assert received.header("X-Tasks-Queue-Id") == "ID"


def test_our_headers_stand_against_the_callers(http: Driver, target: Target) -> None:
    http.get(target.url(), headers={"idempotency-key": "theirs"}, ours=[("Idempotency-Key", "ours")])
    assert target.last.header("Idempotency-Key") == "ours"


@pytest.mark.option("userAgent")
def test_the_user_agent_option_wins_over_the_header(http: Driver, target: Target) -> None:
    config = TaskConfig(user_agent="option/1.0")
    http.get(target.url(), headers={"user-agent": "header/1.0"}, config=config)
    assert target.last.header("User-Agent") == "option/1.0"


@pytest.mark.parametrize("value", ["", " ", "  "])
def test_an_empty_header_is_sent_empty(http: Driver, target: Target, value: str) -> None:
    http.get(target.url(), headers={"X-Empty": value, "Accept": value})
    assert b"\r\nX-Empty:\r\n" in target.last.head
    assert b"\r\nAccept:\r\n" in target.last.head


@pytest.mark.parametrize(
    "headers",
    [
        {"X-A": "a\r\nX-B: b"},
        {"X-A": "a\nb"},
        {"X-A": "a\x00b"},
        {"X-A": "a\x7f"},
        {"X-A\r\nX-B": "b"},
        {"X-A:": "b"},
        {"X A": "b"},
        {"": "b"},
        {"Content-Length": "5"},
        {"transfer-encoding": "chunked"},
        {"Expect": "100-continue"},
        {"X-Tasks-Queue-Id": "forged"},
    ],
)
def test_headers_that_would_break_the_message_are_refused(
    http: Driver, target: Target, headers: dict[str, str]
) -> None:
    outcome = http.get(target.url(), "POST", data="x", headers=headers)
    assert outcome.kind is OutcomeKind.UNSENDABLE
    assert outcome.error is not None
    assert "header" in outcome.error
    assert http.get(target.url("/after")).kind is OutcomeKind.SUCCESS
    assert [received.path for received in target.received] == ["/after"]


def test_our_own_headers_are_checked_too(http: Driver, target: Target) -> None:
    assert http.get(target.url(), ours=[("X-Tasks-Queue-Id", "a\r\nb")]).kind is OutcomeKind.UNSENDABLE
    assert not target.received


@pytest.mark.parametrize(
    "fault",
    [
        {"data_base64": "no base64!"},
        {"data": "\ud800"},
        {"data": {"a": object()}},
        {"headers": {"X-A": "\ud800"}},
        {"query": {"a": "\ud800"}},
        {"headers": {"X-A": 5}},
    ],
)
def test_what_cannot_be_prepared_ends_unsendable(http: Driver, target: Target, fault: dict[str, object]) -> None:
    outcome = http.get(target.url(), "POST", **fault)
    assert outcome.kind is OutcomeKind.UNSENDABLE
    assert outcome.error
    assert http.get(target.url()).kind is OutcomeKind.SUCCESS


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/x", "file:///etc/hostname", "http://", "http://a b/", "nonsense"])
def test_urls_that_are_not_http_end_unsendable(http: Driver, url: str) -> None:
    outcome = http.get(url)
    assert (outcome.kind, outcome.status_code) == (OutcomeKind.UNSENDABLE, 0)
    assert outcome.error is not None
    assert outcome.error.startswith("the request cannot be sent: the URL ")


@pytest.mark.parametrize(
    ("version", "line"), [("0.9", "1.0"), ("1.0", "1.0"), ("1.1", "1.1"), ("2", "1.1"), ("3", "1.1")]
)
def test_http_versions_in_clear_text(http: Driver, target: Target, version: str, line: str) -> None:
    config = msgspec.convert({"httpVersion": version}, TaskConfig)
    assert http.get(target.url("/v"), config=config).kind is OutcomeKind.SUCCESS
    assert target.last.line == f"GET /v HTTP/{line}"


def test_prior_knowledge_speaks_http_2_at_once(http: Driver, target: Target) -> None:
    http.get(target.url("/v"), config=TaskConfig(http_version="2-prior-knowledge"))
    assert target.received[0].line == "PRI * HTTP/2.0"


def test_unsupported_versions_are_known_before_a_call(monkeypatch: pytest.MonkeyPatch, http: Driver) -> None:
    assert unsupported_http_versions() <= {"2", "2-prior-knowledge", "3"}
    monkeypatch.setattr("pycurl.version_info", lambda: (0, "", 0, "", 0, ""))
    assert unsupported_http_versions() == {"2", "2-prior-knowledge", "3"}
    monkeypatch.setattr("tasks_server.engine.http.options._REFUSED", frozenset({"3"}))
    outcome = http.get("http://127.0.0.1:9/", config=TaskConfig(http_version="3"))
    assert outcome.kind is OutcomeKind.UNSENDABLE
    assert outcome.error == "the request cannot be sent: this server's HTTP library does not speak HTTP 3"


def test_nothing_of_the_environment_is_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory, target: Target
) -> None:
    home = tmp_path_factory.mktemp("home")
    (home / ".netrc").write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("HOME", str(home))
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with Driver() as http:
        assert http.get(target.url()).kind is OutcomeKind.SUCCESS
    assert target.last.header("Authorization") is None


def test_no_cookie_is_kept_between_calls(http: Driver, target: Target) -> None:
    target.scripts["/set"] = b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1; Path=/\r\nContent-Length: 0\r\n\r\n"
    http.get(target.url("/set"))
    http.get(target.url("/next"))
    assert target.last.header("Cookie") is None


def test_connections_are_used_again(http: Driver, target: Target) -> None:
    for method in METHODS:
        http.get(target.url(), method, data="x")
    assert {received.connection for received in target.received} == {1}
