"""`/v1/schedules`: recurring rules that make tasks. The path names one by its id or by its name."""

from typing import Final

from tasks_server.api import wire
from tasks_server.api.exchange import Answer, Exchange
from tasks_server.api.listing import id_link, read_id_cursor, read_number
from tasks_server.api.registered_wire import new_task_view
from tasks_server.api.routes import BODY_ERRORS, QueryParameter, Route, Success
from tasks_server.api.schedule_wire import (
    ListedScheduleView,
    PreviewView,
    SchedulePatch,
    ScheduleView,
    listed_schedule_view,
    preview_view,
    schedule_view,
)
from tasks_server.api.wire import DONE, encode
from tasks_server.domain import limits
from tasks_server.domain.errors import Fault, InvalidRequest
from tasks_server.domain.schedule_reading import KEPT, NamedScheduleBody, ScheduleBody
from tasks_server.service.schedules import NOT_FOUND, ScheduleService, Shown

_CHANGED: Final = ("schedule_name_taken", "certificates_unexamined")
_STORED: Final = ("schedule_name_taken", "schedules_full", "owner_missing")
_MERGE_PATCH: Final = b"application/merge-patch+json"
_PATH: Final = "/v1/schedules"
_LIST_QUERY: Final = (
    QueryParameter("limit", {"type": "integer", "minimum": 1, "maximum": limits.PAGE_SIZE_MAX}, "Schedules of a page"),
    QueryParameter("cursor", {"type": "string"}, "Where the page begins; from the Link header of the page before"),
)
_PREVIEW_QUERY: Final = (
    QueryParameter("n", {"type": "integer", "minimum": 1, "maximum": limits.PREVIEW_MAX}, "How many fire times"),
)


