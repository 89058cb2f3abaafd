"""Lists narrowed by what tasks are, who made them, when; counts by state; who holds a running task."""

from typing import Any

import msgspec
import pytest

from tasks_server.domain.owner import Owner
from tasks_server.domain.task import State
from tasks_server.store.filtering import TaskFilter
from tasks_server.store.ports import Order, TaskQuery

from .test_reading import walk
from .world import FAILURE, SUCCESS, World

SCHEDULE = "0" * 23 + "S"
ORDERS: list[Order] = ["created", "ended", "execution"]


async def filled(world: World, owner: Owner) -> dict[str, str]:
    """Tasks that differ in what a filter may ask for, by name; a ms apart."""
    kinds: dict[str, dict[str, Any]] = {
        "host": {},
        "bare": {"target": "127.0.0.1:80"},
        "bracket": {"target": "[::1]:80"},
        "mail": {"target": "@mail", "priority": 7},
        "print": {"target": "@print", "delay": 5_000},
        "capital": {"target": "@Mail", "schedule": SCHEDULE, "fire_at": 1},
        "planned": {"schedule": SCHEDULE, "fire_at": 2, "delay": 9_000},
        "other": {"schedule": "0" * 24, "fire_at": 3},
    }
    made = {}
    for name, fields in kinds.items():
        world.clock.advance(1)
        made[name] = (await world.submit(owner, **fields)).id
    return made


ASKED: list[tuple[TaskFilter, str]] = [
    (TaskFilter(), "host bare bracket mail print capital planned other"),
    (TaskFilter(handlers_only=True), "mail print capital"),
    (TaskFilter(target="@mail"), "mail"),
    (TaskFilter(handlers_only=True, target="@mail"), "mail"),
    (TaskFilter(handlers_only=True, target="[::1]:80"), ""),
    (TaskFilter(target="@mai"), ""),
    (TaskFilter(host="127.0.0.1"), "bare"),
    (TaskFilter(host="127.0.0.1:80"), "bare"),
    (TaskFilter(host="127.0.0.1:8"), ""),
    (TaskFilter(host="127.0.0"), ""),
    (TaskFilter(host="[::1]"), "bracket"),
    (TaskFilter(host="[::1]", priority=7), ""),
    (TaskFilter(priority=7), "mail"),
    (TaskFilter(priority=0, handlers_only=True), "print capital"),
    (TaskFilter(schedule=SCHEDULE), "capital planned"),
    (TaskFilter(schedule=SCHEDULE, handlers_only=True), "capital"),
    (TaskFilter(schedule="1" * 24), ""),
]
TIMED: list[tuple[TaskFilter, str]] = [
    (TaskFilter(created_from=3), "bracket mail print capital planned other"),
    (TaskFilter(created_from=3, created_until=5), "bracket mail"),
    (TaskFilter(created_until=1), ""),
    (TaskFilter(created_from=7, schedule=SCHEDULE), "planned"),
    (TaskFilter(created_from=5, created_until=7, handlers_only=True), "print capital"),
    (TaskFilter(due_from=5_000), "print planned"),
    (TaskFilter(due_from=8, due_until=5_006), "print other"),
]
"""Instants as counted from the beginning."""


@pytest.mark.parametrize("order", ORDERS)
async def test_a_list_holds_what_its_filter_says(world: World, owner: Owner, other: Owner, order: Order) -> None:
    begun = world.now
    made = await filled(world, owner)
    await filled(world, other)
    for wanted, names in [*ASKED, *((since(begun, wanted), names) for wanted, names in TIMED)]:
        expected = [made[name] for name in names.split()]
        for descending, limit in ((False, 2), (True, 1), (False, 100)):
            found = await walk(world, TaskQuery(owner.id, order, descending, limit, filter=wanted))
            assert sorted(found) == sorted(expected), wanted
            if order == "created":
                assert found == expected[:: -1 if descending else 1], wanted


async def test_filters_over_all_owners(world: World, owner: Owner, other: Owner) -> None:
    made, theirs = await filled(world, owner), await filled(world, other)
    for wanted, names in ASKED:
        found = await walk(world, TaskQuery(None, limit=2, filter=wanted))
        assert found == [whose[name] for whose in (made, theirs) for name in names.split()], wanted


def since(begun: int, wanted: TaskFilter) -> TaskFilter:
    """The filter with instants of the clock."""
    named = ("created_from", "created_until", "due_from", "due_until")
    given = {name: getattr(wanted, name) for name in named}
    moved = {name: value + begun for name, value in given.items() if value is not None}
    return msgspec.structs.replace(wanted, **moved)


