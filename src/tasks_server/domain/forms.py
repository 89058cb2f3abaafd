"""The stored form of what tasks are to do: a byte that tells the version, then msgpack of what differs from the
defaults of that version (`domain.defaults`). What was stored under an earlier one is read as what it meant then.

Version 0 has no such byte: it begins with the map itself. Its JSON was taken apart, and a handler had two flags in
place of what UNSET and `Fallback` say.
"""

from typing import Any, Final, Generic, TypeVar

import msgspec

from tasks_server.domain.defaults import NOW, VERSIONS, Defaults
from tasks_server.domain.request import HttpRequest, TaskConfig, TaskSpec

T = TypeVar("T")
_NEWEST: Final = len(VERSIONS) - 1
_MAP: Final = 0x80
"""What maps of msgpack begin with, this or higher."""
_ENCODER: Final = msgspec.msgpack.Encoder()
_ANY: Final = msgspec.msgpack.Decoder(dict[str, Any])
_JSON: Final = msgspec.json.Encoder().encode
_PLACES: Final = {
    field.name: (part, field.encode_name)
    for part, kind in (("request", HttpRequest), ("config", TaskConfig))
    for field in msgspec.structs.fields(kind)
}
_OF_WAITS: Final = {"retry_waits", "retry_interval", "retry_max_interval", "retry_jitter"}
_WAITS: Final = ("retryInterval", "retryExponential", "retryBackoff")
_YIELDING: Final = {"retry", "timeout"}
"""Of a task that runs a handler: what that is registered with comes before the default."""


class Newer(msgspec.DecodeError):
    """It was stored by a newer version of this software, which this one cannot read."""


class Form(Generic[T]):
    """The stored form of a type that has the fields `request`, `config` and `handler`, among others."""

    def __init__(self, kind: type[T]) -> None:
        self._kind = kind
        self._decode = msgspec.msgpack.Decoder(kind).decode
        self._begin = bytes([_NEWEST])

    def encode(self, thing: T) -> bytes:
        """The bytes to store."""
        return self._begin + _ENCODER.encode(thing)

    def decode(self, blob: bytes) -> T:
        """What was stored. Raises `Newer`, or another `msgspec.DecodeError` for bytes that no version of ours wrote."""
        version = blob[0] if blob else 0
        if version == _NEWEST:
            return self._decode(blob[1:])
        return self._older(blob, version)

    def _older(self, blob: bytes, version: int) -> T:
        """The long way; only what an earlier version stored comes here, or what is damaged."""
        if version >= _MAP:
            version = 0
        if version > _NEWEST:
            raise Newer(f"a newer version of this software stored it (form {version}, {_NEWEST} is known here)")
        raw = _ANY.decode(blob[1:] if version else blob)
        if not isinstance(raw.get("config"), dict):
            raise msgspec.DecodeError("there is no configuration")
        if not version:
            _raise_from_0(raw)
        _fill_in(raw, VERSIONS[version], NOW)
        return msgspec.convert(raw, self._kind)


def _fill_in(raw: dict[str, Any], then: Defaults, now: Defaults) -> None:
    """Says what was left to the defaults of `then`, where they are others `now`."""
    changed = {name for name in Defaults.__struct_fields__ if getattr(then, name) != getattr(now, name)}
    if changed & _OF_WAITS:
        _fill_in_waits(raw, then)
    for name in changed - _OF_WAITS:
        part, wire = _PLACES[name]
        if raw.get(part) is not None:
            _place(raw, raw[part], name).setdefault(wire, getattr(then, name))


def _fill_in_waits(raw: dict[str, Any], then: Defaults) -> None:
    """Says how retries wait. Of a handler that is only how its waits grow, and from what: what it is registered with
    may be of another kind, which a cap and a share left to chance would not fit.
    """
    config = raw["config"]
    if not ("retry" in config or "retryAt" in config):
        return  # it does not try again by itself; should an edit ask for that, the waits of today count
    place = config
    if raw.get("handler") is not None:
        place = _place(raw, config, "retry")
        if "retry" in place:
            return
    if any(name in config for name in _WAITS):
        place.setdefault("retryInterval", config.get("retryInterval", then.retry_interval))
    else:
        backoff, interval_ms = then.retry_waits
        place.setdefault("retryBackoff", backoff)
        place.setdefault("retryInterval", interval_ms)
    if place is config:
        config.setdefault("retryMaxInterval", max(then.retry_max_interval, config["retryInterval"]))
        if config.get("retryBackoff") == "exponential":
            config.setdefault("retryJitter", then.retry_jitter)


def _place(raw: dict[str, Any], part: dict[str, Any], name: str) -> Any:
    """Where a default is to be said."""
    handler = raw.get("handler")
    return part if handler is None or name not in _YIELDING else handler.setdefault("fallback", {})


def _raise_from_0(raw: dict[str, Any]) -> None:
    """To version 1."""
    request, handler, config = raw.get("request"), raw.get("handler"), raw["config"]
    if isinstance(request, dict) and isinstance(request.get("data"), dict):
        request["json"] = _JSON(request.pop("data"))
    if isinstance(handler, dict):
        handler["payload"] = _JSON(handler.get("payload"))
        if handler.pop("ownTimeout", False):
            config.setdefault("timeout", VERSIONS[0].timeout)
        if handler.pop("ownRetries", False):
            _own_all_retries(config)
        elif fallback := _fallback_of(config):
            handler["fallback"] = fallback


def _own_all_retries(config: dict[str, Any]) -> None:
    """The task had its retries to itself, those that it did not name, too."""
    if "retryAt" not in config:
        config.setdefault("retry", VERSIONS[0].retry)
    config.setdefault("retryInterval", VERSIONS[0].retry_interval)
    if "retryBackoff" not in config:
        config.setdefault("retryExponential", True)


def _fallback_of(config: dict[str, Any]) -> dict[str, Any]:
    """What the task said of retries gave way to what its handler was registered with."""
    fallback: dict[str, Any] = {
        name: config.pop(name) for name in ("retry", "retryInterval", "retryBackoff") if name in config
    }
    exponential = config.pop("retryExponential", True)
    if "retryInterval" in fallback or not exponential:
        fallback.setdefault("retryBackoff", "linear" if exponential else "fixed")
    return fallback


_SPEC: Final = Form(TaskSpec)
encode_spec = _SPEC.encode
"""The stored form of a spec; only what differs from the defaults takes room."""
decode_spec = _SPEC.decode
"""The spec of a stored form. Raises `Newer`, or `msgspec.DecodeError` for bytes that no version of ours wrote."""
