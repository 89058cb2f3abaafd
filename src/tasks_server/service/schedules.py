"""Schedules: made, shown, and steered by their owner. `owner` None stands for the operator, who may act for any and
names them by id.
"""

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, TypeVar

import msgspec

from tasks_server.domain import ids, limits, schedule
from tasks_server.domain.abilities import Abilities
from tasks_server.domain.errors import Conflict, Fault, InvalidRequest, NotFound, Refused, Unreadable
from tasks_server.domain.firing import Template, encode_template, task_now
from tasks_server.domain.opening import opened_template
from tasks_server.domain.owner import owner_gone
from tasks_server.domain.request import NO_FALLBACK, Fallback
from tasks_server.domain.schedule import Rule, Schedule
from tasks_server.domain.schedule_reading import TIMING, ScheduleDraft, merged, read_schedule
from tasks_server.domain.signing import header_faults
from tasks_server.domain.task import NewTask
from tasks_server.service.acting import about, deed, is_recorded
from tasks_server.service.ground import Ground
from tasks_server.service.tasks import TaskService
from tasks_server.store.acting import DOING
from tasks_server.store.scheduling import DecideSchedule, ScheduleChange, ScheduleRefusal

_T = TypeVar("_T")
NOT_FOUND: Final = "schedule_not_found"
_HEADERS: Final = "task.httpRequest.headers"
_SET_BACK: Final = "the clock was set back; it goes on from now as soon as an engine has seen that"


class Shown(msgspec.Struct, frozen=True):
    """A schedule with what its tasks are made from."""

    schedule: Schedule
    template: Template
    held: str | None = None
    """What keeps it from firing although it is active."""


