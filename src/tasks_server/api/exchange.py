"""One request and its answer over ASGI, without a framework's objects: headers, query, body, and raw sending."""

import asyncio
import itertools
import os
from collections.abc import Awaitable, Callable, Iterator, MutableMapping, Sequence
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec

from tasks_server.api.auth import Caller
from tasks_server.api.inflow import NOT_AWAITED, Arrival, Inflow, Pieces
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


class Exchange(Arrival):
    """A request as handlers see it. `caller` is set once it is known who asks."""

    __slots__ = ("_inflow", "_receive", "caller", "headers", "scope", "visitor")

    caller: Caller
    visitor: Any
    """Who has signed in to the pages, where somebody has."""

    def __init__(self, scope: Scope, receive: Receive, inflow: Inflow) -> None:
        super().__init__()
        self.scope = scope
        self._receive = receive
        self._inflow = inflow
        self.headers: dict[bytes, bytes] = dict(scope["headers"])

    def parameter(self, name: str) -> str:
        """A part of the path by its name in the route."""
        value: str = self.scope["path_params"][name]
        return value

    def address(self) -> str:
        """Where the request came from, as far as the server knows."""
        client = self.scope.get("client")
        return client[0] if client else "unknown"

    def holder(self) -> str:
        caller = getattr(self, "caller", None)
        return "" if caller is None else caller.scope or "operator"

    def peer(self) -> tuple[str, str] | None:
        client = self.scope.get("client")
        return None if client is None else (client[0], str(client[1]))

    async def json_body(self, limit: int, *also: bytes) -> bytes:
        """The whole body of at most `limit` bytes, sent as JSON or as a content type of `also`.

        Raises `TooLarge` as soon as it is certain, `InvalidRequest` for another content type, for a compressed body,
        and for one that does not come whole, `TooSlow` and `Overloaded` as `Inflow` decides.
        """
        content_type = self.headers.get(b"content-type", b"")
        if content_type != JSON:
            _check_content_type(content_type, also)
        if b"content-encoding" in self.headers:
            _check_content_encoding(self.headers[b"content-encoding"])
        length = self.headers.get(b"content-length")
        expected = int(length) if length is not None and length.isdigit() else None
        if expected is not None and expected > limit:
            raise _too_large(limit)
        self.received, self.task = 0, asyncio.current_task()
        try:
            return await self._body(limit, expected)
        except asyncio.CancelledError:
            refusal, self.refusal = self.refusal, None
            if refusal is None or self.task is None:
                raise
            self.task.uncancel()
            try:
                raise refusal from None
            finally:
                del refusal  # else what the body holds would stay until somebody looks for garbage
        finally:
            self.received, self.task = NOT_AWAITED, None

    async def _body(self, limit: int, expected: int | None) -> bytes:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise _not_whole()
        body: bytes = message.get("body", b"")
        # In HTTP/1 the length tells that all is there; the message that says so would come a moment later.
        if message.get("more_body") and (len(body) != expected or self.scope["http_version"] == "2"):
            del body
            return await self._rest_of_body(message, limit)
        if len(body) > limit:
            raise _too_large(limit)
        self._inflow.hold(self, len(body))
        return body

    async def _rest_of_body(self, message: MutableMapping[str, Any], limit: int) -> bytes:
        """What begins with `message`, of which nothing is kept: while a part is waited for, the one before is free."""
        pieces = Pieces()
        while True:
            self.received += pieces.add(message.pop("body", b""))
            if self.received > limit:
                raise _too_large(limit)
            self._inflow.hold(self, self.received)
            if not message.get("more_body"):
                return pieces.joined()
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise _not_whole()

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
