"""One damaged row takes no page with it and stops nobody: it is shown, with why it cannot be read and what to do."""

import asyncio
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from tasks_server.domain import lifecycle
from tasks_server.domain.attempt import Event, EventFacts, Outcome, OutcomeKind
from tasks_server.domain.bulk import Action, BulkFilter
from tasks_server.domain.errors import Refused, Unreadable
from tasks_server.domain.owner import Owner
from tasks_server.domain.request import TaskConfig
from tasks_server.domain.task import State, Task
from tasks_server.store.filtering import TaskFilter
from tasks_server.store.journal import LogQuery
from tasks_server.store.ports import RESEAL_FROM, Change, TaskQuery

from .bulks import Desk
from .world import FAILURE, World

OTHER_KEY = bytes([1, 0xDE, 0xAD, 0xBE, 0xEF]) + bytes(55)
"""The head of something that is sealed under a key that nobody has."""
NEWER_FORM = bytes([9]) + bytes(59)
Listed = dict[str, Task]


@pytest.fixture
async def bad(world: World, owner: Owner) -> str:
    """The id of a task that waits for its second attempt, between two that are as they should be."""
    await world.submit(owner, 60_000, target="@good", metadata={"a": "1"})
    task = await world.submit(owner, target="@bad", metadata={"a": "1"})
    outcome = Outcome(OutcomeKind.HTTP_ERROR, 503, error="no", response=b"body")
    await world.settle(await world.claim_one(), outcome, TaskConfig(retry=1, retry_interval=60_000))
    await world.submit(owner, 60_000, target="@good", metadata={"a": "1"})
    return task.id


async def damage(world: World, task_id: str, what: str) -> None:
    """Sets something of the task's row, or of what belongs to it."""
    seq = world.adapter.seq_of(task_id)
    table, _, change = what.partition(": ")
    column = {"task": "seq", "request": "task"}.get(table, "task")
    await world.query(f"UPDATE {table} SET {change} WHERE {column} = ({seq})")


async def listed(world: World, owner: Owner, **query: object) -> tuple[Listed, dict[str, bytes]]:
    page = await world.store.tasks(TaskQuery(owner.id, with_specs=True, **query))  # type: ignore[arg-type]  # whatever a test asks for
    assert page.next is None
    specs = {task.id: spec for task, spec in zip(page.tasks, page.specs, strict=True)}
    return {task.id: task for task in page.tasks}, specs


QUERIES: list[dict[str, object]] = [
    {},
    {"descending": True, "filter": TaskFilter(handlers_only=True)},
    {"order": "execution"},
    {"metadata": (("a", "1"),)},
    {"states": frozenset({State.RETRYABLE, State.SCHEDULED})},
]
BLOBS = {
    bytes([1]) + bytes(59): "under another cipher key than those of this server, the one with the id 00000000",
    OTHER_KEY: "under another cipher key than those of this server, the one with the id deadbeef",
    NEWER_FORM: "in a form that this version does not know (9); start the version of the server that stored it",
    b"": "it is damaged, most of it is missing; delete the task and register it anew",
    b"\x01\x02": "it is damaged, most of it is missing; delete the task and register it anew",
}


async def test_a_sealed_request_that_cannot_be_opened(world: World, owner: Owner, bad: str) -> None:
    for blob, why in BLOBS.items():
        await damage(world, bad, f"request: spec = {world.adapter.blob(blob)}")
        for query in QUERIES:
            tasks, specs = await listed(world, owner, **query)
            assert len(tasks) == 3
            assert [task_id for task_id, spec in specs.items() if not spec] == [bad]
            assert [task_id for task_id, task in tasks.items() if task.unreadable] == [bad]
        told = tasks[bad].unreadable
        assert told is not None
        assert told.startswith("the stored request of the task cannot be read: it is ")
        assert why in told
        with pytest.raises(Unreadable) as refused:
            await world.store.spec(owner.id, bad)
        assert refused.value.message == told
        standing = await world.store.standing(owner.id, bad)
        assert standing is not None
        assert (standing.spec, standing.task.unreadable) == (b"", told)