class ScheduleService:
    """What may be done with schedules. Cron expressions without a zone count in that of the ground."""

    def __init__(self, ground: Ground) -> None:
        self._store = ground.store
        self._clock = ground.clock
        self._random = ground.random
        self._egress = ground.egress
        self._examining = ground.examining
        self._tasks = TaskService(ground)
        self.zone = ground.zone

    async def judge(self, owner: str, raw: object) -> None:
        """Raises what `create` would, of the request itself: `InvalidRequest` with every fault."""
        await self._read(owner, raw, self._clock.now())

    # Making and changing. Each raises `InvalidRequest` with every fault, `Conflict` when the name is taken.

    @deed("schedule", "create")
    async def create(self, owner: str, raw: object, *, fallback: Fallback = NO_FALLBACK) -> Shown:
        """A new schedule, stored durably. Raises `Refused` when the owner has as many as it may have. `fallback`: of
        its tasks' handlers.
        """
        now = self._clock.now()
        draft = await self._read(owner, raw, now)
        if draft.template.handler is not None:
            draft.template.handler.fallback = fallback

        def decide(found: Schedule | None, _: bytes) -> ScheduleChange:
            if found is not None:
                raise _taken()
            return self._made(owner, draft, now)

        return Shown(_found(await self._store_change(owner, draft.name, decide)), draft.template)

    @deed("schedule", "put")
    async def put(self, owner: str, key: str, raw: object) -> tuple[Shown, bool]:
        """The schedule of this name, made or replaced; or that of this id, replaced. Whether it was made. Put as it
        stands, its next fire time stays.
        """
        by_name = not ids.is_task_id(key)
        if isinstance(raw, dict) and raw.get("name") is None:
            raw = {**raw, "name": key if by_name else _found(await self._store.schedule(owner, key))[0].name}
        now = self._clock.now()
        draft = await self._read(owner, raw, now)
        if by_name and draft.name != key:
            raise InvalidRequest([Fault("name", "must be the name in the path", draft.name, key)])
        made = False

        def decide(found: Schedule | None, _: bytes) -> ScheduleChange | None:
            nonlocal made
            made = found is None
            if found is not None:
                return _replaced(found, draft, now)
            return self._made(owner, draft, now) if by_name else None

        return Shown(_found(await self._store_change(owner, key, decide)), draft.template), made

    @deed("schedule", "edit")
    async def edit(self, owner: str | None, key: str, patch: object) -> Shown:
        """The schedule under a merge patch. What the patch leaves alone is not judged against the clock again."""
        now = self._clock.now()
        before = await self.show(owner, key)
        named = frozenset(patch) if isinstance(patch, dict) else frozenset[str]()
        about(detail=", ".join(sorted(named)))

        async def change(abilities: Abilities) -> Shown:
            first = self._patched(before.schedule, before.template, patch, named, now, abilities)
            if "task" in named:
                await self._refuse_if_signed(before.schedule.owner, first)
            after = first

            def decide(found: Schedule | None, template: bytes) -> ScheduleChange | None:
                nonlocal after
                if found is None:
                    return None
                after = self._patched(found, _opened(found, template), patch, named, now, abilities)
                return _replaced(found, after, now)

            changed = _found(await self._store_change(owner, key, decide))
            return Shown(changed, after.template)

        return await self._examining(owner or "", change)

    @deed("schedule", "pause")
    async def pause(self, owner: str | None, key: str) -> Shown:
        """Fires no more until it is resumed."""
        return await self._steer(owner, key, schedule.pause)

    @deed("schedule", "resume")
    async def resume(self, owner: str | None, key: str) -> Shown:
        """Goes on from now; what would have fired meanwhile is not made up for."""
        return await self._steer(owner, key, _resumed)

    @deed("schedule", "delete")
    async def delete(self, owner: str | None, key: str) -> None:
        """Removes it; its tasks stay. Raises `NotFound`."""
        if owner is None and is_recorded():  # whose it was is known as long as it is there
            about(owner=_found(await self._store.schedule(None, key))[0].owner)
        if not await self._store.delete_schedule(owner, key):
            _found(None)
        self._store.hint_schedules()

    @deed("schedule", "run")
    async def run(self, owner: str | None, key: str) -> NewTask:
        """One task now, beside those of the fire times, paused or not. Raises `Refused` when the queue is full."""
        now = self._clock.now()
        shown = await self.show(owner, key)
        task_id = ids.task_id(now, self._random(ids.TASK_ID_RANDOM_BYTES))
        task = await self._tasks.insert(task_now(shown.schedule, shown.template, task_id, now))
        if (act := DOING.get()) is not None:
            about(owner=shown.schedule.owner, detail=f"task {task.id}")
            await self._store.record(act)
        return task

    # Showing

    async def show(self, owner: str | None, key: str) -> Shown:
        """Raises `NotFound`, `Unreadable`."""
        found, template = _found(await self._store.schedule(owner, key))
        return Shown(found, _opened(found, template), _held(found, self._clock.now()))

    async def page(self, owner: str | None, after: str, limit: int) -> list[Schedule]:
        """Schedules in order of their making, those after the one of this id."""
        return await self._store.schedules(owner, after, limit)

    async def preview(self, owner: str | None, key: str, count: int) -> tuple[Schedule, list[int]]:
        """The schedule and its next fire times, as if it were not paused. Raises `NotFound`, `Unreadable`."""
        shown = await self.show(owner, key)
        if shown.schedule.unreadable is not None:
            raise Unreadable(shown.schedule.unreadable)
        after = schedule.decided_until(shown.schedule, self._clock.now())
        # Rare ones (29 February on a Sunday) take a search of many years each: others are served meanwhile.
        return shown.schedule, await asyncio.to_thread(schedule.preview, shown.schedule, after, count)

    async def preview_of(self, rule: Mapping[str, object], count: int) -> tuple[Schedule, list[int]]:
        """When a schedule of this rule would fire next, were it stored now: of `rule`, the fields that say when. Raises
        `InvalidRequest` with every fault.
        """
        now = self._clock.now()
        raw = {**rule, "name": "preview", "task": {"handler": {"name": "default"}}}
        draft = await self._examining("", partial(self._read_alone, raw, now))
        made = self._made("", draft, now).schedule
        return made, await asyncio.to_thread(schedule.preview, made, now, count)

    # Inside

    async def _read_alone(self, raw: object, now: int, abilities: Abilities) -> ScheduleDraft:
        return read_schedule(raw, now, self.zone, self._egress, abilities)

    async def _read(self, owner: str, raw: object, now: int) -> ScheduleDraft:
        draft = await self._examining(owner, partial(self._read_alone, raw, now))
        await self._refuse_if_signed(owner, draft)
        return draft

    def _patched(
        self,
        found: Schedule,
        template: Template,
        patch: object,
        named: frozenset[str],
        now: int,
        abilities: Abilities,
    ) -> ScheduleDraft:
        whole = merged(ScheduleDraft(found.name, found.rule, template, ()), patch)
        after = read_schedule(whole, now, self.zone, self._egress, abilities, changed=named)
        if template.handler is not None and after.template.handler is not None:
            after.template.handler.fallback = template.handler.fallback
        return after

    async def _refuse_if_signed(self, owner: str, draft: ScheduleDraft) -> None:
        faults = header_faults(draft.headers, _HEADERS)
        if faults:
            signing = await self._store.signing(owner)
            if signing is not None and signing.enabled:
                raise InvalidRequest(faults)

    def _made(self, owner: str, draft: ScheduleDraft, now: int) -> ScheduleChange:
        new = Schedule(
            id=ids.task_id(now, self._random(ids.TASK_ID_RANDOM_BYTES)),
            owner=owner,
            name=draft.name,
            rule=draft.rule,
            created_at=now,
            updated_at=now,
            anchor_at=_anchor(draft.rule, now),
        )
        return ScheduleChange(schedule.begin(new, now), encode_template(draft.template))

    async def _steer(self, owner: str | None, key: str, act: Callable[[Schedule, int], Schedule]) -> Shown:
        now = self._clock.now()
        template: Template | None = None

        def decide(found: Schedule | None, stored: bytes) -> ScheduleChange | None:
            nonlocal template
            if found is None:
                return None
            template = _opened(found, stored)  # what cannot be shown is not changed
            return ScheduleChange(act(found, now))

        changed = _found(await self._store_change(owner, key, decide))
        assert template is not None
        return Shown(changed, template)

    async def _store_change(self, owner: str | None, key: str, decide: DecideSchedule) -> Schedule | None:
        answer = await self._store.change_schedule(owner, key, decide, limits.SCHEDULES_MAX)
        if isinstance(answer, ScheduleRefusal):
            match answer:
                case ScheduleRefusal.NAME_TAKEN:
                    raise _taken()
                case ScheduleRefusal.FULL:
                    text = f"this owner has {limits.SCHEDULES_MAX} schedules, which is as many as it may have"
                    raise Refused(text, code="schedules_full")
                case ScheduleRefusal.UNKNOWN_OWNER:
                    raise owner_gone()
        self._store.hint_schedules()
        return answer


