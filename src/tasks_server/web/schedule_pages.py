"""Schedules: what will run when, what was missed, and why."""

from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from tasks_server.api.exchange import Answer
from tasks_server.api.routes import Route
from tasks_server.api.wire import spec_view
from tasks_server.domain import durations, masking
from tasks_server.domain.errors import InvalidRequest, TasksServerError
from tasks_server.domain.schedule import Rule, Schedule
from tasks_server.domain.zones import zone_of
from tasks_server.service.journal import JournalService
from tasks_server.service.schedules import ScheduleService
from tasks_server.store.journal import LogQuery
from tasks_server.web.frame import Frame
from tasks_server.web.log_page import tries
from tasks_server.web.owner_choice import OwnerChoice
from tasks_server.web.task_page import asked_of
from tasks_server.web.visit import Form, Visit, see_other

PATH: Final = "/ui/schedules"
_ROWS: Final = 100
_TIMES: Final = 20
_RUNS: Final = 20
_OVERLAP: Final = {
    "allow": "begins whether the one before is done or not",
    "skip": "leaves out a fire time while the one before is not done",
    "buffer": "keeps one fire time until the one before is done",
    "cancel": "stops the one before",
}
_MISSED: Final = {
    "skip": "fire times at which no engine ran are not made up for",
    "once": "of fire times at which no engine ran, the last one is made up for",
    "all": "every fire time at which no engine ran is made up for",
}
_FIELDS: Final = ("cron", "every", "timezone", "startAt", "endAt", "maxRuns", "jitter", "missed", "overlap")


class ScheduleRow(msgspec.Struct):
    """A schedule in the list and on its page."""

    id: str
    name: str
    standing: str
    rule: str
    zone: str
    next_at: int | None
    fired_at: int | None
    last_task: str | None
    runs: int
    missed: str | None
    missed_at: int | None
    unreadable: str | None


class FireTime(msgspec.Struct):
    """One of the next fire times; `mark`: what a change of clocks does to it."""

    at: int
    local: str
    mark: str


class SchedulePages:
    """The pages, and their buttons. The schedules of one owner."""

    def __init__(self, schedules: ScheduleService, journal: JournalService, choice: OwnerChoice) -> None:
        self._schedules = schedules
        self._journal = journal
        self._choice = choice

    def table(self, frame: Frame) -> list[Route]:
        one, of = f"{PATH}/{{key}}", self._choice.of
        return [
            frame.shows(PATH, of(self.page, "Schedules"), "Show schedules"),
            frame.shows(one, of(self.schedule, "Schedule"), "Show a schedule"),
            frame.does(f"{one}/run", of(self.run, "Schedule"), "Run a schedule from its page"),
            frame.does(f"{one}/pause", of(self.pause, "Schedule"), "Pause a schedule from its page"),
            frame.does(f"{one}/resume", of(self.resume, "Schedule"), "Resume a schedule from its page"),
            frame.does(f"{one}/delete", of(self.delete, "Schedule"), "Delete a schedule from its page"),
            frame.does(f"{one}/edit", of(self.edit, "Schedule"), "Change a schedule by a form"),
        ]

    async def page(self, visit: Visit, owner: str) -> Answer:
        after = dict(visit.pairs()).get("cursor", "")
        found = await self._schedules.page(owner, after, _ROWS + 1)
        shown = found[:_ROWS]
        return visit.page(
            "schedules.html",
            "Schedules",
            schedules=[_row(schedule) for schedule in shown],
            next=shown[-1].id if len(found) > _ROWS else None,
            live=15,
        )

    async def schedule(self, visit: Visit, owner: str, faults: dict[str, str] | None = None) -> Answer:
        key = visit.exchange.parameter("key")
        shown = await self._schedules.show(owner, key)
        schedule, times, trouble = shown.schedule, list[int](), ""
        try:
            schedule, times = await self._schedules.preview(owner, key, _TIMES)
        except TasksServerError as error:
            trouble = error.message
        page = await self._journal.page(LogQuery(owner, limit=_RUNS, schedule=schedule.id))
        rule = schedule.rule
        return visit.page(
            "schedule.html",
            f"Schedule {schedule.name}",
            status=400 if faults else 200,
            schedule=_row(schedule),
            held=shown.held,
            trouble=trouble,
            what=masking.shown_what(shown.template.spec),
            spec=asked_of(spec_view(shown.template.spec, shown.template.metadata)),
            times=_times(rule, times),
            entries=tries(page.entries),
            told=_told(rule),
            given=_given(rule),
            faults=faults or {},
            live=15,
        )

    async def run(self, visit: Visit, owner: str) -> Answer:
        task = await self._schedules.run(owner, visit.exchange.parameter("key"))
        return see_other(f"/ui/tasks/{task.id}", {"done": "It runs now, beside its fire times."})

    async def pause(self, visit: Visit, owner: str) -> Answer:
        await self._schedules.pause(owner, visit.exchange.parameter("key"))
        return self._back(visit, "It fires no more until it is resumed.")

    async def resume(self, visit: Visit, owner: str) -> Answer:
        await self._schedules.resume(owner, visit.exchange.parameter("key"))
        return self._back(visit, "It goes on from now.")

    async def delete(self, visit: Visit, owner: str) -> Answer:
        await self._schedules.delete(owner, visit.exchange.parameter("key"))
        return see_other(visit.link(PATH), {"done": "The schedule is deleted; its tasks stay."})

    async def edit(self, visit: Visit, owner: str) -> Answer:
        form = await visit.form()
        try:
            await self._schedules.edit(owner, visit.exchange.parameter("key"), _patch(form))
        except InvalidRequest as error:
            return await self.schedule(visit, owner, {fault.field: fault.message for fault in error.faults})
        return self._back(visit, "It is changed; below is when it fires now.")

    @staticmethod
    def _back(visit: Visit, done: str) -> Answer:
        return see_other(visit.link(f"{PATH}/{visit.exchange.parameter('key')}"), {"done": done})


