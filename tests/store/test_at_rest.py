"""Encryption at rest: what tasks carry is in no byte of the store, and what was changed there is noticed."""

from typing import Any

import pytest

from tasks_server.clock import ManualClock
from tasks_server.domain import lifecycle
from tasks_server.domain.attempt import Outcome, OutcomeKind
from tasks_server.domain.bulk import BulkFilter
from tasks_server.domain.errors import Corrupt
from tasks_server.domain.forms import encode_spec
from tasks_server.domain.owner import Owner
from tasks_server.domain.request import HttpRequest, TaskConfig, TaskSpec
from tasks_server.domain.task import State, Task
from tasks_server.service.ground import Ground
from tasks_server.service.resealing import reseal_all
from tasks_server.service.tasks import TaskService
from tasks_server.store.journal import LogQuery
from tasks_server.store.ports import Change, Duplicate, TaskQuery
from tasks_server.store.sealing import key_id

from .adapters import ADAPTERS, MASTER, Adapter
from .world import World

MARKER = "Zs3crEtMaRk3r"
OTHER_MASTER = bytes(reversed(MASTER))


@pytest.fixture(params=[name for name, adapter in ADAPTERS.items() if adapter.shared])
def adapter(request: pytest.FixtureRequest) -> Adapter:
    """Those that keep what they have."""
    return ADAPTERS[request.param]


def marked_spec() -> bytes:
    request = HttpRequest(
        f"http://a.example/{MARKER}?q={MARKER}",
        "POST",
        query={"k": MARKER},
        headers={"Authorization": MARKER},
        data=MARKER,
    )
    return encode_spec(TaskSpec(request, TaskConfig(user_agent=MARKER)))


def assert_hidden(world: World) -> None:
    stored = world.adapter.stored(world.folder)
    assert len(stored) > 1_000
    for form in (MARKER, MARKER.encode().hex(), MARKER.encode().hex().upper()):
        assert form.encode() not in stored


async def test_requests_and_responses_are_in_no_byte_of_the_files(world: World, owner: Owner) -> None:
    await world.submit(owner, spec=marked_spec(), target="a.example:80")
    waiting = await world.submit(owner, 60_000, spec=marked_spec())

    def edit(before: Task, _: bytes) -> Change:
        return Change(lifecycle.pause(before, world.now), spec=marked_spec())

    await world.store.change(None, waiting.id, edit)
    claim = await world.claim_one()
    assert MARKER.encode() in claim.spec
    assert_hidden(world)  # the log of what is not yet in the file is a file too
    await world.settle(
        claim,
        Outcome(OutcomeKind.HTTP_ERROR, 500, response=MARKER.encode() * 9),
        TaskConfig(retry=1, retry_interval=100),
    )
    again = await world.claim_one(horizon=world.now + 100)
    await world.settle(again, Outcome(OutcomeKind.SUCCESS, 200, response=MARKER.encode()))
    assert_hidden(world)
    assert (await world.read(claim)).response == MARKER.encode()
    await world.store.close()
    assert_hidden(world)
    await world.store.open()
    assert await world.store.spec(None, waiting.id) == marked_spec()


async def test_idempotency_keys_and_digests_are_in_no_byte_of_the_files(
    world: World, owner: Owner, other: Owner
) -> None:
    keyed = {"idempotency_key": MARKER, "idempotency_digest": b"d" + MARKER.encode()}
    first = await world.submit(owner, **keyed)
    assert_hidden(world)
    again = await world.store.insert(world.task(owner, **keyed))
    assert isinstance(again, Duplicate)
    assert (again.task.id, again.same_body) == (first.id, True)
    replayed = await world.store.replay(owner.id, MARKER, b"another", world.now)
    assert replayed is not None
    assert (replayed.task.id, replayed.same_body) == (first.id, False)
    await world.submit(other, **keyed)
    names = [name for (name,) in await world.query("SELECT key FROM idempotency")]
    assert len(set(names)) == 2, "what two owners have in common cannot be seen"
    await world.store.close()
    assert_hidden(world)
    await world.store.open()


async def test_what_a_handler_raised_is_in_no_byte_of_the_files(world: World, owner: Owner) -> None:
    failure = Outcome(OutcomeKind.HANDLER_ERROR, 500, error=f"ValueError: {MARKER}")
    task = await world.submit(owner, target="@send")
    await world.settle(await world.claim_one(), failure, TaskConfig(retry=2, retry_interval=1_000))
    world.clock.advance(1_000)
    claim = await world.claim_one()
    assert claim.error == failure.error, "who takes it up again goes on with it"
    assert_hidden(world)
    await world.leases_end()  # what was lost keeps the error of the attempt before
    assert_hidden(world)
    assert await world.steer(task.id, lifecycle.pause)
    (attempt, *_) = await world.store.attempts(owner.id, task.id)
    assert attempt.error == failure.error
    page = await world.store.log(LogQuery(owner.id))
    assert failure.error in [entry.attempt.error for entry in page.entries]
    assert_hidden(world)
    await world.store.close()
    assert_hidden(world)
    await world.store.open()


