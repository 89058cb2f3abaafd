"""What is shown of a request: all of it, with secrets masked. Secret is what the type marks so
(`Meta(extra={"secret": True})`), and whatever stands under a name that looks like it: a header, an entry of the query
or of metadata, a parameter of the URL, a field of a form, a key of JSON data.
"""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Final
from urllib.parse import unquote_plus

import msgspec
from msgspec import Raw

from tasks_server.domain import handler_reading, json_text
from tasks_server.domain.callback import Callback
from tasks_server.domain.errors import Fault
from tasks_server.domain.request import FormPart, HandlerCall, HttpRequest, TaskConfig, TaskSpec
from tasks_server.domain.shapes import MASK, is_marked_secret, is_secret_name

_PARAMETER: Final = re.compile(r"(?<=[?&#;])([^=&#;?]+)=([^&#;]+)")
_MASKED_PARAMETER: Final = f"={MASK}"
_MASKED: Final = f'"{MASK}"'.encode()
_CALLBACKS: Final = ("failureCallback", "successCallback")
_URLS: Final = frozenset({"httpRequest.url", *(f"config.{name}{end}" for name in _CALLBACKS for end in ("", ".url"))})
"""Where a URL may bring the mask back."""


def shown_request(request: HttpRequest) -> dict[str, Any]:
    """The request as plain values, defaults filled in, secrets masked. JSON stays as it came but for the secrets."""
    shown = _shown_fields(request)
    text = shown.pop("json")
    if text is not None:
        shown["data"] = shown_payload(text)
    return shown


def shown_handler(call: HandlerCall) -> dict[str, Any]:
    """The handler's name and its payload, with values masked that have the name of a secret."""
    return {"name": call.name, "payload": shown_payload(call.payload)}


def shown_payload(text: bytes) -> Raw:
    """JSON as it came, with values masked that have the name of a secret.

    >>> bytes(shown_payload(b'{"to": 1.0, "login": {"password": "x", "token": null}}'))
    b'{"to": 1.0, "login": {"password": "***", "token": null}}'
    """
    if text.isascii() and b"\\u" not in text and not is_secret_name(text.decode("ascii")):
        return Raw(text)  # nothing in it looks like the name of a secret, however it may be taken apart
    found = json_text.scalars(text, "", is_secret_name)
    secrets = (one for one in found if one.marked and text[one.begin : one.end] != json_text.NULL)
    return Raw(json_text.replaced(text, secrets, _MASKED))


def shown_config(spec: TaskSpec) -> dict[str, Any]:
    """The configuration of a task as plain values: defaults filled in, secrets masked."""
    if spec.handler is None:
        return _shown_fields(spec.config.effective())
    effective = handler_reading.effective(spec.handler, spec.config)
    return handler_reading.shown_config(spec.config, _shown_fields(effective))


def shown_what(spec: TaskSpec) -> str:
    """What a task does, in one line: `POST https://a.example/`, or `handler send-email`."""
    if spec.request is None:
        return f"handler {spec.handler.name}" if spec.handler is not None else "-"
    return f"{spec.request.method} {shown_url(spec.request.url)}"


def _shown_fields(struct: HttpRequest | TaskConfig) -> dict[str, Any]:
    shown: dict[str, Any] = _shown(struct, secret=False)
    if isinstance(struct, TaskConfig):
        asked = (struct.failure_callback, struct.success_callback)
        shown |= dict(zip(_CALLBACKS, map(shown_callback, asked), strict=True))
    return {name: shown_url(value) if _is_url(name, value) else value for name, value in shown.items()}


def shown_callback(asked: Callback | str | bool | None) -> Any:
    """A callback as plain values, secrets masked.

    >>> shown_callback(Callback("https://a.example/?token=x", headers={"Authorization": "x"}))["url"]
    'https://a.example/?token=***'
    """
    if isinstance(asked, str):
        return shown_url(asked)
    if not isinstance(asked, Callback):
        return asked
    shown = _shown(asked, secret=False)
    return shown if shown["url"] is None else shown | {"url": shown_url(shown["url"])}


def told_settings(settings: Mapping[str, Any]) -> str | None:
    """The settings of a lane or an owner as they were given, for the record: of callbacks only what they call, masked.

    >>> told_settings({"burst": 5, "failureCallback": {"url": "https://a.example/?token=x", "headers": {"A": "b"}}})
    'burst: 5, failureCallback: https://a.example/?token=***'
    """
    told = {name: _told_callback(value) if name in _CALLBACKS else value for name, value in settings.items()}
    return ", ".join(f"{name}: {value}" for name, value in told.items()) or None