async def test_a_request_in_another_tasks_place_is_told_as_damaged(world: World, owner: Owner, bad: str) -> None:
    good = await world.submit(owner, 60_000)
    await damage(
        world, bad, f"request: spec = (SELECT spec FROM request WHERE task = ({world.adapter.seq_of(good.id)}))"
    )
    told = (await listed(world, owner))[0][bad].unreadable
    assert told == (
        "the stored request of the task cannot be read: it was changed or damaged, its authentication tag does not "
        "fit; delete the task and register it anew"
    )


async def test_a_damaged_response_is_told_of_and_left_out(world: World, owner: Owner, bad: str) -> None:
    await damage(world, bad, f"attempt: response = {world.adapter.blob(OTHER_KEY)}")
    task = await world.read(bad)
    assert (task.response, task.error, task.status_code) == (None, "no", 503)
    assert (task.unreadable or "").startswith("the stored response of the task cannot be read: it is sealed under")
    without = await world.store.task(owner.id, bad, response=False)
    assert without is not None
    assert without.unreadable is None


DAMAGED = ("{broken", "[1]", '{"a": 1}', '"text"', "null", '{"a":"\\ud800"}', '{"a":"\n"}')


async def test_damaged_metadata(world: World, owner: Owner, bad: str) -> None:
    """It is told of, and stays as it is until it is set anew; the task goes on."""
    for text in DAMAGED:
        await damage(world, bad, f"{world.adapter.metadata_of}: metadata = '{text}'")
        tasks, _ = await listed(world, owner)
        assert len(tasks) == 3
        assert tasks[bad].metadata is None
        assert (tasks[bad].unreadable or "").startswith("its metadata cannot be read: it is damaged")
        await world.steer(bad, lifecycle.pause)
        await world.steer(bad, lifecycle.resume)
        assert await stored_metadata(world, bad) == text
        mended = {"b": text.strip()}
        await world.store.change(None, bad, lambda before, _, mended=mended: Change(replace(before, metadata=mended)))
        task = await world.read(bad)
        assert (task.metadata, task.unreadable) == (mended, None)
        assert set((await listed(world, owner, metadata=tuple(mended.items())))[0]) == {bad}


async def stored_metadata(world: World, task_id: str) -> object:
    table = world.adapter.metadata_of
    column = "seq" if table == "task" else "task"
    ((found,),) = await world.query(f"SELECT metadata FROM {table} WHERE {column} = ({world.adapter.seq_of(task_id)})")
    return found


async def test_a_task_with_damaged_metadata_can_be_deleted_and_is_pruned(world: World, owner: Owner, bad: str) -> None:
    other = await world.submit(owner, metadata={"a": "1"})
    await world.settle(await world.claim_one(), FAILURE)
    await world.steer(bad, lifecycle.revoke)
    for task_id in (bad, other.id):
        await damage(world, task_id, f"{world.adapter.metadata_of}: metadata = '{{broken'")
    assert await world.store.delete(owner.id, bad)
    world.clock.advance(10)
    assert await world.store.prune(world.now, 100) > 0
    assert len((await listed(world, owner))[0]) == 2
    await world.check_counters()


async def test_a_state_of_another_version(world: World, owner: Owner, bad: str) -> None:
    await damage(world, bad, "task: state = 'frozen'")
    tasks, _ = await listed(world, owner)
    assert (tasks[bad].state.value, len(tasks)) == ("frozen", 3)
    told = "its state cannot be read: this version knows no frozen; start the version of the server that stored it"
    assert tasks[bad].unreadable == told
    assert (await world.read(bad)).unreadable == told
    steps: list[Callable[[Task, int], Task]] = [
        lifecycle.pause, lifecycle.resume, lifecycle.revoke, lifecycle.execute, lifecycle.restart,
    ]  # fmt: skip
    for step in steps:
        with pytest.raises(Refused, match="the task is frozen"):
            await world.steer(bad, step)
    assert (await listed(world, owner, states=frozenset({State.PAUSED})))[0] == {}
    counts = await world.store.counts(owner.id)
    assert counts[State.SCHEDULED] == 2
    lane = await world.store.lane(owner.id, "default")
    assert lane is not None
    assert lane.counts[State.SCHEDULED] == 2
    assert await world.store.delete(owner.id, bad)
    assert len((await listed(world, owner))[0]) == 2


