"""`/v1/queues`: register tasks, show and list them, steer them."""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Callable, Iterable
from functools import partial
from typing import Final, TypeVar

from msgspec.structs import replace

from tasks_server.api import batch_reading, listing, registered_wire, wire
from tasks_server.api.exchange import Answer, Exchange
from tasks_server.api.routes import BODY_ERRORS, QueryParameter, Route, Success
from tasks_server.api.wire import DONE, encode
from tasks_server.clock import Clock
from tasks_server.domain import asked, dates, limits
from tasks_server.domain.abilities import Abilities
from tasks_server.domain.certificates import Unexamined
from tasks_server.domain.errors import Fault, InvalidRequest
from tasks_server.domain.handler_reading import HandlerRegistration
from tasks_server.domain.task import NewTask, Task
from tasks_server.domain.validation import Registration
from tasks_server.service.tasks import Idempotency, TaskService
from tasks_server.service.timeline import TimelineEntry

_T = TypeVar("_T")
_ASIDE_BYTES: Final = batch_reading.LARGE_BYTES
"""Batches up to this size are read where they come in: that takes some milliseconds at most."""
_PAGE_OF_ATTEMPTS: Final = ("limit", "cursor")
_ATTEMPTS_QUERY: Final = (
    QueryParameter("limit", {"type": "integer", "minimum": 1, "maximum": limits.HISTORY_MAX}, "Attempts of a page"),
    QueryParameter("cursor", {"type": "string"}, "Where the page begins; from the Link header of the page before"),
)
_MERGE_PATCH: Final = b"application/merge-patch+json"
REPLAYED: Final = (b"idempotency-replayed", b"true")

_LIST_QUERY: Final = (
    QueryParameter("limit", {"type": "integer", "minimum": 1, "maximum": limits.PAGE_SIZE_MAX}, "Tasks of a page"),
    QueryParameter("offset", {"type": "integer", "minimum": 0, "maximum": limits.OFFSET_MAX}, "Tasks to leave out"),
    QueryParameter("order", {"enum": list(listing.ORDERS)}, "What to sort by"),
    QueryParameter("sort", {"enum": list(listing.SORTS)}, "Which way to sort"),
    QueryParameter("state", {"enum": list(listing.STATES)}, "Only this state; several with commas between them"),
    QueryParameter("lane", {"type": "string", "minLength": 1, "maxLength": limits.NAME_LENGTH_MAX}, "Only this lane"),
    QueryParameter("schedule", {"type": "string"}, "Only tasks that this schedule made, by its id or its name"),
    QueryParameter(
        "statusCode",
        {"type": "string", "examples": ["404", "5xx"]},
        f"Only this last status: {listing.STATUS_FORM}",
    ),
    QueryParameter("endedSince", {"type": "string"}, f"Only what ended then or later. An instant: {dates.FORMS}"),
    QueryParameter("createdSince", {"type": "string"}, f"Registered then or later. An instant: {dates.FORMS}"),
    QueryParameter("createdUntil", {"type": "string"}, f"Registered before. An instant: {dates.FORMS}"),
    QueryParameter("host", {"type": "string", "examples": ["example.com"]}, "Only calls of this host, or host:port"),
    QueryParameter("handler", {"type": "string"}, "Only tasks that run this handler"),
    QueryParameter("endedUntil", {"type": "string"}, f"Only what ended before. An instant: {dates.FORMS}"),
    QueryParameter("cursor", {"type": "string"}, "Where the page begins; from the Link header of the page before"),
)


