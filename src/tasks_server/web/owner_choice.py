"""Pages of things that belong to one owner: the operator says first whose."""

from collections.abc import Awaitable, Callable

from tasks_server.api.exchange import Answer
from tasks_server.domain.errors import NotFound
from tasks_server.service.owners import OwnerService
from tasks_server.web.frame import Page
from tasks_server.web.visit import Visit

OwnerPage = Callable[[Visit, str], Awaitable[Answer]]
"""A page of an owner, by its id."""
_SHOWN_MAX = 200


class OwnerChoice:
    """Asks the operator for an owner where none is chosen."""

    def __init__(self, owners: OwnerService) -> None:
        self._owners = owners

    def of(self, page: OwnerPage, title: str) -> Page:
        """The page of the owner who looks, or whom the operator chose."""

        async def serve(visit: Visit) -> Answer:
            told = ""
            try:
                owner = await visit.owner_id(self._owners)
            except NotFound as error:
                owner, told = None, error.message
            if owner is not None:
                return await page(visit, owner)
            owners = await self._owners.page(limit=_SHOWN_MAX)
            if len(owners) == 1 and not told:
                return await page(visit.chosen(owners[0].name), owners[0].id)
            return visit.page("choose.html", title, owners=owners, more=len(owners) == _SHOWN_MAX, told=told)

        return serve
