"""Searches take turns by who asks, and are given up after a while; what everybody needs does not wait for them."""

import asyncio
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tasks_server.clock import ManualClock
from tasks_server.domain.errors import Refused
from tasks_server.store.batching import Job, Turns
from tasks_server.store.ports import TaskQuery
from tasks_server.store.postgres import session
from tasks_server.store.sqlite import connection

from .adapters import ADAPTERS
from .world import World


def job(asker: str, item: int) -> Job:
    return Job(lambda _, items: items, item, asyncio.get_running_loop().create_future(), 1, asker)


async def test_who_asks_for_much_waits_for_itself() -> None:
    turns = Turns()
    turns.extend([job("many", number) for number in range(3)])
    turns.extend([job("few", 10), job("other", 20)])
    order = []
    while turns:
        (taken,) = turns.take()
        order.append(taken.item)
        if taken.item == 10:
            turns.extend([job("few", 11)])
    assert order == [0, 10, 20, 1, 11, 2]


class Hurried(ManualClock):
    """Each look at it takes a second."""

    def monotonic(self) -> float:
        self.advance(1_000)
        return super().monotonic()


async def test_on_sqlite_a_search_without_end_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_STEPS_BETWEEN", 500)
    adapter, clock = ADAPTERS["sqlite-file"], ManualClock()
    store = adapter.make(tmp_path, clock)
    await store.open()
    world = World(store, clock, adapter, tmp_path)
    owner = await world.owner()
    tasks = [world.task(owner, metadata={"z": "same"}) for _ in range(3_000)]
    for place in range(0, len(tasks), 500):
        await store.insert_batch(tasks[place : place + 500])
    await store.close()
    hurried = adapter.make(tmp_path, Hurried())
    await hurried.open()
    try:
        seldom = TaskQuery(owner.id, metadata=(("z", "same"),), lane="nowhere")
        with pytest.raises(Refused, match="given up") as refused:
            await hurried.tasks(seldom)
        assert refused.value.code == "search_too_long"
        assert await hurried.owner(owner.id) is not None, "what is looked up goes on"
    finally:
        await hurried.close()


async def test_on_postgresql_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: Any) -> None:
    adapter, clock = ADAPTERS["postgres"], ManualClock()
    monkeypatch.setattr(session, "SEARCH_SECONDS", 0.05)
    store = adapter.make(tmp_path, clock)
    await store.open()
    try:
        world = World(store, clock, adapter, tmp_path)
        owner = await world.owner()
        await world.submit(owner)
        with psycopg.connect(store._link._url) as other:  # type: ignore[attr-defined]  # whatever holds it up
            other.execute("LOCK TABLE task IN ACCESS EXCLUSIVE MODE")
            with pytest.raises(Refused, match="given up"):
                await store.tasks(TaskQuery(owner.id))
            assert await store.owner(owner.id) is not None
        assert len((await store.tasks(TaskQuery(owner.id))).tasks) == 1
    finally:
        await store.close()
