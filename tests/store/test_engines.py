"""What engines tell of themselves: kept under the number of their process, with whether that process is there."""

from pathlib import Path
from typing import Any

import pytest

from tasks_server.clock import ManualClock
from tasks_server.domain import limits
from tasks_server.domain.engines import (
    SILENT_MS,
    Engine,
    EngineFacts,
    EngineReport,
    KnownHandler,
    Repertoire,
    Trouble,
)

from .adapters import Adapter
from .world import World

FACTS = EngineFacts(
    host="machine-1",
    pid=4711,
    version="1.2.3",
    slots=8,
    owner_max=7,
    target_max=4,
    runs_max=3,
    in_flight=5,
    repertoire=Repertoire(http=False, handlers=(KnownHandler("send-email", 60_000, 5, 2),)),
    looked_at=17,
    trouble=Trouble("claim", "store_busy"),
    targets_full={"a.example:80": 4},
    stopped_at=0,
)


async def tell(world: World, started_at: int = 7, **fields: Any) -> EngineReport:
    report = EngineReport(started_at, world.now, EngineFacts(**({"version": "1"} | PLAIN | fields)))
    await world.store.report(report)
    return report


PLAIN: dict[str, Any] = {
    "host": "here", "pid": 1, "slots": 8, "owner_max": 7, "target_max": 4, "repertoire": Repertoire(True, ()),
}  # fmt: skip


async def one(world: World) -> Engine:
    (engine,) = await world.store.engines()
    return engine


async def test_nobody_has_told_anything(world: World) -> None:
    assert await world.store.engines() == []


async def test_all_that_an_engine_tells_is_kept(world: World) -> None:
    await world.store.report(EngineReport(5, world.now, FACTS))
    engine = await one(world)
    assert (engine.started_at, engine.seen_at, engine.facts) == (5, world.now, FACTS)
    assert engine.number > 0
    assert engine.lives


async def test_a_report_takes_the_place_of_the_one_before(world: World) -> None:
    await tell(world, in_flight=1)
    world.clock.advance(5_000)
    await tell(world, in_flight=2)
    engine = await one(world)
    assert (engine.seen_at, engine.facts.in_flight) == (world.now, 2)


async def test_the_number_is_that_of_the_leases(world: World) -> None:
    await world.submit(await world.owner())
    claim = await world.claim_one()
    await tell(world)
    assert (await one(world)).number == claim.lease >> 32


async def test_an_engine_is_alive_while_it_tells(world: World) -> None:
    await tell(world)
    engine = await one(world)
    assert engine.alive(world.now + SILENT_MS)
    assert not engine.alive(world.now + SILENT_MS + 1)
    await tell(world, stopped_at=world.now)
    assert not (await one(world)).alive(world.now)


async def test_an_engine_whose_process_is_gone_is_remembered_as_dead(
    world: World, adapter: Adapter, clock: ManualClock, tmp_path: Path
) -> None:
    if not adapter.shared:
        pytest.skip("one process alone")
    first = adapter.make(tmp_path, clock)
    await first.open()
    await first.report(EngineReport(1, clock.now(), FACTS))
    assert (await one(world)).lives
    await first.close()
    engine = await one(world)
    assert not engine.lives
    assert (engine.seen_at, engine.facts) == (clock.now(), FACTS)
    clock.advance(1)
    await tell(world)
    newest, dead = await world.store.engines()
    assert (newest.lives, dead.lives) == (True, False)
    assert dead.number == engine.number


async def test_a_day_after_its_death_an_engine_is_forgotten_by_the_next(
    world: World, adapter: Adapter, clock: ManualClock, tmp_path: Path
) -> None:
    if not adapter.shared:
        pytest.skip("one process alone")
    first = adapter.make(tmp_path, clock)
    await first.open()
    await first.report(EngineReport(1, clock.now(), FACTS))
    await first.close()
    clock.advance(limits.DAY_MS)
    await tell(world)
    assert len(await world.store.engines()) == 2
    clock.advance(1)
    await tell(world)
    assert (await one(world)).lives


async def test_a_damaged_report_and_one_of_a_newer_version_hold_up_nobody(world: World) -> None:
    await tell(world)
    await world.query("INSERT INTO engine VALUES (77, 1, 1, 'no JSON')")
    assert (await one(world)).number != 77
    newer = (
        '{"host":"h","pid":1,"version":"9","slots":1,"ownerMax":1,"targetMax":1,'
        '"repertoire":{"http":true,"handlers":[]},"warp":true}'
    )
    await world.query(f"UPDATE engine SET facts = '{newer}' WHERE number = 77")
    assert {engine.facts.version for engine in await world.store.engines()} == {"1", "9"}
