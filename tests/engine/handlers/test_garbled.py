"""What an engine makes of a runner whose users' code has written into the socket: that process is ended, and it costs
no other process anything. In most tests the process is one that sleeps, and the test speaks in its place.
"""

import contextlib
import itertools
import select
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks_server.clock import SystemClock
from tasks_server.domain.attempt import Outcome, OutcomeKind
from tasks_server.engine.calls import Done
from tasks_server.engine.handlers import crew, process
from tasks_server.engine.handlers.crew import CrewPlan
from tasks_server.engine.handlers.pool import HandlerPool
from tasks_server.engine.runs import Run
from tasks_server.handlers.frames import (
    Announced,
    Blocked,
    Call,
    Cancel,
    Ended,
    Loaded,
    NotLoaded,
    Start,
    ToEngine,
    ToRunner,
    frame,
    pack,
    to_engine,
    to_runner,
)
from tasks_server.telemetry import Telemetry
from tests.engine.handlers.driver import DEADLINE_SECONDS, working

pytestmark = pytest.mark.process
RESULT_BYTES_MAX = 1_000
MAIL = Announced("mail", True, None, None, None, None, None)
GOOD = Ended(1, "success", 200, None, b"1")
ENCODE = msgspec.msgpack.encode


def framed(data: bytes, length: int | None = None) -> bytes:
    return (len(data) if length is None else length).to_bytes(4, "big") + data


GARBAGE = {
    "text": b"Traceback (most recent call last):\n",
    "long": b"\xff" * 8,
    "not_utf8": framed(b"\x91\x95\x06\x01\xa7success\xcc\xc8\xa1\xff"),
    "deep": framed(b"\x91\x95\x06\x01\xa7success\xcc\xc8" + b"\x91" * 100_000),
    "huge_array": framed(b"\xdd\xff\xff\xff\xff"),
    "unknown": framed(ENCODE([[99, 1]])),
    "status": framed(ENCODE([[6, 1, "success", 9_999]])),
    "wait": framed(ENCODE([[6, 1, "failure", 500, None, None, 2**64 - 1]])),
    "loaded": frame([pack(Loaded([MAIL]))]),
    "not_loaded": frame([pack(NotLoaded("again", ""))]),
    "timeout": frame([pack(Loaded([Announced("mail", True, 10**18, None, None, None, None)]))]),
}


@pytest.mark.parametrize("name", sorted(GARBAGE.keys() - {"loaded", "not_loaded"}))
def test_what_came_before_the_garbage_counts(name: str) -> None:
    frames = to_engine(RESULT_BYTES_MAX)
    assert frames.feed(frame([pack(GOOD)]) + GARBAGE[name]) == [GOOD]
    assert frames.broken
    assert frames.feed(frame([pack(GOOD)])) == [], "nobody knows where a message begins"


def test_messages_may_come_in_any_pieces() -> None:
    frames, data = to_engine(RESULT_BYTES_MAX), frame([pack(GOOD), pack(Blocked(0))]) + frame([pack(GOOD)])
    heard = [message for byte in data for message in frames.feed(bytes([byte]))]
    assert heard == [GOOD, Blocked(0), GOOD]
    assert frames.broken is None


class Played:
    """A runner that the test speaks for."""

    def __init__(self, end: socket.socket) -> None:
        self.socket = end
        self.socket.settimeout(DEADLINE_SECONDS)
        self._frames = to_runner()
        self._heard: list[ToRunner] = []

    def hear(self) -> ToRunner:
        """The next that the engine says; a cancellation is passed over."""
        while True:
            while not self._heard:
                data = self.socket.recv(65_536)
                assert data
                self._heard += self._frames.feed(data)
            message = self._heard.pop(0)
            if not isinstance(message, Cancel):
                return message

    def say(self, *messages: ToEngine) -> None:
        self.socket.sendall(frame([pack(message) for message in messages]))


class Stage:
    """A pool of two runners that are played."""

    def __init__(self) -> None:
        self.ends: list[socket.socket] = []
        start = Start(["nothing"], b"/", RESULT_BYTES_MAX, "error", "json")
        told = Telemetry(SystemClock(), "error", "json", write=lambda _: None)
        self.pool = HandlerPool(CrewPlan(start, 2), SystemClock(), told)
        self._tokens = itertools.count(1)
        self._more = threading.Condition()
        self._done: dict[int, Outcome] = {}

    def began(self, end: socket.socket) -> None:
        """A runner was started."""
        with self._more:
            self.ends.append(end)
            self._more.notify_all()

    def on_done(self, batch: list[Done]) -> None:
        with self._more:
            self._done.update({done.token: done.outcome for done in batch})
            self._more.notify_all()

    def next(self) -> Played:
        """The runner that was started last, once it is there."""
        with self._more:
            assert self._more.wait_for(lambda: self.ends, DEADLINE_SECONDS)
            played = Played(self.ends.pop(0))
        assert isinstance(played.hear(), Start)
        played.say(Loaded([MAIL]))
        return played

    def send(self) -> int:
        token = next(self._tokens)
        self.pool.send([Run(token, "mail", b"null", f"TASK{token}", 1, 0, 0, 0, 0, 30_000, True)])
        return token

    def outcome(self, token: int) -> Outcome:
        with self._more:
            assert self._more.wait_for(lambda: token in self._done, DEADLINE_SECONDS), "it ends"
            return self._done.pop(token)

    def cast(self, cast: list[Played]) -> dict[Played, list[int]]:
        """Runs in the hands of each runner."""
        hands: dict[Played, list[int]] = {played: [] for played in cast}
        while not all(hands.values()):
            token = self.send()
            heard, _, _ = select.select([played.socket for played in cast], [], [], DEADLINE_SECONDS)
            (played,) = (played for played in cast if played.socket in heard)
            call = played.hear()
            assert isinstance(call, Call)
            assert call.token == token
            hands[played].append(token)
        return hands


