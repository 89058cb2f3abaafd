"""`/v1/lanes`: named lines of an owner's tasks, each with its own rate, concurrency and pause."""

import base64
import binascii
from functools import partial
from typing import Final
from urllib.parse import urlencode

import msgspec

from tasks_server.api import wire
from tasks_server.api.bulk_wire import BulkView, bulk_view
from tasks_server.api.exchange import Answer, Exchange
from tasks_server.api.lane_wire import LanePatch, LaneView, lane_view
from tasks_server.api.listing import read_number
from tasks_server.api.routes import BODY_ERRORS, QueryParameter, Route, Success
from tasks_server.api.wire import DONE, encode
from tasks_server.domain import limits
from tasks_server.domain.bulk import Action, in_queue_of
from tasks_server.domain.errors import Fault, InvalidRequest
from tasks_server.domain.lane import Lane
from tasks_server.domain.lane_reading import LaneBody
from tasks_server.domain.request import Key
from tasks_server.service.bulks import BulkService
from tasks_server.service.lanes import NOT_FOUND, LaneService

_MERGE_PATCH: Final = b"application/merge-patch+json"
_PATH: Final = "/v1/lanes"
_LIST_QUERY: Final = (
    QueryParameter("limit", {"type": "integer", "minimum": 1, "maximum": limits.PAGE_SIZE_MAX}, "Lanes of a page"),
    QueryParameter("cursor", {"type": "string"}, "Where the page begins; from the Link header of the page before"),
)


