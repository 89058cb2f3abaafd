"""Lanes: which one is stuck, by what, and what to do about it."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from tasks_server.api.exchange import Answer
from tasks_server.api.routes import Route
from tasks_server.domain.bulk import Action, in_queue_of
from tasks_server.domain.errors import InvalidRequest, NotFound, TasksServerError
from tasks_server.domain.lane import Lane
from tasks_server.domain.task import State
from tasks_server.service.bulks import BulkService
from tasks_server.service.lanes import LaneService
from tasks_server.web.frame import Frame
from tasks_server.web.owner_choice import OwnerChoice
from tasks_server.web.rendering import short
from tasks_server.web.visit import Form, Visit, see_other

PATH: Final = "/ui/lanes"
_ROWS: Final = 200
_GAUGE_PIXELS: Final = 110
_NUMBERS: Final = {"maxConcurrent": int, "ratePerSecond": float, "burst": int}


class LaneRow(msgspec.Struct):
    """A lane in the list and on its page."""

    name: str
    standing: str
    paused_at: int | None
    paused_by: str | None
    held: bool
    waiting: int
    scheduled: int
    running: int
    running_max: int | None
    gauge: int
    rate: float | None
    burst: int | None
    failed: int
    done: int
    meaning: str


class LanePages:
    """The pages, and their buttons. The lanes of one owner."""

    def __init__(self, lanes: LaneService, bulks: BulkService, choice: OwnerChoice) -> None:
        self._lanes = lanes
        self._bulks = bulks
        self._choice = choice

    def table(self, frame: Frame) -> list[Route]:
        one, of = f"{PATH}/{{name}}", self._choice.of
        return [
            frame.shows(PATH, of(self.page, "Lanes"), "Show lanes"),
            frame.shows(one, of(self.lane, "Lane"), "Show a lane"),
            frame.does(PATH, of(self.make, "Lanes"), "Set up a lane by a form"),
            frame.does(f"{one}/settings", of(self.settings, "Lane"), "Change a lane by a form"),
            frame.does(f"{one}/pause", of(self.pause, "Lane"), "Pause a lane from its page"),
            frame.does(f"{one}/resume", of(self.resume, "Lane"), "Resume a lane from its page"),
            frame.does(f"{one}/purge", of(self.purge, "Lane"), "Purge a lane from its page"),
            frame.does(f"{one}/delete", of(self.delete, "Lane"), "Delete a lane from its page"),
        ]

    async def page(self, visit: Visit, owner: str) -> Answer:
        """All lanes, those first where the most waits."""
        after = dict(visit.pairs()).get("cursor", "")
        found = await self._lanes.page(owner, after, _ROWS)
        rows = sorted((_row(lane) for lane in found.lanes), key=lambda row: (-row.waiting, row.name))
        return visit.page("lanes.html", "Lanes", lanes=rows, next=found.next)

    async def lane(self, visit: Visit, owner: str, faults: Mapping[str, str] | None = None) -> Answer:
        """One lane: how it fares, and its settings."""
        name = visit.exchange.parameter("name")
        try:
            lane = await self._lanes.show(owner, name)
        except NotFound:
            lane = Lane(name)
        return visit.page(
            "lane.html", f"Lane {name}", status=400 if faults else 200, lane=_row(lane), faults=faults or {}, live=2
        )

    async def make(self, visit: Visit, owner: str) -> Answer:
        form = await visit.form()
        name = form.one("name").strip()
        try:
            await self._lanes.put(owner, name, _settings(form), visit.who.by)
        except TasksServerError as error:
            return see_other(visit.link(PATH), {"failed": error.message})
        return see_other(visit.link(f"{PATH}/{name}"), {"done": f"The lane {name} is set up."})

    async def settings(self, visit: Visit, owner: str) -> Answer:
        form = await visit.form()
        try:
            patch = {name: _settings(form).get(name) for name in _NUMBERS}
            await self._lanes.edit(owner, visit.exchange.parameter("name"), patch, visit.who.by)
        except InvalidRequest as error:
            return await self.lane(visit, owner, {fault.field: fault.message for fault in error.faults})
        return self._back(visit, "Its settings are changed; engines keep to them from their next look on.")

    async def pause(self, visit: Visit, owner: str) -> Answer:
        await self._lanes.pause(owner, visit.exchange.parameter("name"), visit.who.by)
        return self._back(visit, "It is paused: its tasks wait, those that run go on.")

    async def resume(self, visit: Visit, owner: str) -> Answer:
        await self._lanes.resume(owner, visit.exchange.parameter("name"), visit.who.by)
        return self._back(visit, "It goes on.")

    async def purge(self, visit: Visit, owner: str) -> Answer:
        name = visit.exchange.parameter("name")
        bulk = await self._bulks.create(owner, Action.DELETE, in_queue_of(name), visit.who.by)
        return see_other(visit.link(f"/ui/bulk/{bulk.id}"), {"done": f"What is in queue in {name} is being deleted."})

    async def delete(self, visit: Visit, owner: str) -> Answer:
        name = visit.exchange.parameter("name")
        await self._lanes.delete(owner, name, visit.who.by)
        return see_other(visit.link(PATH), {"done": f"The lane {name} is deleted."})

    @staticmethod
    def _back(visit: Visit, done: str) -> Answer:
        return see_other(visit.link(f"{PATH}/{visit.exchange.parameter('name')}"), {"done": done})


def _settings(form: Form) -> dict[str, Any]:
    """What a form says of a lane; what is no number goes on as text, to be told as a fault."""
    found: dict[str, Any] = {}
    for name, kind in _NUMBERS.items():
        text = form.one(name).strip()
        if text:
            try:
                found[name] = kind(text)
            except ValueError:
                found[name] = text
    return found


def _row(lane: Lane) -> LaneRow:
    chosen, counts = lane.facts.limits, lane.counts
    running, most = counts.get(State.RUNNING, 0), chosen.concurrent_max
    waiting = counts.get(State.AVAILABLE, 0)
    share = min(1.0, running / most) if most else 0.0
    return LaneRow(
        lane.name,
        "paused" if chosen.paused_at is not None else "open",
        chosen.paused_at,
        chosen.paused_by,
        chosen.held,
        waiting,
        counts.get(State.SCHEDULED, 0) + counts.get(State.RETRYABLE, 0),
        running,
        most,
        round(share * _GAUGE_PIXELS),
        chosen.rate,
        chosen.burst,
        counts.get(State.FAILED, 0),
        counts.get(State.COMPLETED, 0),
        _meaning(chosen.paused_at is not None, waiting, chosen.rate),
    )


def _meaning(paused: bool, waiting: int, rate: float | None) -> str:
    """What its settings mean for what waits now."""
    if not waiting:
        return "Nothing that is due waits."
    if paused:
        return f"The {waiting} that are due wait until it is resumed."
    if rate:
        return f"At {rate:g} a second, the {waiting} that are due take {short(round(waiting / rate * 1_000))}."
    return f"{waiting} are due and wait for a free slot."
