"""Counts attempts that failed, by target, and tells of them: the first at once, then a summary each minute. The log of
an outage is some lines, not one for each task; the history has every attempt.
"""

from typing import Final

import msgspec

from tasks_server.clock import Clock
from tasks_server.domain.attempt import Outcome, OutcomeKind
from tasks_server.telemetry import Telemetry
from tasks_server.telemetry.events import TargetFailing

_SUMMARY_SECONDS: Final = 60.0
_TARGETS_MAX: Final = 100
_OTHERS: Final = "(other hosts)"
_NO_FAILURES: Final = frozenset(
    {OutcomeKind.SUCCESS, OutcomeKind.EXPIRED, OutcomeKind.INTERRUPTED, OutcomeKind.ABORTED, OutcomeKind.HANDLER_ERROR}
)
"""The last one has a line of its own (`HandlerFailed`)."""


class _Failing(msgspec.Struct):
    """A target: how many attempts failed since that was last told, and how the last one ended."""

    told_at: float
    count: int = 0
    outcome: str = ""
    status: int = 0
    hosts: set[int] | None = None


class Failures:
    """A duty like those of `maintenance`. `total` is how many attempts failed since the engine began."""

    name = "tell failures"
    every_seconds = 5.0

    def __init__(self, clock: Clock, telemetry: Telemetry) -> None:
        self._clock, self._telemetry = clock, telemetry
        self._failing: dict[str, _Failing] = {}
        self.total = 0

    def note(self, target: str, outcome: Outcome) -> None:
        """An attempt ended."""
        if outcome.kind in _NO_FAILURES:
            return
        self.total += 1
        name = target if target in self._failing or len(self._failing) < _TARGETS_MAX else _OTHERS
        failing = self._failing.get(name)
        first = failing is None
        if failing is None:
            failing = self._failing[name] = _Failing(self._clock.monotonic(), hosts=set() if name == _OTHERS else None)
        failing.count += 1
        failing.outcome, failing.status = outcome.kind, outcome.status_code
        if failing.hosts is not None and len(failing.hosts) < _TARGETS_MAX:
            failing.hosts.add(hash(target))
        if first:
            self._tell(name, failing)

    async def tick(self) -> bool:
        """Tells the summaries whose minute is over; a target without a failure in it is told anew with the next."""
        now = self._clock.monotonic()
        for name, failing in list(self._failing.items()):
            if now - failing.told_at < _SUMMARY_SECONDS:
                continue
            if not failing.count:
                del self._failing[name]
                continue
            failing.told_at = now
            self._tell(name, failing)
        return False

    def failing(self) -> int:
        """To how many targets attempts failed lately; at most those that are counted by name, and one."""
        return len(self._failing)

    def _tell(self, name: str, failing: _Failing) -> None:
        hosts = len(failing.hosts) if failing.hosts is not None else 0
        self._telemetry.emit(TargetFailing(name, failing.count, failing.outcome, failing.status, hosts))
        failing.count = 0
        if failing.hosts is not None:
            failing.hosts.clear()
