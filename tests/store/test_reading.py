"""Reading: one owner's tasks in any order, by any filter, page by page, none twice and none missed."""

import itertools

import msgspec
import pytest

from tasks_server.domain import lifecycle
from tasks_server.domain.attempt import Attempt, Event, EventFacts, Outcome, OutcomeKind
from tasks_server.domain.owner import Owner
from tasks_server.domain.request import TaskConfig
from tasks_server.domain.task import State
from tasks_server.store.ports import Order, TaskQuery

from .world import FAILURE, World

UNFINISHED = frozenset({State.SCHEDULED, State.AVAILABLE, State.RUNNING, State.RETRYABLE})


async def walk(world: World, query: TaskQuery) -> list[str]:
    """The ids of all pages of a query, each asked for by the `next` of the page before."""
    found: list[str] = []
    after = query.after
    for _ in range(1_000):
        page = await world.store.tasks(msgspec.structs.replace(query, offset=0, after=after))
        assert len(page.tasks) <= query.limit
        found += [task.id for task in page.tasks]
        if page.next is None:
            return found
        assert page.tasks
        after = page.next
    raise AssertionError("the pages never end")


async def ids_of(world: World, query: TaskQuery) -> list[str]:
    return [task.id for task in (await world.store.tasks(query)).tasks]


async def varied(world: World, owner: Owner) -> list[str]:
    """One task of each state twice over, in two lanes, at different times. What they are is read back."""
    made = []
    for lane, state in itertools.product(("default", "second"), State):
        world.clock.advance(10)
        task_id = await world.bring_to(state, owner)
        if state is State.AVAILABLE:  # out of the way of what comes next
            await world.steer(task_id, lifecycle.pause)
            made.append((task_id, lifecycle.resume))
        else:
            made.append((task_id, None))
        if lane == "second" and state in (State.SCHEDULED, State.PAUSED):
            await world.steer(task_id, lambda task, now: lifecycle.edit(task, TaskConfig(lane="second"), False, now))
    for task_id, step in made:
        if step is not None:
            await world.steer(task_id, step)
    return [task_id for task_id, _ in made]


# One task


async def test_the_response_of_the_last_attempt_is_shown(world: World, owner: Owner) -> None:
    task = await world.submit(owner)
    config = TaskConfig(retry=2, retry_interval=1)
    first = Outcome(OutcomeKind.HTTP_ERROR, 503, "broken", bytes(range(256)))
    await world.settle(await world.claim_one(), first, config)
    assert (await world.read(task)).response == bytes(range(256))
    world.clock.advance(1_000)
    await world.settle(await world.claim_one(), Outcome(OutcomeKind.SUCCESS, 204, response=b""), config)
    found = await world.read(task)
    assert (found.response, found.state, found.status_code, found.attempt) == (b"", State.COMPLETED, 204, 2)


async def test_whether_a_task_is_there(world: World, owner: Owner, other: Owner) -> None:
    task = await world.submit(owner)
    asked = [(owner.id, task.id), (None, task.id), (other.id, task.id), (owner.id, "0" * 24), (None, "0" * 24)]
    assert [await world.store.exists(*each) for each in asked] == [True, True, False, False, False]
    await world.store.delete(owner.id, task.id)
    assert not await world.store.exists(owner.id, task.id)


async def test_attempts_are_listed_oldest_first_without_bodies(world: World, owner: Owner) -> None:
    task = await world.submit(owner)
    config = TaskConfig(retry=2, retry_interval=1_000)
    expected = []
    for number in (1, 2, 3):
        claim = await world.claim_one(horizon=world.now + 60_000)
        outcome = Outcome(OutcomeKind.TIMEOUT, 408, f"número {number}", b"body")
        await world.settle(claim, outcome, config)
        expected.append(Attempt(number, claim.due_at, world.now, world.now, OutcomeKind.TIMEOUT, 408, outcome.error))
        world.clock.advance(5_000)
    assert await world.store.attempts(owner.id, task.id) == expected
    assert await world.store.attempts(owner.id, task.id, after=1, limit=1) == expected[1:2]
    assert await world.store.attempts(owner.id, task.id, limit=1) == expected[:1]
    assert await world.store.newest_attempts(owner.id, task.id, 1) == expected[-1:]
    assert await world.store.newest_attempts(owner.id, task.id) == expected


