"""The gates that lie in a task's owner and lane: whether they are held, have a free place, may start one now."""

import math
from collections.abc import Iterator

from msgspec.structs import replace

from tasks_server.domain import dates
from tasks_server.domain.gate import Gate
from tasks_server.domain.lane import Lane, LaneFacts, Room, burst_of, room
from tasks_server.domain.limits import SECOND_MS
from tasks_server.domain.owner import WHO
from tasks_server.domain.situation import Situation

_HOLDERS_TOLD = 3
"""How many of those that hold a lane's places are named in words; the facts have more."""


def paused(situation: Situation) -> Iterator[Gate]:
    """Whether the lane is paused, of one that has limits or is."""
    lane = situation.lane
    if lane is None or not lane.facts.limits.limited:
        return
    limits = lane.facts.limits
    facts = {"lane": lane.name, "pausedAt": limits.paused_at, "by": limits.paused_by}
    if limits.paused_at is None:
        yield Gate("lane_paused", False, f"its lane {lane.name} is not paused", None, facts)
        return
    by = f" by {WHO[limits.paused_by]}" if limits.paused_by else ""
    what = "only the operator can resume it" if limits.held else "resume the lane"
    text = f"its lane {lane.name} was paused{by} at {dates.shown(limits.paused_at)}; {what}"
    yield Gate("lane_paused", True, text, None, facts)


def suspended(situation: Situation) -> Iterator[Gate]:
    """Whether the owner is suspended, of one that is."""
    at = situation.suspended_at
    if at is not None:
        text = f"its owner was suspended by the operator at {dates.shown(at)}; only the operator can resume it"
        yield Gate("owner_suspended", True, text, None, {"suspendedAt": at})


def roomy(situation: Situation) -> Iterator[Gate]:
    """Whether the lane may start one more, were it not paused."""
    lane = situation.lane
    if lane is None:
        return
    limits = lane.facts.limits
    if limits.concurrent_max is not None:
        yield _concurrency(situation, lane, limits.concurrent_max)
    if limits.rate is not None:
        yield _rate(situation, lane, limits.rate)


def allowed(situation: Situation) -> Room:
    """How many of its lane's tasks may start now."""
    return Room() if situation.lane is None else room(situation.lane.facts, situation.now)


def shut_by_rate(situation: Situation, at: int) -> bool:
    """Whether the lane's rate allowed none at an earlier instant, if none of its tasks has started since."""
    return situation.lane is not None and _by_rate(situation.lane.facts, at).count == 0


def passed_at(situation: Situation, ahead: int) -> int | None:
    """When a lane's rate has let so many start that are before it, if the lane has a rate."""
    lane = situation.lane
    if lane is None or lane.facts.limits.rate is None:
        return None
    first = _by_rate(lane.facts, situation.now).again_at or situation.now
    return first + math.ceil(ahead * SECOND_MS / lane.facts.limits.rate)


def _concurrency(situation: Situation, lane: Lane, most: int) -> Gate:
    limits = replace(lane.facts.limits, paused_at=None, rate=None)
    found = room(replace(lane.facts, limits=limits), situation.now)
    running, holders = lane.facts.running, list(situation.holders)
    text = f"{running} of at most {most} tasks of its lane {lane.name} run"
    if found.why == "concurrency" and holders:
        more = ", …" if len(holders) > _HOLDERS_TOLD else ""
        text += f": {', '.join(holders[:_HOLDERS_TOLD])}{more}"
    facts = {"lane": lane.name, "running": running, "max": most, "heldBy": holders}
    return Gate("lane_concurrency", found.why == "concurrency", text, None, facts)


def _rate(situation: Situation, lane: Lane, rate: float) -> Gate:
    found = _by_rate(lane.facts, situation.now)
    facts = {"lane": lane.name, "ratePerSecond": rate, "burst": burst_of(lane.facts.limits)}
    may = f"its lane {lane.name} may start {rate:g} tasks in a second"
    if found.why == "rate":
        until = f", the next one at {dates.shown(found.again_at)}" if found.again_at is not None else ""
        return Gate("lane_rate", True, f"{may} and has started as many{until}", found.again_at, facts)
    return Gate("lane_rate", False, f"{may}, {found.count} of them now", None, facts)


def _by_rate(facts: LaneFacts, now: int) -> Room:
    """What the rate alone allows."""
    return room(replace(facts, limits=replace(facts.limits, paused_at=None, concurrent_max=None)), now)
