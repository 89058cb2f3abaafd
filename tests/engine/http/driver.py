"""Drives an `HttpClient` in tests: builds calls, sends them, waits for their ends."""

import itertools
import threading
from collections.abc import Sequence
from typing import Any

from tasks_server.clock import Clock, SystemClock
from tasks_server.domain.attempt import Outcome
from tasks_server.domain.request import HttpRequest, TaskConfig, is_special
from tasks_server.engine.calls import Call, Done
from tasks_server.engine.http.client import HttpClient
from tests.engine.http.target import DEADLINE_SECONDS

AGENT = "Tasks-Server/test"
RESPONSE_MAX_BYTES = 1_000
_tokens = itertools.count(1)


def call(
    url: str,
    method: str = "GET",
    *,
    config: TaskConfig | None = None,
    ours: Sequence[tuple[str, str]] = (),
    start_at: int = 0,
    timeout_ms: int = DEADLINE_SECONDS * 1_000,
    **request: Any,
) -> Call:
    """A call with a token of its own."""
    spec = HttpRequest(url=url, method=method, **request)  # type: ignore[arg-type]  # whatever a test gives
    config = config or TaskConfig()
    return Call(next(_tokens), spec, config, ours, start_at, timeout_ms, special=is_special(spec, config))


class Driver:
    """A running client with its ended calls by token."""

    def __init__(self, clock: Clock | None = None, **options: Any) -> None:
        self.clock = clock or SystemClock()
        settings = {"user_agent": AGENT, "response_max_bytes": RESPONSE_MAX_BYTES, "connections_max": 100} | options
        self.client = HttpClient(clock=self.clock, **settings)
        self.done: dict[int, Done] = {}
        self.order: list[int] = []
        self._changed = threading.Condition()

    def __enter__(self) -> "Driver":
        self.client.start(self._take)
        return self

    def __exit__(self, *_: object) -> None:
        self.client.stop()

    def _take(self, batch: list[Done]) -> None:
        with self._changed:
            for done in batch:
                assert done.token not in self.done, "a call ended twice"
                self.done[done.token] = done
                self.order.append(done.token)
            self._changed.notify_all()

    def wait(self, tokens: Sequence[int]) -> list[Done]:
        """The ends of these calls, once all have ended."""
        with self._changed:
            assert self._changed.wait_for(lambda: all(token in self.done for token in tokens), DEADLINE_SECONDS), (
                "a call did not end"
            )
        return [self.done[token] for token in tokens]

    def run(self, *calls: Call) -> list[Outcome]:
        """Sends these calls and gives their outcomes."""
        self.client.send(calls)
        return [done.outcome for done in self.wait([call.token for call in calls])]

    def get(self, url: str, method: str = "GET", **options: Any) -> Outcome:
        """Makes one call and gives its outcome."""
        return self.run(call(url, method, **options))[0]
