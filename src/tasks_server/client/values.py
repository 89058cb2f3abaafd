"""From Python's values to JSON, with nothing changed in silence: what JSON does not have is refused, by its field."""

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

BYTES: Final = (bytes, bytearray, memoryview)
_PLAIN: Final = (str, int, float, type(None))


def to_json(body: object) -> bytes:
    """The JSON of a body. Raises `ValueError` that names the field for NaN and infinities, bytes, and half of a
    surrogate pair; `TypeError` for what is nothing that becomes JSON.
    """
    _check(body, "", _dumped)
    return msgspec.json.encode(body, enc_hook=_dumped)


def payload_json(payload: object) -> bytes:
    """The JSON of a handler's payload, as the handler's annotation is read: models by their own JSON, bytes in base64.
    Raises as `to_json`.
    """
    _check(payload, "payload", _modelled)
    return msgspec.json.encode(payload, enc_hook=_modelled)


def _check(value: Any, path: str, dump: Callable[[Any], Any]) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{path or 'the body'}: {value!r} is no number that JSON has")
    if isinstance(value, BYTES):
        if dump is _modelled:
            return
        raise ValueError(f"{path or 'the body'}: bytes are no JSON; give text, or bytes as the whole of data")
    if isinstance(value, str):
        _check_text(value, path)
    elif isinstance(value, Mapping):
        for name, item in value.items():
            _check(name, path, dump)
            _check(item, f"{path}.{name}" if path else str(name), dump)
    elif isinstance(value, list | tuple | set | frozenset):
        for index, item in enumerate(value):
            _check(item, f"{path}.{index}" if path else str(index), dump)
    elif not isinstance(value, (*_PLAIN, msgspec.Raw, msgspec.UnsetType)):
        plain = msgspec.to_builtins(value, builtin_types=BYTES, enc_hook=dump)
        if type(plain) is not type(value):
            _check(plain, path, dump)


def _check_text(text: str, path: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(
            f"{path or 'the body'}: {text!r} has half of a surrogate pair, which is no character"
        ) from None


def _dumped(value: Any) -> Any:
    """What pydantic's models hold; their fields are looked at as all others."""
    return _dump(value)(by_alias=True)


def _modelled(value: Any) -> Any:
    """A model as its own JSON has it."""
    return _dump(value)(by_alias=True, mode="json")


def _dump(value: Any) -> Any:
    dump = getattr(value, "model_dump", None)
    if dump is None:
        raise TypeError(f"an object of type {type(value).__name__} is nothing that becomes JSON")
    return dump
