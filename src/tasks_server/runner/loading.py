"""Imports users' modules, and gives what they registered."""

import importlib
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from tasks_server.handlers.frames import Announced
from tasks_server.handlers.payloads import Reader, reader
from tasks_server.handlers.registry import Registration, registered

_OURS: Final = frozenset({__file__, str(Path(__file__).with_name("__main__.py")), importlib.__file__})


class Handler(NamedTuple):
    """A handler and what reads its payloads; None: it takes none."""

    registration: Registration
    read: Reader | None


class NoHandlers(Exception):
    """The modules were imported, but register nothing."""


def load(modules: Sequence[str]) -> dict[str, Handler]:
    """The handlers of these modules, by name. Raises whatever importing them raises."""
    for module in modules:
        importlib.import_module(module)
    if not registered:
        raise NoHandlers(f"no handler is registered by {', '.join(modules)}")
    return {name: Handler(registration, reader(registration)) for name, registration in registered.items()}


def announced(registration: Registration) -> Announced:
    """What the engine must know of a handler."""
    return Announced(
        registration.name,
        registration.coroutine,
        registration.timeout_ms,
        registration.retries_max,
        registration.retry_interval_ms,
        registration.backoff,
        registration.concurrency_max,
    )


def where_it_failed(error: BaseException) -> str:
    """The traceback of an import, without the parts of it that belong to the import system and to us; nothing when
    no more is left of it than the error itself.
    """
    told = traceback.TracebackException.from_exception(error)
    told.stack = traceback.StackSummary.from_list(
        [
            line
            for line in told.stack
            if line.filename not in _OURS and not line.filename.startswith("<frozen importlib")
        ]
    )
    text = "".join(told.format())
    return "" if text.strip() == "".join(told.format_exception_only()).strip() and text.count("\n") == 1 else text
