"""Lanes: shown, set up and steered by their owner, or by the operator in an owner's name."""

from collections.abc import Callable
from typing import Final, TypeVar

import msgspec

from tasks_server.domain import lane, limits
from tasks_server.domain.callback import Callbacks
from tasks_server.domain.errors import NotFound, Refused
from tasks_server.domain.lane import Lane, LaneFacts, LaneLimits
from tasks_server.domain.lane_reading import LaneBody, merged, read_lane
from tasks_server.domain.masking import told_settings
from tasks_server.domain.owner import By, owner_gone
from tasks_server.service.acting import about, deed
from tasks_server.service.ground import Ground
from tasks_server.store.laning import DecideLane, LaneChange, LanePage, LaneRefusal

_T = TypeVar("_T")
NOT_FOUND: Final = "lane_not_found"
_CALLBACKS: Final = frozenset({"failureCallback", "successCallback"})


class LaneService:
    """What may be done with the lanes of an owner. `by` says who acts."""

    def __init__(self, ground: Ground) -> None:
        self._store = ground.store
        self._clock = ground.clock
        self._egress = ground.egress

    async def page(self, owner: str, after: str, limit: int) -> LanePage:
        """Lanes by name, those after `after`."""
        return await self._store.lanes(owner, after, limit)

    async def show(self, owner: str, name: str) -> Lane:
        """Raises `NotFound`."""
        return _found(await self._store.lane(owner, name))

    @deed("lane", "put")
    async def put(self, owner: str, name: str, raw: object, by: By) -> tuple[Lane, bool]:
        """The lane with these settings and no others, made when there is none. Whether it was. Raises `InvalidRequest`
        with every fault, `Refused` when the owner has as many lanes as may be set up, `Forbidden` as `resume` does.
        """
        body = read_lane(name, raw, self._egress)
        about(detail=_told(raw))
        made = False

        def decide(found: Lane | None) -> LaneChange:
            nonlocal made
            made = found is None
            return LaneChange(self._under(found, body, by), _callbacks(body))

        return _found(await self._change(owner, name, decide)), made

    @deed("lane", "edit")
    async def edit(self, owner: str, name: str, patch: object, by: By) -> Lane:
        """The lane under a merge patch of its settings. Raises `InvalidRequest`, `NotFound`, and `Forbidden` as
        `resume` does.
        """
        about(detail=_told(patch))

        def decide(found: Lane | None) -> LaneChange | None:
            if found is None:
                return None
            body = read_lane(name, merged(found, patch), self._egress)
            stay = isinstance(patch, dict) and not _CALLBACKS & patch.keys()
            return LaneChange(self._under(found, body, by), None if stay else _callbacks(body))

        return _found(await self._change(owner, name, decide))

    @deed("lane", "pause")
    async def pause(self, owner: str, name: str, by: By) -> Lane:
        """Its tasks wait from now on; those that run go on. Raises `NotFound`."""
        return await self._steer(owner, name, lambda before: lane.paused(before, by, self._clock.now()))

    @deed("lane", "resume")
    async def resume(self, owner: str, name: str, by: By) -> Lane:
        """Its tasks run again, those first that are due longest. Raises `NotFound`, and `Forbidden` for its owner when
        the operator paused it.
        """
        return await self._steer(owner, name, lambda before: lane.resumed(before, by))

    @deed("lane", "delete")
    async def delete(self, owner: str, name: str, by: By) -> None:
        """Forgets its settings. Raises `NotFound`, `Refused` while it has tasks in queue, `Forbidden` as `resume`."""
        answer = await self._store.delete_lane(owner, name, self._clock.now(), held_too=by == "operator")
        if answer is LaneRefusal.HELD:
            raise lane.held()
        if isinstance(answer, LaneRefusal):
            raise Refused("tasks of this lane are in queue; purge it, or wait until they are done", code="lane_in_use")
        if not answer:
            _found(None)

    async def _steer(self, owner: str, name: str, act: Callable[[LaneLimits], LaneLimits]) -> Lane:
        def decide(found: Lane | None) -> LaneChange | None:
            if found is None:
                return None
            return LaneChange(lane.changed(found.facts, act(found.facts.limits), self._clock.now()))

        return _found(await self._change(owner, name, decide))

    def _under(self, found: Lane | None, body: LaneBody, by: By) -> LaneFacts:
        facts = found.facts if found else LaneFacts(LaneLimits())
        now = self._clock.now()
        kept = lane.paused(facts.limits, by, now) if body.paused else lane.resumed(facts.limits, by)
        chosen = msgspec.structs.replace(
            kept, concurrent_max=body.max_concurrent, rate=body.rate_per_second, burst=body.burst
        )
        return lane.changed(facts, chosen, now)

    async def _change(self, owner: str, name: str, decide: DecideLane) -> Lane | None:
        answer = await self._store.change_lane(owner, name, decide, limits.LANES_MAX)
        match answer:
            case LaneRefusal.FULL:
                text = f"this owner has {limits.LANES_MAX} lanes, which is as many as may be set up"
                raise Refused(text, code="lanes_full")
            case LaneRefusal():
                raise owner_gone()
        return answer


def _told(settings: object) -> str | None:
    """What is set, for the record; what is no setting is refused before it comes to that."""
    if not isinstance(settings, dict):
        return None
    return told_settings(settings)


def _callbacks(body: LaneBody) -> Callbacks:
    assert not isinstance(body.failure_callback, str)  # `read_lane` has brought both into the form that is stored
    assert not isinstance(body.success_callback, str)
    return Callbacks(body.failure_callback, body.success_callback)


def _found(thing: _T | None) -> _T:
    if thing is None:
        raise NotFound("the owner has no lane of this name that was used or set up", code=NOT_FOUND)
    return thing
