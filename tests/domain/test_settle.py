"""What becomes of a task after an attempt, for all runs, configurations and outcomes."""

import random

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tasks_server.domain import limits
from tasks_server.domain.attempt import PERMANENT, UNCOUNTED, Outcome, OutcomeKind
from tasks_server.domain.lifecycle import EventKind, Progress, Settlement, allowed, settle
from tasks_server.domain.request import TaskConfig
from tasks_server.domain.retry import next_repeat_at, next_retry_at
from tasks_server.domain.task import FINAL, State

from .examples import DUE, NOW, configs, instants, jitters, outcomes, outcomes_of, runs

COUNTED = [kind for kind in OutcomeKind if kind not in UNCOUNTED and kind is not OutcomeKind.SUCCESS]
MENDABLE = [kind for kind in COUNTED if kind not in PERMANENT]
OK = Outcome(OutcomeKind.SUCCESS, status_code=200)
BROKEN = Outcome(OutcomeKind.HTTP_ERROR, status_code=503, error="Service Unavailable")


def after(
    outcome: Outcome, config: TaskConfig | None = None, run: Progress | None = None, now: int = DUE
) -> Settlement:
    return settle(run or Progress(DUE, 0, 0), config or TaskConfig(), outcome, now, 0.0)


# For all


@given(runs, configs, outcomes, instants, jitters)
def test_the_settlement_is_a_row_of_the_table(
    run: Progress, config: TaskConfig, outcome: Outcome, now: int, jitter: float
) -> None:
    done = settle(run, config, outcome, now, jitter)
    assert done.state in allowed(State.RUNNING, done.event)


@given(runs, configs, outcomes, instants, jitters)
def test_final_states_have_an_end_and_the_others_have_none(
    run: Progress, config: TaskConfig, outcome: Outcome, now: int, jitter: float
) -> None:
    done = settle(run, config, outcome, now, jitter)
    assert done.ended_at == (now if done.state in FINAL else 0)


@given(runs, configs, outcomes, instants, jitters)
def test_a_next_attempt_is_never_due_before_now_nor_once_it_may_not_start(
    run: Progress, config: TaskConfig, outcome: Outcome, now: int, jitter: float
) -> None:
    done = settle(run, config, outcome, now, jitter)
    if done.event in (EventKind.RETRY, EventKind.REPEAT):
        assert done.due_at >= now
        assert run.expire_at is None or done.due_at < run.expire_at
    else:
        assert done.due_at == run.due_at


@given(runs, configs, outcomes, instants, jitters)
def test_in_line_only_when_due(run: Progress, config: TaskConfig, outcome: Outcome, now: int, jitter: float) -> None:
    done = settle(run, config, outcome, now, jitter)
    if done.event in (EventKind.RETRY, EventKind.REPEAT):
        assert (done.state is State.AVAILABLE) == (done.due_at <= now + limits.PROMOTE_AHEAD_MS)


@given(runs, configs, st.sampled_from(sorted(UNCOUNTED)).flatmap(outcomes_of), instants, jitters)
def test_what_says_nothing_of_the_target_changes_nothing(
    run: Progress, config: TaskConfig, outcome: Outcome, now: int, jitter: float
) -> None:
    done = settle(run, config, outcome, now, jitter)
    assert done.event is EventKind.GIVE_BACK
    assert (done.due_at, done.failures, done.repeats) == (run.due_at, run.failures, run.repeats)
    assert (done.status_code, done.error, done.remaining_ms) == (run.status_code, run.error, run.remaining_ms)


@given(runs, configs, st.sampled_from(sorted(UNCOUNTED)).flatmap(outcomes_of), instants, jitters)
def test_what_is_given_back_stands_in_line_unless_its_instant_moved_away(
    run: Progress, config: TaskConfig, outcome: Outcome, now: int, jitter: float
) -> None:
    """A wait that was over is over. An instant comes when the clock says so, also when it was set back meanwhile."""
    done = settle(run, config, outcome, now, jitter)
    far = run.due_at > now + limits.PROMOTE_AHEAD_MS + 1_000
    waits = (State.RETRYABLE if run.failures else State.SCHEDULED) if far and run.remaining_ms is None else None
    assert done.state is (waits or State.AVAILABLE)


@given(runs, configs, outcomes, instants, jitters)
def test_a_next_attempt_waits_for_so_long_or_for_an_instant_that_was_asked_for(
    run: Progress, config: TaskConfig, outcome: Outcome, now: int, jitter: float
) -> None:
    done = settle(run, config, outcome, now, jitter)
    if done.event is EventKind.RETRY:
        assert done.due_at == (config.retry_at if done.remaining_ms is None else now + done.remaining_ms)
    elif done.event is EventKind.REPEAT:
        assert done.due_at == (config.repeat_at if done.remaining_ms is None else now + done.remaining_ms)
    elif done.event is not EventKind.GIVE_BACK:
        assert done.remaining_ms is None


