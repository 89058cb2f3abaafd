"""`/v1/owners/{name}/callbacks`: what is called when an owner's tasks have ended. Lanes have settings for that."""

from tasks_server.api.callback_wire import CallbacksPatch, CallbacksView, callbacks_view, read_callbacks_patch
from tasks_server.api.exchange import Answer, Exchange
from tasks_server.api.owner_routes import named_owner
from tasks_server.api.routes import BODY_ERRORS, Route, Success
from tasks_server.api.wire import encode
from tasks_server.service.callbacks import CallbackService
from tasks_server.service.owners import OWNER_NOT_FOUND, OwnerService


class CallbackRoutes:
    """The handlers, and the table of them."""

    def __init__(self, owners: OwnerService, callbacks: CallbackService, *, body_max_bytes: int) -> None:
        self._owners = owners
        self._callbacks = callbacks
        self._body_max = body_max_bytes

    def table(self) -> list[Route]:
        path = "/v1/owners/{name}/callbacks"
        shown = Success(200, CallbacksView, "What is called")
        return [
            Route(
                "GET",
                path,
                self.show,
                "Show an owner's callbacks",
                "owner",
                [shown],
                [OWNER_NOT_FOUND],
                description="What is called when its tasks have ended, where neither the task nor its lane says so.",
            ),
            Route(
                "PATCH",
                path,
                self.edit,
                "Edit an owner's callbacks",
                "owner",
                [shown],
                [*BODY_ERRORS, OWNER_NOT_FOUND],
                body=CallbacksPatch,
                description="JSON merge patch (RFC 7396). Holds for every task that ends from now on.",
            ),
        ]

    async def show(self, exchange: Exchange) -> Answer:
        owner = await named_owner(self._owners, exchange)
        return Answer(200, encode(callbacks_view(await self._callbacks.show(owner))))

    async def edit(self, exchange: Exchange) -> Answer:
        owner = await named_owner(self._owners, exchange)
        patch = read_callbacks_patch(await exchange.json_body(self._body_max, b"application/merge-patch+json"))
        return Answer(200, encode(callbacks_view(await self._callbacks.edit(owner, patch))))