@contextlib.contextmanager
def playing(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    stage = Stage()

    def pair() -> tuple[socket.socket, socket.socket]:
        ours, theirs = socket.socketpair()
        stage.began(theirs.dup())
        return ours, theirs

    monkeypatch.setattr(process, "socket", SimpleNamespace(socketpair=pair, SHUT_WR=socket.SHUT_WR))
    monkeypatch.setattr(process, "COMMAND", ("sleep", "3600"))
    monkeypatch.setattr(crew, "wait_ms", lambda *_: 0)
    stage.pool.start(stage.on_done, lambda: None, lambda _: None)
    try:
        yield stage
    finally:
        stage.pool.stop()
        for end in stage.ends:
            end.close()


WORDS = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(), st.text(), st.binary()),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    max_leaves=8,
)
ENDINGS = st.tuples(
    st.just(6),
    st.integers(0, 40),
    st.sampled_from(["success", "failure", "cancelled", "other"]),
    st.sampled_from([0, 200, 500, 599, 600]),
    st.one_of(st.none(), st.text(), st.just("\0"), st.just("x" * 10_000)),
    st.one_of(st.none(), st.binary(), st.just(b"x" * (RESULT_BYTES_MAX + 1))),
    st.one_of(st.none(), st.integers(-1, 2**64 - 1)),
    st.booleans(),
)
SAID = st.one_of(
    st.binary(max_size=60),
    WORDS.map(lambda words: framed(ENCODE(words))),
    st.lists(ENDINGS, max_size=3).map(lambda endings: framed(ENCODE(endings))),
    st.tuples(st.binary(max_size=40), st.integers(0, 2**32 - 1)).map(lambda drawn: framed(*drawn)),
    st.sampled_from([frame([pack(Blocked(0))]), frame([pack(Loaded([]))]), frame([]), frame([pack(GOOD)] * 3)]),
    st.sampled_from(list(GARBAGE.values())),
)
ENDS = {OutcomeKind.CRASHED, OutcomeKind.INTERRUPTED, OutcomeKind.SUCCESS, OutcomeKind.HANDLER_ERROR}


def test_whatever_a_process_says_costs_no_other_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    with playing(monkeypatch) as stage:
        cast = [stage.next(), stage.next()]

        def check(said: list[bytes]) -> None:
            hands = stage.cast(cast)
            hostile, bystander = cast
            with contextlib.suppress(OSError):  # it may be gone before all is said
                for part in said:
                    hostile.socket.sendall(part)
                hostile.socket.shutdown(socket.SHUT_RDWR)
            for token in hands[hostile]:
                outcome = stage.outcome(token)
                assert outcome.kind in ENDS
                assert len(outcome.response or b"") <= RESULT_BYTES_MAX
            bystander.say(*(Ended(token, "success", 200, None, b'"mine"') for token in hands[bystander]))
            for token in hands[bystander]:
                assert stage.outcome(token) == Outcome(OutcomeKind.SUCCESS, 200, response=b'"mine"')
            hostile.socket.close()
            cast[:] = [bystander, stage.next()]

        for garbage in GARBAGE.values():
            check([garbage])
        fewer = settings(max_examples=settings.default.max_examples // 2, suppress_health_check=[HealthCheck.too_slow])
        fewer(given(st.lists(SAID, min_size=1, max_size=3))(check))()
        for played in cast:
            played.socket.close()


SPEAKING = """
@handlers.register("speak")
async def speak(payload):
    os.write(int(sys.argv[1]), payload.encode())
    await asyncio.sleep(3600)

@handlers.register("wait")
async def wait(payload):
    tell(f"waits-{payload}", os.getpid())
    while not (HERE / "go").exists(): await asyncio.sleep(0.01)
    return "waited"
"""


def test_users_code_that_writes_into_the_socket(tmp_path: Path) -> None:
    with working(tmp_path, SPEAKING, processes=2) as driver:
        driver.until_known(lambda known: bool(known) and len(driver.events("handlers_loaded")) == 2)
        near, far = driver.send("wait", "near"), driver.send("wait", "far")
        assert driver.told("waits-near") != driver.told("waits-far")
        culprit = driver.send("speak", "hello world")
        blamed = driver.wait(culprit)[0]
        assert blamed.kind is OutcomeKind.INTERRUPTED, "which of the two it was is not known"
        (given_back,) = (token for token in (near, far) if token in driver.done)
        assert driver.wait(given_back)[0].kind is OutcomeKind.INTERRUPTED, "uncounted"
        (tmp_path / "go").touch()
        (other,) = {near, far} - {given_back}
        assert driver.wait(other)[0].response == b'"waited"'
        (event,) = driver.events("process_died")
        assert event["how"].startswith("killed, because something in it has written to its socket: a message of ")