async def test_an_outcome_of_another_version(world: World, owner: Owner, bad: str) -> None:
    other = await world.submit(owner)
    await world.settle(await world.claim_one())
    await damage(world, bad, "attempt: outcome = 'throttled'")
    told = "its outcome cannot be read: this version knows no throttled; start the version of the server that stored it"
    (attempt,) = await world.store.attempts(owner.id, bad)
    assert (attempt.outcome.value, attempt.unreadable) == ("throttled", told)
    for query in (
        LogQuery(owner.id),
        LogQuery(None),
        LogQuery(owner.id, task=bad),
        LogQuery(owner.id, statuses=((500, 599),)),
    ):
        entries = {entry.task: entry for entry in (await world.store.log(query)).entries}
        assert entries[bad].attempt.outcome.value == "throttled"
        if query.task is None and query.statuses is None:
            assert entries[other.id].attempt.unreadable is None
    assert (await world.read(bad)).state is State.RETRYABLE


async def test_damaged_facts_of_an_event(world: World, owner: Owner, bad: str) -> None:
    await world.steer(bad, lifecycle.pause)
    await world.steer(bad, lifecycle.resume)
    for facts in ("{broken", "[]", '{"attempt": "x"}'):
        await damage(world, bad, f"event: facts = '{facts}'")
        events = await world.store.events(owner.id, bad)
        assert [event.facts for event in events] == [None, None]
        assert all((event.unreadable or "").startswith("where the task stood then cannot be read") for event in events)


async def test_a_batch_with_one_damaged_request_is_claimed_whole(world: World, owner: Owner) -> None:
    made = await world.submit_many(owner, 3)
    await damage(world, made[1], f"request: spec = {world.adapter.blob(OTHER_KEY)}")
    await damage(world, made[2], f"{world.adapter.metadata_of}: metadata = '{{broken'")
    claims = {claim.id: claim for claim in await world.claim()}
    assert set(claims) == set(made)
    assert [claim.id for claim in claims.values() if not claim.spec] == [made[1]]
    assert "the one with the id deadbeef" in (claims[made[1]].unreadable or "")
    assert [claims[task_id].unreadable for task_id in (made[0], made[2])] == [None, None]
    await world.settle(claims.values())
    await world.check_counters()


async def test_duties_come_by_damaged_tasks(world: World, owner: Owner, bad: str) -> None:
    """Expiry, rescue and pruning of others do not wait for them."""
    made = await world.submit_many(owner, 4, metadata={"a": "1"})
    for task_id in (*made, bad):
        await damage(world, task_id, f"request: spec = {world.adapter.blob(OTHER_KEY)}")
        await damage(world, task_id, f"{world.adapter.metadata_of}: metadata = '{{broken'")
    await world.claim()
    assert await world.leases_end() == 4
    await world.query(f"UPDATE task SET expire_at = {world.now} WHERE state IN ('available', 'retryable')")
    assert await world.store.expire(world.now, 10) == 5
    world.clock.advance(10)
    while await world.store.prune(world.now, 100):
        pass
    assert len((await listed(world, owner))[0]) == 2
    await world.check_counters()


