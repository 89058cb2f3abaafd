"""What is called when a task has ended for good: as it is asked for by the task, its lane or its owner, and which of
these counts. What is then made of it is in `callback_making`.
"""

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from tasks_server.domain import limits
from tasks_server.domain.task import State

CallbackMethod = Literal["POST", "PUT", "PATCH"]
_Key = Annotated[str, Meta(min_length=1, max_length=limits.NAME_LENGTH_MAX, pattern=limits.KEY_PATTERN)]
_Value = Annotated[str, Meta(max_length=limits.TOKEN_LENGTH_MAX)]
_Url = Annotated[str, Meta(min_length=1, max_length=limits.URL_LENGTH_MAX)]
LANE: Final = "callbacks"
"""The lane of callbacks that name none: a paused or limited lane of tasks does not keep back what tells of them."""


class CallbackHandler(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A handler by its name; its payload is what a URL would get as body."""

    name: _Key


class Callback(msgspec.Struct, rename="camel", forbid_unknown_fields=True, omit_defaults=True):
    """What to call: either a `url` or a `handler`. `retry`: how often to try again, waiting 10 seconds, then twice as
    long each time. `lane`: the one in which the callback waits.
    """

    url: _Url | None = None
    method: CallbackMethod = "POST"
    headers: Annotated[dict[_Key, _Value], Meta(max_length=limits.HEADERS_MAX)] | None = None
    handler: CallbackHandler | None = None
    retry: Annotated[int, Meta(ge=0, le=limits.RETRY_MAX)] = limits.CALLBACK_RETRIES_DEFAULT
    lane: _Key = LANE


Asked = Callback | _Url | bool | None
"""A callback, or just its URL. false: none, whatever lane and owner say; null: what these say."""


class Callbacks(msgspec.Struct, rename="camel", frozen=True, omit_defaults=True):
    """What a lane or an owner asks for."""

    failure: Callback | bool | None = None
    success: Callback | bool | None = None
    unreadable: str | None = None
    """What is stored of it and cannot be read, why, and what to do."""

    def of(self, state: State) -> Callback | bool | None:
        """What is asked for at this end."""
        return self.failure if state is State.FAILED else self.success


NO_CALLBACKS: Final = Callbacks()
_ENCODE: Final = msgspec.msgpack.Encoder().encode
_DECODE: Final = msgspec.msgpack.Decoder(Callbacks).decode


def encode_callbacks(callbacks: Callbacks) -> bytes | None:
    """The bytes to store of what a lane or an owner asks for; None: it asks for nothing."""
    return None if callbacks == NO_CALLBACKS else _ENCODE(callbacks)


def decode_callbacks(stored: bytes) -> Callbacks:
    """Raises `msgspec.DecodeError`."""
    return _DECODE(stored)


def chosen(state: State, *asked: Callback | str | bool | None) -> Callback | None:
    """The callback that counts at this end, of those that are asked for, the most specific first.

    >>> chosen(State.FAILED, None, Callback("https://lane.example/"), Callback("https://owner.example/")).url
    'https://lane.example/'
    >>> chosen(State.FAILED, False, Callback("https://lane.example/"))
    >>> chosen(State.REVOKED, Callback("https://lane.example/"))
    """
    if state not in (State.FAILED, State.COMPLETED):
        return None
    found = next((one for one in asked if one is not None), None)
    if isinstance(found, str):
        return Callback(found)
    return None if isinstance(found, bool) else found
