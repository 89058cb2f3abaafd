"""Settling: an attempt's end is recorded where the lease holds, and refused where it does not, in every case."""

from collections.abc import Awaitable, Callable, Mapping, Sequence

import msgspec
import pytest

from tasks_server.domain import lifecycle
from tasks_server.domain.attempt import Attempt, Outcome, OutcomeKind
from tasks_server.domain.owner import Owner
from tasks_server.domain.request import TaskConfig
from tasks_server.domain.task import State
from tasks_server.store.ports import Claim, Group, Quota, TaskQuery

from .world import FAILURE, INTERRUPTED, LEASE_MS, SUCCESS, World, up_to


async def test_success_completes_and_is_recorded(world: World, owner: Owner) -> None:
    task = await world.submit(owner)
    claim = await world.claim_one()
    started = world.now
    world.clock.advance(40)
    report = world.report(claim, Outcome(OutcomeKind.SUCCESS, 201, response=b"made"))
    assert report.attempt is not None
    report.attempt.started_at = started
    assert await world.store.settle([report]) == set()
    found = await world.read(task)
    assert (found.state, found.ended_at, found.status_code) == (State.COMPLETED, world.now, 201)
    assert (found.execution_at, found.response, found.error) == (started, b"made", None)
    assert await world.store.attempts(None, task.id) == [
        Attempt(1, claim.due_at, started, world.now, OutcomeKind.SUCCESS, 201)
    ]
    assert await world.in_queue(owner) == 0
    await world.check_counters()


async def test_failure_waits_for_its_retry(world: World, owner: Owner) -> None:
    task = await world.submit(owner)
    await world.settle(await world.claim_one(), FAILURE, TaskConfig(retry=1, retry_interval=7_000))
    found = await world.read(task)
    assert (found.state, found.due_at, found.execution_at) == (State.RETRYABLE, world.now + 7_000, world.now + 7_000)
    assert (found.failures, found.status_code, found.error, found.ended_at) == (1, 503, "Service Unavailable", 0)
    assert await world.in_queue(owner) == 1
    await world.check_counters()


async def test_a_repeat_waits_for_its_time(world: World, owner: Owner) -> None:
    task = await world.submit(owner)
    await world.settle(await world.claim_one(), SUCCESS, TaskConfig(repeat=1, repeat_interval=7_000))
    found = await world.read(task)
    assert (found.state, found.repeats, found.due_at) == (State.SCHEDULED, 1, world.now + 7_000)
    world.clock.advance(7_000)
    claim = await world.claim_one()
    assert (claim.attempt, claim.repeats) == (2, 1)


async def test_what_is_given_back_is_in_line_as_it_was(world: World, owner: Owner) -> None:
    task = await world.submit(owner, priority=6)
    claim = await world.claim_one()
    world.clock.advance(900)
    await world.settle(claim, INTERRUPTED)
    found = await world.read(task)
    assert (found.state, found.due_at, found.failures, found.status_code) == (State.AVAILABLE, claim.due_at, 0, 0)
    again = await world.claim_one()
    assert (again.attempt, again.due_at, again.failures) == (2, claim.due_at, 0)


async def test_a_forced_task_returns_to_its_own_priority(world: World, owner: Owner) -> None:
    task = await world.submit(owner, 60_000, priority=6)
    await world.steer(task, lifecycle.execute)
    await world.settle(await world.claim_one(), INTERRUPTED)
    await world.submit(owner, priority=7)
    urgencies: list[int] = []

    def choose(groups: Sequence[Group], lanes: Mapping[int, int]) -> Sequence[Quota]:
        urgencies.extend(group.urgency for group in groups)
        return ()

    await world.look(choose)
    assert urgencies == [2, 3]


async def test_nothing_to_record_is_recorded_as_nothing(world: World, owner: Owner) -> None:
    task = await world.submit(owner)
    report = world.report(await world.claim_one())
    report.attempt = None
    assert await world.store.settle([report]) == set()
    assert await world.state(task) is State.COMPLETED
    assert await world.store.attempts(None, task.id) == []


async def test_a_batch_of_many_owners_and_endings(world: World, owner: Owner, other: Owner) -> None:
    await world.submit_many(owner, 20)
    await world.submit_many(other, 20, lane="second")
    claims = await world.claim()
    config = TaskConfig(retry=1, retry_interval=60_000)
    kinds = [SUCCESS, FAILURE, INTERRUPTED, Outcome(OutcomeKind.BLOCKED, 403, "no")]
    reports = [world.report(claim, kinds[index % 4], config) for index, claim in enumerate(claims)]
    assert await world.store.settle(reports) == set()
    for index, claim in enumerate(claims):
        expected = (State.COMPLETED, State.RETRYABLE, State.AVAILABLE, State.FAILED)[index % 4]
        assert await world.state(claim) is expected
    assert await world.in_queue(owner) == await world.in_queue(other) == 10
    await world.check_counters()


async def test_an_empty_batch(world: World) -> None:
    assert await world.store.settle([]) == set()
    assert await world.store.extend([], world.now) == set()
    assert await world.store.held([]) == set()


# Late reports


async def rescued(world: World, claim: Claim) -> None:
    assert await world.leases_end() == 1


async def claimed_again(world: World, claim: Claim) -> None:
    await rescued(world, claim)
    assert (await world.claim_one()).id == claim.id


async def paused(world: World, claim: Claim) -> None:
    await world.steer(claim, lifecycle.pause)


