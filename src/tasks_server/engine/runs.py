"""What the engine asks of whoever runs handlers, so that users' code stays out of its process."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

import msgspec

from tasks_server.domain import limits
from tasks_server.domain.engines import HandlersTrouble
from tasks_server.domain.request import HandlerCall, TaskConfig
from tasks_server.domain.retry import Backoff
from tasks_server.engine.calls import Done
from tasks_server.telemetry import Level


class Known(msgspec.Struct, frozen=True):
    """What the engine must know of a handler. None: its registration does not say."""

    concurrency_max: int
    """How many runs of it may be in flight in this engine."""
    timeout_ms: int | None = None
    retries_max: int | None = None
    retry_interval_ms: int | None = None
    backoff: Backoff | None = None
    retry_base_ms: int = limits.HANDLER_RETRY_BASE_MS
    """The first wait of the retries it is registered with, when nothing says how long it is."""

    def applied_to(self, config: TaskConfig, call: HandlerCall) -> TaskConfig:
        """The configuration that counts: what the task says itself wins, then the registration, then the defaults.
        Retries that the registration asks for wait exponentially, if neither says how.
        """
        changes: dict[str, object] = {}
        if self.timeout_ms is not None and not call.own_timeout:
            changes["timeout"] = self.timeout_ms
        if not call.own_retries:
            if self.retries_max is not None:
                changes["retry"] = self.retries_max
            if self.retry_interval_ms is not None:
                changes["retry_interval"] = self.retry_interval_ms
                changes["retry_backoff"] = self.backoff or "exponential"
            elif self.retries_max is not None and config.retry_interval == limits.RETRY_INTERVAL_DEFAULT_MS:
                changes["retry_interval"] = self.retry_base_ms
                changes["retry_backoff"] = self.backoff or config.retry_backoff or "exponential"
            elif self.backoff is not None:
                changes["retry_backoff"] = self.backoff
        return msgspec.structs.replace(config, **changes) if changes else config


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

    def start(self, on_done: Callable[[list[Done]], None], on_change: Callable[[], None]) -> None:
        """Begins to work. `on_done` gets ended runs in batches and `on_change` is called when `known` has changed, both
        on a thread of its own.
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
