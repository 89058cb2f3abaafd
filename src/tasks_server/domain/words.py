"""Words of closed sets: taken in any case, stored and shown in one spelling.

Whoever reads JSON or a query thoroughly brings its words into our spelling first, by the very types that it is checked
against; canonical JSON never comes here.
"""

import types
from collections.abc import Callable, Iterable
from enum import StrEnum
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec

from tasks_server.domain.shapes import fields_of

_Speller = Callable[[Any], Any]


def chosen(text: str, words: Iterable[str]) -> str | None:
    """The word that a text is, in any case; None: it is none of them.

    >>> chosen("DESC", ("asc", "desc")), chosen("down", ("asc", "desc"))
    ('desc', None)
    """
    known = tuple(words)
    return text if text in known else next((word for word in known if word.lower() == text.lower()), None)


def spelled(wanted: Any, value: Any) -> Any:
    """The value with every word that stands where `wanted` has a closed set in the spelling of that. All else, what
    does not fit included, stays as it is; the value itself is not changed.

    >>> spelled(dict[str, Literal["http", "https"] | None], {"proto": "HTTP", "other": "ftp"})
    {'proto': 'http', 'other': 'ftp'}
    """
    speller = _speller(wanted)
    return value if speller is None else speller(value)


@cache
def _speller(wanted: Any) -> _Speller | None:
    """What brings values of a type into our spelling; None where it has no words."""
    origin, arguments = get_origin(wanted), get_args(wanted)
    if origin is Annotated:
        return _speller(arguments[0])
    if origin in (Union, types.UnionType):
        return _of_any([speller for member in arguments if (speller := _speller(member)) is not None])
    if origin is Literal:
        return _of_words([word for word in arguments if isinstance(word, str)])
    if origin is list:
        return _of_list(_speller(arguments[0]))
    if origin is dict:
        return _of_dict(_speller(arguments[1]))
    if isinstance(wanted, type) and issubclass(wanted, StrEnum):
        return _of_words([member.value for member in wanted])
    if isinstance(wanted, type) and issubclass(wanted, msgspec.Struct):
        fields = {name: _speller(field.type) for name, field in fields_of(wanted).items()}
        return _of_fields({name: speller for name, speller in fields.items() if speller is not None})
    return None


def _of_words(words: list[str]) -> _Speller | None:
    by_folded = {word.lower(): word for word in words}
    assert len(by_folded) == len(words), f"words that differ by their case alone: {words}"
    if not words:
        return None
    return lambda value: by_folded.get(value.lower(), value) if isinstance(value, str) else value


def _of_any(spellers: list[_Speller]) -> _Speller | None:
    def spell(value: Any) -> Any:
        for speller in spellers:
            value = speller(value)
        return value

    return spell if spellers else None


def _of_list(entry: _Speller | None) -> _Speller | None:
    if entry is None:
        return None
    return lambda value: [entry(item) for item in value] if isinstance(value, list) else value


def _of_dict(entry: _Speller | None) -> _Speller | None:
    if entry is None:
        return None
    return lambda value: {name: entry(item) for name, item in value.items()} if isinstance(value, dict) else value


def _of_fields(spellers: dict[str, _Speller]) -> _Speller | None:
    def spell(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return value | {name: speller(value[name]) for name, speller in spellers.items() if name in value}

    return spell if spellers else None
