"""The background duties: each does a bounded piece of work, and no more than its work."""

import msgspec
import pytest

from tasks_server.domain import lifecycle, limits
from tasks_server.domain.attempt import Attempt, OutcomeKind
from tasks_server.domain.owner import Owner
from tasks_server.domain.request import TaskConfig
from tasks_server.domain.task import FINAL, NewTask, State, Task
from tasks_server.engine.reports import report_of
from tasks_server.store.ports import Duplicate, Inserted
from tasks_server.store.settling import Lost, Report

from .world import FAILURE, LEASE_MS, SUCCESS, World

# Rescue


async def test_a_lease_that_is_over_is_rescued_and_not_before(world: World, owner: Owner) -> None:
    task = await world.submit(owner)
    claim = await world.claim_one()
    started = world.now
    for _ in range(LEASE_MS // 1_000 - 1):  # as a rescuer looks
        world.clock.advance(1_000)
        assert await world.rescue(10) == 0
    assert await world.state(task) is State.RUNNING
    rescued = 0
    while not rescued:
        world.clock.advance(1_000)
        rescued = await world.rescue(10)
    assert rescued == 1
    assert LEASE_MS <= world.now - started <= LEASE_MS + 2_000
    found = await world.read(task)
    assert (found.state, found.due_at, found.execution_at) == (State.AVAILABLE, claim.due_at, claim.due_at)
    (attempt,) = await world.store.attempts(None, task.id)
    assert (attempt.number, attempt.outcome, attempt.status_code) == (1, OutcomeKind.LOST, 0)
    assert (attempt.started_at, attempt.ended_at) == (started, world.now)
    assert await world.rescue(10) == 0
    assert await world.in_queue(owner) == 1
    await world.check_counters()


async def test_a_lost_attempt_counts_no_failure_and_loses_no_repeat(world: World, owner: Owner) -> None:
    task = await world.submit(owner, priority=3)
    config = TaskConfig(retry=2, retry_interval=1, repeat=1, repeat_interval=1)
    await world.settle(await world.claim_one(), SUCCESS, config)
    await world.settle(await world.claim_one(horizon=world.now + 100), FAILURE, config)
    await world.claim_one(horizon=world.now + 100)
    await world.leases_end()
    claim = await world.claim_one()
    assert (claim.id, claim.attempt, claim.failures, claim.repeats) == (task.id, 4, 1, 1)
    assert (claim.status_code, claim.error) == (503, "Service Unavailable")


async def test_what_becomes_of_a_lost_task_is_decided_outside_the_store(world: World, owner: Owner) -> None:
    """Whatever `lifecycle.settle` comes to, with all that it needs to know of the task."""
    expire_at = world.now + 10 * LEASE_MS
    task = await world.submit(owner, expire_at=expire_at)
    await world.settle(await world.claim_one(), FAILURE, TaskConfig(retry=5, retry_interval=1))
    world.clock.advance(100)
    claim = await world.claim_one()
    started = world.now
    for _ in range(LEASE_MS // 5_000):
        world.clock.advance(5_000)
        assert await world.rescue(10) == 0
    world.clock.advance(5_000)
    seen = []

    def decide(lost: Lost) -> Report:
        seen.append(lost)
        return report_of(lost, TaskConfig(retry=1, retry_interval=1), FAILURE, lost.started_at, world.now, 0.0)

    assert await world.store.rescue(world.now, 10, decide) == 1
    (lost,) = seen
    assert (lost.ref, lost.lease, lost.id, lost.lane) == (claim.ref, claim.lease, task.id, claim.lane)
    assert (lost.attempt, lost.due_at, lost.started_at) == (2, claim.due_at, started)
    assert (lost.failures, lost.repeats, lost.status_code, lost.error) == (1, 0, 503, FAILURE.error)
    assert lost.expire_at == expire_at
    found = await world.read(task)
    assert (found.state, found.failures, found.ended_at) == (State.FAILED, 2, world.now)
    assert [attempt.outcome for attempt in await world.store.attempts(None, task.id)] == [FAILURE.kind] * 2
    assert await world.in_queue(owner) == 0
    await world.check_counters()


async def test_rescue_is_bounded(world: World, owner: Owner) -> None:
    await world.submit_many(owner, 25)
    await world.claim()
    assert await world.leases_end(0) == 0
    assert [await world.rescue(10) for _ in range(4)] == [10, 10, 5, 0]
    assert len(await world.claim()) == 25
    await world.check_counters()


# Expire


@pytest.mark.parametrize("state", [state for state in State if state not in FINAL])
async def test_a_task_that_did_not_start_in_time_fails(world: World, owner: Owner, state: State) -> None:
    expire_at = world.now + 90_000
    task_id = await world.bring_to(state, owner)

    def limit(task: Task, now: int) -> Task:
        return msgspec.structs.replace(task, expire_at=expire_at)

    await world.steer(task_id, limit)
    before = await world.read(task_id)
    world.clock.advance(89_999)
    assert await world.store.expire(world.now, 10) == 0
    world.clock.advance(1)
    if state is State.RUNNING:  # it has started; whoever runs it settles it
        assert await world.store.expire(world.now, 10) == 0
        assert await world.read(task_id) == before
        return
    assert await world.store.expire(world.now, 10) == 1
    found = await world.read(task_id)
    assert (found.state, found.ended_at, found.error) == (State.FAILED, world.now, lifecycle.EXPIRED_ERROR)
    assert (await world.store.events(None, task_id))[-1].kind == "expired"
    assert await world.in_queue(owner) == 0
    assert await world.store.expire(world.now, 10) == 0
    assert await world.claim() == []
    await world.check_counters()


@pytest.mark.parametrize("state", sorted(FINAL))
async def test_what_has_ended_does_not_expire(world: World, owner: Owner, state: State) -> None:
    task = await world.submit(owner, expire_at=world.now + 10)
    if state is State.REVOKED:
        await world.steer(task, lifecycle.revoke)
    else:
        await world.settle(await world.claim_one(), SUCCESS if state is State.COMPLETED else FAILURE)
    world.clock.advance(100)
    assert await world.store.expire(world.now, 10) == 0
    assert await world.state(task) is state


async def test_expire_is_bounded_and_takes_the_oldest_first(world: World, owner: Owner) -> None:
    tasks = [await world.submit(owner, expire_at=world.now + 100 - number) for number in range(25)]
    world.clock.advance(100)
    assert await world.store.expire(world.now, 10) == 10
    states = [await world.state(task) for task in tasks]
    assert states == [State.AVAILABLE] * 15 + [State.FAILED] * 10
    assert [await world.store.expire(world.now, 10) for _ in range(3)] == [10, 5, 0]
    await world.check_counters()


# Prune


async def drain(world: World, before: int, limit: int = 1_000) -> int:
    """Prunes until there is nothing left to prune; how many went."""
    total = 0
    for _ in range(100):
        count = await world.store.prune(before, limit)
        if not count:
            return total
        total += count
    raise AssertionError("prune never comes to its end")


@pytest.mark.parametrize("state", list(State))
async def test_final_tasks_go_when_they_are_old_and_no_others(world: World, owner: Owner, state: State) -> None:
    empty = await world.adapter.rows(world.store)
    task_id = await world.bring_to(state, owner)
    ended = (await world.read(task_id)).ended_at
    await drain(world, ended)
    assert await world.store.task(None, task_id) is not None
    await drain(world, world.now + 10**9)
    if state not in FINAL:
        assert await world.state(task_id) is state
        return
    assert await world.store.task(None, task_id) is None
    assert set(await world.adapter.rows(world.store) - empty) <= {"lane", "counter"}
    await world.check_counters()


async def test_prune_is_bounded_and_comes_to_its_end(world: World, owner: Owner) -> None:
    await world.submit_many(owner, 30, metadata={"a": "b"})
    await world.settle(await world.claim())
    world.clock.advance(1)
    left = 30
    for _ in range(3):
        assert await world.store.prune(world.now, 10) >= 10
        real = sum((await world.adapter.books(world.store))[1].values())
        assert left - 10 == real
        left = real
    assert await drain(world, world.now, 10) == 0
    assert "metadata" not in await world.adapter.rows(world.store)
    await world.check_counters()


async def test_a_task_that_lives_long_loses_its_old_attempts_but_the_last(world: World, owner: Owner) -> None:
    task = await world.submit(owner)
    config = TaskConfig(repeat=10, repeat_interval=1_000, repeat_exponential=False)
    for _ in range(5):
        await world.settle(await world.claim_one(), SUCCESS, config)
        world.clock.advance(1_000)
    first = (await world.store.attempts(None, task.id))[0]
    assert await drain(world, first.ended_at) == 0
    if not world.adapter.history_by_day:
        assert await drain(world, first.ended_at + 1) == 1
        assert [attempt.number for attempt in await world.store.attempts(None, task.id)] == [2, 3, 4, 5]
    await drain(world, world.now + 10**9)
    (last,) = await world.store.attempts(None, task.id)
    assert isinstance(last, Attempt)
    assert last.number == 5
    assert await world.state(task) is State.SCHEDULED


async def test_idempotency_keys_are_forgotten_by_their_own_time(world: World, owner: Owner) -> None:
    def keyed() -> NewTask:
        return world.task(owner, idempotency_key="k", idempotency_digest=b"d")

    await world.store.insert(keyed())
    world.clock.advance(limits.IDEMPOTENCY_KEPT_MS - 1)
    await drain(world, 0)
    assert isinstance(await world.store.insert(keyed()), Duplicate)
    world.clock.advance(1)
    await drain(world, 0)
    assert "idempotency" not in await world.adapter.rows(world.store)
    assert await world.store.insert(keyed()) == Inserted()


async def test_others_are_left_alone(world: World, owner: Owner, other: Owner) -> None:
    kept = [await world.bring_to(state, other) for state in (State.SCHEDULED, State.PAUSED, State.RETRYABLE)]
    await world.submit_many(owner, 5)
    await world.settle(await world.claim())
    await drain(world, world.now + 10**9)
    assert sum((await world.adapter.books(world.store))[1].values()) == 3
    assert [await world.state(task_id) for task_id in kept] == [State.SCHEDULED, State.PAUSED, State.RETRYABLE]


# Upkeep


async def test_a_sound_store_passes_its_check(world: World, owner: Owner) -> None:
    await world.submit_many(owner, 100)
    await world.store.check()


async def test_a_checkpoint_loses_nothing(world: World, owner: Owner) -> None:
    made = []
    for _ in range(10):
        made += await world.submit_many(owner, 1_000, spec=b"x" * 2_000)
        await world.store.checkpoint()
    assert await world.in_queue(owner) == 10_000
    assert await world.store.spec(None, made[0]) == b"x" * 2_000
    await world.store.check()
