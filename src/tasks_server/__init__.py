"""Tasks Server: a self-hosted task service. You POST a task; it is stored durably and executed on time."""

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tasks_server.handlers import Context as Context
    from tasks_server.handlers import Permanent as Permanent
    from tasks_server.handlers import Retry as Retry


def _version() -> str:
    """That of the package with the server, or of the one with the client alone."""
    for package in ("tasks-server", "tasks-server-client"):
        try:
            return version(package)
        except PackageNotFoundError:
            continue
    return "0+unknown"  # a source tree that was never installed


__version__ = _version()


def __getattr__(name: str) -> Any:
    """What handlers import from here; processes that run none do not carry it."""
    if name in {"Context", "Permanent", "Retry"}:
        from tasks_server import handlers

        return getattr(handlers, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
