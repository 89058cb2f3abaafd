"""All that it depends on whether a task may run now: what whoever explains has found out of the task and of those who
may run it.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from tasks_server.domain.engines import Engine, KnownHandler
from tasks_server.domain.lane import Lane
from tasks_server.domain.request import TaskSpec
from tasks_server.domain.slots import Reach, Slots
from tasks_server.domain.task import State, Task
from tasks_server.domain.timekeeping import Timekeeping

AHEAD_COUNTED_MAX = 10_000
"""How many tasks that stand before one are counted."""
LANES_COUNTED_MAX = 256
"""In how many lanes of its owner they are looked for."""
RUNNING_COUNTED_MAX = 20_000
"""How many running tasks are looked at."""
HOLDERS_MAX = 10
"""How many of those are named that hold a lane's places."""


class InWork(msgspec.Struct, frozen=True):
    """Tasks that run on one engine, all with one target: how many, and how many of them are the owner's."""

    engine: int
    target: str
    count: int
    of_owner: int


class Lease(msgspec.Struct, frozen=True):
    """Which engine runs a task, and until when it has said so."""

    engine: int
    until: int


class Ahead(msgspec.Struct, frozen=True):
    """The tasks of its owner that go before one, counted up to `AHEAD_COUNTED_MAX` each: more urgent ones of its lane,
    by target; more urgent ones of other lanes without limits, by target; of its lane, those as urgent that were due
    before it: with the same target and, in a lane with limits, with other ones, by target.
    """

    urgent: Mapping[str, int] = {}
    elsewhere: Mapping[str, int] = {}
    earlier: int = 0
    alongside: Mapping[str, int] = {}

    @property
    def more(self) -> bool:
        """Whether there may be more than were counted."""
        return max(sum(self.urgent.values()), sum(self.elsewhere.values()), self.earlier) >= AHEAD_COUNTED_MAX


class Stop(msgspec.Struct, frozen=True):
    """When a task was paused or revoked last, and by whom or why, if that is known."""

    at: int
    detail: str | None = None


class Load(msgspec.Struct, frozen=True):
    """An engine that takes tasks, with what it has in work: in all, of the task's owner, by target."""

    engine: Engine
    slots: Slots
    reach: Reach
    total: int
    of_owner: int
    targets: Mapping[str, int]

    @classmethod
    def of(cls, engine: Engine, in_work: Iterable[InWork]) -> "Load":
        total = of_owner = 0
        targets: dict[str, int] = {}
        for some in in_work:
            total, of_owner = total + some.count, of_owner + some.of_owner
            targets[some.target] = targets.get(some.target, 0) + some.count
        return cls(engine, engine.facts.limits(), engine.facts.reach(), total, of_owner, targets)

    def to_target(self, target: str) -> int:
        """How many tasks with this target it has in work."""
        return self.targets.get(target, 0)

    def runs(self) -> int:
        """How many runs of handlers with a limit of their own it has in work."""
        return sum(self.to_target(target) for target in self.slots.target_maxes)

    def target_room(self, target: str) -> int:
        """How many more with this target it may have, as far as that depends on targets; none of what it does not
        take.
        """
        if not self.reach.has(target):
            return 0
        room = self.slots.target_room(target, self.to_target(target))
        runs_room = self.runs_room(target)
        return room if runs_room is None else min(room, runs_room)

    def runs_room(self, target: str) -> int | None:
        """How many more runs of handlers it may have; None: they are not limited together, or this is none of them."""
        return self.slots.runs_room(self.runs()) if target in self.slots.target_maxes else None

    def room(self, target: str) -> int:
        """How many more tasks of the owner with this target it would begin now."""
        free, owners = self.slots.free(self.total), self.slots.owner_room(self.of_owner, self.total)
        return min(free, owners, self.target_room(target))


class Situation(msgspec.Struct, frozen=True):
    """A task and what is around it at the instant `now`."""

    now: int
    task: Task
    spec: TaskSpec
    engines: Sequence[Engine] = ()
    """All that are known, the last heard of first."""
    in_work: Sequence[InWork] = ()
    lease: Lease | None = None
    ahead: Ahead = Ahead()
    lane: Lane | None = None
    holders: Sequence[str] = ()
    """Tasks that hold places of the lane, if it has a limit of places: at most `HOLDERS_MAX` ids."""
    suspended_at: int | None = None
    """Since when its owner is suspended; None: it is not."""
    stop: Stop | None = None
    clock: Timekeeping = Timekeeping()
    """What is known of the clock."""
    operator: bool = False
    """Whether machines and processes may be named: they are the operator's business."""

    def alive(self) -> list[Engine]:
        """The engines that take tasks."""
        return [engine for engine in self.engines if engine.alive(self.now)]

    def loads(self) -> list[Load]:
        """The engines that take tasks, with their load."""
        by_engine: defaultdict[int, list[InWork]] = defaultdict(list)
        for some in self.in_work:
            by_engine[some.engine].append(some)
        return [Load.of(engine, by_engine[engine.number]) for engine in self.alive()]

    def known_handler(self, name: str) -> KnownHandler | None:
        """How one of the engines that take tasks knows a handler."""
        known = (handler for engine in self.alive() for handler in engine.facts.repertoire.handlers)
        return next((handler for handler in known if handler.name == name), None)

    def named(self, number: int) -> str:
        """An engine for people."""
        known = next((engine.facts for engine in self.engines if engine.number == number), None)
        if known is None or not self.operator:
            return f"engine {number}"
        return f"engine {number} (process {known.pid} on {known.host})"

    @property
    def in_line(self) -> bool:
        return self.task.state is State.AVAILABLE
