"""The stored form of what is kept as JSON text: a digit that tells the version, then the JSON. Version 0 has no digit.
What tasks are to do has a form of its own, `domain.forms`.
"""

from typing import Final

from tasks_server.domain.forms import Newer

_NEWEST: Final = "1"


def marked(json: bytes) -> str:
    """The text to store."""
    return _NEWEST + json.decode()


def unmarked(text: str) -> tuple[int, str]:
    """The version of a stored text, and its JSON. Raises `Newer`."""
    if is_newer(text):
        raise Newer(f"a newer version of this software stored it (form {text[0]}, {_NEWEST} is known here)")
    return (int(text[0]), text[1:]) if text[:1].isdecimal() else (0, text)


def is_newer(text: str) -> bool:
    """Whether only a newer version can read it."""
    return text[:1].isdecimal() and text[0] > _NEWEST
