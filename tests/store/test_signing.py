"""Signing secrets: there from the first moment, sealed, changed whole, gone with their owner."""

from pathlib import Path

import pytest

from tasks_server.clock import ManualClock
from tasks_server.domain.errors import Corrupt, Refused
from tasks_server.domain.owner import Owner
from tasks_server.domain.signing import Signing, rotated
from tasks_server.store.sqlite.store import SqliteStore

from .adapters import ADAPTERS, query
from .world import World, secret


async def signing(world: World, owner: Owner) -> Signing:
    found = await world.store.signing(owner.id)
    assert found is not None
    return found


async def test_an_owner_has_a_secret_from_the_beginning(world: World, owner: Owner, other: Owner) -> None:
    assert await signing(world, owner) == Signing(True, (secret(1),))
    assert await signing(world, other) == Signing(True, (secret(2),))
    assert await world.store.signing("7" * 26) is None


async def test_the_engine_gets_them_by_the_handles_of_claims(world: World, owner: Owner, other: Owner) -> None:
    await world.submit(owner)
    await world.submit(other)
    claims = await world.claim()
    found = await world.store.signing_keys([*{claim.owner for claim in claims}, 999])
    assert sorted(one.secrets[0].id for one in found.values()) == ["secret-1", "secret-2"]
    assert 999 not in found
    assert await world.store.signing_keys([]) == {}


async def test_signing_is_changed_as_a_whole(world: World, owner: Owner, other: Owner) -> None:
    new = secret(9, created_at=50)

    def rotate(before: Signing) -> Signing:
        return Signing(before.enabled, tuple(rotated(before.secrets, new, 150)))

    changed = await world.store.change_signing(owner.id, rotate)
    assert changed is not None
    assert [(one.id, one.key, one.expires_at) for one in changed.secrets] == [
        ("secret-9", new.key, None),
        ("secret-1", secret(1).key, 150),
    ]
    assert await signing(world, owner) == changed
    off = await world.store.change_signing(owner.id, lambda before: Signing(False, before.secrets))
    assert await signing(world, owner) == off == Signing(False, changed.secrets)
    assert await signing(world, other) == Signing(True, (secret(2),))
    assert await world.store.change_signing("7" * 26, rotate) is None


async def test_a_refusal_changes_nothing(world: World, owner: Owner) -> None:
    def refuse(_: Signing) -> Signing:
        raise Refused("no")

    with pytest.raises(Refused):
        await world.store.change_signing(owner.id, refuse)
    assert await signing(world, owner) == Signing(True, (secret(1),))


async def test_secrets_go_with_their_owner(world: World, owner: Owner) -> None:
    assert await world.store.delete_owner(owner.id)
    assert (await world.adapter.rows(world.store))["signing_secret"] == 0
    assert await world.store.signing(owner.id) is None


async def test_they_are_bound_to_their_owner_and_in_no_byte_that_is_stored(world: World, owner: Owner) -> None:
    other = await world.owner()
    await world.query("UPDATE signing_secret SET secret = (SELECT secret FROM signing_secret ORDER BY owner LIMIT 1)")
    assert await signing(world, owner) == Signing(True, (secret(1),))
    with pytest.raises(Corrupt):
        await world.store.signing(other.id)
    await world.store.close()
    stored = world.adapter.stored(world.folder)
    assert secret(1).key not in stored
    assert secret(1).key.hex().encode() not in stored


async def test_a_damaged_one_holds_up_nobody_and_can_be_replaced(world: World, owner: Owner, other: Owner) -> None:
    await world.query(f"UPDATE signing_secret SET secret = {world.adapter.blob(b'0')} WHERE id = 'secret-1'")
    handles = [row[0] for row in await world.query("SELECT seq FROM owner ORDER BY seq")]
    found = await world.store.signing_keys(handles)
    assert [found[seq].secrets for seq in handles] == [(), (secret(2),)]
    assert await world.store.change_signing(owner.id, lambda _: Signing(True, (secret(3),)))
    assert await signing(world, owner) == Signing(True, (secret(3),))


async def test_owners_from_before_get_one_when_the_database_is_opened(tmp_path: Path, clock: ManualClock) -> None:
    adapter = ADAPTERS["sqlite-file"]
    store = adapter.make(tmp_path, clock)
    assert isinstance(store, SqliteStore)
    await store.open()
    world = World(store, clock, adapter, tmp_path)
    first, second = await world.owner(), await world.owner()
    await query(store, "DELETE FROM signing_secret WHERE id = 'secret-1'")
    assert (await signing(world, first)).secrets == ()
    await store.close()
    await store.open()
    (made,) = (await signing(world, first)).secrets
    assert len(made.key) == 32
    assert (await signing(world, second)).secrets == (secret(2),)
    await store.close()
