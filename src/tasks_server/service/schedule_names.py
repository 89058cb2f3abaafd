"""Which schedule is meant, where a list is asked for the tasks of one: by its id, or by its name."""

from typing import Final

from tasks_server.domain import ids
from tasks_server.domain.errors import Fault, InvalidRequest
from tasks_server.store.scheduling import Scheduling

SCHEDULE_FIELD: Final = "query.schedule"


async def schedule_id(store: Scheduling, owner: str | None, key: str) -> str:
    """The id that `key` is or names. Raises `InvalidRequest` when no schedule has that name."""
    if ids.is_task_id(key):
        return key
    if owner is None:
        raise InvalidRequest([Fault(SCHEDULE_FIELD, "must be an id: names are one of a kind within an owner", key)])
    found = await store.schedule(owner, key)
    if found is None:
        text = "names no schedule; the tasks of one that was removed are found by its id"
        raise InvalidRequest([Fault(SCHEDULE_FIELD, text, key)])
    return found[0].id
