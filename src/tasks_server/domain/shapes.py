"""Finds everything in a value that does not fit a type, by dotted path, where a decoder stops at the first.

The verdict on each leaf is msgspec's own, on the very types that the fast decoder uses, so the two cannot disagree;
here are only the walk and the words. Rules between fields are in `domain.validation`.
"""

import types
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cache
from itertools import islice
from math import inf
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

import msgspec
from msgspec import inspect
from msgspec.structs import FieldInfo

from tasks_server.domain import limits, suggestions
from tasks_server.domain.errors import Fault

_GIVEN_LENGTH_MAX: Final = 100
_NAME_LENGTH_MAX: Final = 64
_FIELDS_NAMED_MAX: Final = 6
"""The fields of a larger object are in the documentation; here they would bury the fault."""
MASK: Final = "***"
_SECRET_WORDS: Final = (
    *("authorization", "cookie", "password", "passwd", "secret", "token", "credential", "signature", "x-auth"),
    *("api-key", "apikey", "api_key", "access-key", "accesskey", "access_key"),
)


@cache
def fields_of(kind: type[msgspec.Struct]) -> Mapping[str, FieldInfo]:
    """The fields of a struct by their names on the wire. Finding them out takes long, as annotations are evaluated."""
    return MappingProxyType({field.encode_name: field for field in msgspec.structs.fields(kind)})


def is_secret_name(name: str) -> bool:
    """Whether the value under this name is not to be shown.

    >>> is_secret_name("Proxy-Authorization"), is_secret_name("Accept")
    (True, False)
    """
    lowered = name.lower()
    return any(word in lowered for word in _SECRET_WORDS)


def is_marked_secret(wanted: Any) -> bool:
    """Whether a type is marked as secret, itself or a member of it: `Meta(extra={"secret": True})`.

    >>> from msgspec import Meta
    >>> is_marked_secret(Annotated[str, Meta(extra={"secret": True})] | None), is_marked_secret(str | None)
    (True, False)
    """
    if get_origin(wanted) is Annotated:
        inner, *metas = get_args(wanted)
        marked = any(isinstance(meta, msgspec.Meta) and (meta.extra or {}).get("secret") for meta in metas)
        return marked or is_marked_secret(inner)
    if get_origin(wanted) in (Union, types.UnionType):
        return any(is_marked_secret(member) for member in get_args(wanted))
    return False


