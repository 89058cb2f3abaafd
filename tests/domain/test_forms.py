"""The stored form: what was stored is read as what it meant then, whatever the defaults are by now."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks_server.domain import forms
from tasks_server.domain import request as request_module
from tasks_server.domain.defaults import NOW, VERSIONS, Defaults
from tasks_server.domain.firing import Template, decode_template, encode_template
from tasks_server.domain.forms import Form, Newer, decode_spec, encode_spec
from tasks_server.domain.request import Fallback, FormPart, HandlerCall, HttpRequest, TaskConfig, TaskSpec
from tasks_server.domain.retry import RetryPolicy
from tasks_server.engine.runs import UNREGISTERED, Known

from .examples import configs

URL = "http://a.example/"
REGISTERED = Known(10, timeout_ms=60_000, retries_max=7, retry_interval_ms=7_000, backoff="fixed")
ASKING = Known(10, retries_max=7)


# Version 0, byte for byte as it was written

REQUESTS = [
    (
        b"\x82\xa7request\x82\xa3url\xb1http://a.example/\xa6method\xa3GET\xa6config\xde\x00\x00",
        HttpRequest(URL, "GET"),
        TaskConfig(),
    ),
    (
        b"\x82\xa7request\x84\xa3url\xb1http://a.example/\xa6method\xa4POST\xa7headers\x81\xa1A\xa2\xc3\xbc\xa4data\x82"
        b"\xa1n\xcb?\xf8\x00\x00\x00\x00\x00\x00\xa4deep\x93\x01\xc0\x80\xa6config\xde\x00\x02\xa5retry\x03\xa7timeout"
        b"\xcd\x13\x88",
        HttpRequest(URL, "POST", headers={"A": "ü"}, json=b'{"n":1.5,"deep":[1,null,{}]}'),
        TaskConfig(retry=3, timeout=5_000, retry_interval=1, retry_backoff="linear", retry_max_interval=86_400_000),
    ),
    (
        b"\x82\xa7request\x83\xa3url\xb1http://a.example/\xa6method\xa3PUT\xa4data\xa5hello\xa6config\xde\x00\x02\xa5"
        b"retry\x02\xb0retryExponential\xc2",
        HttpRequest(URL, "PUT", data="hello"),
        TaskConfig(retry=2, retry_exponential=False, retry_interval=1, retry_max_interval=86_400_000),
    ),
    (
        b"\x82\xa7request\x83\xa3url\xb1http://a.example/\xa6method\xa4POST\xa4data\x91\x82\xa4name\xa1a\xa5value\xa1b"
        b"\xa6config\xde\x00\x02\xa5retry\x01\xadretryInterval\xce)\xb9'\x00",
        HttpRequest(URL, "POST", data=[FormPart("a", "b")]),
        TaskConfig(retry=1, retry_interval=700_000_000, retry_max_interval=700_000_000),
    ),
]


@pytest.mark.parametrize(("blob", "request_", "config"), REQUESTS)
def test_a_request_of_version_0(blob: bytes, request_: HttpRequest, config: TaskConfig) -> None:
    spec = decode_spec(blob)
    assert spec == TaskSpec(request_, config)
    assert decode_spec(encode_spec(spec)) == spec


PLAIN = (
    b"\x84\xa7request\xc0\xa6config\xde\x00\x00\xa7handler\x82\xa4name\xa4mail\xa7payload\x81\xa2to\x91\xa1a\xa8metadata"
    b"\x81\xa1k\xa1v"
)
OWN = b"\x83\xa7request\xc0\xa6config\xde\x00\x00\xa7handler\x83\xa4name\xa4mail\xaaownRetries\xc3\xaaownTimeout\xc3"
BY_NAME = (
    b"\x83\xa7request\xc0\xa6config\xde\x00\x04\xaeexecutionDelay\x00\xa5retry\x03\xadretryInterval\xcd\x03\xe8\xac"
    b"retryBackoff\xabexponential\xa7handler\x82\xa4name\xa4mail\xa7payload\x01"
)
INTERVAL = (
    b"\x83\xa7request\xc0\xa6config\xde\x00\x02\xadretryIntervalF\xb0retryExponential\xc2\xa7handler\x82\xa4name\xa4mail"
    b"\xa7payload\x01"
)


@pytest.mark.parametrize(
    ("blob", "payload", "known", "expected"),
    [
        (PLAIN, b'{"to":["a"]}', UNREGISTERED, (30_000, 0, 1_000, "exponential")),
        (PLAIN, b'{"to":["a"]}', REGISTERED, (60_000, 7, 7_000, "fixed")),
        (PLAIN, b'{"to":["a"]}', ASKING, (30_000, 7, 1_000, "exponential")),
        (OWN, b"null", UNREGISTERED, (30_000, 0, 1, "linear")),
        (OWN, b"null", REGISTERED, (30_000, 0, 1, "linear")),
        (BY_NAME, b"1", UNREGISTERED, (30_000, 3, 1_000, "exponential")),
        (BY_NAME, b"1", REGISTERED, (60_000, 7, 7_000, "fixed")),
        (BY_NAME, b"1", Known(10, backoff="linear"), (30_000, 3, 1_000, "linear")),
        (INTERVAL, b"1", UNREGISTERED, (30_000, 0, 70, "fixed")),
        (INTERVAL, b"1", REGISTERED, (60_000, 7, 7_000, "fixed")),
        (INTERVAL, b"1", ASKING, (30_000, 7, 70, "fixed")),
    ],
)
def test_a_handler_of_version_0_runs_by_the_rules_it_was_accepted_under(
    blob: bytes, payload: bytes, known: Known, expected: Any
) -> None:
    spec = decode_spec(blob)
    again = decode_spec(encode_spec(spec))
    assert again == spec
    assert spec.handler is not None
    assert (spec.handler.name, spec.handler.payload) == ("mail", payload)
    config = known.applied_to(spec.config, spec.handler)
    policy = config.retry_policy()
    assert (config.timeout_ms, policy.retries_max, policy.interval_ms, policy.backoff) == expected
    assert spec.retries_max(known.retries_max) == policy.retries_max
    assert spec.timeout_ms(known.timeout_ms) == config.timeout_ms


@pytest.mark.parametrize(
    ("blob", "template"),
    [
        (
            b"\x84\xa7request\xc0\xa6config\xde\x00\x01\xa8priority\x04\xa6target\xa5@mail\xa7handler\x83\xa4name\xa4mail"
            b"\xa7payload\x91\x01\xaaownRetries\xc3",
            Template(
                None,
                TaskConfig(priority=4, retry=0, retry_interval=1, retry_exponential=True),
                "@mail",
                handler=HandlerCall("mail", b"[1]", Fallback(retry_interval=1)),
            ),
        ),
        (
            b"\x83\xa7request\x83\xa3url\xb1http://a.example/\xa6method\xa4POST\xa4data\x81\xa1a\x01\xa6config\xde\x00\x00"
            b"\xa6target\xaca.example:80",
            Template(HttpRequest(URL, "POST", json=b'{"a":1}'), TaskConfig(), "a.example:80"),
        ),
    ],
)
def test_a_template_of_version_0(blob: bytes, template: Template) -> None:
    assert decode_template(blob) == template
    assert decode_template(encode_template(template)) == template


# What is written now


def test_what_is_stored_begins_with_its_version() -> None:
    plain = TaskSpec(HttpRequest(URL, "GET"), TaskConfig())
    newest = len(VERSIONS) - 1
    assert encode_spec(plain) == bytes([newest]) + REQUESTS[0][0], "one byte more than without a version"
    assert encode_template(Template(None, TaskConfig(), "@a"))[0] == newest


def test_what_was_accepted_before_retries_waited_does_not_wait() -> None:
    """Version 1, with `retry` alone; one that did not ask for retries waits as today, should an edit ask for them."""
    blob = b"\x01\x82\xa7request\x82\xa3url\xb1http://a.example/\xa6method\xa3GET\xa6config\x81\xa5retry\x03"
    config = decode_spec(blob).config
    assert config.retry_policy() == RetryPolicy(3, 1, "linear")
    config = decode_spec(encode_spec(TaskSpec(HttpRequest(URL, "GET"), config))).config
    assert config.retry_policy() == RetryPolicy(3, 1, "linear")
    assert decode_spec(b"\x01" + REQUESTS[0][0]).config == TaskConfig()


def test_what_no_version_wrote_is_refused() -> None:
    for blob in (b"", b"\x00", b"\x01", b"\xff" * 20, b"\x81", msgspec.msgpack.encode({"request": {}}), b"\x01\x80"):
        with pytest.raises(msgspec.DecodeError):
            decode_spec(blob)
    with pytest.raises(Newer, match="a newer version"):
        decode_spec(bytes([len(VERSIONS)]) + REQUESTS[0][0])


def test_the_defaults_are_those_of_the_table() -> None:
    told = {field.name: field.default for field in msgspec.structs.fields(Defaults)}
    for kind in (HttpRequest, TaskConfig):
        for field in msgspec.structs.fields(kind):
            if field.default not in (msgspec.NODEFAULT, msgspec.UNSET, None):
                assert told.pop(field.name) == field.default == getattr(NOW, field.name)
    rules = {"retry", "retry_interval", "retry_max_interval", "retry_waits", "retry_jitter", "timeout"}
    assert set(told) == rules, "these are asked for where UNSET is resolved"


# The next version: what it would be to change a default


def other(value: Any) -> Any:
    """A value of the same type."""
    match value:
        case bool():
            return not value
        case int() | float():
            return value + 1
        case tuple():
            return ("fixed", 5_000)
    return f"not {value}"


@pytest.fixture(params=Defaults.__struct_fields__)
def following(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Defaults:
    """A version to come, with another default for one of all."""
    name = request.param
    following = msgspec.structs.replace(NOW, **{name: other(getattr(NOW, name))})
    monkeypatch.setattr(forms, "VERSIONS", (*VERSIONS, following))
    monkeypatch.setattr(forms, "NOW", following)
    monkeypatch.setattr(forms, "_NEWEST", len(VERSIONS))
    return following


SAID: list[dict[str, Any]] = [
    {},
    {"retry": 3},
    {"retry": 3, "retry_interval": 70},
    {"retry": 3, "retry_interval": 700_000_000},
    {"retry": 3, "retry_exponential": False},
    {"retry": 3, "retry_backoff": "exponential"},
    {"retry_at": 9, "timeout_at": 5},
    {"retry": 0, "timeout": 30_000, "retry_max_interval": 5, "retry_jitter": 0.0},
]


def test_another_default_leaves_alone_what_was_accepted(following: Defaults, monkeypatch: pytest.MonkeyPatch) -> None:
    for said in SAID:
        before = TaskSpec(HttpRequest(URL, "POST"), TaskConfig(**said))
        policy, rest = before.config.retry_policy(), all_but_retries(before.config)
        blob = encode_spec(before)
        with monkeypatch.context() as patched:
            patched.setattr(request_module, "NOW", following)
            after = Form(TaskSpec).decode(blob)
            assert after.config.retry_policy() == policy or not (policy.retries_max or after.config.retries_max)
            assert all_but_retries(after.config) == rest
            assert after.request == before.request
            assert Form(TaskSpec).decode(Form(TaskSpec).encode(after)) == after


def all_but_retries(config: TaskConfig) -> dict[str, Any]:
    """These may say in other words what the policy is."""
    told = msgspec.structs.asdict(config.effective())
    return {name: value for name, value in told.items() if not name.startswith("retry")}


def test_another_default_leaves_alone_what_handlers_were_accepted(
    following: Defaults, monkeypatch: pytest.MonkeyPatch
) -> None:
    for said in SAID:
        for fallback in (Fallback(), Fallback(3, 500, "exponential")):
            before = TaskSpec(None, TaskConfig(**said), handler=HandlerCall("mail", fallback=fallback))
            knowns = (UNREGISTERED, REGISTERED, ASKING, Known(10, backoff="linear"))
            expected = [outcome(before, known) for known in knowns]
            blob = encode_spec(before)
            with monkeypatch.context() as patched:
                patched.setattr(request_module, "NOW", following)
                after = Form(TaskSpec).decode(blob)
                assert [outcome(after, known) for known in knowns] == expected, (said, fallback)


def outcome(spec: TaskSpec, known: Known) -> tuple[Any, ...]:
    """How the run of a handler is timed out and tried again."""
    assert spec.handler is not None
    config = known.applied_to(spec.config, spec.handler)
    policy = config.retry_policy()
    if not policy.retries_max:  # how one waits who does not try again is no matter
        return config.timeout_ms, 0
    return config.timeout_ms, policy.retries_max, policy.interval_ms, policy.backoff


@given(configs, st.sampled_from([b"{}", b'{"n":1e400}', None]))
def test_what_is_stored_comes_back(config: TaskConfig, json: bytes | None) -> None:
    spec = TaskSpec(HttpRequest(URL, "POST", json=json), config)
    assert decode_spec(encode_spec(spec)) == spec
