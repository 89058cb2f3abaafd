"""Texts that others made, in a form that can be stored, sent and logged. Users' code may hand over anything: texts that
are no Unicode, endless ones, objects whose methods raise. Nothing here raises, whatever it is given.
"""

from collections.abc import Callable
from typing import Any, Final

_CLASS_NAME: Final[Callable[[type], str]] = type.__dict__["__name__"].__get__
"""The name of a class itself, whatever its metaclass says."""
_NAME_LENGTH_MAX: Final = 60


def fitting(text: str, length_max: int) -> str:
    """The text with at most so many characters. What cannot be encoded or stored is written as an escape: half of a
    surrogate pair, which is how Python reads a file name that is not UTF-8, and NUL, which PostgreSQL does not take.

    >>> fitting("caf\\udce9.txt\\0", 100)
    'caf\\\\udce9.txt\\\\x00'
    >>> fitting("a long text", 7)
    'a long…'
    """
    length_max = max(1, length_max)
    plain = str.__getitem__(text, slice(length_max + 1))  # of a subclass, too, without asking it
    if not plain.isascii() or "\0" in plain:
        plain = plain.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")
    return plain if len(plain) <= length_max else plain[: length_max - 1] + "…"


def shown(value: object, length_max: int) -> str:
    """Any value as text; a text is what it is.

    >>> shown(1.5, 100), shown(None, 100)
    ('1.5', 'None')
    """
    try:
        return fitting(str(value), length_max)
    except BaseException as error:
        return f"({kind(value)}: its __str__ raised {kind(error)})"


def kind(value: object) -> str:
    """The name of a value's class.

    >>> kind(ValueError("no"))
    'ValueError'
    """
    return fitting(_CLASS_NAME(type(value)), _NAME_LENGTH_MAX)


def said(error: BaseException, length_max: int) -> str:
    """The message of an exception.

    >>> said(ValueError("no such user"), 100), said(ValueError(), 100)
    ('no such user', '')
    """
    try:
        return fitting(str(error), length_max)
    except BaseException as fault:
        why = f"(its __str__ raised {kind(fault)})"
    try:  # what every exception would say: it may be only its class that cannot
        told = f"{fitting(BaseException.__str__(error), length_max - len(why) - 1)} {why}"
    except BaseException:
        told = why
    return fitting(told.lstrip(), length_max)


def described(error: BaseException, length_max: int) -> str:
    """The class and the message of an exception.

    >>> described(ValueError("no such user"), 100), described(ValueError(), 100)
    ('ValueError: no such user', 'ValueError')
    """
    name = kind(error)
    message = said(error, length_max - len(name) - 2)
    return fitting(f"{name}: {message}" if message else name, length_max)


def attribute(kind: type[BaseException], name: str) -> Callable[[Any], Any]:
    """What reads an attribute of an exception as `kind` has it, whatever its own class makes of that.

    >>> attribute(BaseException, "args")(ValueError("no"))
    ('no',)
    """
    read: Callable[[Any], Any] = kind.__dict__[name].__get__
    return read
