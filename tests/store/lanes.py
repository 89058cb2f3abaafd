"""Lanes of a world: set up, asked for."""

from typing import Any

import msgspec

from tasks_server.domain import lane, limits
from tasks_server.domain.lane import Lane, LaneFacts, LaneLimits
from tasks_server.domain.owner import Owner
from tasks_server.store.laning import DecideLane, LaneChange, LaneRefusal

from .world import World


def under(world: World, **chosen: Any) -> DecideLane:
    """Decides for these limits, and leaves the others as they are."""

    def decide(found: Lane | None) -> LaneChange:
        facts = found.facts if found else LaneFacts(LaneLimits())
        return LaneChange(lane.changed(facts, msgspec.structs.replace(facts.limits, **chosen), world.now))

    return decide


async def set_lane(world: World, owner: Owner, name: str = "default", **chosen: Any) -> Lane:
    """The lane, with these limits from now on."""
    answer = await world.store.change_lane(owner.id, name, under(world, **chosen), limits.LANES_MAX)
    assert isinstance(answer, Lane)
    return answer


async def pause_lane(world: World, owner: Owner, name: str = "default") -> Lane:
    return await set_lane(world, owner, name, paused_at=world.now, paused_by="owner")


async def resume_lane(world: World, owner: Owner, name: str = "default") -> Lane:
    return await set_lane(world, owner, name, paused_at=None, paused_by=None)


async def delete_lane(world: World, owner: Owner, name: str = "default") -> LaneRefusal | bool:
    return await world.store.delete_lane(owner.id, name, world.now)
