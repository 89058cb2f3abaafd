"""Whatever a target answers in HTTP/1 ends its own call, in an outcome that makes sense, and touches no other call."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tasks_server.domain.options import Cookie, Credentials
from tasks_server.domain.request import TaskConfig
from tests.engine.http.driver import call
from tests.engine.http.liars import BODIES, CAP, TIMEOUT_MS, Said, Scene, assert_makes_sense

STATUSES = st.one_of(
    st.sampled_from([200, 201, 204, 206, 301, 302, 303, 304, 307, 308, 309, 400, 401, 404, 407, 408, 410, 429, 503]),
    st.integers(0, 1_100),
)
VERSIONS = st.sampled_from(["HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/0.9", "HTTP/2", "HTTP/3", "http/1.1"])
NAMES = [
    *("Location", "Retry-After", "X-Tasks-No-Retry", "Set-Cookie", "Connection", "Keep-Alive", "Content-Encoding"),
    *("Content-Length", "Transfer-Encoding", "Trailer", "Upgrade", "Content-Range", "WWW-Authenticate", "Alt-Svc"),
    *("Strict-Transport-Security", "Proxy-Authenticate", "HTTP/1.1 200 OK", "X", ""),
]
VALUES = [
    *(
        "",
        "/ok",
        "/fuzz",
        "//",
        "http://[",
        "ftp://a/",
        "http://127.0.0.1:1/",
        "?a",
        "\\\\a",
        "/%zz",
        "1",
        "-1",
        "true",
    ),
    *("close", "keep-alive", "upgrade", "gzip", "chunked", "gzip, chunked", "identity", "9" * 400, "0x10", "1, 2"),
    *("Wed, 21 Oct 2015 07:28:00 GMT", "a=b; Secure", "Basic realm=", "Digest nonce=", "NTLM x", 'h3=":1"; ma=1'),
]
TEXTS = st.one_of(
    st.sampled_from(VALUES).map(str.encode),
    st.binary(max_size=12),
    st.sampled_from(
        [b"x" * 3_000, b"x" * 110_000, b"a\0b", b"a\r\n folded", b"\xff\xfe", b"a\rb", b"\r\n\r\nHTTP/1.1 200"]
    ),
)
LINES = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(NAMES).map(str.encode), TEXTS).map(b": ".join),
        st.sampled_from([b"no colon", b": no name", b" begins folded", b"\x00: 1", b"\xff\xfe", b"X:1\n" * 3]),
        st.sampled_from([b"\r\n".join([b"X: 1"] * 6_000)]),
    ),
    max_size=4,
)
ENDS = st.sampled_from([b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r", b"\r\r\n", b""])


def chunked(body: bytes, size: int = 700) -> bytes:
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


FRAMES = st.sampled_from(
    [
        *("exact", "close", "chunked", "trailers", "too short", "too long", "huge", "negative", "twice", "both"),
        *("chunk cut", "chunk size", "chunk sign", "chunk bytes", "chunk extension", "chunk end", "no end"),
    ]
)


HONEST = ["exact", "chunked", "trailers"]


def framed(kind: str, body: bytes) -> tuple[bytes, bytes]:
    """The header lines that announce a body, and what follows them; most of it is a lie."""
    length = b"Content-Length: %d\r\n"
    coding = b"Transfer-Encoding: chunked\r\n"
    match kind:
        case "exact":
            return length % len(body), body
        case "chunked":
            return coding, chunked(body)
        case "trailers":
            return coding, chunked(body)[:-2] + b"Location: /x\r\nHTTP/1.1: 500\r\nX-Tasks-No-Retry: true\r\n\r\n"
        case "too short":
            return length % (len(body) // 2), body
        case "too long":
            return length % (len(body) + 7), body
        case "huge":
            return b"Content-Length: 99999999999999999999999\r\n", body
        case "negative":
            return b"Content-Length: -5\r\n", body
        case "twice":
            return length % len(body) + length % (len(body) + 1), body
        case "both":
            return length % 3 + coding, chunked(body)
        case "chunk cut":
            return coding, chunked(body)[:-6]
        case "chunk size":
            return coding, b"fffffffffffffffff\r\n" + body
        case "chunk sign":
            return coding, b"-1\r\n" + body
        case "chunk bytes":
            return coding, b"\xff\xfe\x00\r\n" + body
        case "chunk extension":
            return coding, b"1;" + b"a=b;" * 30_000 + b"\r\nx\r\n0\r\n\r\n"
        case "chunk end":
            return coding, b"1\r\nxyz" + body
        case "no end":
            return coding, chunked(body)[:-5] + b"0\r\nX: 1\r\n"
    return b"", body


@st.composite
def answers(draw: st.DrawFn) -> Said:
    """Anything that looks more or less like an answer."""
    interim = draw(st.sampled_from([0, 0, 0, 1, 3, 40, 4_000]))
    begin = (
        draw(st.sampled_from([b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early\r\nLink: </a>\r\n\r\n"])) * interim
    )
    line = f"{draw(VERSIONS)} {draw(STATUSES)} ".encode() + draw(st.sampled_from([b"OK", b"", b"\xff", b"a\0b"]))
    announced, body = framed(draw(FRAMES), draw(BODIES))
    lines = draw(LINES)
    head = b"".join(part + draw(ENDS) for part in [line, *lines])
    whole = begin + head + announced + draw(ENDS) + body
    after = draw(st.sampled_from([b"", b"", b"HTTP/1.1 500 Poison\r\nContent-Length: 6\r\n\r\npoison", b"\0", b"\r\n"]))
    cut = draw(st.none() | st.integers(0, len(whole)))
    return Said((whole if cut is None else whole[:cut]) + after)


JOE = Credentials("joe", "secret")
WAYS: dict[str, tuple[dict[str, Any], TaskConfig]] = {
    "plain": ({}, TaskConfig()),
    "untraced": ({}, TaskConfig(trace_response_data=False)),
    "old": ({}, TaskConfig(http_version="0.9")),
    "curl": ({"transport": "curl"}, TaskConfig(location_trusted=JOE, hsts=True)),
    "digest": ({"auth_digest": JOE, "cookie": [Cookie("a", "1")]}, TaskConfig()),
    "ntlm": ({"auth_ntlm": JOE}, TaskConfig()),
    "fetch": ({}, TaskConfig(credentials="include", mode="cors", referrer_policy="")),
}


@given(answers(), st.sampled_from(["GET", "POST", "HEAD"]), st.sampled_from(sorted(WAYS)))
def test_any_answer_ends_its_own_call_alone(scene: Scene, said: Said, method: str, way: str) -> None:
    scene.liar.said, scene.liar.stays = said.data, False
    request, config = WAYS[way]
    fuzzed = call(scene.liar.url("/fuzz"), method, config=config, timeout_ms=TIMEOUT_MS, **request)
    assert_makes_sense(scene.run(fuzzed))


@given(STATUSES.filter(lambda status: 200 <= status < 600), BODIES.map(Said), st.sampled_from(HONEST))
def test_what_is_honest_is_understood_also_on_a_connection_that_stays(
    scene: Scene, status: int, whole: Said, frame: str
) -> None:
    frame, body = ("exact", b"") if status in (204, 304) else (frame, whole.data)
    announced, sent = framed(frame, body)
    scene.liar.said = b"HTTP/1.1 %d Reason\r\nX-Tasks-No-Retry: true\r\n%b\r\n%b" % (status, announced, sent)
    scene.liar.stays = True
    outcome = scene.run(call(scene.liar.url("/fuzz"), timeout_ms=TIMEOUT_MS))
    assert_makes_sense(outcome)
    assert (outcome.status_code, outcome.response) == (status, body[:CAP] or None)
    assert outcome.response_truncated is (len(body) > CAP)
    assert outcome.no_retry is (status >= 400)


@given(answers())
def test_what_follows_an_answer_is_nobodys(scene: Scene, said: Said) -> None:
    """The connection stays open with whatever is left on it: no later call may take that for its own answer. Where the
    answer has no end, its time is over, and that alone.
    """
    scene.liar.said, scene.liar.stays = said.data, True
    assert_makes_sense(scene.run(call(scene.liar.url("/fuzz"), timeout_ms=30)), may_be_late=True)
