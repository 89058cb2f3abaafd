"""Tasks that run handlers, as `/tasks` shows and steers them. `owner` None: the operator, who may act for any."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any, Final, TypeVar

import msgspec

from tasks_server.domain import ids, lifecycle, limits
from tasks_server.domain.attempt import Attempt, Event, EventFacts
from tasks_server.domain.defaults import NOW
from tasks_server.domain.engines import Engine
from tasks_server.domain.errors import Conflict, InvalidRequest, NotFound, Unreadable
from tasks_server.domain.forms import encode_spec
from tasks_server.domain.lifecycle import EventKind
from tasks_server.domain.named_reading import (
    Manner,
    RecurringTask,
    as_template,
    fallback_of,
    in_these_words,
)
from tasks_server.domain.notes import Notes
from tasks_server.domain.opening import opened_spec
from tasks_server.domain.owner import By, by_whom
from tasks_server.domain.request import TaskSpec
from tasks_server.domain.stored import together
from tasks_server.domain.task import HANDLER_MARK, State, Task
from tasks_server.service.acting import about, deed
from tasks_server.service.ground import Ground
from tasks_server.service.schedules import ScheduleService
from tasks_server.service.tasks import TaskService
from tasks_server.store.ports import Change, TaskPage, TaskQuery

_T = TypeVar("_T")
NOT_BEGUN: Final = frozenset({State.SCHEDULED, State.AVAILABLE})
"""What `/tasks` calls pending."""
_NAME_STEM_MAX: Final = limits.NAME_LENGTH_MAX - 13


class Entry(msgspec.Struct, frozen=True):
    """A task with what it runs, and how many retries hold for it. None: it cannot be read, which the task tells of."""

    task: Task
    spec: TaskSpec | None
    retries_max: int | None


class Detail(Entry, frozen=True):
    """The same with what more is known of it. `holder`: the process that runs it, as `host:pid`; `notes`: what its
    handler noted of the attempt that runs, or of the last one.
    """

    updated_at: int
    holder: str | None
    notes: Notes | None


class NamedService:
    """What `/tasks` does. Tasks that send requests are not there for it."""

    def __init__(self, ground: Ground, tasks: TaskService, schedules: ScheduleService, retry_base_ms: int) -> None:
        self._store = ground.store
        self._clock = ground.clock
        self._random = ground.random
        self._tasks = tasks
        self._schedules = schedules
        self.manner = Manner(ground.zone, retry_base_ms, ground.egress)

    async def recurring(self, owner: str, body: RecurringTask) -> str:
        """The id of a new schedule. Raises as `ScheduleService.create` does, in the words of `/tasks`."""
        raw: dict[str, Any] = {"name": body.name or self._name(body.task_name), "cron": body.schedule}
        raw["task"] = as_template(body)
        if body.timezone is not None:
            raw["timezone"] = body.timezone
        try:
            made = await self._schedules.create(owner, raw, fallback=fallback_of(self.manner))
        except InvalidRequest as error:
            raise InvalidRequest(in_these_words(error.faults)) from None
        return made.schedule.id

    async def show(self, owner: str | None, task_id: str) -> Detail:
        """Raises `NotFound`, `Unreadable`."""
        task = _handlers(await self._tasks.task(owner, task_id))
        spec = await self._tasks.spec(owner, task_id)
        attempts, events = await asyncio.gather(
            self._store.newest_attempts(owner, task_id, 1), self._store.events(owner, task_id)
        )
        engines = await self._store.engines()
        holder = None if task.held_by is None else await self._holder(task.held_by)
        last = attempts[-1].notes if attempts and attempts[-1].number == task.attempt else None
        notes = await self._tasks.notes(owner, task) or last
        updated_at = _updated_at(task, attempts, events)
        return Detail(task, spec, self._retries_max(spec, engines), updated_at, holder, notes)

    async def page(self, query: TaskQuery) -> tuple[list[Entry], TaskPage]:
        """One page of tasks, and as the store has it: where the next one begins."""
        page = await self._store.tasks(msgspec.structs.replace(query, with_specs=True))
        engines = await self._store.engines() if page.tasks else []
        pairs = zip(page.tasks, page.specs, strict=True)
        return [self._entry(task, stored, engines) for task, stored in pairs], page

    @deed("task", "revoke")
    async def cancel(self, owner: str | None, task_id: str, *, by: By) -> None:
        """Stops a task that has not begun, for good; it stays on record. Raises `NotFound`, `Conflict`."""
        now = self._clock.now()

        def decide(task: Task, _: bytes) -> Change:
            _pending(task, "be cancelled")
            return Change(lifecycle.revoke(task, now), Event(now, EventKind.REVOKE.value, by_whom(by)))

        await self._tasks.change(owner, task_id, decide)

    @deed("task", "edit")
    async def reschedule(self, owner: str | None, task_id: str, at: int, *, by: By) -> Detail:
        """Puts a task that has not begun on another time. Raises `NotFound`, `Conflict`."""
        now = self._clock.now()
        about(detail="config.executeAt")

        def decide(task: Task, stored: bytes) -> Change:
            _pending(task, "be put on another time")
            spec = opened_spec(stored, task.unreadable)
            config = msgspec.structs.replace(spec.config, execute_at=at, execution_delay=NOW.execution_delay)
            edited = lifecycle.edit(task, config, True, now)
            blob = encode_spec(msgspec.structs.replace(spec, config=config))
            facts = EventFacts(fields=["config.executeAt"])
            return Change(edited, Event(now, EventKind.EDIT.value, by_whom(by), facts), spec=blob)

        await self._tasks.change(owner, task_id, decide)
        return await self.show(owner, task_id)

    def _entry(self, task: Task, stored: bytes, engines: Sequence[Engine]) -> Entry:
        try:
            spec = opened_spec(stored, task.unreadable)
        except Unreadable as error:
            if stored:  # else the task tells of it already
                task.unreadable = together(task.unreadable, error.message)
            return Entry(task, None, None)
        return Entry(task, spec, self._retries_max(spec, engines))

    def _name(self, task_name: str) -> str:
        """A name for a schedule that was given none."""
        tail = ids.task_id(self._clock.now(), self._random(ids.TASK_ID_RANDOM_BYTES))[-12:].lower()
        return f"{task_name[:_NAME_STEM_MAX]}-{tail}"

    def _retries_max(self, spec: TaskSpec, engines: Iterable[Engine]) -> int:
        """What the task says itself; else what its handler is registered with, as far as an engine tells."""
        name, now = spec.handler.name if spec.handler is not None else None, self._clock.now()
        told = (known for engine in engines if engine.alive(now) for known in engine.facts.repertoire.handlers)
        registered = (known.retries_max for known in told if known.name == name and known.retries_max is not None)
        return spec.retries_max(next(registered, None))

    async def _holder(self, number: int) -> str:
        for node in await self._store.nodes():
            if node.number == number:
                return f"{node.host}:{node.pid}" if node.pid is not None else f"{node.host}#{number}"
        return f"#{number}"


def _updated_at(task: Task, attempts: Iterable[Attempt], events: Iterable[Event]) -> int:
    """The last instant at which something happened to a task."""
    began = task.execution_at if task.state is State.RUNNING else 0
    past = [attempt.ended_at for attempt in attempts] + [event.at for event in events]
    return max(task.created_at, task.ended_at, began, *past)


def _handlers(task: Task) -> Task:
    """A task that runs a handler. Raises `NotFound` for another."""
    if not task.target.startswith(HANDLER_MARK):
        raise NotFound("there is no task of this id that runs a handler; /v1/queues shows those that send requests")
    return task


def _pending(task: Task, what: str) -> None:
    """Raises `NotFound` for a task that runs no handler, `Conflict` for one that has begun."""
    _handlers(task)
    if task.state is State.REVOKED:
        raise Conflict(f"only a pending task can {what}; this one is cancelled", code="task_cancelled")
    if task.state not in NOT_BEGUN:
        raise Conflict(f"only a pending task can {what}; this one is {task.state.value}", code="task_not_pending")
