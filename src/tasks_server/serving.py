"""How HTTP comes in: the listening socket, and the server that hands its requests to the ASGI application.

The socket is bound by the one who starts the server and handed down, so that a port in use is found before anything
else begins, and waits for its process when that is started again. Granian runs inside our event loop, where the
store lives, too. It times out the heads of HTTP/1.1; the doorkeeper beside it closes all else that holds a place for
nothing.
"""

import asyncio
import errno
import ipaddress
import os
import resource
import socket
from typing import Any, Final

from tasks_server.clock import SystemClock
from tasks_server.connections.keeper import Doorkeeper, Watched
from tasks_server.connections.kernel import Sockets
from tasks_server.connections.rules import Places, places
from tasks_server.exit_codes import CannotListen
from tasks_server.plans import ConnectionsPlan
from tasks_server.telemetry import Telemetry
from tasks_server.telemetry.events import FilesShort

_BACKLOG: Final = 4_096
_HEAD_MAX_BYTES: Final = 16_384
"""Of the head of a request; in HTTP/1.1 also what is read of a body at once."""
_WINDOW_BYTES: Final = 131_072
"""What a connection in HTTP/2 may send of bodies before somebody reads it."""
_STREAMS_MAX: Final = 128


def bind(host: str, port: int) -> socket.socket:
    """A socket that listens. Raises `CannotListen` with advice."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError):
        raise CannotListen(f"cannot listen on {host}: there is no such address; check --host") from None
    family, kind, protocol, _, address = found[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise CannotListen(f"cannot listen on {host}:{port}: {_advice(error, port)}") from error
    listener.setblocking(False)
    return listener


def _advice(error: OSError, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            "the port is in use. Is Tasks Server running already? Stop it, or choose another port with --port; "
            f"`ss -ltnp 'sport = :{port}'` names the process that has it"
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return "this machine does not have that address; check --host"
    if error.errno == errno.EACCES:
        return "the system does not allow this user to listen there; ports below 1024 are for root, choose another"
    return str(error.strerror)


def is_loopback(listener: socket.socket) -> bool:
    """Whether only this machine can reach the socket."""
    return ipaddress.ip_address(listener.getsockname()[0].partition("%")[0]).is_loopback


def url_of(listener: socket.socket) -> str:
    """Where a browser on this machine finds the server."""
    host, port = listener.getsockname()[:2]
    address = ipaddress.ip_address(host.partition("%")[0])
    if address.is_unspecified:
        host = "127.0.0.1" if address.version == 4 else "::1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class HttpServer:
    """Serves the API from a listening socket, within the running event loop."""

    def __init__(self, app: Any, listen_fd: int, chosen: ConnectionsPlan, telemetry: Telemetry) -> None:
        self._app = app
        self._listen_fd = listen_fd
        self._chosen = chosen
        self._telemetry = telemetry
        self._keeper: Doorkeeper | None = None
        self._server: Any = None
        self._serving: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Accepts from now on."""
        bounds = self._places()
        timeout_seconds = self._chosen.timeout_seconds
        self._server = _granian_server(self._app, self._listen_fd, bounds.accepted, timeout_seconds)
        self._serving = asyncio.create_task(self._server.serve())
        with socket.socket(fileno=os.dup(self._listen_fd)) as listener:
            sockets = Sockets(listener.getsockname()[1])
        inflow, loop = self._app.inflow, asyncio.get_running_loop()

        def glance() -> None:
            if inflow.awaits():
                loop.call_soon_threadsafe(inflow.drop_slow)

        watched = Watched(sockets, inflow.peers, glance)
        self._keeper = Doorkeeper(watched, bounds, timeout_seconds, SystemClock(), self._telemetry)
        self._keeper.start()

    def _places(self) -> Places:
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        bounds = places(self._chosen.connections_max, self._chosen.per_address_max, files)
        if bounds.connections < self._chosen.connections_min:
            self._telemetry.emit(FilesShort(files, self._chosen.connections_max, bounds.connections))
        return bounds

    async def ended(self) -> None:
        """Returns when it serves no more: it was stopped, or it failed."""
        if self._serving is not None:
            await asyncio.wait([self._serving])

    async def stop(self, grace_seconds: float) -> bool:
        """Accepts no more, lets requests in work end. False when some did not within `grace_seconds`."""
        if self._serving is None:
            return True
        if self._keeper is not None:
            self._keeper.stop()
        self._server.stop()
        done, _ = await asyncio.wait([self._serving], timeout=grace_seconds)
        return bool(done)


def _granian_server(app: Any, listen_fd: int, accepted_max: int, timeout_seconds: float) -> Any:
    # Imported here: whoever only binds a socket does not pay for the server.
    from granian._granian import SocketHolder
    from granian.constants import HTTPModes, Interfaces
    from granian.http import HTTP1Settings, HTTP2Settings
    from granian.server.embed import Server

    class _Server(Server):
        def _init_shared_socket(self) -> None:
            self._shd = SocketHolder(os.dup(listen_fd), False, _BACKLOG)  # type: ignore[call-arg,assignment]  # stub is behind

    return _Server(
        app,
        interface=Interfaces.ASGINL,  # no lifespan: what the application needs is opened before it is served
        http=HTTPModes.auto,
        http1_settings=HTTP1Settings(
            header_read_timeout=round(timeout_seconds * 1_000), max_buffer_size=_HEAD_MAX_BYTES
        ),
        http2_settings=HTTP2Settings(
            initial_connection_window_size=_WINDOW_BYTES,
            initial_stream_window_size=_WINDOW_BYTES,
            max_concurrent_streams=_STREAMS_MAX,
            max_headers_size=_HEAD_MAX_BYTES,
        ),
        websockets=False,
        backlog=_BACKLOG,
        backpressure=accepted_max,
        blocking_threads=1,
        runtime_threads=1,  # parses HTTP outside of Python: one keeps pace with one Python process
        runtime_blocking_threads=1,
        log_enabled=False,
    )