async def resumed_and_claimed(world: World, claim: Claim) -> None:
    await paused(world, claim)
    await world.steer(claim, lifecycle.resume)
    assert (await world.claim_one()).id == claim.id


async def revoked(world: World, claim: Claim) -> None:
    await world.steer(claim, lifecycle.revoke)


async def restarted_and_claimed(world: World, claim: Claim) -> None:
    await revoked(world, claim)
    await world.steer(claim, lifecycle.restart)
    assert (await world.claim_one()).id == claim.id


async def settled(world: World, claim: Claim) -> None:
    await world.settle(claim, FAILURE)


async def deleted(world: World, claim: Claim) -> None:
    assert await world.store.delete(None, claim.id)


async def deleted_and_another_claimed(world: World, claim: Claim) -> None:
    await deleted(world, claim)
    owner = await world.store.owner_by_name("first-owner")
    assert owner is not None
    await world.submit(owner)
    await world.claim_one()


LOSSES = [
    rescued, claimed_again, paused, resumed_and_claimed, revoked, restarted_and_claimed, settled, deleted,
    deleted_and_another_claimed,
]  # fmt: skip


async def picture(world: World) -> list[tuple[bytes, ...]]:
    """All that is known of all tasks."""
    known = []
    for task in (await world.store.tasks(TaskQuery(None, limit=100))).tasks:
        full = await world.read(task.id)
        attempts, events = await world.store.attempts(None, task.id), await world.store.events(None, task.id)
        known.append((msgspec.msgpack.encode(full), msgspec.msgpack.encode(attempts), msgspec.msgpack.encode(events)))
    return known


@pytest.mark.parametrize("lose", LOSSES)
async def test_a_late_report_is_refused(
    world: World, owner: Owner, lose: Callable[[World, Claim], Awaitable[None]]
) -> None:
    await world.submit(owner)
    claim = await world.claim_one()
    await lose(world, claim)
    before = await picture(world)
    for outcome in (SUCCESS, FAILURE, INTERRUPTED):
        assert await world.store.settle([world.report(claim, outcome)]) == {claim.ref}
        assert await picture(world) == before
    assert await world.store.extend([(claim.ref, claim.lease)], world.now + 10**9) == {claim.ref}
    assert await world.store.held([(claim.ref, claim.lease)]) == set()
    assert await picture(world) == before
    await world.check_counters()


async def test_a_lost_lease_does_not_keep_its_neighbours_from_being_recorded(world: World, owner: Owner) -> None:
    await world.submit_many(owner, 10)
    claims = await world.claim()
    for claim in claims[::2]:
        await world.steer(claim, lifecycle.pause)
    assert await world.store.settle([world.report(claim) for claim in claims]) == {claim.ref for claim in claims[::2]}
    for index, claim in enumerate(claims):
        assert await world.state(claim) is (State.COMPLETED if index % 2 else State.PAUSED)
    await world.check_counters()


async def test_an_old_and_a_new_lease_of_one_task_in_one_batch(world: World, owner: Owner) -> None:
    task = await world.submit(owner)
    old = await world.claim_one()
    await rescued(world, old)
    new = await world.claim_one()
    reports = [world.report(new, SUCCESS), world.report(old, FAILURE)]
    await world.store.settle(reports)
    found = await world.read(task)
    assert (found.state, found.status_code) == (State.COMPLETED, 200)
    assert [attempt.outcome for attempt in await world.store.attempts(None, task.id)] == ["lost", "success"]
    assert await world.in_queue(owner) == 0
    await world.check_counters()


async def test_a_report_that_is_there_twice_counts_once(world: World, owner: Owner) -> None:
    task = await world.submit(owner)
    claim = await world.claim_one()
    await world.store.settle([world.report(claim, SUCCESS), world.report(claim, FAILURE)])
    assert await world.state(task) is State.COMPLETED
    assert len(await world.store.attempts(None, task.id)) == 1
    assert await world.in_queue(owner) == 0
    await world.check_counters()


# Leases


async def test_an_extended_lease_is_not_rescued(world: World, owner: Owner) -> None:
    await world.submit_many(owner, 3)
    claims = await world.claim()
    leases = [(claim.ref, claim.lease) for claim in claims[:2]]
    for _ in range(4):
        world.clock.advance(5_000)
        assert await world.rescue(10) == 0
    assert await world.store.extend(leases, world.now + LEASE_MS) == set()
    for _ in range(5):
        world.clock.advance(5_000)
        await world.rescue(10)
    assert await world.store.held([(claim.ref, claim.lease) for claim in claims]) == {ref for ref, _ in leases}
    assert await world.leases_end() == 2


async def test_extend_tells_the_lost_ones_and_extends_the_others(world: World, owner: Owner) -> None:
    await world.submit_many(owner, 2)
    kept, gone = await world.claim(up_to(2))
    await world.steer(gone, lifecycle.revoke)
    leases = [(kept.ref, kept.lease), (gone.ref, gone.lease), (kept.ref + 1_000, kept.lease)]
    assert await world.store.extend(leases, world.now + 10**6) == {gone.ref, kept.ref + 1_000}
    assert await world.rescue(10) == 0


async def test_somebody_elses_lease_is_not_held(world: World, owner: Owner) -> None:
    await world.submit(owner)
    claim = await world.claim_one()
    assert await world.store.held([(claim.ref, claim.lease + 1)]) == set()
    assert await world.store.extend([(claim.ref, claim.lease + 1)], world.now) == {claim.ref}
    assert await world.store.held([(claim.ref, claim.lease)]) == {claim.ref}