def _patch(form: Form) -> dict[str, Any]:
    """What the form says; an empty field is no such rule."""
    given = {name: form.one(name).strip() or None for name in _FIELDS}
    if given["every"] is not None and given["cron"] is None:
        del given["timezone"]  # it is of no use there
    runs = given["maxRuns"]
    return given | {"maxRuns": int(runs) if runs is not None and runs.isdigit() else runs}


def _given(rule: Rule) -> dict[str, str]:
    """The fields of the form."""

    def date(at: int | None) -> str:
        return "" if at is None else datetime.fromtimestamp(at / 1_000, zone_of(rule.timezone)).isoformat()

    return {
        "cron": rule.cron or "",
        "every": durations.shown(rule.every_ms) if rule.every_ms is not None else "",
        "timezone": rule.timezone if rule.cron is not None else "",
        "startAt": date(rule.start_at),
        "endAt": date(rule.end_at),
        "maxRuns": "" if rule.runs_max is None else str(rule.runs_max),
        "jitter": durations.shown(rule.jitter_ms) if rule.jitter_ms else "",
        "missed": rule.missed,
        "overlap": rule.overlap,
    }


def _told(rule: Rule) -> list[str]:
    """What its settings mean, in words."""
    told = [f"A run {_OVERLAP[rule.overlap]}.", f"After a stop, {_MISSED[rule.missed]}."]
    if rule.jitter_ms:
        told.append(f"Each run is put off by up to {durations.shown(rule.jitter_ms)}, by chance.")
    if rule.runs_max is not None:
        told.append(f"It ends after {rule.runs_max} runs.")
    return told


def _times(rule: Rule, times: list[int]) -> list[FireTime]:
    zone = zone_of(rule.timezone)
    shown = []
    for at in times:
        local = datetime.fromtimestamp(at / 1_000, zone)
        shown.append(FireTime(at, f"{local:%a %Y-%m-%d %H:%M:%S %Z}", _mark(local)))
    return shown


def _mark(local: datetime) -> str:
    """What a change of clocks does near this time."""
    before, after = local.utcoffset(), None
    if local.fold or local.replace(fold=1).utcoffset() != before:
        return "this time of day comes twice; it runs once"
    day_before = (local - timedelta(days=1)).utcoffset()
    after = local.utcoffset()
    if day_before != after and after is not None and day_before is not None:
        return "the clocks have been set " + ("forward" if after > day_before else "back") + " since the day before"
    return ""


def _row(schedule: Schedule) -> ScheduleRow:
    rule, missed = schedule.rule, schedule.missed
    every = f"every {durations.shown(rule.every_ms)}" if rule.every_ms is not None else ""
    return ScheduleRow(
        schedule.id,
        schedule.name,
        schedule.standing,
        rule.cron or every,
        rule.timezone,
        schedule.next_fire_at,
        schedule.fired_at or None,
        schedule.last_task,
        schedule.runs,
        missed.why if missed is not None else None,
        missed.last_at if missed is not None else None,
        schedule.unreadable,
    )
