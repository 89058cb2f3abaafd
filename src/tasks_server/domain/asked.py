"""The request as it is asked for: as it is stored, but with the data in one field, as the JSON that came."""

from collections.abc import Iterator
from typing import Annotated, Any, Final

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

from tasks_server.domain import shapes
from tasks_server.domain.errors import Fault
from tasks_server.domain.json_text import AS_IT_CAME, NULL, Kept, check_encoding, text_of, value
from tasks_server.domain.request import Form, HttpRequest

KEPT: Final[Kept] = {"httpRequest": {"data": AS_IT_CAME}, "handler": {"payload": AS_IT_CAME}}
"""What of a task is not taken apart."""
Data = str | Form | dict[str, Any] | None
_SCHEMA: Final = msgspec.json.schema_components([Data], ref_template="#/components/schemas/{name}")[0][0]
_DATA: Final[Any] = Annotated[
    Raw | UnsetType,
    Meta(
        description="What is sent: text as `text/plain`, an array of `name` and `value` as a multipart form, any "
        "object as JSON, byte for byte as it came, unless a Content-Type header says otherwise. A leading `@` names no "
        "file. With GET, HEAD and DELETE it is accepted and kept, but never sent.",
        extra={"option": "POSTFIELDS", "secret": False, "words": shapes.describe(Data)},
        extra_json_schema=_SCHEMA,
    ),
]
_STORED: Final = [field for field in msgspec.structs.fields(HttpRequest) if field.name != "json"]

AskedRequest: Final[Any] = msgspec.defstruct(
    "HttpRequest",
    [
        (field.name, field.type)
        if field.required
        else (field.name, field.type, field.default)
        if field.name != "data"
        else (field.name, _DATA, UNSET)
        for field in _STORED
    ],
    kw_only=True,
    rename="camel",
    forbid_unknown_fields=True,
    omit_defaults=True,
    module=__name__,
    namespace={"__doc__": "The call to make. At most one of `data` and `dataBase64` is given."},
)

_TEXT: Final = msgspec.json.Decoder(str)
_FORM: Final = msgspec.json.Decoder(Form)


def request_of(asked: Any) -> HttpRequest:
    """The request as it is stored. Raises `msgspec.MsgspecError` or `UnicodeDecodeError` for data that fit no form."""
    request = HttpRequest(
        asked.url,
        asked.method,
        asked.query,
        asked.headers,
        data_base64=asked.data_base64,
        transport=asked.transport,
        cookie=asked.cookie,
        auth_basic=asked.auth_basic,
        auth_digest=asked.auth_digest,
        auth_ntlm=asked.auth_ntlm,
        auth_aws_sigv4=asked.auth_aws_sigv4,
    )
    if asked.data is not UNSET:
        text = bytes(asked.data)
        first = text[:1]
        if first == b"{":
            check_encoding(text)
            request.json = text
        elif first == b"[":
            request.data = _FORM.decode(text)
        elif text != NULL:
            request.data = _TEXT.decode(text)
    return request


def data_of(request: HttpRequest) -> Raw | None:
    """The data as they are asked for."""
    if request.json is not None:
        return Raw(request.json)
    return None if request.data is None else text_of(request.data)


def data_faults(data: Raw, path: str) -> Iterator[Fault]:
    """What is wrong with the type of data."""
    return shapes.faults_of(Data, value(data), path)
