"""Submitting: what is stored comes back, all or none, within the limit, once for an idempotency key."""

import asyncio

import msgspec
import pytest

from tasks_server.domain import limits
from tasks_server.domain.errors import StoreError
from tasks_server.domain.owner import Owner
from tasks_server.domain.task import NewTask, State
from tasks_server.store.ports import Duplicate, InsertAnswer, Inserted, QueueFull, TaskQuery, UnknownOwner

from .world import World

GONE = Owner("7" * 26, "never-made", 0)


async def test_a_task_comes_back_as_it_was_submitted(world: World, owner: Owner) -> None:
    metadata = {"order": "ü\u0000'\"\\", "$a.b[0]-": "x" * 512}
    task = world.task(
        owner,
        delay=90_000,
        priority=7,
        lane="slow",
        target="[::1]:8080",
        expire_at=world.now + 95_000,
        metadata=metadata,
    )
    spec = task.spec
    assert await world.store.insert(task) == Inserted()
    found = await world.store.task(owner.id, task.id)
    assert found is not None
    assert msgspec.structs.asdict(found) == {
        "id": task.id, "owner": owner.id, "lane": "slow", "state": State.SCHEDULED, "priority": 7,
        "created_at": world.now, "due_at": world.now + 90_000, "execution_at": world.now + 90_000, "ended_at": 0,
        "attempt": 0, "failures": 0, "repeats": 0, "status_code": 0, "error": None, "remaining_ms": 90_000,
        "expire_at": world.now + 95_000, "target": "[::1]:8080", "forced": False,
        "metadata": {key: value.replace("\0", world.adapter.nul) for key, value in metadata.items()},
        "response": None, "response_truncated": False, "outcome": None, "schedule": None, "fire_at": 0, "held_by": None,
        "callback_of": None,
        "unreadable": None,
    }  # fmt: skip
    assert await world.store.spec(owner.id, task.id) == spec
    assert await world.store.attempts(owner.id, task.id) == []
    assert await world.store.events(owner.id, task.id) == []


@pytest.mark.parametrize(
    "spec", [b"", b"\x00", bytes(range(256)), b"\xff" * 100_000], ids=["empty", "nul", "all", "long"]
)
async def test_any_bytes_are_a_spec(world: World, owner: Owner, spec: bytes) -> None:
    task = await world.submit(owner, spec=spec)
    assert await world.store.spec(None, task.id) == spec


async def test_what_is_handed_in_is_left_as_it_was(world: World, owner: Owner) -> None:
    task = world.task(owner)
    before = msgspec.structs.asdict(task)
    await world.store.insert(task)
    assert msgspec.structs.asdict(task) == before


async def test_inserts_that_arrive_together(world: World, owner: Owner, other: Owner) -> None:
    tasks = [world.task(owner if number % 2 else other, delay=number) for number in range(100)]
    assert await asyncio.gather(*map(world.store.insert, tasks)) == [Inserted()] * 100
    for task in tasks:
        assert (await world.read(task)).owner == task.owner
    assert (await world.in_queue(owner), await world.in_queue(other)) == (50, 50)
    await world.check_counters()


async def test_an_unknown_owner_gets_nothing_stored(world: World) -> None:
    task = world.task(GONE)
    assert await world.store.insert(task) == UnknownOwner()
    assert await world.store.insert_batch([world.task(GONE), world.task(GONE)]) == UnknownOwner()
    assert await world.store.task(None, task.id) is None
    assert not (await world.adapter.books(world.store))[1]


async def test_a_deleted_owner_is_unknown(world: World, owner: Owner) -> None:
    assert await world.store.delete_owner(owner.id)
    assert await world.store.insert(world.task(owner)) == UnknownOwner()


async def test_an_id_that_exists_is_refused_and_its_neighbours_are_stored(world: World, owner: Owner) -> None:
    first = await world.submit(owner)
    again = world.task(owner, id=first.id, spec=b"another")
    before, after = world.task(owner), world.task(owner)
    answers = await asyncio.gather(*map(world.store.insert, (before, again, after)), return_exceptions=True)
    assert answers[0] == answers[2] == Inserted()
    assert isinstance(answers[1], StoreError)
    assert await world.store.spec(None, first.id) != b"another"
    assert await world.in_queue(owner) == 3
    await world.check_counters()


# Batches


async def test_a_batch_is_stored_in_its_order(world: World, owner: Owner) -> None:
    made = await world.submit_many(owner, 1_000, delay=5_000)
    page = await world.store.tasks(TaskQuery(owner.id, limit=1_000))
    assert [task.id for task in page.tasks] == made


async def test_a_batch_over_the_limit_stores_none(world: World) -> None:
    small = await world.owner(limit=10)
    await world.submit_many(small, 8)
    batch = [world.task(small) for _ in range(3)]
    assert await world.store.insert_batch(batch) == QueueFull(10)
    assert await world.in_queue(small) == 8
    for task in batch:
        assert await world.store.task(None, task.id) is None
    assert await world.store.insert_batch([world.task(small), world.task(small)]) == Inserted()


async def test_a_batch_with_one_bad_task_stores_none(world: World, owner: Owner) -> None:
    first = await world.submit(owner)
    batch = [world.task(owner), world.task(owner, id=first.id), world.task(owner)]
    with pytest.raises(StoreError):
        await world.store.insert_batch(batch)
    assert await world.in_queue(owner) == 1
    assert await world.store.task(None, batch[0].id) is None


# The limit


async def test_the_limit_holds_for_inserts_that_arrive_together(world: World) -> None:
    small = await world.owner(limit=5)
    answers = await asyncio.gather(*(world.store.insert(world.task(small)) for _ in range(20)))
    assert answers == [Inserted()] * 5 + [QueueFull(5)] * 15
    assert await world.in_queue(small) == 5


