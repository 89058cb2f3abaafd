"""An engine that follows the clock: what it tells, and what it leaves alone while the clock may be wrong."""

import pytest

from tasks_server.domain import limits
from tasks_server.domain.task import State

from .shop import Shop

HOUR = limits.HOUR_MS


def told(shop: Shop, event: bytes) -> list[bytes]:
    return [line for line in shop.lines if event in line]


async def keep(shop: Shop) -> None:
    while await shop.engine.keeper.tick():
        pass


async def finished(shop: Shop) -> str:
    """A task that has ended."""
    task_id = await shop.submit()
    await shop.look()
    shop.caller.end_all()
    await shop.settle()
    assert (await shop.task(task_id)).state is State.COMPLETED
    return task_id


@pytest.mark.parametrize("by", [HOUR, -HOUR, 24 * HOUR, -24 * HOUR])
async def test_that_the_clock_was_set_is_told_once(shop: Shop, by: int) -> None:
    await keep(shop)
    shop.clock.set(by)
    for _ in range(10):
        await keep(shop)
        shop.clock.advance(1_000)
    (line,) = told(shop, b"clock set")
    assert b"warning" in line
    assert f"by_ms={by}".encode() in line


async def test_what_was_put_right_is_told(shop: Shop) -> None:
    await keep(shop)
    shop.clock.set(HOUR)
    await shop.submit(delay=5_000)
    await keep(shop)
    shop.clock.set(-HOUR)
    await keep(shop)
    (line,) = told(shop, b"put right")
    assert b"waits=1  schedules=0" in line


async def test_after_the_clock_was_set_ahead_nothing_is_pruned_for_an_hour(shop: Shop) -> None:
    prune = next(duty for duty in shop.engine._duties if duty.name == "prune")
    task_id = await finished(shop)
    assert not await prune.tick(), "before anything is known of the clock"
    await keep(shop)
    shop.clock.set(30 * limits.DAY_MS)
    await prune.tick()
    await keep(shop)
    await prune.tick()
    assert await shop.store.task(None, task_id) is not None
    shop.clock.advance(HOUR + 5_000)
    await keep(shop)
    await prune.tick()
    assert await shop.store.task(None, task_id) is None
