"""The gates that lie in a task itself: its state, its time, its end."""

from collections.abc import Iterator
from typing import Final

from tasks_server.domain import dates, durations, lifecycle, limits, waits
from tasks_server.domain.engines import LATE_MS
from tasks_server.domain.gate import Gate
from tasks_server.domain.situation import Situation
from tasks_server.domain.task import State

_ENDED: Final = {State.COMPLETED: "succeeded", State.FAILED: "failed", State.REVOKED: "was revoked"}


def final(situation: Situation) -> Gate:
    """Of a task that has ended: how, when, and that it can be retried."""
    task, stop = situation.task, situation.stop
    detail = stop.detail if task.state is State.REVOKED and stop is not None else None
    text = f"it {_ENDED[task.state]} at {dates.shown(task.ended_at)}{_aside(detail)}"
    if task.state is State.FAILED and task.error:
        text += f" after attempt {task.attempt}: {task.error}" if task.attempt else f": {task.error}"
    facts = {
        "endedAt": task.ended_at,
        "attempts": task.attempt,
        "statusCode": task.status_code,
        "error": task.error,
        "detail": detail,
    }
    return Gate("final", True, f"{text}; retry it to run it once more", None, facts)


def running(situation: Situation) -> Gate:
    """Of a task that runs: where, since when, for how long at most."""
    now, task, lease = situation.now, situation.task, situation.lease
    deadline_at = _deadline(situation)
    facts = {
        "attempt": task.attempt,
        "startedAt": task.execution_at,
        "deadlineAt": deadline_at,
        "engine": lease.engine if lease else None,
        "leaseUntil": lease.until if lease else None,
    }
    attempt, since = f"attempt {task.attempt}", dates.shown(task.execution_at)
    if lease is None:
        return Gate("running", True, f"it runs now: {attempt}, since {since}", deadline_at, facts)
    where, until = situation.named(lease.engine), dates.shown(lease.until)
    known = next((engine for engine in situation.engines if engine.number == lease.engine), None)
    if known is not None and not known.lives:
        text = f"{where} ran {attempt} since {since} and is gone; the task runs again as soon as another engine sees it"
        return Gate("running", True, text, None, facts)
    if lease.until < now or lease.until > now + limits.LEASE_MS + limits.CLOCK_SET_MS:
        told = "its lease ended at" if lease.until < now else "before the clock was set back, it had its lease until"
        text = f"{where} ran {attempt} since {since} and has not been heard of since: {told} {until}"
        return Gate("running", True, f"{text}; unless it is, the task runs again within half a minute", None, facts)
    if known is not None and known.silent(now, LATE_MS):
        text = (
            f"{where} runs {attempt} since {since} and has not been heard of since {dates.shown(known.seen_at)}: it "
            f"may hang, or be cut off from the database; unless it goes on, the task runs again after {until}"
        )
        return Gate("running", True, text, None, facts | {"silentSince": known.seen_at})
    text = f"it runs now on {where}: {attempt}, since {since}, until {dates.shown(deadline_at)} at the latest"
    return Gate("running", True, text, deadline_at, facts)


def _deadline(situation: Situation) -> int:
    task, spec = situation.task, situation.spec
    if spec.config.timeout_at is not None and task.attempt == 1:
        return spec.config.timeout_at
    known = situation.known_handler(spec.handler.name) if spec.handler is not None else None
    return task.execution_at + spec.timeout_ms(known.timeout_ms if known is not None else None)


def waiting(situation: Situation) -> Iterator[Gate]:
    """Of a task that waits or is paused."""
    yield _paused(situation)
    if situation.task.state is State.PAUSED:
        return  # what its time will be is known once it is resumed
    yield from _clock(situation)
    yield from _expiry(situation)
    yield _due(situation)


