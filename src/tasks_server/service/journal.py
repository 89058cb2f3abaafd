"""The execution log: what was tried, of all of an owner's tasks. `owner` None stands for the operator."""

from typing import Final

from msgspec.structs import replace

from tasks_server.domain import ids
from tasks_server.domain.errors import Fault, InvalidRequest
from tasks_server.service.ground import Ground
from tasks_server.store.journal import LogPage, LogQuery

SCHEDULE_FIELD: Final = "query.schedule"


class JournalService:
    """Shows the log. Dates without a zone count in that of the ground."""

    def __init__(self, ground: Ground) -> None:
        self._store = ground.store
        self.zone = ground.zone

    async def page(self, query: LogQuery) -> LogPage:
        """One page of the log, the newest end first; `query.schedule` may be a name. Raises `InvalidRequest` when no
        schedule has it.
        """
        key = query.schedule
        if key is not None and not ids.is_task_id(key):
            query = replace(query, schedule=await self._schedule_of(query.owner, key))
        return await self._store.log(query)

    async def _schedule_of(self, owner: str | None, name: str) -> str:
        if owner is None:
            raise InvalidRequest(
                [Fault(SCHEDULE_FIELD, "must be an id: names are one of a kind within an owner", name)]
            )
        found = await self._store.schedule(owner, name)
        if found is None:
            text = "names no schedule; the tasks of one that was removed are found by its id"
            raise InvalidRequest([Fault(SCHEDULE_FIELD, text, name)])
        return found[0].id
