"""From what was sent to a `Draft` that obeys every rule, or to all the faults of it at once.

`judge` takes what a decoder already fitted to the types: the fast way, for canonical JSON. `read` takes any JSON
value, understands the other forms (dates and durations as text, methods in any case) and finds every fault; whoever
decodes falls back on it. Both apply the same rules. `revise` reads a merge patch. Nothing here does I/O.
"""

from collections.abc import Callable
from datetime import tzinfo
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from tasks_server.domain import (
    dates,
    durations,
    lifecycle,
    limits,
    rules,
    rules_egress,
    rules_hosts,
    rules_options,
    shapes,
)
from tasks_server.domain.abilities import ALL, Abilities, judge_certificates, judge_features
from tasks_server.domain.egress import OPEN, Egress
from tasks_server.domain.errors import Fault, InvalidRequest
from tasks_server.domain.request import (
    METHODS,
    HandlerCall,
    HttpRequest,
    Key,
    TaskConfig,
    TaskSpec,
    encode_spec,
    is_special,
)
from tasks_server.domain.task import Task

MetadataValue = Annotated[str, Meta(min_length=1, max_length=limits.METADATA_VALUE_LENGTH_MAX)]
Metadata = Annotated[dict[Key, MetadataValue], Meta(min_length=1, max_length=limits.METADATA_ENTRIES_MAX)]

DATES: Final = frozenset({"executeAt", "retryAt", "repeatAt", "timeoutAt", "expireAt"})
DURATIONS: Final = frozenset({"executionDelay", "retryInterval", "retryMaxInterval", "repeatInterval", "timeout"})
RESCHEDULING: Final = frozenset({"executionDelay", "executeAt"})

REQUEST_NOT_OFFERED: Final = frozenset[str]()
CONFIG_NOT_OFFERED: Final = frozenset[str]()
"""Options of the full contract that this version refuses, rather than accepts and ignores."""


