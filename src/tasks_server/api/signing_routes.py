"""`/v1/owners/{name}/signing`: how an owner's calls are signed; its secrets are shown to the owner's own key alone."""

from tasks_server.api import wire
from tasks_server.api.exchange import Answer, Exchange
from tasks_server.api.owner_routes import named_owner
from tasks_server.api.routes import BODY_ERRORS, Route, Success
from tasks_server.api.wire import encode
from tasks_server.domain.signing import Signing
from tasks_server.service.owners import OWNER_NOT_FOUND, OwnerService


class SigningRoutes:
    """The handlers, and the table of them."""

    def __init__(self, owners: OwnerService, *, body_max_bytes: int) -> None:
        self._owners = owners
        self._body_max = body_max_bytes

    def table(self) -> list[Route]:
        path = "/v1/owners/{name}/signing"
        return [
            Route(
                "GET",
                path,
                self.show,
                "Show the signing secrets",
                "owner",
                [Success(200, wire.SigningView, "Whether calls are signed, and with what")],
                [OWNER_NOT_FOUND],
                description="The secrets are shown to the owner's key; the admin key sees null in their place.",
            ),
            Route(
                "PATCH",
                path,
                self.switch,
                "Switch signing on or off",
                "owner",
                [Success(200, wire.SigningView, "Whether calls are signed, and with what")],
                [*BODY_ERRORS, OWNER_NOT_FOUND],
                body=wire.SigningPatch,
                description="Takes effect within 10 seconds. The secrets stay as they are.",
            ),
            Route(
                "POST",
                path + "/rotate",
                self.rotate,
                "Rotate the signing secret",
                "owner",
                [Success(201, wire.SigningView, "The secrets, the new one first")],
                [*BODY_ERRORS, OWNER_NOT_FOUND],
                body=wire.SigningRotation,
                body_required=False,
                description="Takes effect within 10 seconds. The secret before stays valid for `overlapSeconds`: calls "
                "carry two signatures meanwhile. One that still expires from an earlier rotation ends at once.",
            ),
        ]

    async def show(self, exchange: Exchange) -> Answer:
        return _answer(200, exchange, await self._owners.signing(await named_owner(self._owners, exchange)))

    async def switch(self, exchange: Exchange) -> Answer:
        owner = await named_owner(self._owners, exchange)
        asked = wire.read_signing_patch(await exchange.json_body(self._body_max))
        return _answer(200, exchange, await self._owners.set_signing(owner, asked.enabled))

    async def rotate(self, exchange: Exchange) -> Answer:
        owner = await named_owner(self._owners, exchange)
        has_body = b"content-type" in exchange.headers
        asked = wire.read_signing_rotation(await exchange.json_body(self._body_max) if has_body else b"")
        return _answer(201, exchange, await self._owners.rotate_signing(owner, asked.overlap_seconds))


def _answer(status: int, exchange: Exchange, signing: Signing) -> Answer:
    return Answer(status, encode(wire.signing_view(signing, reveal=not exchange.caller.admin)))
