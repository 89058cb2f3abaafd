"""Owners: found by id, name and key; names are unique among the living; a deleted owner's rest goes."""

from tasks_server.domain import ids
from tasks_server.domain.owner import Owner, OwnerKey
from tasks_server.domain.task import State

from .world import World, secret


def digest(text: str) -> bytes:
    return ids.key_digest(text)


async def holder(world: World, text: str) -> Owner | None:
    """Whose key it is."""
    found = await world.store.owner_by_key(digest(text))
    return None if found is None else found.owner


async def test_an_owner_is_found_by_id_name_and_key(world: World, owner: Owner) -> None:
    assert await world.store.owner(owner.id) == owner
    assert await world.store.owner_by_name(owner.name) == owner
    assert await holder(world, owner.name) == owner
    assert await world.store.owner("7" * 26) is None
    assert await world.store.owner_by_name("First-Owner") is None
    assert await holder(world, "other") is None


async def test_a_name_is_given_once(world: World, owner: Owner) -> None:
    twin = Owner(ids.owner_id(world.now, b"\xff" * 10), owner.name, world.now)
    assert await world.store.create_owner(twin, OwnerKey("key", world.now), digest("twin"), secret(9)) is False
    assert await world.store.owner(twin.id) is None
    assert await holder(world, "twin") is None
    assert await world.store.owner_by_name(owner.name) == owner


async def test_the_count_of_tasks_in_queue(world: World, owner: Owner) -> None:
    await world.submit_many(owner, 3)
    await world.settle((await world.claim())[:1])
    for found in (
        await world.store.owner(owner.id),
        await world.store.owner_by_name(owner.name),
        await holder(world, owner.name),
    ):
        assert found is not None
        assert found.tasks_in_queue == 2


async def test_the_limit_is_set(world: World, owner: Owner) -> None:
    assert await world.set_limit(owner.id, 7) is True
    found = await world.store.owner(owner.id)
    assert found is not None
    assert found.tasks_in_queue_max == 7
    assert await world.set_limit("7" * 26, 7) is False


async def test_owners_are_listed_by_name(world: World) -> None:
    names = ["delta", "alpha", "charlie", "bravo"]
    for name in names:
        await world.owner(name)
    assert [owner.name for owner in await world.store.owners()] == sorted(names)
    first = await world.store.owners(limit=3)
    assert [owner.name for owner in first] == ["alpha", "bravo", "charlie"]
    assert [owner.name for owner in await world.store.owners(after="charlie")] == ["delta"]
    assert await world.store.owners(after="delta") == []


# Keys


async def test_two_keys_for_rotation(world: World, owner: Owner) -> None:
    (first,) = await world.store.keys(owner.id)
    world.clock.advance(1)
    second = OwnerKey("second", world.now)
    assert await world.store.add_key(owner.id, second, digest("second"), 2) is True
    assert await world.store.add_key(owner.id, OwnerKey("third", world.now), digest("third"), 2) is False
    assert await world.store.keys(owner.id) == [first, second]
    assert await holder(world, "third") is None
    assert await world.store.remove_key(owner.id, first.id) is True
    assert await holder(world, owner.name) is None
    assert await holder(world, "second") == owner
    assert await world.store.remove_key(owner.id, second.id) is False
    assert await holder(world, "second") == owner


async def test_keys_of_others_are_no_keys(world: World, owner: Owner, other: Owner) -> None:
    (theirs,) = await world.store.keys(other.id)
    await world.store.add_key(owner.id, OwnerKey("second", world.now), digest("second"), 2)
    assert await world.store.remove_key(owner.id, theirs.id) is None
    assert await world.store.remove_key("7" * 26, theirs.id) is None
    assert await world.store.keys("7" * 26) == []
    assert await world.store.add_key("7" * 26, OwnerKey("x", world.now), digest("x"), 2) is False
    assert await world.store.keys(other.id) == [theirs]


# Deleting


