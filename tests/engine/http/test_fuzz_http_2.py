"""Whatever a target answers in HTTP/2 ends its own call, in an outcome that makes sense, and touches no other call."""

from hypothesis import example, given
from hypothesis import strategies as st

from tasks_server.domain.request import TaskConfig
from tests.engine.http.driver import call
from tests.engine.http.liars import BODIES, TIMEOUT_MS, Scene, assert_makes_sense


def frame(kind: int, flags: int, stream: int, payload: bytes, *, length: int | None = None) -> bytes:
    """A frame of HTTP/2 (RFC 9113, 4.1)."""
    size = len(payload) if length is None else length
    return size.to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def fields(*pairs: tuple[bytes, bytes]) -> bytes:
    """Fields as literals that nobody remembers (RFC 7541, 6.2.2); each text is shorter than 127."""
    texts = (text for pair in pairs for text in pair)
    coded = [bytes([len(text)]) + text for text in texts]
    return b"".join(b"\0" + name + value for name, value in zip(coded[::2], coded[1::2], strict=True))


SETTINGS = frame(4, 0, 0, b"")
FIELDS = st.sampled_from(
    [
        *(fields((b":status", status)) for status in (b"200", b"404", b"302", b"103", b"99", b"abc", b"")),
        *(fields((b":status", b"200"), pair) for pair in ((b"content-length", b"2"), (b"content-length", b"-1"))),
        fields((b":status", b"302"), (b"location", b"/fuzz")),
        fields((b":status", b"503"), (b"x-tasks-no-retry", b"true"), (b"retry-after", b"9" * 100)),
        *(
            fields((b":status", b"200"), pair)
            for pair in ((b"Upper", b"a"), (b"a", b"\0\r\n"), (b"", b""), (b":x", b"y"))
        ),
        *(b"\xff" * 40, b"\x82\x86", b"", fields((b"x", b"y"))),
        fields((b":status", b"200"), *[(b"x-long", b"y" * 120)] * 1_000),
    ]
)
FRAMES_OF_2 = st.one_of(
    st.tuples(st.sampled_from([0, 1, 4, 5]), st.sampled_from([1, 3]), FIELDS).map(lambda got: frame(1, *got)),
    st.tuples(st.sampled_from([0, 1, 8]), st.sampled_from([0, 1, 3]), BODIES).map(
        lambda got: frame(0, got[0], got[1], got[2][:16_000])
    ),
    st.tuples(st.sampled_from([0, 1]), st.integers(0, 14)).map(
        lambda got: frame(3, 0, got[0], bytes(3) + bytes(got[1:]))
    ),
    st.integers(0, 14).map(lambda code: frame(7, 0, 0, bytes([0, 0, 0, 1, 0, 0, 0, code]) + b"bye")),
    st.sampled_from(
        [
            SETTINGS,
            frame(4, 0, 0, b"\0\5\0\0\0\1"),  # a frame size that is not allowed
            frame(4, 0, 0, b"\0\3\0\0\0\0"),  # no streams
            frame(4, 1, 0, b"") * 500,
            frame(6, 0, 0, b"12345678") * 2_000,
            frame(8, 0, 1, b"\x7f\xff\xff\xff") * 3,
            frame(5, 4, 1, b"\0\0\0\2" + fields((b":method", b"GET"))),
            frame(9, 0, 1, b"x" * 1_000) * 50,
            frame(1, 4, 1, b"") * 200,
            frame(0, 0, 1, b"x", length=16_777_215),
            frame(0, 0, 1, b"") * 5_000,
        ]
    ),
    st.builds(frame, st.integers(0, 255), st.integers(0, 255), st.integers(0, 5), st.binary(max_size=20)),
    st.binary(max_size=30),
)
HONEST_OF_2 = frame(1, 4, 1, fields((b":status", b"200"))) + frame(0, 1, 1, b"two")


@example([], SETTINGS, True)
@given(st.lists(FRAMES_OF_2, max_size=6), st.sampled_from([SETTINGS, SETTINGS, SETTINGS, b""]), st.booleans())
def test_any_frames_of_http_2_end_their_own_call_alone(
    scene: Scene, frames: list[bytes], begin: bytes, honest: bool
) -> None:
    scene.liar.said = begin + b"".join(frames) + (HONEST_OF_2 if honest else b"")
    scene.liar.stays = False
    config = TaskConfig(http_version="2-prior-knowledge")
    outcome = scene.run(call(scene.liar.url("/fuzz"), "POST", data="x", config=config, timeout_ms=TIMEOUT_MS))
    assert_makes_sense(outcome)
    if honest and begin and not frames:
        assert (outcome.status_code, outcome.response) == (200, b"two")
