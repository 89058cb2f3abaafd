"""JSON of callbacks: what clients see of what a lane or an owner asks for, secrets masked."""

from typing import Any

import msgspec

from tasks_server.api import wire
from tasks_server.domain import masking, reading, shapes, words
from tasks_server.domain.callback import Asked, Callback, Callbacks
from tasks_server.domain.errors import Fault, InvalidRequest
from tasks_server.domain.stored import UNREADABLE


class CallbackHandlerView(msgspec.Struct):
    """A handler by its name."""

    name: str


class CallbackView(msgspec.Struct, rename="camel"):
    """What is called: a `url` or a `handler`."""

    url: str | None
    method: str
    headers: dict[str, str] | None
    handler: CallbackHandlerView | None
    retry: int
    lane: str


class CallbacksView(msgspec.Struct, rename="camel"):
    """What is called when tasks have ended as ERROR, and as SUCCESS. null: nothing."""

    failure_callback: CallbackView | bool | str | None
    success_callback: CallbackView | bool | str | None


class CallbacksPatch(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """What an owner asks for; null takes it away."""

    failure_callback: Asked = None
    success_callback: Asked = None


def callback_view(callbacks: Callbacks, one: Callback | bool | None) -> CallbackView | bool | str | None:
    """One of the callbacks of a lane or an owner."""
    if callbacks.unreadable is not None:
        return UNREADABLE
    return None if one is None else msgspec.convert(masking.shown_callback(one), CallbackView | bool, strict=False)


def callbacks_view(callbacks: Callbacks) -> CallbacksView:
    return CallbacksView(callback_view(callbacks, callbacks.failure), callback_view(callbacks, callbacks.success))


def read_callbacks_patch(body: bytes) -> dict[str, Any]:
    """A merge patch whose fields exist. Raises `InvalidRequest`."""
    raw = wire.read_json(body)
    names = list(shapes.fields_of(CallbacksPatch))
    if not isinstance(raw, dict):
        raise InvalidRequest([Fault("body", "must be a JSON object", shapes.shown(raw), "an object")])
    faults = list(shapes.unknown_fields("", raw, names))
    if not raw:
        faults.append(Fault("body", f"must name what to change: {' or '.join(names)}", allowed=names))
    if faults:
        raise InvalidRequest(faults)
    spelled: dict[str, Any] = words.spelled(CallbacksPatch, {name: reading.whole(item) for name, item in raw.items()})
    return spelled
