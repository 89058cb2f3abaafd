"""What those ask who watch a process: whether it is alive, and whether requests may be sent to it."""

from typing import Final

from tasks_server.api.exchange import Answer, Exchange
from tasks_server.api.routes import Route, Success
from tasks_server.service.monitoring import MonitorService
from tasks_server.store.watching import Watching

_TEXT: Final = b"text/plain; charset=utf-8"
_ALIVE: Final = ("/status", "/livez")
_READY: Final = "/readyz"
PROBES: Final = (*_ALIVE, _READY)
_RETRY: Final = ((b"retry-after", b"5"),)
_ANY_HOST: Final = "It says nothing else, so a probe may ask under any Host where others reach the server anyway."


class Stopping:
    """Whether the process was asked to stop."""

    def __init__(self) -> None:
        self.now = False


def probe_routes(store: Watching, monitor: MonitorService, stopping: Stopping) -> list[Route]:
    """The routes; `stopping` is set by whoever stops the process."""

    async def alive(_: Exchange) -> Answer:
        if lost := store.lost():
            raise lost
        return Answer(200, b"OK", _TEXT)

    async def ready(_: Exchange) -> Answer:
        why = "server_stopping" if stopping.now else await monitor.unready()
        return Answer(200, b"OK", _TEXT) if why is None else Answer(503, why.encode(), _TEXT, headers=_RETRY)

    lives = Success(200, None, "The server answers, and its database lies where it did")
    routes = [
        Route("GET", path, alive, f"Tell that the server is alive{like}", "none", [lives], ["store_gone"],
              description=_ANY_HOST, any_host=True, hot=True)
        for path, like in zip(_ALIVE, ("", ", as Kubernetes asks"), strict=True)
    ]  # fmt: skip
    takes = Success(200, None, "The store is reached, has the schema of this version and takes writes")
    not_now = Success(503, None, "It does not, or the server is about to stop; the text is the code of the reason")
    asks = Route("GET", _READY, ready, "Tell that requests may be sent here", "none", [takes, not_now],
                 description=_ANY_HOST, any_host=True, hot=True)  # fmt: skip
    return [*routes, asks]
