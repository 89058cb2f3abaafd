"""What owners may do to a task, in every state it can be in."""

from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks_server.domain import lifecycle, limits
from tasks_server.domain.lifecycle import EventKind, IllegalTransition, allowed
from tasks_server.domain.request import TaskConfig
from tasks_server.domain.task import FINAL, PENDING, State, Task

from .examples import DUE, NOW, a_task, configs, instants, states, tasks

STEPS: dict[EventKind, Callable[[Task, int], Task]] = {
    EventKind.PAUSE: lifecycle.pause,
    EventKind.RESUME: lifecycle.resume,
    EventKind.REVOKE: lifecycle.revoke,
    EventKind.EXPIRE: lifecycle.expire,
    EventKind.EXECUTE: lifecycle.execute,
    EventKind.RESTART: lifecycle.restart,
    EventKind.EDIT: lambda task, now: lifecycle.edit(task, TaskConfig(execution_delay=5_000), True, now),
}
KEPT = ("id", "owner", "created_at", "target", "metadata", "attempt", "repeats")
"""What none of these may change."""


@given(tasks, st.sampled_from(list(STEPS)), instants)
def test_each_leads_where_the_table_says_and_leaves_the_given_task_alone(
    task: Task, event: EventKind, now: int
) -> None:
    before = msgspec.structs.asdict(task)
    try:
        after = STEPS[event](task, now)
    except IllegalTransition:
        with pytest.raises(IllegalTransition):
            allowed(task.state, event)
    else:
        assert after.state in allowed(task.state, event)
        assert [getattr(after, name) for name in KEPT] == [before[name] for name in KEPT]
        stopped = after.state in FINAL or after.state is State.PAUSED
        assert (after.ended_at > 0) == stopped
        assert after.remaining_ms is not None if after.state is State.PAUSED else True
        assert after.remaining_ms is None if after.state in FINAL else True
    assert msgspec.structs.asdict(task) == before


@given(st.sampled_from(sorted(PENDING)), instants, instants, st.integers(0, limits.TEN_YEARS_MS), st.integers(0, 3))
def test_pause_and_resume_keep_the_wait_that_was_left(
    state: State, due: int, paused_at: int, pause_ms: int, failures: int
) -> None:
    task = a_task(state, due_at=due, execution_at=due, failures=failures)
    paused = lifecycle.pause(task, paused_at)
    assert (paused.state, paused.ended_at) == (State.PAUSED, paused_at)
    resumed = lifecycle.resume(paused, paused_at + pause_ms)
    wait = max(0, due - paused_at)
    assert resumed.due_at == resumed.execution_at == paused_at + pause_ms + wait
    assert (resumed.ended_at, resumed.failures) == (0, failures)
    if wait <= limits.PROMOTE_AHEAD_MS:
        assert resumed.state is State.AVAILABLE
    else:
        assert resumed.state is (State.RETRYABLE if failures else State.SCHEDULED)


def test_many_pauses_never_shorten_nor_lengthen_the_wait() -> None:
    task, now = a_task(), NOW
    for _ in range(10):
        now += 3_000
        task = lifecycle.resume(lifecycle.pause(task, now), now + 50_000)
        now += 50_000
    assert task.due_at - now == DUE - NOW - 10 * 3_000


def test_a_running_task_that_is_paused_runs_again_at_once() -> None:
    paused = lifecycle.pause(a_task(State.RUNNING), NOW)
    assert paused.remaining_ms == 0
    assert lifecycle.resume(paused, NOW + 9).due_at == NOW + 9


def test_a_pause_keeps_no_more_than_the_wait_that_the_task_began() -> None:
    """As the clock was set back since."""
    waiting = lifecycle.resume(lifecycle.pause(a_task(), NOW), NOW)
    assert waiting.remaining_ms == DUE - NOW
    assert lifecycle.pause(waiting, NOW - limits.HOUR_MS).remaining_ms == DUE - NOW


@given(st.sampled_from(sorted(PENDING)), instants, instants)
def test_execute_makes_it_due_now_and_first_in_line(state: State, due: int, now: int) -> None:
    task = lifecycle.execute(a_task(state, due_at=due), now)
    assert (task.state, task.forced) == (State.AVAILABLE, True)
    assert task.due_at == task.execution_at == min(due, now)


def test_execute_of_a_retryable_task_keeps_its_failures() -> None:
    assert lifecycle.execute(a_task(State.RETRYABLE, failures=2), NOW).failures == 2


def test_execute_in_flight_sends_no_second_time() -> None:
    task = a_task(State.RUNNING)
    assert lifecycle.execute(task, NOW) is task


@pytest.mark.parametrize("stop", [lifecycle.pause, lifecycle.revoke, lifecycle.expire])
def test_a_forced_task_that_is_stopped_is_not_forced_any_more(stop: Callable[[Task, int], Task]) -> None:
    assert not stop(lifecycle.execute(a_task(), NOW), NOW + 1).forced