async def test_bulk_work_finds_by_errors_that_are_sealed(world: World, owner: Owner) -> None:
    await world.submit_many(owner, 2)
    one, other = await world.claim()
    await world.settle(one, Outcome(OutcomeKind.HANDLER_ERROR, 500, error=f"ValueError: {MARKER}"))
    await world.settle(other, Outcome(OutcomeKind.HANDLER_ERROR, 500, error="KeyError"))
    asked = BulkFilter(states=(State.FAILED,), error=MARKER.lower())
    sighted = await world.store.sight_bulk(owner.id, asked, 0, 100)
    assert [task.id for task in sighted.found] == [one.id]
    listed = (await world.store.tasks(TaskQuery(owner.id))).tasks
    assert {task.error for task in listed} == {f"ValueError: {MARKER}", "KeyError"}
    assert_hidden(world)


async def test_what_versions_before_stored_in_clear_is_read(world: World, owner: Owner) -> None:
    task = await world.submit(owner, idempotency_key="later", idempotency_digest=b"d" * 32)
    await world.settle(await world.claim_one(), Outcome(OutcomeKind.HTTP_ERROR, 500, error="refused"))
    digest = world.adapter.blob(b"d" * 32)
    await world.query(f"UPDATE idempotency SET key = 'order-1', digest = {digest}")
    await world.query("UPDATE task SET error = 'in clear'")
    await world.query("UPDATE attempt SET error = 'in clear', facts = NULL")
    assert (await world.read(task)).error == "in clear"
    assert [attempt.error for attempt in await world.store.attempts(None, task.id)] == ["in clear"]
    for digest, same in ((b"d" * 32, True), (b"e" * 32, False)):
        again = await world.store.insert(world.task(owner, idempotency_key="order-1", idempotency_digest=digest))
        assert isinstance(again, Duplicate)
        assert (again.task.id, again.same_body) == (task.id, same)
        assert await world.store.replay(owner.id, "order-1", digest, world.now) == again
    await reseal_all(world.store, lambda seen, changed: None)
    assert set(await world.store.keys_used()) == {key_id(MASTER)}


async def test_a_damaged_error_is_told_and_a_damaged_memory_makes_no_second_task(world: World, owner: Owner) -> None:
    task = await world.submit(owner, idempotency_key="order-1", idempotency_digest=b"d")
    failure = Outcome(OutcomeKind.HTTP_ERROR, 503, error="no")
    await world.settle(await world.claim_one(), failure, TaskConfig(retry=1, retry_interval=1_000))
    for broken in ("sealed:", "sealed:zz", f"sealed:01{'00' * 60}"):
        await world.query(f"UPDATE task SET error = '{broken}'")
        read = await world.read(task)
        assert read.error is None
        assert "the last error of the task cannot be read" in (read.unreadable or "").lower()
        assert await world.store.keys_used()
    await world.query(f"UPDATE idempotency SET digest = {world.adapter.blob(bytes([1]) + bytes(80))}")
    again = await world.store.insert(world.task(owner, idempotency_key="order-1", idempotency_digest=b"e"))
    assert isinstance(again, Duplicate)
    assert again.task.id == task.id
    world.clock.advance(1_000)
    assert (await world.claim_one()).error is None


@pytest.mark.parametrize("fields", [{"metadata": {"a": MARKER}}, {"lane": MARKER}, {"target": f"{MARKER}:80"}], ids=min)
async def test_what_is_searched_by_is_stored_as_it_is(world: World, owner: Owner, fields: dict[str, Any]) -> None:
    """The search above can fail: see docs/keys.md for what is not encrypted, and why."""
    await world.submit(owner, **fields)
    assert MARKER.encode() in world.adapter.stored(world.folder)


async def test_another_key_is_refused_with_a_word_of_advice(world: World, owner: Owner, clock: ManualClock) -> None:
    await world.submit(owner)
    await world.store.close()
    stranger = world.adapter.make(world.folder, clock, OTHER_MASTER)
    with pytest.raises(
        Corrupt, match=r"another cipher key than that of .*; start with the CIPHER_KEY or key file"
    ) as told:
        await stranger.open()
    assert told.value.message.startswith(("postgresql://", str(world.folder)))
    await stranger.close()
    await world.store.open()
    assert await world.in_queue(owner) == 1


