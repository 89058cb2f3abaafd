"""`/v1/bulk`: one action over all tasks that a filter finds, done by the engines piece by piece."""

from typing import Final

from tasks_server.api import wire
from tasks_server.api.bulk_wire import BulkBody, BulkSightView, BulkView, bulk_view, read_bulk, sight_view
from tasks_server.api.exchange import Answer, Exchange
from tasks_server.api.listing import id_link, read_id_cursor, read_number
from tasks_server.api.routes import BODY_ERRORS, QueryParameter, Route, Success
from tasks_server.api.wire import encode
from tasks_server.domain import limits
from tasks_server.domain.errors import Fault, InvalidRequest
from tasks_server.service.bulks import NOT_FOUND, BulkService

_PATH: Final = "/v1/bulk"
_LIST_QUERY: Final = (
    QueryParameter("limit", {"type": "integer", "minimum": 1, "maximum": limits.PAGE_SIZE_MAX}, "Pieces of a page"),
    QueryParameter("cursor", {"type": "string"}, "Where the page begins; from the Link header of the page before"),
)
_NOTE: Final = (
    "Tasks that are registered later are left alone. Each task is changed once, whatever crashes; those whose state "
    "does not allow the action are skipped. Without `states` and `ids`, `retry` is for ERROR, `revoke` for RUNNING and "
    "PAUSED, `pause` and `execute` for RUNNING, `resume` for PAUSED, `delete` for all. A retry waits for places in the "
    "queue, and leaves a tenth of them free."
)


class BulkRoutes:
    """The handlers, and the table of them."""

    def __init__(self, bulks: BulkService, *, body_max_bytes: int) -> None:
        self._bulks = bulks
        self._body_max = body_max_bytes

    def table(self) -> list[Route]:
        made = Success(202, BulkView, "The work, stored durably")
        sight = Success(200, BulkSightView, "What it would do now; nothing is changed (`dryRun`)")
        shown = Success(200, BulkView, "The work, and how far it has come")
        listed = Success(
            200,
            list[BulkView],
            "A page of bulk work, the newest first",
            {"Link": 'The next page, as rel="next"; not there on the last one'},
        )
        refusals = [*BODY_ERRORS, "bulks_full", "owner_missing"]
        cancel_note = "It ends where it stands: what it has changed stays so. What has ended stays as it is."
        return [
            Route(
                "POST",
                _PATH,
                self.create,
                "Ask for bulk work",
                "owner",
                [made, sight],
                refusals,
                body=BulkBody,
                description=_NOTE,
            ),
            Route("GET", _PATH, self.list, "List bulk work", "owner", [listed], ["invalid_request"], query=_LIST_QUERY),
            Route("GET", f"{_PATH}/{{id}}", self.show, "Show bulk work", "owner", [shown], [NOT_FOUND]),
            Route(
                "POST",
                f"{_PATH}/{{id}}/cancel",
                self.cancel,
                "Cancel bulk work",
                "owner",
                [shown],
                [NOT_FOUND],
                description=cancel_note,
                also="PATCH",
            ),
        ]

    async def create(self, exchange: Exchange) -> Answer:
        owner = exchange.caller.owner_id()
        asked = read_bulk(wire.read_json(await exchange.json_body(self._body_max)), self._bulks.zone)
        if asked.dry_run:
            return Answer(200, encode(sight_view(await self._bulks.sight(owner, asked.action, asked.filter))))
        made = await self._bulks.create(owner, asked.action, asked.filter, exchange.caller.by)
        return Answer(202, encode(bulk_view(made)))

    async def list(self, exchange: Exchange) -> Answer:
        query = exchange.query(("limit", "cursor"))
        faults: list[Fault] = []
        limit = read_number(query, "limit", (1, limits.PAGE_SIZE_MAX), limits.PAGE_SIZE_DEFAULT, faults)
        before = read_id_cursor(query.get("cursor"), faults)
        if faults:
            raise InvalidRequest(faults)
        page = await self._bulks.page(exchange.caller.scope, before, limit + 1)
        body = encode([bulk_view(bulk) for bulk in page[:limit]])
        if len(page) <= limit:
            return Answer(200, body)
        link = id_link(_PATH, query, page[limit - 1].id)
        return Answer(200, body, headers=((b"link", link.encode("ascii")),))

    async def show(self, exchange: Exchange) -> Answer:
        return Answer(200, encode(bulk_view(await self._bulks.show(exchange.caller.scope, exchange.parameter("id")))))

    async def cancel(self, exchange: Exchange) -> Answer:
        bulk = await self._bulks.cancel(exchange.caller.scope, exchange.parameter("id"))
        return Answer(200, encode(bulk_view(bulk)))
