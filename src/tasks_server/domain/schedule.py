"""The recurring rule: what it says, when it fires, and what becomes of it at a look. All pure: `decide` gets the
instant and what there is to know, and says which fire times get a task.
"""

import hashlib
from typing import Final, Literal

import msgspec

from tasks_server.domain import dates, ids, limits
from tasks_server.domain.cron import cron

Missed = Literal["skip", "once", "all"]
"""What becomes of fire times at which no engine ran."""
Overlap = Literal["skip", "allow", "buffer", "cancel"]
"""What becomes of a fire time while the task of the one before is not final."""
Reason = Literal["late", "window", "overlap", "queue_full", "unreadable"]
"""Why a fire time got no task: its time had passed; it was older than `missedWindow`; the task before was not final;
the owner's queue was full; what is stored of the schedule is damaged."""
Standing = Literal["active", "paused", "ended", "unreadable"]


_CALENDAR_END: Final = dates.DATE_MAX_MS - limits.DAY_MS
"""So that every zone can show it."""


class Rule(msgspec.Struct, frozen=True):
    """When to fire. Either `cron` in `timezone`, or `every_ms`; instants are ms since the epoch."""

    cron: str | None = None
    every_ms: int | None = None
    timezone: str = "UTC"
    start_at: int | None = None
    end_at: int | None = None
    runs_max: int | None = None
    jitter_ms: int = 0
    missed: Missed = "once"
    missed_window_ms: int = limits.MISSED_WINDOW_DEFAULT_MS
    overlap: Overlap = "allow"


class MissedRuns(msgspec.Struct, frozen=True):
    """Fire times that got no task, from the first to the last of them, and why."""

    first_at: int
    last_at: int
    reason: Reason
    detail: str | None = None
    """More than the reason says."""

    @property
    def why(self) -> str:
        """The reason in words."""
        return self.detail or REASONS[self.reason]


class Schedule(msgspec.Struct, omit_defaults=True):
    """A recurring rule of an owner and where it stands.

    `anchor_at` is what `every` counts from. `next_fire_at`: None when paused or ended. `fired_at` is the last fire
    time that was decided on, whether it got a task or not. Only a clock that was set back brings fire times up to it
    once more; then those that have a task get no other.
    """

    id: str
    owner: str
    name: str
    rule: Rule
    created_at: int
    updated_at: int
    anchor_at: int
    paused_at: int | None = None
    next_fire_at: int | None = None
    fired_at: int = 0
    runs: int = 0
    last_task: str | None = None
    buffered_at: int | None = None
    missed: MissedRuns | None = None
    """The latest fire times that got no task."""
    looked_at: int = 0
    unreadable: str | None = None
    """What is stored of it and cannot be read, why, and what to do. Never stored itself, nor is what follows."""
    lost: bool = False
    """Nothing of it could be read but its id, its owner and its name."""

    @property
    def standing(self) -> Standing:
        """Whether it fires, waits to be resumed, or is over."""
        if self.lost:
            return "unreadable"
        if self.paused_at is not None:
            return "paused"
        return "ended" if self.look_at is None else "active"

    @property
    def look_at(self) -> int | None:
        """When to look at it next; None: not until its owner changes it."""
        if self.paused_at is not None:
            return None
        due = self.next_fire_at
        if due is not None:  # what a look left over waits behind the schedules that are due by then
            due = max(due, self.looked_at)
        if self.buffered_at is None:
            return due
        again = self.looked_at + limits.SCHEDULE_BUFFER_LOOK_MS
        return again if due is None or self.runs_open == 0 else min(due, again)

    @property
    def runs_open(self) -> int | None:
        """How many fire times may still get a task, beside the buffered one; None: any number."""
        if self.rule.runs_max is None:
            return None
        return self.rule.runs_max - self.runs - (self.buffered_at is not None)


def next_fire(rule: Rule, anchor_at: int, after: int) -> int | None:
    """The first fire time later than `after`, by the rule alone; None when there is none. Raises `ValueError` for a
    rule that cannot be read.

    >>> next_fire(Rule(every_ms=60_000), 500, 60_500), next_fire(Rule(every_ms=60_000, start_at=9_000), 9_000, 0)
    (120500, 9000)
    """
    if rule.start_at is not None:
        after = max(after, rule.start_at - 1)
    if rule.cron is not None:
        found = cron(rule.cron, rule.timezone).after(after)
    else:
        assert rule.every_ms is not None
        steps = (after - anchor_at) // rule.every_ms + 1
        found = anchor_at + max(steps, int(rule.start_at is None)) * rule.every_ms
    end = _CALENDAR_END if rule.end_at is None else min(rule.end_at, _CALENDAR_END)
    return None if found is None or found > end else found


