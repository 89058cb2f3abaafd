"""Machines whose clocks are wrong: the database's time counts, and nothing runs before it."""

import asyncio
import random
from pathlib import Path

import psycopg
import pytest

from tasks_server.clock import Clock, DatabaseClock, SystemClock
from tasks_server.engine.loop import Engine, EngineConfig
from tasks_server.store.ports import Look
from tasks_server.store.postgres.store import PostgresStore
from tasks_server.store.sealing import Sealer
from tasks_server.telemetry import Telemetry
from tests.engine.scripted import ScriptedCaller
from tests.postgres.wire import until

from ..store.adapters import ADAPTERS, MASTER
from ..store.world import World, sample_spec, up_to

DRIFT = 0.000_2
GRAIN_MS = 0.001
"""Numbers of this size are no finer."""


class Skewed(SystemClock):
    """A machine whose clock is wrong by so many ms, and gains on others by a share of the time that goes by."""

    def __init__(self, wrong_ms: int, drift: float = 0.0) -> None:
        self._wrong_ms = wrong_ms
        self._rate = 1 + drift

    def now(self) -> int:
        return int(super().now() * self._rate) + self._wrong_ms

    def monotonic(self) -> float:
        return super().monotonic() * self._rate + self._wrong_ms / 1_000

    def elapsed(self) -> float:
        return super().elapsed() * self._rate + self._wrong_ms / 1_000


class Drifting:
    """A machine under a test: its clocks go by what the test says has gone by, of which they miss a share."""

    def __init__(self, drift: float) -> None:
        self._rate = 1 / (1 + drift)
        self.true_seconds = 0.0

    def now(self) -> int:
        return int(self.monotonic() * 1_000)

    def monotonic(self) -> float:
        return 77_000 + self.true_seconds * self._rate

    elapsed = monotonic


def at_database(behind: psycopg.Connection) -> float:
    """The database's time, ms."""
    row = behind.execute("SELECT extract(epoch FROM clock_timestamp()) * 1000").fetchone()
    assert row is not None
    return float(row[0])


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("drift", [DRIFT, -DRIFT, 0.0])
def test_the_bounds_hold_however_long_nobody_asks_the_database(drift: float, seed: int) -> None:
    chance, machine, base = random.Random(seed), Drifting(drift), 1_800_000_000_000
    early, late = DatabaseClock("early", machine), DatabaseClock("late", machine)
    for _ in range(200):
        before = machine.monotonic()
        machine.true_seconds += chance.uniform(0, 0.5)
        shown = base + machine.true_seconds * 1_000
        machine.true_seconds += chance.uniform(0, 0.5)
        for clock in (early, late):
            clock.sample(before, machine.monotonic(), shown)
        for seconds in (0, chance.uniform(0, 5), chance.uniform(0, 600)):
            machine.true_seconds += seconds
            true = base + machine.true_seconds * 1_000
            assert early.now() - GRAIN_MS <= true <= late.now() + GRAIN_MS


@pytest.mark.parametrize("jump_ms", [60_000, -60_000])
def test_a_database_whose_clock_was_set_is_followed(jump_ms: int) -> None:
    """So it is after a failover to a machine with another clock, which the new connection asks."""
    machine = Drifting(0)
    clock = DatabaseClock("early", machine)
    clock.sample(machine.monotonic(), machine.monotonic(), 1_800_000_000_000)
    clock.sample(machine.monotonic(), machine.monotonic(), 1_800_000_000_000 + jump_ms)
    assert clock.now() == 1_800_000_000_000 + jump_ms


class Punctual(ScriptedCaller):
    """Begins a call when its engine's clock says so, and notes what the database's clock says then."""

    def __init__(self, clock: Clock, behind: psycopg.Connection) -> None:
        super().__init__()
        self._clock = clock
        self._behind = behind
        self.early_ms: list[float] = []
        """By how much each call came before its time."""

    def begin_due(self) -> None:
        for token, call in list(self.sent.items()):
            if self._clock.now() >= call.start_at:
                self.early_ms.append(call.start_at - at_database(self._behind))
                self.end(token)


@pytest.mark.parametrize(("wrong_ms", "drift"), [((30_000, 0), DRIFT), ((0, -30_000), -DRIFT)])
async def test_engines_whose_clocks_differ_run_nothing_early(
    url: str, behind: psycopg.Connection, wrong_ms: tuple[int, int], drift: float, tmp_path: Path
) -> None:
    count = 60
    taking = DatabaseClock("late", Skewed(-30_000))
    clocks = [DatabaseClock("early", Skewed(wrong, drift)) for wrong in wrong_ms]
    stores = [PostgresStore(url, Sealer(MASTER), clock) for clock in (taking, *clocks)]
    callers = [Punctual(clock, behind) for clock in clocks]
    for store in stores:
        await store.open()
    engines = [
        Engine(store, caller, clock, EngineConfig(), Telemetry(clock, write=lambda _: None), random.random)
        for store, caller, clock in zip(stores[1:], callers, clocks, strict=True)
    ]
    running = [asyncio.create_task(engine.run()) for engine in engines]
    try:
        world = World(stores[0], taking, ADAPTERS["postgres"], tmp_path)  # type: ignore[arg-type]  # nobody turns this clock
        owner = await world.owner()
        for number in range(count):
            await world.submit(owner, delay=200 + number * 5, spec=sample_spec())

        def all_called() -> bool:
            for caller in callers:
                caller.begin_due()
            return sum(len(caller.early_ms) for caller in callers) == count

        await until(all_called)
        assert max(early for caller in callers for early in caller.early_ms) <= 0
    finally:
        for engine in engines:
            engine.stop(0)
        await asyncio.gather(*running)
        for store in stores:
            await store.close()


@pytest.mark.parametrize("wrong_ms", [(30_000, 0), (0, 30_000), (-30_000, 0), (0, -30_000)])
async def test_machines_whose_clocks_differ_run_nothing_early(
    url: str, behind: psycopg.Connection, wrong_ms: tuple[int, int], tmp_path: Path
) -> None:
    taking: Clock = DatabaseClock("late", Skewed(wrong_ms[0]))
    running: Clock = DatabaseClock("early", Skewed(wrong_ms[1]))
    first, second = (PostgresStore(url, Sealer(MASTER), clock) for clock in (taking, running))
    await first.open()
    await second.open()
    try:
        world = World(first, taking, ADAPTERS["postgres"], tmp_path)  # type: ignore[arg-type]  # nobody turns this clock
        owner = await world.owner()
        before = behind.execute("SELECT extract(epoch FROM clock_timestamp()) * 1000").fetchone()
        task = await world.submit(owner, delay=150)
        assert before is not None
        assert task.due_at >= before[0] + 150
        claims = []
        while not claims:
            now = running.now()
            claims = (await second.claim(Look(now, now, now + 30_000), up_to(10))).claims
        after = behind.execute("SELECT extract(epoch FROM clock_timestamp()) * 1000").fetchone()
        assert after is not None
        assert task.due_at <= after[0] < task.due_at + 20_000
    finally:
        await first.close()
        await second.close()
