"""A tunnel through a proxy that a conversation opens itself: CONNECT as a request of its own, after which the connected
socket is handed to the handle that speaks with the target.

libcurl closes the connection when a proxy answers its own CONNECT with 407 and it knows no way to authenticate.
"""

import socket
from typing import Any, Final

import pycurl

from tasks_server.domain.request import TaskConfig
from tasks_server.domain.urls import read_url
from tasks_server.engine.http.bodies import Body
from tasks_server.engine.http.conversation import Ask
from tasks_server.engine.http.egress import Gate
from tasks_server.engine.http.identities import new_share
from tasks_server.engine.http.proxy import proxy_host, set_names

_HTTP_2XX: Final = b" 2"


class Tunnel:
    """A handle that asks the proxy. `headers` and `body` take in what it answers."""

    def __init__(
        self,
        options: list[tuple[int, Any]],
        config: TaskConfig,
        gate: Gate,
        headers: list[bytes],
        body: Body,
    ) -> None:
        assert config.proxy is not None
        self._gate = gate
        self._headers = headers
        self._lent: list[socket.socket] = []
        self._opens = False
        self.let_through = False
        """The proxy said yes to an ask that did not count on it; its connection is closed."""
        self._share = new_share()
        self.curl = curl = pycurl.Curl()
        for option, value in options:
            curl.setopt(option, value)
        set_names(curl, config)
        curl.setopt(pycurl.SHARE, self._share)
        curl.setopt(pycurl.URL, f"http://{proxy_host(config.proxy)}/")
        curl.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1)
        curl.setopt(pycurl.OPENSOCKETFUNCTION, self._open_socket)
        curl.setopt(pycurl.HEADERFUNCTION, self._take_header)
        curl.setopt(pycurl.WRITEFUNCTION, body.take)

    def put(self, ask: Ask, timeout_ms: int) -> None:
        """Puts a CONNECT on the handle."""
        setopt = self.curl.setopt
        self._opens, self.let_through = ask.opens, False
        # An answer that opens a tunnel has no end; one that refuses has, and must be read up to it.
        setopt(pycurl.NOBODY if ask.opens else pycurl.HTTPGET, 1)
        setopt(pycurl.CUSTOMREQUEST, "CONNECT")
        setopt(pycurl.REQUEST_TARGET, read_url(ask.url)[1])
        setopt(pycurl.HTTPHEADER, list(ask.lines))
        setopt(pycurl.TIMEOUT_MS, timeout_ms)

    def socket(self) -> socket.socket:
        """The connected socket, after the proxy has let it through."""
        port = self.curl.getinfo(pycurl.LOCAL_PORT)
        return next(lent for lent in self._lent if lent.fileno() >= 0 and lent.getsockname()[1] == port)

    def address(self) -> str:
        """The proxy's address as CONNECT_TO wants it: for any host and port."""
        ip = self.curl.getinfo(pycurl.PRIMARY_IP)
        return f"::{f'[{ip}]' if ':' in ip else ip}:{self.curl.getinfo(pycurl.PRIMARY_PORT)}"

    def close(self) -> None:
        """Closes its handle and connections, but for a socket that somebody holds."""
        self.curl.close()
        self._share.close()
        self._lent.clear()

    def _open_socket(self, purpose: int, address: Any) -> Any:
        lent = self._gate.open_socket(purpose, address)
        if isinstance(lent, socket.socket):
            self._lent.append(lent)
        return lent

    def _take_header(self, line: bytes) -> int:
        self._headers.append(line)
        if not self._opens and line.startswith(b"HTTP/") and line[8:10] == _HTTP_2XX:
            self.let_through = True
            return 0  # the way to make libcurl stop
        return len(line)
