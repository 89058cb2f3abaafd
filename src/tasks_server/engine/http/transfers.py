"""Transfers in libcurl, many at once, driven by epoll: one `turn` at a time, on whatever thread calls it.

Here are the pool of handles, the sockets and the endings. When a call may start and how calls come in from other
threads is in `client`; what a handle is told is in `options`.

Every callback from libcurl into Python takes the interpreter lock back and gives it up again, and may have to wait
for it each time. So libcurl gets builtin methods of lists as callbacks for headers and data, is asked for its next
timer instead of announcing each, and enforces the size cap itself.
"""

import os
import select
import threading
from collections.abc import Iterable
from contextlib import suppress
from functools import lru_cache, partial
from pathlib import Path
from typing import Final

import pycurl

from tasks_server.clock import Clock
from tasks_server.domain.attempt import Outcome
from tasks_server.domain.egress import OPEN, Egress
from tasks_server.engine.calls import Call, Done
from tasks_server.engine.http.conversation import Broken, Ended
from tasks_server.engine.http.conversations import conversation_of
from tasks_server.engine.http.egress import Gate, blocked, refusal_of_url
from tasks_server.engine.http.errors import Circumstances, Unsendable, failed, unsendable
from tasks_server.engine.http.fetching import without_credentials
from tasks_server.engine.http.identities import Identities
from tasks_server.engine.http.loading import Loading
from tasks_server.engine.http.names import DNS_PORT, LookedUp, Names, servers_of, wanted_names
from tasks_server.engine.http.options import Loaded, constant_options, load, shapes
from tasks_server.engine.http.proxy import proxy_host
from tasks_server.engine.http.responses import answered
from tasks_server.engine.http.special import put_special
from tasks_server.engine.http.talk import FINAL, Talk
from tasks_server.engine.http.tunnel import Tunnel

_EVENTS_MAX: Final = 512
_READ: Final = select.EPOLLIN | select.EPOLLHUP | select.EPOLLRDHUP
# What libcurl asks for (POLL_IN, POLL_OUT, POLL_INOUT) as epoll says it, and epoll's answer as libcurl wants it.
_WANTED: Final = {
    pycurl.POLL_NONE: 0,
    pycurl.POLL_IN: select.EPOLLIN,
    pycurl.POLL_OUT: select.EPOLLOUT,
    pycurl.POLL_INOUT: select.EPOLLIN | select.EPOLLOUT,
}
IDLE_SECONDS: Final = 30
_CACHED_URLS: Final = 1_024


class Handle:
    """A libcurl handle that serves one call after another, and what the present one has brought so far."""

    __slots__ = ("body", "call", "curl", "gate", "headers", "identity", "loaded", "started_at", "talk")

    def __init__(self, egress: Egress) -> None:
        self.curl = pycurl.Curl()
        self.loaded = Loaded()
        self.headers: list[bytes] = []
        self.gate = Gate(egress, self.headers)
        self.body: list[bytes] = []
        self.call: Call | None = None
        self.identity: bytes | None = None
        self.talk: Talk | None = None
        self.started_at = 0


