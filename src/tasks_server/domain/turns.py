"""What becomes of a schedule when its turn comes: which of its fire times get a task."""

from collections.abc import Callable
from typing import Final

import msgspec

from tasks_server.domain import limits
from tasks_server.domain.schedule import MissedRuns, Reason, Rule, Schedule, next_fire, pause, task_id

HasTask = Callable[[int], bool]
"""Whether a fire time has its task already."""


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


def decide(
    schedule: Schedule, now: int, horizon: int, unfinished: bool, room: int, has_task: HasTask = lambda _: False
) -> Decision:
    """What becomes of an active schedule at `now`. Fire times up to `horizon` count as come; `unfinished`: its last
    task is not final; `room`: how many tasks its owner's queue takes; `has_task`: whether a fire time got its task
    before, asked of those that come once more because the clock was set back. Raises `ValueError` for a rule that
    cannot be read.
    """
    due = _due(schedule, now, horizon)
    made = [at for at in due.times if at <= schedule.fired_at and has_task(at)]
    due.times = [at for at in due.times if at not in made]
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
        last_task=task_id(schedule.id, max([*fires, *made])) if fires or made else schedule.last_task,
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
