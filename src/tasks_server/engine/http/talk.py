"""Carries a conversation to libcurl: puts each ask on the call's handle and tells what came of it.

All of it counts against the one timeout of the call, passes the same egress gate, and starts from scratch as far as
headers and body go. Tunnels that a conversation makes itself are in `tunnel`.
"""

import socket
from collections.abc import Callable
from typing import Any, Final

import pycurl

from tasks_server.domain import limits
from tasks_server.domain.attempt import Redirected
from tasks_server.domain.masking import shown_url
from tasks_server.engine.calls import Call
from tasks_server.engine.http.bodies import Body
from tasks_server.engine.http.conversation import Answer, Ask, Conversation, Ended
from tasks_server.engine.http.egress import Gate, blocked
from tasks_server.engine.http.identities import new_share
from tasks_server.engine.http.names import Addresses, Wanted, expected_addresses, resolve_lines
from tasks_server.engine.http.options import Shapes, name_path
from tasks_server.engine.http.proxy import given_lines, proxy_host, proxy_lines
from tasks_server.engine.http.special import SCHEMES, put_credentials, take_credentials, take_traces
from tasks_server.engine.http.tunnel import Tunnel

FINAL: Final = frozenset({pycurl.E_OPERATION_TIMEDOUT})
"""Codes that end a call whatever its conversation might want."""
_SPARE_BYTES: Final = 1 << 20
"""So much more of a body is read than is kept, where the next ask is for the same connection."""
_ADDRESSES_LAST_SECONDS: Final = 60

_LET_THROUGH: Final = 200


