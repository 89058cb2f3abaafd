"""Lines that handlers log by the standard library become events, with the task they belong to."""

import logging
from contextvars import ContextVar
from typing import Final

from tasks_server import traces
from tasks_server.domain import texts
from tasks_server.handlers.context import Stopped
from tasks_server.telemetry import Telemetry
from tasks_server.telemetry.events import VALUE_LENGTH_MAX, HandlerDetail, HandlerLine, HandlerProblem, HandlerWarning

current_task: Final[ContextVar[str | None]] = ContextVar("current_task", default=None)
"""The id of the task that is worked on here."""


class _Lines(logging.Handler):
    def __init__(self, told: Telemetry) -> None:
        super().__init__()
        self._told = told

    def handle(self, record: logging.LogRecord) -> bool:
        """As `logging.Handler` does it, but without its lock: a line is text only once the objects in it have said
        what they are, and one that takes its time must not hold up the lines of all others.
        """
        kept = self.filter(record)
        if kept:
            self.emit(kept if isinstance(kept, logging.LogRecord) else record)
        return bool(kept)

    def emit(self, record: logging.LogRecord) -> None:
        """Tells of it as it is, or at least that there was something to tell. A line hurts no task."""
        try:
            event = _event(record)
        except Stopped:
            raise
        except BaseException as error:
            message = f"(a line that cannot be told: {texts.described(error, VALUE_LENGTH_MAX)})"
            event = HandlerProblem(task=current_task.get() or "", logger="", message=message)
        self._told.emit(event)


def _event(record: logging.LogRecord) -> HandlerLine:
    task = getattr(record, "task", None)
    told = texts.shown(task, VALUE_LENGTH_MAX) if task is not None else ""
    error: object = record.exc_info[1] if record.exc_info else None
    return _kind(record.levelno)(
        task=told or current_task.get() or "",
        logger=texts.shown(record.name, VALUE_LENGTH_MAX),
        message=_message(record),
        trace=traces.traced(error),
    )


def _kind(level: object) -> type[HandlerLine]:
    if not isinstance(level, int):  # nobody's level
        return HandlerLine
    if level >= logging.ERROR:
        return HandlerProblem
    if level >= logging.WARNING:
        return HandlerWarning
    return HandlerLine if level >= logging.INFO else HandlerDetail


def _message(record: logging.LogRecord) -> str:
    try:
        return texts.fitting(record.getMessage(), VALUE_LENGTH_MAX)
    except Stopped:
        raise
    except BaseException as error:  # arguments that do not fit, or cannot be shown
        why = texts.described(error, VALUE_LENGTH_MAX)
        return f"{texts.shown(record.msg, VALUE_LENGTH_MAX)} (without its arguments: {why})"


def listen(told: Telemetry) -> None:
    """From now on, what is logged here goes to `told`."""
    logging.getLogger().addHandler(_Lines(told))
    follow(told)


def follow(told: Telemetry) -> None:
    """`told` may be of another level than before: what it would not tell is not made."""
    logging.getLogger().setLevel(logging.DEBUG if told.debug else logging.INFO)
