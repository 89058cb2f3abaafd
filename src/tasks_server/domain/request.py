"""What is to be called and how: the request and the configuration of a task, as they are stored.

Shapes and simple bounds live in the types, so that one decoder checks them, the OpenAPI document is generated
from them and the slow path that collects every fault reads the same truth. Rules that look at more than one
field are in `domain.validation`.
"""

from operator import attrgetter
from typing import Annotated, Any, Final, Literal, get_args

import msgspec
from msgspec import Meta

from tasks_server.domain import limits
from tasks_server.domain.options import ConnectionOptions, RequestOptions, option_fields
from tasks_server.domain.retry import Backoff, RepeatPolicy, RetryPolicy

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]
METHODS: frozenset[str] = frozenset(get_args(Method))
BODILESS_METHODS: frozenset[str] = frozenset({"GET", "HEAD", "DELETE"})
"""Data is not sent with these (RFC 9110 section 9.3: content of such a request has no defined meaning)."""

Key = Annotated[str, Meta(min_length=1, max_length=limits.NAME_LENGTH_MAX, pattern=r"^[a-zA-Z0-9$_.\-\[\]]+$")]
Value = Annotated[str, Meta(max_length=limits.VALUE_LENGTH_MAX)]
Millis = Annotated[int, Meta(ge=0, le=limits.TEN_YEARS_MS)]


class FormPart(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One field of a multipart form. The value is literal: a leading `@` names no file."""

    name: Annotated[str, Meta(min_length=1, max_length=limits.NAME_LENGTH_MAX)]
    value: Annotated[str, Meta(min_length=1)]


class HttpRequest(RequestOptions, rename="camel", forbid_unknown_fields=True, omit_defaults=True):
    """The call to make. At most one of `data` and `data_base64` is set."""

    url: Annotated[str, Meta(min_length=1, max_length=limits.URL_LENGTH_MAX)]
    method: Method
    query: Annotated[dict[Key, Value], Meta(max_length=limits.QUERY_MAX)] | None = None
    headers: Annotated[dict[Key, Value], Meta(max_length=limits.HEADERS_MAX)] | None = None
    data: (
        str | Annotated[list[FormPart], Meta(min_length=1, max_length=limits.FORM_PARTS_MAX)] | dict[str, Any] | None
    ) = None
    data_base64: str | None = None
    transport: Literal["fetch", "curl"] | None = "fetch"


class TaskConfig(ConnectionOptions, rename="camel", forbid_unknown_fields=True, omit_defaults=True):
    """When to call, how often to try, and how the call behaves. Instants and durations are milliseconds."""

    execution_delay: Millis = limits.EXECUTION_DELAY_DEFAULT_MS
    execute_at: int | None = None
    execute_immediately: bool = False
    retry: Annotated[int, Meta(ge=0, le=limits.RETRY_MAX)] = 0
    retry_interval: Annotated[int, Meta(ge=1, le=limits.TEN_YEARS_MS)] = limits.RETRY_INTERVAL_DEFAULT_MS
    retry_exponential: bool = True
    retry_backoff: Backoff | None = None
    retry_max_interval: Annotated[int, Meta(ge=1, le=limits.TEN_YEARS_MS)] = limits.RETRY_INTERVAL_CAP_MS
    retry_jitter: Annotated[float, Meta(ge=0, le=1)] | None = None
    retry_at: int | None = None
    repeat: Annotated[int, Meta(ge=0, le=limits.REPEAT_MAX)] = 0
    repeat_interval: Annotated[int, Meta(ge=1, le=limits.TEN_YEARS_MS)] = limits.REPEAT_INTERVAL_DEFAULT_MS
    repeat_exponential: bool = True
    repeat_at: int | None = None
    ignore_status_code: Annotated[
        list[Annotated[int, Meta(ge=400, le=599)]], Meta(max_length=limits.IGNORED_STATUS_CODES_MAX)
    ] = msgspec.field(default_factory=list)
    timeout: Annotated[int, Meta(ge=limits.TIMEOUT_MIN_MS, le=limits.TIMEOUT_MAX_MS)] = limits.TIMEOUT_DEFAULT_MS
    timeout_at: int | None = None
    expire_at: int | None = None
    priority: Annotated[int, Meta(ge=0, le=limits.PRIORITY_MAX)] = 0
    lane: Annotated[str, Meta(min_length=1, max_length=limits.NAME_LENGTH_MAX, pattern=r"^[a-zA-Z0-9$_.\-\[\]]+$")] = (
        "default"
    )
    user_agent: (
        Annotated[str, Meta(min_length=limits.USER_AGENT_LENGTH_MIN, max_length=limits.USER_AGENT_LENGTH_MAX)] | None
    ) = None
    location: bool = True
    redirect_attempts: Annotated[int, Meta(ge=0, le=limits.REDIRECTS_MAX)] = limits.REDIRECTS_DEFAULT
    trace_response_data: bool = True

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


class TaskSpec(msgspec.Struct, omit_defaults=True):
    """What the owner asked for: sealed and kept beside the task, opened when it is run, shown or edited."""

    request: HttpRequest
    config: TaskConfig
    special: bool = False
    """Whether any option of `domain.options` is set, so that the engine need not look."""


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
