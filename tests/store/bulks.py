"""A world with bulk work."""

import itertools
from functools import partial
from typing import Any

from tasks_server.domain import ids
from tasks_server.domain.bulk import Action, Bulk, BulkFilter, Deleted, Steered, act, with_states
from tasks_server.domain.owner import Owner
from tasks_server.domain.task import Task
from tasks_server.store.bulking import BulkRefusal, Stride, Worked
from tasks_server.store.ports import TaskQuery

from .world import FAILURE, World

OPEN_MAX = 20
_NUMBERS = itertools.count(1)


class Desk:
    """Asks for bulk work and does it, as service and engine do."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.store = world.store

    def new(self, owner: Owner, action: Action, **conditions: Any) -> Bulk:
        """Not stored yet."""
        now = self.world.now
        bulk_id = ids.task_id(now, b"B" + next(_NUMBERS).to_bytes(8, "big"))
        return Bulk(bulk_id, owner.id, action, with_states(action, BulkFilter(**conditions)), "owner", now)

    async def make(self, owner: Owner, action: Action, **conditions: Any) -> Bulk:
        """Stored."""
        answer = await self.store.create_bulk(self.new(owner, action, **conditions), OPEN_MAX)
        assert not isinstance(answer, BulkRefusal)
        return answer

    async def step(self, seen_max: int = 1_000, changed_max: int = 200) -> Worked:
        """One step of what has its turn."""
        now = self.world.now
        return await self.store.work_bulk(now, Stride(seen_max, changed_max), partial(decide, now))

    async def finish(self, bulk: Bulk, **stride: int) -> Bulk:
        """All steps of it, and of what has its turn before it."""
        for _ in range(1_000):
            done = await self.read(bulk)
            if done.ended_at:
                return done
            await self.step(**stride)
        raise AssertionError(f"it never ended: {done}")

    async def read(self, bulk: Bulk) -> Bulk:
        found = await self.store.bulk(None, bulk.id)
        assert found is not None
        return found

    async def failed(self, owner: Owner, count: int, **fields: Any) -> list[str]:
        """The ids of that many new tasks that failed. Nothing else may be due."""
        made = await self.world.submit_many(owner, count, **fields)
        await self.world.settle(await self.world.claim(), FAILURE)
        return made

    async def tasks(self, owner: Owner) -> dict[str, Task]:
        """All tasks of the owner."""
        found: dict[str, Task] = {}
        query = TaskQuery(owner.id, limit=1_000)
        while True:
            page = await self.store.tasks(query)
            found |= {task.id: task for task in page.tasks}
            if page.next is None:
                return found
            query = TaskQuery(owner.id, limit=1_000, after=page.next)


def decide(now: int, bulk: Bulk, task: Task) -> Steered | Deleted | None:
    return act(bulk.action, f"by bulk work {bulk.id}", task, now)
