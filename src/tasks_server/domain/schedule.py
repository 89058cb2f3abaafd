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
    time that was decided on, whether it got a task or not: none at or before it is decided on again.
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
    """Active, with the first fire time from now on that was not decided on yet."""
    after = max(now, schedule.fired_at)
    spent = schedule.rule.runs_max is not None and schedule.runs >= schedule.rule.runs_max
    following = None if spent else next_fire(schedule.rule, schedule.anchor_at, after)
    return msgspec.structs.replace(
        schedule, paused_at=None, next_fire_at=following, buffered_at=None, looked_at=0, updated_at=now
    )


def pause(schedule: Schedule, now: int) -> Schedule:
    """Fires no more until it is resumed; a buffered fire time is dropped. Paused already, it stays as it is."""
    if schedule.paused_at is not None:
        return schedule
    return msgspec.structs.replace(schedule, paused_at=now, next_fire_at=None, buffered_at=None, updated_at=now)


def resume(schedule: Schedule, now: int) -> Schedule:
    """Goes on from now; what would have fired meanwhile is not made up for. Active already, it stays as it is."""
    return schedule if schedule.paused_at is None else begin(schedule, now)


# What a look decides


class Decision(msgspec.Struct, frozen=True):
    """What becomes of a schedule: the fire times that get a task, whether the unfinished one is revoked first, the
    schedule afterwards, and the fire times that get none.
    """

    schedule: Schedule
    fires: tuple[int, ...] = ()
    cancels: bool = False
    missed: tuple[MissedRuns, ...] = ()


class _Due(msgspec.Struct):
    """Fire times whose turn it is, those that are given up, and what comes after them."""

    times: list[int]
    following: int | None
    missed: list[MissedRuns]


def decide(schedule: Schedule, now: int, horizon: int, unfinished: bool, room: int) -> Decision:
    """What becomes of an active schedule at `now`. Fire times up to `horizon` count as come; `unfinished`: its last
    task is not final; `room`: how many tasks its owner's queue takes. Raises `ValueError` for a rule that cannot be
    read.
    """
    due = _due(schedule, now, horizon)
    fires, buffered, passed = _overlapping(schedule, due.times, unfinished)
    missed = due.missed + _stretch(passed, "overlap")
    cancels = schedule.rule.overlap == "cancel" and unfinished and bool(fires)
    room = max(0, room + cancels)
    missed += _stretch(fires[room:], "queue_full")
    cancels, fires = cancels and room > 0, fires[:room]
    runs = schedule.runs + len(fires)
    spent = schedule.rule.runs_max is not None and runs >= schedule.rule.runs_max
    after = msgspec.structs.replace(
        schedule,
        next_fire_at=None if spent else due.following,
        fired_at=max([schedule.fired_at, *due.times, *(part.last_at for part in due.missed)]),
        runs=runs,
        last_task=task_id(schedule.id, fires[-1]) if fires else schedule.last_task,
        buffered_at=None if spent else buffered,
        missed=missed[-1] if missed else schedule.missed,
        looked_at=now,
    )
    return Decision(after, tuple(fires), cancels, tuple(missed))


PUT_OFF_MS: Final = 1_000
"""How long a schedule that a newer version stored is left to others."""


def put_off(schedule: Schedule, now: int) -> Decision:
    """What becomes of a schedule that can be read elsewhere only: it stays as it is, and has its turn again in a
    moment.
    """
    return Decision(msgspec.structs.replace(schedule, looked_at=now + PUT_OFF_MS))


def give_up(schedule: Schedule, now: int, why: str | None = None) -> Decision:
    """What becomes of a schedule that cannot be read: it stays paused, and says why."""
    at = schedule.next_fire_at or schedule.buffered_at or now
    missed = MissedRuns(at, at, "unreadable", why)
    after = msgspec.structs.replace(pause(schedule, now), missed=missed)
    return Decision(after, missed=(missed,))


def _due(schedule: Schedule, now: int, horizon: int) -> _Due:
    """The fire times that have come, by the schedule's way with those that were missed."""
    rule, anchor, at = schedule.rule, schedule.anchor_at, schedule.next_fire_at
    late, window = now - limits.SCHEDULE_LATE_MS, now - rule.missed_window_ms
    missed: list[MissedRuns] = []
    times: list[int] = []
    count_max = limits.SCHEDULE_FIRES_MAX if schedule.runs_open is None else schedule.runs_open
    if not count_max:  # the buffered one takes the last run; should it get none, these have their turn
        return _Due([], at, [])
    if at is not None and at < late:
        if rule.missed == "all":
            if at < window:
                missed.append(MissedRuns(at, _last_before(rule, anchor, at, min(window, late)), "window"))
                at = next_fire(rule, anchor, missed[-1].last_at)
        else:
            first, last = at, _last_before(rule, anchor, at, late)
            at = next_fire(rule, anchor, last)
            stands_in = at is not None and at <= horizon
            if rule.missed == "once" and not stands_in and last >= window:
                times.append(last)
                if first < last:
                    missed.append(MissedRuns(first, _last_before(rule, anchor, first, last), "late"))
            else:
                missed.append(MissedRuns(first, last, "late" if last >= window else "window"))
    while at is not None and at <= horizon and len(times) < min(count_max, limits.SCHEDULE_FIRES_MAX):
        times.append(at)
        at = next_fire(rule, anchor, at)
    return _Due(times, at, missed)


def _last_before(rule: Rule, anchor: int, first: int, before: int) -> int:
    """The last fire time earlier than `before`, given the first of all."""
    if rule.every_ms is not None:
        return first + (before - 1 - first) // rule.every_ms * rule.every_ms
    # Who looks from `low` finds a fire time before `before`, who looks from `high` does not.
    low, high, step = first - 1, before - 1, 1_000
    while high - step > low and not _fires_between(rule, anchor, high - step, before):
        high, step = high - step, step * 2
    low = max(low, high - step)
    while high - low > 1_000:
        middle = (low + high) // 2
        if _fires_between(rule, anchor, middle, before):
            low = middle
        else:
            high = middle
    found = next_fire(rule, anchor, low)
    assert found is not None
    return found


def _fires_between(rule: Rule, anchor: int, after: int, before: int) -> bool:
    found = next_fire(rule, anchor, after)
    return found is not None and found < before


def _overlapping(schedule: Schedule, times: list[int], unfinished: bool) -> tuple[list[int], int | None, list[int]]:
    """Of the fire times that have come: those that get a task, the one that waits for that, those that get none."""
    policy = schedule.rule.overlap
    if policy == "allow":
        return times, None, []
    if policy == "skip":
        made = times[: 0 if unfinished else 1]
        return made, None, times[len(made) :]
    if policy == "cancel":
        return times[-1:], None, times[:-1]
    waiting = times if schedule.buffered_at is None else [schedule.buffered_at, *times]
    made = waiting[: 0 if unfinished else 1]
    rest = waiting[len(made) :]
    return made, rest[0] if rest else None, rest[1:]


def _stretch(times: list[int], reason: Reason) -> list[MissedRuns]:
    return [MissedRuns(times[0], times[-1], reason)] if times else []


REASONS: Final[dict[Reason, str]] = {
    "late": "no engine ran at the time",
    "window": "no engine ran at the time, and missedWindow has passed since",
    "overlap": "the task before was not final",
    "queue_full": "the owner had as many tasks in queue as it may have",
    "unreadable": "what is stored of the schedule cannot be read",
}
