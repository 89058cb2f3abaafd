"""The services alone: what they make, whom they tell, what they are given."""

from collections.abc import AsyncIterator
from datetime import UTC

import pytest

from tasks_server.clock import ManualClock
from tasks_server.domain.errors import Conflict, InvalidRequest, NotFound, Refused, Unauthorized
from tasks_server.domain.limits import PROMOTE_AHEAD_MS
from tasks_server.domain.owner import Owner
from tasks_server.domain.task import NewTask, State
from tasks_server.domain.validation import Draft, read
from tasks_server.service.ground import Ground
from tasks_server.service.owners import OwnerEdit, OwnerService
from tasks_server.service.tasks import TaskService
from tasks_server.store.sealing import Sealer
from tasks_server.store.sqlite.store import SqliteStore


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def store(clock: ManualClock) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(None, Sealer(bytes(32)), clock)
    await store.open()
    yield store
    await store.close()


@pytest.fixture
def owners(store: SqliteStore, clock: ManualClock) -> OwnerService:
    return OwnerService(store, clock)


@pytest.fixture
def tasks(store: SqliteStore, clock: ManualClock) -> TaskService:
    return TaskService(Ground(store, clock))


@pytest.fixture
async def owner(owners: OwnerService) -> Owner:
    return (await owners.register("small-shop"))[0]


def draft(now: int, **config: object) -> Draft:
    return read({"httpRequest": {"url": "http://t.test", "method": "GET"}, "config": config}, now, UTC)


async def test_owners_are_paged_by_name(owners: OwnerService) -> None:
    for name in ("shop-c", "shop-a", "shop-b"):
        await owners.register(name)
    first = await owners.page(limit=2)
    assert [owner.name for owner in first] == ["shop-a", "shop-b"]
    assert [owner.name for owner in await owners.page(after="shop-b")] == ["shop-c"]


async def test_a_key_is_found_by_its_digest_and_stored_nowhere(owners: OwnerService, store: SqliteStore) -> None:
    owner, issued = await owners.register("small-shop")
    from tasks_server.domain.ids import key_digest

    found = await owners.by_digest(key_digest(issued.key))
    assert found is not None
    assert (found.owner.id, found.key.id, found.key.used_at) == (owner.id, issued.id, None)
    assert [key.id for key in await owners.keys(owner)] == [issued.id]


async def test_names_are_refused_before_the_store_is_asked(owners: OwnerService, owner: Owner) -> None:
    with pytest.raises(InvalidRequest):
        await owners.register("no")
    with pytest.raises(Conflict):
        await owners.register(owner.name)
    with pytest.raises(NotFound):
        await owners.by_name("\0")


async def test_ids_and_keys_come_from_the_given_randomness(store: SqliteStore, clock: ManualClock) -> None:
    asked: list[int] = []

    def random(count: int) -> bytes:
        asked.append(count)
        return bytes(count)

    owner, issued = await OwnerService(store, clock, random).register("small-shop")
    made = await TaskService(Ground(store, clock, random=random)).submit(owner.id, draft(clock.now()))

    assert (owner.id[10:], issued.key, made.id[-14:]) == ("0" * 16, "A" * 64, "0" * 14)
    assert sum(asked) == 10 + 9 + 128 + (9 + 32) + 9


@pytest.mark.parametrize(
    ("delay", "state"),
    [(0, State.AVAILABLE), (PROMOTE_AHEAD_MS, State.AVAILABLE), (PROMOTE_AHEAD_MS + 1, State.SCHEDULED)],
)
async def test_a_task_is_placed_in_line_or_waits(
    tasks: TaskService, owner: Owner, clock: ManualClock, delay: int, state: State
) -> None:
    made = await tasks.submit(owner.id, draft(clock.now(), executionDelay=delay))
    assert isinstance(made, NewTask)
    assert (made.state, made.due_at, made.target) == (state, clock.now() + delay, "t.test:80")
    assert (await tasks.task(owner.id, made.id)).state is state


async def test_a_full_queue_refuses_and_says_how_large_it_is(
    tasks: TaskService, owners: OwnerService, owner: Owner, clock: ManualClock
) -> None:
    await owners.edit(owner.name, OwnerEdit(tasks_in_queue_max=1), "operator")
    await tasks.submit(owner.id, draft(clock.now()))
    with pytest.raises(Refused, match="has 1 of the 1 tasks in queue"):
        await tasks.submit(owner.id, draft(clock.now()))


async def test_an_owner_that_is_gone_gets_no_tasks(tasks: TaskService, clock: ManualClock) -> None:
    with pytest.raises(Unauthorized) as refused:
        await tasks.submit("0" * 26, draft(clock.now()))
    assert refused.value.code == "owner_unknown"
    with pytest.raises(Unauthorized):
        await tasks.submit_batch("0" * 26, [draft(clock.now())])


async def test_the_operator_reaches_every_owners_tasks(tasks: TaskService, owner: Owner, clock: ManualClock) -> None:
    made = await tasks.submit(owner.id, draft(clock.now(), executionDelay="1h"))
    assert (await tasks.pause(None, made.id, by="operator")).state is State.PAUSED
    assert (await tasks.revoke(None, made.id, by="operator")).state is State.REVOKED
    await tasks.delete(None, made.id)
    with pytest.raises(NotFound):
        await tasks.task(None, made.id)


async def test_an_id_that_could_be_none_is_not_asked_of_the_store(tasks: TaskService, store: SqliteStore) -> None:
    await store.close()
    with pytest.raises(NotFound):
        await tasks.task(None, "nonsense")
