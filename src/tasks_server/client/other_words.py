"""What people who know other systems call our options: Celery, RQ, Dramatiq, Cloud Tasks, QStash, SQS, cron."""

from collections.abc import Collection
from difflib import get_close_matches
from typing import Final

_OURS: Final[dict[str, tuple[str, ...]]] = {
    "retry": ("retries", "max_retries", "max_attempts", "attempts", "retry_count", "tries"),
    "delay": (
        "countdown",
        "in",
        "enqueue_in",
        "delay_seconds",
        "execution_delay",
        "executiondelay",
        "defer_by",
        "after",
    ),
    "at": ("eta", "when", "run_at", "enqueue_at", "execute_at", "executeat", "schedule_time", "not_before"),
    "timeout": ("time_limit", "job_timeout", "dispatch_deadline", "soft_time_limit", "timeout_seconds"),
    "lane": ("queue", "queue_name", "group", "channel", "topic"),
    "data": ("json", "body", "content"),
    "payload": ("args", "kwargs", "params", "arguments", "message"),
    "handler": ("task", "task_name", "func", "function", "job", "name"),
    "url": ("uri", "endpoint", "destination", "target", "callback"),
    "metadata": ("tags", "labels", "meta"),
    "config": ("expires", "expire_at", "backoff", "retry_backoff", "retry_delay", "options"),
    "cron": ("crontab", "schedule", "rule"),
    "every": ("interval", "period", "seconds", "minutes", "hours"),
    "timezone": ("tz", "zone", "time_zone"),
    "start_at": ("start", "start_date", "starts_at"),
    "end_at": ("end", "end_date", "ends_at", "until"),
    "max_concurrent": ("concurrency", "max_workers", "parallelism", "max_concurrency"),
    "rate_per_second": ("rate", "rate_limit", "max_rate"),
}
_BY_WORD: Final = {word: ours for ours, words in _OURS.items() for word in words}


def meant_by(name: str, known: Collection[str]) -> str | None:
    """The option that was probably meant by a name that is none.

    >>> [meant_by(name, ["at", "delay", "retry", "url"]) for name in ("eta", "countdown", "retries", "dely", "colour")]
    ['at', 'delay', 'retry', 'delay', None]
    """
    ours = _BY_WORD.get(name.lower())
    if ours in known:
        return ours
    return next(iter(get_close_matches(name, list(known), n=1, cutoff=0.75)), None)
