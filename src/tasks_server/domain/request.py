"""What is to be called and how: the request and the configuration of a task, as they are stored.

Shapes and simple bounds live in the types, so that one decoder checks them, the OpenAPI document is generated
from them and the slow path that collects every fault reads the same truth. Rules that look at more than one
field are in `domain.validation`.
"""

from operator import attrgetter
from typing import Annotated, Any, Final, Literal, get_args

import msgspec
from msgspec import Meta

from tasks_server.domain import durations, limits
from tasks_server.domain.options import ENGINE, ConnectionOptions, RequestOptions, option_fields, told
from tasks_server.domain.retry import Backoff, RepeatPolicy, RetryPolicy

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]
METHODS: frozenset[str] = frozenset(get_args(Method))
BODILESS_METHODS: frozenset[str] = frozenset({"GET", "HEAD", "DELETE"})
"""Data is not sent with these (RFC 9110 section 9.3: content of such a request has no defined meaning)."""

RedirectMethod = Literal["change", "keep", "refuse"]

Key = Annotated[str, Meta(min_length=1, max_length=limits.NAME_LENGTH_MAX, pattern=limits.KEY_PATTERN)]
Value = Annotated[str, Meta(max_length=limits.TOKEN_LENGTH_MAX)]
Millis = Annotated[int, durations.bounds(0, limits.TEN_YEARS_MS)]


