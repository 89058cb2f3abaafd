"""What a task may be asked for with: the fields of the API as typed dictionaries, and the short ones beside them.

The keys of `HttpRequest` and `Config` are those of the API, which says what each of them does and allows. `None` takes
an option back where a task or a schedule is edited.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, TypeAlias, TypedDict

Duration: TypeAlias = timedelta | str | Literal[0]
"""A timedelta, or text with units such as `90s`. Bare numbers are refused: seconds are meant by some, milliseconds by
others.
"""
Instant: TypeAlias = int | datetime | str
"""Milliseconds since the epoch, a datetime that knows its time zone, or text in one of the API's forms."""


class Credentials(TypedDict):
    """Who somebody is, and how to prove it."""

    username: str
    password: str


class _CertificateValue(TypedDict):
    value: str


class Certificate(_CertificateValue, total=False):
    """A path below the operator's folder of certificates, or base64; and the password of what is encrypted."""

    password: str


class Resolve(TypedDict):
    """Addresses of a host and port, in place of those that DNS knows."""

    host: str
    port: int
    address: Sequence[str]


class _ProxyHost(TypedDict):
    protocol: Literal["http", "https", "socks4", "socks4a", "socks5", "socks5h"]
    host: str


class Proxy(_ProxyHost, total=False):
    """A proxy; without a port, the usual one of its protocol."""

    port: int


class AwsSigv4(TypedDict):
    """What a signature by AWS's version 4 is made with."""

    provider1: str
    provider2: str
    region: str
    service: str
    key: str
    secret: str


class CallbackHandler(TypedDict):
    """A handler by its name."""

    name: str


class CallbackFields(TypedDict, total=False):
    """What to call when a task has ended: a `url` or a `handler`. `lane`: the one in which the callback waits."""

    url: str
    method: Literal["POST", "PUT", "PATCH"]
    headers: Mapping[str, str]
    handler: CallbackHandler
    retry: int
    lane: str


Callback: TypeAlias = CallbackFields | str | bool
"""A callback, or just its URL; False: none, whatever lane and owner say."""


class HttpRequest(TypedDict, total=False):
    """The call to make, as `httpRequest` of the API."""

    url: str
    method: str
    query: Mapping[str, str] | None
    headers: Mapping[str, str] | None
    data: Any
    dataBase64: str | None
    transport: Literal["fetch", "curl"] | None
    cookie: str | Sequence[Mapping[str, str]] | None
    authBasic: Credentials | None
    authDigest: Credentials | None
    authNtlm: Credentials | None
    authAwsSigv4: AwsSigv4 | None


class Config(TypedDict, total=False):
    """When to call, how often to try and how, as `config` of the API. `keepAliveDuration` counts seconds."""

    executionDelay: Duration | None
    executeAt: Instant | None
    executeImmediately: bool | None
    timezone: str | None
    retry: int | None
    retryInterval: Duration | None
    retryExponential: bool | None
    retryBackoff: Literal["fixed", "linear", "exponential"] | None
    retryMaxInterval: Duration | None
    retryJitter: float | None
    retryAt: Instant | None
    repeat: int | None
    repeatInterval: Duration | None
    repeatExponential: bool | None
    repeatAt: Instant | None
    ignoreStatusCode: Sequence[int] | None
    timeout: Duration | None
    timeoutAt: Instant | None
    expireAt: Instant | None
    priority: int | None
    lane: str | None
    userAgent: str | None
    location: bool | None
    redirectAttempts: int | None
    redirectMethod: Literal["change", "keep", "refuse"] | None
    traceResponseData: bool | None
    failureCallback: Callback | None
    successCallback: Callback | None
    httpVersion: Literal["0.9", "1.0", "1.1", "2", "2-prior-knowledge", "3"] | None
    locationTrusted: Credentials | None
    refererUrl: str | None
    referrerPolicy: str | None
    credentials: Literal["include", "omit", "same-origin"] | None
    mode: Literal["cors", "no-cors", "same-origin"] | None
    keepAliveDuration: int | timedelta | None
    ipVersion: Literal[4, 6] | None
    proto: Literal["http", "https"] | None
    protoRedirect: Literal["http", "https"] | None
    resolve: Sequence[Resolve] | None
    dnsServer: Sequence[str] | None
    dohUrl: str | None
    dohInsecure: bool | None
    tlsVersion: Literal["1.0", "1.1", "1.2", "1.3"] | None
    tlsMaxVersion: Literal["1.0", "1.1", "1.2", "1.3"] | None
    insecure: bool | None
    certStatus: bool | None
    ca: str | None
    cert: Certificate | None
    certType: Literal["DER", "PEM", "P12"] | None
    key: str | None
    keyType: Literal["DER", "PEM"] | None
    sessionId: bool | None
    hsts: str | bool | None
    proxy: Proxy | None
    proxyHttpVersion: Literal["1.0", "1.1", "2"] | None
    proxyAuthBasic: Credentials | None
    proxyAuthDigest: Credentials | None
    proxyAuthNtlm: Credentials | None
    proxyHeaders: Mapping[str, str] | None
    proxyInsecure: bool | None
    haProxyProtocol: bool | None
    haProxyClientIp: str | None


