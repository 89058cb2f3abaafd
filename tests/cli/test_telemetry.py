"""Events become lines: one each, for machines or people, and only those that matter."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks_server.clock import ManualClock
from tasks_server.domain.errors import Unavailable
from tasks_server.telemetry import Telemetry, write_to_stderr
from tasks_server.telemetry.events import (
    VALUE_LENGTH_MAX,
    HandlerProblem,
    ProcessDied,
    ProcessStarted,
    RequestServed,
    SettingIgnored,
    StoreTrouble,
    TelemetryEvent,
    Unexpected,
    event_name,
)
from tasks_server.traces import LENGTH_MAX


@pytest.fixture
def lines() -> list[bytes]:
    return []


def test_a_line_of_json_has_time_level_name_and_facts(lines: list[bytes]) -> None:
    telemetry = Telemetry(ManualClock(1_700_000_000_123), form="json", write=lines.append)
    telemetry.emit(ProcessDied(role="api", pid=7, how="killed by SIGKILL", restart_in_ms=0))
    assert lines[0].endswith(b"\n")
    assert msgspec.json.decode(lines[0]) == {
        "at": "2023-11-14T22:13:20.123Z",
        "level": "error",
        "event": "process_died",
        "role": "api",
        "pid": 7,
        "how": "killed by SIGKILL",
        "restart_in_ms": 0,
    }


def test_a_line_for_people(lines: list[bytes]) -> None:
    Telemetry(ManualClock(0), write=lines.append).emit(ProcessStarted(role="engine", pid=7))
    assert lines == [b"1970-01-01T00:00:00.000Z info    process started    role=engine  pid=7\n"]


def test_color_marks_the_level_only(lines: list[bytes]) -> None:
    Telemetry(ManualClock(0), write=lines.append, colored=True).emit(SettingIgnored(message="x"))
    assert b"\x1b[33mwarning\x1b[0m setting ignored    message=x\n" in lines[0]


def test_values_cannot_break_out_of_their_line(lines: list[bytes]) -> None:
    told = SettingIgnored(message="a\nlevel=error \x1b[2J")
    for form in ("console", "json"):
        Telemetry(ManualClock(0), form=form, write=lines.append).emit(told)
    for line in lines:
        assert line.count(b"\n") == 1
        assert b"\x1b" not in line


def test_the_same_trouble_is_told_now_and_then_not_with_every_request(lines: list[bytes]) -> None:
    clock = ManualClock()
    telemetry = Telemetry(clock, write=lines.append)
    full = StoreTrouble(doing="claim", code="store_unavailable", message="the disk is full")
    for _ in range(100):
        telemetry.emit(full)
    telemetry.emit(StoreTrouble(doing="settle", code="store_unavailable", message="the disk is full"))
    assert len(lines) == 2
    clock.advance(StoreTrouble.quiet_ms)
    telemetry.emit(full)
    assert len(lines) == 3


def test_once_the_store_is_back_that_is_told_once(lines: list[bytes]) -> None:
    clock = ManualClock()
    telemetry = Telemetry(clock, form="json", write=lines.append)
    telemetry.store_worked("claim")
    telemetry.store_failed("claim", Unavailable("nobody listens"))
    telemetry.store_failed("settle", Unavailable("nobody listens"))
    clock.advance(1_234)
    telemetry.store_worked("fire schedules")  # says nothing of what could not be done
    assert len(lines) == 2
    telemetry.store_worked("settle")
    telemetry.store_worked("claim")
    assert [msgspec.json.decode(line)["event"] for line in lines] == ["store_trouble", "store_trouble", "store_back"]
    told = msgspec.json.decode(lines[-1])
    assert (told["doing"], told["away_ms"], told["level"]) == ("settle", 1_234, "info")


def test_how_long_it_was_away_is_from_the_first_failure_to_what_worked_after_the_last(lines: list[bytes]) -> None:
    clock = ManualClock()
    telemetry = Telemetry(clock, form="json", write=lines.append)
    telemetry.store_failed("register a task", Unavailable("nobody listens"))
    clock.advance(20_000)
    telemetry.store_failed("settle", Unavailable("nobody listens"))
    assert telemetry.troubles() == [
        ("register a task", "store_unavailable", 20_000),
        ("settle", "store_unavailable", 0),
    ]
    clock.advance(1_000)
    telemetry.store_worked("claim")
    clock.advance(3_600_000)
    telemetry.store_worked("settle")
    assert msgspec.json.decode(lines[-1])["away_ms"] == 21_000
    assert telemetry.troubles() == []


def test_a_write_proves_that_it_is_back_though_nobody_tries_anew_what_had_failed(lines: list[bytes]) -> None:
    clock = ManualClock()
    telemetry = Telemetry(clock, form="json", write=lines.append)
    telemetry.store_failed("register a task", Unavailable("the disk is full"))
    clock.advance(1_000)
    telemetry.store_writes("write")  # a small one may have room where others have none
    assert telemetry.troubles()
    clock.advance(4_000)
    telemetry.store_writes("write")
    told = msgspec.json.decode(lines[-1])
    assert (told["event"], told["away_ms"], telemetry.troubles()) == ("store_back", 1_000, [])


def test_a_store_that_comes_and_goes_fills_no_log(lines: list[bytes]) -> None:
    clock = ManualClock()
    telemetry = Telemetry(clock, form="json", write=lines.append)
    for _ in range(100):
        telemetry.store_failed("claim", Unavailable("nobody listens"))
        clock.advance(StoreTrouble.quiet_ms // 50)
        telemetry.store_worked("claim")
    events = [msgspec.json.decode(line)["event"] for line in lines]
    assert events == ["store_trouble", "store_back"] * 2


def test_what_matters_less_than_the_level_is_dropped(lines: list[bytes]) -> None:
    telemetry = Telemetry(ManualClock(), "warning", write=lines.append)
    telemetry.emit(ProcessStarted(role="api", pid=1))
    assert lines == []
    telemetry.emit(SettingIgnored(message="x"))
    assert len(lines) == 1


@pytest.mark.parametrize(("level", "wanted"), [("debug", True), ("info", False), ("error", False)])
def test_hot_paths_can_ask_first(level: str, wanted: bool, lines: list[bytes]) -> None:
    telemetry = Telemetry(ManualClock(), level, write=lines.append)  # type: ignore[arg-type]  # one of the levels
    assert telemetry.debug is wanted
    telemetry.emit(RequestServed(method="GET", path="/", status=200, ms=1.5, request_id="r"))
    assert len(lines) == int(wanted)


def test_an_unexpected_error_comes_with_its_trace(lines: list[bytes]) -> None:
    try:
        raise KeyError("nobody expects this")
    except KeyError as error:
        event = Unexpected.of("settle", error)
    assert event.error == "KeyError: 'nobody expects this'"
    assert "test_telemetry.py" in event.trace
    Telemetry(ManualClock(), write=lines.append).emit(event)
    head, *trace = lines[0].decode().splitlines()
    assert "unexpected" in head
    assert "Traceback" not in head
    assert trace[0] == "Traceback (most recent call last):"


def test_every_event_has_a_name_of_its_own() -> None:
    names = [event_name(kind) for kind in TelemetryEvent.__subclasses__()]
    assert len(names) == len(set(names)) > 5


def test_nobody_listens(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    write_to_stderr(b"heard\n")
    assert capfd.readouterr().err == "heard\n"

    def broken(*_: object) -> int:
        raise BrokenPipeError

    monkeypatch.setattr("os.write", broken)
    write_to_stderr(b"unheard\n")


class Odd:
    def __str__(self) -> str:
        raise SystemExit(3)

    __hash__ = None  # type: ignore[assignment]  # nothing to remember it by


TOLD = st.one_of(
    st.text(st.characters(exclude_categories=())),
    st.integers(),
    st.floats(),
    st.binary(),
    st.none(),
    st.lists(st.integers()),
    st.sampled_from(["caf\udce9.txt", "a\0b", "x" * 1_000_000]),
    st.builds(Odd),
)


@given(TOLD, TOLD, st.sampled_from(["json", "console"]), st.booleans())
def test_whatever_an_event_holds_it_is_told(one: Any, other: Any, form: Any, colored: bool) -> None:
    lines: list[bytes] = []
    telemetry = Telemetry(ManualClock(0), "debug", form, lines.append, colored)
    assert telemetry.emit(HandlerProblem(task=one, logger=other, message=one, trace=other))
    assert telemetry.emit(RequestServed(method=one, path=other, status=one, ms=other, request_id=one))
    for line in lines:
        assert b"\0" not in line
        assert len(line) <= 4 * VALUE_LENGTH_MAX * 12 + 4 * LENGTH_MAX * 6
        line.decode()
    if form == "json":
        assert [msgspec.json.decode(line)["event"] for line in lines] == ["handler_problem", "request_served"]


def test_what_cannot_be_told_raises_nothing(lines: list[bytes]) -> None:
    telemetry = Telemetry(ManualClock(2**62), form="json", write=lines.append)
    assert telemetry.emit(SettingIgnored(message="in a year that nobody writes")) is False
    telemetry = Telemetry(ManualClock(0), form="json", write=lines.append)
    assert telemetry.emit(StoreTrouble(doing=Odd(), code="", message="")) is False  # type: ignore[arg-type]  # so it is
    assert lines == []


def test_what_is_no_text_is_escaped(lines: list[bytes]) -> None:
    for form in ("json", "console"):
        Telemetry(ManualClock(0), form=form, write=lines.append).emit(SettingIgnored(message="caf\udce9.txt"))
    assert msgspec.json.decode(lines[0])["message"] == "caf\\udce9.txt"
    assert lines[1].endswith(b"message=caf\\udce9.txt\n")
