"""What is to be called and how: the request and the configuration of a task, as they are stored.

Shapes and simple bounds live in the types, so that one decoder checks them, the OpenAPI document is generated
from them and the slow path that collects every fault reads the same truth. Rules that look at more than one
field are in `domain.validation`.
"""

from operator import attrgetter
from typing import Annotated, Final, Literal, get_args

import msgspec
from msgspec import UNSET, Meta, UnsetType

from tasks_server.domain import durations, limits
from tasks_server.domain.callback import Asked as AskedCallback
from tasks_server.domain.defaults import NOW, Backoff, RedirectMethod
from tasks_server.domain.json_text import NULL
from tasks_server.domain.options import ENGINE, ConnectionOptions, RequestOptions, option_fields, told
from tasks_server.domain.retry import RepeatPolicy, RetryPolicy

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]
METHODS: frozenset[str] = frozenset(get_args(Method))
BODILESS_METHODS: frozenset[str] = frozenset({"GET", "HEAD", "DELETE"})
"""Data is not sent with these (RFC 9110 section 9.3: content of such a request has no defined meaning)."""


Key = Annotated[str, Meta(min_length=1, max_length=limits.NAME_LENGTH_MAX, pattern=limits.KEY_PATTERN)]
Value = Annotated[str, Meta(max_length=limits.TOKEN_LENGTH_MAX)]
Millis = Annotated[int, durations.bounds(0, limits.TEN_YEARS_MS)]


