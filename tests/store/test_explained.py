"""Why a task does not run, asked of every store: engines that are there, stop, or die with what they had in work."""

from pathlib import Path

import pytest

from tasks_server.clock import ManualClock
from tasks_server.domain import gates
from tasks_server.domain.engines import EngineFacts, EngineReport, Repertoire
from tasks_server.domain.gate import Gate
from tasks_server.domain.owner import Owner
from tasks_server.service.explain import ExplainService
from tasks_server.service.ground import Ground
from tasks_server.store.ports import Look, Store

from .adapters import Adapter
from .world import LEASE_MS, World, up_to

FACTS = EngineFacts("machine-1", 7, "1", 8, 7, 2, Repertoire(True, ()))


async def tell(store: Store, at: int) -> None:
    await store.report(EngineReport(at, at, FACTS))


async def held(world: World, task_id: str) -> Gate:
    found = await ExplainService(Ground(world.store, world.clock)).explain(None, task_id)
    return gates.closed(found.gates)[0]


async def runnable(world: World, task_id: str) -> bool:
    return (await ExplainService(Ground(world.store, world.clock)).explain(None, task_id)).runnable


async def test_a_host_at_its_limit_and_a_task_behind_another(world: World, owner: Owner) -> None:
    ids = await world.submit_many(owner, 4)
    await tell(world.store, world.now)
    assert [await runnable(world, task_id) for task_id in ids] == [True, True, False, False]
    assert (await held(world, ids[3])).gate == "ahead"
    await world.claim(up_to(2))
    gate = await held(world, ids[3])
    assert (gate.gate, gate.facts) == ("host", {"host": "a.example:80", "taken": 2, "hostMax": 2})


async def test_what_a_dead_engine_had_in_work(
    world: World, owner: Owner, adapter: Adapter, clock: ManualClock, tmp_path: Path
) -> None:
    if not adapter.shared:
        pytest.skip("one process alone")
    first = adapter.make(tmp_path, clock)
    await first.open()
    await tell(first, clock.now())
    task = await world.submit(owner)
    look = Look(now=clock.now(), horizon=clock.now(), lease_until=clock.now() + LEASE_MS)
    (claim,) = (await first.claim(look, up_to(1))).claims
    running = await held(world, task.id)
    assert (running.gate, running.facts["engine"]) == ("running", claim.lease >> 32)
    assert "it runs now on engine" in running.text
    await first.close()
    running = await held(world, task.id)
    assert (running.gate, running.until) == ("running", None)
    assert running.facts["leaseUntil"] == clock.now() + LEASE_MS
    assert "(process 7 on machine-1)" in running.text
    assert "is gone; the task runs again as soon as another engine sees it" in running.text
    gate = await held(world, (await world.submit(owner)).id)
    assert (gate.gate, gate.facts) == ("engine", {"alive": 0, "lastSeenAt": clock.now()})
    assert "no engine is running since 2023-11-14T22:13:20.000Z" in gate.text
    await tell(world.store, world.now)
    assert await runnable(world, (await world.submit(owner, target="b.example:80")).id)


async def test_what_runs_on_one_engine_takes_no_place_of_another(
    world: World, owner: Owner, adapter: Adapter, clock: ManualClock, tmp_path: Path
) -> None:
    if not adapter.shared:
        pytest.skip("one process alone")
    other = adapter.make(tmp_path, clock)
    await other.open()
    await tell(other, clock.now())
    await world.submit_many(owner, 2)
    look = Look(now=clock.now(), horizon=clock.now(), lease_until=clock.now() + LEASE_MS)
    assert len((await other.claim(look, up_to(2))).claims) == 2
    task = await world.submit(owner)
    assert (await held(world, task.id)).gate == "host"
    await tell(world.store, world.now)
    assert await runnable(world, task.id)
    await other.close()