class Talk:
    """A conversation under way on a handle that serves no other call.

    `refusal` says why a URL may not be called (None: it may); `monotonic` is in seconds; `new_tunnel` makes a handle
    that can ask the task's proxy. With `private` its connections are its own: no other call finds them, nor does it
    find those of others. With `is_made` the first ask was made already, on this handle, and is to be answered.
    `names_path`: see `options.name_path`.
    """

    def __init__(
        self,
        call: Call,
        conversation: Conversation,
        curl: "pycurl.Curl",
        gate: Gate,
        body: Body,
        *,
        private: bool,
        shapes: Shapes,
        refusal: Callable[[str], str | None],
        monotonic: Callable[[], float],
        new_tunnel: Callable[[], Tunnel],
        is_made: bool = False,
        names_path: bool = False,
    ) -> None:
        self._call = call
        self._conversation = conversation
        self._curl = curl
        self._body = body
        self.curl = curl
        """The handle of the present ask: that of the call, or of a tunnel that is being opened."""
        self._new_tunnel = new_tunnel
        self._tunnel: Tunnel | None = None
        self._socket: socket.socket | None = None
        self._is_inside = False
        self._gate = gate
        self._shapes = shapes
        self._refusal = refusal
        self._monotonic = monotonic
        spent = curl.getinfo(pycurl.TOTAL_TIME) if is_made else 0.0
        self._deadline = monotonic() - spent + call.timeout_ms / 1_000
        self._has_credentials = True
        self._names_path = names_path
        self._is_anonymous = False
        self._share = new_share() if private else None
        if self._share is not None:
            curl.setopt(pycurl.SHARE, self._share)
            # Closed they are at the end of the call, not after each request.
            curl.setopt(pycurl.FRESH_CONNECT, 0)
            curl.setopt(pycurl.FORBID_REUSE, 0)
        self.is_added = True
        """Whether the handle is in a transfer, or about to be."""
        self.ask = self._usual = next(conversation)
        if not is_made:
            self._put(self.ask)

    def answer(self, lines: list[bytes], broken: int) -> bool:
        """Tells what came of the ask. True: there is a next one (`go_on`); False: that was the answer of the call.

        Raises `Broken` or `Ended` when the conversation ends otherwise.
        """
        getinfo = self.curl.getinfo
        status, url = getinfo(pycurl.RESPONSE_CODE), getinfo(pycurl.EFFECTIVE_URL)
        if self._tunnel is not None:
            url = self.ask.url
            if self._tunnel.let_through:
                status, broken = _LET_THROUGH, 0
        try:
            self.ask = self._conversation.send(Answer(status, lines, url, getinfo(pycurl.NUM_CONNECTS), broken))
        except StopIteration:
            return False
        return True

    def blame(self, code: int) -> tuple[int, str]:
        """The code of libcurl as it would be without a conversation, and the URL that it is about."""
        if self._tunnel is None:
            return code, self.curl.getinfo(pycurl.EFFECTIVE_URL)
        return pycurl.E_COULDNT_RESOLVE_PROXY if code == pycurl.E_COULDNT_RESOLVE_HOST else code, self.ask.url

    def go_on(self) -> None:
        """Puts the present ask on the handle, which is in no transfer. Raises `Ended` where the policy forbids it."""
        if (refusal := self._refusal(self.ask.url)) is not None:
            raise Ended(blocked(refusal))
        self._put(self.ask)

    @property
    def redirected(self) -> Redirected | None:
        """Where redirects have led so far."""
        ask = self._usual
        if not ask.redirects:
            return None
        url = shown_url(ask.url)[: limits.URL_LENGTH_MAX]
        return Redirected(ask.redirects, ask.method, url, ask.method != self._call.request.method)

    @property
    def is_private(self) -> bool:
        """Whether its connections are its own."""
        return self._share is not None

    @property
    def seconds_left(self) -> float:
        """How much of the call's timeout is left; never less than a millisecond."""
        return max(self._deadline - self._monotonic(), 0.001)

    @property
    def elapsed_ms(self) -> int:
        """How much of the call's timeout is over."""
        return self._call.timeout_ms - int((self._deadline - self._monotonic()) * 1_000)

    @property
    def is_late(self) -> bool:
        """Whether all of it is."""
        return self._monotonic() >= self._deadline

    def know(self, wanted: list[Wanted], addresses: Addresses) -> None:
        """Tells the handle, which is in no transfer, the addresses of the names that the present ask wants."""
        setopt = self.curl.setopt
        setopt(pycurl.RESOLVE, [*given_lines(self._call.config), *resolve_lines(wanted, addresses)])
        # They have to last for all of this call.
        setopt(pycurl.DNS_CACHE_TIMEOUT, self._call.timeout_ms // 1_000 + _ADDRESSES_LAST_SECONDS)
        setopt(pycurl.TIMEOUT_MS, max(1, int(self.seconds_left * 1_000)))
        self._gate.expected = expected_addresses(self._call.config, wanted, addresses)

    def close(self) -> None:
        """Ends the conversation and closes its handles and connections."""
        self._conversation.close()
        self._curl.close()
        if self._tunnel is not None:
            self._tunnel.close()
        self._socket = None
        if self._share is not None:
            self._share.close()
            self._share = None

    def _put(self, ask: Ask) -> None:
        self._gate.begin(ask.url, self._gate.proxy_host, trusts_names=self._gate.trusts_names)
        self._body.begin(_SPARE_BYTES if ask.leads_on else 0)
        timeout_ms = max(1, int(self.seconds_left * 1_000))
        if ask.way == "connect":
            self._tunnel = self._tunnel or self._new_tunnel()
            self._tunnel.put(ask, timeout_ms)
            self.curl = self._tunnel.curl
            return
        self.curl = self._curl
        self._usual = ask
        self._set_way(ask)
        self._put_request(ask, timeout_ms)

    def _put_request(self, ask: Ask, timeout_ms: int) -> None:
        curl, setopt, config = self._curl, self._curl.setopt, self._call.config
        setopt(pycurl.TIMEOUT_MS, timeout_ms)
        setopt(pycurl.URL, ask.url)
        self._names_path = name_path(curl, ask.url.encode("ascii"), self._call, self._names_path)
        setopt(pycurl.HTTPHEADER, list(ask.lines))
        for option, value in self._shapes[ask.method, ask.body is not None]:
            setopt(option, value)
        if ask.body is not None:
            setopt(pycurl.POSTFIELDS, ask.body)
        if config.proxy is not None:
            setopt(pycurl.PROXYHEADER, [*proxy_lines(config), *ask.proxy_lines])
        if ask.redirects:
            allowed = SCHEMES[config.proto_redirect] if config.proto_redirect else sum(SCHEMES.values())
            setopt(pycurl.PROTOCOLS, allowed)
        if ask.referer is not None:
            setopt(pycurl.REFERER, ask.referer)
        if ask.anonymous:
            take_traces(curl)
            self._forget_connections()
        if ask.credentials != self._has_credentials:
            self._has_credentials = ask.credentials
            if ask.credentials:
                put_credentials(curl, self._call.request, config)
            else:
                take_credentials(curl)

    def _forget_connections(self) -> None:
        """Leaves behind what NTLM has made known, once. A client certificate is something libcurl tells apart by."""
        if self._share is not None and not self._is_anonymous:
            known, self._share = self._share, new_share()
            self._curl.unsetopt(pycurl.SHARE)
            self._curl.setopt(pycurl.SHARE, self._share)
            known.close()
        self._is_anonymous = True

    def _set_way(self, ask: Ask) -> None:
        """Leads the handle into the tunnel, or back to the usual way."""
        curl, proxy = self._curl, self._call.config.proxy
        if ask.way == "tunnel":
            curl.setopt(pycurl.PROXY, "")
            curl.setopt(pycurl.OPENSOCKETFUNCTION, self._hand_over)
            curl.setopt(pycurl.SOCKOPTFUNCTION, _is_connected)
            self._is_inside = True
            if self._tunnel is not None:
                curl.setopt(pycurl.CONNECT_TO, [self._tunnel.address()])
                self._socket = self._tunnel.socket()
                self._tunnel.close()
                self._tunnel = None
        elif self._is_inside:
            assert proxy is not None
            curl.setopt(pycurl.PROXY, f"{proxy.protocol}://{proxy_host(proxy)}")
            curl.unsetopt(pycurl.CONNECT_TO)
            curl.unsetopt(pycurl.SOCKOPTFUNCTION)
            curl.setopt(pycurl.OPENSOCKETFUNCTION, self._gate.open_socket)
            self._is_inside = False

    def _hand_over(self, _purpose: int, _address: Any) -> Any:
        """For libcurl: the socket of the tunnel, once. It has passed the gate when it was opened."""
        lent, self._socket = self._socket, None
        return pycurl.SOCKET_BAD if lent is None else lent


def _is_connected(_fd: int, _purpose: int) -> int:
    return int(pycurl.SOCKOPT_ALREADY_CONNECTED)
