"""What is on its way in: the requests at work, and how much the bodies of all of them hold.

A body that comes too slowly is given up, and all bodies together hold no more than so many bytes: when they would,
whoever holds the most of them loses one. A request is told so by `refuse`, wherever it waits for its body.
"""

import asyncio
from typing import Any, Final

from tasks_server.clock import Clock
from tasks_server.domain.errors import Overloaded, RequestError, TooSlow

FREE_BYTES: Final = 8 * 1_024
"""A body up to this size counts for nothing: it takes no more than the request itself."""
RATE_MIN_BYTES: Final = 8 * 1_024
"""Bytes a second that a body brings at least, on the whole, once its first time is over."""
NOT_AWAITED: Final = -1
_LARGE_BYTES: Final = 4_096


class Pieces:
    """A body in the making. However small the parts are, it takes little more than they have together; large ones stay
    as they came, so that memory is asked for and freed in pieces of one size.
    """

    __slots__ = ("_crumbs", "_parts")

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._crumbs = bytearray()

    def add(self, part: bytes) -> int:
        """Adds a part; its length."""
        if len(part) >= _LARGE_BYTES and not self._crumbs:
            self._parts.append(part)
        else:
            self._crumbs += part
            if len(self._crumbs) >= _LARGE_BYTES:
                self._parts.append(bytes(self._crumbs))
                self._crumbs.clear()
        return len(part)

    def joined(self) -> bytes:
        """All parts in a row."""
        return b"".join([*self._parts, self._crumbs])


class Arrival:
    """A request from when its head is there until its answer is sent, as far as its body is concerned."""

    __slots__ = ("held", "received", "refusal", "task")

    def __init__(self) -> None:
        self.held = 0
        """Bytes that count."""
        self.received = NOT_AWAITED
        """Bytes of its body that are there, while the rest is waited for."""
        self.refusal: RequestError | None = None
        self.task: asyncio.Task[Any] | None = None

    def holder(self) -> str:
        """In whose name it holds what it holds."""
        return ""

    def peer(self) -> tuple[str, str] | None:
        """Address and port of the other end."""
        return None

    def refuse(self, why: RequestError) -> None:
        """Ends its wait for the body with `why`."""
        if self.refusal is None and self.task is not None:
            self.refusal = why
            self.task.cancel()


class Inflow:
    """Knows every request at work. `bytes_max`: what all bodies may hold; `silence_seconds`: how long a body may bring
    nothing, and how long it may come at any rate.
    """

    def __init__(self, clock: Clock, bytes_max: int, silence_seconds: float) -> None:
        self._clock = clock
        self._bytes_max = bytes_max
        self._silence = silence_seconds
        self._at_work: set[Arrival] = set()
        self._by_holder: dict[str, dict[Arrival, None]] = {}
        self._sums: dict[str, int] = {}
        self._looked_at: dict[Arrival, tuple[int, float, float]] = {}
        self.total = 0
        """Bytes that all bodies hold."""
        self.enter = self._at_work.add

    def is_at_work(self) -> bool:
        """Whether any request is in work."""
        return bool(self._at_work)

    def leave(self, arrival: Arrival) -> None:
        """The answer is sent, and nothing of the request is held any more."""
        self._at_work.discard(arrival)
        if arrival.held:
            self._release(arrival)

    def hold(self, arrival: Arrival, size: int) -> None:
        """The body of `arrival` takes `size` bytes by now. Raises `Overloaded` when that is too much."""
        if size <= FREE_BYTES:
            return
        holder = arrival.holder()
        self._by_holder.setdefault(holder, {})[arrival] = None
        self._sums[holder] = self._sums.get(holder, 0) + size - arrival.held
        self.total += size - arrival.held
        arrival.held = size
        while self.total > self._bytes_max:
            self._make_room(arrival)

    def peers(self, *, awaited: bool) -> set[tuple[str, str] | None]:
        """The other ends of requests that are worked on; with `awaited` also of those whose body is waited for. From
        any thread.
        """
        at_work = tuple(self._at_work)
        return {arrival.peer() for arrival in at_work if awaited or arrival.received == NOT_AWAITED}

    def awaits(self) -> bool:
        """Whether a body is waited for. From any thread."""
        return any(arrival.received != NOT_AWAITED for arrival in tuple(self._at_work))

    def drop_slow(self) -> None:
        """Gives up bodies that bring nothing, or too little. To be called now and then, in the event loop's thread."""
        now, before, self._looked_at = self._clock.monotonic(), self._looked_at, {}
        for arrival in tuple(self._at_work):
            size = arrival.received
            if size == NOT_AWAITED:
                continue
            seen, grew_at, began_at = before.get(arrival, (size, now, now))
            grew_at = now if size != seen else grew_at
            self._looked_at[arrival] = (size, grew_at, began_at)
            if now - grew_at >= self._silence:
                arrival.refuse(TooSlow(f"nothing of the body came for {self._silence:g} s"))
            elif now - began_at >= self._silence + size / RATE_MIN_BYTES:
                arrival.refuse(TooSlow(f"the body came at less than {RATE_MIN_BYTES} bytes a second"))

    def _make_room(self, arrival: Arrival) -> None:
        own = arrival.holder()
        for holder in sorted(self._sums, key=lambda holder: self._sums[holder], reverse=True):
            if holder == own:
                raise _overloaded(self._bytes_max)
            for other in self._by_holder[holder]:
                if other.received != NOT_AWAITED and other.refusal is None:
                    self._release(other)
                    other.refuse(_overloaded(self._bytes_max))
                    return

    def _release(self, arrival: Arrival) -> None:
        holder = arrival.holder()
        self.total -= arrival.held
        self._sums[holder] -= arrival.held
        arrival.held = 0
        del self._by_holder[holder][arrival]
        if not self._by_holder[holder]:
            del self._by_holder[holder], self._sums[holder]


def _overloaded(bytes_max: int) -> Overloaded:
    return Overloaded(f"the bodies of all requests hold the {bytes_max} bytes that they may; go on in a moment")
