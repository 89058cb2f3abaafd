"""What breaks rules of the callbacks that a task, a lane or an owner asks for."""

from typing import Any

import msgspec

from tasks_server.domain import rules, shapes, urls
from tasks_server.domain.callback import Asked, Callback, Callbacks
from tasks_server.domain.egress import Egress
from tasks_server.domain.errors import Fault
from tasks_server.domain.request import TaskConfig
from tasks_server.domain.signing import header_faults


def settle_callbacks(config: TaskConfig, egress: Egress, faults: list[Fault]) -> None:
    """Judges what a configuration says of callbacks, and brings it into the form in which it is stored."""
    if config.failure_callback is not None:
        config.failure_callback = _settled(config.failure_callback, "config.failureCallback", egress, faults)
    if config.success_callback is not None:
        config.success_callback = _settled(config.success_callback, "config.successCallback", egress, faults)


def callbacks_of(failure: Asked, success: Asked, egress: Egress, faults: list[Fault]) -> Callbacks:
    """The same of a lane or an owner."""
    return Callbacks(
        _settled(failure, "failureCallback", egress, faults), _settled(success, "successCallback", egress, faults)
    )


def asked_callbacks(callbacks: Callbacks) -> dict[str, Any]:
    """What a lane or an owner asks for, as it would be asked for again; what it does not ask for is left out."""
    asked = {"failureCallback": callbacks.failure, "successCallback": callbacks.success}
    return {name: msgspec.to_builtins(one) for name, one in asked.items() if one is not None}


def _settled(asked: Asked, path: str, egress: Egress, faults: list[Fault]) -> Callback | bool | None:
    if asked is None or asked is False:
        return asked
    if asked is True:
        text = "cannot be true: give what to call, or false for nothing"
        faults.append(Fault(path, text, asked, "a URL, an object, false or null"))
        return None
    callback = Callback(asked) if isinstance(asked, str) else asked
    if (callback.url is None) == (callback.handler is None):
        what = "needs a url or a handler" if callback.url is None else "cannot have both a url and a handler"
        faults.append(Fault(path, what, allowed="one of both"))
    if callback.url is not None:
        _judge_url(callback, path if isinstance(asked, str) else f"{path}.url", egress, faults)
    if callback.headers is not None:
        rules.judge_headers(callback.headers, f"{path}.headers", faults)
        faults += header_faults(callback.headers, f"{path}.headers")
    if callback.handler is not None:
        _judge_handler(callback, path, faults)
    if callback.lane.endswith("\n"):
        faults.append(Fault(f"{path}.lane", "has a line break in it"))
    return callback


def _judge_url(callback: Callback, path: str, egress: Egress, faults: list[Fault]) -> None:
    """Brings the URL into the form that is called."""
    assert callback.url is not None
    try:
        callback.url, target = urls.read_url(callback.url)
    except ValueError as error:
        given = None if "@" in callback.url or "?" in callback.url else shapes.shown(callback.url)
        faults.append(Fault(path, str(error), given, urls.FORMS))
        return
    refusal = egress.refusal_of_target(target)
    if refusal is not None:
        faults.append(Fault(path, f"leads to {refusal}", target))


def _judge_handler(callback: Callback, path: str, faults: list[Fault]) -> None:
    assert callback.handler is not None
    if callback.handler.name.endswith("\n"):  # the `$` of the pattern lets one pass
        faults.append(Fault(f"{path}.handler.name", "has a line break in it"))
    own: dict[str, Any] = {"headers": callback.headers is not None, "method": callback.method != "POST"}
    text = "belongs to a url; a handler has no use for it"
    faults += [Fault(f"{path}.{name}", text) for name, is_given in own.items() if is_given]
