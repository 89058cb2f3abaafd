"""Whether the server is well, and how much there is to do: `/status`, `/monitor`."""

from typing import Final

from tasks_server.client import results
from tasks_server.client.protocol import Request, Route

_STATUS: Final = Route("GET", "/status", str)
_HEALTH: Final = Route("GET", "/monitor/health", results.Health, answers=(503,))
_STATS: Final = Route("GET", "/monitor/stats", results.Stats)


def status() -> Request[str]:
    """`OK`, when the server answers."""
    return _STATUS.request()


def health() -> Request[results.Health]:
    """Whether the server is well, and what is not."""
    return _HEALTH.request()


def stats() -> Request[results.Stats]:
    """How many tasks have which status."""
    return _STATS.request()
