"""A task that runs a handler, from what was sent to what is stored: its name, its payload, and of the configuration
what is not about HTTP. `validation` calls it; whoever sends such a task has the same two ways there, fast and thorough.
"""

from collections.abc import Callable
from datetime import tzinfo
from typing import Any, Final

import msgspec
from msgspec import UNSET, Raw, UnsetType

from tasks_server.domain import rules, rules_callbacks, shapes
from tasks_server.domain.egress import Egress
from tasks_server.domain.errors import Fault, InvalidRequest
from tasks_server.domain.json_text import check_encoding
from tasks_server.domain.reading import (
    Metadata,
    add_broken,
    is_rescheduling_spoiled,
    read_config,
    read_metadata,
)
from tasks_server.domain.request import NO_FALLBACK, Fallback, HandlerCall, Key, TaskConfig

CONFIG_FIELDS: Final = (
    *("execution_delay", "execute_at", "execute_immediately", "timezone"),
    *("retry", "retry_interval", "retry_exponential", "retry_backoff", "retry_max_interval", "retry_jitter"),
    *("retry_at", "repeat", "repeat_interval", "repeat_exponential", "repeat_at"),
    *("ignore_status_code", "timeout", "timeout_at", "expire_at", "priority", "lane", "trace_response_data"),
    *("failure_callback", "success_callback"),
)
"""Of the configuration, what a handler has a use for; all else is about HTTP."""
_FIELDS: Final = {field.name: field for field in msgspec.structs.fields(TaskConfig)}
_HTTP_ONLY: Final = frozenset(field.encode_name for name, field in _FIELDS.items() if name not in CONFIG_FIELDS)

HandlerConfig: Final[Any] = msgspec.defstruct(
    "HandlerConfig",
    [(name, _FIELDS[name].type | UnsetType, UNSET) for name in CONFIG_FIELDS],
    rename="camel",
    forbid_unknown_fields=True,
    module=__name__,
    namespace={
        "__doc__": "When to run a handler and how often to try. Unless they are given, what the handler is registered "
        "with counts for `retry` and `timeout`."
    },
)


class HandlerBody(msgspec.Struct, forbid_unknown_fields=True):
    """A handler to run by its name, with any JSON value, which it gets byte for byte as it came."""

    name: Key
    payload: Raw | UnsetType = UNSET


class HandlerRegistration(msgspec.Struct, forbid_unknown_fields=True):
    """A task that runs a handler, as it is asked for."""

    handler: HandlerBody
    config: HandlerConfig | None = None
    metadata: Metadata | None = None


def fitted(registration: HandlerRegistration) -> tuple[HandlerCall, TaskConfig]:
    """The handler and the configuration of a registration whose types fit."""
    call = call_of(registration.handler.name, registration.handler.payload)
    if registration.config is None:
        return call, TaskConfig()
    given = {name: value for name, value in msgspec.structs.asdict(registration.config).items() if value is not UNSET}
    return call, TaskConfig(**given)


def call_of(name: str, payload: Raw | UnsetType | None, fallback: Fallback = NO_FALLBACK) -> HandlerCall:
    """A handler to run, as it is stored. Raises `UnicodeDecodeError` for a payload that is no UTF-8."""
    if payload is UNSET or payload is None:
        return HandlerCall(name, fallback=fallback)
    text = bytes(payload)
    check_encoding(text)
    return HandlerCall(name, text, fallback)


def judge_call(call: HandlerCall, faults: list[Fault]) -> None:
    if call.name.endswith("\n"):  # the `$` of the pattern lets one pass
        faults.append(Fault("handler.name", "has a line break in it"))
    rules.judge_depth("handler.payload", call.payload, faults)


