"""What is certainly wrong with a task, found without asking a server: for those who cannot be told by its answer. What
only the server knows, such as its egress policy, is its to judge.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from tasks_server.client.options import Config, HttpRequest

_METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")
_NAME: Final = re.compile(r"[a-zA-Z0-9$_.\-\[\]]{1,64}")
_DURATION: Final = re.compile(
    r"\s*(?:[0-9]{1,15}(?:\.[0-9]{1,15})?\s*"
    r"(?:ms|milliseconds?|s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?|d|days?|w|weeks?)(?![a-z])\s*)+",
    re.IGNORECASE,
)
_URL_LENGTH_MAX: Final = 8_192
_RETRIES_MAX: Final = 1 << 31
_PRIORITY_MAX: Final = 9
_ENTRIES_MAX: Final = 8
_VALUE_LENGTH_MAX: Final = 512
_DURATIONS: Final = ("executionDelay", "retryInterval", "retryMaxInterval", "repeatInterval", "timeout")
_BACKOFFS: Final = ("fixed", "linear", "exponential")


def check_task(body: Mapping[str, Any], size: int, size_max: int | None) -> None:
    """Raises `ValueError` with all that is wrong with the body of a registration, each fault by its field."""
    faults: list[str] = []
    request, handler = body.get("httpRequest"), body.get("handler")
    if isinstance(request, Mapping):
        _unknown("httpRequest", request, HttpRequest, faults)
        _url(request.get("url"), faults)
        _one("httpRequest.method", request.get("method"), _is_method, f"one of {', '.join(_METHODS)}", faults)
    if isinstance(handler, Mapping):
        _one("handler.name", handler.get("name"), _is_name, "1 to 64 of a-z A-Z 0-9 $ _ . - [ ]", faults)
    if isinstance(config := body.get("config"), Mapping):
        _config(config, faults)
    if (metadata := body.get("metadata")) is not None:
        _metadata(metadata, faults)
    if size_max is not None and size > size_max:
        faults.append(f"the task has {size} bytes; {size_max} are allowed (the server's MAX_SIZE_BODY_REQUEST)")
    if faults:
        raise ValueError("; ".join(faults))


def _unknown(path: str, given: Mapping[str, Any], wanted: Any, faults: list[str]) -> None:
    faults += [f"{path}.{name} is no option" for name in given if name not in {*wanted.__annotations__, "timezone"}]


def _one(field: str, value: Any, fits: Callable[[Any], bool], allowed: str, faults: list[str]) -> None:
    if value is not None and not fits(value):
        faults.append(f"{field} must be {allowed}, not {value!r}")


def _url(url: Any, faults: list[str]) -> None:
    try:
        parts = urlsplit(url) if isinstance(url, str) else None
        fits = parts is not None and parts.scheme.lower() in ("http", "https") and bool(parts.hostname)
    except ValueError:
        fits = False
    if not fits or len(url) > _URL_LENGTH_MAX:
        shown = repr(url) if not isinstance(url, str) else repr(url[:80])
        allowed = f"an absolute http or https URL of at most {_URL_LENGTH_MAX} characters"
        faults.append(f"httpRequest.url must be {allowed}, not {shown}")


def _config(config: Mapping[str, Any], faults: list[str]) -> None:
    _unknown("config", config, Config, faults)
    _one("config.priority", config.get("priority"), _is_count(_PRIORITY_MAX), f"0 to {_PRIORITY_MAX}", faults)
    _one("config.lane", config.get("lane"), _is_name, "1 to 64 of a-z A-Z 0-9 $ _ . - [ ]", faults)
    for name in ("retry", "repeat"):
        _one(f"config.{name}", config.get(name), _is_count(_RETRIES_MAX), f"0 to {_RETRIES_MAX}", faults)
    for name in _DURATIONS:
        _one(f"config.{name}", config.get(name), _is_duration, "a time with a unit, such as 90s or 3d5h", faults)
    backoff = config.get("retryBackoff")
    _one("config.retryBackoff", backoff, lambda word: str(word).lower() in _BACKOFFS, ", ".join(_BACKOFFS), faults)


def _metadata(metadata: Any, faults: list[str]) -> None:
    if not isinstance(metadata, Mapping) or not 1 <= len(metadata) <= _ENTRIES_MAX:
        faults.append(f"metadata must be a map of 1 to {_ENTRIES_MAX} entries")
        return
    for name, value in metadata.items():
        _one(f"metadata.{name} as a name", name, _is_name, "1 to 64 of a-z A-Z 0-9 $ _ . - [ ]", faults)
        if not isinstance(value, str) or not 1 <= len(value) <= _VALUE_LENGTH_MAX:
            faults.append(f"metadata.{name} must be a text of 1 to {_VALUE_LENGTH_MAX} characters")


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


def _is_method(value: Any) -> bool:
    return isinstance(value, str) and value.upper() in _METHODS


def _is_count(most: int) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most


def _is_duration(value: Any) -> bool:
    if isinstance(value, str):
        return _DURATION.fullmatch(value) is not None
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