async def test_events_are_listed_oldest_first(world: World, owner: Owner) -> None:
    task = await world.submit(owner, delay=60_000)
    for _ in range(3):  # more than one at one instant
        await world.steer(task, lifecycle.pause)
        await world.steer(task, lifecycle.resume)
    waited, stopped = EventFacts(0, world.now + 60_000), EventFacts(0, None)
    happened = [Event(world.now, "pause", None, waited), Event(world.now, "resume", None, stopped)]
    assert await world.store.events(None, task.id) == happened * 3


async def test_nobody_reads_what_is_not_theirs(world: World, owner: Owner, other: Owner) -> None:
    task = await world.submit(owner)
    await world.settle(await world.claim_one(), FAILURE)
    await world.steer(task, lifecycle.restart)
    for stranger in (other.id, "7" * 26, ""):
        assert await world.store.task(stranger, task.id) is None
        assert await world.store.spec(stranger, task.id) is None
        assert await world.store.attempts(stranger, task.id) == []
        assert await world.store.events(stranger, task.id) == []
        assert await ids_of(world, TaskQuery(stranger)) == []
    for reader in (owner.id, None):
        assert await world.store.task(reader, task.id) is not None
        assert await world.store.spec(reader, task.id) is not None
        assert len(await world.store.attempts(reader, task.id)) == 1
        assert len(await world.store.events(reader, task.id)) == 1
        assert await ids_of(world, TaskQuery(reader)) == [task.id]


# Lists


async def test_a_listed_task_shows_what_the_task_itself_shows(world: World, owner: Owner) -> None:
    await varied(world, owner)
    await world.submit(owner, metadata={"a": "b"}, priority=3)
    listed = (await world.store.tasks(TaskQuery(owner.id, limit=100))).tasks
    assert len(listed) == 17
    for entry in listed:
        task = await world.read(entry.id)
        for name in (
            "owner", "lane", "state", "priority", "created_at", "due_at", "execution_at", "ended_at", "attempt",
            "failures", "repeats", "status_code", "error", "metadata",
        ):  # fmt: skip
            assert getattr(entry, name) == getattr(task, name), name
        assert entry.response is None


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize(
    ("order", "key"), [("created", "created_at"), ("ended", "ended_at"), ("execution", "execution_at")]
)
async def test_every_order_in_pages_of_every_size(
    world: World, owner: Owner, other: Owner, order: Order, key: str, descending: bool
) -> None:
    made = await varied(world, owner)
    await world.submit_many(other, 5, delay=60_000)
    values = [getattr(await world.read(task_id), key) for task_id in made]
    # Equal keys follow the order of arrival.
    expected = [made[index] for index in sorted(range(len(made)), key=lambda index: (values[index], index))]
    if descending:
        expected.reverse()
    for limit in (1, 2, 3, 7, 16, 100):
        assert await walk(world, TaskQuery(owner.id, order, descending, limit)) == expected


@pytest.mark.parametrize("descending", [False, True])
async def test_pages_by_arrival_hold_while_tasks_come_and_go(world: World, owner: Owner, descending: bool) -> None:
    made = await world.submit_many(owner, 20, delay=60_000)
    seen: list[str] = []
    after = None
    while len(seen) < 40:
        page = await world.store.tasks(TaskQuery(owner.id, descending=descending, limit=3, after=after))
        seen += [task.id for task in page.tasks]
        await world.submit_many(owner, 2, delay=60_000)
        await world.store.delete(None, page.tasks[-1].id)
        after = page.next
        if after is None:
            break
    assert len(seen) == len(set(seen))
    assert [task_id for task_id in seen if task_id in set(made)] == (made[::-1] if descending else made)


