"""How HTTP comes in: the listening socket, and the server that hands its requests to the ASGI application.

The socket is bound by the one who starts the server and handed down, so that a port in use is found before anything
else begins, and waits for its process when that is started again. Granian runs inside our event loop, where the
store lives, too.
"""

import asyncio
import errno
import ipaddress
import os
import socket
from typing import Any, Final

from tasks_server.exit_codes import CannotListen

_BACKLOG: Final = 4_096
_CONNECTIONS_MAX: Final = 16_384
"""Open connections of one process; more wait until one ends. An idle one takes a place, too."""
_HEADER_READ_TIMEOUT_MS: Final = 30_000


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
    """Serves an ASGI application from a listening socket, within the running event loop."""

    def __init__(self, app: Any, listen_fd: int) -> None:
        self._app = app
        self._listen_fd = listen_fd
        self._server: Any = None
        self._serving: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Accepts from now on."""
        self._server = _granian_server(self._app, self._listen_fd)
        self._serving = asyncio.create_task(self._server.serve())

    async def ended(self) -> None:
        """Returns when it serves no more: it was stopped, or it failed."""
        if self._serving is not None:
            await asyncio.wait([self._serving])

    async def stop(self, grace_seconds: float) -> bool:
        """Accepts no more, lets requests in work end. False when some did not within `grace_seconds`."""
        if self._serving is None:
            return True
        self._server.stop()
        done, _ = await asyncio.wait([self._serving], timeout=grace_seconds)
        return bool(done)


def _granian_server(app: Any, listen_fd: int) -> Any:
    # Imported here: whoever only binds a socket does not pay for the server.
    from granian._granian import SocketHolder
    from granian.constants import HTTPModes, Interfaces
    from granian.http import HTTP1Settings
    from granian.server.embed import Server

    class _Server(Server):
        def _init_shared_socket(self) -> None:
            self._shd = SocketHolder(os.dup(listen_fd), False, _BACKLOG)  # type: ignore[call-arg,assignment]  # stub is behind

    return _Server(
        app,
        interface=Interfaces.ASGINL,  # no lifespan: what the application needs is opened before it is served
        http=HTTPModes.auto,
        http1_settings=HTTP1Settings(header_read_timeout=_HEADER_READ_TIMEOUT_MS),
        websockets=False,
        backlog=_BACKLOG,
        backpressure=_CONNECTIONS_MAX,
        blocking_threads=1,
        runtime_threads=1,  # parses HTTP outside of Python: one keeps pace with one Python process
        runtime_blocking_threads=1,
        log_enabled=False,
    )
