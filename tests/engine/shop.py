"""A store with one owner and an engine over it that calls nobody."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol

from tasks_server.domain import lifecycle
from tasks_server.domain.forms import encode_spec
from tasks_server.domain.owner import Owner
from tasks_server.domain.request import HandlerCall, HttpRequest, TaskConfig, TaskSpec
from tasks_server.domain.task import Task, handler_target
from tasks_server.engine.loop import Engine, EngineConfig
from tasks_server.telemetry import Telemetry

from ..store.world import World
from .scripted import ScriptedCaller, ScriptedHandlers


class Shop:
    """A store with one owner, and an engine over it."""

    def __init__(
        self, world: World, owner: Owner, config: EngineConfig, handlers: ScriptedHandlers | None = None
    ) -> None:
        self.world = world
        self.store = world.store
        self.clock = world.clock
        self.owner = owner
        self.caller = ScriptedCaller()
        self.lines: list[bytes] = []
        told = Telemetry(world.clock, write=self.lines.append)
        self.engine = Engine(world.store, self.caller, world.clock, config, told, lambda: 0.0, handlers)

    async def submit(
        self, config: TaskConfig | None = None, delay: int = 0, target: str = "a.example:80", **fields: Any
    ) -> str:
        config = config or TaskConfig()
        spec = encode_spec(TaskSpec(HttpRequest(f"http://{target}/", "GET"), config))
        due = self.clock.now() + delay
        new = self.world.task(
            self.owner, delay, spec=spec, target=target, expire_at=config.expire_at, priority=config.priority,
            state=lifecycle.waiting_state(due, self.clock.now()), **fields,
        )  # fmt: skip
        await self.store.insert(new)
        return new.id

    async def submit_handler(
        self, call: HandlerCall, config: TaskConfig | None = None, delay: int = 0, **fields: Any
    ) -> str:
        config = config or TaskConfig()
        due = self.clock.now() + delay
        new = self.world.task(
            self.owner, delay, spec=encode_spec(TaskSpec(None, config, handler=call)),
            target=handler_target(call.name), state=lifecycle.waiting_state(due, self.clock.now()), **fields,
        )  # fmt: skip
        await self.store.insert(new)
        return new.id

    async def task(self, task_id: str) -> Task:
        found = await self.store.task(self.owner.id, task_id)
        assert found is not None
        return found

    async def look(self) -> list[int]:
        """One pass of the dispatcher; the tokens in flight after it."""
        self.engine.executor.start()
        await self.engine.dispatcher.look()
        return list(self.caller.sent)

    async def settle(self) -> None:
        """Records what has ended."""
        await asyncio.sleep(0)  # lets the hand-over from the caller's thread run
        await self.engine.settler.flush()

    async def until(self, fact: Callable[[], bool]) -> None:
        """Lets the engine go on until `fact` holds."""
        async with asyncio.timeout(20):
            while not fact():
                await asyncio.sleep(0.001)


class OpenShop(Protocol):
    """Opens one more, with an engine of this kind."""

    async def __call__(self, config: EngineConfig | None = None, handlers: ScriptedHandlers | None = None) -> Shop: ...


@contextlib.asynccontextmanager
async def working(shop: Shop) -> AsyncIterator["asyncio.Task[None]"]:
    """The engine runs; it is stopped at the end, if it was not before."""
    running = asyncio.create_task(shop.engine.run())
    try:
        yield running
    finally:
        shop.engine.stop(0)
        await running
