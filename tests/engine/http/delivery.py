"""Tasks from their registration to a real target and back into the store, by a clock that the test moves."""

import asyncio
from datetime import UTC
from typing import Any

import msgspec

from tasks_server.clock import ManualClock
from tasks_server.domain import limits, validation
from tasks_server.domain.task import FINAL, Task
from tasks_server.engine.http.client import HttpClient
from tasks_server.engine.loop import Engine, EngineConfig
from tasks_server.service.ground import Ground
from tasks_server.service.tasks import TaskService
from tasks_server.store.ports import Store
from tasks_server.telemetry import Telemetry
from tests.engine.http.driver import AGENT, RESPONSE_MAX_BYTES
from tests.engine.http.target import DEADLINE_SECONDS, Target


class Delivery:
    """An engine with so many `slots` over an open store. `chance` is what every draw of lots gives."""

    def __init__(self, store: Store, owner: str, clock: ManualClock, slots: int = 100, chance: float = 0.5) -> None:
        self.clock = clock
        self.began_at = clock.now()
        self._store = store
        self._owner = owner
        self._service = TaskService(Ground(store, clock))
        caller = HttpClient(clock=clock, user_agent=AGENT, response_max_bytes=RESPONSE_MAX_BYTES, connections_max=slots)
        self._engine = Engine(
            store, caller, clock, EngineConfig(slots), Telemetry(clock, write=lambda _: None), lambda: chance
        )
        self._caller = caller

    def start(self) -> None:
        self._engine.executor.start()

    async def stop(self) -> None:
        self._engine.executor.interrupt()
        await asyncio.to_thread(self._caller.stop)

    async def submit(self, url: str, config: dict[str, Any] | None = None, method: str = "GET", **request: Any) -> str:
        """Registers a task as its owner does, now; its id."""
        if "data" in request:
            request["data"] = msgspec.Raw(msgspec.json.encode(request["data"]))
        raw = {"httpRequest": {"url": url, "method": method, **request}, "config": config or {}}
        return (await self._service.submit(self._owner, validation.read(raw, self.clock.now(), UTC))).id

    async def task(self, task_id: str) -> Task:
        return await self._service.task(self._owner, task_id)

    async def run(self) -> None:
        """Makes every call that is due now, and records what came of it."""
        engine = self._engine
        async with asyncio.timeout(DEADLINE_SECONDS):
            while True:
                look_again_in = await engine.dispatcher.look()
                is_done = not len(engine.inflight) and look_again_in > 0
                await engine.executor.finished()
                assert await engine.settler.flush()
                if is_done:
                    return

    async def at(self, after_ms: int) -> None:
        """Makes the calls that are due that long after the beginning."""
        self.clock.advance(self.began_at + after_ms - self.clock.now())
        await self.run()

    async def calls(self, task_id: str, target: Target) -> list[int]:
        """When a task that is alone is called until it is final, in ms after the beginning."""
        called = []
        while (task := await self.task(task_id)).state not in FINAL:
            due, count = task.due_at - self.began_at, len(target.received)
            # Before that, nothing is even held ready for it.
            early = due - limits.PROMOTE_AHEAD_MS - 1
            if self.began_at + early > self.clock.now():
                await self.at(early)
                assert len(target.received) == count, "called early"
            await self.at(due)
            called += [due] * (len(target.received) - count)
        return called
