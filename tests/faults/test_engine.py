"""An engine whose database goes away: what its calls brought is kept, recorded once, and it goes on by itself."""

import asyncio
import random
from pathlib import Path

import psycopg

from tasks_server.clock import SystemClock
from tasks_server.engine.loop import Engine, EngineConfig
from tasks_server.store.postgres.store import PostgresStore
from tasks_server.store.sealing import Sealer
from tasks_server.telemetry import Telemetry
from tests.engine.scripted import ScriptedCaller
from tests.postgres.wire import Wire, until
from tests.store.adapters import MASTER, Postgres
from tests.store.world import World, sample_spec

COUNT = 20


def recorded(behind: psycopg.Connection) -> tuple[int, int]:
    """How many tasks are completed, and how many attempts there were."""
    row = behind.execute(
        "SELECT (SELECT count(*) FROM task WHERE state = 'completed'), (SELECT count(*) FROM attempt)"
    ).fetchone()
    assert row is not None
    return row[0], row[1]


async def test_results_are_kept_and_recorded_once_when_the_database_is_back(
    wire: Wire, url: str, behind: psycopg.Connection, tmp_path: Path
) -> None:
    clock, caller, told = SystemClock(), ScriptedCaller(), list[bytes]()
    store, adapter = PostgresStore(wire.url, Sealer(MASTER), clock), Postgres("postgres")
    adapter.urls[store] = url
    await store.open()
    engine = Engine(
        store, caller, clock, EngineConfig(), Telemetry(clock, form="json", write=told.append), random.random
    )
    running = asyncio.create_task(engine.run())
    try:
        world = World(store, clock, adapter, tmp_path)  # type: ignore[arg-type]  # nobody turns this clock
        owner = await world.owner()
        for _ in range(COUNT):
            await world.submit(owner, spec=sample_spec())
        store.hint_work(clock.now())
        await until(lambda: len(caller.sent) == COUNT)
        wire.refuses = True
        wire.cut()
        caller.end_all()
        await until(lambda: any(b"settle" in line and b"store_trouble" in line for line in told))
        assert recorded(behind) == (0, 0)
        wire.refuses = False
        await until(lambda: recorded(behind) == (COUNT, COUNT))
        await until(lambda: any(b"store_back" in line for line in told))
        await world.submit(owner, spec=sample_spec())  # found without a hint
        await until(lambda: len(caller.sent) == 1)
        caller.end_all()
        await until(lambda: recorded(behind) == (COUNT + 1, COUNT + 1))
        await world.check_counters()
    finally:
        engine.stop(0)
        await running
        await store.close()
