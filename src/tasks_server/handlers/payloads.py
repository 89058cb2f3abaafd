"""From the JSON of a payload to the value that a handler's annotation asks for. The other way is in `results`."""

import functools
import inspect
import re
import types
import typing
from collections.abc import Callable
from typing import Any, Final

import msgspec

from tasks_server.domain import limits, texts
from tasks_server.domain.json_text import value as value_of
from tasks_server.handlers.registry import Registration

Reader = Callable[[bytes], Any]
_FAULTS_TOLD_MAX: Final = 5
_PLACED: Final = re.compile(r"(?P<what>.*) - at `(?:key in )?\$(?P<path>.*)`", re.DOTALL)


class Unfit(Exception):
    """The payload is not what the handler declares. The message names the field."""


def reader(registration: Registration) -> Reader | None:
    """What reads payloads for a handler, raising `Unfit`; None when it takes none. Raises `TypeError` when its
    annotation is nothing that JSON can be read into.
    """
    if registration.payload is None:
        return None
    wanted = _annotation(registration, registration.payload)
    if wanted is Any or wanted is inspect.Parameter.empty:
        return value_of
    if hasattr(wanted, "model_validate_json"):
        return _by_pydantic(wanted)
    try:
        decoder = msgspec.json.Decoder(wanted, dec_hook=_nested)
        strange = isinstance(msgspec.inspect.type_info(wanted), msgspec.inspect.CustomType)
    except (TypeError, NameError) as error:
        raise TypeError(f"handler {registration.name!r}: its payload cannot be read: {error}") from error
    if strange:
        raise TypeError(
            f"handler {registration.name!r}: its payload cannot be read into {wanted!r}; use a msgspec Struct, a "
            "dataclass, a TypedDict, a pydantic model, or plain types"
        )
    return _by_msgspec(decoder)


def _annotation(registration: Registration, parameter: inspect.Parameter) -> Any:
    """The annotation with its names looked up, which may come later in the module than the function. The others of the
    function are left alone: they may name what only a type checker imports.
    """
    if parameter.annotation is inspect.Parameter.empty:
        return parameter.annotation
    function = inspect.unwrap(registration.function)
    while isinstance(function, functools.partial):
        function = function.func
    if not inspect.isroutine(function):
        function = type(function).__call__
    function = inspect.unwrap(function)
    alone = types.SimpleNamespace(__annotations__={parameter.name: parameter.annotation})
    try:
        found = typing.get_type_hints(alone, getattr(function, "__globals__", {}), include_extras=True)
    except NameError as error:
        raise TypeError(f"handler {registration.name!r}: the annotation of its payload is unknown: {error}") from error
    return found[parameter.name]


def _by_msgspec(decoder: "msgspec.json.Decoder[Any]") -> Reader:
    def read(payload: bytes) -> Any:
        try:
            return decoder.decode(payload)
        except msgspec.MsgspecError as error:
            raise Unfit(_told(str(error))) from None

    return read


def _by_pydantic(model: Any) -> Reader:
    def read(payload: bytes) -> Any:
        try:
            return model.model_validate_json(payload)
        except ValueError as error:
            raise Unfit(_told_by_pydantic(error, "payload")) from None

    return read


def _nested(wanted: type, value: Any) -> Any:
    """A type that the JSON library does not know, inside of one that it knows."""
    validate = getattr(wanted, "model_validate", None)
    if validate is None:
        # How msgspec is told by its hook that a type is none that can be read.
        raise NotImplementedError(f"values of type {wanted.__name__} cannot be read from JSON")
    try:
        return validate(value)
    except ValueError as error:
        raise ValueError(_told_by_pydantic(error, "")) from None


def _told(message: str) -> str:
    """The message of a validation, with the place first.

    >>> _told("Expected `int`, got `str` - at `$.lines[0].count`")
    'payload.lines[0].count: Expected `int`, got `str`'
    >>> _told("Object missing required field `to`")
    'payload: Object missing required field `to`'
    """
    placed = _PLACED.fullmatch(message)
    return f"payload{placed['path']}: {placed['what']}" if placed else f"payload: {message}"


def _told_by_pydantic(error: ValueError, root: str) -> str:
    try:
        faults = error.errors()  # type: ignore[attr-defined]  # pydantic's, which need not be there
        told = [f"{'.'.join(filter(None, [root, *map(str, fault['loc'])]))}: {fault['msg']}" for fault in faults]
    except Exception:  # none of pydantic's, or one whose parts cannot be shown
        message = texts.said(error, limits.ERROR_LENGTH_MAX)
        return f"{root}: {message}" if root else message
    more = f"; and {len(told) - _FAULTS_TOLD_MAX} more" if len(told) > _FAULTS_TOLD_MAX else ""
    return "; ".join(told[:_FAULTS_TOLD_MAX]) + more
