"""Steering: a change is kept whole or not at all, and takes the lease away."""

import asyncio
from collections.abc import Callable

import msgspec
import pytest

from tasks_server.domain import lifecycle
from tasks_server.domain.attempt import Attempt, Event, EventFacts, OutcomeKind
from tasks_server.domain.errors import Refused
from tasks_server.domain.owner import Owner
from tasks_server.domain.request import TaskConfig
from tasks_server.domain.task import FINAL, State, Task
from tasks_server.store.ports import Change, TaskQuery

from .world import FAILURE, World

STRANGER = "7" * 26


async def test_a_change_is_kept_and_answered(world: World, owner: Owner) -> None:
    task = await world.submit(owner, delay=60_000)
    world.clock.advance(10_000)
    changed = await world.steer(task, lifecycle.pause, owner.id)
    assert changed is not None
    assert (changed.state, changed.remaining_ms, changed.ended_at) == (State.PAUSED, 50_000, world.now)
    assert await world.read(task) == changed
    assert await world.store.events(owner.id, task.id) == [Event(world.now, "pause", None, EventFacts(0, task.due_at))]


async def test_decide_sees_the_task_as_it_is_and_its_spec(world: World, owner: Owner) -> None:
    task = world.task(owner, metadata={"a": "b"})
    spec = task.spec
    await world.store.insert(task)
    seen: list[tuple[Task, bytes]] = []

    def decide(before: Task, spec: bytes) -> Change:
        seen.append((before, spec))
        return Change(before)

    await world.store.change(None, task.id, decide)
    assert seen == [(await world.read(task), spec)]


@pytest.mark.parametrize("stranger", [STRANGER, "other"])
async def test_nobody_touches_what_is_not_theirs(world: World, owner: Owner, other: Owner, stranger: str) -> None:
    task = await world.submit(owner)
    whose = other.id if stranger == "other" else stranger
    assert await world.steer(task, lifecycle.revoke, whose) is None
    assert await world.store.delete(whose, task.id) is False
    assert await world.state(task) is State.AVAILABLE


async def test_an_unknown_task_is_no_task(world: World) -> None:
    assert await world.steer("0" * 24, lifecycle.pause) is None
    assert await world.store.delete(None, "0" * 24) is False


async def test_a_refusal_changes_nothing_and_leaves_its_neighbours_alone(world: World, owner: Owner) -> None:
    waiting, done = await world.submit(owner, delay=60_000), await world.bring_to(State.COMPLETED, owner)
    answers = await asyncio.gather(
        world.steer(done, lifecycle.pause), world.steer(waiting, lifecycle.pause), return_exceptions=True
    )
    assert isinstance(answers[0], Refused)
    assert isinstance(answers[1], Task)
    assert (await world.state(done), await world.state(waiting)) == (State.COMPLETED, State.PAUSED)
    assert await world.store.events(None, done) == []


async def test_a_fault_in_decide_changes_nothing_and_the_store_goes_on(world: World, owner: Owner) -> None:
    task = await world.submit(owner)

    def decide(before: Task, _: bytes) -> Change:
        raise ZeroDivisionError

    answers = await asyncio.gather(
        world.store.change(None, task.id, decide), world.store.insert(world.task(owner)), return_exceptions=True
    )
    assert isinstance(answers[0], ZeroDivisionError)
    assert await world.in_queue(owner) == 2
    assert await world.state(task) is State.AVAILABLE


@pytest.mark.parametrize("stop", [lifecycle.pause, lifecycle.revoke])
async def test_stopping_a_running_task_takes_its_lease_and_records_the_attempt(
    world: World, owner: Owner, stop: Callable[[Task, int], Task]
) -> None:
    task = await world.submit(owner)
    claim = await world.claim_one()
    started = world.now
    world.clock.advance(700)
    await world.steer(task, stop)
    assert await world.store.held([(claim.ref, claim.lease)]) == set()
    assert await world.store.attempts(None, task.id) == [
        Attempt(1, claim.due_at, started, world.now, OutcomeKind.ABORTED)
    ]