def _replaced(found: Schedule, draft: ScheduleDraft, now: int) -> ScheduleChange:
    """The schedule with another rule and template. A change of its timing sets its next fire time anew."""
    rule = draft.rule
    if found.lost:
        found = Schedule(found.id, found.owner, draft.name, rule, now, now, _anchor(rule, now))
        return ScheduleChange(schedule.begin(found, now), encode_template(draft.template))
    after = msgspec.structs.replace(found, name=draft.name, rule=rule, updated_at=now, unreadable=None)
    if _timing(rule) != _timing(found.rule):
        after.anchor_at = _anchor(rule, now)
        if found.paused_at is None:
            after = schedule.begin(after, now)
    else:
        if rule.overlap != "buffer":
            after.buffered_at = None
        after = schedule.put_right(after, now)
    return ScheduleChange(after, encode_template(draft.template))


def _held(found: Schedule, now: int) -> str | None:
    try:
        return None if schedule.put_right(found, now) is found else _SET_BACK
    except ValueError:  # of a rule that cannot be read, the engine tells
        return None


def _timing(rule: Rule) -> tuple[object, ...]:
    timing = (rule.cron, rule.every_ms, rule.timezone, rule.start_at, rule.end_at, rule.runs_max)
    assert len(timing) == len(TIMING)
    return timing


def _anchor(rule: Rule, now: int) -> int:
    """What `every` counts from."""
    return now if rule.start_at is None else rule.start_at


def _taken() -> Conflict:
    return Conflict("another schedule has this name; PUT replaces it", code="schedule_name_taken")


def _opened(found: Schedule, template: bytes) -> Template:
    """What its tasks are made from. Raises `Unreadable`, also where nothing is known of the schedule itself."""
    if found.lost:
        raise Unreadable(found.unreadable or "")
    return opened_template(template, found.unreadable)


def _resumed(found: Schedule, now: int) -> Schedule:
    """Raises `Unreadable` for a rule that nobody can tell the fire times of."""
    if found.unreadable is not None:
        raise Unreadable(found.unreadable)
    return schedule.resume(found, now)


def _found(thing: _T | None) -> _T:
    if thing is None:
        raise NotFound("there is no schedule of this id or name", code=NOT_FOUND, scoped=True)
    return thing
