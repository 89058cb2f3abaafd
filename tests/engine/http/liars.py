"""A target that answers with any bytes it is given, and a scene in which others are called at once and after it."""

import gzip
from typing import Any

import msgspec
from hypothesis import strategies as st

from tasks_server.domain import limits
from tasks_server.domain.attempt import Outcome, OutcomeKind
from tasks_server.engine.calls import Call
from tests.engine.http.driver import RESPONSE_MAX_BYTES, Driver, call
from tests.engine.http.target import Connection, Received, Target

CAP = RESPONSE_MAX_BYTES
TIMEOUT_MS = 20_000
"""No answer here takes so long: who runs into it was told a lie, or hangs."""


class Said:
    """Bytes that are shown in part."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def __repr__(self) -> str:
        return f"Said({self.data[:300]!r}… {len(self.data)} bytes)"


BOMB = gzip.compress(b"x" * 1_000_000)
BODIES = st.one_of(
    st.just(b""),
    st.binary(max_size=40),
    st.sampled_from([b"x" * CAP, b"x" * (CAP + 1), b"x" * 40 * CAP, BOMB, BOMB[:-9], gzip.compress(b"a")[2:]]),
    st.sampled_from([b"HTTP/1.1 200 OK\r\n\r\n", b"\r\n\r\n", b"\0\r\n", b"0\r\n\r\n"]),
)


class Liar(Target):
    """Answers `/fuzz` with the bytes it is given, and everything else with "ok"."""

    said = b""
    stays = False

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.scripts = {"/fuzz": self._lie, "*": self._lie}

    async def _lie(self, connection: Connection, _request: Received) -> None:
        await connection.send(self.said)
        if not self.stays:
            await connection.close()


class Scene:
    """A client, a target that lies, and one that does not."""

    def __init__(self, driver: Driver, liar: Liar, honest: Target) -> None:
        self.driver, self.liar, self.honest = driver, liar, honest

    def __repr__(self) -> str:
        return "Scene()"

    def run(self, fuzzed: Call) -> Outcome:
        """The outcome of that call. Others are made at once and after it, and come to what they should."""
        others = [self._bystander(target) for target in (self.liar, self.honest)]
        outcome, *bystanders = self.driver.run(fuzzed, *others)
        bystanders += self.driver.run(*(self._bystander(target) for target in (self.liar, self.honest)))
        for each in bystanders:
            assert (each.kind, each.status_code, each.response) == (OutcomeKind.SUCCESS, 200, b"ok")
        return outcome

    @staticmethod
    def _bystander(target: Target) -> Call:
        return call(target.url("/ok"), "POST", data="x", timeout_ms=TIMEOUT_MS)


def assert_makes_sense(outcome: Outcome, *, may_be_late: bool = False) -> None:
    kinds = {OutcomeKind.SUCCESS: range(200, 400), OutcomeKind.HTTP_ERROR: range(400, 600)}
    if may_be_late and outcome.kind is OutcomeKind.TIMEOUT:
        return
    assert outcome.kind in (*kinds, OutcomeKind.CONNECTION)
    assert outcome.status_code in kinds.get(outcome.kind, (0,))
    assert (outcome.error is None) == (outcome.kind is OutcomeKind.SUCCESS)
    assert len(outcome.response or b"") <= CAP
    assert not outcome.response_truncated or len(outcome.response or b"") == CAP
    assert outcome.retry_after_ms is None or 0 <= outcome.retry_after_ms <= 10**12
    assert len(outcome.error or "") <= limits.ERROR_LENGTH_MAX
    msgspec.json.encode(outcome)  # what is no Unicode could not be stored