class Transfers:
    """Calls under way. Not thread-safe but for `wake`."""

    def __init__(
        self,
        *,
        clock: Clock,
        user_agent: str,
        response_max_bytes: int,
        connections_max: int,
        ca_file: str | None,
        idle_seconds: int,
        certificates_dir: Path | None = None,
        egress: Egress = OPEN,
        dns_port: int = DNS_PORT,
    ) -> None:
        self._clock = clock
        self._egress = egress
        self._refusal_of_url = lru_cache(_CACHED_URLS)(partial(refusal_of_url, egress))
        self._certificates_dir = certificates_dir
        self._identities = Identities()
        self._agent_line = f"User-Agent: {user_agent}".encode()
        self._response_max_bytes = response_max_bytes
        self._connections_max = connections_max
        self._constant = constant_options(ca_file=ca_file, idle_seconds=idle_seconds)
        self._shapes = shapes(response_max_bytes)
        self._names = Names(egress=egress, wake=self.wake, monotonic=clock.monotonic, port=dns_port)
        self._idle_seconds = idle_seconds
        self._idle: list[Handle] = []
        self._by_curl: dict[pycurl.Curl, Handle] = {}
        self._by_token: dict[int, Handle] = {}
        self._ended: list[Done] = []
        self._watched: dict[int, int] = {}
        self._trouble: BaseException | None = None
        self._epoll = select.epoll()
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._wake_lock = threading.Lock()
        self._closed = False
        self._epoll.register(self._wake_fd, select.EPOLLIN)
        self._loading = Loading(self.wake)
        self._multi = self._new_multi()
        self._used = False

    def __len__(self) -> int:
        return len(self._by_token) + len(self._loading.waiting)

    @property
    def tokens(self) -> list[int]:
        """The calls under way, but for those of our own."""
        return [token for token in (*self._by_token, *self._loading.waiting) if token > 0]

    def wake(self) -> None:
        """Ends the wait of a `turn` on another thread. Does nothing once closed."""
        with self._wake_lock:
            if not self._closed:
                os.eventfd_write(self._wake_fd, 1)

    def begin(self, call: Call) -> None:
        """Starts a call. One that cannot be sent ends at the next turn, like any other."""
        started_at = self._clock.now()
        if (refusal := self._refusal_of_url(call.request.url)) is not None:
            self._ended.append(Done(call.token, blocked(refusal), started_at, started_at))
            return
        if call.special and call.config.credentials == "omit":
            call = without_credentials(call)
        if call.special and self._loading.takes(call):
            return
        handle = self._idle.pop() if self._idle and not call.special else self._new_handle()
        try:
            load(handle.curl, handle.loaded, call, self._agent_line, self._shapes)
            handle.gate.begin(call.request.url)
            if call.special:
                self._specialize(handle, call)
            if handle.talk is None or not self._looks_up(handle.talk, call):
                self._multi.add_handle(handle.curl)
        except Exception as error:  # whatever goes wrong ends that call alone
            self._discard(handle)
            self._ended.append(Done(call.token, unsendable(_plain(error)), started_at, started_at))
            return
        handle.call = call
        handle.started_at = started_at
        self._by_token[call.token] = handle
        self._used = True

    def drop(self, tokens: Iterable[int]) -> None:
        """Ends these calls at once, without a `Done`."""
        gone = set()
        for token in tokens:
            gone.add(token)
            handle = self._by_token.get(token)
            if handle is not None:
                self._release(handle)
        self._loading.drop(gone)
        if self._ended:
            self._ended = [done for done in self._ended if done.token not in gone]

    def turn(self, timeout_seconds: float | None) -> list[Done]:
        """Moves the transfers on: waits for the network, a timer of libcurl's or `wake`, at most `timeout_seconds`
        (None: without end). The calls that have ended.
        """
        if self._loading.waiting:
            for call in self._loading.take_ready():
                self.begin(call)
        if self._names.is_used:
            self._go_on_with_names()
        multi = self._multi
        libcurl_ms = multi.timeout()
        if libcurl_ms == 0:
            multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)
            self._collect()
            libcurl_ms = multi.timeout()
        if self._ended:
            timeout_seconds = 0
        elif libcurl_ms >= 0 and (timeout_seconds is None or libcurl_ms < timeout_seconds * 1_000):
            timeout_seconds = libcurl_ms / 1_000
        self._check()
        self._wait(timeout_seconds)
        self._check()
        self._collect()
        return self.take_ended()

    def take_ended(self) -> list[Done]:
        """The calls that have ended and were not yet told of."""
        ended, self._ended = self._ended, []
        return self._names.keep_own(ended) if self._names.is_used else ended

    def close(self) -> None:
        """Drops every call and closes every connection and descriptor."""
        self._names.close()
        self.drop([*self._by_token, *self._loading.waiting])
        self._loading.close()
        self._identities.close_idle()
        self._multi.close()
        for handle in self._idle:
            handle.curl.close()
        self._idle.clear()
        self._by_curl.clear()
        self._epoll.close()
        with self._wake_lock:
            self._closed = True
            os.close(self._wake_fd)

    # Names that are looked up at servers of the task's own

    def _looks_up(self, talk: Talk, call: Call) -> bool:
        """Whether the present ask has to wait until names are looked up, which then is under way."""
        servers = servers_of(call.config)
        # What goes through an open tunnel needs no name.
        wanted = [] if servers is None or talk.ask.way == "tunnel" else wanted_names(call.config, talk.ask.url)
        if servers is None or not wanted:
            return False
        talk.is_added = False
        self._names.begin(call.token, servers, wanted, talk.seconds_left)
        return True

    def _go_on_with_names(self) -> None:
        """Takes in what was looked up, and makes the calls that looking up needs."""
        for call in self._names.take_calls():
            self.begin(call)
        self.drop(self._names.take_dropped())
        for known in self._names.take_news():
            handle = self._by_token.get(known.token)
            if handle is not None and handle.talk is not None and not handle.talk.is_added:
                self._go_on_with(handle, handle.talk, known)

    def _go_on_with(self, handle: Handle, talk: Talk, known: LookedUp) -> None:
        call, outcome = handle.call, known.failure
        assert call is not None
        try:
            if outcome is None:
                talk.know(known.wanted, known.addresses)
                self._multi.add_handle(handle.curl)
                talk.is_added = True
                return
            if talk.is_late:
                outcome = self._failed(handle, call, pycurl.E_OPERATION_TIMEDOUT, "")
        except Exception as error:  # whatever goes wrong ends that call alone
            outcome = unsendable(_plain(error))
        self._ended.append(Done(call.token, outcome, handle.started_at, self._clock.now()))
        self._release(handle)

    # Waiting

    def _wait(self, timeout_seconds: float | None) -> None:
        idle = self._used and not self._by_token
        if idle and (timeout_seconds is None or timeout_seconds > self._idle_seconds):
            timeout_seconds = self._idle_seconds
        events = self._epoll.poll(timeout_seconds, _EVENTS_MAX)
        if not events and idle and timeout_seconds == self._idle_seconds:
            self._close_connections()
        action = self._multi.socket_action
        for fd, mask in events:
            if fd == self._wake_fd:
                os.eventfd_read(fd)
            elif fd in self._watched:
                action(
                    fd,
                    (pycurl.CSELECT_IN if mask & _READ else 0)
                    | (pycurl.CSELECT_OUT if mask & select.EPOLLOUT else 0)
                    | (pycurl.CSELECT_ERR if mask & select.EPOLLERR else 0),
                )

    def _watch(self, what: int, fd: int, _multi: object, _data: object) -> None:
        """Takes in which events of which socket libcurl waits for. What is raised here would only be printed."""
        try:
            if what == pycurl.POLL_REMOVE:
                del self._watched[fd]
                with suppress(FileNotFoundError):
                    self._epoll.unregister(fd)
            elif fd in self._watched:
                self._watched[fd] = what
                self._epoll.modify(fd, _WANTED[what])
            else:
                self._epoll.register(fd, _WANTED[what])
                self._watched[fd] = what
        except BaseException as error:  # raised again where the loop sees it
            self._trouble = error

    def _check(self) -> None:
        if self._trouble is not None:
            raise self._trouble

    # Ending

    def _collect(self) -> None:
        left = 1
        while left:
            left, succeeded, broken = self._multi.info_read()
            if not succeeded and not broken:
                return
            now = self._clock.now()
            for curl in succeeded:
                self._end(self._by_curl[curl], None, now)
            for curl, code, message in broken:
                self._end(self._by_curl[curl], (code, message), now)

    def _end(self, handle: Handle, failure: tuple[int, str] | None, now: int) -> None:
        call = handle.call
        assert call is not None
        if handle.talk is not None:
            outcome = self._talk_on(handle, handle.talk, call, failure, now)
            if outcome is None:
                return
        else:
            outcome = self._outcome(handle, call, failure, now)
        self._ended.append(Done(call.token, outcome, handle.started_at, now))
        self._release(handle)

    def _outcome(self, handle: Handle, call: Call, failure: tuple[int, str] | None, now: int) -> Outcome:
        if failure is not None:
            return self._failed(handle, call, *failure)
        body = b"".join(handle.body) if handle.body and call.config.trace_response_data else None
        return answered(handle.curl.getinfo(pycurl.RESPONSE_CODE), handle.headers, body, now)

    def _talk_on(
        self, handle: Handle, talk: Talk, call: Call, failure: tuple[int, str] | None, now: int
    ) -> Outcome | None:
        """Goes on with the conversation of a call; its outcome when it is over."""
        try:
            is_final = failure is not None and (failure[0] in FINAL or handle.gate.refusal is not None)
            if is_final or not talk.answer(list(handle.headers), failure[0] if failure else 0):
                return self._outcome(handle, call, failure, now)
            self._multi.remove_handle(handle.curl)
            talk.is_added = False
            handle.headers.clear()
            handle.body.clear()
            talk.go_on()
            self._rename(handle, talk.curl)
            if not self._looks_up(talk, call):
                self._multi.add_handle(handle.curl)
                talk.is_added = True
        except Ended as end:
            return end.outcome
        except Broken as end:
            return self._failed(handle, call, end.code, end.message, int(end.following))
        except Exception as error:  # whatever goes wrong ends that call alone
            return unsendable(_plain(error))
        return None

    def _failed(self, handle: Handle, call: Call, code: int, message: str, following: int = 0) -> Outcome:
        curl, gate = handle.curl, handle.gate
        if gate.refusal is not None:
            return blocked(gate.refusal)
        url = ""
        if handle.talk is not None:
            code, url = handle.talk.blame(code)
        about = Circumstances(
            url=url or curl.getinfo(pycurl.EFFECTIVE_URL),
            message=message,
            os_errno=gate.os_errno or curl.getinfo(pycurl.OS_ERRNO),
            redirects=curl.getinfo(pycurl.REDIRECT_COUNT)
            if handle.talk is None
            else handle.talk.ask.redirects + following,
            redirects_max=call.config.redirect_attempts,
            timeout_ms=call.timeout_ms,
            response_max_bytes=self._response_max_bytes,
            proxy=proxy_host(call.config.proxy) if call.config.proxy is not None else "",
        )
        return failed(code, about)

    # Handles

    def _new_handle(self) -> Handle:
        handle = Handle(self._egress)
        for option, value in self._constant:
            handle.curl.setopt(option, value)
        handle.curl.setopt(pycurl.WRITEFUNCTION, handle.body.append)
        handle.curl.setopt(pycurl.HEADERFUNCTION, handle.headers.append)
        handle.curl.setopt(pycurl.OPENSOCKETFUNCTION, handle.gate.open_socket)
        self._by_curl[handle.curl] = handle
        return handle

    def _release(self, handle: Handle) -> None:
        """Takes a handle out of its transfer and keeps it for the next one."""
        assert handle.call is not None
        token = handle.call.token
        del self._by_token[token]
        special = handle.call.special
        handle.call = None
        if handle.talk is None or handle.talk.is_added:
            self._multi.remove_handle(handle.curl)
        else:
            self._names.forget(token)
        handle.headers.clear()
        handle.body.clear()
        if len(self._idle) < self._connections_max and not special:
            self._idle.append(handle)
        else:
            self._discard(handle)

    def _discard(self, handle: Handle) -> None:
        del self._by_curl[handle.curl]
        handle.curl.close()
        if handle.talk is not None:
            handle.talk.close()
            handle.talk = None
        if handle.identity is not None:
            self._identities.give(handle.identity)

    def _specialize(self, handle: Handle, call: Call) -> None:
        """Puts the special options of a call on a handle that will serve no other."""
        self._pass_on_to_gate(handle, call)
        identity = put_special(handle.curl, call, self._certificates_dir)
        needed = conversation_of(call, self._agent_line)
        if needed is not None:
            conversation, private = needed
            handle.talk = Talk(
                call,
                conversation,
                handle.curl,
                handle.gate,
                private=private,
                shapes=self._shapes,
                refusal=self._refusal_of_url,
                monotonic=self._clock.monotonic,
                new_tunnel=partial(self._new_tunnel, handle, call),
            )
            self._rename(handle, handle.talk.curl)
            if private:
                return
        if identity is not None:
            handle.curl.setopt(pycurl.SHARE, self._identities.take(identity))
            handle.identity = identity

    def _new_tunnel(self, handle: Handle, call: Call) -> Tunnel:
        return Tunnel(self._constant, call.config, handle.gate, handle.headers, handle.body, self._response_max_bytes)

    def _rename(self, handle: Handle, curl: "pycurl.Curl") -> None:
        """From now on the call of this handle is in another one of libcurl's, or in the same."""
        del self._by_curl[handle.curl]
        handle.curl = curl
        self._by_curl[curl] = handle

    def _pass_on_to_gate(self, handle: Handle, call: Call) -> None:
        """Tells the gate what this call brings along that leads elsewhere than its URL says."""
        config = call.config
        proxy = config.proxy.host if config.proxy is not None else None
        trusts_names = config.resolve is None and servers_of(config) is None
        handle.gate.begin(call.request.url, proxy, trusts_names=trusts_names)
        if proxy is not None:
            handle.curl.setopt(pycurl.PREREQFUNCTION, handle.gate.before_request)

    def _new_multi(self) -> "pycurl.CurlMulti":
        multi = pycurl.CurlMulti()
        multi.setopt(pycurl.M_SOCKETFUNCTION, self._watch)
        multi.setopt(pycurl.M_MAXCONNECTS, self._connections_max)
        return multi

    def _close_connections(self) -> None:
        """Closes all idle connections; libcurl by itself would look at their age only when one is wanted again."""
        self._identities.close_idle()
        self._multi.close()
        self._watched.clear()
        self._multi = self._new_multi()
        self._used = False


def _plain(error: Exception) -> str:
    """What went wrong, without values of the request: they may be secret."""
    if isinstance(error, Unsendable):
        return str(error)
    if isinstance(error, UnicodeError):
        return "it holds text that is not valid Unicode"
    if isinstance(error, pycurl.error):
        return f"the HTTP library refused it: {error.args[-1]}"
    return f"preparing it failed with {type(error).__name__}"
