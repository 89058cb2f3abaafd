"""Waits: how they grow, where they stop, what jitter and `Retry-After` may do to them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks_server.domain import limits
from tasks_server.domain.retry import Backoff, RepeatPolicy, RetryPolicy, next_repeat_at, next_retry_at, wait_ms

from .examples import NOW, jitters

backoffs = st.sampled_from(["fixed", "linear", "exponential"])
intervals = st.integers(1, limits.TEN_YEARS_MS)
counts = st.integers(1, limits.RETRY_MAX)
policies = st.builds(
    RetryPolicy,
    retries_max=st.integers(0, limits.RETRY_MAX),
    interval_ms=intervals,
    backoff=backoffs,
    interval_max_ms=intervals,
    jitter=st.floats(0, 1),
)


@pytest.mark.parametrize(
    ("backoff", "waits"),
    [
        ("fixed", [1_000, 1_000, 1_000, 1_000]),
        ("linear", [1_000, 2_000, 3_000, 4_000]),
        ("exponential", [1_000, 2_000, 4_000, 8_000]),
    ],
)
def test_the_documented_waits(backoff: Backoff, waits: list[int]) -> None:
    assert [wait_ms(backoff, 1_000, k, limits.DAY_MS) for k in (1, 2, 3, 4)] == waits
    assert [wait_ms(backoff, 1_000, k, 2_500) for k in (1, 2, 3, 4)] == [min(wait, 2_500) for wait in waits]


@given(backoffs, intervals, counts, intervals)
def test_waits_never_shrink_and_never_pass_the_cap(backoff: Backoff, interval: int, count: int, cap: int) -> None:
    wait = wait_ms(backoff, interval, count, cap)
    assert min(interval, cap) <= wait <= cap
    assert wait_ms(backoff, interval, count + 1, cap) >= wait


@given(policies, counts, jitters)
def test_jitter_takes_its_share_at_most(policy: RetryPolicy, failures: int, jitter: float) -> None:
    wait = wait_ms(policy.backoff, policy.interval_ms, failures, policy.interval_max_ms)
    due = next_retry_at(policy, failures, NOW, jitter)
    assert NOW + round(wait * (1 - policy.jitter)) <= due <= NOW + wait
    if policy.jitter == 0 or jitter == 0:
        assert due == NOW + wait


def test_jitter_reaches_the_whole_of_its_share() -> None:
    policy = RetryPolicy(1, interval_ms=1_000, backoff="fixed", jitter=0.2)
    assert [next_retry_at(policy, 1, 0, jitter) for jitter in (0.0, 0.25, 0.5, 0.75)] == [1_000, 950, 900, 850]


@given(policies, counts, jitters, st.integers(0, 10 * limits.DAY_MS))
def test_retry_after_only_lengthens_and_by_a_day_at_most(
    policy: RetryPolicy, failures: int, jitter: float, retry_after_ms: int
) -> None:
    own = next_retry_at(policy, failures, NOW, jitter)
    asked = next_retry_at(policy, failures, NOW, jitter, retry_after_ms)
    assert asked == max(own, NOW + min(retry_after_ms, limits.DAY_MS))


@given(st.integers(NOW - limits.DAY_MS, NOW + limits.DAY_MS), counts, jitters)
def test_retry_at_is_that_instant_or_now_when_it_has_passed(at: int, failures: int, jitter: float) -> None:
    policy = RetryPolicy(1, interval_ms=777, jitter=0.5, at=at)
    assert next_retry_at(policy, failures, NOW, jitter) == max(at, NOW)


@given(backoffs, intervals, counts)
def test_repeats_wait_their_interval_without_jitter(backoff: Backoff, interval: int, count: int) -> None:
    due = next_repeat_at(RepeatPolicy(count, interval_ms=interval, backoff=backoff), count, NOW)
    assert due == NOW + wait_ms(backoff, interval, count, limits.TEN_YEARS_MS)


def test_repeat_at_is_that_instant_or_now_when_it_has_passed() -> None:
    assert next_repeat_at(RepeatPolicy(1, at=NOW + 5), 1, NOW) == NOW + 5
    assert next_repeat_at(RepeatPolicy(1, at=NOW - 5), 1, NOW) == NOW
