"""What a route is: one row of the table that the router, the OpenAPI document and the docs are made from."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Literal

import msgspec

from tasks_server.api.exchange import Answer, Exchange

Trouble = Callable[[Exchange, Exception, str, bytes], Answer]
"""An error as an answer: of a request, with what it was about and its id."""
Handler = Callable[[Exchange], Awaitable[Answer]]
Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
Access = Literal["owner", "admin", "open", "none"]
"""`owner`: an owner's key, or the admin key. `admin`: the admin key. `open`: the handler decides. `none`: public."""
BODY_ERRORS: Final = (
    *("malformed_body", "malformed_json", "content_type_invalid", "content_encoding_unsupported"),
    *("invalid_request", "body_too_large"),
)
"""What may be wrong with the body of any route that takes one."""


class QueryParameter(msgspec.Struct, frozen=True):
    """A name in the query, its JSON Schema and what it means."""

    name: str
    schema: dict[str, Any]
    description: str


class Success(msgspec.Struct, frozen=True):
    """An answer that is no error: its status, what its body is made of (None: text), its headers by meaning."""

    status: int
    body: Any
    description: str
    headers: dict[str, str] = {}


class Route(msgspec.Struct, frozen=True):
    """One method of one path. `errors` are the codes of `problems.CODES` beside those that its access brings."""

    method: Method
    path: str
    handler: Handler
    action: str
    """What it does, in a few words; unique."""
    access: Access
    success: Sequence[Success]
    errors: Sequence[str] = ()
    body: Any = None
    """What it is made of; several in a tuple: any of them."""
    body_required: bool = True
    query: Sequence[QueryParameter] = ()
    query_prefix: str | None = None
    """Further names are taken when they begin with this."""
    description: str = ""
    idempotency: bool = False
    """Whether the header Idempotency-Key means something here."""
    any_host: bool = False
    """Whether it is served without a key whatever the Host, where other machines reach the server anyway."""
    hot: bool = False
    """Looked up before the router."""
    guests: bool = False
    """Whether a request without credentials acts for the default owner, where the operator has named one."""
    trouble: Trouble | None = None
    """Answers errors where not as the API does."""
    also: Method | None = None
    """Another method that does the same: actions answer to POST and to PATCH, so that nobody has to know which."""
    hidden: bool = False
    """Not in the OpenAPI document."""
