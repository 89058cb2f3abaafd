"""Imports users' modules, and gives what they registered."""

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from tasks_server import traces
from tasks_server.domain import texts
from tasks_server.handlers.frames import Announced, NotLoaded
from tasks_server.handlers.payloads import Reader, reader
from tasks_server.handlers.registry import Registration, registered

_OURS: Final = frozenset({__file__, str(Path(__file__).with_name("__main__.py")), importlib.__file__})
_MESSAGE_LENGTH_MAX: Final = 4_096


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


def why_it_failed(error: BaseException, folder: str) -> NotLoaded:
    """What to tell of an import that failed; `folder` is searched first."""
    where = f" (modules are looked for in {folder} first)" if isinstance(error, ModuleNotFoundError) else ""
    message = texts.described(error, _MESSAGE_LENGTH_MAX) + texts.fitting(where, _MESSAGE_LENGTH_MAX)
    return NotLoaded(message, traces.imported(error, _OURS))
