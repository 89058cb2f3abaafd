"""Machines whose clocks are wrong: the database's time counts, and nothing runs before it."""

from pathlib import Path

import psycopg
import pytest

from tasks_server.clock import Clock, DatabaseClock, SystemClock
from tasks_server.store.ports import Look
from tasks_server.store.postgres.store import PostgresStore
from tasks_server.store.sealing import Sealer

from ..store.adapters import ADAPTERS, MASTER
from ..store.world import World, up_to


class Skewed(SystemClock):
    """A machine whose clock is wrong by so many ms."""

    def __init__(self, wrong_ms: int) -> None:
        self._wrong_ms = wrong_ms

    def now(self) -> int:
        return super().now() + self._wrong_ms

    def monotonic(self) -> float:
        return super().monotonic() + self._wrong_ms / 1_000


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
        world = World(first, taking, ADAPTERS["postgres"], tmp_path)  # type: ignore[arg-type]
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
