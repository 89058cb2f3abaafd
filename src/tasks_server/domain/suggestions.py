"""What somebody probably meant by the name of a field that is not there: by its spelling; by what other systems call
the same (Celery, BullMQ, Cloud Tasks, QStash, SQS, cron …); or a field that stands elsewhere in the body.
"""

from collections.abc import Mapping
from difflib import get_close_matches
from functools import lru_cache
from types import MappingProxyType
from typing import Final

import msgspec

from tasks_server.domain.request import HttpRequest, TaskConfig

NAMES_TOLD_MAX: Final = 20
"""The names of a larger object are in the documentation; here they would bury the fault."""
_CUTOFF: Final = 0.7
"""How alike (of 1) two names must be. At less, what is suggested is about something else as a rule."""
_CUTOFF_ELSEWHERE: Final = 0.85
_PARTS: Final = frozenset({"httpRequest", "config", "handler"})
"""The parts of a task."""
_AGAIN: Final = ("retry", "max_retries", "config.retry", "task.config.retry")
_WAIT: Final = ("retryInterval", "config.retryInterval", "task.config.retryInterval")
_GROWTH: Final = ("retryBackoff", "config.retryBackoff", "task.config.retryBackoff")
_LONGEST: Final = ("retryMaxInterval", "config.retryMaxInterval", "task.config.retryMaxInterval")
_ONCE: Final = ("the header Idempotency-Key",)
_LATER: Final = ("executionDelay", "scheduled_at", "config.executionDelay")
_AT: Final = ("executeAt", "scheduled_at", "startAt", "config.executeAt")
_LIMIT: Final = ("timeout", "timeout_ms", "config.timeout", "task.config.timeout")
_UNTIL: Final = ("expireAt", "endAt", "config.expireAt")
_LANE: Final = ("lane", "config.lane", "task.config.lane")
_SENT: Final = ("data", "payload", "httpRequest.data", "task.httpRequest.data")
_GIVEN: Final = ("payload", "handler.payload", "task.payload", "data")
_LABELS: Final = ("metadata", "task.metadata")
_NAME: Final = ("task_name", "name", "handler.name", "task.task_name", "handler")
_AGAIN_AND_AGAIN: Final = ("cron", "schedule")
_ZONE: Final = ("timezone", "config.timezone")
_WORDS: Final[Mapping[str, tuple[str, ...]]] = {
    **dict.fromkeys(
        (
            "retries",
            "maxretries",
            "maxretry",
            "maxattempts",
            "attempts",
            "tries",
            "maxtries",
            "retrycount",
            "numretries",
        ),
        _AGAIN,
    ),
    **dict.fromkeys(("retrydelay", "retrywait", "retryafter", "mininterval", "minbackoff", "defaultretrydelay"), _WAIT),
    **dict.fromkeys(("backoff", "retrystrategy", "retrypolicy", "backofftype"), _GROWTH),
    **dict.fromkeys(
        ("maxbackoff", "maxretrydelay", "retrybackoffmax"), ("retryMaxInterval", "config.retryMaxInterval")
    ),
    **dict.fromkeys(("jitter", "retryjitter"), ("jitter", "retryJitter", "config.retryJitter")),
    **dict.fromkeys(("delay", "delayms", "delayseconds", "countdown", "startin", "runin", "notbefore", "wait"), _LATER),
    **dict.fromkeys(
        (
            "at",
            "eta",
            "runat",
            "executeon",
            "startat",
            "scheduleat",
            "scheduledat",
            "scheduledfor",
            "scheduletime",
            "date",
        ),
        _AT,
    ),
    **dict.fromkeys(("timeoutms", "timelimit", "softtimelimit", "deadline", "dispatchdeadline", "maxruntime"), _LIMIT),
    **dict.fromkeys(("expires", "expiresat", "expiresin", "ttl", "validuntil", "expiration"), _UNTIL),
    **dict.fromkeys(("queue", "queuename", "queueid", "group", "topic", "channel", "lanes"), _LANE),
    **dict.fromkeys(("body", "json", "form", "content"), _SENT),
    **dict.fromkeys(("args", "kwargs", "arguments", "params", "input"), _GIVEN),
    **dict.fromkeys(("tags", "labels", "meta", "annotations", "attributes"), _LABELS),
    **dict.fromkeys(("task", "taskname", "function", "func", "job", "jobname", "handler", "handlername"), _NAME),
    **dict.fromkeys(("cronexpression", "crontab", "pattern", "rrule"), _AGAIN_AND_AGAIN),
    **dict.fromkeys(("interval", "repeatevery", "everyms", "frequency", "period"), ("every", "repeatInterval")),
    **dict.fromkeys(("tz", "zone", "timezoneid", "timezonename"), _ZONE),
    **dict.fromkeys(
        ("uri", "endpoint", "target", "targeturl", "href", "destination", "webhook"), ("url", "httpRequest.url")
    ),
    **dict.fromkeys(("verb", "httpmethod", "requestmethod"), ("method", "httpRequest.method")),
    **dict.fromkeys(("querystring", "queryparams", "qs", "searchparams"), ("query", "httpRequest.query")),
    **dict.fromkeys(("header", "httpheaders", "requestheaders"), ("headers", "httpRequest.headers")),
    **dict.fromkeys(("bodybase64", "base64", "binary"), ("dataBase64", "httpRequest.dataBase64")),
    **dict.fromkeys(("auth", "basicauth", "credentials"), ("authBasic", "httpRequest.authBasic")),
    **dict.fromkeys(("verify", "verifyssl", "rejectunauthorized", "skiptlsverify"), ("insecure", "config.insecure")),
    **dict.fromkeys(("followredirects", "allowredirects", "redirect"), ("location", "config.location")),
    **dict.fromkeys(("maxredirects", "redirects"), ("redirectAttempts", "config.redirectAttempts")),
    **dict.fromkeys(("concurrency", "parallelism", "maxparallel", "maxworkers"), ("maxConcurrent",)),
    **dict.fromkeys(("rate", "ratelimit", "rps", "maxdispatchespersecond"), ("ratePerSecond",)),
    **dict.fromkeys(
        ("idempotencykey", "dedupid", "deduplicationid", "dedupkey", "jobid"), ("the header Idempotency-Key",)
    ),
    "http": ("httpRequest",),
    "request": ("httpRequest",),
    "options": ("config",),
    "settings": ("config",),
    "status": ("state",),
    "page": ("cursor",),
    "perpage": ("limit",),
    "pagesize": ("limit",),
}
"""By words in lower case without `_` and `-`: fields that may be meant, the nearer ones first."""
_PLACES: Final = MappingProxyType(
    {
        part: frozenset(field.encode_name for field in msgspec.structs.fields(kind)) - {"json"}
        for part, kind in (("httpRequest", HttpRequest), ("config", TaskConfig))
    }
)