async def test_an_owner_with_tasks_in_queue_stays(world: World, owner: Owner) -> None:
    task = await world.submit(owner)
    assert await world.store.delete_owner(owner.id) is False
    assert await world.store.owner(owner.id) is not None
    await world.settle(await world.claim_one())
    assert await world.store.delete_owner(owner.id) is True
    assert await world.store.delete_owner(owner.id) is None
    assert await world.store.delete_owner("7" * 26) is None
    assert task.owner == owner.id


async def test_a_deleted_owner_is_not_found_and_its_name_is_free(world: World, owner: Owner) -> None:
    await world.store.delete_owner(owner.id)
    assert await world.store.owner(owner.id) is None
    assert await world.store.owner_by_name(owner.name) is None
    assert await holder(world, owner.name) is None
    assert await world.store.owners() == []
    assert await world.store.keys(owner.id) == []
    assert await world.set_limit(owner.id, 5) is False
    assert await world.store.add_key(owner.id, OwnerKey("k", world.now), digest("k"), 2) is False
    again = Owner(ids.owner_id(world.now, b"\x01" * 10), owner.name, world.now)
    assert await world.store.create_owner(again, OwnerKey("new", world.now), digest("new"), secret(9)) is True
    assert await world.store.owner_by_name(owner.name) == again


async def test_the_successor_of_a_deleted_owner_inherits_nothing(world: World, owner: Owner) -> None:
    task = world.task(owner, idempotency_key="k", idempotency_digest=b"d", metadata={"a": "b"})
    await world.store.insert(task)
    await world.settle(await world.claim_one())
    await world.store.delete_owner(owner.id)
    for _ in range(3):
        await world.store.prune(0, 100)
    heir = await world.owner(owner.name)
    assert heir.tasks_in_queue == 0
    fresh = world.task(heir, idempotency_key="k", idempotency_digest=b"d")
    await world.store.insert(fresh)
    assert await world.state(fresh) is State.AVAILABLE
    assert (await world.read(fresh)).owner == heir.id
    assert (await world.claim_one()).id == fresh.id
    await world.check_counters()


async def test_prune_takes_all_that_a_deleted_owner_left(world: World, owner: Owner) -> None:
    before = await world.adapter.rows(world.store)
    doomed = await world.owner("doomed")
    for state in (State.COMPLETED, State.FAILED, State.REVOKED):
        await world.bring_to(state, doomed)
    await world.store.insert(world.task(doomed, idempotency_key="k", idempotency_digest=b"d", metadata={"a": "b"}))
    await world.settle(await world.claim_one())
    await world.store.delete_owner(doomed.id)
    for _ in range(4):
        await world.store.prune(0, 100)
    assert await world.adapter.rows(world.store) == before
    assert await world.store.owner(owner.id) == owner


async def test_when_keys_were_used_is_kept_and_never_goes_back(world: World, owner: Owner) -> None:
    await world.store.note_keys_used([(digest(owner.name), 7_000), (digest("nobody"), 1)])
    await world.store.note_keys_used([(digest(owner.name), 3_000)])
    (key,) = await world.store.keys(owner.id)
    assert key.used_at == 7_000
    found = await world.store.owner_by_key(digest(owner.name))
    assert found is not None
    assert found.key == key


async def test_owners_are_listed_up_to_a_name(world: World) -> None:
    for name in ("depot", "shop-a", "shop-b", "store"):
        await world.owner(name)
    assert [owner.name for owner in await world.store.owners("shoo~", 10, "shop~")] == ["shop-a", "shop-b"]


async def test_a_link_is_used_once_and_forgotten_when_it_is_too_old(world: World) -> None:
    assert await world.store.use_link(b"one", 2_000, 1_000)
    assert not await world.store.use_link(b"one", 2_000, 1_500)
    assert await world.store.use_link(b"two", 9_000, 2_001)
    assert await world.query("SELECT count(*) FROM used_link") == [(1,)]
