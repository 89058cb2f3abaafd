"""The pool of libcurl handles: making them is dear, so that of a plain call serves the next one, too."""

from typing import Any

import pycurl

from tasks_server.domain.egress import Egress
from tasks_server.engine.calls import Call
from tasks_server.engine.http.bodies import Body
from tasks_server.engine.http.egress import Gate
from tasks_server.engine.http.identities import Identities
from tasks_server.engine.http.options import Loaded
from tasks_server.engine.http.talk import Talk


class Handle:
    """A libcurl handle that serves one call after another, and what the present one has brought so far."""

    __slots__ = ("body", "call", "curl", "gate", "headers", "identity", "loaded", "started_at", "talk")

    def __init__(self, egress: Egress, response_max_bytes: int) -> None:
        self.curl = pycurl.Curl()
        self.loaded = Loaded()
        self.headers: list[bytes] = []
        self.gate = Gate(egress)
        self.body = Body(response_max_bytes)
        self.call: Call | None = None
        self.identity: bytes | None = None
        self.talk: Talk | None = None
        self.started_at = 0


class Handles:
    """All handles there are, by libcurl's own, and those of them that serve no call, at most `idle_max`. Each new one
    gets the `constant` options and keeps at most `response_max_bytes` of an answer's body.
    """

    def __init__(self, constant: list[tuple[int, Any]], egress: Egress, idle_max: int, response_max_bytes: int) -> None:
        self._constant = constant
        self._egress = egress
        self._response_max_bytes = response_max_bytes
        self._idle_max = idle_max
        self.by_curl: dict[pycurl.Curl, Handle] = {}
        self.idle: list[Handle] = []
        self.identities = Identities()

    def take(self, *, special: bool) -> Handle:
        """A handle for a call: a fresh one where that is special."""
        return self.idle.pop() if self.idle and not special else self._new()

    def _new(self) -> Handle:
        handle = Handle(self._egress, self._response_max_bytes)
        for option, value in self._constant:
            handle.curl.setopt(option, value)
        handle.curl.setopt(pycurl.WRITEFUNCTION, handle.body.take)
        handle.curl.setopt(pycurl.HEADERFUNCTION, handle.headers.append)
        handle.curl.setopt(pycurl.OPENSOCKETFUNCTION, handle.gate.open_socket)
        self.by_curl[handle.curl] = handle
        return handle

    def give(self, handle: Handle, *, special: bool) -> None:
        """The call of this handle has ended, and it is in no transfer. It is kept for the next, unless that was special
        or took more than one transfer.
        """
        handle.call = None
        handle.headers.clear()
        handle.body.begin()
        if len(self.idle) < self._idle_max and not special and handle.talk is None:
            self.idle.append(handle)
        else:
            self.discard(handle)

    def discard(self, handle: Handle) -> None:
        """Closes a handle and what is its own."""
        del self.by_curl[handle.curl]
        handle.curl.close()
        if handle.talk is not None:
            handle.talk.close()
            handle.talk = None
        if handle.identity is not None:
            self.identities.give(handle.identity)

    def rename(self, handle: Handle, curl: "pycurl.Curl") -> None:
        """From now on the call of this handle is in another one of libcurl's, or in the same."""
        del self.by_curl[handle.curl]
        handle.curl = curl
        self.by_curl[curl] = handle

    def close(self) -> None:
        """Closes those that serve no call; there must be no others."""
        for handle in self.idle:
            handle.curl.close()
        self.idle.clear()
        self.by_curl.clear()
