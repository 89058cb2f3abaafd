"""Hints: they come to whoever waits, they are not lost between two waits, and they are never needed."""

import asyncio
import os
from pathlib import Path

from tasks_server.domain.owner import Owner
from tasks_server.domain.request import TaskConfig
from tasks_server.store.ports import Hints
from tasks_server.store.sqlite.nodes import Nodes
from tasks_server.store.sqlite.store import SqliteStore

from .world import FAILURE, World

NOTHING = Hints()


async def test_a_hint_ends_the_wait(world: World) -> None:
    await world.listening()
    waiting = asyncio.ensure_future(world.store.wait(60))
    await asyncio.sleep(0)
    world.store.hint_cancel()
    assert await waiting == Hints(cancelled=True)


async def test_hints_that_came_before_are_told_once_with_the_earliest_instant(world: World) -> None:
    await world.listening()
    world.store.hint_work(3_000)
    world.store.hint_cancel()
    world.store.hint_work(2_000)
    assert await world.store.wait(60) == Hints(2_000, cancelled=True)
    assert await world.store.wait(0) == NOTHING


async def test_no_hint_no_news(world: World) -> None:
    await world.listening()
    assert await world.store.wait(0) == NOTHING
    assert await world.store.wait(0.01) == NOTHING


async def test_a_task_that_is_due_soon_is_a_hint_and_a_later_one_is_none(world: World, owner: Owner) -> None:
    await world.listening()
    await world.submit(owner, delay=3_600_000)
    assert await world.store.wait(0) == NOTHING
    soon = await world.submit(owner, delay=5_000)
    assert await world.store.wait(60) == Hints(soon.due_at)
    batch = [world.task(owner, delay=3_600_000), world.task(owner)]
    await world.store.insert_batch(batch)
    assert await world.store.wait(60) == Hints(batch[1].due_at)


async def test_a_task_that_was_refused_is_no_hint(world: World) -> None:
    small = await world.owner(limit=0)
    await world.listening()
    await world.store.insert(world.task(small))
    assert await world.store.wait(0) == NOTHING


async def test_hints_that_nobody_waits_for_take_no_room(world: World, owner: Owner) -> None:
    await world.listening()
    for delay in range(200):
        await world.submit(owner, delay)
        world.store.hint_cancel()
    if isinstance(world.store, SqliteStore):
        assert len(world.store._nodes._hints) <= 2
    assert await world.store.wait(60) == Hints(world.now, True)


async def test_a_retry_is_a_hint_with_its_time(world: World, owner: Owner) -> None:
    await world.listening()
    await world.submit(owner)
    claim = await world.claim_one()
    await world.store.wait(60)
    await world.settle(claim, FAILURE, TaskConfig(retry=1, retry_interval=7_000))
    assert await world.store.wait(60) == Hints(world.now + 7_000)


async def test_the_end_of_a_task_is_no_hint(world: World, owner: Owner) -> None:
    await world.listening()
    await world.submit(owner)
    claim = await world.claim_one()
    await world.store.wait(60)
    await world.settle(claim)
    assert await world.store.wait(0) == NOTHING


async def test_what_was_rescued_is_a_hint(world: World, owner: Owner) -> None:
    await world.listening()
    await world.submit(owner)
    await world.claim_one()
    await world.store.wait(60)
    assert await world.leases_end() == 1
    assert await world.store.wait(60) == Hints(world.now)


async def test_who_looks_for_its_peers_removes_nothing_but_pipes(tmp_path: Path) -> None:
    nodes = Nodes(tmp_path / "db")
    nodes.open()
    number = nodes.join()
    folder = tmp_path / "db.nodes"
    (folder / "4711").write_text("of somebody else")
    os.mkfifo(folder / "4712")  # left by one that died
    assert nodes.alive() == {number}
    nodes.close()
    assert [path.name for path in folder.iterdir()] == ["4711"]
    assert (folder / "4711").read_text() == "of somebody else"
