"""What a handler gets to know, and the exceptions by which it steers."""

import datetime
import logging

import pytest

from tasks_server import Context, Permanent, Retry
from tasks_server.handlers import Stopped


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
