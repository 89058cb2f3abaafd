"""`/v1/owners`: register, list, show, limit, suspend, change keys, remove."""

from typing import Final, Literal
from urllib.parse import urlencode

from tasks_server.api import owner_wire, wire
from tasks_server.api.auth import Authenticator, Caller
from tasks_server.api.door import Door
from tasks_server.api.exchange import Answer, Exchange
from tasks_server.api.listing import read_number
from tasks_server.api.routes import BODY_ERRORS, QueryParameter, Route, Success
from tasks_server.api.wire import DONE, encode
from tasks_server.domain import limits
from tasks_server.domain.errors import Fault, Forbidden, InvalidRequest, NotFound, Unauthorized
from tasks_server.domain.owner import Owner
from tasks_server.service.acting import acting
from tasks_server.service.owners import OWNER_NOT_FOUND, OwnerService

Registration = Literal["closed", "loopback", "open"]
"""Who may register owners without the admin key: nobody; everybody on this machine, as only this machine can reach the
server; everybody.
"""
_REGISTRATION_MAX_BYTES: Final = 16 * 1_024
"""Of a body that anybody may send: a name and a number."""
_LIST_QUERY: Final = (
    QueryParameter("limit", {"type": "integer", "minimum": 1, "maximum": limits.PAGE_SIZE_MAX}, "Owners of a page"),
    QueryParameter("cursor", {"type": "string"}, "Where the page begins; from the Link header of the page before"),
    QueryParameter("prefix", {"type": "string", "pattern": "^[a-z0-9-]{0,32}$"}, "With what their names begin"),
)
_CLOSED: Final = (
    "registration_closed",
    "admin_required",
    "key_read_only",
    "credentials_malformed",
    "owner_unknown",
    "key_invalid",
)


async def named_owner(owners: OwnerService, exchange: Exchange) -> Owner:
    """The owner named in the path, if the caller may see it. Raises `NotFound`."""
    owner = await owners.by_name(exchange.parameter("name"))
    if exchange.caller.scope not in (None, owner.id):
        raise NotFound("there is no owner of this name", code=OWNER_NOT_FOUND, scoped=True)
    return owner


