"""The stored spec: its bounds and defaults as the contract lists them, and the policies that it stands for."""

from typing import Any

import msgspec
import pytest
from hypothesis import given

from tasks_server.domain import limits, masking
from tasks_server.domain.forms import decode_spec, encode_spec
from tasks_server.domain.request import Fallback, HandlerCall, HttpRequest, TaskConfig, TaskSpec
from tasks_server.domain.retry import RepeatPolicy, RetryPolicy
from tasks_server.domain.task import urgency

from .examples import configs

DEFAULTS = {
    "executionDelay": 1, "executeAt": None, "executeImmediately": False, "retry": 0, "retryInterval": 1_000,
    "retryExponential": True, "retryBackoff": "exponential", "retryMaxInterval": 86_400_000, "retryJitter": 0.2,
    "retryAt": None, "repeat": 0, "repeatInterval": 1_000, "repeatExponential": True, "repeatAt": None,
    "ignoreStatusCode": [], "timeout": 30_000, "timeoutAt": None, "expireAt": None, "priority": 0,
    "lane": "default", "httpVersion": "1.1", "userAgent": None, "location": True, "redirectAttempts": 8,
    "redirectMethod": "change",
    "timezone": None, "traceResponseData": True, "failureCallback": None, "successCallback": None,
    "locationTrusted": None, "refererUrl": None, "keepAliveDuration": None,
    "ipVersion": None, "proto": None, "protoRedirect": None, "resolve": None, "tlsVersion": None,
    "dnsServer": None, "dohUrl": None, "dohInsecure": False,
    "tlsMaxVersion": None, "insecure": False, "certStatus": False, "ca": None, "cert": None, "certType": "PEM",
    "key": None, "keyType": "PEM", "sessionId": True, "hsts": None, "proxy": None, "proxyHttpVersion": None,
    "proxyAuthBasic": None, "proxyAuthDigest": None, "proxyAuthNtlm": None, "proxyHeaders": None,
    "proxyInsecure": False, "haProxyProtocol": False, "haProxyClientIp": None,
    "credentials": None, "mode": None, "referrerPolicy": None,
}  # fmt: skip


def config(**fields: Any) -> TaskConfig:
    return msgspec.convert(fields, TaskConfig)


def test_the_defaults_of_the_contract() -> None:
    fields = msgspec.structs.fields(TaskConfig)
    assert {field.encode_name: getattr(TaskConfig().effective(), field.name) for field in fields} == DEFAULTS
    assert masking.shown_config(TaskSpec(None, TaskConfig())) == DEFAULTS


@pytest.mark.parametrize(
    ("field", "lowest", "highest"),
    [
        ("executionDelay", 0, 3_650 * 86_400_000),
        ("retry", 0, 2**31),
        ("retryInterval", 1, None),
        ("repeat", 0, 2**31),
        ("repeatInterval", 1, None),
        ("timeout", 100, 86_400_000),
        ("priority", 0, 9),
        ("redirectAttempts", 0, 32),
        ("retryJitter", 0, 1),
    ],
)
def test_the_bounds_of_the_contract(field: str, lowest: int, highest: int | None) -> None:
    config(**{field: lowest})
    with pytest.raises(msgspec.ValidationError):
        config(**{field: lowest - 1})
    if highest is not None:
        config(**{field: highest})
        with pytest.raises(msgspec.ValidationError):
            config(**{field: highest + 1})


def test_unknown_fields_are_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="retries"):
        config(retries=3)
    with pytest.raises(msgspec.ValidationError, match="body"):
        msgspec.convert({"url": "http://a.example/", "method": "GET", "body": ""}, HttpRequest)


@given(configs)
def test_a_spec_comes_back_as_it_was_stored(stored: TaskConfig) -> None:
    spec = TaskSpec(HttpRequest("http://a.example/", "POST", headers={"X-A": "ü"}, json=b'{"deep": [1e400]}'), stored)
    assert decode_spec(encode_spec(spec)) == spec
    spec = TaskSpec(None, stored, handler=HandlerCall("mail", b"1.0", Fallback(3)), metadata={"a": "b"})
    assert decode_spec(encode_spec(spec)) == spec


def test_the_retry_policy_of_a_configuration() -> None:
    assert TaskConfig(retry=3).retry_policy() == RetryPolicy(3, 1_000, "exponential", limits.DAY_MS, 0.2)
    assert TaskConfig(retry=3, retry_interval=50).retry_policy() == RetryPolicy(3, 50, "linear")
    assert TaskConfig(retry=3, retry_exponential=False).retry_policy() == RetryPolicy(3, 1_000, "fixed")
    assert TaskConfig(retry=3, retry_exponential=True).retry_policy() == RetryPolicy(3, 1_000, "linear")
    doubled = TaskConfig(retry=3, retry_max_interval=60_000, retry_jitter=0).retry_policy()
    assert doubled == RetryPolicy(3, 1_000, "exponential", 60_000)
    exponential = TaskConfig(retry=3, retry_backoff="exponential").retry_policy()
    assert (exponential.backoff, exponential.jitter) == ("exponential", 0.2)
    named = TaskConfig(retry_backoff="linear", retry_exponential=False, retry_jitter=0.5, ignore_status_code=[404])
    assert named.retry_policy() == RetryPolicy(0, 1_000, "linear", jitter=0.5, ignored_statuses=(404,))
    assert TaskConfig(retry_backoff="exponential", retry_jitter=0).retry_policy().jitter == 0
    assert TaskConfig(retry=9, retry_at=5).retry_policy().at == 5
    assert TaskConfig(retry=9, retry_at=5).retry_policy().retries_max == 1


def test_what_is_said_is_apart_from_what_is_not() -> None:
    """A cap that is given holds, also where it is the default; one that is not makes way for a longer interval."""
    week = 7 * limits.DAY_MS
    assert TaskConfig(retry_interval=week).retry_policy().interval_max_ms == week
    assert TaskConfig(retry_interval=week, retry_max_interval=limits.DAY_MS).retry_policy().interval_max_ms == (
        limits.DAY_MS
    )
    assert not TaskConfig().says_waits
    assert TaskConfig(retry_interval=1).says_waits
    assert TaskConfig(retry_exponential=True).says_waits


def test_the_repeat_policy_of_a_configuration() -> None:
    assert TaskConfig(repeat=3, repeat_interval=50).repeat_policy() == RepeatPolicy(3, 50, "linear")
    assert TaskConfig(repeat=3, repeat_exponential=False).repeat_policy().backoff == "fixed"
    assert TaskConfig(repeat_at=5).repeat_policy() == RepeatPolicy(1, at=5)


def test_the_most_urgent_sorts_first() -> None:
    order = [urgency(0, forced=True), *(urgency(priority) for priority in range(limits.PRIORITY_MAX, -1, -1))]
    assert order == sorted(set(order))
