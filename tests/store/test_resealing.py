"""Changing the cipher key: everything is sealed anew in bounded steps, and nothing is lost by it."""

import errno
import os
import struct
from pathlib import Path
from typing import Any

import pytest

from tasks_server.clock import ManualClock
from tasks_server.domain.attempt import Outcome, OutcomeKind, Redirected
from tasks_server.domain.callback import Callback, Callbacks
from tasks_server.domain.errors import Corrupt, Unavailable
from tasks_server.domain.firing import encode_template
from tasks_server.domain.lane import LaneFacts, LaneLimits
from tasks_server.domain.owner import Owner
from tasks_server.domain.request import TaskConfig
from tasks_server.service.resealing import reseal_all
from tasks_server.store.keys import change_keys, create_key_file, follower, parse_keys
from tasks_server.store.laning import LaneChange
from tasks_server.store.ports import RESEAL_FROM, Duplicate
from tasks_server.store.sealing import Sealer, key_id

from .adapters import ADAPTERS, MASTER, Adapter
from .schedules import TEMPLATE, Calendar
from .world import World, secret

OTHER = bytes(reversed(MASTER))


@pytest.fixture(params=[name for name, adapter in ADAPTERS.items() if adapter.shared])
def adapter(request: pytest.FixtureRequest) -> Adapter:
    return ADAPTERS[request.param]


def keyed(number: int) -> dict[str, Any]:
    return {"idempotency_key": f"order-{number}", "idempotency_digest": b"%d" % number}


async def filled(world: World, owner: Owner) -> list[str]:
    """The ids of tasks with requests, and with responses where they have run."""
    ids = [(await world.submit(owner, 60_000, spec=b"waits %d" % number)).id for number in range(7)]
    ids += [(await world.submit(owner, spec=b"runs %d" % number, **keyed(number))).id for number in range(5)]
    for response in (b"first", b"second"):
        outcome = Outcome(
            OutcomeKind.HTTP_ERROR, 500, "no", response=response, redirected=Redirected(1, "GET", "http://a/")
        )
        claims = await world.claim()
        await world.settle(claims, outcome, TaskConfig(retry=1, retry_interval=1_000))
        world.clock.advance(1_000)
    return ids


async def picture(world: World, ids: list[str]) -> list[object]:
    """All that is sealed, opened."""
    tasks = [(await world.store.spec(None, id), await world.read(id)) for id in ids]
    attempts = [await world.store.attempts(None, id) for id in ids]
    owners = await world.store.owners()
    keys = [await world.store.replay(owners[0].id, f"order-{n}", b"%d" % n, world.now) for n in range(5)]
    assert all(key is not None and key.same_body for key in keys)
    return [*tasks, *attempts, *keys, *[await world.store.signing(owner.id) for owner in owners]]


async def test_everything_is_sealed_anew_and_the_old_key_is_needed_no_more(
    world: World, owner: Owner, other: Owner, clock: ManualClock
) -> None:
    ids = await filled(world, owner)
    scheduled = await Calendar(world).make(owner, "nightly")
    before = await picture(world, ids)
    values = await world.store.keys_used()
    assert list(values) == [key_id(MASTER)]
    await world.store.close()
    both = world.adapter.make(world.folder, clock, OTHER, MASTER)
    await both.open()
    steps: list[tuple[int, int]] = []
    changed = await reseal_all(both, lambda seen, changed: steps.append((seen, changed)))
    assert await both.keys_used() == {key_id(OTHER): sum(values.values())}
    assert changed == sum(values.values()) == steps[-1][1]
    again = await reseal_all(both, lambda seen, changed: None)
    assert again == 1, "only what proves the key is sealed at every end"
    await both.close()
    only = world.adapter.make(world.folder, clock, OTHER)
    await only.open()
    assert await picture(World(only, clock, world.adapter, world.folder), ids) == before
    assert await only.schedule(owner.id, "nightly") == (scheduled, encode_template(TEMPLATE))
    await only.close()
    with pytest.raises(Corrupt, match="another cipher key"):
        await world.store.open()


