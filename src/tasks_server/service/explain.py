"""Why a task has not run yet: gathers what it depends on and lets the domain judge."""

from collections.abc import Sequence

import msgspec

from tasks_server.domain import gates, ids
from tasks_server.domain.errors import Unreadable
from tasks_server.domain.gate import Gate
from tasks_server.domain.lifecycle import EventKind
from tasks_server.domain.opening import opened_spec
from tasks_server.domain.situation import Situation, Stop
from tasks_server.domain.stored import unknown_word
from tasks_server.domain.task import State, Task
from tasks_server.service.ground import Ground
from tasks_server.service.tasks import not_found

_STOPPING = {State.PAUSED: EventKind.PAUSE.value, State.REVOKED: EventKind.REVOKE.value}


class Explanation(msgspec.Struct, frozen=True):
    """Why a task does not run, or that nothing holds it. The first closed gate is what holds it.

    `estimate_at`: the earliest instant at which it can run, None when nobody can know. `engines_alive`: how many
    engines take tasks; `engine_seen_at`: when one was heard of last, None: never.
    """

    task: Task
    summary: str
    runnable: bool
    gates: Sequence[Gate]
    estimate_at: int | None
    engines_alive: int
    engine_seen_at: int | None


class ExplainService:
    """Explains. `owner` None stands for the operator, who may see any task, and machines by name."""

    def __init__(self, ground: Ground) -> None:
        self._store = ground.store
        self._clock = ground.clock

    async def explain(self, owner: str | None, task_id: str) -> Explanation:
        """Why the task has not run. Raises `NotFound`, `Unreadable`."""
        situation = await self._situation(owner, task_id)
        found = gates.gates(situation)
        engines = situation.engines
        return Explanation(
            situation.task,
            gates.summary(found),
            not gates.closed(found),
            found,
            gates.estimate(situation, found),
            len(situation.alive()),
            engines[0].seen_at if engines else None,
        )

    async def _situation(self, owner: str | None, task_id: str) -> Situation:
        standing = await self._store.standing(owner, task_id) if ids.is_task_id(task_id) else None
        if standing is None:
            raise not_found()
        task = standing.task
        if (told := unknown_word("its state", task.state)) is not None:
            raise Unreadable(told)
        spec = opened_spec(standing.spec, task.unreadable)
        known = await self._store.owner(task.owner)
        return Situation(
            now=self._clock.now(),
            task=task,
            spec=spec,
            engines=await self._store.engines(),
            in_work=standing.in_work,
            lease=standing.lease,
            ahead=standing.ahead,
            lane=await self._store.lane(task.owner, task.lane),
            holders=standing.holders,
            suspended_at=known.suspended_at if known else None,
            stop=await self._stop(owner, task),
            clock=await self._store.timekeeping(),
            operator=owner is None,
        )

    async def _stop(self, owner: str | None, task: Task) -> Stop | None:
        """When it was paused or revoked, and by whom, of a task that is."""
        kind = _STOPPING.get(task.state)
        if kind is None:
            return None
        stops = [event for event in await self._store.events(owner, task.id) if event.kind == kind]
        return Stop(stops[-1].at, stops[-1].detail) if stops else None
