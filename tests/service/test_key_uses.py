"""When keys were used last: noted with the request, stored later and many at once."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from tasks_server.clock import ManualClock
from tasks_server.domain import limits
from tasks_server.domain.ids import key_digest
from tasks_server.domain.owner import Owner
from tasks_server.service.key_uses import KeyUses
from tasks_server.service.owners import OwnerService
from tasks_server.store.sealing import Sealer
from tasks_server.store.sqlite.store import SqliteStore


@pytest.fixture
async def store(clock: ManualClock) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(None, Sealer(bytes(32)), clock)
    await store.open()
    yield store
    await store.close()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


async def used_at(owners: OwnerService, owner: Owner) -> int | None:
    (key,) = await owners.keys(owner)
    return key.used_at


async def test_a_use_is_stored_once_in_a_while(store: SqliteStore, clock: ManualClock) -> None:
    owners, uses = OwnerService(store, clock), KeyUses(store, clock)
    owner, issued = await owners.register("small-shop")
    digest = key_digest(issued.key)

    async def use() -> None:
        holder = await owners.by_digest(digest)
        assert holder is not None
        uses.note(digest, holder)

    await use()
    assert await used_at(owners, owner) is None, "nothing is written with the request"
    await uses.store()
    first = clock.now()
    assert await used_at(owners, owner) == first

    clock.advance(limits.KEY_USE_NOTED_MS - 1)
    await use()
    await uses.store()
    assert await used_at(owners, owner) == first, "it is known well enough"

    clock.advance(1)
    await use()
    await uses.store()
    assert await used_at(owners, owner) == clock.now()


async def test_what_another_process_saw_later_stays(store: SqliteStore, clock: ManualClock) -> None:
    owners = OwnerService(store, clock)
    owner, issued = await owners.register("small-shop")
    for at in (9_000, 5_000):
        await store.note_keys_used([(key_digest(issued.key), at)])
    assert await used_at(owners, owner) == 9_000


async def test_uses_are_stored_by_themselves(
    store: SqliteStore, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks_server.service.key_uses._STORED_AFTER_SECONDS", 0.0)
    owners, uses, stored = OwnerService(store, clock), KeyUses(store, clock), asyncio.Event()
    owner, issued = await owners.register("small-shop")
    digest = key_digest(issued.key)
    holder = await owners.by_digest(digest)
    assert holder is not None
    note = store.note_keys_used

    async def noted(seen: Sequence[tuple[bytes, int]]) -> None:
        await note(seen)
        stored.set()

    monkeypatch.setattr(store, "note_keys_used", noted)
    uses.note(digest, holder)
    async with asyncio.timeout(10):
        await stored.wait()
    assert await used_at(owners, owner) == clock.now()
