"""JSON as it came: looked into, masked and merged as text, so that numbers that no float holds, names that stand twice,
escapes and blanks stay what they were. `read` makes sure that a text is JSON; the others take what was read.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import Raw

NULL: Final = b"null"
RAW_NULL: Final = Raw(NULL)
AS_IT_CAME: Final = None
"""Stands in a map of `Kept` for a value that is not taken apart."""
Kept = Mapping[str, Any]
"""Names of an object, and what is kept of each value: `AS_IT_CAME`, more names, or a list of one map for all items."""

_STRING: Final = rb'"[^"\\]*(?:\\.[^"\\]*)*"'
_STRINGS: Final = re.compile(_STRING, re.DOTALL)
_WORDS: Final = re.compile(_STRING + rb'|[{}\[\],:]|[^\s"{}\[\],:]+', re.DOTALL)
_CURLY: Final = bytes.maketrans(b"[]", b"{}")
_NO_MARKS: Final = bytes(set(range(256)) - set(b'{[]}"'))
_TEXT: Final = msgspec.json.Decoder(Raw)
_PARTS: Final = msgspec.json.Decoder(dict[str, Raw])
_ITEMS: Final = msgspec.json.Decoder(list[Raw])
_VALUE: Final = msgspec.json.Decoder()
_NAME: Final = msgspec.json.Decoder(str)


def as_it_came(text: bytes | str) -> Raw:
    """The text without the blanks around it. Raises `msgspec.DecodeError`, `UnicodeError` or `RecursionError` when it
    is no JSON.

    >>> bytes(as_it_came(" [1e400, 1] "))
    b'[1e400, 1]'
    """
    body = text.encode() if isinstance(text, str) else text
    raw = _TEXT.decode(body)
    check_encoding(body)
    return raw


def check_encoding(text: bytes) -> None:
    """Raises `UnicodeDecodeError` for what is no UTF-8: those who leave a text as it is do not look."""
    if not text.isascii():
        text.decode()


def opened(text: bytes | Raw, kept: Kept | None) -> Any:
    """The value of a text, in which what `kept` names stays text: `Raw`, but None for null. Of a name that stands twice
    the last counts. Raises as `as_it_came` does, and `msgspec.ValidationError` for numbers that Python does not have.

    >>> found = opened(b'{"data": {"n": 1.0}, "more": 1.0}', {"data": AS_IT_CAME})
    >>> bytes(found["data"]), found["more"]
    (b'{"n": 1.0}', 1.0)
    """
    body = bytes(text)
    if kept is AS_IT_CAME:
        return as_it_came(body)
    if not kept or not body.lstrip().startswith(b"{"):
        return _VALUE.decode(body)
    return {
        name: _kept(part, kept[name]) if name in kept else _VALUE.decode(part)
        for name, part in _PARTS.decode(body).items()
    }


def _kept(part: Raw, kept: Any) -> Any:
    if kept is AS_IT_CAME:
        return None if part == RAW_NULL else part
    if isinstance(kept, list) and bytes(part).startswith(b"["):
        return [opened(item, kept[0]) for item in _ITEMS.decode(part)]
    return opened(part, kept if isinstance(kept, Mapping) else {})


def value(text: bytes | Raw) -> Any:
    """The value of a text, whatever numbers are in it: those that Python's own do not hold are a `Decimal`.

    >>> value(b'[1, 1e400]')
    [1, Decimal('1E+400')]
    """
    try:
        return _VALUE.decode(text)
    except msgspec.ValidationError:
        return json.loads(bytes(text), parse_int=_number, parse_float=_number)


def _number(digits: str) -> int | float | Decimal:
    try:
        number = float(digits) if any(mark in digits for mark in ".eE") else int(digits)
    except ValueError:  # more digits than Python makes an integer of
        return Decimal(digits)
    return Decimal(digits) if number in (float("inf"), float("-inf")) else number


def text_of(thing: Any) -> Raw:
    """The text of a value."""
    return Raw(msgspec.json.encode(thing))


def compact(text: bytes) -> bytes:
    """The same text without blanks between its parts.

    >>> compact(b'{"a" : [1.0,\\n 2]}')
    b'{"a":[1.0,2]}'
    """
    return msgspec.json.format(text, indent=-1)


def deeper_than(text: bytes, levels: int) -> bool:
    """Whether objects and arrays nest deeper than `levels`.

    >>> deeper_than(b'{"a": [1]}', 2), deeper_than(b'{"a": [1]}', 1)
    (False, True)
    """
    if text.count(b"{") + text.count(b"[") <= levels:
        return False
    brackets = _brackets(text)
    for _ in range(levels):
        if not brackets:
            return False
        brackets = brackets.replace(b"{}", b"")  # takes the innermost away
    return bool(brackets)


def _brackets(text: bytes) -> bytes:
    """All brackets of a text, as curly ones, but for those within strings."""
    if b"\\" not in text:
        marks = text.translate(_CURLY, _NO_MARKS).replace(b'""', b"")
        if b'"' not in marks:  # there are none within strings
            return marks
    return _STRINGS.sub(b"", text).translate(_CURLY, _NO_MARKS)


class Scalar(NamedTuple):
    """A text, a number, true, false or null that stands in a text: its path, its place, and whether a name on the way
    to it is marked.
    """

    path: str
    begin: int
    end: int
    marked: bool


class _Level:
    """An object or array that is open."""

    __slots__ = ("count", "is_object", "marked", "path")

    def __init__(self, path: str, is_object: bool, marked: bool) -> None:
        self.path, self.is_object, self.marked, self.count = path, is_object, marked, 0


def scalars(text: bytes, path: str, mark: Callable[[str], bool]) -> Iterator[Scalar]:
    """All of a text, below `path`.

    >>> text = b'{"a": [1, null], "key": "x"}'
    >>> [(one.path, text[one.begin:one.end], one.marked) for one in scalars(text, "data", lambda name: name == "key")]
    [('data.a.0', b'1', False), ('data.a.1', b'null', False), ('data.key', b'"x"', True)]
    """
    levels: list[_Level] = []
    here, marked, is_name = path, False, False
    for found in _WORDS.finditer(text):
        word = found[0]
        if word in b"{[":
            levels.append(_Level(here, word == b"{", marked))
        elif word in b"]}":
            levels.pop()
        elif is_name:
            name = _NAME.decode(word)
            here, marked = f"{levels[-1].path}.{name}", levels[-1].marked or mark(name)
        elif word not in b",:":
            yield Scalar(here, found.start(), found.end(), marked)
        if word == b"," or word in b"{[":
            level = levels[-1]
            level.count += word == b","
            is_name = level.is_object
            if not is_name:
                here, marked = f"{level.path}.{level.count}", level.marked
        else:
            is_name = False


def replaced(text: bytes, places: Iterator[Scalar], by: bytes) -> bytes:
    """The text with something else in these places, which come in order."""
    parts: list[bytes] = []
    at = 0
    for place in places:
        parts += (text[at : place.begin], by)
        at = place.end
    return b"".join((*parts, text[at:]))


# Merge patches


class _Member(NamedTuple):
    """A member of an object: what stands before its value, with its name; the value; and what follows."""

    name: str
    head: bytes
    value: bytes
    tail: bytes


def merged(target: bytes, patch: bytes) -> bytes:
    """The target under a merge patch (RFC 7396). What the patch does not name stays as it is, to the byte.

    >>> merged(b'{"a": 1.0, "b": {"c":2,"d":3e1}}', b'{"a": null, "b": {"c": 4.0}}')
    b'{ "b": {"c":4.0,"d":3e1}}'
    """
    if not patch.startswith(b"{"):
        return patch
    asked = list(_members(patch))
    before = list(_members(target)) if target.startswith(b"{") else []
    if not asked:
        return target if target.startswith(b"{") else patch
    changes = {member.name: member.value for member in asked}
    after = []
    for name, head, value, tail in before:
        change = changes.get(name)
        if change != NULL:
            after.append(head + (value if change is None else merged(value, change)) + tail)
    known = {member.name for member in before}
    for name, head, value, tail in asked:
        if name not in known and changes[name] != NULL:
            after.append(head + merged(NULL, value) + tail)
    return b"{%b}" % b",".join(after)


def _members(text: bytes) -> Iterator[_Member]:
    """The members of an object, in their order."""
    words = _WORDS.finditer(text)
    begin = next(words).end()
    word = next(words)
    while word[0] != b"}":
        name = _NAME.decode(word[0])
        next(words)  # the colon
        word = next(words)
        start, depth = word.start(), 0
        while depth or word[0] not in b",}":
            depth += (word[0] in b"{[") - (word[0] in b"]}")
            end = word.end()
            word = next(words)
        yield _Member(name, text[begin:start], text[start:end], text[end : word.start()])
        begin = word.end()
        if word[0] == b",":
            word = next(words)