async def test_keys_can_be_rotated(world: World, owner: Owner, clock: ManualClock) -> None:
    old = await world.submit(owner, spec=b"old")
    await world.store.close()
    rotated = world.adapter.make(world.folder, clock, OTHER_MASTER, MASTER)
    await rotated.open()
    new = World(rotated, clock, world.adapter, world.folder).task(owner, id="9" * 24, spec=b"new")
    await rotated.insert(new)
    assert await rotated.spec(None, old.id) == b"old"
    assert await rotated.spec(None, new.id) == b"new"
    await rotated.close()
    await world.store.open()
    with pytest.raises(Corrupt):
        await world.store.spec(None, new.id)


# Damage


async def swap_specs(world: World) -> None:
    """Puts the sealed request of each of two tasks in the other's place, as somebody with access to the file could."""
    (first, first_spec), (second, second_spec) = await world.query("SELECT task, spec FROM request")
    for task, spec in ((first, second_spec), (second, first_spec)):
        await world.query(f"UPDATE request SET spec = {world.adapter.blob(spec)} WHERE task = {task}")


async def test_a_request_in_another_tasks_place_is_refused(world: World, owner: Owner, other: Owner) -> None:
    mine, theirs = await world.submit(owner), await world.submit(other)
    await swap_specs(world)
    for task in (mine, theirs):
        with pytest.raises(Corrupt, match="changed or damaged"):
            await world.store.spec(None, task.id)


async def test_a_response_in_another_attempts_place_is_refused(world: World, owner: Owner) -> None:
    await world.submit_many(owner, 2)
    claims = await world.claim()
    await world.settle(claims, Outcome(OutcomeKind.SUCCESS, 200, response=b"body"))
    one, other = (claim.ref for claim in claims)
    await world.query(
        f"UPDATE attempt SET response = (SELECT response FROM attempt WHERE task = {one}) WHERE task = {other}",
    )
    assert (await world.read(claims[0])).response == b"body"
    moved = await world.read(claims[1])
    assert moved.response is None
    assert "was changed or damaged" in (moved.unreadable or "")


async def damaged(world: World, owner: Owner) -> str:
    """The id of a task whose request and response are damaged."""
    task = await world.submit(owner)
    await world.settle(
        await world.claim_one(),
        Outcome(OutcomeKind.HTTP_ERROR, 503, response=b"body"),
        TaskConfig(retry=1, retry_interval=1),
    )
    blank = world.adapter.blob(bytes(60))
    await world.query(f"UPDATE request SET spec = {blank}")
    await world.query(f"UPDATE attempt SET response = {blank}")
    return task.id


async def test_a_damaged_request_is_claimed_empty_and_does_not_hold_its_neighbours_up(
    world: World, owner: Owner
) -> None:
    bad = await damaged(world, owner)
    good = await world.submit(owner)
    claims = {claim.id: claim for claim in await world.claim()}
    assert (claims[bad].spec, claims[good.id].spec) == (b"", good.spec)
    await world.settle(claims.values(), Outcome(OutcomeKind.UNSENDABLE, 0))
    assert sum((await world.adapter.books(world.store))[1].values()) == 2


async def test_a_damaged_task_can_be_deleted_and_expires(world: World, owner: Owner) -> None:
    bad = await damaged(world, owner)
    await world.query(f"UPDATE task SET expire_at = {world.now}")
    assert await world.store.expire(world.now, 10) == 1
    assert await world.in_queue(owner) == 0
    assert await world.store.delete(None, bad)
    assert await world.store.task(None, bad) is None


async def test_a_damaged_response_stands_in_the_way_of_nothing_that_does_without_it(world: World, owner: Owner) -> None:
    task = await world.submit(owner)
    claim = await world.claim_one()
    await world.settle(
        claim, Outcome(OutcomeKind.HTTP_ERROR, 503, response=b"body"), TaskConfig(retry=1, retry_interval=60_000)
    )
    await world.query(f"UPDATE attempt SET response = {world.adapter.blob(bytes(60))}")
    with_it = await world.store.task(owner.id, task.id)
    assert with_it is not None
    assert (with_it.response, bool(with_it.unreadable)) == (None, True)
    shown = await world.store.task(owner.id, task.id, response=False)
    assert shown is not None
    assert (shown.state, shown.outcome, shown.response) == (State.RETRYABLE, OutcomeKind.HTTP_ERROR, None)
    service = TaskService(Ground(world.store, world.clock))
    assert [attempt.number for attempt in await service.attempts(owner.id, task.id)] == [1]
    assert [entry.event for entry in await service.timeline(owner.id, task.id)][-1] == "retry_planned"
    assert (await service.pause(owner.id, task.id, by="owner")).state is State.PAUSED
    assert (await service.revoke(owner.id, task.id, by="owner")).state is State.REVOKED
