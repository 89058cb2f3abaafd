"""From the result of a handler to JSON."""

import dataclasses
import itertools
import math
from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec

from tasks_server.domain import limits, texts

_ESTIMATED_BYTES_MIN: Final = 65_536
_DEPTH_MAX: Final = 1_000
"""The encoder goes no deeper; what holds itself is found by it, and said."""
_ENCODERS_OWN: Final = frozenset(
    {TypeError, ValueError, NotImplementedError, RecursionError, OverflowError, UnicodeEncodeError, msgspec.DecodeError}
)
_SEQUENCES: Final = frozenset({list, tuple, set, frozenset})
_STRINGS: Final = frozenset({str, bytes, bytearray})
_SIZED: Final = _SEQUENCES | _STRINGS | {dict}
_SCALARS: Final = frozenset({int, float, bool, type(None)})


class NotKept(Exception):
    """The result cannot be kept. The message says why."""


def result_json(value: Any, bytes_max: int) -> bytes | None:
    """The result as JSON; None for None. Raises `NotKept` when it is no JSON or longer than `bytes_max`, whatever the
    objects in it do meanwhile.
    """
    if value is None:
        return None
    try:
        data = _json(value, bytes_max)
    except NotKept:
        raise
    except BaseException as error:  # of a handler whose time is over just now, too: its work is done
        tell = texts.said if type(error) in _ENCODERS_OWN else texts.described
        why = tell(error, limits.ERROR_LENGTH_MAX)
        raise NotKept(f"the result is not kept: it is no JSON ({why})") from error
    if len(data) > bytes_max:
        raise NotKept(f"the result is not kept: it has {len(data)} bytes, {bytes_max} are kept at most")
    return data


def _json(value: Any, bytes_max: int) -> bytes:
    # What is far too long is not even made: that could take all the memory, and the time of others.
    estimated_max = max(4 * bytes_max, _ESTIMATED_BYTES_MIN)
    if _is_longer(value, estimated_max):
        raise NotKept(f"the result is not kept: it has more than {estimated_max} bytes, {bytes_max} are kept at most")
    data = _ENCODER.encode(value)
    if len(data) <= bytes_max:
        data.decode()
        msgspec.json.decode(data, type=msgspec.Raw)  # what was given as raw JSON need not be any
        if b"null" in data and not _finite(msgspec.to_builtins(value, enc_hook=_plain)):
            raise ValueError("a float in it is no finite number")  # the encoder makes null of it
    return data


def _is_longer(value: Any, bytes_max: int) -> bool:
    """Whether its JSON has more than so many bytes, as far as it is made of plain types."""
    left = bytes_max
    levels: list[Iterator[Any]] = [iter((value,))]
    while levels and len(levels) <= _DEPTH_MAX:
        for one in levels[-1]:
            kind = type(one)
            left -= 2  # itself or its brackets, and what parts it from the next
            if kind in _SCALARS:
                continue
            if kind in _SIZED:
                left -= len(one)
            if left < 0:
                return True
            if kind not in _STRINGS:
                levels.append(iter(_members(one, kind)))
                break
        else:
            levels.pop()
    return False


def _members(value: Any, kind: type[Any]) -> Iterable[Any]:
    if kind in _SEQUENCES:
        return value  # type: ignore[no-any-return]  # it is one
    if kind is dict:
        return itertools.chain(value, value.values())
    if issubclass(kind, msgspec.Struct):
        return (getattr(value, name) for name in kind.__struct_fields__)
    if dataclasses.is_dataclass(kind):
        return (getattr(value, field.name) for field in dataclasses.fields(kind))
    return ()


def _plain(value: Any) -> Any:
    return None if isinstance(value, msgspec.Raw) else _dumped(value)  # what is JSON already holds finite numbers only


def _finite(value: Any) -> bool:
    """Whether JSON has all the numbers of a value that is made of plain types."""
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, dict):
        return all(map(_finite, value.values()))
    return not isinstance(value, list | tuple) or all(map(_finite, value))


def _dumped(value: Any) -> Any:
    dump = getattr(value, "model_dump", None)
    if dump is None:
        # How msgspec is told by its hook that a value is none of JSON; `result_json` makes a note of it.
        raise NotImplementedError(f"an object of type {texts.kind(value)}")
    return dump(mode="json")


_ENCODER: Final = msgspec.json.Encoder(enc_hook=_dumped)
