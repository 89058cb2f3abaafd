"""A small world that goes wrong on purpose: several engines on one store, dying at any await; a target that answers,
fails, is silent; owners who pause, resume, revoke, retry, delete, and set limits of lanes; a clock that is set. One
seed decides it all.
"""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from tasks_server.clock import ManualClock
from tasks_server.domain import lifecycle
from tasks_server.domain.attempt import Attempt, Outcome, OutcomeKind
from tasks_server.domain.errors import RequestError
from tasks_server.domain.forms import encode_spec
from tasks_server.domain.owner import Owner
from tasks_server.domain.request import HttpRequest, TaskConfig, TaskSpec
from tasks_server.domain.task import FINAL, State, Task
from tasks_server.engine.loop import Engine, EngineConfig
from tasks_server.store.ports import Change, Store, TaskQuery
from tasks_server.telemetry import Telemetry

from ..engine.scripted import DOWN, OK, ScriptedCaller
from ..store.adapters import Adapter
from ..store.lanes import set_lane
from ..store.world import World

ENGINES: Final = 3
_OUTCOMES: Final = (
    OK,
    OK,
    DOWN,
    Outcome(OutcomeKind.TIMEOUT, status_code=408, error="no answer in time"),
    Outcome(OutcomeKind.CONNECTION, 0, error="connection refused"),
    Outcome(OutcomeKind.HTTP_ERROR, status_code=410, error="gone", no_retry=True),
)
_LANES: Final = ("default", "few", "slow")
_HOUR: Final = 3_600_000
_SETS: Final = (_HOUR, -_HOUR, 24 * _HOUR, -24 * _HOUR, 3_000, -3_000, 500, -500)


class Wait(msgspec.Struct):
    """A wait that began: when, in ms that went by whatever the clock showed; how long it is; how often the clock had
    been set ahead by then, which makes waits shorter.
    """

    since: float
    ms: int
    sets_ahead: int


class Node:
    """One engine with its caller. Dying, it takes with it what it knew."""

    def __init__(self, store: Store, clock: ManualClock, chance: random.Random) -> None:
        self.caller = ScriptedCaller()
        config = EngineConfig(concurrency_max=6, per_target_max=4)
        told = Telemetry(clock, write=lambda _: None)
        self.engine = Engine(store, self.caller, clock, config, told, chance.random)
        self.engine.executor.start()


