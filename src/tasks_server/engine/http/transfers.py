"""Transfers in libcurl, many at once: one `turn` at a time, on whatever thread calls it.

Here is how calls begin and end. When a call may start and how calls come in from other threads is in `client`; what a
handle is told in `options`; waiting in `sockets`; what only few calls need in `special_calls`.

Every callback from libcurl into Python takes the interpreter lock back and gives it up again, and may have to wait
for it each time. So libcurl gets a builtin method of a list as callback for headers, a short one for data, and is asked
for its next timer instead of announcing each.
"""

from collections.abc import Iterable
from functools import lru_cache, partial
from pathlib import Path
from typing import Final

import msgspec
import pycurl

from tasks_server.clock import Clock
from tasks_server.domain.attempt import Outcome
from tasks_server.domain.egress import OPEN, Egress
from tasks_server.engine.calls import Call, Done
from tasks_server.engine.http.egress import blocked, refusal_of_url
from tasks_server.engine.http.endings import Failure, broke, outcome_of, outcome_of_fault
from tasks_server.engine.http.handles import Handle, Handles
from tasks_server.engine.http.loading import Loading
from tasks_server.engine.http.names import DNS_PORT, Names
from tasks_server.engine.http.options import constant_options, load, shapes
from tasks_server.engine.http.sockets import Sockets
from tasks_server.engine.http.special_calls import SpecialCalls, Surroundings

IDLE_SECONDS: Final = 30
_CACHED_URLS: Final = 1_024


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
        self._refusal_of_url = lru_cache(_CACHED_URLS)(partial(refusal_of_url, egress))
        self._agent_line = f"User-Agent: {user_agent}".encode()
        self._connections_max = connections_max
        self._shapes = shapes()
        self._idle_seconds = idle_seconds
        self._by_token: dict[int, Handle] = {}
        self._ended: list[Done] = []
        self._sockets = Sockets()
        self._names = Names(egress=egress, wake=self.wake, monotonic=clock.monotonic, port=dns_port)
        self._loading = Loading(self.wake)
        constant = constant_options(ca_file=ca_file, idle_seconds=idle_seconds)
        self._handles = Handles(constant, egress, connections_max, response_max_bytes)
        self._special = SpecialCalls(
            Surroundings(
                constant,
                self._shapes,
                self._agent_line,
                certificates_dir,
                self._refusal_of_url,
                clock.monotonic,
            ),
            self._handles,
            self._names,
            self._loading,
            attach=self._attach,
            detach=self._detach,
        )
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
        self._sockets.wake()

    def begin(self, call: Call) -> None:
        """Starts a call. One that cannot be sent ends at the next turn, like any other."""
        started_at = self._clock.now()
        if (refusal := self._refusal_of_url(call.request.url)) is not None:
            self._ended.append(Done(call.token, blocked(refusal), started_at, started_at))
            return
        if call.special:
            taken = self._special.taken(call)
            if taken is None:
                return
            call = taken
        handle = self._handles.take(special=call.special)
        try:
            load(handle.curl, handle.loaded, call, self._agent_line, self._shapes)
            if call.special:
                self._special.begin(handle, call)
            else:
                handle.gate.begin(call.request.url)
                self._multi.add_handle(handle.curl)
        except Exception as error:  # whatever goes wrong ends that call alone
            self._handles.discard(handle)
            self._ended.append(Done(call.token, outcome_of_fault(error), started_at, started_at))
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
        self._wait(timeout_seconds)
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
        self._handles.identities.close_idle()
        self._multi.close()
        self._handles.close()
        self._sockets.close()

    def _wait(self, timeout_seconds: float | None) -> None:
        idle = self._used and not self._by_token
        if idle and (timeout_seconds is None or timeout_seconds > self._idle_seconds):
            timeout_seconds = self._idle_seconds
        happened = self._sockets.wait(timeout_seconds, self._multi.socket_action)
        if not happened and idle and timeout_seconds == self._idle_seconds:
            self._close_connections()

    def _go_on_with_names(self) -> None:
        """Takes in what was looked up, and makes the calls that looking up needs."""
        for call in self._names.take_calls():
            self.begin(call)
        self.drop(self._names.take_dropped())
        for known in self._names.take_news():
            handle = self._by_token.get(known.token)
            if handle is None or handle.call is None or handle.talk is None or handle.talk.is_added:
                continue
            outcome = self._special.go_on_with(handle, handle.talk, handle.call, known)
            if outcome is not None:
                self._finish(handle, outcome, self._clock.now())

    def _collect(self) -> None:
        left = 1
        while left:
            left, succeeded, broken = self._multi.info_read()
            if not succeeded and not broken:
                return
            now = self._clock.now()
            for curl in succeeded:
                self._end(self._handles.by_curl[curl], None, now)
            for curl, code, message in broken:
                self._end(self._handles.by_curl[curl], (code, message), now)

    def _end(self, handle: Handle, failure: Failure | None, now: int) -> None:
        call, talk = handle.call, handle.talk
        assert call is not None
        outcome: Outcome | None
        if failure is not None:
            failure = broke(handle, failure)
        if talk is None and failure is None:
            talk = self._special.redirected(handle, call)
        if talk is None:
            outcome = outcome_of(handle, call, failure, now)
        else:
            outcome = self._special.go_on(handle, talk, call, failure, now)
            if outcome is None:
                return
        self._finish(handle, outcome, now)

    def _finish(self, handle: Handle, outcome: Outcome, now: int) -> None:
        call, talk = handle.call, handle.talk
        assert call is not None
        if talk is not None and (redirected := talk.redirected) is not None:
            outcome = msgspec.structs.replace(outcome, redirected=redirected)
        self._ended.append(Done(call.token, outcome, handle.started_at, now))
        self._release(handle)

    def _release(self, handle: Handle) -> None:
        """Takes a handle out of its transfer and keeps it for the next one."""
        call = handle.call
        assert call is not None
        del self._by_token[call.token]
        if handle.talk is None or handle.talk.is_added:
            self._multi.remove_handle(handle.curl)
        else:
            self._names.forget(call.token)
        self._handles.give(handle, special=call.special)

    def _attach(self, curl: "pycurl.Curl") -> None:
        self._multi.add_handle(curl)

    def _detach(self, curl: "pycurl.Curl") -> None:
        self._multi.remove_handle(curl)

    def _new_multi(self) -> "pycurl.CurlMulti":
        multi = pycurl.CurlMulti()
        multi.setopt(pycurl.M_SOCKETFUNCTION, self._sockets.watch)
        multi.setopt(pycurl.M_MAXCONNECTS, self._connections_max)
        return multi

    def _close_connections(self) -> None:
        """Closes all idle connections; libcurl by itself would look at their age only when one is wanted again."""
        self._handles.identities.close_idle()
        self._multi.close()
        self._sockets.forget()
        self._multi = self._new_multi()
        self._used = False
