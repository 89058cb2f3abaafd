"""What the engine asks of whoever makes HTTP calls, so that libcurl stays in its own room."""

from collections.abc import Callable, Collection, Sequence
from typing import Final, Protocol

import msgspec

from tasks_server.domain.attempt import Outcome, OutcomeKind
from tasks_server.domain.notes import Notes
from tasks_server.domain.request import HttpRequest, TaskConfig

SET_BACK: Final = Outcome(
    OutcomeKind.INTERRUPTED, error="given back: the clock was set back, and the time of the task has not come by it"
)
"""How a call ends that is held until its time, when the clock is set back meanwhile: it must not hold its slot."""


class Call(msgspec.Struct):
    """One call to make, not before `start_at` (ms since the epoch). `token` names it to the one who asked."""

    token: int
    request: HttpRequest
    config: TaskConfig
    headers: Sequence[tuple[str, str]]
    """Headers of ours (`X-Tasks-…`), sent beside the caller's."""
    start_at: int
    timeout_ms: int
    signing: tuple[bytes, ...] = ()
    """The keys to sign with (Standard Webhooks), newest first; none: the call is not signed."""
    message: str = ""
    """The id of the message that is signed."""
    special: bool = False
    """Whether the request or its configuration has an option of `domain.options`."""


class Done(msgspec.Struct):
    """How a call ended, and when it began and ended (ms since the epoch)."""

    token: int
    outcome: Outcome
    started_at: int
    ended_at: int
    notes: Notes | None = None
    """What a handler noted."""


class Caller(Protocol):
    """Makes calls, many at once. Its methods return at once and may be called from any thread."""

    def start(self, on_done: Callable[[list[Done]], None]) -> None:
        """Begins to work. `on_done` gets ended calls in batches, on a thread of the caller's own."""
        ...

    def send(self, calls: Sequence[Call]) -> None:
        """Takes calls in. Each ends in exactly one `Done`, unless it is aborted; as `SET_BACK` when its time moves far
        away.
        """
        ...

    def abort(self, tokens: Collection[int]) -> None:
        """Drops these calls, sent or not; they end in no `Done`. Unknown tokens are ignored."""
        ...

    def stop(self) -> None:
        """Drops what is still in flight, closes every connection and ends the thread. Returns when it has ended."""
        ...
