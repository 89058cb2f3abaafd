"""JSON that is looked into, masked and merged as text means what it would mean taken apart, and keeps its spelling."""

import json
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks_server.domain import json_text
from tasks_server.domain.json_text import AS_IT_CAME, as_it_came, deeper_than, merged, opened, replaced, scalars

from . import json_texts


def parsed(text: bytes) -> Any:
    """The value with numbers as they are written; of a name that stands twice the last counts."""
    return json.loads(text, parse_int=lambda digits: f"number {digits}", parse_float=lambda digits: f"number {digits}")


def merge(target: Any, patch: Any) -> Any:
    """RFC 7396, word for word."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merge(result.get(name), value)
    return result


@given(json_texts.values, json_texts.values)
def test_a_merge_patch_of_text_means_what_the_standard_says(target: bytes, patch: bytes) -> None:
    assert parsed(merged(target, patch)) == merge(parsed(target), parsed(patch))


@given(json_texts.objects)
def test_what_a_patch_leaves_alone_stays_to_the_byte(target: bytes) -> None:
    assert merged(target, b"{}") == target
    assert merged(b'{"left":%b,"other":1}' % target, b'{"other": 2.0}') == b'{"left":%b,"other":2.0}' % target
    assert merged(b'{"left" : %b , "other":1}' % target, b'{"other":null}') == b'{"left" : %b }' % target


def leaves(value: Any, path: str, marked: bool) -> list[tuple[str, Any, bool]]:
    if isinstance(value, dict):
        return [leaf for name, item in value.items() for leaf in leaves(item, f"{path}.{name}", marked or name == "a")]
    if isinstance(value, list):
        return [leaf for index, item in enumerate(value) for leaf in leaves(item, f"{path}.{index}", marked)]
    return [(path, value, marked)]


@given(json_texts.values)
def test_every_scalar_is_found(text: bytes) -> None:
    found = [*scalars(text, "at", lambda name: name == "a")]
    told = [(one.path, parsed(text[one.begin : one.end]), one.marked) for one in found]
    expected = leaves(parsed(text), "at", False)
    assert {*expected} <= {*told}
    assert replaced(text, iter(found), b"0").count(b"0") >= len(found)
    assert replaced(text, iter(()), b"") == text


def parsed_pairs(text: bytes) -> Any:
    """The same with objects as arrays of their values."""
    return json.loads(text, parse_int=str, parse_float=str, object_pairs_hook=lambda pairs: [item for _, item in pairs])


@given(json_texts.values)
def test_the_depth_is_that_of_the_value(text: bytes) -> None:
    def depth(value: Any) -> int:
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
        return 0 if inner is None else 1 + max(map(depth, inner), default=0)

    levels = max(depth(parsed_pairs(b"[%b]" % text)) - 1, 0)
    assert not deeper_than(text, levels)
    assert levels == 0 or deeper_than(text * 40, levels - 1) == (text.count(b"{") + text.count(b"[") > 0)


def test_brackets_in_texts_are_no_depth() -> None:
    assert not deeper_than(msgspec.json.encode(["[" * 100, '\\"{', {"{[": "\\"}]), 2)
    assert deeper_than(json_texts.nested(33), 32)
    assert not deeper_than(json_texts.nested(32), 32)


@given(json_texts.values)
def test_what_is_kept_is_not_taken_apart(text: bytes) -> None:
    frame = b' { "data" :\n%b , "more": {"deep": [{"data": %b}]} }' % (text, text)
    found = opened(frame, {"data": AS_IT_CAME, "more": {"deep": [{"data": AS_IT_CAME}]}})
    expected = None if text == b"null" else text
    for kept in (found["data"], found["more"]["deep"][0]["data"]):
        assert (None if kept is None else bytes(kept)) == expected
    assert bytes(as_it_came(b" %b\n" % text)) == text


def read_within(text: bytes) -> Any:
    """As a body is read that has this somewhere."""
    json_text.check_encoding(text)
    return opened(b'{"data":%b}' % text, {"data": AS_IT_CAME})


@pytest.mark.parametrize(
    "text",
    [
        *(b"", b" ", b"NaN", b"-Infinity", b"[1,]", b"01", b"1.", b'{"a"}', b"{'a':1}", b'"a\nb"', b'"\\x"', b"1 2"),
        *(
            b'"\\ud800"',
            b'"\\udc00"',
            b'"\\ud800\\u0041"',
            b'"\xff"',
            b'"\xed\xa0\x80"',
            b'"\xc0\x80"',
            b"\xef\xbb\xbf1",
        ),
        b"[" * 100_000,
    ],
)
def test_what_is_no_json_is_refused(text: bytes) -> None:
    with pytest.raises((msgspec.DecodeError, UnicodeError, RecursionError)):
        as_it_came(text)
    with pytest.raises((msgspec.DecodeError, UnicodeError, RecursionError)):
        read_within(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b"1e400", Decimal("1e400")),
        (b"[-1e400, 1e-400, 0.5]", [Decimal("-1e400"), 0.0, 0.5]),
        (b"123456789012345678901234567890", 123456789012345678901234567890),
        (b'{"n":%b}' % (b"1" * 5_000), {"n": Decimal("1" * 5_000)}),
        (b'["1e400", 1e400, -0]', ["1e400", Decimal("1e400"), 0]),
    ],
)
def test_no_number_is_too_large_to_be_read(text: bytes, value: Any) -> None:
    assert json_text.value(text) == value


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists))
def test_what_becomes_text_comes_back(value: Any) -> None:
    assert json_text.value(json_text.text_of(value)) == value