class ScheduleRoutes:
    """The handlers, and the table of them."""

    def __init__(self, schedules: ScheduleService, *, body_max_bytes: int) -> None:
        self._schedules = schedules
        self._body_max = body_max_bytes

    def table(self) -> list[Route]:
        shown = Success(200, ScheduleView, "The schedule")
        made = Success(201, ScheduleView, "The schedule, stored durably")
        listed = Success(
            200,
            list[ListedScheduleView],
            "A page of schedules, in the order of their making",
            {"Link": 'The next page, as rel="next"; not there on the last one'},
        )
        put_note = (
            "By name, it makes the schedule or replaces the one of this name. By id, it replaces; another `name` "
            "renames it. What changes nothing of the timing leaves the next fire time as it is."
        )
        edit_note = (
            "JSON merge patch (RFC 7396). A change of cron, every, timezone, startAt, endAt or maxRuns sets the next "
            "fire time anew."
        )
        stored, changed = [*BODY_ERRORS, *_STORED], [*BODY_ERRORS, NOT_FOUND, *_CHANGED]
        return [
            Route("POST", _PATH, self.create, "Make a schedule", "owner", [made], stored, body=ScheduleBody),
            Route("GET", _PATH, self.list, "List schedules", "owner", [listed], ["invalid_request"], query=_LIST_QUERY),
            Route("GET", f"{_PATH}/{{id}}", self.show, "Show a schedule", "owner", [shown], [NOT_FOUND]),
            Route(
                "PUT",
                f"{_PATH}/{{id}}",
                self.put,
                "Put a schedule",
                "owner",
                [shown, made],
                [*stored, NOT_FOUND],
                body=NamedScheduleBody,
                description=put_note,
            ),
            Route(
                "PATCH",
                f"{_PATH}/{{id}}",
                self.edit,
                "Edit a schedule",
                "owner",
                [shown],
                changed,
                body=SchedulePatch,
                description=edit_note,
            ),
            *self._table_of_acts(),
        ]

    def _table_of_acts(self) -> list[Route]:
        path, here = f"{_PATH}/{{id}}", [NOT_FOUND]
        done = Success(200, wire.DoneView, "Done")
        shown = Success(200, ScheduleView, "The schedule")
        task = Success(201, wire.TaskView, "The task, stored durably")
        times = Success(200, PreviewView, "The next fire times")
        pause_note = "It fires no more until it is resumed; tasks that it made go on. Paused already, it stays so."
        resume_note = "It goes on from now: what would have fired while it was paused is not made up for."
        run_note = "One task at once, beside those of the fire times; also when the schedule is paused or has ended."
        return [
            Route("DELETE", path, self.delete, "Delete a schedule", "owner", [done], here),
            Route(
                "POST",
                f"{path}/pause",
                self.pause,
                "Pause a schedule",
                "owner",
                [shown],
                here,
                description=pause_note,
                also="PATCH",
            ),
            Route(
                "POST",
                f"{path}/resume",
                self.resume,
                "Resume a schedule",
                "owner",
                [shown],
                here,
                description=resume_note,
                also="PATCH",
            ),
            Route(
                "POST",
                f"{path}/run",
                self.run,
                "Run a schedule now",
                "owner",
                [task],
                [*here, "queue_full"],
                description=run_note,
                also="PATCH",
            ),
            Route(
                "GET",
                f"{path}/preview",
                self.preview,
                "Preview a schedule",
                "owner",
                [times],
                [*here, "invalid_request"],
                query=_PREVIEW_QUERY,
            ),
        ]

    async def create(self, exchange: Exchange) -> Answer:
        owner = exchange.caller.owner_id()
        raw = wire.read_json(await exchange.json_body(self._body_max), KEPT)
        return _answer(await self._schedules.create(owner, raw), 201)

    async def list(self, exchange: Exchange) -> Answer:
        query = exchange.query(("limit", "cursor"))
        faults: list[Fault] = []
        limit = read_number(query, "limit", (1, limits.PAGE_SIZE_MAX), limits.PAGE_SIZE_DEFAULT, faults)
        after = read_id_cursor(query.get("cursor"), faults)
        if faults:
            raise InvalidRequest(faults)
        page = await self._schedules.page(exchange.caller.scope, after, limit + 1)
        body = encode([listed_schedule_view(schedule) for schedule in page[:limit]])
        if len(page) <= limit:
            return Answer(200, body)
        link = id_link(_PATH, query, page[limit - 1].id)
        return Answer(200, body, headers=((b"link", link.encode("ascii")),))

    async def show(self, exchange: Exchange) -> Answer:
        return _answer(await self._schedules.show(*_named(exchange)))

    async def put(self, exchange: Exchange) -> Answer:
        owner = exchange.caller.owner_id()
        raw = wire.read_json(await exchange.json_body(self._body_max), KEPT)
        shown, made = await self._schedules.put(owner, exchange.parameter("id"), raw)
        return _answer(shown, 201 if made else 200)

    async def edit(self, exchange: Exchange) -> Answer:
        patch = wire.read_json(await exchange.json_body(self._body_max, _MERGE_PATCH), KEPT)
        return _answer(await self._schedules.edit(*_named(exchange), patch))

    async def delete(self, exchange: Exchange) -> Answer:
        await self._schedules.delete(*_named(exchange))
        return Answer(200, DONE)

    async def pause(self, exchange: Exchange) -> Answer:
        return _answer(await self._schedules.pause(*_named(exchange)))

    async def resume(self, exchange: Exchange) -> Answer:
        return _answer(await self._schedules.resume(*_named(exchange)))

    async def run(self, exchange: Exchange) -> Answer:
        return Answer(201, encode(new_task_view(await self._schedules.run(*_named(exchange)))))

    async def preview(self, exchange: Exchange) -> Answer:
        faults: list[Fault] = []
        count = read_number(exchange.query(("n",)), "n", (1, limits.PREVIEW_MAX), limits.PREVIEW_DEFAULT, faults)
        if faults:
            raise InvalidRequest(faults)
        return Answer(200, encode(preview_view(*await self._schedules.preview(*_named(exchange), count))))


def _named(exchange: Exchange) -> tuple[str | None, str]:
    """Whose schedules the caller sees, and which of them the path names."""
    return exchange.caller.scope, exchange.parameter("id")


def _answer(shown: Shown, status: int = 200) -> Answer:
    return Answer(status, encode(schedule_view(shown)))