class TaskRoutes:
    """The handlers, and the table of them."""

    def __init__(self, tasks: TaskService, clock: Clock, *, body_max_bytes: int, batch_max_bytes: int) -> None:
        self._tasks = tasks
        self._clock = clock
        self._body_max = body_max_bytes
        self._batch_max = batch_max_bytes
        self._reading = asyncio.Semaphore(1)
        self._turns: dict[str, tuple[asyncio.Lock, int]] = {}
        """Owners whose batches are read aside, or wait for it, and how many of each."""

    def table(self) -> list[Route]:
        return [*self._table_of_all(), *self._table_of_one()]

    def _table_of_all(self) -> list[Route]:
        replayed = {"Idempotency-Replayed": "true: the task was registered by an earlier request"}
        return [
            Route(
                "POST",
                "/v1/queues/register",
                self.register,
                "Register a task",
                "owner",
                [
                    Success(201, registered_wire.NewTaskView, "The task, stored durably"),
                    Success(200, wire.TaskDetailView, "The first task of this Idempotency-Key", replayed),
                ],
                [*BODY_ERRORS, "queue_full", "owner_missing", "idempotency_key_reused"],
                body=(Registration, HandlerRegistration),
                idempotency=True,
                hot=True,
            ),
            Route(
                "POST",
                "/v1/queues/batch",
                self.register_batch,
                "Register many tasks",
                "owner",
                [
                    Success(201, registered_wire.BatchView, "The tasks, in the order of the request"),
                    Success(
                        200, registered_wire.BatchView, "Those of the first batch of this Idempotency-Key", replayed
                    ),
                ],
                [*BODY_ERRORS, "queue_full", "owner_missing", "idempotency_key_reused"],
                body=batch_reading.Batch,
                description="All of them or none.",
                idempotency=True,
                hot=True,
            ),
            Route(
                "GET",
                "/v1/queues",
                self.list,
                "List tasks",
                "owner",
                [
                    Success(
                        200,
                        list[wire.ListedTaskView],
                        "A page of tasks",
                        {"Link": 'The next page, as rel="next"; not there on the last one'},
                    )
                ],
                ["invalid_request"],
                query=_LIST_QUERY,
                query_prefix=listing.METADATA_PREFIX,
                description="`metadata.<key>=<value>` finds the tasks with this entry. A page costs the same however "
                "deep it lies, when it is asked for by the cursor. It is a bounded piece of work: when a filter fits "
                "few tasks, it may be short or empty, and Link tells that there is more to look at.",
            ),
        ]

    def _table_of_one(self) -> list[Route]:
        path = "/v1/queues/{id}"
        detail, done = Success(200, wire.TaskDetailView, "The task"), Success(200, wire.DoneView, "Done")
        here, refused = ["task_not_found"], ["task_not_found", "state_refuses"]
        spec = Success(200, wire.SpecView, "The request and its configuration")
        attempts = Success(
            200,
            list[wire.AttemptView],
            "The attempts, oldest first",
            {"Link": 'The next page, as rel="next"; not there on the last one'},
        )
        moments = Success(200, list[TimelineEntry], "What happened, oldest first")
        edit_note = "JSON merge patch (RFC 7396). A change of executionDelay or executeAt sets the due time anew."
        return [
            Route("GET", path, self.show, "Show a task", "owner", [detail], here),
            Route(
                "PATCH",
                path,
                self.edit,
                "Edit a task",
                "owner",
                [detail],
                [*BODY_ERRORS, *refused, "certificates_unexamined"],
                body=wire.TaskPatch,
                description=edit_note,
            ),
            Route("DELETE", path, self.delete, "Delete a task", "owner", [done], here),
            Route("GET", f"{path}/config", self.config, "Show what was registered", "owner", [spec], here),
            Route(
                "GET",
                f"{path}/attempts",
                self.attempts,
                "List attempts",
                "owner",
                [attempts],
                here,
                query=_ATTEMPTS_QUERY,
            ),
            Route("GET", f"{path}/timeline", self.timeline, "Show the timeline", "owner", [moments], here),
            Route("PATCH", f"{path}/pause", self.pause, "Pause a task", "owner", [done], refused, also="POST"),
            Route("PATCH", f"{path}/resume", self.resume, "Resume a task", "owner", [detail], refused, also="POST"),
            Route("PATCH", f"{path}/revoke", self.revoke, "Revoke a task", "owner", [done], refused, also="POST"),
            Route("POST", f"{path}/execute", self.execute, "Run a task now", "owner", [done], refused, also="PATCH"),
            Route(
                "POST", f"{path}/retry", self.retry, "Run a final task again", "owner", [detail], refused, also="PATCH"
            ),
        ]

    async def register(self, exchange: Exchange) -> Answer:
        owner = exchange.caller.owner_id()
        body = await exchange.json_body(self._body_max)
        idempotency = _idempotency(exchange, body)
        known = self._tasks
        try:
            draft = await self._read(owner, partial(wire.read_draft, body, self._clock.now(), known.zone, known.egress))
        except InvalidRequest:
            # Asked again after its dates have passed, a request is refused as new, but known by its key.
            before = await self._tasks.replay(owner, idempotency) if idempotency else None
            if before is None:
                raise
            return Answer(200, encode(wire.task_view(before)), headers=(REPLAYED,))
        task = await self._tasks.submit(owner, draft, idempotency)
        if isinstance(task, NewTask):
            hints = await self._tasks.hints([task])
            return Answer(201, encode(registered_wire.new_task_view(task, hints.get(task.target))))
        return Answer(200, encode(wire.task_view(task)), headers=(REPLAYED,))

    async def register_batch(self, exchange: Exchange) -> Answer:
        owner = exchange.caller.owner_id()
        body = await exchange.json_body(self._batch_max)
        idempotency = _idempotency(exchange, body)
        known = self._tasks
        most = max(self._body_max, batch_reading.TASK_MAX_BYTES)
        read = partial(batch_reading.read_batch, body, self._clock.now(), known.zone, known.egress, task_max_bytes=most)
        try:
            drafts = await (self._read if len(body) <= _ASIDE_BYTES else self._read_aside)(owner, read)
        except InvalidRequest:
            before = await known.replay_batch(owner, idempotency) if idempotency else []
            if not before:
                raise
            return _replayed(before)
        tasks = await known.submit_batch(owner, drafts, idempotency)
        new = [task for task in tasks if isinstance(task, NewTask)]
        if len(new) < len(tasks):
            return _replayed([task for task in tasks if isinstance(task, Task)])
        hints = await known.hints(new)
        views = [registered_wire.new_task_view(task, hints.get(task.target)) for task in new]
        return Answer(201, encode(registered_wire.BatchView(views)))

    async def _read(self, owner: str, read: Callable[[Abilities], _T]) -> _T:
        """What is read, with certificates and keys examined, where there are any."""
        try:
            return read(self._tasks.abilities)
        except Unexamined:

            async def again(abilities: Abilities) -> _T:
                return read(abilities)

            return await self._tasks.examining(owner, again)

    async def _read_aside(self, owner: str, read: Callable[[Abilities], _T]) -> _T:
        """The same on another thread, for what takes long: others are served meanwhile. Owners take turns."""

        async def aside(abilities: Abilities) -> _T:
            return await asyncio.to_thread(read, abilities)

        async with self._own_turn(owner), self._reading:
            return await self._tasks.examining(owner, aside)

    @contextlib.asynccontextmanager
    async def _own_turn(self, owner: str) -> AsyncIterator[None]:
        """One reading of each owner at a time, so that it waits for itself alone."""
        turn, count = self._turns.get(owner, (asyncio.Lock(), 0))
        self._turns[owner] = turn, count + 1
        try:
            async with turn:
                yield
        finally:
            turn, count = self._turns.pop(owner)
            if count > 1:
                self._turns[owner] = turn, count - 1

    async def list(self, exchange: Exchange) -> Answer:
        faults: list[Fault] = []
        query = exchange.query(listing.NAMES, listing.METADATA_PREFIX, beside=faults)
        asked = listing.read_query(exchange.caller.scope, query, self._tasks.zone, faults)
        page = await self._tasks.tasks(replace(asked, with_specs=True))
        body = encode([wire.listed_task_view(*one) for one in zip(page.tasks, page.specs, strict=True)])
        return Answer(200, body, headers=listing.next_link("/v1/queues", query, asked, page.next, page.skip))

    async def show(self, exchange: Exchange) -> Answer:
        return _detail(await self._tasks.task(*_named(exchange)))

    async def config(self, exchange: Exchange) -> Answer:
        task = await self._tasks.task(*_named(exchange), response=False)
        spec = await self._tasks.spec(*_named(exchange))
        shown = wire.spec_view(spec, task.metadata)
        shown.config["timezone"] = spec.config.timezone or str(self._tasks.zone)
        return Answer(200, encode(shown))

    async def attempts(self, exchange: Exchange) -> Answer:
        faults: list[Fault] = []
        query = exchange.query(_PAGE_OF_ATTEMPTS, beside=faults)
        limit = listing.read_number(query, "limit", (1, limits.HISTORY_MAX), limits.HISTORY_MAX, faults)
        after = listing.read_number(query, "cursor", (0, limits.INT63_MAX), 0, faults)
        if faults:
            raise InvalidRequest(faults)
        owner, task_id = _named(exchange)
        attempts = await self._tasks.attempts(owner, task_id, after=after, limit=limit + 1)
        body = encode([wire.attempt_view(attempt) for attempt in attempts[:limit]])
        if len(attempts) <= limit:
            return Answer(200, body)
        link = f'</v1/queues/{task_id}/attempts?limit={limit}&cursor={attempts[limit - 1].number}>; rel="next"'
        return Answer(200, body, headers=((b"link", link.encode("ascii")),))

    async def timeline(self, exchange: Exchange) -> Answer:
        return Answer(200, encode(await self._tasks.timeline(*_named(exchange))))

    async def edit(self, exchange: Exchange) -> Answer:
        patch = wire.read_json(await exchange.json_body(self._body_max, _MERGE_PATCH), asked.KEPT)
        return _detail(await self._tasks.edit(*_named(exchange), patch, by=exchange.caller.by))

    async def delete(self, exchange: Exchange) -> Answer:
        await self._tasks.delete(*_named(exchange))
        return Answer(200, DONE)

    async def pause(self, exchange: Exchange) -> Answer:
        await self._tasks.pause(*_named(exchange), by=exchange.caller.by)
        return Answer(200, DONE)

    async def resume(self, exchange: Exchange) -> Answer:
        return _detail(await self._tasks.resume(*_named(exchange), by=exchange.caller.by))

    async def revoke(self, exchange: Exchange) -> Answer:
        await self._tasks.revoke(*_named(exchange), by=exchange.caller.by)
        return Answer(200, DONE)

    async def execute(self, exchange: Exchange) -> Answer:
        await self._tasks.execute(*_named(exchange), by=exchange.caller.by)
        return Answer(200, DONE)

    async def retry(self, exchange: Exchange) -> Answer:
        return _detail(await self._tasks.retry(*_named(exchange), by=exchange.caller.by))


