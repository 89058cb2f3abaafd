"""The fast and the thorough reading never disagree: what one takes, the other takes, and as the same task."""

import json
from datetime import UTC
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks_server.domain import asked, json_text, reading, validation
from tasks_server.domain.asked import AskedRequest
from tasks_server.domain.errors import InvalidRequest
from tasks_server.domain.limits import TOKEN_LENGTH_MAX
from tasks_server.domain.request import TaskConfig
from tasks_server.domain.validation import Draft, Registration

NOW = 1_700_000_000_000
DECODER = msgspec.json.Decoder(Registration)

names = st.sampled_from(["a", "A", "Accept", "Host", "Connection", "X-Tasks-Id", "a b", "a\n", "", "n" * 65, "é"])
texts = st.sampled_from(["", "x", "x\n", "\0", "☺", "y" * TOKEN_LENGTH_MAX, "y" * (TOKEN_LENGTH_MAX + 1)]) | st.text(
    max_size=5
)
numbers = st.sampled_from([0, 1, -1, 9, 10, 99, 100, 400, 599, 600, 2**31, 2**31 + 1, 10**15, 10**30, 0.5, 1.0, True])
dates = st.sampled_from(
    [NOW - 1, NOW, NOW + 1, NOW + 2, NOW + 1_000, NOW + 1_001, NOW + 10**9, 10**16, -5, "2030-01-01"]
)
odd = (
    st.none()
    | st.booleans()
    | numbers
    | texts
    | st.lists(numbers, max_size=2)
    | st.dictionaries(names, texts, max_size=2)
)

credentials = odd | st.fixed_dictionaries({"username": names, "password": texts})

request_fields = {
    "url": st.sampled_from(
        ["http://a", "https://B.test:1/x", "ftp://a", "http://a b", "http://u:p@a", "http://é.test"]
    ),
    "method": st.sampled_from(["GET", "post", "PUT", "NONE"]),
    "query": st.dictionaries(names, texts, max_size=2) | st.none(),
    "headers": st.dictionaries(names, texts, max_size=3) | st.none(),
    "data": texts
    | st.lists(st.fixed_dictionaries({"name": names, "value": texts}), max_size=2)
    | st.dictionaries(names, odd, max_size=2),
    "dataBase64": st.sampled_from(["", "eA==", "eA", "é"]),
    "transport": st.sampled_from(["fetch", "curl", None, "wget"]),
    "cookie": texts | st.lists(st.fixed_dictionaries({"name": names, "value": texts}), max_size=2),
    "authBasic": credentials,
    "authDigest": credentials,
    "authNtlm": credentials,
    "authAwsSigv4": odd,
}
config_fields = {
    field.encode_name: dates if field.encode_name in reading.DATES else odd
    for field in msgspec.structs.fields(TaskConfig)
} | {
    "refererUrl": st.sampled_from(["AUTO", "http://a", "x", "http://u:p@a"]),
    "locationTrusted": credentials,
    "credentials": st.sampled_from(["omit", "same-origin", "include", "none"]),
    "mode": st.sampled_from(["cors", "no-cors", "same-origin", "navigate"]),
    "referrerPolicy": st.sampled_from(["", "origin", "unsafe-url", "Origin"]),
    "proxyAuthBasic": credentials,
    "proxyAuthNtlm": credentials,
    "proxy": st.fixed_dictionaries(
        {"protocol": st.sampled_from(["http", "https", "socks4", "ftp"]), "host": st.sampled_from(["a", "::1", "a b"])},
        optional={"port": numbers},
    ),
    "resolve": st.lists(
        st.fixed_dictionaries({"host": names, "port": numbers, "address": st.lists(st.sampled_from(["::1", "1.2.3"]))}),
        max_size=2,
    ),
    "cert": st.fixed_dictionaries({"value": texts}),
    "certType": st.sampled_from(["PEM", "P12", "X"]),
    "tlsVersion": st.sampled_from(["1.0", "1.3", "2"]),
    "tlsMaxVersion": st.sampled_from(["1.0", "1.3", "2"]),
    "ipVersion": st.sampled_from([4, 6, 4.0, 5]),
    "haProxyClientIp": st.sampled_from(["::1", "x"]),
    "haProxyProtocol": st.booleans(),
    "httpVersion": st.sampled_from(["1.1", "2", "9"]),
    "lane": names,
    "userAgent": st.sampled_from(["short", "long enough", "long\nenough"]),
    "executeImmediately": st.booleans(),
    "retry": st.integers(0, 3),
    "ignoreStatusCode": st.lists(st.sampled_from([400, 404, 599, 600, 399, 500.0]), max_size=3),
}
assert set(request_fields) == {field.encode_name for field in msgspec.structs.fields(AskedRequest)}


def some_of(fields: dict[str, st.SearchStrategy[Any]], required: tuple[str, ...] = ()) -> st.SearchStrategy[Any]:
    optional = {name: field for name, field in fields.items() if name not in required}
    return st.fixed_dictionaries({name: fields[name] for name in required}, optional=optional)


def few_of(fields: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[Any]:
    """Three fields at most: with all of them at once nothing would ever be accepted."""
    chosen = st.lists(st.sampled_from(sorted(fields)), max_size=3, unique=True)
    return chosen.flatmap(lambda names: st.fixed_dictionaries({name: fields[name] for name in names}))


requests = few_of({name: field for name, field in request_fields.items() if name not in ("url", "method")}).flatmap(
    lambda rest: (
        some_of(request_fields | {k: st.just(v) for k, v in rest.items()}, ("url", "method", *rest))
        if rest
        else st.just({"url": "http://a", "method": "GET"})
    )
)
good_request = st.just({"url": "http://a/", "method": "POST"})
bodies = st.fixed_dictionaries(
    {"httpRequest": good_request | requests | odd},
    optional={
        "config": few_of(config_fields) | few_of(config_fields | {"ca": odd, "nonsense": odd}) | odd,
        "metadata": st.dictionaries(names, texts, max_size=2) | st.none(),
    },
)


def fast(body: bytes) -> Draft | None:
    try:
        return validation.judge(DECODER.decode(body), NOW)
    except (msgspec.ValidationError, InvalidRequest):
        return None


def thorough(body: bytes) -> Draft | None:
    try:
        return validation.read(json_text.opened(body, asked.KEPT), NOW, UTC)
    except InvalidRequest as error:
        refusal = error
    if not refusal.faults:
        raise AssertionError("refused without a reason")
    msgspec.json.encode(refusal.faults)
    return None


@settings(max_examples=500, deadline=None)
@given(bodies)
def test_what_the_fast_reading_takes_the_thorough_one_takes_as_the_same(body: dict[str, Any]) -> None:
    encoded = json.dumps(body).encode()
    quick, slow = fast(encoded), thorough(encoded)
    if quick is not None:
        assert quick == slow


@settings(max_examples=500, deadline=None)
@given(bodies)
def test_what_the_thorough_reading_takes_is_canonical_afterwards(body: dict[str, Any]) -> None:
    """Once its dates, durations and names are in the stored form, the fast reading takes it, too."""
    draft = thorough(json.dumps(body).encode())
    if draft is not None:
        canonical = validation.as_asked(draft.request, None, draft.config) | {"metadata": draft.metadata}
        assert fast(msgspec.json.encode(canonical)) == draft
