"""All that it depends on whether a task may run now: what whoever explains has found out of the task and of those who
may run it.
"""

from collections.abc import Sequence

import msgspec

from tasks_server.domain.engines import Engine, KnownHandler
from tasks_server.domain.request import TaskSpec
from tasks_server.domain.task import State, Task

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
    """The tasks of its owner that go before one, counted up to `AHEAD_COUNTED_MAX` each: more urgent ones of its lane;
    more urgent ones of other lanes; of its lane, those as urgent and with the same target that were due before it.
    """

    urgent: int = 0
    elsewhere: int = 0
    earlier: int = 0

    @property
    def count(self) -> int:
        return self.urgent + self.elsewhere + self.earlier

    @property
    def more(self) -> bool:
        """Whether there may be more than were counted."""
        return max(self.urgent, self.elsewhere, self.earlier) >= AHEAD_COUNTED_MAX


class Stop(msgspec.Struct, frozen=True):
    """When a task was paused or revoked last, and by whom or why, if that is known."""

    at: int
    detail: str | None = None


class Load(msgspec.Struct, frozen=True):
    """An engine that takes tasks like the one in question, with what it has in work."""

    engine: Engine
    total: int
    of_owner: int
    to_target: int
    runs: int
    """Runs of handlers with a limit of their own."""


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
    stop: Stop | None = None
    operator: bool = False
    """Whether machines and processes may be named: they are the operator's business."""

    def alive(self) -> list[Engine]:
        """The engines that take tasks."""
        return [engine for engine in self.engines if engine.alive(self.now)]

    def loads(self) -> list[Load]:
        """Those of them that take tasks with this target, with their load."""
        target = self.task.target
        return [self._load(engine) for engine in self.alive() if engine.facts.reach().has(target)]

    def _load(self, engine: Engine) -> Load:
        own = [some for some in self.in_work if some.engine == engine.number]
        limited = engine.facts.limits().target_maxes
        return Load(
            engine,
            total=sum(some.count for some in own),
            of_owner=sum(some.of_owner for some in own),
            to_target=sum(some.count for some in own if some.target == self.task.target),
            runs=sum(some.count for some in own if some.target in limited),
        )

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
