"""Whether the server is well: `/status`."""

from typing import Final

from tasks_server.client.protocol import Request, Route

_STATUS: Final = Route("GET", "/status", str)


def status() -> Request[str]:
    """`OK`, when the server answers."""
    return _STATUS.request()
