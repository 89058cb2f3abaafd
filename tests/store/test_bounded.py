"""Lists of runs of handlers look at a bounded number of tasks for each page, and say where to go on."""

import pytest
from msgspec.structs import replace

from tasks_server.domain import lifecycle
from tasks_server.domain.owner import Owner
from tasks_server.domain.task import State
from tasks_server.store.filtering import TaskFilter
from tasks_server.store.ports import TaskQuery
from tasks_server.store.postgres import listing as on_postgres
from tasks_server.store.sqlite import listing as on_sqlite

from .world import World

SEEN_MAX = 10
HANDLERS = TaskFilter(handlers_only=True)


@pytest.fixture
def bound(monkeypatch: pytest.MonkeyPatch) -> None:
    for adapter in (on_sqlite, on_postgres):
        monkeypatch.setattr(adapter, "LOOKED_AT_MAX", SEEN_MAX)


async def pages(world: World, query: TaskQuery) -> list[list[str]]:
    """The ids of each page, until there is no next one."""
    found = []
    while True:
        page = await world.store.tasks(query)
        found.append([task.id for task in page.tasks])
        if page.next is None:
            return found
        query = replace(query, after=page.next)


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
        assert len(found) == 3, name  # 22 runs of handlers, ten at a time
        assert [len(page) for page in await pages(world, replace(query, limit=1))].count(1) == len(expected), name
        of_all = await pages(world, replace(query, owner=None))
        assert [one for page in of_all for one in page] == expected, name
        assert len(of_all) == 7, name  # 62 tasks of any kind
        assert [task.id for task in (await world.store.tasks(replace(query, offset=1))).tasks] == expected[1:], name


@pytest.mark.usefixtures("bound")
async def test_what_an_index_serves_is_not_cut_short(world: World, owner: Owner) -> None:
    made = await world.submit_many(owner, 25, 60_000, target="@often")
    found = await pages(world, TaskQuery(owner.id, descending=True, limit=20, filter=HANDLERS))
    assert [len(page) for page in found] == [20, 5]
    full = await pages(world, TaskQuery(owner.id, descending=True, limit=10, filter=replace(HANDLERS, target="@often")))
    assert [one for page in full for one in page] == list(reversed(made))
