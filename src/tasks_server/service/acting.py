"""Who acts by hand, and what is done: set where a request or a command comes in, and where its work begins, so that the
store records both with the change.
"""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Final, ParamSpec, Protocol, TypeVar, cast

from tasks_server.clock import Clock
from tasks_server.domain.audit import ACTIONS, Act, Actor, Kind
from tasks_server.domain.owner import Owner
from tasks_server.store.acting import DOING

_P = ParamSpec("_P")
_T = TypeVar("_T")
_ACTOR: Final[ContextVar[Actor | None]] = ContextVar("actor", default=None)


class _Service(Protocol):
    _clock: Clock


@contextmanager
def acting(actor: Actor | None) -> Iterator[None]:
    """What is done in this block is done by this actor; None: by nobody that is recorded."""
    token = _ACTOR.set(actor)
    try:
        yield
    finally:
        _ACTOR.reset(token)


def deed(kind: Kind, action: str) -> Callable[[Callable[_P, Awaitable[_T]]], Callable[_P, Awaitable[_T]]]:
    """For a method of a service by which something is changed by hand. Its first two arguments are the owner (its id,
    or itself) and what names the thing, where they are plain texts; `about` says what they do not.
    """
    assert action in ACTIONS

    def decorate(method: Callable[_P, Awaitable[_T]]) -> Callable[_P, Awaitable[_T]]:
        @wraps(method)
        async def acted(*args: _P.args, **kwargs: _P.kwargs) -> _T:
            actor = _ACTOR.get()
            if actor is None:
                return await method(*args, **kwargs)
            service, owner, *rest = args
            act = Act(cast(_Service, service)._clock.now(), actor, kind, action)
            if kind != "owner":
                act.owner = owner.id if isinstance(owner, Owner) else cast("str | None", owner)
                act.subject = next((subject for subject in rest[:1] if type(subject) is str), None)
            token = DOING.set(act)
            try:
                return await method(*args, **kwargs)
            finally:
                DOING.reset(token)

        return acted

    return decorate


def about(*, owner: str | None = None, subject: str | None = None, detail: str | None = None) -> None:
    """Says more of what is being done; where nobody records it, nothing."""
    act = DOING.get()
    if act is not None:
        act.owner, act.subject, act.detail = owner or act.owner, subject or act.subject, detail or act.detail


def is_recorded() -> bool:
    """Whether what is being done is to be recorded."""
    return DOING.get() is not None
