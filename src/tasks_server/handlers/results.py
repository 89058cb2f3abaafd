"""From the result of a handler to JSON."""

import math
from typing import Any, Final

import msgspec

from tasks_server.domain import limits, texts

_BYTES_FIRST: Final = 4_096
_GROWTH: Final = 8
_ENCODERS_OWN: Final = frozenset(
    {TypeError, ValueError, NotImplementedError, RecursionError, OverflowError, UnicodeEncodeError, msgspec.DecodeError}
)


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
    data = _bounded(value, bytes_max)
    if len(data) <= bytes_max:
        data.decode()
        _RAW.decode(data)  # what was given as raw JSON need not be any
        if b"null" in data and not _finite(msgspec.to_builtins(value, enc_hook=_plain)):
            raise ValueError("a float in it is no finite number")  # the encoder makes null of it
    return data


def _bounded(value: Any, bytes_max: int) -> bytes:
    """The JSON of a value, unless it is far longer than `bytes_max`: that is not even made, since it could take all the
    memory, and the time of others.
    """
    size = _BYTES_FIRST
    while True:
        buffer = bytearray(size)
        try:
            with memoryview(buffer):  # while it is held, the encoder cannot make the buffer larger
                _ENCODER.encode_into(value, buffer)
            return bytes(buffer)
        except BufferError:
            if size >= bytes_max:
                raise NotKept(
                    f"the result is not kept: it has more than {size} bytes, {bytes_max} are kept at most"
                ) from None
        size *= _GROWTH


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
_RAW: Final = msgspec.json.Decoder(msgspec.Raw)