class OwnerRoutes:
    """The handlers, and the table of them."""

    def __init__(
        self,
        owners: OwnerService,
        authenticator: Authenticator,
        door: Door,
        *,
        registration: Registration,
        body_max_bytes: int,
    ) -> None:
        self._owners = owners
        self._authenticator = authenticator
        self._door = door
        self._registration = registration
        self._body_max = body_max_bytes

    def table(self) -> list[Route]:
        return [*self._table_of_owners(), *self._table_of_keys()]

    def _table_of_owners(self) -> list[Route]:
        path = "/v1/owners/{name}"
        owner, done = Success(200, owner_wire.OwnerView, "The owner"), Success(200, wire.DoneView, "Done")
        return [
            Route(
                "POST",
                "/v1/owners/register",
                self.register,
                "Register an owner",
                "open",
                [Success(201, owner_wire.RegisteredOwnerView, "The owner and its key, which is shown this once")],
                [*BODY_ERRORS, "owner_name_taken", *_CLOSED],
                body=owner_wire.OwnerRegistration,
                description="Open while the server listens on loopback or when the operator says so; otherwise it "
                "takes the admin key. Only the admin key may set `tasksInQueueLimit`.",
            ),
            Route(
                "GET",
                "/v1/owners",
                self.list,
                "List owners",
                "admin",
                [
                    Success(
                        200,
                        list[owner_wire.ListedOwnerView],
                        "A page of owners, by name",
                        {"Link": 'The next page, as rel="next"; not there on the last one'},
                    )
                ],
                ["invalid_request"],
                query=_LIST_QUERY,
                description="Takes an admin key. A page costs the same however many owners there are.",
            ),
            Route("GET", path, self.show, "Show an owner", "owner", [owner], [OWNER_NOT_FOUND]),
            Route(
                "PATCH",
                path,
                self.edit,
                "Edit an owner",
                "owner",
                [owner],
                [*BODY_ERRORS, OWNER_NOT_FOUND, "admin_required"],
                body=owner_wire.OwnerPatch,
                description="Only the admin key may set `tasksInQueueLimit`, `requestsPerMinute` and `suspended`. "
                "`retentionDays` takes fractions, of one "
                "hour at least; an owner itself may set it up to what it has or what the operator keeps of all, "
                "whichever is longer. Null: as long as the operator keeps all.",
            ),
            Route(
                "DELETE",
                path,
                self.delete,
                "Remove an owner",
                "owner",
                [done],
                [OWNER_NOT_FOUND, "owner_has_tasks"],
                description="Removes its keys and finished tasks, too.",
            ),
        ]

    def _table_of_keys(self) -> list[Route]:
        path = "/v1/owners/{name}/keys"
        return [
            Route(
                "GET",
                path,
                self.list_keys,
                "List the keys of an owner",
                "owner",
                [Success(200, list[owner_wire.KeyView], "Its live keys, without their secrets; the oldest first")],
                [OWNER_NOT_FOUND],
            ),
            Route(
                "POST",
                path,
                self.add_key,
                "Add a key",
                "owner",
                [Success(201, owner_wire.IssuedKeyView, "The key, which is shown this once")],
                [OWNER_NOT_FOUND, "keys_full"],
                description="An owner has at most two live keys, so that keys can be changed without a pause.",
            ),
            Route(
                "DELETE",
                path + "/{keyId}",
                self.remove_key,
                "Remove a key",
                "owner",
                [Success(200, wire.DoneView, "Done")],
                [OWNER_NOT_FOUND, "key_not_found", "last_key"],
                description="Takes effect at once; other processes of the server follow within 10 seconds.",
            ),
        ]

    async def register(self, exchange: Exchange) -> Answer:
        caller = await self._admits(exchange)
        asked = owner_wire.read_owner_registration(
            await exchange.json_body(min(self._body_max, _REGISTRATION_MAX_BYTES))
        )
        if asked.tasks_in_queue_limit is not None and not caller.admin:
            raise Forbidden("only the admin key may set tasksInQueueLimit", code="admin_required")
        with acting(caller.actor):
            owner, issued = await self._owners.register(asked.name, asked.tasks_in_queue_limit)
        return Answer(201, encode(owner_wire.registered_owner_view(owner, issued)))

    async def _admits(self, exchange: Exchange) -> Caller:
        """Who registers; whoever has no key is a caller without an owner. Raises when registration is for the operator
        only.
        """
        caller = Caller(None)
        has_key = bool(exchange.headers.get(b"authorization"))
        if has_key:
            caller = await self._authenticator.caller(exchange.headers)
            caller.check_may("POST")
            if caller.admin:
                return caller
        if self._registration == "closed":
            text = "owners are registered with the admin key here"
            raise Forbidden(text, code="admin_required") if has_key else Unauthorized(text, code="registration_closed")
        self._door.admit(exchange)
        if self._registration == "loopback" and (sign := self._door.forwarded(exchange)) is not None:
            raise Unauthorized(
                f"a proxy passed this on ({sign}): that the server listens on loopback only does not open registration "
                "to it. Use the admin key; the operator may open registration to all (TASKS_SERVER_REGISTRATION=open)",
                code="registration_closed",
            )
        return caller

    async def list(self, exchange: Exchange) -> Answer:
        query, faults = exchange.query(("limit", "cursor", "prefix")), list[Fault]()
        limit = read_number(query, "limit", (1, limits.PAGE_SIZE_MAX), limits.PAGE_SIZE_DEFAULT, faults)
        prefix, after = owner_wire.read_prefix(query, faults), owner_wire.read_cursor(query, faults)
        if faults:
            raise InvalidRequest(faults)
        page = await self._owners.page(after, limit, prefix)
        body = encode([owner_wire.listed_owner_view(owner) for owner in page])
        if len(page) < limit:
            return Answer(200, body)
        kept = {name: value for name, value in query.items() if name in ("limit", "prefix")}
        link = f'</v1/owners?{urlencode({**kept, "cursor": page[-1].name})}>; rel="next"'
        return Answer(200, body, headers=((b"link", link.encode("ascii")),))

    async def show(self, exchange: Exchange) -> Answer:
        return await self._answer(await self._owner(exchange))

    async def edit(self, exchange: Exchange) -> Answer:
        asked = owner_wire.read_owner_patch(await exchange.json_body(self._body_max))
        owner = await self._owner(exchange)
        owner = await self._owners.edit(owner.name, asked, exchange.caller.by)
        self._authenticator.forget(owner.id)
        return await self._answer(owner)

    async def delete(self, exchange: Exchange) -> Answer:
        owner = await self._owner(exchange)
        await self._owners.delete(owner.name)
        self._authenticator.forget(owner.id)
        return Answer(200, DONE)

    async def list_keys(self, exchange: Exchange) -> Answer:
        keys = await self._owners.keys(await self._owner(exchange))
        return Answer(200, encode([owner_wire.key_view(key) for key in keys]))

    async def add_key(self, exchange: Exchange) -> Answer:
        issued = await self._owners.add_key(await self._owner(exchange))
        return Answer(201, encode(owner_wire.IssuedKeyView(issued.id, issued.key)))

    async def remove_key(self, exchange: Exchange) -> Answer:
        owner = await self._owner(exchange)
        await self._owners.remove_key(owner, exchange.parameter("keyId"))
        self._authenticator.forget(owner.id)
        return Answer(200, DONE)

    async def _owner(self, exchange: Exchange) -> Owner:
        return await named_owner(self._owners, exchange)

    async def _answer(self, owner: Owner) -> Answer:
        return Answer(200, encode(owner_wire.owner_view(owner, await self._owners.keys(owner))))
