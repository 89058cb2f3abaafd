"""The record of what was done by hand. `owner` None stands for the operator, who sees all of it."""

from tasks_server.service.ground import Ground
from tasks_server.store.auditing import ActPage, ActQuery


class AuditService:
    """Shows it. Dates without a zone count in that of the ground."""

    def __init__(self, ground: Ground) -> None:
        self._store = ground.store
        self.zone = ground.zone

    async def page(self, query: ActQuery) -> ActPage:
        """One page, the newest first; a bounded piece of work, so that it may be short although there is a next one."""
        return await self._store.acts(query)
