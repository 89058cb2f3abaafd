"""When to try again: policies as values, waits as pure functions of a policy, a count and a jitter number."""

import msgspec

from tasks_server.domain import limits
from tasks_server.domain.defaults import NOW, Backoff


class RetryPolicy(msgspec.Struct, frozen=True):
    """How failures are retried. With `at`, there is exactly one retry, at that instant."""

    retries_max: int
    interval_ms: int = NOW.retry_interval
    backoff: Backoff = "linear"
    interval_max_ms: int = NOW.retry_max_interval
    jitter: float = 0.0
    at: int | None = None
    ignored_statuses: tuple[int, ...] = ()


class RepeatPolicy(msgspec.Struct, frozen=True):
    """How successes are repeated. With `at`, there is exactly one repeat, at that instant."""

    repeats_max: int
    interval_ms: int = NOW.repeat_interval
    backoff: Backoff = "linear"
    at: int | None = None


def wait_ms(backoff: Backoff, interval_ms: int, count: int, cap_ms: int) -> int:
    """Milliseconds before try number `count` (1 is the first retry), never above `cap_ms`.

    >>> [wait_ms("linear", 100, k, 250) for k in (1, 2, 3)]
    [100, 200, 250]
    >>> [wait_ms("exponential", 100, k, 10_000) for k in (1, 2, 3, 4)]
    [100, 200, 400, 800]
    >>> wait_ms("fixed", 100, 9, 10_000)
    100
    """
    if backoff == "fixed":
        wait = interval_ms
    elif backoff == "linear":
        wait = interval_ms * count
    else:
        wait = interval_ms << min(count - 1, 64)  # the cap is far below 2^64 ms; no need for huge integers
    return min(wait, cap_ms)


def next_retry_at(
    policy: RetryPolicy, failures: int, now: int, jitter: float, retry_after_ms: int | None = None
) -> int:
    """When retry number `failures` is due. `jitter` in [0, 1) picks within the share of the wait that is random.

    A target's `Retry-After` can only make the wait longer, and by one day at most.
    """
    if policy.at is not None:
        due = max(now, policy.at)
    else:
        wait = wait_ms(policy.backoff, policy.interval_ms, failures, policy.interval_max_ms)
        due = now + round(wait * (1 - policy.jitter * jitter))
    if retry_after_ms:
        due = max(due, now + min(retry_after_ms, limits.RETRY_AFTER_MAX_MS))
    return due


def next_repeat_at(policy: RepeatPolicy, repeats: int, now: int) -> int:
    """When repeat number `repeats` (1 is the first) is due."""
    if policy.at is not None:
        return max(now, policy.at)
    return now + wait_ms(policy.backoff, policy.interval_ms, repeats, limits.TEN_YEARS_MS)