class FormPart(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One field of a multipart form. The value is literal: a leading `@` names no file."""

    name: Annotated[str, Meta(min_length=1, max_length=limits.NAME_LENGTH_MAX)]
    value: str


class HttpRequest(RequestOptions, rename="camel", forbid_unknown_fields=True, omit_defaults=True):
    """The call to make. At most one of `data` and `data_base64` is set."""

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
    data: Annotated[
        str | Annotated[list[FormPart], Meta(min_length=1, max_length=limits.FORM_PARTS_MAX)] | dict[str, Any] | None,
        told(
            "What is sent: text as `text/plain`, an array of `name` and `value` as a multipart form, any object as "
            "JSON, unless a Content-Type header says otherwise. A leading `@` names no file. With GET, HEAD and DELETE "
            "it is accepted and kept, but never sent.",
            "POSTFIELDS",
        ),
    ] = None
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
    ] = "fetch"


class TaskConfig(ConnectionOptions, rename="camel", forbid_unknown_fields=True, omit_defaults=True):
    """When to call, how often to try, and how the call behaves. Instants and durations are milliseconds."""

    execution_delay: Annotated[
        Millis, told("How long after its arrival the task is due. It never runs before.", ENGINE)
    ] = limits.EXECUTION_DELAY_DEFAULT_MS
    execute_at: Annotated[int | None, told("When the task is due, in place of `executionDelay`.", ENGINE)] = None
    execute_immediately: Annotated[
        bool, told("Takes an `executeAt` that is past, and runs the task at once.", ENGINE)
    ] = False
    retry: Annotated[
        Annotated[int, Meta(ge=0, le=limits.RETRY_MAX)],
        told("How often to try again after the first attempt failed.", ENGINE),
    ] = 0
    retry_interval: Annotated[
        Annotated[int, durations.bounds(1, limits.TEN_YEARS_MS)],
        told("The wait before the first retry, which those before the others are made of.", ENGINE),
    ] = limits.RETRY_INTERVAL_DEFAULT_MS
    retry_exponential: Annotated[
        bool,
        told("Waits `retryInterval` times the number of the retry; else always `retryInterval`.", ENGINE),
    ] = True
    retry_backoff: Annotated[
        Backoff | None,
        told(
            "How the waits grow, in place of `retryExponential`: not, by `retryInterval` each time, or to the double.",
            ENGINE,
        ),
    ] = None
    retry_max_interval: Annotated[
        Annotated[int, durations.bounds(1, limits.TEN_YEARS_MS)],
        told("The longest wait before a retry; unless it is given, a longer `retryInterval` counts.", ENGINE),
    ] = limits.RETRY_INTERVAL_CAP_MS
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
    ] = 0
    repeat_interval: Annotated[
        Annotated[int, durations.bounds(1, limits.TEN_YEARS_MS)], told("The wait before the first repeat.", ENGINE)
    ] = limits.REPEAT_INTERVAL_DEFAULT_MS
    repeat_exponential: Annotated[
        bool,
        told("Waits `repeatInterval` times the number of the repeat; else always `repeatInterval`.", ENGINE),
    ] = True
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
        Annotated[int, durations.bounds(limits.TIMEOUT_MIN_MS, limits.TIMEOUT_MAX_MS)],
        told("How long an attempt may take, all of it.", "TIMEOUT_MS"),
    ] = limits.TIMEOUT_DEFAULT_MS
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
    ] = 0
    lane: Annotated[
        Key, told("The line in which the task waits: when slots are scarce, an owner's lanes share them.", ENGINE)
    ] = "default"
    user_agent: Annotated[
        Annotated[str, Meta(min_length=limits.USER_AGENT_LENGTH_MIN, max_length=limits.USER_AGENT_LENGTH_MAX)] | None,
        told("The `User-Agent`, whatever a header says. By default `Tasks-Server/` and its version.", "HTTPHEADER"),
    ] = None
    location: Annotated[bool, told("Follows redirects; else they are the answer.", "FOLLOWLOCATION")] = True
    redirect_attempts: Annotated[
        Annotated[int, Meta(ge=0, le=limits.REDIRECTS_MAX)],
        told("How many redirects are followed; one more is a failure. 0: none, and they are the answer.", "MAXREDIRS"),
    ] = limits.REDIRECTS_DEFAULT
    redirect_method: Annotated[
        RedirectMethod,
        told(
            "What becomes of the method where a redirect would change it: of POST at 301 and 302, of all but GET and "
            "HEAD at 303. `change`: it is GET then, and the data are left out, as in browsers and curl. `keep`: at 301 "
            "and 302 it stays POST, with its data, as at 307 and 308. `refuse`: the attempt fails, and nothing else is "
            "called in place of what was asked for.",
            ENGINE,
        ),
    ] = "change"
    trace_response_data: Annotated[bool, told("Keeps the body of the answer.", "WRITEFUNCTION")] = True

    def retry_policy(self) -> RetryPolicy:
        """The rule by which failures of this task are tried again."""
        backoff = self.retry_backoff or ("linear" if self.retry_exponential else "fixed")
        jitter = self.retry_jitter
        if jitter is None:
            jitter = limits.RETRY_JITTER_EXPONENTIAL if backoff == "exponential" else 0.0
        return RetryPolicy(
            retries_max=1 if self.retry_at is not None else self.retry,
            interval_ms=self.retry_interval,
            backoff=backoff,
            interval_max_ms=self._retry_cap_ms(),
            jitter=jitter,
            at=self.retry_at,
            ignored_statuses=tuple(self.ignore_status_code),
        )

    def _retry_cap_ms(self) -> int:
        """The cap, which by default makes way for a longer interval."""
        if self.retry_max_interval == limits.RETRY_INTERVAL_CAP_MS:
            return max(self.retry_max_interval, self.retry_interval)
        return self.retry_max_interval

    def repeat_policy(self) -> RepeatPolicy:
        """The rule by which successes of this task are run again."""
        return RepeatPolicy(
            repeats_max=1 if self.repeat_at is not None else self.repeat,
            interval_ms=self.repeat_interval,
            backoff="linear" if self.repeat_exponential else "fixed",
            at=self.repeat_at,
        )


class HandlerCall(msgspec.Struct, rename="camel", forbid_unknown_fields=True, omit_defaults=True):
    """A handler to run by its name, with any JSON value. `ownRetries`, `ownTimeout`: the configuration says how often
    to try again and how long an attempt may take; else what the handler is registered with counts.
    """

    name: Key
    payload: Any = None
    own_retries: bool = False
    own_timeout: bool = False


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


_request_options: Final = attrgetter(*option_fields(RequestOptions))
_connection_options: Final = attrgetter(*option_fields(ConnectionOptions))
_NO_REQUEST_OPTIONS: Final = _request_options(HttpRequest("http://unknown/", "GET"))
_DEFAULT_CONFIG: Final = TaskConfig()
_NO_CONNECTION_OPTIONS: Final = _connection_options(_DEFAULT_CONFIG)


def is_special(request: HttpRequest, config: TaskConfig) -> bool:
    """Whether any option of `domain.options` is set."""
    return bool(
        _connection_options(config) != _NO_CONNECTION_OPTIONS or _request_options(request) != _NO_REQUEST_OPTIONS
    )


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(TaskSpec)


def encode_spec(spec: TaskSpec) -> bytes:
    """The stored form of a spec; only what differs from the defaults takes room."""
    return _ENCODER.encode(spec)


def decode_spec(blob: bytes) -> TaskSpec:
    """The spec of a stored form. Raises `msgspec.DecodeError` for bytes that no version of ours wrote."""
    return _DECODER.decode(blob)