def _told_callback(asked: object) -> object:
    called = (asked.get("url") or asked.get("handler") or "changed") if isinstance(asked, dict) else asked
    return shown_url(called) if isinstance(called, str) else called


def _is_url(name: str, value: object) -> bool:
    return isinstance(value, str) and name.lower().endswith("url")


def shown_entries(entries: Mapping[str, str] | None) -> dict[str, str] | None:
    """Names and values with those values masked that have the name of a secret.

    >>> shown_entries({"page": "2", "Api-Key": "x"})
    {'page': '2', 'Api-Key': '***'}
    """
    return None if entries is None else {name: MASK if is_secret_name(name) else text for name, text in entries.items()}


def shown_url(url: str) -> str:
    """The URL with the values of secret parameters masked.

    >>> shown_url("https://a.example/?page=2&access%5Ftoken=x#top")
    'https://a.example/?page=2&access%5Ftoken=***#top'
    """
    return _PARAMETER.sub(
        lambda found: f"{found[1]}={_masked_if(is_secret_name(unquote_plus(found[1])), found[2])}", url
    )


def mask_faults(patch: object) -> list[Fault]:
    """The faults of a merge patch that brings the mask where the secret itself belongs, as one does who sends back
    what was shown.

    >>> [fault.field for fault in mask_faults({"httpRequest": {"headers": {"Authorization": "***", "A": "***"}}})]
    ['httpRequest.headers.Authorization']
    """
    faults: list[Fault] = []
    if not isinstance(patch, dict):
        return faults
    for part, kind in (("httpRequest", HttpRequest), ("handler", None), ("config", TaskConfig), ("metadata", None)):
        fields = patch.get(part)
        if isinstance(fields, dict):
            marks = _marks(kind) if kind is not None else {}
            for name, value in fields.items():
                secret = marks.get(name, False) or is_secret_name(name)
                faults += _mask_faults(value, f"{part}.{name}", secret=secret)
    return faults


def callback_mask_faults(asked: dict[str, Any]) -> list[Fault]:
    """The same of the callbacks among the settings of a lane or an owner."""
    found = mask_faults({"config": {name: asked.get(name) for name in _CALLBACKS}})
    return [msgspec.structs.replace(fault, field=fault.field.removeprefix("config.")) for fault in found]


def _mask_faults(value: object, path: str, *, secret: bool) -> Iterator[Fault]:
    if isinstance(value, Raw):
        yield from _mask_faults_of_text(value, path, secret=secret)
    elif isinstance(value, dict):
        named = value.get("name")  # a field of a form, or a cookie
        secret = secret or (isinstance(named, str) and is_secret_name(named))
        for name, item in value.items():
            yield from _mask_faults(item, f"{path}.{name}", secret=secret or is_secret_name(name))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _mask_faults(item, f"{path}.{index}", secret=secret)
    elif value == MASK and secret:
        yield _mask_fault(path)
    elif path in _URLS and isinstance(value, str) and _MASKED_PARAMETER in value:
        yield Fault(path, "has the mask in place of a secret parameter", allowed="the whole URL, or nothing")


def _mask_faults_of_text(text: Raw, path: str, *, secret: bool) -> Iterator[Fault]:
    body = bytes(text)
    if body.startswith(b"["):  # it may be a form, whose fields tell by `name` what they are
        yield from _mask_faults(json_text.value(text), path, secret=secret)
        return
    for one in json_text.scalars(body, path, is_secret_name):
        if (secret or one.marked) and body[one.begin : one.end] == _MASKED:
            yield _mask_fault(one.path)


def _mask_fault(path: str) -> Fault:
    return Fault(path, "is the mask that stands for a secret, not its value", MASK, "the value, or nothing")


def _shown(value: Any, *, secret: bool) -> Any:
    if isinstance(value, FormPart):
        return {"name": value.name, "value": _masked_if(is_secret_name(value.name), value.value)}
    if isinstance(value, msgspec.Struct):
        marks = _marks(type(value))
        fields = msgspec.structs.fields(value)
        return {
            field.encode_name: _shown(getattr(value, field.name), secret=marks[field.encode_name]) for field in fields
        }
    if isinstance(value, dict):
        return {name: _shown(item, secret=secret or is_secret_name(name)) for name, item in value.items()}
    if isinstance(value, list):
        return [_shown(item, secret=secret) for item in value]
    return value if value is None else _masked_if(secret, value)


def _masked_if(secret: bool, value: Any) -> Any:
    return MASK if secret else value


@cache
def _marks(kind: type[msgspec.Struct]) -> dict[str, bool]:
    """Which fields of a struct are marked as secret."""
    return {field.encode_name: is_marked_secret(field.type) for field in msgspec.structs.fields(kind)}
