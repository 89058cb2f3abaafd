"""One request and its answer over ASGI, without a framework's objects: headers, query, body, and raw sending."""

import itertools
import os
from collections.abc import Awaitable, Callable, Iterator, MutableMapping, Sequence
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec

from tasks_server.api.auth import Caller
from tasks_server.domain.errors import Fault, InvalidRequest, TooLarge, UnsupportedEncoding
from tasks_server.domain.shapes import shown, unknown_field

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = Sequence[tuple[bytes, bytes]]

JSON: Final = b"application/json"
_EVERY_ANSWER: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
)
_NO_STORE: Final = (b"cache-control", b"no-store")
_QUERY_FIELDS_MAX: Final = 64
_PRETTY: Final = "pretty"
_PLAIN: Final = "identity"
_NO_CONTENT: Final = 204


class Answer:
    """What is sent back. Answers are not to be cached, unless a header says so."""

    __slots__ = ("body", "content_type", "headers", "status")

    def __init__(self, status: int, body: bytes, content_type: bytes = JSON, headers: Headers = ()) -> None:
        self.status = status
        self.body = body
        self.content_type = content_type
        self.headers = headers


class Exchange:
    """A request as handlers see it. `caller` is set once it is known who asks."""

    __slots__ = ("_receive", "caller", "headers", "scope")

    caller: Caller

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.scope = scope
        self._receive = receive
        self.headers: dict[bytes, bytes] = dict(scope["headers"])

    def parameter(self, name: str) -> str:
        """A part of the path by its name in the route."""
        value: str = self.scope["path_params"][name]
        return value

    def address(self) -> str:
        """Where the request came from, as far as the server knows."""
        client = self.scope.get("client")
        return client[0] if client else "unknown"

    async def json_body(self, limit: int, *also: bytes) -> bytes:
        """The whole body of at most `limit` bytes, sent as JSON or as a content type of `also`.

        Raises `TooLarge` as soon as it is certain, `InvalidRequest` for another content type, for a compressed body,
        and for one that does not come whole.
        """
        content_type = self.headers.get(b"content-type", b"")
        if content_type != JSON:
            _check_content_type(content_type, also)
        if b"content-encoding" in self.headers:
            _check_content_encoding(self.headers[b"content-encoding"])
        length = self.headers.get(b"content-length")
        if length is not None and length.isdigit() and int(length) > limit:
            raise _too_large(limit)
        message = await self._receive()
        body: bytes = message.get("body", b"")
        if message.get("more_body"):
            body = await self._rest_of_body(body, limit)
        elif message["type"] == "http.disconnect":
            raise _not_whole()
        if len(body) > limit:
            raise _too_large(limit)
        return body

    async def _rest_of_body(self, first: bytes, limit: int) -> bytes:
        parts, size, more = [first], len(first), True
        while more:
            if size > limit:
                raise _too_large(limit)
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise _not_whole()
            parts.append(part := message.get("body", b""))
            size += len(part)
            more = message.get("more_body", False)
        return b"".join(parts)

    def query(
        self, known: Sequence[str] = (), prefix: str | None = None, *, beside: list[Fault] | None = None
    ) -> dict[str, str]:
        """The query by name. Raises `InvalidRequest` with every name that is unknown or given twice, or adds those
        faults to `beside`, for whoever has more to find.

        Names are known by themselves or by `prefix`; `pretty` always is, and is left out.
        """
        query_string: bytes = self.scope["query_string"]
        if not query_string:
            return {}
        try:
            pairs = parse_qsl(
                query_string.decode("ascii", "replace"), keep_blank_values=True, max_num_fields=_QUERY_FIELDS_MAX
            )
        except ValueError:
            raise InvalidRequest([Fault("query", f"has more than {_QUERY_FIELDS_MAX} parameters")]) from None
        found: dict[str, str] = {}
        faults: list[Fault] = [] if beside is None else beside
        for name, value in pairs:
            if name == _PRETTY:
                continue
            if name not in known and not (prefix and name.startswith(prefix)):
                faults.append(unknown_field("query", name, [*known, _PRETTY]))
            elif name in found:
                faults.append(Fault(f"query.{name[:64]}", "is given twice", shown(value)))
            found[name] = value
        if faults and beside is None:
            raise InvalidRequest(faults)
        return found


def _check_content_type(content_type: bytes, also: Sequence[bytes]) -> None:
    kind, _, parameters = content_type.lower().partition(b";")
    if kind.strip() in (JSON, *also) and parameters.strip().replace(b'"', b"") in (b"", b"charset=utf-8"):
        return
    given = content_type.decode("latin-1")[:100] or None
    fault = Fault("content-type", "must be application/json, in UTF-8", given, "application/json")
    raise InvalidRequest([fault], code="content_type_invalid")


def _check_content_encoding(given: bytes) -> None:
    encoding = given.decode("latin-1").strip().lower()
    if encoding not in ("", _PLAIN):
        raise UnsupportedEncoding(
            [Fault("content-encoding", "must be left out: bodies are sent plain", encoding[:100], _PLAIN)]
        )


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"the body is over {limit} bytes")


def _not_whole() -> InvalidRequest:
    """HTTP servers tell of a client that is gone and of one that broke the framing in the same way. Whoever closed only
    its own half still reads: an answer goes out in any case, and is lost where nobody listens.
    """
    return InvalidRequest([Fault("body", "ends too early, or its chunks are malformed")], code="malformed_body")


def request_ids() -> Iterator[bytes]:
    """Ids for X-Request-Id: unique to this process start, and cheap."""
    start = os.urandom(5).hex()
    for number in itertools.count(1):
        yield f"{start}{number:08x}".encode()


def wants_pretty(scope: Scope) -> bool:
    """Whether the query holds `pretty`, with any value."""
    query: bytes = scope["query_string"]
    return b"pretty" in query and any(pair.partition(b"=")[0] == b"pretty" for pair in query.split(b"&"))


async def send_answer(send: Send, scope: Scope, answer: Answer, request_id: bytes, extra: Headers = ()) -> None:
    """Sends an answer with the headers that every answer has. To HEAD goes all but the body."""
    body, content_type = answer.body, answer.content_type
    if body and scope["query_string"] and content_type.endswith(b"json") and wants_pretty(scope):
        body = msgspec.json.format(body, indent=2) + b"\n"
    headers = [*_EVERY_ANSWER, (b"x-request-id", request_id)]
    if answer.status != _NO_CONTENT:
        headers += ((b"content-type", content_type), (b"content-length", b"%d" % len(body)))
    if answer.headers:
        headers += answer.headers
    if extra:
        headers += extra
    if not any(name == b"cache-control" for name, _ in answer.headers):
        headers.append(_NO_STORE)
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})
