"""What a registered function has beside itself: `enqueue` and `enqueue_async`, which make a task that runs it.

    ship.enqueue(Order(7), delay="5m")
    await ship.enqueue_async(Order(7), delay="5m")

The client is loaded when the first task is enqueued: workers, which enqueue none, do not carry it.
"""

import contextlib
import functools
import inspect
import os
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Concatenate, Final, ParamSpec, Protocol, TypeVar, Unpack, overload

from tasks_server.handlers.context import Context

if TYPE_CHECKING:
    from tasks_server.client import AsyncClient, Client
    from tasks_server.client.options import EnqueueFields
    from tasks_server.client.results import NewTask
    from tasks_server.handlers.registry import Registration

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)
Payload_contra = TypeVar("Payload_contra", contravariant=True)
NOTHING: Final[Any] = object()
"""Stands for a payload that is not given."""


class Handler(Protocol[Payload_contra, P, R_co]):
    """A function that is registered: it can be called as before, and enqueued."""

    def __call__(self, payload: Payload_contra, /, *args: P.args, **kwargs: P.kwargs) -> R_co: ...
    def enqueue(
        self,
        payload: Payload_contra,
        *,
        client: "Client | None" = None,
        idempotency_key: str | None = None,
        **options: "Unpack[EnqueueFields]",
    ) -> "NewTask": ...
    async def enqueue_async(
        self,
        payload: Payload_contra,
        *,
        client: "AsyncClient | None" = None,
        idempotency_key: str | None = None,
        **options: "Unpack[EnqueueFields]",
    ) -> "NewTask": ...


class ContextFirst(Protocol[Payload_contra, P, R_co]):
    """One whose first parameter is the context, and whose second is the payload."""

    def __call__(self, context: Context, payload: Payload_contra, /, *args: P.args, **kwargs: P.kwargs) -> R_co: ...
    def enqueue(
        self,
        payload: Payload_contra,
        *,
        client: "Client | None" = None,
        idempotency_key: str | None = None,
        **options: "Unpack[EnqueueFields]",
    ) -> "NewTask": ...
    async def enqueue_async(
        self,
        payload: Payload_contra,
        *,
        client: "AsyncClient | None" = None,
        idempotency_key: str | None = None,
        **options: "Unpack[EnqueueFields]",
    ) -> "NewTask": ...


