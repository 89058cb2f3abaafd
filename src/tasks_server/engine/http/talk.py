"""Carries a conversation to libcurl: puts each ask on the call's handle and tells what came of it.

All of it counts against the one timeout of the call, passes the same egress gate, and starts from scratch as far as
headers and body go. Tunnels that a conversation makes itself are in `tunnel`.
"""

from collections.abc import Callable
from typing import Final

import pycurl

from tasks_server.engine.calls import Call
from tasks_server.engine.http.conversation import Answer, Ask, Conversation, Ended
from tasks_server.engine.http.egress import Gate, blocked
from tasks_server.engine.http.identities import new_share
from tasks_server.engine.http.options import Shapes
from tasks_server.engine.http.proxy import proxy_lines
from tasks_server.engine.http.special import SCHEMES, put_credentials, take_credentials

FINAL: Final = frozenset({pycurl.E_OPERATION_TIMEDOUT, pycurl.E_FILESIZE_EXCEEDED})
"""Codes that end a call whatever its conversation might want."""


class Talk:
    """A conversation under way on a handle that serves no other call.

    `refusal` says why a URL may not be called (None: it may); `monotonic` is in seconds. With `private` its
    connections are its own: no other call finds them, nor does it find those of others.
    """

    def __init__(
        self,
        call: Call,
        conversation: Conversation,
        curl: "pycurl.Curl",
        gate: Gate,
        *,
        private: bool,
        shapes: Shapes,
        refusal: Callable[[str], str | None],
        monotonic: Callable[[], float],
    ) -> None:
        self._call = call
        self._conversation = conversation
        self._curl = curl
        self._gate = gate
        self._shapes = shapes
        self._refusal = refusal
        self._monotonic = monotonic
        self._deadline = monotonic() + call.timeout_ms / 1_000
        self._has_credentials = True
        self._share = new_share() if private else None
        if self._share is not None:
            curl.setopt(pycurl.SHARE, self._share)
            # Closed they are at the end of the call, not after each request.
            curl.setopt(pycurl.FRESH_CONNECT, 0)
            curl.setopt(pycurl.FORBID_REUSE, 0)
        self.is_added = True
        """Whether the handle is in a transfer, or about to be."""
        self.ask = next(conversation)
        self._put(self.ask)

    def answer(self, status: int, lines: list[bytes], url: str, connects: int, broken: int) -> bool:
        """Tells what came of the ask. True: the next ask is on the handle; False: that was the answer of the call.

        Raises `Broken` or `Ended` when the conversation ends otherwise.
        """
        try:
            self.ask = self._conversation.send(Answer(status, lines, url, connects, broken))
        except StopIteration:
            return False
        return True

    def go_on(self) -> None:
        """Puts the present ask on the handle, which is in no transfer. Raises `Ended` where the policy forbids it."""
        if (refusal := self._refusal(self.ask.url)) is not None:
            raise Ended(blocked(refusal))
        self._put(self.ask)

    def close(self) -> None:
        """Ends the conversation and closes its connections; the handle has been closed."""
        self._conversation.close()
        if self._share is not None:
            self._share.close()
            self._share = None

    def _put(self, ask: Ask) -> None:
        curl, setopt, config = self._curl, self._curl.setopt, self._call.config
        self._gate.begin(ask.url, self._gate.proxy_host, trusts_names=self._gate.trusts_names)
        setopt(pycurl.TIMEOUT_MS, max(1, int((self._deadline - self._monotonic()) * 1_000)))
        setopt(pycurl.URL, ask.url)
        setopt(pycurl.HTTPHEADER, list(ask.lines))
        setopt(pycurl.FOLLOWLOCATION, 0)
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
        if ask.credentials != self._has_credentials:
            self._has_credentials = ask.credentials
            if ask.credentials:
                put_credentials(curl, self._call.request, config)
            else:
                take_credentials(curl)