async def test_steps_are_bounded_and_can_be_broken_off(world: World, owner: Owner, clock: ManualClock) -> None:
    ids = await filled(world, owner)
    before = await picture(world, ids)
    await world.store.close()
    both = world.adapter.make(world.folder, clock, OTHER, MASTER)
    await both.open()
    after, count = RESEAL_FROM, 0
    for _ in range(4):
        done = await both.reseal(after, 2)
        assert done.after is not None
        assert done.seen == done.changed == 2
        after, count = done.after, count + done.changed
    used = await both.keys_used()
    assert used[key_id(OTHER)] == count == 8
    assert await picture(World(both, clock, world.adapter, world.folder), ids) == before
    assert await reseal_all(both, lambda seen, changed: None) == used[key_id(MASTER)]
    assert set(await both.keys_used()) == {key_id(OTHER)}
    await both.close()


async def test_a_key_is_remembered_by_whoever_has_not_looked_for_new_cipher_keys_yet(
    world: World, owner: Owner, clock: ManualClock, tmp_path: Path
) -> None:
    """One process stores under a key that was made a moment ago, which the other has not heard of."""
    path = tmp_path / "cipher.key"
    path.write_text(MASTER.hex())
    stores = [world.adapter.make(world.folder, clock, MASTER, source=follower(path)) for _ in range(2)]
    await world.store.close()
    for store in stores:
        await store.open()
    change_keys(path, lambda keys: [OTHER, *keys])
    stores[0].look_for_keys()
    task = world.task(owner, **keyed(1))
    await stores[0].insert(task)
    again = await stores[1].insert(world.task(owner, **keyed(1)))
    assert isinstance(again, Duplicate)
    assert again.task.id == task.id
    for store in stores:
        await store.close()


async def test_damage_is_left_as_it_is_and_counted(world: World, owner: Owner, clock: ManualClock) -> None:
    await world.submit(owner, 60_000)
    damaged = await world.submit(owner, 60_000)
    await world.query("UPDATE request SET spec = substr(spec, 1, 40) WHERE task = 2")
    await world.store.close()
    both = world.adapter.make(world.folder, clock, OTHER, MASTER)
    await both.open()
    await reseal_all(both, lambda seen, changed: None)
    assert (await both.keys_used())[key_id(MASTER)] == 1
    with pytest.raises(Corrupt):
        await both.spec(None, damaged.id)
    await both.close()


async def test_a_new_owners_secret_is_sealed_with_the_new_key(world: World, clock: ManualClock) -> None:
    await world.owner()
    await world.store.close()
    both = world.adapter.make(world.folder, clock, OTHER, MASTER)
    await both.open()
    await World(both, clock, world.adapter, world.folder, first=5).owner()
    rows = await world.adapter.query(both, "SELECT id, substr(secret, 2, 4) FROM signing_secret ORDER BY id")
    assert rows == [("secret-1", key_id(MASTER)), (secret(5).id, key_id(OTHER))]
    await both.close()


# Keys that change while a process runs


def test_a_changed_key_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "cipher.key"
    create_key_file(path)
    (old,) = parse_keys(path.read_text(), "")
    sealer = Sealer(old, source=follower(path))
    assert sealer.refresh()
    before = sealer.seal(b"before", b"here")
    assert not sealer.refresh()
    assert change_keys(path, lambda keys: [OTHER, *keys]) == [OTHER, old]
    stranger = Sealer(OTHER).seal(b"stranger", b"here")
    assert sealer.open(stranger, b"here") == b"stranger"
    assert sealer.sealing_key_id == key_id(OTHER)
    assert Sealer(OTHER).open(sealer.seal(b"after", b"here"), b"here") == b"after"
    assert sealer.open(before, b"here") == b"before"
    assert path.stat().st_mode & 0o777 == 0o600


def test_what_is_no_key_file_leaves_the_keys_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "cipher.key"
    sealer = Sealer(MASTER, source=follower(path))
    assert not sealer.refresh()
    path.write_text("short")
    assert not sealer.refresh()
    assert sealer.open(sealer.seal(b"x", b"y"), b"y") == b"x"
    with pytest.raises(Corrupt, match="another cipher key"):
        sealer.open(Sealer(OTHER).seal(b"x", b"y"), b"y")


# The file


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    """A key file as Kubernetes mounts it: a link to a link."""
    (tmp_path / "..2026_01_01").mkdir()
    (tmp_path / "..2026_01_01" / "key").write_text(MASTER.hex())
    (tmp_path / "..data").symlink_to("..2026_01_01")
    (tmp_path / "key").symlink_to("..data/key")
    return tmp_path / "key"


