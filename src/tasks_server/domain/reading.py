"""What readings of tasks share: objects as far as their fields fit, the forms that dates and durations may have, merge
patches. What is found to be wrong is added to a list of faults, by dotted path.
"""

from datetime import tzinfo
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Raw

from tasks_server.domain import dates, durations, limits, shapes, words, zones
from tasks_server.domain.errors import Fault
from tasks_server.domain.json_text import NULL, merged
from tasks_server.domain.request import Key, TaskConfig
from tasks_server.domain.rules_pairs import DATE_NAMES

MetadataValue = Annotated[str, Meta(min_length=1, max_length=limits.METADATA_VALUE_LENGTH_MAX)]
Metadata = Annotated[dict[Key, MetadataValue], Meta(min_length=1, max_length=limits.METADATA_ENTRIES_MAX)]

DATES: Final = DATE_NAMES
DURATIONS: Final = frozenset({"executionDelay", "retryInterval", "retryMaxInterval", "repeatInterval", "timeout"})
RESCHEDULING: Final = frozenset({"executionDelay", "executeAt"})

REQUEST_NOT_OFFERED: Final = frozenset[str]()
CONFIG_NOT_OFFERED: Final = frozenset[str]()
"""Options of the full contract that this version refuses, rather than accepts and ignores."""

_ENTRIES: Final = frozenset({"headers", "query"})


def read_metadata(value: object, path: str, faults: list[Fault]) -> dict[str, str] | None:
    """The metadata, or None when there are none that fit."""
    if value is None:
        return None
    unfit = list(shapes.faults_of(Metadata, value, path))
    faults += unfit
    return None if unfit else msgspec.convert(value, Metadata)


def add_broken(broken: list[Fault], prefix: str, faults: list[Fault]) -> None:
    """Adds the rules that were broken, below `prefix`, by fields that have no fault yet."""
    spoiled = {fault.field for fault in faults}
    for rule in broken:
        moved = msgspec.structs.replace(rule, field=prefix + rule.field)
        if moved.field not in spoiled:
            faults.append(moved)


def is_rescheduling_spoiled(prefix: str, faults: list[Fault]) -> bool:
    """Whether the fields that say when a task is due could not be read, so that no date can be judged against it."""
    spoiled = {fault.field for fault in faults}
    return any(f"{prefix}config.{name}" in spoiled for name in RESCHEDULING)


def merge(target: Any, patch: Any) -> Any:
    """RFC 7396: objects are merged, null removes, anything else replaces. JSON as it came is merged as text.

    >>> merge({"a": 1, "b": {"c": 2, "d": 3}}, {"a": None, "b": {"c": 4}})
    {'b': {'c': 4, 'd': 3}}
    """
    if isinstance(patch, Raw):
        return Raw(merged(bytes(target) if isinstance(target, Raw) else NULL, bytes(patch)))
    if not isinstance(patch, dict):
        return patch
    after = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            after.pop(name, None)
        else:
            after[name] = merge(after.get(name), value)
    return after


def read_config(value: object, zone: tzinfo, path: str, faults: list[Fault]) -> TaskConfig:
    """The configuration as far as its fields fit; what does not is left at its default."""
    if value is None:
        return TaskConfig()
    if not isinstance(value, dict):
        faults.append(Fault(path, "must be an object", shapes.shown(value), "an object"))
        return TaskConfig()
    canonical = words.spelled(TaskConfig, _canonical(value, _zone_of(value, zone), path, faults))
    try:
        return msgspec.convert(canonical, TaskConfig)
    except msgspec.ValidationError:
        found: list[Fault] = []
        fitted = fitting(TaskConfig, canonical, path, CONFIG_NOT_OFFERED, found)
    for fault in found:  # shows what was sent, not what it was read as
        name = fault.field[len(path) + 1 :]
        shown = fault.given not in (None, shapes.MASK) and name in value
        faults.append(msgspec.structs.replace(fault, given=shapes.shown(value[name])) if shown else fault)
    return msgspec.convert(fitted, TaskConfig)


def fitting(
    wanted: type[msgspec.Struct], value: dict[str, Any], path: str, not_offered: frozenset[str], faults: list[Fault]
) -> dict[str, Any]:
    """The fields that exist and fit their types; the faults of the others are added to `faults`.

    Of headers and query the entries that fit remain, so that the rules for those are still applied.
    """
    found = list(shapes.struct_faults(wanted, value, path, not_offered))
    faults += found
    known = shapes.fields_of(wanted)
    start, spoiled = len(path) + 1, {fault.field for fault in found}
    fields = {field[start:].split(".", 1)[0] for field in spoiled}
    fitted = {name: item for name, item in value.items() if name in known and name not in fields}
    for name in _ENTRIES.intersection(fields) & value.keys():
        entries = value[name] if isinstance(value[name], dict) else {}
        entries = {key: item for key, item in entries.items() if f"{path}.{name}.{key[:64]}" not in spoiled}
        if next(shapes.faults_of(known[name].type, entries, path), None) is None:
            fitted[name] = entries
    return fitted


def _zone_of(value: dict[str, Any], zone: tzinfo) -> tzinfo:
    """Where the dates of a configuration count that name no zone. One that is not known is a fault of `rules`."""
    name = value.get("timezone")
    return zones.zone_of(name) if isinstance(name, str) and zones.is_known(name) else zone


def _canonical(value: dict[str, Any], zone: tzinfo, path: str, faults: list[Fault]) -> dict[str, Any]:
    """The configuration with dates and durations in milliseconds. Those that cannot be read become faults."""
    canonical: dict[str, Any] = {}
    for name, item in value.items():
        reading = item
        if isinstance(item, str | float):
            try:
                if name in DATES:
                    reading = dates.instant(item, zone)
                elif name in DURATIONS:
                    reading = durations.duration_ms(item)
                else:
                    reading = whole(item)
            except ValueError as error:
                forms = dates.FORMS if name in DATES else durations.FORMS
                faults.append(Fault(f"{path}.{name}", str(error), shapes.shown(item), forms))
                continue
        elif isinstance(item, list):
            reading = [whole(inner) for inner in item]
        canonical[name] = reading
    return canonical


def whole(value: Any) -> Any:
    """A number without a fraction as an integer: JSON does not tell 3.0 from 3."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
