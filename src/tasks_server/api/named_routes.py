"""`/tasks`: handlers run by their names, in snake_case. Tasks that send HTTP requests are at `/v1/queues`."""

import hashlib
from collections.abc import Mapping
from datetime import tzinfo
from typing import Any, Final

from msgspec import UNSET

from tasks_server.api import listing
from tasks_server.api.exchange import Answer, Exchange
from tasks_server.api.named_wire import (
    STATUS_NAMES,
    STATUSES,
    CreatedView,
    NamedDetailView,
    NamedEntryView,
    detail_view,
    entry_view,
    read_task,
)
from tasks_server.api.routes import BODY_ERRORS, QueryParameter, Route, Success
from tasks_server.api.task_routes import REPLAYED, idempotency_key
from tasks_server.api.wire import encode, read_json
from tasks_server.clock import Clock
from tasks_server.domain import dates, limits, shapes
from tasks_server.domain.errors import Fault, InvalidRequest
from tasks_server.domain.named_reading import NamedTask, RecurringTask, Rescheduling, read_rescheduling
from tasks_server.domain.request import Key
from tasks_server.domain.task import State, Task, handler_target
from tasks_server.domain.validation import Draft
from tasks_server.service.acting import acting
from tasks_server.service.named import NamedService
from tasks_server.service.tasks import Idempotency, TaskService
from tasks_server.store.filtering import TaskFilter
from tasks_server.store.ports import TaskQuery

PATH: Final = "/tasks"
_PAGE_DEFAULT: Final = 100
_WHEN: Final = f"An instant: {dates.FORMS}"
_INSTANTS: Final = {
    "scheduled_after": "due_from",
    "scheduled_before": "due_until",
    "created_after": "created_from",
    "created_before": "created_until",
}
QUERY: Final = (
    QueryParameter("task_name", {"type": "string"}, "Only this handler"),
    QueryParameter("status", {"enum": list(STATUS_NAMES)}, "Only this status; several with commas between them"),
    QueryParameter("priority", {"type": "integer", "minimum": 0, "maximum": limits.PRIORITY_MAX}, "Only this priority"),
    QueryParameter("scheduled_after", {"type": "string"}, f"Only what is due then or later. {_WHEN}"),
    QueryParameter("scheduled_before", {"type": "string"}, f"Only what is due before. {_WHEN}"),
    QueryParameter("created_after", {"type": "string"}, f"Only what was made then or later. {_WHEN}"),
    QueryParameter("created_before", {"type": "string"}, f"Only what was made before. {_WHEN}"),
    QueryParameter("limit", {"type": "integer", "minimum": 1, "maximum": limits.PAGE_SIZE_MAX}, "Tasks of a page"),
    QueryParameter("offset", {"type": "integer", "minimum": 0, "maximum": limits.OFFSET_MAX}, "Tasks to leave out"),
    QueryParameter("cursor", {"type": "string"}, "Where the page begins; from the Link header of the page before"),
)
_NAMES: Final = tuple(parameter.name for parameter in QUERY)