class Registration(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """A task as it is asked for."""

    http_request: HttpRequest
    config: TaskConfig | None = None
    metadata: Metadata | None = None


class Draft(msgspec.Struct):
    """A task that obeys every rule, judged at the instant `at`: a request or a handler. `target`: see `Task`."""

    request: HttpRequest | None
    config: TaskConfig
    metadata: dict[str, str] | None
    target: str
    spec: bytes
    at: int
    handler: HandlerCall | None = None

    @property
    def headers(self) -> tuple[str, ...]:
        """The names of the headers that the caller sends."""
        return tuple(self.request.headers or ()) if self.request is not None else ()


class Edit(msgspec.Struct):
    """A task's spec after a patch; `rescheduled` when the patch names its time."""

    draft: Draft
    rescheduled: bool


_DEFAULT_CONFIG: Final = TaskConfig()
_ENTRIES: Final = frozenset({"headers", "query"})


def judge(registration: Registration, now: int, egress: Egress = OPEN, abilities: Abilities = ALL) -> Draft:
    """The draft of a registration whose types fit. Raises `InvalidRequest` with every rule that it breaks, those of
    `egress` and `abilities` among them.
    """
    faults: list[Fault] = []
    request, config = registration.http_request, registration.config or _DEFAULT_CONFIG
    target = rules.judge_request(request, faults)
    rules.judge_config(config, faults)
    special = is_special(request, config)
    if special:
        rules_hosts.settle_hosts(config, faults)
    rules_egress.judge_egress(target, config, egress, faults)
    if special:
        rules_options.judge_options(request, config, faults)
        judge_certificates(config, abilities, faults)
    if abilities.lacking:
        judge_features(request, config, abilities, faults)
    rules.judge_times(config, rules.Moment(now, lifecycle.due_at(config, now)), faults)
    if registration.metadata is not None:
        rules.judge_names("metadata", registration.metadata, faults)
    if faults:
        raise InvalidRequest(faults)
    return _draft(request, config, registration.metadata, target, now, special)


def read(
    raw: object, now: int, zone: tzinfo, path: str = "", egress: Egress = OPEN, abilities: Abilities = ALL
) -> Draft:
    """The draft of any JSON value. Raises `InvalidRequest` with every fault, named by dotted path below `path`."""

    def moment(config: TaskConfig) -> rules.Moment:
        return rules.Moment(now, lifecycle.due_at(config, now))

    registration, target = _read_registration(raw, zone, path, moment, egress, abilities)
    request, config = registration.http_request, registration.config or _DEFAULT_CONFIG
    return _draft(request, config, registration.metadata, target, now, is_special(request, config))


def revise(
    spec: TaskSpec,
    task: Task,
    patch: object,
    now: int,
    zone: tzinfo,
    egress: Egress = OPEN,
    abilities: Abilities = ALL,
) -> Edit:
    """The spec under a JSON merge patch (RFC 7396) of `{httpRequest, config, metadata}`, judged as a whole.

    Dates that the patch leaves alone are not judged against the clock again, unless it moves the due time.
    Raises `InvalidRequest` with every fault.
    """
    if not isinstance(patch, dict):
        raise InvalidRequest([Fault("", "must be a JSON object", shapes.shown(patch))])
    before = msgspec.to_builtins({"httpRequest": spec.request, "config": spec.config})
    if task.metadata:
        before["metadata"] = task.metadata
    named = _named(patch)
    rescheduled = bool(named & RESCHEDULING)

    def moment(config: TaskConfig) -> rules.Moment:
        if rescheduled:
            return rules.Moment(now, lifecycle.due_at(config, now))
        return rules.Moment(now, task.due_at, named)

    registration, target = _read_registration(merge(before, patch), zone, "", moment, egress, abilities)
    request, config = registration.http_request, registration.config or _DEFAULT_CONFIG
    draft = _draft(request, config, registration.metadata, target, now, is_special(request, config))
    return Edit(draft, rescheduled)


def _named(patch: dict[str, Any]) -> frozenset[str]:
    """The configuration's fields that a patch changes; all of them when it removes or replaces the whole."""
    if "config" not in patch:
        return frozenset()
    config = patch["config"]
    return frozenset(config) if isinstance(config, dict) else DATES | RESCHEDULING


def merge(target: Any, patch: Any) -> Any:
    """RFC 7396: objects are merged, null removes, anything else replaces.

    >>> merge({"a": 1, "b": {"c": 2, "d": 3}}, {"a": None, "b": {"c": 4}})
    {'b': {'c': 4, 'd': 3}}
    """
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge(merged.get(name), value)
    return merged


def _draft(
    request: HttpRequest, config: TaskConfig, metadata: dict[str, str] | None, target: str, now: int, special: bool
) -> Draft:
    try:
        spec = encode_spec(TaskSpec(request, config, special))
    except OverflowError:
        fault = Fault("httpRequest.data", "holds an integer beyond 64 bits; send it as text, or the body as dataBase64")
        raise InvalidRequest([fault]) from None
    return Draft(request, config, metadata, target, spec, now)


# The long way: any JSON value, every fault

_MomentOf = Callable[[TaskConfig], rules.Moment]


def _read_registration(
    raw: object, zone: tzinfo, path: str, moment: _MomentOf, egress: Egress, abilities: Abilities
) -> tuple[Registration, str]:
    """The registration and its target. `moment` gives what its dates are judged against."""
    if not isinstance(raw, dict):
        raise InvalidRequest([Fault(path, "must be a JSON object", shapes.shown(raw), "an object")])
    faults: list[Fault] = []
    prefix = f"{path}." if path else ""
    known = [field.encode_name for field in msgspec.structs.fields(Registration)]
    faults += [shapes.unknown_field(path, name, known) for name in raw if name not in known]
    request = _read_request(raw, prefix, faults)
    config = _read_config(raw.get("config"), zone, f"{prefix}config", faults)
    metadata = raw.get("metadata")
    unfit = [] if metadata is None else list(shapes.faults_of(Metadata, metadata, f"{prefix}metadata"))
    faults += unfit
    spoiled = {fault.field for fault in faults}
    broken: list[Fault] = []
    target = rules.judge_request(request, broken) if request is not None else ""
    rules.judge_config(config, broken)
    special = request is not None and is_special(request, config)
    if special:
        rules_hosts.settle_hosts(config, broken)
    rules_egress.judge_egress(target, config, egress, broken)
    if request is not None and special:
        rules_options.judge_options(request, config, broken)
        judge_certificates(config, abilities, broken)
    if request is not None and abilities.lacking:
        judge_features(request, config, abilities, broken)
    if not any(f"{prefix}config.{name}" in spoiled for name in RESCHEDULING):
        rules.judge_times(config, moment(config), broken)
    if metadata is not None and not unfit:
        rules.judge_names("metadata", metadata, broken)
    for rule in broken:
        moved = msgspec.structs.replace(rule, field=prefix + rule.field)
        if moved.field not in spoiled:
            faults.append(moved)
    if faults:
        raise InvalidRequest(faults)
    assert request is not None  # a missing request is a fault, raised above
    return Registration(request, config, metadata), target


def _read_request(raw: dict[str, Any], prefix: str, faults: list[Fault]) -> HttpRequest | None:
    """The request as far as its fields fit, or None when that is not far enough to judge it further."""
    path = f"{prefix}httpRequest"
    if not isinstance(value := raw.get("httpRequest"), dict):
        what = "is required" if "httpRequest" not in raw else "must be an object"
        faults.append(Fault(path, what, shapes.shown(value), "an object with url and method"))
        return None
    method = value.get("method")
    if isinstance(method, str) and method.upper() in METHODS:
        value = {**value, "method": method.upper()}
    try:
        return msgspec.convert(value, HttpRequest)
    except msgspec.ValidationError:
        fitting = _fitting(HttpRequest, value, path, REQUEST_NOT_OFFERED, faults)
        return msgspec.convert({"url": "http://unknown/", "method": "GET", **fitting}, HttpRequest)


def _read_config(value: object, zone: tzinfo, path: str, faults: list[Fault]) -> TaskConfig:
    """The configuration as far as its fields fit; what does not is left at its default."""
    if value is None:
        return TaskConfig()
    if not isinstance(value, dict):
        faults.append(Fault(path, "must be an object", shapes.shown(value), "an object"))
        return TaskConfig()
    canonical = _canonical(value, zone, path, faults)
    try:
        return msgspec.convert(canonical, TaskConfig)
    except msgspec.ValidationError:
        found: list[Fault] = []
        fitting = _fitting(TaskConfig, canonical, path, CONFIG_NOT_OFFERED, found)
    for fault in found:  # shows what was sent, not what it was read as
        name = fault.field[len(path) + 1 :]
        shown = fault.given not in (None, shapes.MASK) and name in value
        faults.append(msgspec.structs.replace(fault, given=shapes.shown(value[name])) if shown else fault)
    return msgspec.convert(fitting, TaskConfig)


def _fitting(
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
    fitting = {name: item for name, item in value.items() if name in known and name not in fields}
    for name in _ENTRIES.intersection(fields) & value.keys():
        entries = value[name] if isinstance(value[name], dict) else {}
        entries = {key: item for key, item in entries.items() if f"{path}.{name}.{key[:64]}" not in spoiled}
        if next(shapes.faults_of(known[name].type, entries, path), None) is None:
            fitting[name] = entries
    return fitting


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
