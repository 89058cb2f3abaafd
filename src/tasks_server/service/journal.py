"""The execution log: what was tried, of all of an owner's tasks. `owner` None stands for the operator."""

from msgspec.structs import replace

from tasks_server.service.ground import Ground
from tasks_server.service.schedule_names import schedule_id
from tasks_server.store.journal import LogPage, LogQuery


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
        if key is not None:
            query = replace(query, schedule=await schedule_id(self._store, query.owner, key))
        return await self._store.log(query)