class TaskFields(TypedDict, total=False):
    """A task, or a change of one. Either a request (`url` and what belongs to it, or `http_request` as a whole) or a
    `handler` with its `payload`. What else there is stands in `config`; the short forms win nothing over it: an option
    is given in one of the two.
    """

    url: str
    method: str
    """POST unless it is given."""
    query: Mapping[str, str] | None
    headers: Mapping[str, str] | None
    data: Any
    """Text, bytes (sent as they are), parts of a form, or anything that is an object in JSON: dicts, dataclasses,
    msgspec structs, pydantic models.
    """
    http_request: HttpRequest
    handler: str
    payload: Any
    config: Config | None
    metadata: Mapping[str, str | None] | None
    delay: Duration
    """How long after its registration the task is due (`executionDelay`)."""
    at: Instant
    """When the task is due (`executeAt`)."""
    timezone: str
    """The IANA name of the zone in which dates count that name none; with it, datetimes need not know theirs."""
    retry: int
    timeout: Duration
    priority: int
    lane: str
    failure_callback: Callback
    """What is called when it has ended as ERROR for good (`failureCallback`)."""
    success_callback: Callback
    """What is called when it has ended as SUCCESS (`successCallback`)."""


class EnqueueFields(TypedDict, total=False):
    """What `enqueue` of a handler takes beside its payload, as `TaskFields`."""

    delay: Duration
    at: Instant
    retry: int
    timeout: Duration
    priority: int
    lane: str
    failure_callback: Callback
    success_callback: Callback
    metadata: Mapping[str, str | None] | None
    config: Config | None


class ScheduleFields(TypedDict, total=False):
    """A schedule, or a change of one: a rule by `cron` or by `every`, and the `task` that each fire time makes."""

    cron: str | None
    every: Duration | None
    timezone: str | None
    start_at: Instant | None
    end_at: Instant | None
    max_runs: int | None
    jitter: Duration | None
    missed: Literal["skip", "once", "all"] | None
    missed_window: Duration | None
    overlap: Literal["skip", "allow", "buffer", "cancel"] | None
    task: TaskFields


class HandlerOptions(TypedDict, total=False):
    """How `/tasks` runs a handler; what is not given is as the handler is registered."""

    priority: int
    max_retries: int
    timeout_ms: int
    lane: str
    metadata: Mapping[str, str]
    failure_callback: Callback
    success_callback: Callback


class LaneFields(TypedDict, total=False):
    """The settings of a lane; None: no such limit."""

    max_concurrent: int | None
    rate_per_second: float | None
    burst: int | None
    paused: bool | None
    failure_callback: Callback | None
    success_callback: Callback | None


class OwnerCallbackFields(TypedDict, total=False):
    """What is called when an owner's tasks end, where neither the task nor its lane says so; None: nothing."""

    failure_callback: Callback | None
    success_callback: Callback | None


class BulkFilter(TypedDict, total=False):
    """Which tasks bulk work is for: every condition must hold. `all`: every task of the owner."""

    all: Literal[True]
    states: Sequence[str]
    lane: str
    host: str
    handler: str
    schedule: str
    status_code: int | str
    error_contains: str
    metadata: Mapping[str, str]
    created_since: Instant
    created_until: Instant
    ended_since: Instant
    ended_until: Instant
    ids: Sequence[str]