class LaneRoutes:
    """The handlers, and the table of them."""

    def __init__(self, lanes: LaneService, bulks: BulkService, *, body_max_bytes: int) -> None:
        self._lanes = lanes
        self._bulks = bulks
        self._body_max = body_max_bytes

    def table(self) -> list[Route]:
        path = f"{_PATH}/{{name}}"
        shown = Success(200, LaneView, "The lane")
        made = Success(201, LaneView, "The lane, made")
        listed = Success(
            200,
            list[LaneView],
            "A page of lanes, by name",
            {"Link": 'The next page, as rel="next"; not there on the last one'},
        )
        here = ["owner_missing", NOT_FOUND]
        put_note = (
            "Sets these settings and no others; makes the lane when no task has used it. All engines keep to them from "
            "their next look on; tasks that run go on."
        )
        return [
            Route(
                "GET",
                _PATH,
                self.list,
                "List lanes",
                "owner",
                [listed],
                ["invalid_request", "owner_missing"],
                query=_LIST_QUERY,
            ),
            Route("GET", path, self.show, "Show a lane", "owner", [shown], here),
            Route(
                "PUT",
                path,
                self.put,
                "Put a lane",
                "owner",
                [shown, made],
                [*BODY_ERRORS, "owner_missing", "lanes_full", "lane_held"],
                body=LaneBody,
                description=put_note,
            ),
            Route(
                "PATCH",
                path,
                self.edit,
                "Edit a lane",
                "owner",
                [shown],
                [*BODY_ERRORS, *here, "lane_held"],
                body=LanePatch,
                description="JSON merge patch (RFC 7396) of its settings. Without its rate, a burst goes, too.",
            ),
            *self._table_of_acts(),
        ]

    def _table_of_acts(self) -> list[Route]:
        path, here = f"{_PATH}/{{name}}", ["owner_missing", NOT_FOUND]
        shown = Success(200, LaneView, "The lane")
        done = Success(200, wire.DoneView, "Done")
        act = partial(Route, "POST", access="owner", also="PATCH")
        delete_note = (
            "Forgets its settings. Refused while tasks of it are in queue. It comes back, with the defaults, when a "
            "task names it again."
        )
        pause_note = "Its tasks wait; those that run go on. Paused already, it stays so."
        purge_note = (
            "Deletes its tasks that are not final, those that run included, as bulk work of the engines; "
            "`GET /v1/bulk/{id}` tells how far it has come. Tasks that come later stay."
        )
        resume_note = (
            "Its tasks run again, those first that are due longest. What the operator paused, only the operator can "
            "resume."
        )
        return [
            Route(
                "DELETE",
                path,
                self.delete,
                "Delete a lane",
                "owner",
                [done],
                [*here, "lane_in_use", "lane_held"],
                description=delete_note,
            ),
            act(f"{path}/pause", self.pause, "Pause a lane", success=[shown], errors=here, description=pause_note),
            act(
                f"{path}/resume",
                self.resume,
                "Resume a lane",
                success=[shown],
                errors=[*here, "lane_held"],
                description=resume_note,
            ),
            act(
                f"{path}/purge",
                self.purge,
                "Purge a lane",
                success=[Success(202, BulkView, "The bulk work that purges it, stored durably")],
                errors=[*here, "bulks_full"],
                description=purge_note,
            ),
        ]

    async def list(self, exchange: Exchange) -> Answer:
        owner = exchange.caller.owner_id()
        query = exchange.query(("limit", "cursor"))
        faults: list[Fault] = []
        limit = read_number(query, "limit", (1, limits.PAGE_SIZE_MAX), limits.PAGE_SIZE_DEFAULT, faults)
        after = _read_cursor(query.get("cursor"), faults)
        if faults:
            raise InvalidRequest(faults)
        page = await self._lanes.page(owner, after, limit)
        body = encode([lane_view(lane) for lane in page.lanes])
        if page.next is None:
            return Answer(200, body)
        cursor = base64.urlsafe_b64encode(page.next.encode()).decode()
        kept = {name: value for name, value in query.items() if name == "limit"}
        link = f'<{_PATH}?{urlencode({**kept, "cursor": cursor})}>; rel="next"'
        return Answer(200, body, headers=((b"link", link.encode("ascii")),))

    async def show(self, exchange: Exchange) -> Answer:
        return _answer(await self._lanes.show(*_named(exchange)))

    async def put(self, exchange: Exchange) -> Answer:
        owner, name = _named(exchange)
        raw = wire.read_json(await exchange.json_body(self._body_max))
        lane, made = await self._lanes.put(owner, name, raw, exchange.caller.by)
        return _answer(lane, 201 if made else 200)

    async def edit(self, exchange: Exchange) -> Answer:
        owner, name = _named(exchange)
        patch = wire.read_json(await exchange.json_body(self._body_max, _MERGE_PATCH))
        return _answer(await self._lanes.edit(owner, name, patch, exchange.caller.by))

    async def delete(self, exchange: Exchange) -> Answer:
        await self._lanes.delete(*_named(exchange), exchange.caller.by)
        return Answer(200, DONE)

    async def pause(self, exchange: Exchange) -> Answer:
        return _answer(await self._lanes.pause(*_named(exchange), exchange.caller.by))

    async def resume(self, exchange: Exchange) -> Answer:
        return _answer(await self._lanes.resume(*_named(exchange), exchange.caller.by))

    async def purge(self, exchange: Exchange) -> Answer:
        owner, name = _named(exchange)
        await self._lanes.show(owner, name)
        made = await self._bulks.create(owner, Action.DELETE, in_queue_of(name), exchange.caller.by)
        return Answer(202, encode(bulk_view(made)))


def _named(exchange: Exchange) -> tuple[str, str]:
    """Whose lane the path names."""
    return exchange.caller.owner_id(), exchange.parameter("name")


def _answer(lane: Lane, status: int = 200) -> Answer:
    return Answer(status, encode(lane_view(lane)))


def _read_cursor(text: str | None, faults: list[Fault]) -> str:
    if text is None:
        return ""
    try:
        return msgspec.convert(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode("ascii"), Key)
    except (ValueError, binascii.Error):
        faults.append(Fault("query.cursor", "is no cursor of this server; take it from the Link header", text[:100]))
        return ""
