"""Lines that handlers log by the standard library become events, with the task they belong to."""

import logging
from contextvars import ContextVar
from typing import Final

from tasks_server.telemetry import HandlerDetail, HandlerLine, HandlerProblem, HandlerWarning, Telemetry, traced

current_task: Final[ContextVar[str | None]] = ContextVar("current_task", default=None)
"""The id of the task that is worked on here."""


class _Lines(logging.Handler):
    def __init__(self, told: Telemetry) -> None:
        super().__init__()
        self._told = told

    def emit(self, record: logging.LogRecord) -> None:
        kind: type[HandlerLine] = HandlerLine
        if record.levelno >= logging.ERROR:
            kind = HandlerProblem
        elif record.levelno >= logging.WARNING:
            kind = HandlerWarning
        elif record.levelno < logging.INFO:
            kind = HandlerDetail
        try:
            task = getattr(record, "task", None) or current_task.get()
            error = record.exc_info[1] if record.exc_info else None
            trace = traced(error) if error is not None else ""
            self._told.emit(
                kind(task=str(task or ""), logger=record.name, message=record.getMessage(), trace=trace),
            )
        except Exception:  # as logging.Handler.emit should: a line that cannot be told hurts no task
            self.handleError(record)


def listen(told: Telemetry) -> None:
    """From now on, what is logged here goes to `told`."""
    root = logging.getLogger()
    root.addHandler(_Lines(told))
    root.setLevel(logging.DEBUG if told.debug else logging.INFO)