@pytest.mark.parametrize("state", sorted(FINAL))
def test_restart_runs_again_at_once_with_a_fresh_budget(state: State) -> None:
    task = a_task(state, repeats=2)
    again = lifecycle.restart(task, NOW)
    assert (again.state, again.due_at, again.execution_at, again.ended_at) == (State.AVAILABLE, NOW, NOW, 0)
    assert (again.failures, again.attempt, again.repeats) == (0, task.attempt, 2)


def test_restart_drops_an_expiry_that_has_passed_and_keeps_one_that_has_not() -> None:
    assert lifecycle.restart(a_task(State.FAILED, expire_at=NOW), NOW).expire_at is None
    assert lifecycle.restart(a_task(State.FAILED, expire_at=NOW + 1), NOW).expire_at == NOW + 1


def test_expired_tasks_say_so() -> None:
    task = lifecycle.expire(a_task(), NOW)
    assert (task.state, task.status_code, task.ended_at) == (State.FAILED, 408, NOW)
    assert task.error is not None
    assert task.error.startswith("expired")


# Editing


@given(st.sampled_from(sorted(PENDING | {State.PAUSED})), configs, instants)
def test_an_edit_that_names_no_time_moves_no_time(state: State, config: TaskConfig, now: int) -> None:
    task = a_task(state)
    edited = lifecycle.edit(task, config, False, now)
    assert (edited.state, edited.due_at, edited.execution_at) == (task.state, task.due_at, task.execution_at)
    assert (edited.remaining_ms, edited.ended_at) == (task.remaining_ms, task.ended_at)
    assert (edited.priority, edited.lane) == (config.priority, config.lane)


@pytest.mark.parametrize("state", sorted(PENDING))
def test_an_edit_of_the_time_moves_it(state: State) -> None:
    later = lifecycle.edit(a_task(state), TaskConfig(execute_at=NOW + 9_000), True, NOW)
    assert (later.due_at, later.execution_at) == (NOW + 9_000, NOW + 9_000)
    assert later.state is (State.RETRYABLE if state is State.RETRYABLE else State.SCHEDULED)
    assert lifecycle.edit(a_task(state), TaskConfig(execution_delay=0), True, NOW).state is State.AVAILABLE


def test_an_edit_of_the_time_of_a_paused_task_changes_what_remains() -> None:
    edited = lifecycle.edit(a_task(State.PAUSED), TaskConfig(execution_delay=7_000), True, NOW)
    assert (edited.state, edited.remaining_ms, edited.due_at) == (State.PAUSED, 7_000, DUE)


def test_an_edit_to_a_later_time_ends_being_first_in_line() -> None:
    forced = lifecycle.execute(a_task(), NOW)
    assert not lifecycle.edit(forced, TaskConfig(execution_delay=60_000), True, NOW).forced
    assert lifecycle.edit(forced, TaskConfig(execution_delay=0), True, NOW).forced
    assert lifecycle.edit(forced, TaskConfig(priority=5), False, NOW).forced


def test_an_edit_sets_and_lifts_the_expiry() -> None:
    task = a_task(expire_at=DUE + 1)
    assert lifecycle.edit(task, TaskConfig(expire_at=DUE + 9), False, NOW).expire_at == DUE + 9
    assert lifecycle.edit(task, TaskConfig(), False, NOW).expire_at is None


def test_an_edit_does_not_bring_back_an_expiry_that_a_restart_dropped() -> None:
    task = lifecycle.restart(a_task(State.FAILED, expire_at=NOW - 5), NOW)
    assert lifecycle.edit(task, TaskConfig(expire_at=NOW - 5, priority=3), False, NOW).expire_at is None


# Placing


@given(instants, st.integers(0, limits.EXECUTION_DELAY_MAX_MS))
def test_the_delay_counts_from_arrival(now: int, delay: int) -> None:
    assert lifecycle.due_at(TaskConfig(execution_delay=delay), now) == now + delay


@given(instants, instants, st.integers(0, limits.DAY_MS))
def test_execute_at_wins_over_the_delay_and_is_never_in_the_past(now: int, at: int, delay: int) -> None:
    assert lifecycle.due_at(TaskConfig(execute_at=at, execution_delay=delay), now) == max(at, now)


@given(instants, instants, st.integers(0, 3))
def test_where_a_task_waits(due: int, now: int, failures: int) -> None:
    state = lifecycle.waiting_state(due, now, failures)
    if due <= now + limits.PROMOTE_AHEAD_MS:
        assert state is State.AVAILABLE
    else:
        assert state is (State.RETRYABLE if failures else State.SCHEDULED)


@given(states)
def test_illegal_steps_raise(state: State) -> None:
    for event, act in STEPS.items():
        if (state, event) not in lifecycle.TRANSITIONS:
            with pytest.raises(IllegalTransition):
                act(a_task(state), NOW)