@given(runs, configs, st.sampled_from(COUNTED).flatmap(outcomes_of), instants, jitters)
def test_a_failure_keeps_the_repeats_and_shows_its_reason(
    run: Progress, config: TaskConfig, outcome: Outcome, now: int, jitter: float
) -> None:
    done = settle(run, config, outcome, now, jitter)
    assert done.event in (EventKind.RETRY, EventKind.FAIL)
    assert done.repeats == run.repeats
    assert done.status_code == outcome.status_code
    assert (done.error or "").startswith(outcome.error or "")
    assert done.failures - run.failures == (0 if outcome.kind is OutcomeKind.EXPIRED else 1)


@given(runs, configs, outcomes_of(OutcomeKind.SUCCESS), instants, jitters)
def test_success_forgets_the_failures(
    run: Progress, config: TaskConfig, outcome: Outcome, now: int, jitter: float
) -> None:
    done = settle(run, config, outcome, now, jitter)
    assert done.event in (EventKind.SUCCEED, EventKind.REPEAT)
    assert (done.failures, done.error, done.status_code) == (0, None, outcome.status_code)
    assert done.repeats - run.repeats == (1 if done.event is EventKind.REPEAT else 0)


@given(runs, configs, st.sampled_from(sorted(PERMANENT)).flatmap(outcomes_of), instants, jitters)
def test_what_no_retry_can_mend_fails_at_once(
    run: Progress, config: TaskConfig, outcome: Outcome, now: int, jitter: float
) -> None:
    assert settle(run, config, outcome, now, jitter).state is State.FAILED


@given(runs, configs, st.sampled_from(MENDABLE).flatmap(outcomes_of), instants, jitters)
def test_the_rule_of_retries(run: Progress, config: TaskConfig, outcome: Outcome, now: int, jitter: float) -> None:
    policy = config.retry_policy()
    ignored = outcome.status_code in config.ignore_status_code
    left = run.failures < policy.retries_max
    due = next_retry_at(policy, run.failures + 1, now, jitter, outcome.retry_after_ms)
    in_time = run.expire_at is None or due < run.expire_at
    done = settle(run, config, outcome, now, jitter)
    if left and in_time and not ignored and not outcome.no_retry:
        assert (done.event, done.due_at) == (EventKind.RETRY, due)
    else:
        assert done.event is EventKind.FAIL


@given(runs, configs, instants, jitters)
def test_the_rule_of_repeats(run: Progress, config: TaskConfig, now: int, jitter: float) -> None:
    policy = config.repeat_policy()
    due = next_repeat_at(policy, run.repeats + 1, now)
    done = settle(run, config, OK, now, jitter)
    if run.repeats < policy.repeats_max and (run.expire_at is None or due < run.expire_at):
        assert (done.event, done.due_at) == (EventKind.REPEAT, due)
    else:
        assert done.event is EventKind.SUCCEED


# Whole lives


def live(config: TaskConfig, expire_at: int | None, draw: random.Random) -> list[tuple[OutcomeKind, Settlement]]:
    """A task's life under outcomes drawn at random, to its end."""
    run, now, life = Progress(NOW, 0, 0, expire_at), NOW, []
    for _ in range(2_000):
        kind = draw.choice(list(OutcomeKind))
        outcome = Outcome(kind, status_code=200 if kind is OutcomeKind.SUCCESS else 500)
        now = max(now, run.due_at) + draw.randrange(10_000)
        done = settle(run, config, outcome, now, draw.random())
        life.append((kind, done))
        if done.state in FINAL:
            return life
        run = Progress(done.due_at, done.failures, done.repeats, expire_at, done.status_code, done.error)
    raise AssertionError("the task never ends")


@given(configs, st.none() | instants, st.randoms(use_true_random=False))
def test_every_life_ends_within_its_retries_and_repeats(
    config: TaskConfig, expire_at: int | None, draw: random.Random
) -> None:
    life = live(config, expire_at, draw)
    assert all(done.state not in FINAL for _, done in life[:-1])
    assert sum(done.event is EventKind.REPEAT for _, done in life) <= config.repeat_policy().repeats_max
    counted = 0
    for kind, done in life:
        if kind is OutcomeKind.SUCCESS:
            counted = 0
        elif kind in MENDABLE:
            counted += 1
        if done.event is EventKind.RETRY:
            assert 1 <= counted <= config.retry_policy().retries_max


