"""Lists look at a bounded number of tasks for each page, and say where to go on."""

import pytest
from msgspec.structs import replace

from tasks_server.domain import lifecycle
from tasks_server.domain.owner import Owner
from tasks_server.domain.task import State
from tasks_server.store import walks
from tasks_server.store.filtering import TaskFilter
from tasks_server.store.ports import Order, TaskQuery

from .world import FAILURE, World

SEEN_MAX = 10
HANDLERS = TaskFilter(handlers_only=True)


@pytest.fixture
def bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walks, "LOOKED_AT_MAX", SEEN_MAX)


async def pages(world: World, query: TaskQuery) -> list[list[str]]:
    """The ids of each page, until there is no next one."""
    found = []
    while True:
        page = await world.store.tasks(query)
        found.append([task.id for task in page.tasks])
        if page.next is None:
            return found
        query = replace(query, after=page.next, offset=page.skip)


@pytest.mark.usefixtures("bound")
async def test_pages_end_where_enough_was_looked_at(world: World, owner: Owner, other: Owner) -> None:
    first = await world.submit(owner, 60_000, target="@rare", priority=3)
    for _ in range(4):
        await world.submit_many(owner, 5, 60_000, target="@often")
        await world.submit_many(other, 5, 60_000, target="@often")
        await world.submit_many(owner, 5, 60_000)
    last = await world.submit(owner, 120_000, target="@rare")
    await world.steer(first, lifecycle.pause)
    both, old = [last.id, first.id], [first.id]
    looks = {
        "by name": (replace(HANDLERS, target="@rare"), {}, both),
        "by state": (HANDLERS, {"states": frozenset({State.PAUSED})}, old),
        "by priority": (replace(HANDLERS, priority=3), {}, old),
        "by due": (replace(HANDLERS, due_until=world.now + 60_001, target="@rare"), {}, old),
        "by creation": (replace(HANDLERS, created_from=world.now, target="@rare"), {}, both),
    }
    for name, (wanted, more, expected) in looks.items():
        query = TaskQuery(owner.id, descending=True, limit=5, filter=wanted, **more)  # type: ignore[arg-type]  # a test's
        found = await pages(world, query)
        assert [one for page in found for one in page] == expected, name
        # 22 runs of handlers, ten at a time; what is paused is found by itself
        assert len(found) == (1 if name == "by state" else 3), name
        assert [len(page) for page in await pages(world, replace(query, limit=1))].count(1) == len(expected), name
        of_all = await pages(world, replace(query, owner=None))
        assert [one for page in of_all for one in page] == expected, name
        assert len(of_all) == 7, name  # 62 tasks of any kind
        assert [one for page in await pages(world, replace(query, offset=1)) for one in page] == expected[1:], name


@pytest.mark.usefixtures("bound")
async def test_what_an_index_serves_is_not_cut_short(world: World, owner: Owner) -> None:
    made = await world.submit_many(owner, 25, 60_000, target="@often")
    found = await pages(world, TaskQuery(owner.id, descending=True, limit=20, filter=HANDLERS))
    assert [len(page) for page in found] == [20, 5]
    full = await pages(world, TaskQuery(owner.id, descending=True, limit=10, filter=replace(HANDLERS, target="@often")))
    assert [one for page in full for one in page] == list(reversed(made))


@pytest.mark.usefixtures("bound")
@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("order", ["created", "ended", "execution"])
async def test_every_filtered_list_ends_its_pages_and_leaves_nothing_out(
    world: World, owner: Owner, order: Order, descending: bool
) -> None:
    """Most have ended at one instant, so that pages end within it; those that fit are far apart."""
    wanted: list[str] = []
    for place in range(4):
        same = {"a": "b", "c": f"{place % 2}"}
        wanted.append((await world.submit(owner, lane="rare", priority=4, metadata=same)).id)
        await world.settle(await world.claim(), FAILURE)
        for _ in range(2):
            await world.submit_many(owner, 6, metadata={"a": "b"})
            await world.settle(await world.claim())
        world.clock.advance(place % 2)
    wanted = wanted[:: -1 if descending else 1]
    base = TaskQuery(owner.id, order, descending, limit=3)
    asked = {
        "lane": replace(base, lane="rare"),
        "status": replace(base, filter=TaskFilter(statuses=(500, 599))),
        "metadata": replace(base, metadata=(("a", "b"),), lane="rare"),
        "priority": replace(base, filter=TaskFilter(priority=4), states=frozenset(State) - {State.REVOKED}),
        "ended": replace(base, filter=TaskFilter(ended_from=1, priority=4)),
    }
    for name, query in asked.items():
        found = await pages(world, query)
        assert [one for page in found for one in page] == wanted, name
        assert len(found) >= 5, name  # 52 tasks, ten at a time
        for skipped in (1, 3, 4):
            rest = await pages(world, replace(query, offset=skipped))
            assert [one for page in rest for one in page] == wanted[skipped:], (name, skipped)
    both = replace(base, metadata=(("c", "1"), ("a", "b")))
    assert [one for page in await pages(world, both) for one in page] == wanted[0 if descending else 1 :: 2]


async def test_nothing_is_in_no_state(world: World, owner: Owner) -> None:
    await world.submit(owner)
    assert await pages(world, TaskQuery(owner.id, states=frozenset())) == [[]]