def meant(path: str, name: str, known: tuple[str, ...]) -> str | None:
    """The field that is probably meant by `name` at a dotted path where the `known` names are; None: who knows. Where
    it stands elsewhere, it is told with its own path.

    >>> meant("config", "retries", ("priority", "retry", "retryJitter")), meant("config", "url", ("retry",))
    ('retry', 'httpRequest.url')
    >>> meant("", "executionDelay", ("config", "httpRequest")), meant("", "colour", ("config", "httpRequest"))
    ('config.executionDelay', None)
    """
    part = path.rpartition(".")[2]
    return _meant(part if part in _PARTS else "", _folded(name), known)


@lru_cache(4_096)
def _meant(part: str, word: str, known: tuple[str, ...]) -> str | None:
    """Remembered: in a batch, the same mistake comes a thousand times."""
    folded = {_folded(each): each for each in known}
    if word in folded:
        return folded[word]
    for field in _WORDS.get(word, ()):
        if _stands(field, part, known):
            return field
    others = _elsewhere(part, known)
    if word in others:
        return others[word]
    if near := get_close_matches(word, folded, n=1, cutoff=_CUTOFF):
        return folded[near[0]]
    if len(known) > NAMES_TOLD_MAX:
        return None
    near = get_close_matches(word, others, n=1, cutoff=_CUTOFF_ELSEWHERE)
    return others[near[0]] if near else None


def _folded(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")


def _stands(field: str, part: str, known: tuple[str, ...]) -> bool:
    """Whether a field can be given here, or in a part beside this one, as it is told."""
    head, inner, _ = field.partition(".")
    if " " in field:
        return bool(part) or not {"httpRequest", "task_name"}.isdisjoint(known)
    return head in known or (bool(inner) and bool(part) and head in _PARTS)


def _elsewhere(part: str, known: tuple[str, ...]) -> dict[str, str]:
    """The options of other parts of the same task, as they are told."""
    found: dict[str, str] = {}
    for place, names in _PLACES.items():
        if place in known or (part and place != part):
            found |= {_folded(name): f"{place}.{name}" for name in sorted(names)}
        elif "task" in known:
            found |= {_folded(name): f"task.{place}.{name}" for name in sorted(names)}
    return found