@given(configs, st.randoms(use_true_random=False))
def test_retries_and_repeats_are_used_to_the_last(config: TaskConfig, draw: random.Random) -> None:
    assume(not config.ignore_status_code)
    run, now = Progress(NOW, 0, 0), NOW
    for repeat in range(config.repeat_policy().repeats_max):
        done = settle(run, config, OK, now, draw.random())
        assert done.repeats == repeat + 1
        run = Progress(done.due_at, done.failures, done.repeats)
    for retry in range(config.retry_policy().retries_max):
        done = settle(run, config, BROKEN, now, draw.random())
        assert (done.event, done.failures) == (EventKind.RETRY, retry + 1)
        run = Progress(done.due_at, done.failures, done.repeats)
    assert settle(run, config, BROKEN, now, draw.random()).event is EventKind.FAIL


# By example


def test_a_task_without_options_ends_with_its_first_answer() -> None:
    assert after(OK) == Settlement(EventKind.SUCCEED, State.COMPLETED, DUE, 0, 0, DUE, 200, None)
    assert after(BROKEN) == Settlement(EventKind.FAIL, State.FAILED, DUE, 1, 0, DUE, 503, "Service Unavailable")


def test_retry_at_gives_exactly_one_retry_whatever_retry_says() -> None:
    for retry in (0, 1, 5):
        config = TaskConfig(retry=retry, retry_at=DUE + 5_000)
        first = after(BROKEN, config)
        assert (first.event, first.due_at) == (EventKind.RETRY, DUE + 5_000)
        assert after(BROKEN, config, Progress(first.due_at, first.failures, 0)).event is EventKind.FAIL


def test_repeat_at_gives_exactly_one_repeat_whatever_repeat_says() -> None:
    for repeat in (0, 1, 5):
        config = TaskConfig(repeat=repeat, repeat_at=DUE + 5_000)
        first = after(OK, config)
        assert (first.event, first.due_at, first.repeats) == (EventKind.REPEAT, DUE + 5_000, 1)
        assert after(OK, config, Progress(first.due_at, 0, first.repeats)).event is EventKind.SUCCEED


def test_a_repeat_gets_a_fresh_budget_of_retries() -> None:
    config = TaskConfig(retry=2, repeat=1)
    done = after(OK, config, Progress(DUE, 2, 0))
    assert (done.event, done.failures) == (EventKind.REPEAT, 0)
    assert after(BROKEN, config, Progress(done.due_at, 0, 1)).event is EventKind.RETRY


def test_a_repeat_that_would_come_after_expire_at_is_left_out() -> None:
    config = TaskConfig(repeat=3, repeat_interval=1_000)
    assert after(OK, config, Progress(DUE, 0, 0, expire_at=DUE + 1_001)).event is EventKind.REPEAT
    assert after(OK, config, Progress(DUE, 0, 0, expire_at=DUE + 1_000)).event is EventKind.SUCCEED


def test_a_retry_that_would_come_after_expire_at_fails_now_and_says_so() -> None:
    config = TaskConfig(retry=3, retry_interval=1_000)
    assert after(BROKEN, config, Progress(DUE, 0, 0, expire_at=DUE + 1_001)).event is EventKind.RETRY
    done = after(BROKEN, config, Progress(DUE, 0, 0, expire_at=DUE + 1_000))
    assert (done.state, done.error) == (
        State.FAILED, "Service Unavailable; the next retry would come after expireAt",
    )  # fmt: skip


def test_ignored_statuses_count_wherever_they_come_from() -> None:
    config = TaskConfig(retry=3, ignore_status_code=[408, 503])
    assert after(BROKEN, config).event is EventKind.FAIL
    assert after(Outcome(OutcomeKind.TIMEOUT, status_code=408), config).event is EventKind.FAIL
    assert after(Outcome(OutcomeKind.HTTP_ERROR, status_code=408), config).event is EventKind.FAIL
    assert after(Outcome(OutcomeKind.HANDLER_ERROR, status_code=503), config).event is EventKind.FAIL
    assert after(Outcome(OutcomeKind.HANDLER_ERROR, status_code=500), config).event is EventKind.RETRY
    assert after(Outcome(OutcomeKind.INTERRUPTED, status_code=408), config).event is EventKind.GIVE_BACK


def test_a_target_may_ask_for_no_more() -> None:
    gone = Outcome(OutcomeKind.HTTP_ERROR, status_code=410, no_retry=True)
    assert after(gone, TaskConfig(retry=9)).event is EventKind.FAIL


def test_an_expired_start_counts_no_failure() -> None:
    done = after(
        Outcome(OutcomeKind.EXPIRED, status_code=408, error="expired"), TaskConfig(retry=9), Progress(DUE, 2, 0)
    )
    assert (done.state, done.failures, done.error) == (State.FAILED, 2, "expired")


@pytest.mark.parametrize("kind", sorted(PERMANENT))
def test_permanent_endings(kind: OutcomeKind) -> None:
    assert after(Outcome(kind), TaskConfig(retry=9)).event is EventKind.FAIL