def preview(schedule: Schedule, after: int, count: int) -> list[int]:
    """The next fire times later than `after`, at most `count`, as if the schedule were not paused."""
    left = schedule.rule.runs_max
    count = count if left is None else min(count, left - schedule.runs)
    times: list[int] = []
    while len(times) < count and (found := next_fire(schedule.rule, schedule.anchor_at, after)) is not None:
        times.append(found)
        after = found
    return times


def task_id(schedule_id: str, fire_at: int) -> str:
    """The id of the task that a fire time makes: the same for all processes, for nobody to guess who does not know
    the schedule's id.
    """
    digest = hashlib.sha256(f"{schedule_id}:{fire_at}".encode()).digest()
    return ids.task_id(fire_at, digest[: ids.TASK_ID_RANDOM_BYTES])


def due_at(schedule: Schedule, fire_at: int) -> int:
    """When the task of a fire time is due: up to `jitter` later, always the same for the same fire time."""
    if not schedule.rule.jitter_ms:
        return fire_at
    digest = hashlib.sha256(f"jitter:{schedule.id}:{fire_at}".encode()).digest()
    return fire_at + int.from_bytes(digest[:8], "big") % (schedule.rule.jitter_ms + 1)


# What its owner does to it


def begin(schedule: Schedule, now: int) -> Schedule:
    """Active, with the first fire time from now on that was not decided on yet, unless that was ahead of its time."""
    anchor = _anchored(schedule, now)
    return msgspec.structs.replace(
        schedule,
        anchor_at=anchor,
        paused_at=None,
        next_fire_at=None if _spent(schedule) else next_fire(schedule.rule, anchor, decided_until(schedule, now)),
        buffered_at=None,
        looked_at=0,
        updated_at=now,
    )


def decided_until(schedule: Schedule, now: int) -> int:
    """Up to when fire times have passed or were decided on. What was decided on by a clock that was ahead, and has been
    set back since, does not count.
    """
    return now if schedule.fired_at > now + limits.CLOCK_SET_MS else max(now, schedule.fired_at)


def put_right(schedule: Schedule, now: int) -> Schedule:
    """The schedule by a clock that was set back: it goes on from now, and waits for nothing that was decided ahead of
    its time. The same one when there is nothing to put right; as it always is while the clock goes as it went. Raises
    `ValueError` for a rule that cannot be read.
    """
    if schedule.paused_at is not None or _spent(schedule):
        return schedule
    anchor, due, buffered = _anchored(schedule, now), schedule.next_fire_at, schedule.buffered_at
    following = next_fire(schedule.rule, anchor, decided_until(schedule, now))
    if following is None or (due is not None and due <= following):
        following = due
    ahead = now + limits.CLOCK_SET_MS
    buffered = None if buffered is not None and buffered > ahead else buffered
    looked_at = 0 if schedule.looked_at > ahead else schedule.looked_at
    after = msgspec.structs.replace(
        schedule, anchor_at=anchor, next_fire_at=following, buffered_at=buffered, looked_at=looked_at
    )
    return schedule if after == schedule else after


def _anchored(schedule: Schedule, now: int) -> int:
    """What `every` counts from: when it was set by a clock that was ahead, an instant in step with it that is not."""
    every, anchor = schedule.rule.every_ms, schedule.anchor_at
    if every is None or schedule.rule.start_at is not None or anchor <= now + limits.CLOCK_SET_MS:
        return anchor
    return anchor + (now - anchor) // every * every


def _spent(schedule: Schedule) -> bool:
    return schedule.rule.runs_max is not None and schedule.runs >= schedule.rule.runs_max


def pause(schedule: Schedule, now: int) -> Schedule:
    """Fires no more until it is resumed; a buffered fire time is dropped. Paused already, it stays as it is."""
    if schedule.paused_at is not None:
        return schedule
    return msgspec.structs.replace(schedule, paused_at=now, next_fire_at=None, buffered_at=None, updated_at=now)


def resume(schedule: Schedule, now: int) -> Schedule:
    """Goes on from now; what would have fired meanwhile is not made up for. Active already, it stays as it is."""
    return schedule if schedule.paused_at is None else begin(schedule, now)


REASONS: Final[dict[Reason, str]] = {
    "late": "no engine ran at the time",
    "window": "no engine ran at the time, and missedWindow has passed since",
    "overlap": "the task before was not final",
    "queue_full": "the owner had as many tasks in queue as it may have",
    "unreadable": "what is stored of the schedule cannot be read",
}