async def test_damage_of_one_task_does_not_fail_what_is_asked_at_the_same_moment(world: World, owner: Owner) -> None:
    made = await world.submit_many(owner, 2, 60_000)
    await damage(world, made[0], f"request: spec = {world.adapter.blob(OTHER_KEY)}")

    def edit(before: Task, spec: bytes) -> Change:
        if not spec:
            raise Unreadable(before.unreadable or "")
        return Change(lifecycle.pause(before, world.now), Event(world.now, "pause", facts=EventFacts()))

    answers = await asyncio.gather(
        *(world.store.change(None, task_id, edit) for task_id in made), world.store.insert(world.task(owner)),
        return_exceptions=True,
    )  # fmt: skip
    assert isinstance(answers[0], Unreadable)
    assert "deadbeef" in answers[0].message
    assert not any(isinstance(answer, BaseException) for answer in answers[1:])
    assert await world.state(made[1]) is State.PAUSED


# Bulk work


BULKS = {
    "action = 'tickle'": "its action cannot be read: this version knows no tickle",
    "filter = '{broken'": "its filter cannot be read: it is damaged, or of another version",
    'filter = \'{"colour": "red"}\'': "its filter cannot be read: it is damaged, or of another version",
    'filter = \'{"states": ["frozen"]}\'': "its filter cannot be read: it is damaged, or of another version",
}


async def test_bulk_work_that_cannot_be_read(world: World, owner: Owner) -> None:
    """It is listed, changes nothing and holds up nothing behind it."""
    desk = Desk(world)
    made = await desk.failed(owner, 2)
    bad = {(await desk.make(owner, Action.DELETE, ids=(made[0],))).id: change for change in BULKS}
    good = await desk.make(owner, Action.DELETE, ids=(made[1],))
    for bulk_id, change in bad.items():
        await world.query(f"UPDATE bulk SET {change} WHERE id = '{bulk_id}'")
    for found in (await world.store.bulks(owner.id, "", 10), await world.store.bulks(None, "", 10)):
        assert [one.id for one in found] == [good.id, *reversed(bad)]
        told = {one.id: one.unreadable for one in found}
        assert told.pop(good.id) is None
        assert all((told[bulk_id] or "").startswith(BULKS[change]) for bulk_id, change in bad.items())
    assert (await desk.finish(good)).changed == 1
    for bulk_id, change in bad.items():
        ended = await world.store.bulk(owner.id, bulk_id)
        assert ended is not None
        assert (ended.standing, ended.changed) == ("failed", 0)
        assert (ended.error or "").startswith(BULKS[change])
    assert set(await desk.tasks(owner)) == {made[0]}


async def test_bulk_work_comes_by_damaged_tasks(world: World, owner: Owner) -> None:
    desk = Desk(world)
    made = await desk.failed(owner, 4, metadata={"a": "1"})
    await damage(world, made[0], f"{world.adapter.metadata_of}: metadata = '{{broken'")
    await damage(world, made[1], f"request: spec = {world.adapter.blob(OTHER_KEY)}")
    await damage(world, made[2], "task: state = 'frozen'")
    sighted = await world.store.sight_bulk(owner.id, BulkFilter(), 0, 100)
    assert (sighted.seen, len(sighted.found)) == (4, 4)
    retried = await desk.finish(await desk.make(owner, Action.RETRY))
    assert retried.changed == 3
    states = [(await world.read(task_id)).state.value for task_id in made]
    assert sorted(states) == ["available", "available", "available", "frozen"]
    deleted = await desk.finish(await desk.make(owner, Action.DELETE, ids=tuple(made)))
    assert deleted.changed == 4
    assert await desk.tasks(owner) == {}


# Changing keys


async def test_what_cannot_be_opened_stays_as_it_is_when_all_else_is_sealed_anew(world: World, owner: Owner) -> None:
    made = await world.submit_many(owner, 2, 60_000)
    await damage(world, made[0], f"request: spec = {world.adapter.blob(OTHER_KEY)}")
    after: tuple[int, int, int] | None = RESEAL_FROM
    while after is not None:
        after = (await world.store.reseal(after, 10)).after
    ((left,),) = await world.query(f"SELECT spec FROM request WHERE task = ({world.adapter.seq_of(made[0])})")
    assert bytes(left) == OTHER_KEY
    used = await world.store.keys_used()
    assert used[bytes.fromhex("deadbeef")] == 1