class NamedRoutes:
    """The handlers, and the table of them."""

    def __init__(self, named: NamedService, tasks: TaskService, clock: Clock, *, body_max_bytes: int) -> None:
        self._named = named
        self._tasks = tasks
        self._clock = clock
        self._body_max = body_max_bytes

    def table(self) -> list[Route]:
        made = [
            Success(201, CreatedView, "The id of the task, stored durably; of the schedule, for a recurring one"),
            Success(200, CreatedView, "The id of the first task of this Idempotency-Key"),
        ]
        refused = ["queue_full", "owner_missing", "idempotency_key_reused", "schedule_name_taken", "schedules_full"]
        page = Success(
            200,
            list[NamedEntryView],
            "A page of tasks, the newest first",
            {"Link": 'The next page, as rel="next"; not there on the last one'},
        )
        return [
            Route(
                "POST",
                PATH,
                self.create,
                "Run a handler",
                "owner",
                made,
                [*BODY_ERRORS, *refused],
                body=(NamedTask, RecurringTask),
                idempotency=True,
                hot=True,
                guests=True,
            ),
            Route(
                "GET",
                PATH,
                self.list,
                "List the runs of handlers",
                "owner",
                [page],
                ["invalid_request"],
                query=QUERY,
                description="A page is a bounded piece of work: when a filter fits few tasks, it may be short or "
                "empty, and Link tells that there is more to look at.",
                guests=True,
            ),
            *self._table_of_one(),
        ]

    def _table_of_one(self) -> list[Route]:
        path, here = f"{PATH}/{{id}}", ["task_not_found"]
        pending = [*here, "task_not_pending", "task_cancelled"]
        shown, cancelled = Success(200, NamedDetailView, "The task"), Success(204, None, "It is cancelled")
        only = "Only while it is pending."
        return [
            Route("GET", path, self.show, "Show the run of a handler", "owner", [shown], here, guests=True),
            Route(
                "PATCH",
                path,
                self.reschedule,
                "Put the run of a handler on another time",
                "owner",
                [shown],
                [*BODY_ERRORS, *pending],
                body=Rescheduling,
                description=only,
                guests=True,
            ),
            Route(
                "DELETE",
                path,
                self.cancel,
                "Cancel the run of a handler",
                "owner",
                [cancelled],
                pending,
                description=f"{only} It stays visible as `cancelled`, with its history, as long as history is kept.",
                guests=True,
            ),
        ]

    async def create(self, exchange: Exchange) -> Answer:
        owner = exchange.caller.owner_id()
        body = await exchange.json_body(self._body_max)
        key = exchange.headers.get(b"idempotency-key")
        idempotency = None if key is None else Idempotency(idempotency_key(key), hashlib.sha256(body).digest())
        try:
            asked = read_task(body, self._clock.now(), self._named.manner)
            if not isinstance(asked, Draft):
                with acting(exchange.caller.actor):
                    return await self._make_schedule(owner, asked, idempotency)
        except InvalidRequest:
            # What is refused as new by now may have been taken before, under its key.
            known = await self._tasks.replay(owner, idempotency) if idempotency else None
            if known is None:
                raise
            return Answer(200, encode(CreatedView(known.id)), headers=(REPLAYED,))
        task = await self._tasks.submit(owner, asked, idempotency)
        if isinstance(task, Task):
            return Answer(200, encode(CreatedView(task.id)), headers=(REPLAYED,))
        hints = await self._tasks.hints([task])
        return Answer(201, encode(CreatedView(task.id, hints.get(task.target, UNSET))))

    async def _make_schedule(self, owner: str, body: RecurringTask, idempotency: Idempotency | None) -> Answer:
        if idempotency is not None:
            text = "is not offered for recurring tasks; give the schedule a name, of which there can be one only"
            raise InvalidRequest([Fault("idempotency-key", text)])
        return Answer(201, encode(CreatedView(await self._named.recurring(owner, body))))

    async def list(self, exchange: Exchange) -> Answer:
        query = exchange.query(_NAMES)
        asked = read_query(exchange.caller.scope, query, self._named.manner.zone)
        entries, page = await self._named.page(asked)
        body = encode([entry_view(entry) for entry in entries])
        return Answer(200, body, headers=listing.next_link(PATH, query, asked, page.next, page.skip))

    async def show(self, exchange: Exchange) -> Answer:
        detail = await self._named.show(exchange.caller.scope, exchange.parameter("id"))
        return Answer(200, encode(detail_view(detail)))

    async def reschedule(self, exchange: Exchange) -> Answer:
        raw = read_json(await exchange.json_body(self._body_max))
        at = read_rescheduling(raw, self._clock.now(), self._named.manner.zone)
        caller = exchange.caller
        detail = await self._named.reschedule(caller.scope, exchange.parameter("id"), at, by=caller.by)
        return Answer(200, encode(detail_view(detail)))

    async def cancel(self, exchange: Exchange) -> Answer:
        await self._named.cancel(exchange.caller.scope, exchange.parameter("id"), by=exchange.caller.by)
        return Answer(204, b"")


def read_query(owner: str | None, query: Mapping[str, str], zone: tzinfo) -> TaskQuery:
    """What is asked for. Raises `InvalidRequest` with every fault."""
    faults: list[Fault] = []
    bounds: dict[str, Any] = {}
    for name, field in _INSTANTS.items():
        if name in query:
            try:
                bounds[field] = listing.read_instant(query[name], zone)
            except ValueError as error:
                faults.append(Fault(f"query.{name}", str(error), query[name][:100], dates.FORMS))
    handler = query.get("task_name")
    if handler is not None:
        faults += shapes.faults_of(Key, handler, "query.task_name")
    priority = listing.read_number(query, "priority", (0, limits.PRIORITY_MAX), 0, faults)
    wanted = TaskFilter(
        handlers_only=True,
        target=None if handler is None else handler_target(handler),
        priority=priority if "priority" in query else None,
        **bounds,
    )
    after, skip = listing.read_cursor(query, "created", True, faults)
    asked = TaskQuery(
        owner,
        descending=True,
        limit=listing.read_number(query, "limit", (1, limits.PAGE_SIZE_MAX), _PAGE_DEFAULT, faults),
        offset=skip,
        states=_states(query, faults),
        after=after,
        filter=wanted,
    )
    if faults:
        raise InvalidRequest(faults)
    return asked


def _states(query: Mapping[str, str], faults: list[Fault]) -> frozenset[State] | None:
    names = listing.read_words(query, "status", STATUS_NAMES, faults)
    return None if names is None else frozenset(state for state, name in STATUSES.items() if name in names)
