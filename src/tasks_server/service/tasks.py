"""Tasks: taken in, shown, and steered by their owner. `owner` None stands for the operator, who may act for any."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Final, TypeVar

import msgspec
from msgspec.structs import replace

from tasks_server.domain import ids, lifecycle, limits, validation, waits
from tasks_server.domain.abilities import Abilities
from tasks_server.domain.attempt import Attempt, Event, EventFacts
from tasks_server.domain.errors import (
    Conflict,
    Fault,
    InvalidRequest,
    NotFound,
    Refused,
    RequestError,
    StoreError,
    Unreadable,
)
from tasks_server.domain.lifecycle import EventKind
from tasks_server.domain.masking import mask_faults
from tasks_server.domain.notes import Notes
from tasks_server.domain.opening import opened_spec
from tasks_server.domain.owner import WHO, By, by_whom, owner_gone, queue_filled
from tasks_server.domain.repertoires import handlers_of, unknown_handler
from tasks_server.domain.request import TaskSpec
from tasks_server.domain.signing import header_faults
from tasks_server.domain.task import HANDLER_MARK, WAITING, NewTask, State, Task
from tasks_server.domain.validation import Draft
from tasks_server.service.acting import about, deed, is_recorded
from tasks_server.service.ground import Ground
from tasks_server.service.schedule_names import schedule_id
from tasks_server.service.timeline import TimelineEntry, timeline
from tasks_server.store.ports import (
    Change,
    Decide,
    Duplicate,
    InsertAnswer,
    Inserted,
    QueueFull,
    TaskPage,
    TaskQuery,
    UnknownOwner,
)

_T = TypeVar("_T")
_SOON_MS: Final = limits.MINUTE_MS
_HEADERS: Final = "httpRequest.headers"
_TRIES: Final = 3
_KNOWN_SECONDS: Final = 1.0
"""For so long it is remembered what engines know."""


class Idempotency(msgspec.Struct, frozen=True):
    """The key that names a request, and the digest of what was asked under it."""

    key: str
    digest: bytes


class TaskService:
    """What may be done with tasks."""

    def __init__(self, ground: Ground) -> None:
        self._store = ground.store
        self._clock = ground.clock
        self._random = ground.random
        self.zone = ground.zone
        self.egress = ground.egress
        self.abilities = ground.abilities
        self.examining = ground.examining
        self._known: frozenset[str] | None = None
        """The handlers that engines which are running know; None: none runs, or it is not known."""
        self._known_at = -_KNOWN_SECONDS

    def now(self) -> int:
        """The instant by which tasks are due, ms since the epoch."""
        return self._clock.now()

    # Taking in

    async def submit(self, owner: str, draft: Draft, idempotency: Idempotency | None = None) -> NewTask | Task:
        """Stores a task, durably: the new one, or the first of the same idempotency key as it is now.

        Raises `Refused` when the queue is full, `Conflict` when the key was used for something else.
        """
        if draft.headers and (faults := header_faults(draft.headers, _HEADERS)):
            await self._refuse_if_signed(owner, faults)
        task = self._place(owner, draft)
        if idempotency is not None:
            task.idempotency_key, task.idempotency_digest = idempotency.key, idempotency.digest
        return await self._insert(task)

    async def hints(self, tasks: Iterable[NewTask]) -> dict[str, str]:
        """What to tell of tasks that are stored and whose handlers no engine knows, by their targets. Asks the store
        now and then, and only where a task runs a handler.
        """
        targets = {task.target for task in tasks if task.target.startswith(HANDLER_MARK)}
        if not targets:
            return {}
        if self._clock.monotonic() - self._known_at >= _KNOWN_SECONDS:
            self._known_at = self._clock.monotonic()
            try:
                alive = [engine for engine in await self._store.engines() if engine.alive(self._clock.now())]
            except StoreError:  # the tasks are stored all the same
                return {}
            self._known = handlers_of(alive) if alive else None
        if self._known is None:
            return {}
        told = {target: unknown_handler(target, self._known) for target in targets}
        return {target: hint for target, hint in told.items() if hint is not None}

    async def insert(self, task: NewTask) -> NewTask:
        """Stores a task that is placed already and has no idempotency key. Raises `Refused` when the queue is full."""
        stored = await self._insert(task)
        assert isinstance(stored, NewTask)
        return stored

    async def _insert(self, task: NewTask) -> NewTask | Task:
        answer = await self._store.insert(task)
        if isinstance(answer, Inserted):
            return task
        if isinstance(answer, Duplicate) and answer.same_body:
            return answer.task
        raise await self._not_inserted(task.owner, answer, 1)

    async def _not_inserted(self, owner: str, answer: InsertAnswer, count: int) -> RequestError:
        """What to raise of tasks that were not stored."""
        if isinstance(answer, QueueFull):
            return await self._queue_full(owner, count)
        if isinstance(answer, UnknownOwner):
            return owner_gone()
        return _reused()

    async def _queue_full(self, owner_id: str, count: int = 1) -> RequestError:
        owner, counts = await asyncio.gather(self._store.owner(owner_id), self._store.counts(owner_id))
        if owner is None:
            return owner_gone()
        later = sum(counts.get(state, 0) for state in WAITING)
        return queue_filled(owner, later, counts.get(State.PAUSED, 0), count)

    async def replay(self, owner: str, idempotency: Idempotency) -> Task | None:
        """The task that an idempotency key stands for, if there is one. Raises `Conflict` as `submit` does."""
        answer = await self._store.replay(owner, idempotency.key, idempotency.digest, self._clock.now())
        if answer is None or answer.same_body:
            return answer.task if answer else None
        raise _reused()

    async def replay_batch(self, owner: str, idempotency: Idempotency) -> list[Task]:
        """The tasks that the idempotency key of a batch stands for, without responses, as far as they are still there.
        Raises `Conflict` as `submit` does.
        """
        answer = await self._store.replay(owner, idempotency.key, idempotency.digest, self._clock.now())
        if answer is None:
            return []
        if not answer.same_body:
            raise _reused()
        return await self._all_of(owner, answer)

    async def _all_of(self, owner: str, known: Duplicate) -> list[Task]:
        found = await asyncio.gather(*(self._store.task(owner, task_id, response=False) for task_id in known.ids))
        return [task for task in found if task is not None]

    async def submit_batch(
        self, owner: str, drafts: Sequence[Draft], idempotency: Idempotency | None = None
    ) -> list[NewTask] | list[Task]:
        """Stores all of them or none: the new ones, or those of the first batch of the same idempotency key, without
        responses, as far as they are still there. Raises `Refused` when the queue has not room for all, and `Conflict`
        as `submit` does.
        """
        faults = [
            fault
            for index, draft in enumerate(drafts)
            if draft.headers
            for fault in header_faults(draft.headers, f"tasks.{index}.{_HEADERS}")
        ]
        if faults:
            await self._refuse_if_signed(owner, faults)
        tasks = [self._place(owner, draft) for draft in drafts]
        if idempotency is not None:
            tasks[0].idempotency_key, tasks[0].idempotency_digest = idempotency.key, idempotency.digest
        answer = await self._store.insert_batch(tasks)
        if isinstance(answer, Duplicate) and answer.same_body:
            return await self._all_of(owner, answer)
        if not isinstance(answer, Inserted):
            raise await self._not_inserted(owner, answer, len(tasks))
        return tasks

    async def _refuse_if_signed(self, owner: str, faults: Sequence[Fault]) -> None:
        """Raises `InvalidRequest` with these faults when the owner's calls are signed."""
        signing = await self._store.signing(owner)
        if signing is not None and signing.enabled:
            raise InvalidRequest(faults)

    def _place(self, owner: str, draft: Draft) -> NewTask:
        """The draft as a task of its owner, in the line or waiting for its time."""
        config, at = draft.config, draft.at
        due = lifecycle.due_at(config, at)
        return NewTask(
            id=ids.task_id(at, self._random(ids.TASK_ID_RANDOM_BYTES)),
            owner=owner,
            lane=config.lane,
            state=lifecycle.waiting_state(due, at),
            priority=config.priority,
            created_at=at,
            due_at=due,
            remaining_ms=waits.first_wait_ms(config, at),
            target=draft.target,
            spec=draft.spec,
            expire_at=config.expire_at,
            metadata=draft.metadata,
        )

    # Showing

    async def task(self, owner: str | None, task_id: str, *, response: bool = True) -> Task:
        """The task with the response of its last attempt, unless that is not wanted. Raises `NotFound`."""
        return _found(await self._store.task(owner, _known(task_id), response=response))

    async def tasks(self, query: TaskQuery) -> TaskPage:
        """One page of tasks. The filter may name a schedule by its name. Raises `InvalidRequest` when there is none."""
        if query.filter.schedule is not None:
            known = await schedule_id(self._store, query.owner, query.filter.schedule)
            query = replace(query, filter=replace(query.filter, schedule=known))
        return await self._store.tasks(query)

    async def spec(self, owner: str | None, task_id: str) -> TaskSpec:
        """What was asked for. Raises `NotFound`, `Unreadable`."""
        return opened_spec(_found(await self._store.spec(owner, _known(task_id))))

    async def attempts(
        self, owner: str | None, task_id: str, *, after: int = 0, limit: int = limits.HISTORY_MAX
    ) -> list[Attempt]:
        """The recorded attempts after this number, oldest first: the first `limit` of them. Raises `NotFound`."""
        attempts = await self._store.attempts(owner, _known(task_id), after=after, limit=limit)
        if not attempts and not await self._store.exists(owner, task_id):
            _found(None)
        return attempts

    async def newest_attempts(self, owner: str | None, task_id: str, limit: int) -> list[Attempt]:
        """The last recorded attempts, oldest first: at most `limit`; none where there is no such task."""
        return await self._store.newest_attempts(owner, _known(task_id), limit)

    async def timeline(self, owner: str | None, task_id: str) -> list[TimelineEntry]:
        """What happened to the task, oldest first, over its last `HISTORY_MAX` attempts. Raises `NotFound`."""
        for _ in range(_TRIES):
            task, spec = await self.task(owner, task_id, response=False), await self._spec_if_any(owner, task_id)
            attempts = await self._store.newest_attempts(owner, task_id)
            events = await self._store.events(owner, task_id)
            notes = await self.notes(owner, task)
            if await self.task(owner, task_id, response=False) == task:  # else something happened while it was read
                break
        return timeline(task, spec, attempts, events, notes)

    async def notes(self, owner: str | None, task: Task) -> Notes | None:
        """What the attempt that runs has noted so far."""
        if task.state is not State.RUNNING or not task.target.startswith(HANDLER_MARK):
            return None
        return (await self._store.notes(owner, task.id)).get(task.attempt)

    async def _spec_if_any(self, owner: str | None, task_id: str) -> TaskSpec | None:
        """The same, or None when it cannot be read."""
        try:
            return await self.spec(owner, task_id)
        except Unreadable:
            return None

    # Steering. Each raises `NotFound`, or `IllegalTransition` when the state does not allow it. `by`: who does it, for
    # the timeline; the operator may act in an owner's name, too. What they give is without its response, where they do
    # not say otherwise: a damaged one must not stand in the way of whoever stops the task.

    @deed("task", "pause")
    async def pause(self, owner: str | None, task_id: str, *, by: By) -> Task:
        return await self._steer(owner, task_id, EventKind.PAUSE, lifecycle.pause, by)

    @deed("task", "resume")
    async def resume(self, owner: str | None, task_id: str, *, by: By) -> Task:
        """The task with its response."""
        await self._steer(owner, task_id, EventKind.RESUME, lifecycle.resume, by)
        return await self.task(owner, task_id)

    @deed("task", "revoke")
    async def revoke(self, owner: str | None, task_id: str, *, by: By) -> Task:
        return await self._steer(owner, task_id, EventKind.REVOKE, lifecycle.revoke, by)

    @deed("task", "execute")
    async def execute(self, owner: str | None, task_id: str, *, by: By) -> Task:
        """Runs it now; one that is in flight already is left alone."""
        return await self._steer(owner, task_id, EventKind.EXECUTE, lifecycle.execute, by)

    @deed("task", "retry")
    async def retry(self, owner: str | None, task_id: str, *, by: By) -> Task:
        """Runs a final task once more, with all its retries: the task with its response. Raises `Refused` when the
        queue is full.
        """
        try:
            await self._steer(owner, task_id, EventKind.RESTART, lifecycle.restart, by)
        except Refused as error:
            if error.code != "queue_full":
                raise
            raise await self._queue_full((await self.task(owner, task_id, response=False)).owner) from None
        return await self.task(owner, task_id)

    @deed("task", "edit")
    async def edit(self, owner: str | None, task_id: str, patch: object, *, by: By) -> Task:
        """The task, with its response, under a merge patch of `{httpRequest, handler, config, metadata}`. Raises
        `InvalidRequest` and `Unreadable`, too.
        """
        now = self._clock.now()
        about(detail=", ".join(_patched_fields(patch)))
        if faults := mask_faults(patch):
            raise InvalidRequest(faults)
        if faults := header_faults(_patched_headers(patch), _HEADERS):
            await self._refuse_if_signed((await self.task(owner, task_id, response=False)).owner, faults)

        def decide(abilities: Abilities, task: Task, spec: bytes) -> Change:
            lifecycle.allowed(task.state, EventKind.EDIT)  # the state refuses before the patch is judged
            known = opened_spec(spec, task.unreadable)
            edit = validation.revise(known, task, patch, now, self.zone, self.egress, abilities)
            edited = lifecycle.edit(task, edit.draft.config, edit.rescheduled, now)
            edited.target, edited.metadata = edit.draft.target, edit.draft.metadata
            facts = EventFacts(fields=_patched_fields(patch))
            return Change(edited, Event(now, EventKind.EDIT.value, by_whom(by), facts), spec=edit.draft.spec)

        async def change(abilities: Abilities) -> Task:
            return _found(await self._store.change(owner, _known(task_id), partial(decide, abilities)))

        self._hint(await self.examining(owner or "", change), now)
        return await self.task(owner, task_id)

    async def change(self, owner: str | None, task_id: str, decide: Decide) -> Task:
        """The task as `decide` leaves it, alone with it; for changes that go other ways than `edit`. Raises `NotFound`,
        and what `decide` raises.
        """
        task = _found(await self._store.change(owner, _known(task_id), decide))
        self._hint(task, self._clock.now())
        return task

    @deed("task", "delete")
    async def delete(self, owner: str | None, task_id: str) -> None:
        """Removes it with its history, in any state; a call in flight is dropped."""
        if owner is None and is_recorded():  # whose it was is known as long as it is there
            about(owner=(await self.task(None, task_id, response=False)).owner)
        if not await self._store.delete(owner, _known(task_id)):
            _found(None)
        self._store.hint_cancel()

    async def _steer(
        self, owner: str | None, task_id: str, kind: EventKind, decide: Callable[[Task, int], Task], by: By
    ) -> Task:
        now = self._clock.now()
        cancelled = False

        def change(before: Task, _: bytes) -> Change:
            nonlocal cancelled
            after = decide(before, now)
            if after is before:
                return Change(before)
            cancelled = before.state is State.RUNNING
            attempt = lifecycle.dropped(before, now, f"{WHO[by]} asked to {kind.value} the task")
            return Change(after, Event(now, kind.value, by_whom(by)), attempt)

        task = _found(await self._store.change(owner, _known(task_id), change))
        if cancelled:
            self._store.hint_cancel()
        self._hint(task, now)
        return task

    def _hint(self, task: Task, now: int) -> None:
        """Engines look again when the task may be due before they would have looked by themselves."""
        if task.state is State.AVAILABLE or (task.state in WAITING and task.due_at < now + _SOON_MS):
            self._store.hint_work(task.due_at)


def _patched_headers(patch: object) -> list[str]:
    """The names of headers that a patch sets."""
    request = patch.get("httpRequest") if isinstance(patch, dict) else None
    headers = request.get("headers") if isinstance(request, dict) else None
    return [name for name, value in headers.items() if value is not None] if isinstance(headers, dict) else []


def _patched_fields(patch: object) -> list[str]:
    """What a patch touches, to the second level: names of ours, and nothing of what is in them."""
    found = []
    for name, part in patch.items() if isinstance(patch, dict) else ():
        within = part if name in ("httpRequest", "config") and isinstance(part, dict) else ()
        found += [f"{name}.{inner}" for inner in within] or [name]
    return sorted(found)


def _known(task_id: str) -> str:
    """The id, if it could be one: what could not is not asked of the store."""
    if not ids.is_task_id(task_id):
        _found(None)
    return task_id


def _found(thing: _T | None) -> _T:
    if thing is None:
        raise not_found()
    return thing


def not_found() -> NotFound:
    """What to raise of a task that is not there, or is another owner's."""
    return NotFound("there is no task of this id", scoped=True)


def _reused() -> Conflict:
    return Conflict(
        "this Idempotency-Key was used for another request within 24 hours; use a new one",
        code="idempotency_key_reused",
    )
