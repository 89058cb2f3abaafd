"""From what was sent to a `Draft` that obeys every rule, or to all the faults of it at once.

`judge` takes what a decoder already fitted to the types: the fast way, for canonical JSON. `read` takes any JSON
value, understands the other forms (dates and durations as text, words in any case) and finds every fault; whoever
decodes falls back on it. Both apply the same rules. `revise` reads a merge patch. Nothing here does I/O. Of what
`read` and `revise` take, that which `asked.KEPT` names is JSON as it came (`json_text.opened`).
"""

from collections.abc import Callable
from datetime import tzinfo
from typing import Any, Final

import msgspec

from tasks_server.domain import (
    handler_reading,
    lifecycle,
    rules,
    rules_callbacks,
    rules_egress,
    rules_hosts,
    rules_options,
    rules_pairs,
    shapes,
    words,
)
from tasks_server.domain.abilities import ALL, Abilities, judge_certificates, judge_features
from tasks_server.domain.asked import AskedRequest, data_faults, data_of, request_of
from tasks_server.domain.certificates import make_way
from tasks_server.domain.egress import OPEN, Egress
from tasks_server.domain.errors import Fault, InvalidRequest
from tasks_server.domain.forms import decode_spec, encode_spec
from tasks_server.domain.handler_reading import HandlerRegistration
from tasks_server.domain.reading import (
    REQUEST_NOT_OFFERED,
    RESCHEDULING,
    Metadata,
    add_broken,
    fitting,
    is_rescheduling_spoiled,
    merge,
    read_config,
    read_metadata,
)
from tasks_server.domain.request import NO_CONFIG, HandlerCall, HttpRequest, TaskConfig, TaskSpec, is_special
from tasks_server.domain.task import Task, handler_target