def test_behind_a_link_the_file_itself_changes_and_keeps_its_mode(key_file: Path) -> None:
    key_file.chmod(0o640)
    before = key_file.stat()
    assert change_keys(key_file, lambda keys: [OTHER, *keys]) == [OTHER, MASTER]
    assert key_file.is_symlink()
    assert str(key_file.readlink()) == "..data/key"
    after = key_file.stat()
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
    assert key_file.read_text() == f"{OTHER.hex()}\n{MASTER.hex()}\n"
    assert [path.name for path in key_file.resolve().parent.iterdir()] == ["key"]


def test_an_access_list_stays(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text(MASTER.hex())
    entries = ((1, 6, -1), (2, 4, 4711), (4, 0, -1), (16, 4, -1), (32, 0, -1))  # acl(5): user 4711 may read it, too
    kept = struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *entry) for entry in entries)
    try:
        os.setxattr(path, "system.posix_acl_access", kept)
    except OSError:
        pytest.skip("this file system has no access lists")
    change_keys(path, lambda keys: [OTHER, *keys])
    assert os.getxattr(path, "system.posix_acl_access") == kept


@pytest.mark.parametrize("mode", [0o600, 0o640])
def test_a_group_that_we_may_not_give_stays(key_file: Path, mode: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is not in the group of a file of his own cannot make another one of that group."""

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    key_file.chmod(mode)
    before = key_file.stat()
    monkeypatch.setattr(os, "fchown", refuse)
    assert change_keys(key_file, lambda keys: [OTHER, *keys]) == [OTHER, MASTER]
    assert key_file.read_text() == f"{OTHER.hex()}\n{MASTER.hex()}\n"
    assert (key_file.stat().st_ino == before.st_ino) == (mode == 0o640), "what its group reads is written over"
    assert change_keys(key_file, lambda keys: keys[:1]) == [OTHER]
    assert key_file.read_text() == f"{OTHER.hex()}\n"
    after = key_file.stat()
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
    assert [path.name for path in key_file.resolve().parent.iterdir()] == ["key"]


@pytest.mark.parametrize(
    ("number", "told"),
    [(errno.EROFS, "mounted read-only: change it where it comes from"), (errno.EBUSY, "mounted by itself")],
)
def test_one_that_cannot_be_replaced_is_left_alone(
    key_file: Path, number: int, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(Unavailable, match=f"cannot change the cipher key {key_file}: it is {told}.*; it is as it was"):
        change_keys(key_file, lambda keys: [OTHER, *keys])
    assert key_file.read_text() == MASTER.hex()
    assert [path.name for path in key_file.resolve().parent.iterdir()] == ["key"]


def test_a_pipe_that_takes_the_place_of_the_file_makes_nobody_wait(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text(MASTER.hex())
    sealer = Sealer(MASTER, source=follower(path))
    assert sealer.refresh()
    path.unlink()
    os.mkfifo(path)
    assert not sealer.refresh()


def test_what_another_is_writing_beside_a_new_key_stays(tmp_path: Path) -> None:
    """Processes of two containers may have the same number."""
    others = tmp_path / f"cipher.key.{os.getpid()}.tmp"
    others.write_text("half of it")
    create_key_file(tmp_path / "cipher.key")
    assert others.read_text() == "half of it"


async def test_callbacks_are_sealed_anew_with_the_present_key(world: World, owner: Owner) -> None:
    asked = Callbacks(failure=Callback("https://ops.example/told"))
    await world.store.change_owner_callbacks(owner.id, lambda _: asked)
    change = LaneChange(LaneFacts(LaneLimits()), asked)
    await world.store.change_lane(owner.id, "mail", lambda _: change, 10)
    await world.store.close()
    world.store = world.adapter.make(world.folder, world.clock, OTHER, MASTER)
    await world.store.open()
    after: tuple[int, int, int] | None = RESEAL_FROM
    while after is not None:
        after = (await world.store.reseal(after, 1)).after
    assert len(await world.store.keys_used()) == 1
    await world.store.close()
    world.store = world.adapter.make(world.folder, world.clock, OTHER)
    await world.store.open()
    assert await world.store.owner_callbacks(owner.id) == asked
    lane = await world.store.lane(owner.id, "mail")
    assert lane is not None
    assert lane.callbacks == asked
    await world.store.close()