def read(
    raw: dict[str, Any], zone: tzinfo, path: str, moment: Callable[[TaskConfig], rules.Moment], egress: Egress
) -> tuple[HandlerCall, TaskConfig, dict[str, str] | None]:
    """The handler, configuration and metadata of any JSON object. `moment` gives what its dates are judged against,
    `egress` which callbacks may be called.
    Raises `InvalidRequest` with every fault.
    """
    faults: list[Fault] = []
    broken: list[Fault] = []
    prefix = f"{path}." if path else ""
    known = ("httpRequest", "handler", "config", "metadata")
    faults += shapes.unknown_fields(path, raw, known)
    if "httpRequest" in raw:
        text = "cannot be given together with handler: a task makes a request or runs a handler"
        faults.append(Fault(f"{prefix}httpRequest", text, allowed="one of both"))
    call = _read_call(raw["handler"], f"{prefix}handler", faults)
    judge_call(call, broken)
    given = _handlers_own(raw.get("config"), f"{prefix}config", faults)
    config = read_config(given, zone, f"{prefix}config", faults)
    metadata = read_metadata(raw.get("metadata"), f"{prefix}metadata", faults)
    rules.judge_config(config, broken)
    rules_callbacks.settle_callbacks(config, egress, broken)
    if not is_rescheduling_spoiled(prefix, faults):
        rules.judge_times(config, moment(config), broken)
    if metadata is not None:
        rules.judge_names("metadata", metadata, broken)
    add_broken(broken, prefix, faults)
    if faults:
        raise InvalidRequest(faults)
    return call, config, metadata


def as_asked(call: HandlerCall, config: TaskConfig) -> dict[str, Any]:
    """A stored task as somebody would ask for it."""
    return {"handler": {"name": call.name, "payload": Raw(call.payload)}, "config": msgspec.to_builtins(config)}


def effective(call: HandlerCall, config: TaskConfig) -> TaskConfig:
    """The configuration with all said that counts when the handler is registered with nothing."""
    fallback = call.fallback
    changes: dict[str, object] = {}
    if config.timeout is UNSET:
        changes["timeout"] = fallback.timeout
    if not config.says_retries:
        changes["retry"] = fallback.retry
    if config.retry_interval is UNSET:
        changes["retry_interval"] = fallback.retry_interval
    if not config.says_waits and fallback.retry_backoff is not UNSET:
        changes["retry_backoff"] = fallback.retry_backoff
    return msgspec.structs.replace(config, **changes).effective()


def shown_config(config: TaskConfig, shown: dict[str, Any]) -> dict[str, Any]:
    """Of what is shown of a configuration, what counts for a handler. Null where what the handler is registered with
    counts, which the task does not say itself.
    """
    shown = {name: value for name, value in shown.items() if name not in _HTTP_ONLY}
    if not config.says_retries:
        shown["retry"] = None
    if config.retry_interval is UNSET:
        shown["retryInterval"] = None
    if config.retry_backoff is None and config.retry_exponential is UNSET:
        shown["retryExponential"] = shown["retryBackoff"] = None
        if config.retry_jitter is None:
            shown["retryJitter"] = None
    if config.timeout is UNSET:
        shown["timeout"] = None
    return shown


def _read_call(value: object, path: str, faults: list[Fault]) -> HandlerCall:
    """The name and the payload as far as they fit."""
    if not isinstance(value, dict):
        faults.append(Fault(path, "must be an object", shapes.shown(value), "an object with name and payload"))
        return HandlerCall("unknown")
    value = {name: item for name, item in value.items() if item is not None or name != "payload"}
    found = list(shapes.struct_faults(HandlerBody, value, path))
    faults += found
    named = any(fault.field == f"{path}.name" for fault in found)
    return call_of("unknown" if named else value["name"], value.get("payload"))


def _handlers_own(value: object, path: str, faults: list[Fault]) -> object:
    """The configuration without what a handler has no use for, which becomes faults."""
    if not isinstance(value, dict):
        return value
    text = "belongs to an httpRequest; a handler has no use for it"
    faults += [Fault(f"{path}.{name}", text) for name in value if name in _HTTP_ONLY]
    return {name: item for name, item in value.items() if name not in _HTTP_ONLY}