async def test_filters_and_states_narrow_together(world: World, owner: Owner) -> None:
    made = await filled(world, owner)
    for claim in await world.claim():
        await world.settle(claim, FAILURE if claim.target in ("@mail", "a.example:80") else SUCCESS)
    for states, names in (
        ({State.FAILED}, "mail"),
        ({State.SCHEDULED}, "print"),
        ({State.COMPLETED, State.FAILED}, "mail capital"),
        ({State.RUNNING}, ""),
    ):
        for order in ORDERS:
            query = TaskQuery(owner.id, order, states=frozenset(states), filter=TaskFilter(handlers_only=True))
            assert sorted(await walk(world, query)) == [made[name] for name in names.split()]


async def test_filters_and_metadata_narrow_together(world: World, owner: Owner) -> None:
    made = await world.submit(owner, target="@mail", metadata={"a": "b"}, schedule=SCHEDULE, fire_at=1)
    await world.submit(owner, metadata={"a": "b"})
    await world.submit(owner, target="@mail")
    for wanted in (
        TaskFilter(handlers_only=True),
        TaskFilter(schedule=SCHEDULE),
        TaskFilter(created_from=0, target="@mail"),
    ):
        for order in ORDERS:
            query = TaskQuery(owner.id, order, metadata=(("a", "b"),), filter=wanted)
            assert await walk(world, query) == [made.id]


# Counts


async def test_counts_by_state_are_those_of_the_tasks(world: World, owner: Owner, other: Owner) -> None:
    assert await world.store.counts(owner.id) == dict.fromkeys(State, 0)
    assert await world.store.counts("7" * 26) == dict.fromkeys(State, 0)
    for state in sorted(State, key=lambda state: state is State.AVAILABLE):  # nothing else may be due for the others
        await world.bring_to(state, owner)
    await world.submit(owner, delay=60_000, lane="second")
    await world.submit_many(other, 3, delay=60_000)
    own = await world.store.counts(owner.id)
    everyones = await world.store.counts(None)
    for state in State:
        tasks = (await world.store.tasks(TaskQuery(None, limit=100, states=frozenset({state})))).tasks
        assert own[state] == sum(task.owner == owner.id for task in tasks), state
        assert everyones[state] == len(tasks), state
    await world.store.checkpoint()  # where changes of counters are folded, they are counted once
    assert await world.store.counts(owner.id) == own
    assert await world.store.counts(None) == everyones


# How and when they ended


async def test_by_the_last_status_and_by_the_end_in_every_order(world: World, owner: Owner, other: Owner) -> None:
    made = []
    for _ in range(4):
        made.append((await world.submit(owner)).id)
        await world.settle(await world.claim(), FAILURE)
        await world.submit(other)
        await world.settle(await world.claim())
        world.clock.advance(1_000)
    untried = (await world.submit(owner, delay=60_000)).id
    ends = [(await world.read(task)).ended_at for task in made]
    cases = [
        (TaskFilter(statuses=(500, 599)), made),
        (TaskFilter(statuses=(503, 503), ended_from=ends[1]), made[1:]),
        (TaskFilter(ended_from=ends[1], ended_until=ends[3]), made[1:3]),
        (TaskFilter(ended_from=1), made),
        (TaskFilter(statuses=(200, 299)), []),
        (TaskFilter(statuses=(0, 0)), [untried]),
    ]
    for order in ORDERS:
        for wanted, found in cases:
            pages = []
            query = TaskQuery(owner.id, order=order, limit=2, filter=wanted)
            while True:
                page = await world.store.tasks(query)
                pages += [task.id for task in page.tasks]
                if page.next is None:
                    break
                query = msgspec.structs.replace(query, after=page.next)
            assert pages == found, (order, wanted)
    everyones = await world.store.tasks(TaskQuery(None, limit=100, filter=TaskFilter(statuses=(200, 299))))
    assert [task.owner for task in everyones.tasks] == [other.id] * 4


# Who holds a task


async def test_a_running_task_names_the_process_that_holds_it(world: World, owner: Owner) -> None:
    task = await world.submit(owner)
    assert (await world.read(task)).held_by is None
    claim = await world.claim_one()
    numbers = {node.number for node in await world.store.nodes()}
    assert (await world.read(task)).held_by in numbers
    await world.settle(claim)
    assert (await world.read(task)).held_by is None
