"""The `Caller` on libcurl: takes calls from any thread, holds each until its time, runs them on a thread of its own.

The transfers themselves are in `transfers`. Other threads only append to an inbox and wake the loop when it sleeps.
"""

import heapq
import threading
from collections import deque
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Final

from tasks_server.clock import Clock
from tasks_server.domain.attempt import Outcome, OutcomeKind
from tasks_server.domain.egress import OPEN, Egress
from tasks_server.domain.waits import is_set_back
from tasks_server.engine.calls import SET_BACK, Call, Caller, Done
from tasks_server.engine.http.certificates import ca_file
from tasks_server.engine.http.names import DNS_PORT
from tasks_server.engine.http.transfers import IDLE_SECONDS, Transfers

_LOOK_SECONDS: Final = 1.0
"""While calls wait for their time, the clock is looked at this often at least: it may be set."""
_START_MAX: Final = 32
"""Calls started in one turn: in a burst, the answers to the first are read before the last are sent."""
_DIED: Final = Outcome(OutcomeKind.INTERRUPTED, error="the HTTP thread of the server died")

OnDone = Callable[[list[Done]], None]


class _Abort:
    """Asks the loop to drop calls."""

    __slots__ = ("tokens",)

    def __init__(self, tokens: Collection[int]) -> None:
        self.tokens = tokens


class HttpClient(Caller):
    """Makes HTTP calls through libcurl. It keeps at most `connections_max` idle connections and refuses answers of
    more than `response_max_bytes`. A connection that was idle for longer than `idle_seconds` is not used again; after
    as long without any call, all are closed. `authorities` is a PEM file to trust instead of the system's. Certificates
    that tasks name by path lie below `certificates_dir`. `egress` says what may be called. DNS servers that tasks name
    listen on `dns_port`.

    Should the thread die by a fault of ours, every call it had ends as INTERRUPTED, `send` raises from then on, and
    the fault goes to `threading.excepthook`.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        user_agent: str,
        response_max_bytes: int,
        connections_max: int,
        authorities: str | None = None,
        idle_seconds: int = IDLE_SECONDS,
        certificates_dir: Path | None = None,
        egress: Egress = OPEN,
        dns_port: int = DNS_PORT,
    ) -> None:
        self._clock = clock
        self._transfers = Transfers(
            clock=clock,
            user_agent=user_agent,
            response_max_bytes=response_max_bytes,
            connections_max=connections_max,
            ca_file=authorities or ca_file(),
            idle_seconds=idle_seconds,
            certificates_dir=certificates_dir,
            egress=egress,
            dns_port=dns_port,
        )
        self._thread: threading.Thread | None = None
        self._on_done: OnDone = _nobody
        self._inbox: deque[Sequence[Call] | _Abort] = deque()
        self._sleeping = False
        self._stopping = False
        self._ended = False
        # Calls whose time has not come, a heap by start_at; those whose time has; and which of both still count.
        self._waiting: list[tuple[int, int, Call]] = []
        self._due: deque[Call] = deque()
        self._held: set[int] = set()

    def start(self, on_done: OnDone) -> None:
        if self._thread is not None:
            raise RuntimeError("the HTTP client was started before")
        self._on_done = on_done
        self._thread = threading.Thread(target=self._run, name="http", daemon=True)
        self._thread.start()

    def send(self, calls: Sequence[Call]) -> None:
        self._inbox.append(calls)
        # Looked at after the append: either the ending thread finds these calls or this finds the thread ended.
        if self._ended:
            raise RuntimeError("the HTTP client has ended")
        self._rouse()

    def abort(self, tokens: Collection[int]) -> None:
        self._inbox.append(_Abort(frozenset(tokens)))
        self._rouse()

    def stop(self) -> None:
        self._stopping = True
        if self._thread is None:
            if not self._ended:
                self._ended = True
                self._transfers.close()
            return
        self._rouse()
        self._thread.join()

    def _rouse(self) -> None:
        # Whoever clears the flag writes; the loop looks into the inbox once more after setting it.
        if self._sleeping:
            self._sleeping = False
            self._transfers.wake()

    # On the thread

    def _run(self) -> None:
        try:
            while not self._stopping:
                self._turn()
        except BaseException:
            self._ended = True
            self._give_up()
            raise
        finally:
            self._ended = True
            self._transfers.close()

    def _turn(self) -> None:
        self._take_in()
        timeout = self._start_due()
        self._sleeping = True
        if self._inbox or self._stopping:
            timeout = 0.0
        done = self._transfers.turn(timeout)
        self._sleeping = False
        if done:
            self._on_done(done)

    def _take_in(self) -> None:
        inbox = self._inbox
        while inbox:
            item = inbox.popleft()
            if isinstance(item, _Abort):
                self._held.difference_update(item.tokens)
                self._transfers.drop(item.tokens)
                continue
            now = self._clock.now()
            for call in item:
                self._held.add(call.token)
                if call.start_at <= now:
                    self._due.append(call)
                else:
                    heapq.heappush(self._waiting, (call.start_at, call.token, call))

    def _start_due(self) -> float | None:
        """Starts some of what is due. How long until more is to be started, in seconds; None: nothing waits."""
        waiting, due = self._waiting, self._due
        if waiting:
            now = self._clock.now()
            while waiting and waiting[0][0] <= now:
                due.append(heapq.heappop(waiting)[2])
            if waiting and is_set_back(waiting[0][0], now):
                self._give_back(now)
        for _ in range(min(len(due), _START_MAX)):
            call = due.popleft()
            if call.token in self._held:  # else it was aborted meanwhile
                self._held.discard(call.token)
                self._transfers.begin(call)
        if due:
            return 0.0
        # The clock's milliseconds are cut off, so this wait ends in the right one or at most one later, never before.
        return min((waiting[0][0] - now) / 1_000, _LOOK_SECONDS) if waiting else None

    def _give_back(self, now: int) -> None:
        """The clock was set back: nothing that waits here has its time soon."""
        held = [call.token for _, _, call in self._waiting if call.token in self._held]
        self._waiting.clear()
        self._held.difference_update(held)
        self._on_done([Done(token, SET_BACK, now, now) for token in held])

    def _give_up(self) -> None:
        """Ends everything this client still has, so that its owner does not wait for it."""
        while self._inbox:
            item = self._inbox.popleft()
            if not isinstance(item, _Abort):
                self._held.update(call.token for call in item)
        now = self._clock.now()
        done = self._transfers.take_ended()
        done.extend(Done(token, _DIED, now, now) for token in (*self._transfers.tokens, *self._held))
        self._held.clear()
        if done:
            self._on_done(done)


def _nobody(_done: list[Done]) -> None:
    """Stands in until `start`."""