async def test_the_last_page_says_so(world: World, owner: Owner) -> None:
    assert (await world.store.tasks(TaskQuery(owner.id))).next is None
    await world.submit_many(owner, 4)
    assert (await world.store.tasks(TaskQuery(owner.id, limit=4))).next is None
    assert (await world.store.tasks(TaskQuery(owner.id, limit=3))).next is not None
    assert (await world.store.tasks(TaskQuery(owner.id, limit=5))).next is None


async def test_an_offset_skips(world: World, owner: Owner) -> None:
    made = await world.submit_many(owner, 10)
    assert await ids_of(world, TaskQuery(owner.id, limit=3, offset=4)) == made[4:7]
    assert await ids_of(world, TaskQuery(owner.id, limit=3, offset=9)) == made[9:]
    assert await ids_of(world, TaskQuery(owner.id, limit=3, offset=99)) == []
    assert await ids_of(world, TaskQuery(owner.id, limit=2, offset=1, descending=True)) == made[-2:-4:-1]


# Filters


@pytest.mark.parametrize("order", ["created", "ended", "execution"])
@pytest.mark.parametrize(
    "states",
    [
        *(frozenset({state}) for state in State),
        UNFINISHED,
        frozenset(State),
        frozenset({State.PAUSED, State.FAILED}),
        frozenset(),
    ],
)
async def test_by_state(world: World, owner: Owner, order: Order, states: frozenset[State]) -> None:
    made = await varied(world, owner)
    expected = {task_id for task_id in made if await world.state(task_id) in states}
    assert len(expected) == 2 * len(states)
    for limit in (1, 100):
        found = await walk(world, TaskQuery(owner.id, order, limit=limit, states=states))
        assert len(found) == len(set(found))
        assert set(found) == expected
    assert set(await walk(world, TaskQuery(None, order, True, 2, states=states))) == expected


async def test_by_lane(world: World, owner: Owner, other: Owner) -> None:
    mine = await world.submit_many(owner, 3, lane="slow")
    await world.submit_many(owner, 3)
    theirs = await world.submit_many(other, 2, lane="slow")
    assert await walk(world, TaskQuery(owner.id, lane="slow", limit=2)) == mine
    assert await walk(world, TaskQuery(other.id, lane="slow")) == theirs
    assert await walk(world, TaskQuery(None, lane="slow")) == mine + theirs
    assert await walk(world, TaskQuery(owner.id, lane="Slow")) == []


async def test_by_metadata(world: World, owner: Owner, other: Owner) -> None:
    red = await world.submit(owner, metadata={"colour": "red", "size": "1"})
    blue = await world.submit(owner, metadata={"colour": "blue", "size": "1"})
    await world.submit(owner)
    theirs = await world.submit(other, metadata={"colour": "red"})

    async def found(*pairs: tuple[str, str], whose: str | None = owner.id) -> list[str]:
        return await walk(world, TaskQuery(whose, limit=1, metadata=pairs))

    assert await found(("colour", "red")) == [red.id]
    assert await found(("size", "1")) == [red.id, blue.id]
    assert await found(("size", "1"), ("colour", "blue")) == [blue.id]
    assert await found(("size", "1"), ("colour", "green")) == []
    assert await found(("red", "colour")) == []
    assert await found(("colour", "red"), whose=other.id) == [theirs.id]
    assert await found(("colour", "red"), whose=None) == [red.id, theirs.id]


async def test_all_filters_at_once(world: World, owner: Owner) -> None:
    for lane, tag in itertools.product(("a", "b"), ("x", "y")):
        await world.submit_many(owner, 3, delay=60_000, lane=lane, metadata={"tag": tag})
    wanted = await world.submit_many(owner, 5, delay=60_000, lane="b", metadata={"tag": "x"})
    for task_id in wanted:
        await world.steer(task_id, lifecycle.pause)
        world.clock.advance(1)
    states = frozenset({State.PAUSED})
    for order in ("created", "ended", "execution"):
        query = TaskQuery(owner.id, order, limit=2, states=states, lane="b", metadata=(("tag", "x"),))
        assert await walk(world, query) == wanted
