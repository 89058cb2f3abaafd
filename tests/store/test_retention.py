"""History is kept for as long as its owner wants, else for as long as the operator keeps all."""

import msgspec
import pytest

from tasks_server.domain import limits
from tasks_server.domain.attempt import Redirected
from tasks_server.domain.owner import Owner
from tasks_server.domain.request import TaskConfig
from tasks_server.store.journal import LogQuery

from .test_journal import entries, run
from .world import SUCCESS, World

DAY = limits.DAY_MS


async def prune(world: World, limit: int = 1_000) -> None:
    """As often as there is something to do, with three days for whoever has no retention of its own."""
    for _ in range(200):
        if not await world.store.prune(world.now - 3 * DAY, limit):
            return
    raise AssertionError("prune never comes to its end")


async def ages(world: World, owner: Owner) -> list[int]:
    """How many days ago each attempt in the owner's log ended, the youngest first."""
    return [(world.now - entry.attempt.ended_at) // DAY for entry in await entries(world, LogQuery(owner.id, 100))]


async def grown(world: World, *owners: Owner, days: int) -> None:
    """Each owner gets a task a day, the first of them at once, and the last of them a day ago."""
    for _ in range(days):
        for owner in owners:
            await run(world, owner, 1)
        world.clock.advance(DAY)


async def test_each_owner_keeps_what_it_wants(world: World, owner: Owner, other: Owner) -> None:
    short = await world.owner("short-owner")
    assert await world.set_retention(owner.id, 6 * DAY)
    assert await world.set_retention(short.id, DAY + DAY // 2)
    await grown(world, owner, other, short, days=9)
    await prune(world)
    assert await ages(world, owner) == [1, 2, 3, 4, 5, 6]
    assert await ages(world, other) == [1, 2, 3]
    assert await ages(world, short) == [1]
    real = sum((await world.adapter.books(world.store))[1].values())
    assert real == 6 + 3 + 1
    await world.check_counters()


async def test_no_row_of_what_is_gone_stays(world: World, owner: Owner, other: Owner) -> None:
    await world.set_retention(owner.id, 6 * DAY)
    await world.set_retention(other.id, limits.HOUR_MS)
    await grown(world, owner, other, days=2)
    for _ in range(6):
        await prune(world)
        world.clock.advance(DAY)
    await prune(world)
    rows = await world.adapter.rows(world.store)
    assert not {"task", "request", "attempt"} & set(rows), rows


async def test_a_page_of_what_was_kept_is_whole(world: World, owner: Owner, other: Owner) -> None:
    await world.set_retention(owner.id, 30 * DAY)
    for _ in range(12):
        await run(world, owner, 20)
        await run(world, other, 20)
        world.clock.advance(DAY)
        await prune(world, 7)
    found = await entries(world, LogQuery(owner.id, 13))
    assert len(found) == 240
    ends = [entry.attempt.ended_at for entry in found]
    assert ends == sorted(ends, reverse=True)
    assert {(await world.read(entry.task)).state for entry in found[::40]}
    assert len(await world.store.attempts(owner.id, found[-1].task)) == 1


async def test_a_change_holds_from_then_on(world: World, owner: Owner) -> None:
    await world.set_retention(owner.id, 9 * DAY)
    await grown(world, owner, days=8)
    await prune(world)
    assert len(await ages(world, owner)) == 8
    await world.set_retention(owner.id, 5 * DAY)
    await prune(world)
    assert await ages(world, owner) == [1, 2, 3, 4, 5]
    await world.set_retention(owner.id, None)
    await prune(world)
    assert await ages(world, owner) == [1, 2, 3]
    await world.set_retention(owner.id, 7 * DAY)
    await grown(world, owner, days=3)
    await prune(world)
    assert await ages(world, owner) == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("days", [None, 1, 9])
async def test_a_task_that_lives_on_keeps_its_last_attempt(world: World, owner: Owner, days: int | None) -> None:
    await world.set_retention(owner.id, None if days is None else days * DAY)
    config = TaskConfig(repeat=20, repeat_interval=DAY, repeat_exponential=False)
    task = await world.submit(owner)
    led = Redirected(1, "GET", "http://a.test/")
    for _ in range(6):
        await world.settle(await world.claim_one(), msgspec.structs.replace(SUCCESS, redirected=led), config)
        world.clock.advance(DAY)
    await prune(world)
    assert {attempt.redirected for attempt in await world.store.attempts(None, task.id)} == {led}
    kept = [attempt.number for attempt in await world.store.attempts(None, task.id)]
    assert kept == {None: [4, 5, 6], 1: [6], 9: [1, 2, 3, 4, 5, 6]}[days]
    await world.claim_one()
    world.clock.advance(20 * DAY)
    await prune(world)
    assert [attempt.number for attempt in await world.store.attempts(None, task.id)] == [6]
    assert (await world.read(task)).attempt == 7


async def test_what_has_to_stay_does_not_hold_up_what_may_go(world: World, owner: Owner) -> None:
    """Many living tasks with an old last attempt, and behind them one that may go: each step is bounded."""
    await world.set_retention(owner.id, DAY)
    config = TaskConfig(repeat=2, repeat_interval=90 * DAY, repeat_exponential=False)
    await world.submit_many(owner, 40)
    await world.settle(await world.claim(), SUCCESS, config)
    again = TaskConfig(repeat=2, repeat_interval=limits.HOUR_MS, repeat_exponential=False)
    task = await world.submit(owner)
    for _ in range(2):
        await world.settle(await world.claim_one(), SUCCESS, again)
        world.clock.advance(limits.HOUR_MS)
    world.clock.advance(DAY)
    for _ in range(10):
        await world.store.prune(world.now - 3 * DAY, 10)
    assert [attempt.number for attempt in await world.store.attempts(None, task.id)] == [2]
    assert len(await entries(world, LogQuery(owner.id, 100))) == 41


async def test_a_deleted_owner_leaves_nothing_however_long_it_kept(world: World, owner: Owner) -> None:
    before = await world.adapter.rows(world.store)
    keeper = await world.owner("long-keeper")
    await world.set_retention(keeper.id, 100 * DAY)
    await grown(world, keeper, days=7)
    await prune(world)
    assert len(await ages(world, keeper)) == 7
    await world.store.delete_owner(keeper.id)
    await prune(world)
    await prune(world)
    assert await world.adapter.rows(world.store) == before


async def test_an_owner_says_what_it_keeps(world: World, owner: Owner) -> None:
    assert owner.retention_ms is None
    assert await world.set_retention(owner.id, 5)
    for found in (await world.store.owner(owner.id), await world.store.owner_by_name(owner.name)):
        assert found is not None
        assert found.retention_ms == 5
    assert [one.retention_ms for one in await world.store.owners()] == [5]
    assert not await world.set_retention("7" * 26, 5)
