"""Where an exception came up, as text for the log. Nothing here raises, hangs or grows without end, whatever exceptions
users' code has made.
"""

import traceback
from collections.abc import Callable, Collection, Iterator, Mapping
from types import FrameType, TracebackType
from typing import Final

from tasks_server.domain import texts

LENGTH_MAX: Final = 65_536
_FRAMES_MAX: Final = 200
"""Of each exception, the last ones: a recursion without end has a thousand and more."""
_CHAIN_MAX: Final = 50
"""Exceptions that are shown together: causes, and members of groups."""
_LINKS: Final = frozenset({"__cause__", "__context__", "__traceback__", "__getattribute__", "exceptions"})
_IMPORTS: Final = "<frozen importlib"
_CUT: Final = "\n  … (cut) …\n"

trace_of: Final = texts.attribute(BaseException, "__traceback__")
"""The traceback object of an exception."""
_causes: Final = [texts.attribute(BaseException, name) for name in ("__cause__", "__context__")]
_members: Final = texts.attribute(BaseExceptionGroup, "exceptions")
_arguments: Final = texts.attribute(BaseException, "args")
# Classes are asked past their metaclasses, too.
_ancestors: Final[Callable[[type], tuple[type, ...]]] = type.__dict__["__mro__"].__get__
_attributes: Final[Callable[[type], Mapping[str, object]]] = type.__dict__["__dict__"].__get__
_flags: Final[Callable[[type], int]] = type.__dict__["__flags__"].__get__
_MADE_BY_CODE: Final = 1 << 9
"""Py_TPFLAGS_HEAPTYPE: what the classes of Python itself lack."""


def traced(error: object, own_frames: int = 0) -> str:
    """The traceback of an exception as text, with its causes, but without that many frames of ours at its beginning.
    Where it is too long, the middle is left out. Nothing for what is no exception.
    """
    if not isinstance(error, BaseException):
        return ""
    trace: TracebackType | None = trace_of(error)
    for _ in range(own_frames):
        trace = trace.tb_next if trace is not None else None
    try:
        if _is_plain(error):
            return _fitting("".join(traceback.format_exception(type(error), error, trace, -_FRAMES_MAX)))
    except BaseException:  # it was not as plain as it seemed
        pass
    return _fitting(f"{_frames(trace)}{texts.described(error, LENGTH_MAX)}\n")


def imported(error: BaseException, ours: Collection[str]) -> str:
    """The traceback of an import that failed, without the parts of it that belong to the import system or lie in files
    of `ours`; nothing when no more is left of it than the error itself.
    """
    try:
        if not _is_plain(error):
            return traced(error)
        told = traceback.TracebackException.from_exception(error, limit=-_FRAMES_MAX)
        told.stack = traceback.StackSummary.from_list(
            [line for line in told.stack if line.filename not in ours and not line.filename.startswith(_IMPORTS)]
        )
        text = "".join(told.format())
        alone = text.strip() == "".join(told.format_exception_only()).strip() and text.count("\n") == 1
        return "" if alone else _fitting(text)
    except BaseException:
        return traced(error)


def stack(frame: FrameType | None) -> str:
    """Where a thread is, as text."""
    try:
        return _fitting("".join(traceback.format_stack(frame, _FRAMES_MAX))) if frame is not None else ""
    except BaseException as error:
        return f"(cannot be told: {texts.kind(error)})"


def _frames(trace: TracebackType | None) -> str:
    try:
        return "".join(["Traceback (most recent call last):\n", *traceback.format_tb(trace, -_FRAMES_MAX)])
    except BaseException as error:
        return f"(no traceback: {texts.kind(error)})\n"


def _is_plain(error: BaseException) -> bool:
    """Whether the standard library may write it down, which asks the exceptions themselves and knows no bounds."""
    seen: set[int] = set()
    left = [error]
    while left:
        one = left.pop()
        if id(one) not in seen:
            seen.add(id(one))
            if len(seen) > _CHAIN_MAX or _is_odd(type(one)) or _is_long(one):
                return False
            left += _linked(one)
    return True


def _linked(error: BaseException) -> Iterator[BaseException]:
    for read in _causes:
        if (cause := read(error)) is not None:
            yield cause
    if BaseExceptionGroup in _ancestors(type(error)):
        yield from _members(error)[: _CHAIN_MAX + 1]


def _is_odd(kind: type) -> bool:
    """Whether its class has its own mind about where its exceptions came from."""
    own = [ancestor for ancestor in _ancestors(kind) if _flags(ancestor) & _MADE_BY_CODE]
    return any(not _LINKS.isdisjoint(_attributes(ancestor)) for ancestor in own)


def _is_long(error: BaseException) -> bool:
    return sum(len(argument) for argument in _arguments(error) if type(argument) is str) > LENGTH_MAX


def _fitting(text: str) -> str:
    """The text without its middle, where it is too long: the beginning tells how it began, the end what it was."""
    if len(text) > LENGTH_MAX:
        half = (LENGTH_MAX - len(_CUT)) // 2
        text = text[:half] + _CUT + text[-half:]
    return texts.fitting(text, LENGTH_MAX)
