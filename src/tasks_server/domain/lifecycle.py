"""The state machine, all of it: which events move a task from which state to which, and what an attempt's outcome
means for it. Callers bring the instant and the jitter; nothing here reads a clock or draws a number.
"""

from enum import StrEnum
from typing import Final

import msgspec

from tasks_server.domain import limits, waits
from tasks_server.domain.attempt import PERMANENT, UNCOUNTED, Attempt, Outcome, OutcomeKind
from tasks_server.domain.errors import Refused
from tasks_server.domain.request import TaskConfig
from tasks_server.domain.retry import next_repeat_at, next_retry_at
from tasks_server.domain.task import FINAL, PENDING, State, Task


class EventKind(StrEnum):
    """What can happen to a task."""

    PROMOTE = "promote"
    CLAIM = "claim"
    SUCCEED = "succeed"
    REPEAT = "repeat"
    RETRY = "retry"
    FAIL = "fail"
    GIVE_BACK = "give_back"
    """Our shutdown, or a dead worker's lease: the task returns to the line as it was; or to its wait, when the clock
    was set back behind the instant that it waited for.
    """
    PAUSE = "pause"
    RESUME = "resume"
    REVOKE = "revoke"
    EXPIRE = "expire"
    EXECUTE = "execute"
    EDIT = "edit"
    RESTART = "restart"


_S = State
_E = EventKind
_PLACES: Final = frozenset({_S.SCHEDULED, _S.AVAILABLE})
_RESUMED: Final = frozenset({_S.SCHEDULED, _S.AVAILABLE, _S.RETRYABLE})


def _one(state: State) -> frozenset[State]:
    return frozenset({state})


TRANSITIONS: Final[dict[tuple[State, EventKind], frozenset[State]]] = {
    (_S.SCHEDULED, _E.PROMOTE): _one(_S.AVAILABLE),
    (_S.RETRYABLE, _E.PROMOTE): _one(_S.AVAILABLE),
    (_S.AVAILABLE, _E.CLAIM): _one(_S.RUNNING),
    (_S.RUNNING, _E.SUCCEED): _one(_S.COMPLETED),
    (_S.RUNNING, _E.REPEAT): _PLACES,
    (_S.RUNNING, _E.RETRY): frozenset({_S.RETRYABLE, _S.AVAILABLE}),
    (_S.RUNNING, _E.FAIL): _one(_S.FAILED),
    (_S.RUNNING, _E.GIVE_BACK): _RESUMED,
    **{(s, _E.PAUSE): _one(_S.PAUSED) for s in (*PENDING, _S.RUNNING)},
    (_S.PAUSED, _E.RESUME): _RESUMED,
    **{(s, _E.REVOKE): _one(_S.REVOKED) for s in (*PENDING, _S.RUNNING, _S.PAUSED)},
    **{(s, _E.EXPIRE): _one(_S.FAILED) for s in (*PENDING, _S.PAUSED)},
    **{(s, _E.EXECUTE): _one(_S.AVAILABLE) for s in PENDING},
    (_S.RUNNING, _E.EXECUTE): _one(_S.RUNNING),
    **{(s, _E.EDIT): _RESUMED for s in PENDING},
    (_S.PAUSED, _E.EDIT): _one(_S.PAUSED),
    **{(s, _E.RESTART): _one(_S.AVAILABLE) for s in FINAL},
}
"""Every event that a state knows, with the states it may lead to. What is not here is illegal."""

_ADVICE: Final[dict[EventKind, str]] = {
    _E.PAUSE: "only a waiting or running task can be paused",
    _E.RESUME: "only a paused task can be resumed",
    _E.REVOKE: "only a waiting, running or paused task can be revoked",
    _E.EXECUTE: "only a waiting task can be executed now; resume a paused one, retry a final one",
    _E.EDIT: "only a waiting or paused task can be edited",
    _E.RESTART: "only a final task can be retried; execute a waiting one",
}


class IllegalTransition(Refused):
    """The state of the task does not allow this event. Nothing was changed."""

    def __init__(self, state: State, event: EventKind, to: State | None = None) -> None:
        advice = _ADVICE.get(event)
        into = f" into {to.value}" if to else ""
        text = f"the task is {state.value}: {advice}" if advice else f"{event.value} of a {state.value} task{into}"
        super().__init__(text)
        self.state, self.event, self.to = state, event, to