class Registration(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """A task that makes an HTTP request, as it is asked for."""

    http_request: AskedRequest
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


def judge(registration: Registration, now: int, egress: Egress = OPEN, abilities: Abilities = ALL) -> Draft:
    """The draft of a registration whose types fit. Raises `InvalidRequest` with every rule that it breaks, those of
    `egress` and `abilities` among them; as `asked.request_of` does when the data do not fit.
    """
    faults: list[Fault] = []
    request, config = request_of(registration.http_request), registration.config or NO_CONFIG
    target = rules.judge_request(request, faults)
    rules.judge_config(config, faults)
    special = is_special(request, config)
    if special:
        rules_hosts.settle_hosts(config, faults)
    rules_egress.judge_egress(target, config, egress, faults)
    rules_callbacks.settle_callbacks(config, egress, faults)
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


def judge_handler(registration: HandlerRegistration, now: int, egress: Egress = OPEN) -> Draft:
    """The same for one that runs a handler. Raises `UnicodeDecodeError`, too, for a payload that is no UTF-8."""
    faults: list[Fault] = []
    call, config = handler_reading.fitted(registration)
    handler_reading.judge_call(call, faults)
    rules.judge_config(config, faults)
    rules_callbacks.settle_callbacks(config, egress, faults)
    rules.judge_times(config, rules.Moment(now, lifecycle.due_at(config, now)), faults)
    if registration.metadata is not None:
        rules.judge_names("metadata", registration.metadata, faults)
    if faults:
        raise InvalidRequest(faults)
    return handler_draft(call, config, registration.metadata, now)


def read(
    raw: object,
    now: int,
    zone: tzinfo,
    path: str = "",
    egress: Egress = OPEN,
    abilities: Abilities = ALL,
    *,
    named: frozenset[str] | None = None,
) -> Draft:
    """The draft of any JSON value. `named`: the fields of the configuration that an edit names (None: it is no edit).
    Raises `InvalidRequest` with every fault, named by dotted path below `path`.
    """

    def moment(config: TaskConfig) -> rules.Moment:
        return rules.Moment(now, lifecycle.due_at(config, now), named=named)

    return _read(raw, now, zone, path, moment, egress, abilities)


def revise(
    spec: TaskSpec,
    task: Task,
    patch: object,
    now: int,
    zone: tzinfo,
    egress: Egress = OPEN,
    abilities: Abilities = ALL,
) -> Edit:
    """The spec under a JSON merge patch (RFC 7396) of `{httpRequest, handler, config, metadata}`, judged as a whole.

    Dates that the patch leaves alone are not judged against the clock again, unless it moves the due time.
    Raises `InvalidRequest` with every fault.
    """
    if not isinstance(patch, dict):
        raise InvalidRequest([Fault("body", "must be a JSON object", shapes.shown(patch), "an object")])
    before = as_asked(spec.request, spec.handler, spec.config)
    if task.metadata:
        before["metadata"] = task.metadata
    make_way(before, patch)
    rules_pairs.make_room(before, patch)
    named = named_config(patch)
    rescheduled = bool(named & RESCHEDULING)

    def moment(config: TaskConfig) -> rules.Moment:
        if rescheduled:
            return rules.Moment(now, lifecycle.due_at(config, now), named=named)
        return rules.Moment(now, task.due_at, named, named)

    idle = list(rules_pairs.edit_faults(patch, spec.config, task))
    try:
        draft = _read(merge(before, patch), now, zone, "", moment, egress, abilities)
    except InvalidRequest as error:
        spoiled = {fault.field for fault in error.faults}
        raise InvalidRequest([*error.faults, *(fault for fault in idle if fault.field not in spoiled)]) from None
    if idle:
        raise InvalidRequest(idle)
    if spec.handler is not None and draft.handler is not None:
        draft.handler.fallback = spec.handler.fallback
        draft = handler_draft(draft.handler, draft.config, draft.metadata, now)
    if spec.schedule is not None:  # its target goes on to be told for which fire time it is
        whole = msgspec.structs.replace(decode_spec(draft.spec), schedule=spec.schedule, fire_at=spec.fire_at)
        draft.spec = encode_spec(whole)
    return Edit(draft, rescheduled)


def as_asked(request: HttpRequest | None, handler: HandlerCall | None, config: TaskConfig) -> dict[str, Any]:
    """A task's spec as somebody would ask for it, secrets and all."""
    if handler is not None:
        return handler_reading.as_asked(handler, config)
    assert request is not None  # it is one or the other
    bare = msgspec.structs.replace(request, data=None, json=None)
    asked: dict[str, Any] = msgspec.to_builtins({"httpRequest": bare, "config": config})
    if (data := data_of(request)) is not None:
        asked["httpRequest"]["data"] = data
    return asked


def named_config(patch: dict[str, Any]) -> frozenset[str]:
    """The configuration's fields that a patch changes; all of them when it removes or replaces the whole."""
    if "config" not in patch:
        return frozenset()
    config = patch["config"]
    return frozenset(config) if isinstance(config, dict) else _ALL


def _draft(
    request: HttpRequest, config: TaskConfig, metadata: dict[str, str] | None, target: str, now: int, special: bool
) -> Draft:
    return Draft(request, config, metadata, target, encode_spec(TaskSpec(request, config, special)), now)


def handler_draft(call: HandlerCall, config: TaskConfig, metadata: dict[str, str] | None, now: int) -> Draft:
    """The draft of a handler that was judged."""
    spec = encode_spec(TaskSpec(None, config, handler=call, metadata=metadata))
    return Draft(None, config, metadata, handler_target(call.name), spec, now, call)


# The long way: any JSON value, every fault

_ALL: Final = frozenset(field.encode_name for field in msgspec.structs.fields(TaskConfig))
_MomentOf = Callable[[TaskConfig], rules.Moment]


def _read(
    raw: object, now: int, zone: tzinfo, path: str, moment: _MomentOf, egress: Egress, abilities: Abilities
) -> Draft:
    """The draft of any JSON value. `moment` gives what its dates are judged against."""
    if not isinstance(raw, dict):
        raise InvalidRequest([Fault(path or "body", "must be a JSON object", shapes.shown(raw), "an object")])
    if "handler" in raw:
        call, config, metadata = handler_reading.read(raw, zone, path, moment, egress)
        return handler_draft(call, config, metadata, now)
    request, config, metadata, target = _read_registration(raw, zone, path, moment, egress, abilities)
    return _draft(request, config, metadata, target, now, is_special(request, config))


def _read_registration(
    raw: dict[str, Any], zone: tzinfo, path: str, moment: _MomentOf, egress: Egress, abilities: Abilities
) -> tuple[HttpRequest, TaskConfig, dict[str, str] | None, str]:
    """The request, its configuration and metadata, and its target."""
    faults: list[Fault] = []
    prefix = f"{path}." if path else ""
    known = ("httpRequest", "handler", "config", "metadata")
    faults += shapes.unknown_fields(path, raw, known)
    request = _read_request(raw, prefix, faults)
    config = read_config(raw.get("config"), zone, f"{prefix}config", faults)
    metadata = read_metadata(raw.get("metadata"), f"{prefix}metadata", faults)
    broken: list[Fault] = []
    target = rules.judge_request(request, broken) if request is not None else ""
    rules.judge_config(config, broken)
    special = request is not None and is_special(request, config)
    if special:
        rules_hosts.settle_hosts(config, broken)
    rules_egress.judge_egress(target, config, egress, broken)
    rules_callbacks.settle_callbacks(config, egress, broken)
    if request is not None and special:
        rules_options.judge_options(request, config, broken)
        judge_certificates(config, abilities, broken)
    if request is not None and abilities.lacking:
        judge_features(request, config, abilities, broken)
    if not is_rescheduling_spoiled(prefix, faults):
        rules.judge_times(config, moment(config), broken)
    if metadata is not None:
        rules.judge_names("metadata", metadata, broken)
    add_broken(broken, prefix, faults)
    if faults:
        raise InvalidRequest(faults)
    assert request is not None  # a missing request is a fault, raised above
    return request, config, metadata, target


def _read_request(raw: dict[str, Any], prefix: str, faults: list[Fault]) -> HttpRequest | None:
    """The request as far as its fields fit, or None when that is not far enough to judge it further."""
    path = f"{prefix}httpRequest"
    if not isinstance(value := raw.get("httpRequest"), dict):
        what = "is required, or handler in its place" if value is None else "must be an object"
        faults.append(Fault(path, what, shapes.shown(value), "an object with url and method"))
        return None
    value = words.spelled(
        AskedRequest, {name: item for name, item in value.items() if item is not None or name != "data"}
    )
    try:
        return request_of(msgspec.convert(value, AskedRequest))
    except msgspec.MsgspecError:
        if "data" in value:
            faults += data_faults(value.pop("data"), f"{path}.data")
        fitted = fitting(AskedRequest, value, path, REQUEST_NOT_OFFERED, faults)
        return request_of(msgspec.convert({"url": "http://unknown/", "method": "GET", **fitted}, AskedRequest))
