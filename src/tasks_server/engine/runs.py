"""What the engine asks of whoever runs handlers, so that users' code stays out of its process."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final, Protocol, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from tasks_server.domain import limits
from tasks_server.domain.defaults import Backoff
from tasks_server.domain.engines import HandlersTrouble
from tasks_server.domain.notes import Notes
from tasks_server.domain.request import Fallback, HandlerCall, TaskConfig
from tasks_server.engine.calls import Done
from tasks_server.telemetry.events import Level

_T = TypeVar("_T")


class Known(msgspec.Struct, frozen=True):
    """What the engine must know of a handler. None: its registration does not say."""

    concurrency_max: int
    """How many runs of it may be in flight in this engine."""
    timeout_ms: int | None = None
    retries_max: int | None = None
    retry_interval_ms: int | None = None
    backoff: Backoff | None = None
    retry_base_ms: int = limits.HANDLER_RETRY_BASE_MS
    """The first wait, when nothing says how long it is."""

    def applied_to(self, config: TaskConfig, call: HandlerCall) -> TaskConfig:
        """The configuration that counts, option by option: what the task says itself wins, then the registration,
        then the fallback, then the defaults. Where nothing says how retries wait, they do so exponentially from the
        base, whoever asks for them.
        """
        fallback = call.fallback
        changes: dict[str, object] = {}
        if config.timeout is UNSET:
            changes["timeout"] = _first(self.timeout_ms, fallback.timeout)
        if not config.says_retries:
            changes["retry"] = _first(self.retries_max, fallback.retry)
        if config.retry_interval is UNSET:
            waits = _first(fallback.retry_interval, self.retry_base_ms)
            changes["retry_interval"] = _first(self.retry_interval_ms, waits)
        if config.retry_backoff is None and config.retry_exponential is UNSET:
            changes["retry_backoff"] = self.backoff or self._backoff(config, fallback)
        return msgspec.structs.replace(config, **changes) if changes else config

    def _backoff(self, config: TaskConfig, fallback: Fallback) -> Backoff | None:
        """How waits grow, of which neither the task nor the registration says it."""
        if config.retry_interval is not UNSET:
            return None
        if self.retry_interval_ms is not None:
            return "exponential"
        if fallback.retry_backoff is not UNSET:
            return fallback.retry_backoff
        return "exponential"


UNREGISTERED: Final = Known(0)
"""Of a handler that is not registered by anybody."""


def _first(value: _T | UnsetType | None, other: _T | UnsetType) -> _T | UnsetType:
    return other if value is None or value is UNSET else value


class Run(msgspec.Struct):
    """One run of a handler, not before `start_at`. Instants are ms since the epoch; `payload` is JSON."""

    token: int
    name: str
    payload: bytes
    task_id: str
    attempt: int
    failures: int
    created_at: int
    due_at: int
    start_at: int
    timeout_ms: int
    keep_result: bool
    metadata: dict[str, str] | None = None


class Handlers(Protocol):
    """Runs handlers, many at once. Its methods return at once, but for `prepare` and `stop`, and may be called from
    any thread.
    """

    def prepare(self) -> None:
        """Returns when handlers can be run for the first time. Raises `HandlersFailed` when they cannot."""
        ...

    def start(
        self,
        on_done: Callable[[list[Done]], None],
        on_change: Callable[[], None],
        on_noted: Callable[[dict[int, Notes]], None],
    ) -> None:
        """Begins to work. `on_done` gets ended runs in batches, `on_change` is called when `known` has changed,
        `on_noted` gets all that runs have noted so far, by their tokens, about once a second: all on a thread of its
        own.
        """
        ...

    def known(self) -> Mapping[str, Known]:
        """The handlers that can be run now, by the target of their tasks."""
        ...

    def trouble(self) -> HandlersTrouble | None:
        """Why the handlers of users cannot be imported now; None: they can, as far as is known. `on_change` is called
        when that changes.
        """
        ...

    def runs_max(self) -> int | None:
        """How many runs may be in flight over all handlers; None: as many as each allows."""
        ...

    def send(self, runs: Sequence[Run]) -> None:
        """Takes runs in. Each ends in exactly one `Done`, unless it is aborted."""
        ...

    def relog(self, level: Level) -> None:
        """From now on, those who run them log at this level."""
        ...

    def abort(self, tokens: Collection[int]) -> None:
        """Stops these runs; they end in no `Done`. Unknown tokens are ignored."""
        ...

    def stop(self) -> None:
        """Stops what still runs, which ends as INTERRUPTED unless it is done by then, and ends every process and the
        thread. Returns when they have ended.
        """
        ...
