"""Anything in any order: after each step of a random walk the counters are true, no task is lost, no lease is held
twice, and a final state has not changed by itself. A seed that failed fails again.
"""

import random
from collections import Counter

import msgspec
import pytest

from tasks_server.domain import lifecycle
from tasks_server.domain.attempt import Outcome, OutcomeKind, Redirected
from tasks_server.domain.lane import LaneLimits, burst_of
from tasks_server.domain.lifecycle import IllegalTransition
from tasks_server.domain.owner import Owner
from tasks_server.domain.request import TaskConfig
from tasks_server.domain.task import FINAL, State, Task
from tasks_server.store.ports import Claim, Inserted, QueueFull, TaskQuery

from .lanes import set_lane
from .world import LEASE_MS, LEASES_END_MS, World, up_to

CONFIG = TaskConfig(retry=2, retry_interval=5_000, repeat=1, repeat_interval=4_000)
LIMIT = 25
STEERS = [lifecycle.pause, lifecycle.resume, lifecycle.revoke, lifecycle.execute, lifecycle.restart]


class Walk:
    """A store, and what must be true of it: all tasks by id, and the claims that hold, each with its end."""

    def __init__(self, world: World, owners: list[Owner], seed: int) -> None:
        self.world = world
        self.owners = owners
        self.draw = random.Random(seed)
        self.tasks: dict[str, str] = {}
        self.live: dict[str, Claim] = {}
        self.until: dict[str, int] = {}
        self.past: list[Claim] = []
        self.states: dict[str, State] = {}
        self.touched: set[str] = set()
        self.lanes: dict[tuple[str, str], LaneLimits] = {}
        self.lane_of: dict[str, tuple[str, str]] = {}
        self.starts: list[tuple[int, tuple[str, str]]] = []

    async def submit(self) -> None:
        owner = self.draw.choice(self.owners)
        count = self.draw.choice([1, 1, 1, 4])
        tasks = [
            self.world.task(
                owner,
                self.draw.choice([0, 0, 3_000, 20_000]),
                lane=self.draw.choice(["default", "second"]),
                priority=self.draw.randrange(3),
                target=self.draw.choice(["a.example:80", "b.example:80"]),
                expire_at=self.draw.choice([None, None, self.world.now + 40_000]),
                metadata=self.draw.choice([None, {"a": "b"}]),
            )
            for _ in range(count)
        ]
        used = sum(self.tasks[task] == owner.id and state not in FINAL for task, state in self.states.items())
        answer = await self.world.store.insert_batch(tasks)
        if used + count > LIMIT:
            assert answer == QueueFull(LIMIT)
        else:
            assert answer == Inserted()
            self.tasks |= {task.id: owner.id for task in tasks}
            self.lane_of |= {task.id: (owner.id, task.lane) for task in tasks}
            self.touched |= {task.id for task in tasks}

    async def claim(self) -> None:
        before = Counter(self.lane_of[task_id] for task_id in self.live)
        for claim in await self.world.claim(up_to(self.draw.randint(0, 3)), horizon=self.world.now + 20):
            assert claim.id not in self.live, "two leases of one task"
            self.live[claim.id] = claim
            self.until[claim.id] = self.world.now + LEASE_MS
            self.starts.append((self.world.now, self.lane_of[claim.id]))
        self.check_lanes(before)

    def check_lanes(self, before: Counter[tuple[str, str]]) -> None:
        """No lane has started more than it may, given how many ran before."""
        running = Counter(self.lane_of[task_id] for task_id in self.live)
        for lane, chosen in self.lanes.items():
            if running[lane] > before[lane]:
                assert chosen.paused_at is None, "a paused lane was claimed from"
                assert chosen.concurrent_max is None or running[lane] <= chosen.concurrent_max
            if chosen.rate is not None:
                times = [at for at, started in self.starts if started == lane]
                for index, at in enumerate(times):
                    allowed = burst_of(chosen) + chosen.rate * (times[-1] - at) / 1_000
                    assert len(times) - index <= allowed + 0.001, "more starts than the rate allows"

    async def limit_lane(self) -> None:
        """Other limits for a lane, from which on its starts are counted; or none."""
        owner, name = self.draw.choice(self.owners), self.draw.choice(["default", "second"])
        chosen = LaneLimits(
            concurrent_max=self.draw.choice([None, None, 1, 3]),
            rate=self.draw.choice([None, None, 0.5, 20]),
            burst=self.draw.choice([None, 2]),
            paused_at=self.draw.choice([None, None, None, self.world.now]),
        )
        await set_lane(self.world, owner, name, **{part: getattr(chosen, part) for part in chosen.__struct_fields__})
        self.lanes[owner.id, name] = chosen
        self.starts = [start for start in self.starts if start[1] != (owner.id, name)]

    async def settle(self) -> None:
        """Reports of claims that hold and of some that do not."""
        claims = self.draw.sample(list(self.live.values()), self.draw.randint(0, len(self.live)))
        claims += self.draw.sample(self.past, min(len(self.past), self.draw.randint(0, 3)))
        self.draw.shuffle(claims)
        reports = []
        for claim in claims:
            kind = self.draw.choice(list(OutcomeKind))
            redirected = Redirected(1, "GET", "http://a.test/") if kind is OutcomeKind.SUCCESS else None
            outcome = Outcome(kind, 200 if redirected else 500, response=b"r", redirected=redirected)
            reports.append(self.world.report(claim, outcome, CONFIG))
        lost = {claim.ref for claim in claims if self.live.get(claim.id) is not claim}
        assert await self.world.store.settle(reports) == lost
        for claim in claims:
            if self.live.get(claim.id) is claim:
                self.let_go(claim.id)
                self.touched.add(claim.id)

    def let_go(self, task_id: str) -> None:
        claim = self.live.pop(task_id, None)
        if claim is not None:
            self.past.append(claim)

    async def extend(self) -> None:
        claims = list(self.live.values())[:3] + self.past[-2:]
        until = self.world.now + LEASE_MS
        lost = await self.world.store.extend([(claim.ref, claim.lease) for claim in claims], until)
        assert lost == {claim.ref for claim in claims if self.live.get(claim.id) is not claim}
        for claim in claims:
            if self.live.get(claim.id) is claim:
                self.until[claim.id] = until

    async def steer(self) -> None:
        if not self.tasks:
            return
        task_id, step = self.draw.choice(list(self.tasks)), self.draw.choice(STEERS)
        try:
            await self.world.steer(task_id, step)
        except IllegalTransition:
            return
        if step is not lifecycle.execute:
            self.let_go(task_id)
        self.touched.add(task_id)

    async def delete(self) -> None:
        if self.tasks:
            task_id = self.draw.choice(list(self.tasks))
            assert await self.world.store.delete(None, task_id)
            self.forget(task_id)

    def forget(self, task_id: str) -> None:
        self.let_go(task_id)
        del self.tasks[task_id]

    async def rescue(self) -> None:
        """A rescuer looks. It takes no lease before its end."""
        count = await self.world.rescue(1_000)
        held = await self.world.store.held([(claim.ref, claim.lease) for claim in self.live.values()])
        gone = [task_id for task_id, claim in self.live.items() if claim.ref not in held]
        assert count == len(gone)
        assert all(self.until[task_id] <= self.world.now for task_id in gone)
        for task_id in gone:
            self.let_go(task_id)

    async def leases_end(self) -> None:
        """Nobody extends anything, and a rescuer looks all the while."""
        for _ in range(LEASES_END_MS // 5_000):
            self.world.clock.advance(5_000)
            await self.rescue()
        assert not self.live

    async def expire(self) -> None:
        self.touched |= set(self.tasks)
        await self.world.store.expire(self.world.now, self.draw.randint(1, 5))

    async def prune(self) -> None:
        before = self.world.now - 60_000
        await self.world.store.prune(before, 3)
        for task_id, state in self.states.items():
            if task_id in self.tasks and await self.world.store.task(None, task_id) is None:
                assert state in FINAL
                self.forget(task_id)

    async def advance(self) -> None:
        self.world.clock.advance(self.draw.choice([1, 500, 3_000, 20_000]))

    async def check(self) -> None:
        """What must be true at any time."""
        listed: dict[str, Task] = {}
        for owner in self.owners:
            page = await self.world.store.tasks(TaskQuery(owner.id, limit=1_000))
            assert page.next is None
            listed |= {task.id: task for task in page.tasks}
            assert await self.world.in_queue(owner) == sum(task.state not in FINAL for task in page.tasks)
        assert {task_id: task.owner for task_id, task in listed.items()} == self.tasks, (
            "a task is lost, or not its owner's"
        )
        await self.world.check_counters()
        running = {task_id for task_id, task in listed.items() if task.state is State.RUNNING}
        assert running == set(self.live)
        claims = [*self.live.values(), *self.past]
        held = await self.world.store.held([(claim.ref, claim.lease) for claim in claims])
        assert held == {claim.ref for claim in self.live.values()}
        for task_id, task in listed.items():
            before = self.states.get(task_id)
            if before in FINAL and task_id not in self.touched:
                assert task.state is before, "a final state changed by itself"
            assert (task.ended_at > 0) == (task.state in FINAL or task.state is State.PAUSED)
            assert task.failures <= CONFIG.retry + 1
        self.states = {task_id: task.state for task_id, task in listed.items()}
        self.touched.clear()


@pytest.mark.parametrize("seed", range(6))
async def test_a_random_walk(world: World, seed: int) -> None:
    walk = Walk(world, [await world.owner(limit=LIMIT) for _ in range(2)], seed)
    steps = [walk.submit] * 4 + [walk.claim] * 4 + [walk.settle] * 3 + [walk.steer] * 3 + [walk.advance] * 3
    steps += [walk.extend, walk.delete, walk.rescue, walk.expire, walk.prune, walk.limit_lane, walk.leases_end]
    for _ in range(250 if world.adapter.near else 80):
        await walk.draw.choice(steps)()
        await walk.check()
    assert len(walk.past) > 5, "the walk went nowhere"


async def test_once_faults_stop_every_task_becomes_final(world: World) -> None:
    walk = Walk(world, [await world.owner(limit=LIMIT)], 99)
    for _ in range(100 if world.adapter.near else 50):
        await walk.draw.choice([walk.submit, walk.claim, walk.settle, walk.advance, walk.steer])()
        await walk.check()
    for _ in range(60):
        await walk.leases_end()
        for task_id in walk.tasks:
            if await world.state(task_id) is State.PAUSED:
                await world.steer(task_id, lifecycle.resume)
        await walk.claim()
        await world.settle(list(walk.live.values()), config=CONFIG)
        walk.live.clear()
    assert {await world.state(task_id) for task_id in walk.tasks} <= FINAL
    assert msgspec.structs.asdict(walk.owners[0])["tasks_in_queue"] == await world.in_queue(walk.owners[0]) == 0
