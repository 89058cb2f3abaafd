"""JSON of `/v1/schedules`: what clients see of schedules, and what a patch of one may hold."""

from datetime import datetime
from typing import Any

import msgspec

from tasks_server.api import wire
from tasks_server.api.states import Readable
from tasks_server.domain.schedule import Schedule
from tasks_server.domain.zones import zone_of
from tasks_server.service.schedules import Shown


class SchedulePatch(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """What a merge patch may hold; the merged whole is judged as a new schedule."""

    name: str | None = None
    cron: str | None = None
    every: int | float | str | None = None
    timezone: str | None = None
    start_at: int | str | None = None
    end_at: int | str | None = None
    max_runs: int | None = None
    jitter: int | float | str | None = None
    missed: str | None = None
    missed_window: int | float | str | None = None
    overlap: str | None = None
    task: dict[str, Any] | None = None


class MissedRunsView(msgspec.Struct, rename="camel"):
    """Fire times that got no task, from the first to the last, and why."""

    first_at: int
    last_at: int
    reason: str
    detail: str


class ListedScheduleView(Readable, rename="camel"):
    """A schedule in a list. Instants are ms since the epoch; null: there is none. `runs` counts the tasks that its fire
    times made; `lastFireAt` is the last fire time that was decided on, with or without a task.
    """

    id: str
    name: str
    state: str
    cron: str | None
    every: int | None
    timezone: str
    start_at: int | None
    end_at: int | None
    max_runs: int | None
    jitter: int
    missed: str
    missed_window: int
    overlap: str
    created_at: int
    updated_at: int
    next_fire_at: int | None
    last_fire_at: int | None
    last_task_id: str | None
    runs: int
    buffered_at: int | None
    last_missed: MissedRunsView | None


class ScheduleView(ListedScheduleView, rename="camel"):
    """A schedule with what its tasks are made from, secrets masked. `held`: what keeps it from firing although it is
    active; null: nothing does.
    """

    held: str | None
    task: wire.SpecView


class FireTimeView(msgspec.Struct):
    """A fire time: ms since the epoch, and as the clock of the schedule's time zone shows it."""

    at: int
    local: str


class PreviewView(msgspec.Struct, rename="camel"):
    """The next fire times by the rule, as if the schedule were not paused."""

    timezone: str
    times: list[FireTimeView]


def listed_schedule_view(schedule: Schedule) -> ListedScheduleView:
    return ListedScheduleView(**_fields(schedule))


def schedule_view(shown: Shown) -> ScheduleView:
    task = wire.spec_view(shown.template.spec, shown.template.metadata)
    return ScheduleView(**_fields(shown.schedule), held=shown.held, task=task)


def preview_view(schedule: Schedule, times: list[int]) -> PreviewView:
    zone = zone_of(schedule.rule.timezone)
    shown = [FireTimeView(at, datetime.fromtimestamp(at / 1_000, zone).isoformat(timespec="seconds")) for at in times]
    return PreviewView(schedule.rule.timezone, shown)


def _fields(schedule: Schedule) -> dict[str, Any]:
    rule, missed = schedule.rule, schedule.missed
    last_missed = None
    if missed is not None:
        last_missed = MissedRunsView(missed.first_at, missed.last_at, missed.reason, missed.why)
    return {
        "id": schedule.id,
        "name": schedule.name,
        "state": schedule.standing,
        "cron": rule.cron,
        "every": rule.every_ms,
        "timezone": rule.timezone,
        "start_at": rule.start_at,
        "end_at": rule.end_at,
        "max_runs": rule.runs_max,
        "jitter": rule.jitter_ms,
        "missed": rule.missed,
        "missed_window": rule.missed_window_ms,
        "overlap": rule.overlap,
        "created_at": schedule.created_at,
        "updated_at": schedule.updated_at,
        "next_fire_at": schedule.next_fire_at,
        "last_fire_at": schedule.fired_at or None,
        "last_task_id": schedule.last_task,
        "runs": schedule.runs,
        "buffered_at": schedule.buffered_at,
        "last_missed": last_missed,
        "unreadable": schedule.unreadable or msgspec.UNSET,
    }