class Bare(Protocol[P, R_co]):
    """One that takes no payload."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...
    def enqueue(
        self,
        *,
        client: "Client | None" = None,
        idempotency_key: str | None = None,
        **options: "Unpack[EnqueueFields]",
    ) -> "NewTask": ...
    async def enqueue_async(
        self,
        *,
        client: "AsyncClient | None" = None,
        idempotency_key: str | None = None,
        **options: "Unpack[EnqueueFields]",
    ) -> "NewTask": ...


Given = TypeVar("Given")
Answer = TypeVar("Answer")


class Decorator(Protocol):
    """What `register` gives: it takes the function and gives it back, with what it can be enqueued by."""

    @overload
    def __call__(self, function: Callable[[Context], Answer], /) -> Bare[[Context], Answer]: ...
    @overload
    def __call__(
        self, function: Callable[Concatenate[Context, Given, P], Answer], /
    ) -> ContextFirst[Given, P, Answer]: ...
    @overload
    def __call__(self, function: Callable[Concatenate[Given, P], Answer], /) -> Handler[Given, P, Answer]: ...
    @overload
    def __call__(self, function: Callable[P, Answer], /) -> Bare[P, Answer]: ...


class Enqueuing:
    """Makes tasks that run one handler."""

    def __init__(self, registration: "Registration") -> None:
        self._registration = registration

    @property
    def name(self) -> str:
        """The name that the handler is registered with."""
        return self._registration.name

    def enqueue(
        self,
        payload: Any = NOTHING,
        *,
        client: "Client | None" = None,
        idempotency_key: str | None = None,
        **options: "Unpack[EnqueueFields]",
    ) -> "NewTask":
        """Registers a task that runs this handler; when it returns, the task is stored durably. Options are those of
        `client.tasks.register`; the answer's `hint` tells when no engine knows the handler. `client`: who sends it, by
        default that of `connect` or of the environment.

        Raises `TypeError` or `ValueError` for a payload that the handler would not take, before anything is sent, and
        what `client.tasks.register` raises.
        """
        body = self._body(payload)
        asked = _default() if client is None else client
        return asked.tasks.register(handler=self._registration.name, idempotency_key=idempotency_key, **body, **options)

    async def enqueue_async(
        self,
        payload: Any = NOTHING,
        *,
        client: "AsyncClient | None" = None,
        idempotency_key: str | None = None,
        **options: "Unpack[EnqueueFields]",
    ) -> "NewTask":
        """The same, to be awaited. Without a `client`, it is sent by that of `enqueue`, in a thread."""
        if client is None:
            import asyncio

            ask = functools.partial(self.enqueue, payload, idempotency_key=idempotency_key, **options)
            return await asyncio.to_thread(ask)
        body = self._body(payload)
        name = self._registration.name
        return await client.tasks.register(handler=name, idempotency_key=idempotency_key, **body, **options)

    def _body(self, payload: Any) -> dict[str, Any]:
        """The payload as the worker will read it; it is read here as there, so that no task is made in vain."""
        import msgspec

        from tasks_server.client.values import payload_json
        from tasks_server.handlers.payloads import Unfit

        name, parameter = self._registration.name, self._registration.payload
        if payload is NOTHING:
            if parameter is not None and parameter.default is inspect.Parameter.empty:
                raise TypeError(f"handler {name!r} takes a payload: enqueue(payload, …)")
            return {}
        if parameter is None:
            raise TypeError(f"handler {name!r} takes no payload: enqueue() without one")
        data = payload_json(payload)
        if data != b"null" or parameter.default is inspect.Parameter.empty:
            try:
                self._read(data)
            except Unfit as error:
                raise ValueError(f"handler {name!r} does not take this: {error}") from None
        return {"payload": msgspec.Raw(data)}

    @functools.cached_property
    def _read(self) -> Callable[[bytes], object]:
        from tasks_server.handlers.payloads import reader

        read = reader(self._registration)
        assert read is not None, "it takes a payload"
        return read


def enqueueable(function: Any, registration: "Registration") -> Any:
    """The function with `enqueue` and `enqueue_async`. It stays the same object; one that takes no attributes, or has
    such names of its own, is given as a `functools.partial` of itself.
    """
    enqueuing = Enqueuing(registration)
    named = {"enqueue": enqueuing.enqueue, "enqueue_async": enqueuing.enqueue_async}
    if any(not _is_ours(getattr(function, name, None)) for name in named):
        function = functools.partial(function)
    try:
        for name, method in named.items():
            setattr(function, name, method)
    except (AttributeError, TypeError):  # a bound method, a builtin, an object with slots
        function = functools.partial(function)
        for name, method in named.items():
            setattr(function, name, method)
    return function


def _is_ours(attribute: object) -> bool:
    return attribute is None or isinstance(getattr(attribute, "__self__", None), Enqueuing)


_lock = threading.Lock()
_client: "Client | None" = None
_from_environment = False


def connect(url: str | None = None, key: str | None = None, *, client: "Client | None" = None) -> None:
    """Says where `enqueue` sends tasks: the server at `url` with the owner's `key`, or whoever `client` speaks to.
    What is not given comes from the environment, `TASKS_SERVER_URL` and `TASKS_SERVER_KEY`; so does all of it in a
    program that never calls this. Raises `ValueError` for what cannot be.
    """
    global _client, _from_environment
    if client is None:
        from tasks_server.client import Client

        client = Client(url, key)
    elif url is not None or key is not None:
        raise ValueError("give url and key, or a client that has them")
    with _lock:
        before, made_here = _client, _from_environment
        _client, _from_environment = client, False
    if before is not None and made_here:
        before.close()


@contextlib.contextmanager
def connected(client: "Client") -> Iterator[None]:
    """For this block, `enqueue` sends tasks by this client; for tests."""
    global _client, _from_environment
    with _lock:
        before = _client, _from_environment
        _client, _from_environment = client, False
    try:
        yield
    finally:
        with _lock:
            _client, _from_environment = before


def _default() -> "Client":
    global _client, _from_environment
    with _lock:
        if _client is None:
            from tasks_server.client import Client

            _client, _from_environment = Client(), True
        return _client


def _forget() -> None:
    """In a copy of the process: connections belong to the one that made them."""
    global _client, _from_environment, _lock
    _lock = threading.Lock()  # another thread may have held it while this one forked
    if _from_environment:
        _client, _from_environment = None, False


os.register_at_fork(after_in_child=_forget)
