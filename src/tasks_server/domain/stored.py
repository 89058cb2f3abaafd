"""What is stored and cannot be read, because it is damaged or because another version stored it: how that is told, and
words of closed sets that are not known. One such thing must not take with it what stands beside it.
"""

from enum import StrEnum
from typing import Final, TypeVar

_W = TypeVar("_W", bound=StrEnum)
_SHOWN_MAX: Final = 64
OTHER_VERSION: Final = "start the version of the server that stored it"
UNREADABLE: Final = "UNREADABLE"
"""Shown in the place of a word that is not known."""


def unreadable(what: str, why: str, mend: str) -> str:
    """What cannot be read, why, and what to do.

    >>> unreadable("its metadata", "it is no JSON", "set it anew")
    'its metadata cannot be read: it is no JSON; set it anew'
    """
    return f"{what} cannot be read: {why}; {mend}"


def together(*told: str | None) -> str | None:
    """Several of these in one text, or None."""
    return ". ".join(filter(None, told)) or None


def word_of(kind: type[_W], text: str) -> _W:
    """The word of a closed set that is stored as `text`. One that is not known is kept as it stands, and equals none of
    those that are: whatever needs one of these refuses it.

    >>> from tasks_server.domain.task import FINAL, State
    >>> frozen = word_of(State, "frozen")
    >>> word_of(State, "paused") is State.PAUSED, frozen.value, frozen in FINAL
    (True, 'frozen', False)
    """
    known = kind._value2member_map_.get(text)
    if known is not None:
        return known  # type: ignore[return-value]  # it is of this kind
    word = str.__new__(kind, text)
    word._name_ = word._value_ = text
    return word


def is_known(word: StrEnum) -> bool:
    """Whether this version knows the word."""
    return word.value in type(word)._value2member_map_


def unknown_word(what: str, word: StrEnum, mend: str = OTHER_VERSION) -> str | None:
    """What is told of a word that is not known; None: it is.

    >>> from tasks_server.domain.task import State
    >>> unknown_word("its state", word_of(State, "frozen"))
    'its state cannot be read: this version knows no frozen; start the version of the server that stored it'
    """
    return None if is_known(word) else unreadable(what, f"this version knows no {word.value[:_SHOWN_MAX]}", mend)
