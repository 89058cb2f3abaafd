"""Bulk work: asked for, shown, cancelled. Engines do it. `owner` None stands for the operator, who sees all of it."""

from typing import Final

import msgspec

from tasks_server.domain import ids, limits
from tasks_server.domain.bulk import Action, Bulk, BulkFilter, act, with_states
from tasks_server.domain.errors import Fault, InvalidRequest, NotFound, Refused
from tasks_server.domain.owner import By, owner_gone
from tasks_server.service.acting import about, deed
from tasks_server.service.ground import Ground
from tasks_server.store.bulking import BulkRefusal

NOT_FOUND: Final = "bulk_not_found"
_WINDOW: Final = 1_000
_EVERYTHING: Final = BulkFilter()


class Sight(msgspec.Struct, frozen=True):
    """What bulk work would do now. `whole` False: there are more tasks than a dry run looks at, and the counts are of
    those alone. `sample`: ids of some that it would change.
    """

    action: Action
    filter: BulkFilter
    seen: int
    changed: int
    skipped: int
    whole: bool
    sample: list[str]


class BulkService:
    """What may be done with bulk work."""

    def __init__(self, ground: Ground) -> None:
        self._store = ground.store
        self._clock = ground.clock
        self._random = ground.random
        self.zone = ground.zone

    @deed("bulk", "create")
    async def create(self, owner: str, action: Action, asked: BulkFilter, asked_by: By) -> Bulk:
        """New work, stored durably. Without states or ids in its filter, it is for the states that the action is meant
        for. Raises `Refused` when the owner has as much open as it may have, `InvalidRequest` for a schedule by a name
        that there is none of.
        """
        now = self._clock.now()
        about(detail=_told(action, asked))
        bulk = Bulk(
            id=ids.task_id(now, self._random(ids.TASK_ID_RANDOM_BYTES)),
            owner=owner,
            action=action,
            filter=await self._settled(owner, action, asked),
            asked_by=asked_by,
            created_at=now,
        )
        answer = await self._store.create_bulk(bulk, limits.BULKS_OPEN_MAX)
        if answer is BulkRefusal.UNKNOWN_OWNER:
            raise owner_gone()
        if answer is BulkRefusal.FULL:
            text = f"this owner has {limits.BULKS_OPEN_MAX} pieces of bulk work open, which is as many as it may have"
            raise Refused(text, code="bulks_full")
        assert isinstance(answer, Bulk)
        self._store.hint_schedules()
        return answer

    async def sight(self, owner: str, action: Action, asked: BulkFilter) -> Sight:
        """What the work would do if it were asked for now, as far as looking at some thousand tasks tells."""
        now = self._clock.now()
        settled = await self._settled(owner, action, asked)
        seen = changed = skipped = 0
        sample: list[str] = []
        after: int | None = 0
        while after is not None and seen < limits.BULK_SIGHT_MAX:
            sighted = await self._store.sight_bulk(owner, settled, after, _WINDOW)
            seen, after = seen + sighted.seen, sighted.after
            for task in sighted.found:
                deed = act(action, "", task, now)
                if deed is None:
                    skipped += 1
                    continue
                changed += 1
                if len(sample) < limits.BULK_SAMPLE_MAX:
                    sample.append(task.id)
        return Sight(action, settled, seen, changed, skipped, after is None, sample)

    async def show(self, owner: str | None, bulk_id: str) -> Bulk:
        """Raises `NotFound`."""
        return _found(await self._store.bulk(owner, bulk_id) if ids.is_task_id(bulk_id) else None)

    async def page(self, owner: str | None, before: str, limit: int) -> list[Bulk]:
        """The newest first, those made before the one of this id (empty: all)."""
        return await self._store.bulks(owner, before, limit)

    @deed("bulk", "cancel")
    async def cancel(self, owner: str | None, bulk_id: str) -> Bulk:
        """Ends it where it stands: what it has changed stays so. What has ended stays as it is. Raises `NotFound`."""
        known = ids.is_task_id(bulk_id)
        return _found(await self._store.cancel_bulk(owner, bulk_id, self._clock.now()) if known else None)

    async def _settled(self, owner: str, action: Action, asked: BulkFilter) -> BulkFilter:
        """The filter with its states, and its schedule by id."""
        settled = with_states(action, asked)
        key = settled.schedule
        if key is None or ids.is_task_id(key):
            return settled
        found = await self._store.schedule(owner, key)
        if found is None:
            raise InvalidRequest([Fault("filter.schedule", "there is no schedule of this name; its id would do", key)])
        return msgspec.structs.replace(settled, schedule=found[0].id)


def _told(action: Action, asked: BulkFilter) -> str:
    """What is asked for, for the record: the action, and by what tasks are found; no values, which may be secrets."""
    fields = [name for name in BulkFilter.__struct_fields__ if getattr(asked, name) != getattr(_EVERYTHING, name)]
    return f"{action.value}, by {', '.join(fields)}" if fields else action.value


def _found(bulk: Bulk | None) -> Bulk:
    if bulk is None:
        raise NotFound("there is no bulk work of this id", code=NOT_FOUND, scoped=True)
    return bulk
