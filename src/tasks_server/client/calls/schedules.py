"""Schedules: `/v1/schedules`. The path names one by its id or by its name."""

from typing import Final, Unpack

from tasks_server.client import results
from tasks_server.client.bodies import schedule_body, schedule_patch
from tasks_server.client.options import ScheduleFields
from tasks_server.client.protocol import Request, Route

_PATH: Final = "/v1/schedules/{id}"
_CREATE: Final = Route("POST", "/v1/schedules", results.Schedule)
_LIST: Final = Route("GET", "/v1/schedules", list[results.ListedSchedule])
_GET: Final = Route("GET", _PATH, results.Schedule)
_PUT: Final = Route("PUT", _PATH, results.Schedule)
_EDIT: Final = Route("PATCH", _PATH, results.Schedule, harmless_twice=True)
_DELETE: Final = Route("DELETE", _PATH, type(None))
_PAUSE: Final = Route("POST", f"{_PATH}/pause", results.Schedule, harmless_twice=True)
_RESUME: Final = Route("POST", f"{_PATH}/resume", results.Schedule, harmless_twice=True)
_RUN: Final = Route("POST", f"{_PATH}/run", results.Task)
_PREVIEW: Final = Route("GET", f"{_PATH}/preview", results.Preview)


def create(name: str, **schedule: Unpack[ScheduleFields]) -> Request[results.Schedule]:
    """Makes a schedule of a new name. `put` is the better choice where it may be there already."""
    return _CREATE.request(body=schedule_body(schedule, name))


def put(name: str, **schedule: Unpack[ScheduleFields]) -> Request[results.Schedule]:
    """Makes the schedule, or puts it in place of the one of this name."""
    return _PUT.request(name, body=schedule_body(schedule))


def list_(*, page_size: int = 100) -> Request[list[results.ListedSchedule]]:
    """All schedules in the order of their making, page after page as they are needed."""
    return _LIST.request(query={"limit": page_size})


def get(schedule: str) -> Request[results.Schedule]:
    """The schedule as it is now."""
    return _GET.request(schedule)


def edit(schedule: str, *, name: str | None = None, **changes: Unpack[ScheduleFields]) -> Request[results.Schedule]:
    """Changes what is named; None takes an option back. `name`: its new name."""
    return _EDIT.request(schedule, body=schedule_patch(changes, name))


def delete(schedule: str) -> Request[None]:
    """Removes it; tasks that it made go on."""
    return _DELETE.request(schedule)


def pause(schedule: str) -> Request[results.Schedule]:
    """Lets it fire no more until it is resumed."""
    return _PAUSE.request(schedule)


def resume(schedule: str) -> Request[results.Schedule]:
    """Lets it go on from now."""
    return _RESUME.request(schedule)


def run(schedule: str) -> Request[results.Task]:
    """Makes one task at once, beside those of the fire times."""
    return _RUN.request(schedule)


def preview(schedule: str, n: int | None = None) -> Request[results.Preview]:
    """The next `n` fire times by the rule."""
    return _PREVIEW.request(schedule, query={"n": n})
