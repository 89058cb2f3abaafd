"""Leases while clocks are set: a living worker keeps what it has in work, what a dead one had is taken back."""

import pytest

from tasks_server.domain.leases import RENEWED_SECONDS
from tasks_server.domain.owner import Owner
from tasks_server.domain.task import State

from .world import LEASE_MS, LEASES_END_MS, World

HOUR = 3_600_000
JUMPS = [HOUR, -HOUR, 24 * HOUR, -24 * HOUR]


@pytest.mark.parametrize("by", JUMPS)
async def test_calls_of_a_living_worker_outlast_a_clock_that_is_set(world: World, owner: Owner, by: int) -> None:
    await world.submit_many(owner, 3)
    claims = await world.claim()
    leases = [(claim.ref, claim.lease) for claim in claims]
    assert await world.rescue(10) == 0
    for second in range(90):
        world.clock.advance(1_000)
        if second == 15:
            world.clock.set(by)
        if (second + 1) % RENEWED_SECONDS == 0:
            assert await world.store.extend(leases, world.now + LEASE_MS) == set()
        assert await world.rescue(10) == 0
    await world.settle(claims)
    await world.check_counters()


@pytest.mark.parametrize("by", JUMPS)
async def test_what_a_worker_forgot_is_taken_back_whatever_the_clock_did(world: World, owner: Owner, by: int) -> None:
    task = await world.submit(owner)
    await world.claim_one()
    world.clock.set(by)
    assert await world.leases_end() == 1
    assert await world.state(task) is State.AVAILABLE


@pytest.mark.parametrize("by", JUMPS)
async def test_who_comes_later_finds_what_was_forgotten(world: World, owner: Owner, by: int) -> None:
    """A rescuer that has never looked before, after the clock was set."""
    await world.submit_many(owner, 30)
    await world.claim()
    world.clock.set(by)
    if world.adapter.shared:
        await world.store.close()
        await world.store.open()
    assert await world.leases_end(100) == 30


async def test_a_machine_that_was_suspended_takes_nothing_from_itself(world: World, owner: Owner) -> None:
    await world.submit(owner)
    claim = await world.claim_one()
    await world.rescue(10)
    world.clock.suspend(8 * HOUR)
    for _ in range(int(RENEWED_SECONDS)):
        assert await world.rescue(10) == 0
        world.clock.advance(1_000)
    assert await world.store.extend([(claim.ref, claim.lease)], world.now + LEASE_MS) == set()
    for _ in range(15):
        assert await world.rescue(10) == 0
        world.clock.advance(1_000)
    await world.settle(claim)


async def test_what_is_extended_in_the_last_moment_is_kept(world: World, owner: Owner) -> None:
    await world.submit(owner)
    claim = await world.claim_one()
    while world.now < claim.due_at + LEASE_MS - 1_000:
        world.clock.advance(1_000)
        assert await world.rescue(10) == 0
    assert await world.store.extend([(claim.ref, claim.lease)], world.now + LEASE_MS) == set()
    world.clock.advance(2_000)
    assert await world.rescue(10) == 0
    assert await world.leases_end() == 1
    assert world.now - claim.due_at <= LEASE_MS + LEASES_END_MS + 2_000
