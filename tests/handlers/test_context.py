"""What a handler gets to know, and the exceptions by which it steers."""

import datetime
import logging

import pytest

from tasks_server import Context, Permanent, Retry
from tasks_server.domain import notes
from tasks_server.handlers import Stopped
from tasks_server.handlers import noting as noting_module
from tasks_server.handlers.noting import Noting


def test_it_can_be_made_for_a_test() -> None:
    context = Context()
    assert (context.attempt, context.failures, context.is_cancelled()) == (1, 0, False)
    assert 0 < context.remaining <= 30
    assert context.created_at.tzinfo is datetime.UTC


def test_it_tells_of_the_attempt() -> None:
    context = Context(
        task_id="T1", name="mail", attempt=3, failures=2, created_at_ms=1_000, due_at_ms=2_500, timeout_seconds=60
    )
    assert (context.task_id, context.name, context.attempt, context.failures) == ("T1", "mail", 3, 2)
    assert context.created_at == datetime.datetime(1970, 1, 1, 0, 0, 1, tzinfo=datetime.UTC)
    assert context.due_at == datetime.datetime(1970, 1, 1, 0, 0, 2, 500_000, tzinfo=datetime.UTC)
    until = (context.deadline - datetime.datetime.now(datetime.UTC)).total_seconds()
    assert until == pytest.approx(context.remaining, abs=0.1)


def test_no_time_is_left_after_the_deadline() -> None:
    assert Context(timeout_seconds=-1).remaining == 0


def test_cancellation_can_be_waited_for() -> None:
    context = Context()
    context.cancelled.set()
    assert context.is_cancelled()
    assert context.cancelled.wait(0)


def test_its_logger_names_task_and_handler(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        Context(task_id="T1", name="mail").logger.info("sent %s", 3, extra={"more": 1})
    (record,) = caplog.records
    assert (record.name, record.getMessage()) == ("handlers.mail", "sent 3")
    assert (record.__dict__["task"], record.__dict__["more"]) == ("T1", 1)


def test_retry_takes_seconds_or_a_timedelta() -> None:
    assert Retry(after=1.5).after_seconds == 1.5
    assert Retry("busy", after=datetime.timedelta(minutes=2)).after_seconds == 120
    assert Retry().after_seconds is None
    assert str(Retry("busy")) == "busy"
    for after in (-1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="after must be 0 or more seconds"):
            Retry(after=after)
    for strange in ("x", True, [1]):
        with pytest.raises(TypeError, match="after must be a number of seconds or a timedelta, not "):
            Retry(after=strange)  # type: ignore[arg-type]  # what no checker lets pass


def test_only_those_for_users_are_exceptions_that_users_catch() -> None:
    assert issubclass(Retry, Exception)
    assert issubclass(Permanent, Exception)
    assert not issubclass(Stopped, Exception)


def test_notes_are_handed_on_together() -> None:
    told: list[int] = []
    noting = Noting(lambda: 1_000 + len(told), lambda: told.append(1))
    context = Context(noting=noting)
    assert noting.take() is None
    context.progress(0.25, "a quarter")
    context.log("one")
    context.log(b"\xff")
    context.progress(0.5)
    assert told == [1]
    noted = noting.take()
    assert noted == (1_001, 0.5, "a quarter", [(1_001, "one"), (1_001, "b'\\xff'")], 0)
    assert noting.take() is None
    context.progress()
    assert noting.take() == (1_001, None, None, [], 0)
    assert told == [1, 1]


def test_what_is_noted_is_bounded() -> None:
    noting = Noting(lambda: 7)
    context = Context(noting=noting)
    for number in range(notes.LINES_MAX + 2):
        context.log(f"{number} {'x' * 1_000}")
    context.progress(7, "y" * 1_000)
    noted = noting.take()
    assert noted is not None
    assert (len(noted.lines), noted.dropped, noted.progress) == (notes.LINES_MAX, 2, 1.0)
    assert {len(text) for _, text in noted.lines} == {notes.TEXT_LENGTH_MAX}
    assert len(noted.message or "") == notes.TEXT_LENGTH_MAX
    context.progress(float("nan"))
    assert noting.take() == (7, None, None, [], 0)
    context.progress(-1)
    assert (noting.take() or noted).progress == 0.0
    with pytest.raises(TypeError, match="a number from 0 to 1, not 'half'"):
        context.progress("half")  # type: ignore[arg-type]  # the fault


def test_both_sides_have_the_same_bounds() -> None:
    assert (noting_module.LINES_MAX, noting_module.TEXT_LENGTH_MAX) == (notes.LINES_MAX, notes.TEXT_LENGTH_MAX)
    first = notes.Notes(1, 0.5, "a", tuple(notes.Line(1, str(number)) for number in range(notes.LINES_MAX)))
    more = notes.Notes(2, None, "b", (notes.Line(2, "last"),), dropped=4)
    merged = notes.merged(first, more)
    assert (merged.at, merged.progress, merged.message, merged.dropped) == (2, 0.5, "b", 5)
    assert (len(merged.lines), merged.lines[0].text, merged.lines[-1].text) == (notes.LINES_MAX, "1", "last")