def _paused(situation: Situation) -> Gate:
    task, stop = situation.task, situation.stop
    if task.state is not State.PAUSED:
        return Gate("paused", False, "it is not paused")
    detail = stop.detail if stop is not None else None
    remaining = task.remaining_ms or 0
    left = f"{durations.shown(remaining)} of its wait are left" if remaining else "it is due at once then"
    text = f"it was paused at {dates.shown(task.ended_at)}{_aside(detail)}; resume it: {left}"
    return Gate("paused", True, text, None, {"pausedAt": task.ended_at, "detail": detail, "remainingMs": remaining})


def _clock(situation: Situation) -> Iterator[Gate]:
    """Whether the clock holds it: because it was set back, its instant comes once more, or a wait that began ahead of
    its time has not been set to begin now yet.
    """
    now, task, clock = situation.now, situation.task, situation.clock
    back_ms = max(0, -clock.set_ms)
    facts = {"now": now, "createdAt": task.created_at, "setBackMs": back_ms, "setAt": clock.set_at or None}
    sooner = waits.shortened(task.due_at, task.remaining_ms, now)
    if situation.in_line and task.remaining_ms is not None:
        sooner = None  # its wait is over already
    if sooner is not None:
        text = "the clock was set back, and its wait began by the clock as it was before: it begins now, in a moment"
        yield Gate("clock", True, text, sooner, facts)
    elif back_ms and clock.set_lately(now) and now < task.due_at <= now + back_ms and task.remaining_ms is None:
        text = (
            f"the clock was set back by {durations.shown(back_ms)} at {dates.shown(clock.set_at)}; by the clock as it "
            "was before, its instant would have come"
        )
        yield Gate("clock", True, text, task.due_at, facts)
    elif task.created_at > now + limits.CLOCK_SET_MS:
        ahead = durations.shown(task.created_at - now)
        yield Gate("clock", False, f"it was registered {ahead} ahead of what the clock shows now", None, facts)


def _expiry(situation: Situation) -> Iterator[Gate]:
    task = situation.task
    at = task.expire_at
    if at is None:
        return
    facts = {"expireAt": at}
    if at <= situation.now:
        text = f"it expired at {dates.shown(at)}, and ends as ERROR in a moment"
    elif at <= task.due_at:
        text = f"it expires at {dates.shown(at)}, before it is due, and ends as ERROR then"
    else:
        yield Gate("expiry", False, f"it may start until {dates.shown(at)}", at, facts)
        return
    yield Gate("expiry", True, text, None, facts)


def _due(situation: Situation) -> Gate:
    now, task = situation.now, situation.task
    what, facts = _awaited(situation)
    facts |= {"dueAt": task.due_at}
    over = situation.in_line and waits.starts_at(task.due_at, task.remaining_ms, now) is not None
    if not over and lifecycle.waiting_state(task.due_at, now) is not State.AVAILABLE:
        text = f"{what} in {durations.shown(task.due_at - now)}, at {dates.shown(task.due_at)}"
        return Gate("due", True, text, task.due_at, facts)
    late = now - task.due_at
    text = f"it has been due for {durations.shown(late)}" if late > 0 else "it is due now"
    return Gate("due", False, text, None, facts)


def _awaited(situation: Situation) -> tuple[str, dict[str, object]]:
    """What it waits for, in words, and the numbers of that."""
    task, config = situation.task, situation.spec.config
    if task.failures:
        most = _retries_max(situation)
        error = f" after: {task.error}" if task.error else ""
        facts: dict[str, object] = {"retry": task.failures, "retriesMax": most, "error": task.error}
        return f"retry {task.failures} of {most}{error}; it comes", facts | {"statusCode": task.status_code}
    if task.repeats:
        most = config.repeat_policy().repeats_max
        return f"repeat {task.repeats} of {most} comes", {"repeat": task.repeats, "repeatsMax": most}
    return "it is due", {}


def _retries_max(situation: Situation) -> int:
    spec = situation.spec
    known = situation.known_handler(spec.handler.name) if spec.handler is not None else None
    return spec.retries_max(known.retries_max if known is not None else None)


def _aside(detail: str | None) -> str:
    return f" ({detail})" if detail else ""