def shown(value: object, path: str = "") -> Any:
    """What a fault repeats of a value: little of it, nothing of containers, and nothing secret."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return f"an array of {len(value)}"
    if value is not None and any(map(is_secret_name, path.split("."))):
        return MASK
    if isinstance(value, str) and len(value) > _GIVEN_LENGTH_MAX:
        return value[:_GIVEN_LENGTH_MAX] + "…"
    if isinstance(value, int) and abs(value) >= 1 << 63:
        return "a number beyond 64 bits"
    return value


def unknown_field(path: str, name: str, known: Iterable[str]) -> Fault:
    """The fault of a field that does not exist, with the name that was probably meant."""
    names = tuple(sorted(known))
    meant = suggestions.meant(path, name, names) if len(name) <= _NAME_LENGTH_MAX else None
    field = f"{path}.{name[:_NAME_LENGTH_MAX]}" if path else name[:_NAME_LENGTH_MAX]
    if meant is not None:
        return Fault(field, f"is not a known field; did you mean {meant}?", allowed=[meant])
    if len(names) > suggestions.NAMES_TOLD_MAX:
        return Fault(field, "is not a known field", allowed=f"one of the {len(names)} that the documentation lists")
    return Fault(field, "is not a known field", allowed=list(names))


def unknown_fields(path: str, given: Iterable[str], known: Collection[str]) -> Iterator[Fault]:
    """The faults of those names that are not known, no more than an answer shows."""
    return islice((unknown_field(path, name, known) for name in given if name not in known), limits.FAULTS_MAX)


def faults_of(wanted: Any, value: object, path: str) -> Iterator[Fault]:
    """All that is wrong with `value` as a `wanted`; nothing when msgspec would take it."""
    try:
        msgspec.convert(value, wanted)
    except msgspec.ValidationError:
        found: list[Fault] = []
        if not _is_too_long(wanted, value):  # else what is in it does not matter
            found = list(islice(_inner_faults(_variant(wanted, value), value, path), limits.FAULTS_MAX))
        yield from found or [Fault(path, *_words(wanted, value, path))]


def _is_too_long(wanted: Any, value: object) -> bool:
    return isinstance(value, list | dict) and len(value) > _length_max(wanted, type(value))


@cache
def _length_max(wanted: Any, kind: type) -> float:
    """How many entries an array or object may have as a `wanted`."""
    sought = inspect.ListType if kind is list else inspect.DictType
    lengths = [member.max_length for member in _members(wanted) if isinstance(member, sought)]
    return max((inf if length is None else length for length in lengths), default=inf)


def _inner_faults(wanted: Any, value: object, path: str) -> Iterator[Fault]:
    origin, arguments = get_origin(wanted), get_args(wanted)
    if isinstance(value, list) and origin is list:
        for index, item in enumerate(value):
            yield from faults_of(arguments[0], item, f"{path}.{index}")
    elif isinstance(value, dict) and origin is dict:
        for key, item in value.items():
            inner = f"{path}.{key[:64]}"
            yield from (
                Fault(inner, f"has a name that {f.message}", allowed=f.allowed) for f in _key(arguments[0], key)
            )
            yield from faults_of(arguments[1], item, inner)
    elif isinstance(value, dict) and isinstance(wanted, type) and issubclass(wanted, msgspec.Struct):
        yield from struct_faults(wanted, value, path)


def _key(wanted: Any, key: str) -> Iterator[Fault]:
    return faults_of(wanted, key, "")


def struct_faults(
    wanted: type[msgspec.Struct], value: dict[str, Any], path: str, not_offered: frozenset[str] = frozenset()
) -> Iterator[Fault]:
    """All that is wrong with the fields of an object, unknown and missing ones included."""
    known = fields_of(wanted)
    prefix = f"{path}." if path else ""
    unknown = 0
    for name, item in value.items():
        field = known.get(name)
        if field is not None and is_marked_secret(field.type):
            for fault in faults_of(field.type, item, prefix + name):
                yield msgspec.structs.replace(fault, given=None if fault.given is None else MASK)
        elif field is not None:
            for fault in faults_of(field.type, item, prefix + name):
                # What is marked is secret; names (`credentials`) tell only where they are the caller's own.
                is_shown = fault.field == prefix + name and fault.given == MASK
                yield msgspec.structs.replace(fault, given=shown(item)) if is_shown else fault
        elif name in not_offered:
            yield Fault(prefix + name, "is not offered by this version yet; leave it out")
        elif unknown < limits.FAULTS_MAX:
            unknown += 1
            yield unknown_field(path, name, known)
    for name, field in known.items():
        if field.required and name not in value:
            yield Fault(prefix + name, "is required", allowed=_allowed(field.type))


def _variant(wanted: Any, value: object) -> Any:
    """The member of a union that `value` must be meant as; containers go by their kind."""
    if get_origin(wanted) is Annotated:
        return _variant(get_args(wanted)[0], value)
    if get_origin(wanted) in (Union, types.UnionType):
        members = [_variant(member, value) for member in get_args(wanted)]
        if isinstance(value, list):
            return next((member for member in members if get_origin(member) is list), wanted)
        if isinstance(value, dict):
            return next((member for member in members if get_origin(member) is dict or _is_struct(member)), wanted)
    return wanted


def _is_struct(wanted: Any) -> bool:
    return isinstance(wanted, type) and issubclass(wanted, msgspec.Struct)


def _words(wanted: Any, value: object, path: str) -> tuple[str, Any, Any]:
    return f"must be {describe(wanted)}", shown(value, path), _allowed(wanted)


@cache
def describe(wanted: Any) -> str:
    """A type in words.

    >>> from msgspec import Meta
    >>> describe(Annotated[int, Meta(ge=0, le=9)] | None)
    'an integer from 0 to 9, or null'
    """
    return " or ".join(map(_describe_member, _members(wanted))) + (", or null" if _nullable(wanted) else "")


def _members(wanted: Any) -> list[inspect.Type]:
    info = _plain(inspect.type_info(wanted))
    members = info.types if isinstance(info, inspect.UnionType) else (info,)
    return [_plain(member) for member in members if not isinstance(_plain(member), inspect.NoneType)]


def _nullable(wanted: Any) -> bool:
    info = _plain(inspect.type_info(wanted))
    return isinstance(info, inspect.UnionType) and info.includes_none


def _plain(info: inspect.Type) -> inspect.Type:
    """The type itself, but with what is around it where that holds words for it: `Meta(extra={"words": …})`."""
    return _plain(info.type) if isinstance(info, inspect.Metadata) and not _own_words(info) else info


def _own_words(info: inspect.Metadata) -> str:
    words = (info.extra or {}).get("words", "")
    return str(words)


def _describe_member(info: inspect.Type) -> str:
    match info:
        case inspect.Metadata():
            return _own_words(info)
        case inspect.IntType():
            return "an integer" + _range(info.ge, info.le)
        case inspect.FloatType():
            return "a number" + _range(info.ge, info.le)
        case inspect.StrType():
            length = _length(info.min_length, info.max_length, "character")
            return f"text{length}" + (f" of {info.pattern.strip('^$+')}" if info.pattern else "")
        case inspect.BoolType():
            return "true or false"
        case inspect.LiteralType():
            words = ["true" if value is True else str(value) for value in info.values]
            return "one of " + ", ".join(words) if len(words) > 1 else words[0]
        case inspect.ListType():
            return "an array" + _length(info.min_length, info.max_length, "entry", "entries") + _each(info.item_type)
        case inspect.DictType():
            return "an object" + _length(info.min_length, info.max_length, "entry", "entries") + _each(info.value_type)
        case inspect.StructType() if len(info.fields) <= _FIELDS_NAMED_MAX:
            return "an object with " + ", ".join(
                field.encode_name if field.required else f"{field.encode_name} (optional)" for field in info.fields
            )
    return "an object"


def _each(info: inspect.Type) -> str:
    entry = _describe_member(_plain(info))
    return f", each {entry}" if entry != "an object" else ""


def _range(low: float | None, high: float | None) -> str:
    if low is not None and high is not None:
        return f" from {low} to {high}"
    return f" of at least {low}" if low is not None else ""


def _length(low: int | None, high: int | None, one: str, many: str | None = None) -> str:
    if low is None and high is None:
        return ""
    plural = many or one + "s"
    if high is None:
        return f" of at least {low} {one if low == 1 else plural}"
    return f" of {low} to {high} {plural}" if low else f" of at most {high} {plural}"


def _allowed(wanted: Any) -> Any:
    """The choices where there are some, else the type in words."""
    inner: Any = get_args(wanted)[0] if get_origin(wanted) is Annotated else wanted
    if get_origin(inner) is Literal:
        return list(get_args(inner))
    members = _members(wanted)
    if len(members) == 1 and isinstance(members[0], inspect.LiteralType):
        return sorted(members[0].values, key=str)
    return describe(wanted)
