"""Two stores that do the same bulk work at once, beside claims, steering and new tasks: each task is changed once."""

import asyncio
from collections import Counter

import pytest
from msgspec.structs import replace

from tasks_server.domain import lifecycle
from tasks_server.domain.bulk import Action
from tasks_server.domain.errors import Refused
from tasks_server.domain.owner import Owner
from tasks_server.domain.task import State
from tasks_server.store.bulking import BulkRefusal
from tests.store.bulks import Desk
from tests.store.world import FAILURE

from .conftest import Pair

Desks = tuple[Desk, Desk]


@pytest.fixture
def desks(pair: Pair) -> Desks:
    return Desk(pair[0]), Desk(pair[1])


async def all_steps(desks: Desks, **stride: int) -> None:
    """Both work at once until nothing is left to do."""
    while await desks[0].store.next_bulk() is not None:
        await asyncio.gather(*(desk.step(**stride) for desk in desks for _ in range(3)))
        desks[0].world.clock.advance(1)


async def test_both_work_and_each_task_is_changed_once(desks: Desks, owner: Owner) -> None:
    made = await desks[0].failed(owner, 60)
    bulks = [await desks[0].make(owner, Action.RETRY), await desks[1].make(owner, Action.RETRY, states=(State.FAILED,))]
    await all_steps(desks, seen_max=9, changed_max=4)
    done = [await desks[1].read(bulk) for bulk in bulks]
    assert sum(bulk.changed for bulk in done) == 60
    events = Counter([len(await desks[0].store.events(None, task)) for task in made])
    assert events == {1: 60}
    assert await desks[1].world.in_queue(owner) == 60
    await desks[0].world.check_counters()


async def test_beside_claims_that_settle(desks: Desks, owner: Owner) -> None:
    one, two = desks
    made = await one.world.submit_many(owner, 80)
    claims = await one.world.claim()
    bulk = await two.make(owner, Action.DELETE, states=tuple(State))
    reports = [one.world.report(claim, FAILURE) for claim in claims[::-1]]
    settling = [one.store.settle(reports[place : place + 20]) for place in range(0, 80, 20)]
    await asyncio.gather(all_steps(desks, changed_max=7), *settling)
    assert (await one.read(bulk)).changed == 80
    assert [await one.store.task(None, task) for task in made] == [None] * 80
    assert await two.world.in_queue(owner) == 0
    await two.world.check_counters()


async def test_beside_owners_who_steer_the_same_tasks(desks: Desks, owner: Owner) -> None:
    one, two = desks
    made = await one.failed(owner, 40)
    bulk = await one.make(owner, Action.RETRY)

    async def retry(task: str) -> bool:
        try:
            return await two.world.steer(task, lifecycle.restart) is not None
        except Refused:
            return False

    *alone, _ = await asyncio.gather(*(retry(task) for task in made[::-1]), all_steps(desks, changed_max=5))
    done = await one.read(bulk)
    assert done.changed + sum(alone) == 40
    events = Counter([len(await one.store.events(None, task)) for task in made])
    assert events == {1: 40}
    assert await one.world.in_queue(owner) == 40
    await one.world.check_counters()


async def test_the_limit_of_the_queue_holds(desks: Desks) -> None:
    one, two = desks
    owner = await one.world.owner(limit=30)
    made = [*await one.failed(owner, 30), *await one.failed(owner, 30)]
    await one.make(owner, Action.RETRY)
    inserts = [two.store.insert(two.world.task(owner, 60_000)) for _ in range(20)]
    retries = [two.world.steer(task, lifecycle.restart) for task in made[:10]]
    work = [desk.step(changed_max=6) for desk in desks for _ in range(6)]
    await asyncio.gather(*inserts, *retries, *work, return_exceptions=True)
    assert 27 <= await one.world.in_queue(owner) <= 30
    await one.world.check_counters()


async def test_an_owner_who_goes_meanwhile_takes_its_work_along(desks: Desks) -> None:
    one, two = desks
    for _ in range(10):
        owner = await one.world.owner()
        await one.failed(owner, 3)
        bulk = await one.make(owner, Action.RETRY)
        gone, worked = await asyncio.gather(one.store.delete_owner(owner.id), two.step())
        assert gone == (worked.bulk is None)
        assert (await one.store.bulk(None, bulk.id) is None) == gone
        assert await two.world.claim() == [] if gone else len(await two.world.claim()) == 3


async def test_so_much_open_and_no_more_for_both(desks: Desks, owner: Owner) -> None:
    news = [replace(desks[0].new(owner, Action.RETRY), id=f"{number:024}") for number in range(10)]
    answers = await asyncio.gather(*(desks[number % 2].store.create_bulk(new, 4) for number, new in enumerate(news)))
    assert [answer is BulkRefusal.FULL for answer in answers].count(True) == 6


async def test_cancelled_meanwhile_it_changes_no_more(desks: Desks, owner: Owner) -> None:
    one, two = desks
    made = await one.failed(owner, 50)
    bulk = await one.make(owner, Action.RETRY)
    steps = [one.step(changed_max=5) for _ in range(5)]
    await asyncio.gather(*steps, two.store.cancel_bulk(None, bulk.id, two.world.now))
    done = await two.read(bulk)
    assert done.standing == "cancelled"
    states = Counter([await one.world.state(task) for task in made])
    assert states[State.AVAILABLE] == done.changed
    assert (await one.step()).bulk is None
