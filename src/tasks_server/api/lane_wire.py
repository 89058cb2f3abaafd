"""JSON of `/v1/lanes`: what clients see of lanes, and what a patch of one may hold."""

from typing import Any

import msgspec

from tasks_server.api.callback_wire import CallbackView, callback_view
from tasks_server.domain.callback import Asked
from tasks_server.domain.lane import Lane, burst_of
from tasks_server.domain.lane_reading import Burst, MaxConcurrent, RatePerSecond
from tasks_server.domain.task import FINAL, State


class LanePatch(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """What a merge patch may hold; null takes a limit away."""

    max_concurrent: MaxConcurrent | None = None
    rate_per_second: RatePerSecond | None = None
    burst: Burst | None = None
    paused: bool | None = None
    failure_callback: Asked = None
    success_callback: Asked = None


class LaneTasksView(msgspec.Struct):
    """How many tasks of a lane that are not final are in each state."""

    scheduled: int
    available: int
    running: int
    retryable: int
    paused: int


class LaneView(msgspec.Struct, rename="camel"):
    """A lane: its settings, with the burst that holds when none was chosen, and its tasks. null: no such limit.
    A callback is UNREADABLE where what is stored of it cannot be read. `paused` of the lane keeps all its tasks from
    starting; `tasks.paused` are those that were paused one by one.
    """

    name: str
    max_concurrent: int | None
    rate_per_second: float | None
    burst: int | None
    paused: bool
    paused_at: int | None
    paused_by: str | None
    tasks: LaneTasksView
    failure_callback: CallbackView | bool | str | None
    success_callback: CallbackView | bool | str | None


def lane_view(lane: Lane) -> LaneView:
    chosen = lane.facts.limits
    return LaneView(
        name=lane.name,
        max_concurrent=chosen.concurrent_max,
        rate_per_second=chosen.rate,
        burst=None if chosen.rate is None else burst_of(chosen),
        paused=chosen.paused_at is not None,
        paused_at=chosen.paused_at,
        paused_by=chosen.paused_by,
        failure_callback=callback_view(lane.callbacks, lane.callbacks.failure),
        success_callback=callback_view(lane.callbacks, lane.callbacks.success),
        tasks=LaneTasksView(**{state.value: lane.counts.get(state, 0) for state in State if state not in FINAL}),
    )


def lane_fields(lane: Lane) -> dict[str, Any]:
    """A lane as plain values."""
    fields: dict[str, Any] = msgspec.to_builtins(lane_view(lane))
    return fields