class Simulation:
    """The world and what must hold in it. `accepted` maps task ids to their configurations."""

    def __init__(self, world: World, owner: Owner, seed: int) -> None:
        self.world = world
        self.store = world.store
        self.clock = world.clock
        self.owner = owner
        self.chance = random.Random(seed)
        self.nodes = [self._node() for _ in range(ENGINES)]
        self.accepted: dict[str, TaskConfig] = {}
        self.finals: dict[str, Task] = {}
        self.waits: dict[str, Wait] = {}
        self.concurrent: dict[str, int | None] = dict.fromkeys(_LANES)
        self.sets_ahead = 0
        self.steps: list[tuple[int, Callable[[], Awaitable[None]]]] = [
            (8, self.submit),
            (10, self.look),
            (10, self.end_a_call),
            (8, self.settle),
            (5, self.time_passes),
            (3, self.duties),
            (4, self.steer),
            (2, self.limit_a_lane),
            (1, self.set_clock),
            (1, self.die),
        ]

    @classmethod
    @contextlib.asynccontextmanager
    async def over(cls, adapter: Adapter, folder: Path, seed: int) -> Any:
        """A world with a fresh store."""
        clock = ManualClock()
        store = adapter.make(folder, clock)
        await store.open()
        world = World(store, clock, adapter, folder)
        try:
            simulation = cls(world, await world.owner(), seed)
            await simulation.keep_time()  # as engines do when they start
            yield simulation
        finally:
            await store.close()

    def _node(self) -> Node:
        return Node(self.store, self.clock, self.chance)

    # What can happen

    async def step(self) -> None:
        """Something happens; then everything that must hold is looked at."""
        weights = [weight for weight, _ in self.steps]
        _, happen = self.chance.choices(self.steps, weights)[0]
        await happen()
        await self.check()

    async def submit(self) -> None:
        chance, now = self.chance, self.clock.now()
        config = TaskConfig(
            retry=chance.choice([0, 1, 3]),
            retry_interval=chance.choice([1, 500, 5_000]),
            repeat=chance.choice([0, 0, 2]),
            priority=chance.randrange(10),
            expire_at=chance.choice([None, None, now + chance.randrange(1, 60_000)]),
        )
        delay = chance.choice([0, 1, 30, 2_000, 40_000])
        target = f"host-{chance.randrange(3)}:80"
        spec = encode_spec(TaskSpec(HttpRequest(f"http://{target}/", "GET"), config))
        new = self.world.task(
            self.owner, delay, spec=spec, target=target, priority=config.priority, expire_at=config.expire_at,
            lane=chance.choice(_LANES),
        )  # fmt: skip
        await self.store.insert(new)
        self.waits[new.id] = Wait(self._gone_by(), delay, self.sets_ahead)
        self.accepted[new.id] = config

    async def look(self) -> None:
        node = self.chance.choice(self.nodes)
        before = await self.running()
        await self._maybe_cut_short(node, node.engine.dispatcher.look())
        after = await self.running()
        for lane, most in self.concurrent.items():
            assert most is None or after[lane] <= max(most, before[lane]), lane
        for running in node.engine.inflight.all():
            call, claim = node.caller.sent[running.token], running.claim
            # A wait that was over stays over when the clock is set back; an instant does not.
            assert call.start_at >= claim.due_at or claim.remaining_ms is not None
            wait = self.waits.pop(claim.id, None)
            if wait is not None and wait.sets_ahead == self.sets_ahead:
                early = wait.since + wait.ms - (self._gone_by() + call.start_at - self.clock.now())
                assert early <= 0

    async def running(self) -> Counter[str]:
        """How many tasks of each lane run."""
        return Counter(task.lane for task in await self.all_tasks() if task.state is State.RUNNING)

    def _gone_by(self) -> float:
        return round(self.clock.elapsed() * 1_000)

    async def end_a_call(self) -> None:
        node = self.chance.choice(self.nodes)
        if node.caller.sent:
            token = self.chance.choice(list(node.caller.sent))
            call = node.caller.sent[token]
            if call.start_at <= self.clock.now():
                node.caller.end(token, self.chance.choice(_OUTCOMES), ended_at=self.clock.now())
                await asyncio.sleep(0)

    async def settle(self) -> None:
        node = self.chance.choice(self.nodes)
        await self._maybe_cut_short(node, node.engine.settler.flush())

    async def time_passes(self) -> None:
        self.clock.advance(self.chance.choice([1, 20, 700, 6_000, 31_000]))

    async def duties(self) -> None:
        now = self.clock.now()
        await self.world.rescue(50)
        await self.store.expire(now, 50)
        await self.keep_time()

    async def keep_time(self) -> None:
        """Engines look at the clock, and put right what waits."""
        for node in self.nodes:
            while await node.engine.keeper.tick():
                pass

    async def limit_a_lane(self) -> None:
        lane, chance = self.chance.choice(_LANES), self.chance
        most = self.concurrent[lane] = chance.choice([None, 1, 2, 5])
        paused_at = chance.choice([None, None, self.clock.now()])
        await set_lane(
            self.world, self.owner, lane, concurrent_max=most, rate=chance.choice([None, 0.1, 1.0, 20.0]),
            paused_at=paused_at, paused_by=paused_at and "owner",
        )  # fmt: skip

    async def set_clock(self) -> None:
        """Somebody sets it. Some engines notice at once, others with the duties, or never, since they die."""
        by = self.chance.choice(_SETS)
        self.clock.set(by)
        self.sets_ahead += by > 0
        for node in self.nodes:
            if self.chance.random() < 0.5:
                await self._maybe_cut_short(node, node.engine.keeper.tick())

    async def die(self) -> None:
        self._bury(self.chance.choice(self.nodes))

    async def steer(self) -> None:
        if not self.accepted:
            return
        task_id = self.chance.choice(list(self.accepted))
        act = self.chance.choice(
            [lifecycle.pause, lifecycle.resume, lifecycle.revoke, lifecycle.execute, lifecycle.restart, None]
        )
        self.waits.pop(task_id, None)
        if act is None:
            assert await self.store.delete(self.owner.id, task_id)
            del self.accepted[task_id]
            self.finals.pop(task_id, None)
            return
        with contextlib.suppress(RequestError):
            await self.store.change(self.owner.id, task_id, lambda task, _: self._changed(act, task))
            self.finals.pop(task_id, None)  # it was its owner who moved it

    def _changed(self, act: Callable[[Task, int], Task], task: Task) -> Change:
        now = self.clock.now()
        after = act(task, now)
        attempt = None
        if task.state is State.RUNNING and after.state is not State.RUNNING:
            attempt = Attempt(task.attempt, task.due_at, task.execution_at, now, OutcomeKind.ABORTED)
        return Change(after, attempt=attempt)

    async def _maybe_cut_short(self, node: Node, work: Any) -> None:
        """Does the work; now and then the engine dies at one of its awaits."""
        doing = asyncio.ensure_future(work)
        if self.chance.random() < 0.1:
            for _ in range(self.chance.randrange(3)):
                await asyncio.sleep(0)
            doing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await doing
            self._bury(node)
        else:
            await doing

    def _bury(self, node: Node) -> None:
        self.nodes[self.nodes.index(node)] = self._node()

    # What must hold

    async def check(self) -> None:
        """No accepted task is gone; none has two live leases; failures stay in bounds; final states stay."""
        known = {task.id: task for task in await self.all_tasks()}
        assert set(known) == set(self.accepted)
        for task_id, task in known.items():
            retries_max = self.accepted[task_id].retry_policy().retries_max
            assert task.failures <= retries_max + 1, task
            before = self.finals.get(task_id)
            if before is not None:
                assert task == before
            if task.state in FINAL:
                self.finals[task_id] = task
        await self.check_leases()
        await self.world.check_counters()

    async def check_leases(self) -> None:
        live: list[int] = []
        for node in self.nodes:
            claims = [running.claim for running in node.engine.inflight.all()]
            held = await self.store.held([(claim.ref, claim.lease) for claim in claims])
            live += list(held)
        assert len(live) == len(set(live))

    async def all_tasks(self) -> list[Task]:
        page = await self.store.tasks(TaskQuery(self.owner.id, limit=1_000))
        assert page.next is None
        return page.tasks

    async def calm_down(self) -> None:
        """Faults stop, paused tasks and lanes are resumed; every task must become final."""
        for lane in _LANES:
            await set_lane(self.world, self.owner, lane, paused_at=None, paused_by=None)
        for task in await self.all_tasks():
            if task.state is State.PAUSED:
                await self.store.change(
                    self.owner.id, task.id, lambda paused, _: Change(lifecycle.resume(paused, self.clock.now()))
                )
        for _ in range(500):
            for node in self.nodes:
                await node.engine.dispatcher.look()
                node.caller.end_all()
                await asyncio.sleep(0)
                await node.engine.settler.flush()
            await self.duties()
            if all(task.state in FINAL for task in await self.all_tasks()):
                return
            self.clock.advance(10_000)
        left = [task for task in await self.all_tasks() if task.state not in FINAL]
        raise AssertionError(self.clock.now(), await self.store.timekeeping(), left)