def allowed(state: State, event: EventKind) -> frozenset[State]:
    """The states that `event` may lead to from `state`. Raises `IllegalTransition` when it is not for that state."""
    targets = TRANSITIONS.get((state, event))
    if targets is None:
        raise IllegalTransition(state, event)
    return targets


def step(state: State, event: EventKind, to: State) -> State:
    """`to`, once it is certain that `event` may lead there from `state`. Raises `IllegalTransition` otherwise."""
    if to not in allowed(state, event):
        raise IllegalTransition(state, event, to)
    return to


def waiting_state(due_at: int, now: int, failures: int = 0) -> State:
    """Where a task waits: in line when its time has come (or is about to), else for its time.

    >>> waiting_state(1_000, 1_000).value, waiting_state(9_000, 1_000).value, waiting_state(9_000, 1_000, 2).value
    ('available', 'scheduled', 'retryable')
    """
    if due_at <= now + limits.PROMOTE_AHEAD_MS:
        return State.AVAILABLE
    return State.RETRYABLE if failures else State.SCHEDULED


def due_at(config: TaskConfig, now: int) -> int:
    """When a task that arrives at `now` is due first. `executeAt` wins over `executionDelay`."""
    if config.execute_at is None:
        return now + config.execution_delay
    return max(now, config.execute_at)


class Settlement(msgspec.Struct, frozen=True):
    """What becomes of a running task after an attempt."""

    event: EventKind
    state: State
    due_at: int
    failures: int
    repeats: int
    ended_at: int
    status_code: int
    error: str | None
    remaining_ms: int | None = None


class Progress(msgspec.Struct, frozen=True):
    """What `settle` must know of a running task beside its configuration."""

    due_at: int
    failures: int
    repeats: int
    expire_at: int | None = None
    status_code: int = 0
    error: str | None = None
    remaining_ms: int | None = None


def settle(run: Progress, config: TaskConfig, outcome: Outcome, now: int, jitter: float) -> Settlement:
    """What becomes of a running task whose attempt ended with `outcome` at `now`.

    Success repeats or completes; a failure retries while retries are left and would come in time, else fails;
    endings that say nothing of the target give the task back uncounted. `jitter` is in [0, 1).
    """
    kind = outcome.kind
    if kind is OutcomeKind.SUCCESS:
        return _settle_success(run, config, outcome, now)
    if kind in UNCOUNTED:
        return _given_back(run, now)
    return _settle_failure(run, config, outcome, now, jitter)


def _given_back(run: Progress, now: int) -> Settlement:
    state = _S.AVAILABLE
    if waits.starts_at(run.due_at, run.remaining_ms, now) is None:
        state = step(_S.RUNNING, _E.GIVE_BACK, waiting_state(run.due_at, now, run.failures))
    return Settlement(
        _E.GIVE_BACK,
        state,
        run.due_at,
        run.failures,
        run.repeats,
        0,
        run.status_code,
        run.error,
        run.remaining_ms,
    )


def _settle_success(run: Progress, config: TaskConfig, outcome: Outcome, now: int) -> Settlement:
    if config.repeat or config.repeat_at is not None:
        policy = config.repeat_policy()
        if run.repeats < policy.repeats_max:
            due = next_repeat_at(policy, run.repeats + 1, now)
            if run.expire_at is None or due < run.expire_at:
                state = step(_S.RUNNING, _E.REPEAT, waiting_state(due, now))
                wait = None if due == policy.at else due - now
                return Settlement(_E.REPEAT, state, due, 0, run.repeats + 1, 0, outcome.status_code, None, wait)
    return Settlement(_E.SUCCEED, _S.COMPLETED, run.due_at, 0, run.repeats, now, outcome.status_code, None)


def _settle_failure(run: Progress, config: TaskConfig, outcome: Outcome, now: int, jitter: float) -> Settlement:
    failures = run.failures + (0 if outcome.kind is OutcomeKind.EXPIRED else 1)
    error = outcome.error
    policy = config.retry_policy()
    hopeless = (
        outcome.kind in PERMANENT
        or outcome.no_retry
        or failures > policy.retries_max
        or outcome.status_code in policy.ignored_statuses
    )
    if not hopeless:
        if outcome.wait_ms is not None:
            due = now + min(outcome.wait_ms, limits.TEN_YEARS_MS)
        else:
            due = next_retry_at(policy, failures, now, jitter, outcome.retry_after_ms)
        if run.expire_at is None or due < run.expire_at:
            state = step(_S.RUNNING, _E.RETRY, waiting_state(due, now, failures))
            wait = None if due == policy.at else due - now
            return Settlement(_E.RETRY, state, due, failures, run.repeats, 0, outcome.status_code, error, wait)
        error = f"{error or 'failed'}; the next retry would come after expireAt"
    return Settlement(_E.FAIL, _S.FAILED, run.due_at, failures, run.repeats, now, outcome.status_code, error)


