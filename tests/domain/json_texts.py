"""Texts that are JSON, in all the ways in which one may write it: numbers that no float holds, names that stand twice,
escapes, blanks.
"""

import msgspec
from hypothesis import strategies as st

_BLANKS = st.sampled_from(["", "", "", " ", "\n\t", "\r\n  "])
_NUMBERS = st.sampled_from(
    [
        *("12345678901234567.89", "1e-400", "1e400", "-0", "-0.0", "1.0", "1E+2", "0.10", "1" * 60, f"-{2**64}"),
        *(f"{2**63}", "1" * 5_000, "9007199254740993", "123456789012345678901234567890.5", "1e5000000000"),
    ]
) | st.from_regex(r"-?(0|[1-9][0-9]{0,25})(\.[0-9]{1,25})?([eE][+-]?[0-9]{1,5})?", fullmatch=True)
_PIECES = st.sampled_from(
    [
        r"\n",
        r"\/",
        r"\"",
        r"\\",
        r"\u0041",
        r"\u0000",
        r"\ud83d\ude00",
        r"\uD83D\uDE00",
        "\x7f",
        "é",
        "😀",
        "{",
        ",",
        "]",
    ]
) | st.characters(exclude_categories=("Cs",), exclude_characters='"\\', min_codepoint=0x20)
_TEXTS = st.lists(_PIECES, max_size=6).map(lambda pieces: f'"{"".join(pieces)}"')
_NAMES = st.sampled_from(['"a"', '"b"', r'"\u0061"', '""', '"data"', '"payload"', '"name"']) | _TEXTS
_LEAVES = st.sampled_from(["null", "true", "false", '"-"', "{}", "[ ]"]) | _NUMBERS | _TEXTS


@st.composite
def _arrays(draw: st.DrawFn, inner: st.SearchStrategy[str]) -> str:
    items = draw(st.lists(inner, max_size=4))
    return f"[{','.join(f'{draw(_BLANKS)}{item}{draw(_BLANKS)}' for item in items)}]"


@st.composite
def _objects(draw: st.DrawFn, inner: st.SearchStrategy[str]) -> str:
    members = draw(st.lists(st.tuples(_NAMES, inner), max_size=4))
    blank = draw(_BLANKS)
    return f"{{{','.join(f'{blank}{name}{draw(_BLANKS)}:{blank}{item}{draw(_BLANKS)}' for name, item in members)}}}"


_inner = st.recursive(_LEAVES, lambda inner: _arrays(inner) | _objects(inner), max_leaves=12)

objects: st.SearchStrategy[bytes] = _objects(_inner).map(str.encode)
"""Any object."""
values: st.SearchStrategy[bytes] = _inner.map(str.encode)
"""Any value."""


def nested(levels: int) -> bytes:
    """An object so many levels deep."""
    return b'{"a":' * (levels - 1) + b"{}" + b"}" * (levels - 1)


def same(one: bytes, other: bytes) -> bool:
    """Whether two texts are the same but for blanks."""
    return msgspec.json.format(one, indent=-1) == msgspec.json.format(other, indent=-1)