async def test_a_task_that_ends_or_goes_makes_room(world: World) -> None:
    small = await world.owner(limit=1)
    first = await world.submit(small)
    assert await world.store.insert(world.task(small)) == QueueFull(1)
    await world.settle(await world.claim_one())
    second = await world.submit(small)
    assert await world.store.delete(None, second.id)
    await world.submit(small)
    assert await world.state(first) is State.COMPLETED


async def test_a_limit_that_is_changed_counts_at_once(world: World) -> None:
    small = await world.owner(limit=1)
    await world.submit(small)
    assert await world.set_limit(small.id, 2)
    await world.submit(small)
    assert await world.set_limit(small.id, 0)
    assert await world.store.insert(world.task(small)) == QueueFull(0)


# Idempotency


def keyed(world: World, owner: Owner, key: str = "k", body: bytes = b"body") -> NewTask:
    return world.task(owner, idempotency_key=key, idempotency_digest=body)


def duplicate_of(answer: InsertAnswer, *, same_body: bool) -> str:
    """The id of the task that the answer points to."""
    assert isinstance(answer, Duplicate)
    assert answer.same_body is same_body
    return answer.task.id


async def test_a_key_used_again_answers_the_first_task(world: World, owner: Owner) -> None:
    first = keyed(world, owner)
    assert await world.store.insert(first) == Inserted()
    again, different = keyed(world, owner), keyed(world, owner, body=b"other")
    assert duplicate_of(await world.store.insert(again), same_body=True) == first.id
    assert duplicate_of(await world.store.insert(different), same_body=False) == first.id
    assert await world.store.task(None, again.id) is None
    assert await world.in_queue(owner) == 1


async def test_the_first_task_is_answered_as_it_is_now(world: World, owner: Owner) -> None:
    await world.store.insert(keyed(world, owner))
    await world.settle(await world.claim_one())
    answer = await world.store.insert(keyed(world, owner))
    assert isinstance(answer, Duplicate)
    assert (answer.task.state, answer.task.status_code) == (State.COMPLETED, 200)


async def test_one_key_at_one_moment_makes_one_task(world: World, owner: Owner) -> None:
    tasks = [keyed(world, owner) for _ in range(10)] + [keyed(world, owner, body=b"other")]
    answers = await asyncio.gather(*map(world.store.insert, tasks))
    assert answers[0] == Inserted()
    assert {duplicate_of(answer, same_body=True) for answer in answers[1:10]} == {tasks[0].id}
    assert duplicate_of(answers[10], same_body=False) == tasks[0].id


async def test_a_key_of_a_batch_stands_for_all_of_it(world: World, owner: Owner) -> None:
    first = [keyed(world, owner), world.task(owner), world.task(owner)]
    again = [keyed(world, owner), world.task(owner), world.task(owner)]
    ids = tuple(task.id for task in first)
    answers = await asyncio.gather(world.store.insert_batch(first), world.store.insert_batch(again))
    assert answers[0] == Inserted()
    for answer in (
        answers[1],
        await world.store.insert_batch(again),
        await world.store.replay(owner.id, "k", b"body", world.now),
    ):
        assert isinstance(answer, Duplicate)
        assert (answer.task.id, answer.same_body, answer.ids) == (ids[0], True, ids)
    assert await world.in_queue(owner) == 3
    await world.store.delete(owner.id, ids[0])
    left = await world.store.insert_batch(again)
    assert isinstance(left, Duplicate)
    assert (left.task.id, left.ids) == (ids[1], ids)
    for task_id in ids[1:]:
        await world.store.delete(owner.id, task_id)
    assert await world.store.insert_batch(again) == Inserted()


async def test_keys_of_different_owners_are_different_keys(world: World, owner: Owner, other: Owner) -> None:
    assert await world.store.insert(keyed(world, owner)) == Inserted()
    assert await world.store.insert(keyed(world, other)) == Inserted()
    assert await world.store.insert(keyed(world, owner, key="K")) == Inserted()


async def test_a_key_is_forgotten_after_a_day(world: World, owner: Owner) -> None:
    first = keyed(world, owner)
    await world.store.insert(first)
    world.clock.advance(limits.IDEMPOTENCY_KEPT_MS - 1)
    assert duplicate_of(await world.store.insert(keyed(world, owner)), same_body=True) == first.id
    world.clock.advance(1)
    second = keyed(world, owner)
    assert await world.store.insert(second) == Inserted()
    world.clock.advance(limits.IDEMPOTENCY_KEPT_MS - 1)
    assert duplicate_of(await world.store.insert(keyed(world, owner)), same_body=True) == second.id


async def test_a_task_that_was_refused_does_not_use_its_key_up(world: World) -> None:
    small = await world.owner(limit=0)
    assert await world.store.insert(keyed(world, small)) == QueueFull(0)
    await world.set_limit(small.id, 1)
    first = keyed(world, small)
    assert await world.store.insert(first) == Inserted()
    assert duplicate_of(await world.store.insert(keyed(world, small)), same_body=True) == first.id


async def test_the_key_of_a_deleted_task_may_be_used_again(world: World, owner: Owner) -> None:
    first = keyed(world, owner)
    await world.store.insert(first)
    await world.store.delete(None, first.id)
    assert await world.store.insert(keyed(world, owner)) == Inserted()


async def test_the_key_of_a_deleted_task_never_points_to_another_task(world: World, owner: Owner, other: Owner) -> None:
    first = keyed(world, owner)
    await world.store.insert(first)
    await world.store.delete(None, first.id)
    await world.submit(other)
    assert await world.store.insert(keyed(world, owner)) == Inserted()
