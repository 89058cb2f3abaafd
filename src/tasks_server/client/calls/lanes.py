"""Lanes, the named lines of an owner's tasks: `/v1/lanes`."""

from typing import Final, Unpack

from tasks_server.client import results
from tasks_server.client.bodies import settings_body
from tasks_server.client.options import LaneFields
from tasks_server.client.protocol import Request, Route

_PATH: Final = "/v1/lanes/{name}"
_LIST: Final = Route("GET", "/v1/lanes", list[results.Lane])
_GET: Final = Route("GET", _PATH, results.Lane)
_PUT: Final = Route("PUT", _PATH, results.Lane)
_EDIT: Final = Route("PATCH", _PATH, results.Lane, harmless_twice=True)
_DELETE: Final = Route("DELETE", _PATH, type(None))
_PAUSE: Final = Route("POST", f"{_PATH}/pause", results.Lane, harmless_twice=True)
_RESUME: Final = Route("POST", f"{_PATH}/resume", results.Lane, harmless_twice=True)
_PURGE: Final = Route("POST", f"{_PATH}/purge", results.Bulk)


def list_(*, page_size: int = 100) -> Request[list[results.Lane]]:
    """All lanes by name, page after page as they are needed."""
    return _LIST.request(query={"limit": page_size})


def get(name: str) -> Request[results.Lane]:
    """The lane: its settings, and how many tasks of it are in each state."""
    return _GET.request(name)


def put(name: str, **settings: Unpack[LaneFields]) -> Request[results.Lane]:
    """Gives the lane these settings and no others; makes it when no task has used it."""
    return _PUT.request(name, body=settings_body(settings, LaneFields))


def edit(name: str, **changes: Unpack[LaneFields]) -> Request[results.Lane]:
    """Changes what is named; None takes a limit away."""
    return _EDIT.request(name, body=settings_body(changes, LaneFields))


def delete(name: str) -> Request[None]:
    """Forgets its settings. Refused while tasks of it are in queue."""
    return _DELETE.request(name)


def pause(name: str) -> Request[results.Lane]:
    """Lets its tasks wait; those that run go on."""
    return _PAUSE.request(name)


def resume(name: str) -> Request[results.Lane]:
    """Lets its tasks run again."""
    return _RESUME.request(name)


def purge(name: str) -> Request[results.Bulk]:
    """Deletes its tasks that are not final, as bulk work; `bulk.wait` tells when that is done."""
    return _PURGE.request(name)