class FormPart(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One field of a multipart form. The value is literal: a leading `@` names no file."""

    name: Annotated[str, Meta(min_length=1, max_length=limits.NAME_LENGTH_MAX)]
    value: str


Form = Annotated[list[FormPart], Meta(min_length=1, max_length=limits.FORM_PARTS_MAX)]


class HttpRequest(RequestOptions, rename="camel", forbid_unknown_fields=True, omit_defaults=True):
    """The call to make. At most one of `data`, `json` and `data_base64` is set. How it is asked for is `domain.asked`,
    where `data` may be any of the first two.
    """

    url: Annotated[
        Annotated[str, Meta(min_length=1, max_length=limits.URL_LENGTH_MAX)],
        told("What is called, by http or https. A bare host counts as its root path; a fragment is not sent.", "URL"),
    ]
    method: Annotated[Method, told("The method, in any case.", "HTTPGET, POST, NOBODY, CUSTOMREQUEST")]
    query: Annotated[
        Annotated[dict[Key, Value], Meta(max_length=limits.QUERY_MAX)] | None,
        told("Names and values, form-urlencoded and joined to a query that the URL has.", "URL"),
    ] = None
    headers: Annotated[
        Annotated[dict[Key, Value], Meta(max_length=limits.HEADERS_MAX)] | None,
        told(
            "Headers, each in place of the default of that name. Content-Length, those that belong to the connection, "
            "and `X-Tasks-` are refused. Secret where the name looks so: masked wherever they are shown.",
            "HTTPHEADER",
        ),
    ] = None
    data: str | Form | None = None
    """Text or a form to send."""
    json: bytes | None = None
    """An object to send, as it came."""
    data_base64: Annotated[
        str | None,
        told(
            "Bytes to send, in place of `data`, as the Content-Type header says. With GET, HEAD and DELETE they are "
            "accepted and kept, but never sent.",
            "POSTFIELDS",
        ),
    ] = None
    transport: Annotated[
        Literal["fetch", "curl"] | None,
        told(
            "Whose rules hold for redirects: with `curl` each names the URL before it as its `Referer`; `fetch` does "
            "so under a `referrerPolicy` and has options of its own (below).",
            "AUTOREFERER",
        ),
    ] = NOW.transport


class TaskConfig(ConnectionOptions, rename="camel", forbid_unknown_fields=True, omit_defaults=True):
    """When to call, how often to try, and how the call behaves. Instants and durations are milliseconds. UNSET stays
    apart from the default where it matters that nothing was said.
    """

    execution_delay: Annotated[
        Millis, told("How long after its arrival the task is due. It never runs before.", ENGINE)
    ] = NOW.execution_delay
    execute_at: Annotated[int | None, told("When the task is due, in place of `executionDelay`.", ENGINE)] = None
    execute_immediately: Annotated[
        bool, told("Takes an `executeAt` that is past, and runs the task at once.", ENGINE)
    ] = NOW.execute_immediately
    timezone: Annotated[
        Annotated[str, Meta(min_length=1, max_length=limits.NAME_LENGTH_MAX)] | None,
        told(
            "The time zone of those dates in `config` that name none, by its IANA name; by default the server's `TZ`. "
            "What clocks skip is the next valid minute, what they show twice is the first of both.",
            ENGINE,
        ),
    ] = None
    retry: Annotated[
        Annotated[int, Meta(ge=0, le=limits.RETRY_MAX)] | UnsetType,
        told("How often to try again after the first attempt failed.", ENGINE),
    ] = UNSET
    retry_interval: Annotated[
        Annotated[int, durations.bounds(1, limits.TEN_YEARS_MS)] | UnsetType,
        told(
            "The wait before the first retry, which those before the others are made of. By default one second; and "
            "where nothing is said of waits or their growth, they double from there, to a day.",
            ENGINE,
        ),
    ] = UNSET
    retry_exponential: Annotated[
        bool | UnsetType,
        told(
            "Waits `retryInterval` times the number of the retry, as it does where only `retryInterval` is given; "
            "false: always `retryInterval`.",
            ENGINE,
        ),
    ] = UNSET
    retry_backoff: Annotated[
        Backoff | None,
        told(
            "How the waits grow, in place of `retryExponential`: not, by `retryInterval` each time, or to the double. "
            "By default `exponential`, where neither `retryInterval` nor `retryExponential` is given.",
            ENGINE,
        ),
    ] = None
    retry_max_interval: Annotated[
        Annotated[int, durations.bounds(1, limits.TEN_YEARS_MS)] | UnsetType,
        told("The longest wait before a retry; unless it is given, a longer `retryInterval` counts.", ENGINE),
    ] = UNSET
    retry_jitter: Annotated[
        Annotated[float, Meta(ge=0, le=1)] | None,
        told(
            "The share of each wait that is left to chance, so that what failed together is not tried again together. "
            "By default 0.2 with `exponential`, else 0.",
            ENGINE,
        ),
    ] = None
    retry_at: Annotated[
        int | None, told("When to try again, once, in place of `retry` and its waits. At least 1 s after due.", ENGINE)
    ] = None
    repeat: Annotated[
        Annotated[int, Meta(ge=0, le=limits.REPEAT_MAX)],
        told("How often to run again after a success. The task is final when these are used up.", ENGINE),
    ] = NOW.repeat
    repeat_interval: Annotated[
        Annotated[int, durations.bounds(1, limits.TEN_YEARS_MS)], told("The wait before the first repeat.", ENGINE)
    ] = NOW.repeat_interval
    repeat_exponential: Annotated[
        bool,
        told("Waits `repeatInterval` times the number of the repeat; else always `repeatInterval`.", ENGINE),
    ] = NOW.repeat_exponential
    repeat_at: Annotated[
        int | None, told("When to repeat, once, in place of `repeat` and its waits. At least 1 s after due.", ENGINE)
    ] = None
    ignore_status_code: Annotated[
        Annotated[list[Annotated[int, Meta(ge=400, le=599)]], Meta(max_length=limits.IGNORED_STATUS_CODES_MAX)],
        told(
            "Statuses of attempts that are not tried again: the task ends as ERROR. They count wherever they come "
            "from: 408 stands for timeouts, too.",
            ENGINE,
        ),
    ] = msgspec.field(default_factory=list)
    timeout: Annotated[
        Annotated[int, durations.bounds(limits.TIMEOUT_MIN_MS, limits.TIMEOUT_MAX_MS)] | UnsetType,
        told("How long an attempt may take, all of it.", "TIMEOUT_MS"),
    ] = UNSET
    timeout_at: Annotated[
        int | None,
        told("When the first attempt is over, in place of `timeout`. At least 1 s after due.", "TIMEOUT_MS"),
    ] = None
    expire_at: Annotated[
        int | None, told("From when on the task is not started any more: it ends as ERROR.", ENGINE)
    ] = None
    priority: Annotated[
        Annotated[int, Meta(ge=0, le=limits.PRIORITY_MAX)],
        told(
            "Of an owner's due tasks, those with the highest go first. Where that leaves the others waiting for 15 "
            "seconds, one place in ten is theirs.",
            ENGINE,
        ),
    ] = NOW.priority
    lane: Annotated[
        Key, told("The line in which the task waits: when slots are scarce, an owner's lanes share them.", ENGINE)
    ] = NOW.lane
    user_agent: Annotated[
        Annotated[str, Meta(min_length=limits.USER_AGENT_LENGTH_MIN, max_length=limits.USER_AGENT_LENGTH_MAX)] | None,
        told("The `User-Agent`, whatever a header says. By default `Tasks-Server/` and its version.", "HTTPHEADER"),
    ] = None
    location: Annotated[bool, told("Follows redirects; else they are the answer.", "FOLLOWLOCATION")] = NOW.location
    redirect_attempts: Annotated[
        Annotated[int, Meta(ge=0, le=limits.REDIRECTS_MAX)],
        told("How many redirects are followed; one more is a failure. 0: none, and they are the answer.", "MAXREDIRS"),
    ] = NOW.redirect_attempts
    redirect_method: Annotated[
        RedirectMethod,
        told(
            "What becomes of the method where a redirect would change it: of POST at 301 and 302, of all but GET and "
            "HEAD at 303. `change`: it is GET then, and the data are left out, as in browsers and curl. `keep`: at 301 "
            "and 302 it stays POST, with its data, as at 307 and 308. `refuse`: the attempt fails, and nothing else is "
            "called in place of what was asked for.",
            ENGINE,
        ),
    ] = NOW.redirect_method
    trace_response_data: Annotated[bool, told("Keeps the body of the answer.", "WRITEFUNCTION")] = (
        NOW.trace_response_data
    )
    failure_callback: Annotated[
        AskedCallback,
        told(
            "What is called when the task has ended as ERROR for good: a URL, or an object with `url` (or `handler`), "
            "`method`, `headers`, `retry` and `lane`. The call is a task of its own, signed like all. false: nothing; "
            "null: what the lane says, or the owner.",
            ENGINE,
        ),
    ] = None
    success_callback: Annotated[
        AskedCallback, told("The same for when it has ended as SUCCESS, after its last repeat.", ENGINE)
    ] = None

    @property
    def says_waits(self) -> bool:
        """Whether it is given how retries wait, or a part of that."""
        return not (self.retry_interval is UNSET and self.retry_exponential is UNSET and self.retry_backoff is None)

    @property
    def says_retries(self) -> bool:
        """Whether it is given how often to try again."""
        return self.retry is not UNSET or self.retry_at is not None

    @property
    def timeout_ms(self) -> int:
        """How long an attempt may take."""
        return NOW.timeout if self.timeout is UNSET else self.timeout

    @property
    def retries_max(self) -> int:
        """How often to try again."""
        if self.retry_at is not None:
            return 1
        return NOW.retry if self.retry is UNSET else self.retry

    def retry_policy(self) -> RetryPolicy:
        """The rule by which failures of this task are tried again."""
        backoff, interval_ms = self._waits()
        jitter, cap_ms = self.retry_jitter, self.retry_max_interval
        if jitter is None:
            jitter = NOW.retry_jitter if backoff == "exponential" else 0.0
        if cap_ms is UNSET:
            cap_ms = max(NOW.retry_max_interval, interval_ms)
        return RetryPolicy(
            retries_max=self.retries_max,
            interval_ms=interval_ms,
            backoff=backoff,
            interval_max_ms=cap_ms,
            jitter=jitter,
            at=self.retry_at,
            ignored_statuses=tuple(self.ignore_status_code),
        )

    def effective(self) -> "TaskConfig":
        """The same with all said that UNSET stands for."""
        policy = self.retry_policy()
        grows = policy.backoff if not self.says_waits and policy.backoff == "exponential" else self.retry_backoff
        return msgspec.structs.replace(
            self,
            retry=NOW.retry if self.retry is UNSET else self.retry,
            retry_interval=policy.interval_ms,
            retry_exponential=self.retry_exponential is not False,
            retry_backoff=grows,
            retry_max_interval=policy.interval_max_ms,
            retry_jitter=policy.jitter if self.retry_jitter is None else self.retry_jitter,
            timeout=self.timeout_ms,
        )

    def _waits(self) -> tuple[Backoff, int]:
        """How the waits grow, and the first one."""
        if not self.says_waits:
            return NOW.retry_waits
        interval_ms = NOW.retry_interval if self.retry_interval is UNSET else self.retry_interval
        return self.retry_backoff or ("fixed" if self.retry_exponential is False else "linear"), interval_ms

    def repeat_policy(self) -> RepeatPolicy:
        """The rule by which successes of this task are run again."""
        return RepeatPolicy(
            repeats_max=1 if self.repeat_at is not None else self.repeat,
            interval_ms=self.repeat_interval,
            backoff="linear" if self.repeat_exponential else "fixed",
            at=self.repeat_at,
        )


class Fallback(msgspec.Struct, rename="camel", frozen=True, omit_defaults=True):
    """What counts of the configuration where neither the task says so, nor what its handler is registered with."""

    retry: int | UnsetType = UNSET
    retry_interval: int | UnsetType = UNSET
    retry_backoff: Backoff | UnsetType = UNSET
    timeout: int | UnsetType = UNSET


NO_FALLBACK: Final = Fallback()


class HandlerCall(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A handler to run by its name, with any JSON as it came."""

    name: Key
    payload: bytes = NULL
    fallback: Fallback = NO_FALLBACK


class TaskSpec(msgspec.Struct, omit_defaults=True):
    """What the owner asked for: sealed and kept beside the task, opened when it is run, shown or edited. Either
    `request` or `handler` is set.
    """

    request: HttpRequest | None
    config: TaskConfig
    special: bool = False
    """Whether any option of `domain.options` is set, so that the engine need not look."""
    handler: HandlerCall | None = None
    metadata: dict[str, str] | None = None
    """Of a task that runs a handler, which gets to know it. Requests are sent without."""
    schedule: str | None = None
    """The id of the schedule that made it."""
    fire_at: int = 0
    """The fire time for which it did, ms since the epoch."""

    def retries_max(self, registered: int | None) -> int:
        """How often to try again. `registered`: what the handler is registered with."""
        if self.handler is None or self.config.says_retries:
            return self.config.retries_max
        if registered is not None:
            return registered
        fallback = self.handler.fallback.retry
        return NOW.retry if fallback is UNSET else fallback

    def timeout_ms(self, registered: int | None) -> int:
        """How long an attempt may take, but for the first one where `timeout_at` says so."""
        if self.handler is None or self.config.timeout is not UNSET:
            return self.config.timeout_ms
        if registered is not None:
            return registered
        fallback = self.handler.fallback.timeout
        return NOW.timeout if fallback is UNSET else fallback


_request_options: Final = attrgetter(*option_fields(RequestOptions))
_connection_options: Final = attrgetter(*option_fields(ConnectionOptions))
_NO_REQUEST_OPTIONS: Final = _request_options(HttpRequest("http://unknown/", "GET"))
NO_CONFIG: Final = TaskConfig()
"""The configuration of a task that says nothing of it."""
_NO_CONNECTION_OPTIONS: Final = _connection_options(NO_CONFIG)


def is_special(request: HttpRequest, config: TaskConfig) -> bool:
    """Whether any option of `domain.options` is set."""
    return bool(
        (config is not NO_CONFIG and _connection_options(config) != _NO_CONNECTION_OPTIONS)
        or _request_options(request) != _NO_REQUEST_OPTIONS
    )