# What owners do to a task. Each takes the task as it is and gives it as it will be; the store keeps the result.


def pause(task: Task, now: int) -> Task:
    """Paused, keeping the wait that remained. A running task's attempt is dropped and it will run at once again."""
    state = step(task.state, _E.PAUSE, _S.PAUSED)
    remaining = 0 if task.state is _S.RUNNING else max(0, task.due_at - now)
    if task.remaining_ms is not None:
        remaining = min(remaining, task.remaining_ms)
    return msgspec.structs.replace(task, state=state, ended_at=now, remaining_ms=remaining, forced=False)


def resume(task: Task, now: int) -> Task:
    """Waiting again for what remained of its wait; the retries left are kept."""
    allowed(task.state, _E.RESUME)
    remaining = task.remaining_ms or 0
    due = now + remaining
    state = step(task.state, _E.RESUME, waiting_state(due, now, task.failures))
    return msgspec.structs.replace(task, state=state, due_at=due, execution_at=due, ended_at=0, remaining_ms=remaining)


def revoke(task: Task, now: int) -> Task:
    """Stopped for good by its owner."""
    state = step(task.state, _E.REVOKE, _S.REVOKED)
    return msgspec.structs.replace(task, state=state, ended_at=now, remaining_ms=None, forced=False)


def expire(task: Task, now: int) -> Task:
    """Ended because `expireAt` passed before it could start."""
    state = step(task.state, _E.EXPIRE, _S.FAILED)
    return msgspec.structs.replace(
        task, state=state, ended_at=now, remaining_ms=None, status_code=408, error=EXPIRED_ERROR, forced=False
    )


def execute(task: Task, now: int) -> Task:
    """Due now and first in line. In flight, it stays as it is: there is no second send."""
    if task.state is _S.RUNNING:
        step(task.state, _E.EXECUTE, task.state)
        return task
    state = step(task.state, _E.EXECUTE, _S.AVAILABLE)
    due = min(task.due_at, now)
    return msgspec.structs.replace(task, state=state, due_at=due, execution_at=due, remaining_ms=0, forced=True)


def restart(task: Task, now: int) -> Task:
    """A final task runs again at once with a fresh retry budget; its history and its attempt number stay.

    An `expire_at` that has passed is dropped: it would end the task before it could run.
    """
    state = step(task.state, _E.RESTART, _S.AVAILABLE)
    expire_at = task.expire_at if task.expire_at is not None and task.expire_at > now else None
    return msgspec.structs.replace(
        task,
        state=state,
        due_at=now,
        execution_at=now,
        ended_at=0,
        failures=0,
        remaining_ms=0,
        expire_at=expire_at,
    )


def edit(task: Task, config: TaskConfig, rescheduled: bool, now: int) -> Task:
    """The task under an edited configuration. Only an edit of its time (`rescheduled`) moves its time."""
    allowed(task.state, _E.EDIT)
    expire_at = config.expire_at
    if expire_at is not None and expire_at <= now:  # an old one; a restart may have lifted it, and then it stays so
        expire_at = task.expire_at
    edited = msgspec.structs.replace(task, priority=config.priority, lane=config.lane, expire_at=expire_at)
    if rescheduled:
        due = due_at(config, now)
        if task.state is _S.PAUSED:
            return msgspec.structs.replace(edited, remaining_ms=max(0, due - now))
        edited.due_at = edited.execution_at = due
        edited.remaining_ms = waits.first_wait_ms(config, now)
        edited.state = step(task.state, _E.EDIT, waiting_state(due, now, task.failures))
        edited.forced = task.forced and edited.state is _S.AVAILABLE
    return edited


def dropped(task: Task, now: int, why: str) -> Attempt | None:
    """The attempt of a running task that is stopped; None when none is in flight."""
    if task.state is not _S.RUNNING:
        return None
    return Attempt(
        number=task.attempt,
        due_at=task.due_at,
        started_at=task.execution_at,
        ended_at=now,
        outcome=OutcomeKind.ABORTED,
        error=f"dropped: {why}",
    )


EXPIRED_ERROR: Final = "expired: expireAt passed before the task could start"
