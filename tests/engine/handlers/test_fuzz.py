"""Handlers that do anything, beside a bystander: its result is never touched, and no run ends as a timeout that was
none. More of it by `make explore`.
"""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks_server.domain.attempt import OutcomeKind
from tests.engine.handlers import hostile
from tests.engine.handlers.driver import working
from tests.engine.handlers.test_hostile import MODULE, among_bystanders, assert_told, logged

pytestmark = pytest.mark.process
SHARED = settings(suppress_health_check=[HealthCheck.too_slow])

# What handlers say, raise and give, described in JSON for `hostile.perform`

LARGE = {"huge", "many", "page", "laughs", "large_group"}
POINTS = st.one_of(st.integers(0, 0x7F), st.integers(0, 0x10FFFF), st.integers(0xD800, 0xDFFF))
TEXTS = st.lists(POINTS, max_size=20)
NUMBERS = st.one_of(st.integers(-(2**80), 2**80), st.floats(), st.just(10**400)).map(str)
PLAIN = st.one_of(
    st.builds(lambda points: {"text": points}, TEXTS),
    st.builds(lambda number: {"number": number}, NUMBERS),
    st.sampled_from([{"plain": None}, {"plain": True}, {"plain": 1.5}]),
    st.sampled_from(sorted(hostile.OBJECTS.keys() - LARGE)).map(lambda name: {"object": name}),
)
VALUES = st.recursive(
    PLAIN,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda values: {"list": values}),
        st.lists(st.tuples(TEXTS, inner), max_size=3).map(lambda entries: {"dict": entries}),
    ),
    max_leaves=5,
)


def raising(
    cause: st.SearchStrategy[dict[str, Any] | None], inner: st.SearchStrategy[list[dict[str, Any]]]
) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {
            "kind": st.sampled_from([*sorted(hostile.KINDS), *sorted(hostile.ERRORS.keys() - LARGE), "group"]),
            "arguments": st.lists(VALUES, max_size=2),
            "cause": cause,
            "inner": inner,
            "notes": st.lists(TEXTS, max_size=2),
        }
    )


EXCEPTIONS = st.recursive(
    raising(st.none(), st.just([])),
    lambda inner: raising(st.one_of(st.none(), inner), st.lists(inner, max_size=2)),
    max_leaves=4,
)
LINES = st.fixed_dictionaries(
    {
        "logger": TEXTS,
        "level": st.sampled_from([0, 10, 20, 30, 40, 50, 99]),
        "message": st.one_of(VALUES, st.just({"text": list(b"%s %d %(a)s")})),
        "arguments": st.lists(VALUES, max_size=2),
        "extra": st.sampled_from([{"plain": None}, {"dict": [[list(b"task"), {"object": "unkind"}]]}]),
    }
)
DEEDS = st.one_of(
    EXCEPTIONS.map(lambda one: {"raise": one}),
    VALUES.map(lambda one: {"give": one}),
    LINES.map(lambda one: {"log": one}),
)


def test_whatever_handlers_raise_give_and_log(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with working(tmp_path, MODULE) as driver:

        @SHARED
        @given(st.sampled_from(["hostile", "hostile-sync"]), DEEDS)
        def check(name: str, deed: dict[str, Any]) -> None:
            outcome = among_bystanders(driver, name, {"do": deed})
            if "raise" in deed:
                assert outcome.kind is OutcomeKind.HANDLER_ERROR
                assert outcome.error
            elif "give" in deed:
                assert outcome.kind is OutcomeKind.SUCCESS
                if outcome.response is not None:
                    msgspec.json.decode(outcome.response)
            else:  # what cannot even be logged is a fault of the handler
                assert outcome.kind in (OutcomeKind.SUCCESS, OutcomeKind.HANDLER_ERROR)
            assert_told(outcome)

        check()
    for line in logged(capfd):
        assert line["event"] not in ("unexpected", "loop_disturbed"), line