def _named(exchange: Exchange) -> tuple[str | None, str]:
    """Whose tasks the caller sees, and which of them the path names."""
    return exchange.caller.scope, exchange.parameter("id")


def _detail(task: Task) -> Answer:
    return Answer(200, encode(wire.task_view(task)))


def idempotency_key(value: bytes) -> str:
    key = value.decode("latin-1").strip()
    if not (1 <= len(key) <= limits.IDEMPOTENCY_KEY_LENGTH_MAX and key.isascii() and key.isprintable()):
        allowed = f"1 to {limits.IDEMPOTENCY_KEY_LENGTH_MAX} printable ASCII characters"
        raise InvalidRequest([Fault("idempotency-key", f"must be {allowed}", key[:100], allowed)])
    return key


def _idempotency(exchange: Exchange, body: bytes) -> Idempotency | None:
    """Under which key a body is asked, if under any. Raises `InvalidRequest` for a key that is none."""
    key = exchange.headers.get(b"idempotency-key")
    return None if key is None else Idempotency(idempotency_key(key), hashlib.sha256(body).digest())


def _replayed(tasks: Iterable[Task]) -> Answer:
    """A batch that was registered by an earlier request."""
    views = [registered_wire.known_task_view(task) for task in tasks]
    return Answer(200, encode(registered_wire.BatchView(views)), headers=(REPLAYED,))