async def test_a_running_task_that_stays_as_it_was_keeps_its_lease(world: World, owner: Owner) -> None:
    task = await world.submit(owner)
    claim = await world.claim_one()
    before = await world.read(task)
    assert await world.steer(task, lifecycle.execute) == before
    assert await world.store.held([(claim.ref, claim.lease)]) == {claim.ref}
    assert await world.store.events(None, task.id) == []
    await world.settle(claim)


async def test_forced_is_remembered_until_the_next_attempt(world: World, owner: Owner) -> None:
    task = await world.submit(owner, delay=60_000)
    await world.steer(task, lifecycle.execute)
    assert (await world.read(task)).forced
    claim = await world.claim_one()
    await world.settle(claim, FAILURE, TaskConfig(retry=1, retry_interval=5_000))
    assert not (await world.read(task)).forced


async def test_an_edit_keeps_all_of_it(world: World, owner: Owner) -> None:
    task = await world.submit(owner, delay=60_000, metadata={"a": "1", "b": "2"})
    config = TaskConfig(priority=4, lane="other", expire_at=world.now + 90_000, execution_delay=70_000)

    def decide(before: Task, _: bytes) -> Change:
        edited = lifecycle.edit(before, config, True, world.now)
        edited.target, edited.metadata = "b.example:443", {"b": "3", "c": "4"}
        return Change(edited, Event(world.now, "edit", "why", EventFacts(fields=["config"])), spec=b"new spec")

    changed = await world.store.change(owner.id, task.id, decide)
    found = await world.read(task)
    assert found == changed
    assert (found.priority, found.lane, found.expire_at) == (4, "other", world.now + 90_000)
    assert (found.due_at, found.target, found.metadata) == (world.now + 70_000, "b.example:443", {"b": "3", "c": "4"})
    assert await world.store.spec(None, task.id) == b"new spec"
    assert await world.store.events(None, task.id) == [
        Event(world.now, "edit", "why", EventFacts(0, task.due_at, ["config"]))
    ]
    for pair, there in ((("a", "1"), False), (("b", "2"), False), (("b", "3"), True), (("c", "4"), True)):
        assert bool((await world.store.tasks(TaskQuery(owner.id, metadata=(pair,)))).tasks) is there
    await world.check_counters()
    assert await world.store.delete(None, task.id)
    assert "metadata" not in await world.adapter.rows(world.store)


async def test_an_edited_task_runs_as_edited(world: World, owner: Owner) -> None:
    task = await world.submit(owner, delay=60_000)

    def decide(before: Task, _: bytes) -> Change:
        edited = lifecycle.edit(before, TaskConfig(execution_delay=0, lane="quick", priority=9), True, world.now)
        return Change(msgspec.structs.replace(edited, target="b.example:80"), spec=b"edited")

    await world.store.change(None, task.id, decide)
    claim = await world.claim_one()
    assert (claim.id, claim.target, claim.spec) == (task.id, "b.example:80", b"edited")


@pytest.mark.parametrize("state", list(State))
async def test_delete_removes_a_task_in_any_state_with_all_that_is_known_of_it(
    world: World, owner: Owner, state: State
) -> None:
    empty = await world.adapter.rows(world.store)
    task_id = await world.bring_to(state, owner)
    assert await world.state(task_id) is state
    assert await world.in_queue(owner) == (0 if state in FINAL else 1)
    assert await world.store.delete(owner.id, task_id)
    assert await world.store.task(None, task_id) is None
    assert await world.store.spec(None, task_id) is None
    assert await world.store.attempts(None, task_id) == []
    assert await world.store.events(None, task_id) == []
    assert await world.in_queue(owner) == 0
    left = await world.adapter.rows(world.store) - empty
    assert set(left) <= {"lane", "counter"}
    await world.check_counters()
    assert await world.store.delete(owner.id, task_id) is False
    assert await world.claim() == []
