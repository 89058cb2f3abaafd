"""Asks why a task of a shop does not run, and checks what holds of every answer."""

from typing import Any

from tasks_server.domain import gates
from tasks_server.domain.gate import KINDS, Gate
from tasks_server.service.explain import ExplainService, Explanation
from tasks_server.service.ground import Ground
from tasks_server.service.lanes import LaneService
from tasks_server.service.tasks import TaskService

from .shop import Shop


async def explain(shop: Shop, task_id: str, *, operator: bool = False) -> Explanation:
    service = ExplainService(Ground(shop.store, shop.clock))
    explained = await service.explain(None if operator else shop.owner.id, task_id)
    assert {gate.gate for gate in explained.gates} <= KINDS.keys()
    places = [list(KINDS).index(gate.gate) for gate in explained.gates]
    assert places == sorted(places), "the gates are in their order"
    assert explained.runnable == (not gates.closed(explained.gates))
    return explained


async def held(shop: Shop, task_id: str, *, operator: bool = False) -> Gate:
    """The gate that holds the task."""
    return gates.closed((await explain(shop, task_id, operator=operator)).gates)[0]


async def seen(shop: Shop) -> None:
    """The engine has told of itself just now."""
    await shop.engine.reporting.tick()


def tasks(shop: Shop) -> TaskService:
    return TaskService(Ground(shop.store, shop.clock))


def has(gate: Gate, **facts: Any) -> bool:
    """Whether these facts are told."""
    return {name: gate.facts.get(name) for name in facts} == facts


async def limit_lane(shop: Shop, name: str = "default", **settings: Any) -> None:
    await LaneService(Ground(shop.store, shop.clock)).put(shop.owner.id, name, settings, "owner")
