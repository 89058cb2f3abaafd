"""The first page: is all well, and if not, where to look."""

from typing import Final

import msgspec

from tasks_server.api.exchange import Answer
from tasks_server.api.log_routes import STATES
from tasks_server.api.routes import Route
from tasks_server.api.states import WIRE_STATES
from tasks_server.clock import Clock
from tasks_server.domain import durations, limits
from tasks_server.domain.task import State
from tasks_server.service.journal import JournalService
from tasks_server.service.monitoring import Health, MonitorService
from tasks_server.store.journal import LogQuery
from tasks_server.web.frame import Frame
from tasks_server.web.log_page import tries
from tasks_server.web.task_pages import first_curl
from tasks_server.web.visit import Visit

PATH: Final = "/ui"
_FAILURES: Final = 8
_KEPT_SECONDS: Final = 2.0
"""How long what all visitors see alike is kept."""
_QUEUE_FULL_SHARE: Final = 0.9
_CHECKS: Final = {"store": "The database", "engine": "The engines", "handlers": "The handlers", "clock": "The clock"}


class Tile(msgspec.Struct):
    """A number, what it counts, and where its tasks are."""

    count: int
    word: str
    href: str


class Problem(msgspec.Struct):
    """Something to look at, and where."""

    text: str
    href: str


class OverviewPage:
    """The page."""

    def __init__(self, monitor: MonitorService, journal: JournalService, clock: Clock) -> None:
        self._monitor = monitor
        self._journal = journal
        self._clock = clock
        self._health: Health | None = None
        self._until = 0.0

    def table(self, frame: Frame) -> list[Route]:
        return [frame.shows(PATH, self.page, "Show the overview")]

    async def page(self, visit: Visit) -> Answer:
        health = await self._look()
        counts = await self._monitor.counts(visit.scope)
        since = visit.now - limits.DAY_MS
        failures = await self._journal.page(
            LogQuery(visit.scope, limit=_FAILURES, outcomes=STATES["ERROR"], since=since)
        )
        return visit.page(
            "overview.html",
            "Overview",
            well=health.status == "ok",
            problems=[*_told(health), *_of_owner(visit)],
            tiles=_tiles(counts),
            failures=tries(failures.entries),
            nothing=not any(counts.values()),
            first_curl=first_curl(visit),
        )

    async def _look(self) -> Health:
        """How the server fares, a moment ago at most: tabs share what was found."""
        now = self._clock.monotonic()
        if self._health is None or now > self._until:
            self._health, self._until = await self._monitor.health(), now + _KEPT_SECONDS
        return self._health


def _tiles(counts: dict[State, int]) -> list[Tile]:
    waiting = [
        (State.AVAILABLE, "due, waiting"),
        (State.RUNNING, "running now"),
        (State.SCHEDULED, "not due yet"),
        (State.RETRYABLE, "wait for a retry"),
        (State.PAUSED, "paused"),
        (State.FAILED, "failed"),
        (State.COMPLETED, "done"),
    ]
    return [
        Tile(counts.get(state, 0), word, f"/ui/tasks?q=state%3A{WIRE_STATES[state].lower()}") for state, word in waiting
    ]


def _told(health: Health) -> list[Problem]:
    told = []
    for name, check in health.checks.items():
        if check["status"] not in ("ok", "unknown"):
            word = _CHECKS.get(name, name)
            detail = check.get("detail")
            if detail is None:
                silent = f" for {durations.shown(check['silent_ms'])}" if check.get("silent_ms") else ""
                detail = f"{check.get('code') or check['status']}{silent}"
            told.append(Problem(f"{word}: {detail}", "/ui/engines"))
    return told


def _of_owner(visit: Visit) -> list[Problem]:
    owner = visit.who.owner
    if owner is None or not owner.tasks_in_queue_max:
        return []
    share = owner.tasks_in_queue / owner.tasks_in_queue_max
    if share < _QUEUE_FULL_SHARE:
        return []
    text = f"{owner.tasks_in_queue} of {owner.tasks_in_queue_max} places in the queue are taken"
    return [Problem(text, "/ui/tasks?q=state%3Arunning")]
