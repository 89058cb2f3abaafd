"""A SQLite database whose files are removed, moved, replaced or overwritten while it is open: what is acknowledged lies
at its path, nothing is stored elsewhere, and what can be kept is kept.
"""

import contextlib
import os
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import apsw
import pytest

from tasks_server.clock import ManualClock
from tasks_server.domain.errors import Gone, StoreError, Unavailable, Uncertain
from tasks_server.domain.owner import Owner
from tasks_server.store.ports import Inserted
from tasks_server.store.sealing import Sealer
from tasks_server.store.sqlite.maintaining import checkpoint
from tasks_server.store.sqlite.store import SqliteStore

from .adapters import ADAPTERS, MASTER
from .world import World


def opened(path: Path, clock: ManualClock, *, durable: bool = True) -> SqliteStore:
    return SqliteStore(path, Sealer(MASTER), clock, durable=durable, make=True)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    return tmp_path / "data" / "tasks.db"


@pytest.fixture(params=[True, False], ids=["api", "engine"])
async def world(request: pytest.FixtureRequest, path: Path, clock: ManualClock) -> AsyncIterator[World]:
    store = opened(path, clock, durable=request.param)
    await store.open()
    yield World(store, clock, ADAPTERS["sqlite-file"], path.parent)
    await store.close()


@pytest.fixture
async def owner(world: World) -> Owner:
    return await world.owner("first-owner")


async def refused(world: World, owner: Owner) -> list[StoreError]:
    """What two inserts after each other are refused with; the second knows what the first one found."""
    errors: list[StoreError] = []
    for _ in range(2):
        with pytest.raises(Unavailable) as told:
            await world.store.insert(world.task(owner))
        errors.append(told.value)
    return errors


async def tasks_in(path: Path, clock: ManualClock) -> int:
    """How many tasks whoever opens the database finds."""
    store = SqliteStore(path, Sealer(MASTER), clock)
    await store.open()
    count = sum((await store.counts(None)).values())
    await store.close()
    return count


def beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)


# Gone and back


def remove(path: Path) -> None:
    path.unlink()


def move(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))


def move_folder(path: Path) -> None:
    path.parent.rename(path.parent.with_name("another-folder"))


@pytest.mark.parametrize("go", [remove, move, move_folder])
async def test_nothing_is_acknowledged_without_the_database(
    world: World, owner: Owner, path: Path, go: Callable[[Path], None]
) -> None:
    await world.submit(owner)
    go(path)
    first, second = await refused(world, owner)
    assert isinstance(first, Uncertain), "it was written, and who knows where it is"
    assert isinstance(second, Gone)
    assert f"{path}: the database is gone: it was removed or moved" in second.message
    assert isinstance(world.store.lost(), Gone)
    for asked in (
        world.claim(),
        world.store.owners(),
        world.store.probe(),
        world.store.rescue(world.now, 10, lambda _: pytest.fail("nothing is to be decided")),
        world.store.checkpoint(),
        world.store.check(),
        world.store.nodes(),
    ):
        with pytest.raises(Gone):
            await asked
    assert not path.exists(), "nobody made another one"


async def test_all_goes_on_when_it_is_back(world: World, owner: Owner, path: Path, clock: ManualClock) -> None:
    await world.submit(owner)
    move(path)
    await refused(world, owner)
    path.with_name("elsewhere").rename(path)
    assert world.store.lost() is None
    await world.store.probe()
    assert isinstance(await world.store.insert(world.task(owner)), Inserted)
    assert len(await world.claim()) >= 2
    await world.store.close()
    assert await tasks_in(path, clock) >= 2


async def test_what_was_stored_is_there_when_it_is_put_back_after_the_stop(
    world: World, owner: Owner, path: Path, clock: ManualClock
) -> None:
    await world.submit(owner)
    move(path)
    await refused(world, owner)
    await world.store.close()
    assert beside(path, "-wal").stat().st_size > 0, "the log was left alone"
    path.with_name("elsewhere").rename(path)
    assert await tasks_in(path, clock) >= 1


# Another file in its place


@pytest.fixture
async def backup(world: World, owner: Owner, path: Path, clock: ManualClock) -> Path:
    """An older state of the database: with one task."""
    await world.submit(owner)
    copy = path.with_name("backup")
    source, target = apsw.Connection(str(path)), apsw.Connection(str(copy))
    with contextlib.closing(source), contextlib.closing(target), target.backup("main", source, "main") as work:
        work.step()
    await world.submit(owner)
    return copy


async def test_another_file_in_its_place_is_not_taken_for_it(
    world: World, owner: Owner, path: Path, backup: Path, clock: ManualClock
) -> None:
    shutil.copy(backup, beside(path, ".new"))
    before = backup.read_bytes()
    beside(path, ".new").rename(path)
    _, second = await refused(world, owner)
    assert "another file is in the place of the database" in second.message
    assert f"remove {path.name}-wal and {path.name}-shm" in second.message
    with pytest.raises(Gone, match="belongs to what was there before"):
        await opened(path, clock).open()
    await world.store.close()
    with pytest.raises(Gone, match="belongs to what was there before"):
        await opened(path, clock).open()
    assert path.read_bytes() == before, "nothing of the former one came into it"
    beside(path, "-wal").unlink()
    beside(path, "-shm").unlink()
    assert await tasks_in(path, clock) == 1
    assert not beside(path, ".mixed").exists()


async def test_the_former_one_in_its_place_again(
    world: World, owner: Owner, path: Path, backup: Path, clock: ManualClock
) -> None:
    move(path)
    shutil.copy(backup, path)
    await refused(world, owner)
    path.with_name("elsewhere").rename(path)
    assert isinstance(await world.store.insert(world.task(owner)), Inserted)
    assert not beside(path, ".mixed").exists()
    await world.store.close()
    assert await tasks_in(path, clock) >= 3


async def test_all_of_another_database_in_its_place(
    world: World, owner: Owner, path: Path, clock: ManualClock, tmp_path: Path
) -> None:
    await world.submit(owner)
    (tmp_path / "other").mkdir()
    other = opened(tmp_path / "other" / path.name, clock)
    await other.open()
    for ending in ("", "-wal", "-shm"):
        (tmp_path / "other" / f"{path.name}{ending}").rename(beside(path, ending))
    log = beside(path, "-wal").read_bytes()
    await refused(world, owner)
    await world.store.close()
    assert beside(path, "-wal").read_bytes() == log, "the log of another is not ours to remove"
    assert not beside(path, ".mixed").exists()
    await other.close()


# Overwritten


def copy_over(backup: Path, path: Path) -> None:
    shutil.copyfile(backup, path)


def cut(backup: Path, path: Path) -> None:
    os.truncate(path, 4_096)


def patch(backup: Path, path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(8_192)
        file.write(b"something else")


@pytest.mark.parametrize("overwrite", [copy_over, cut, patch])
async def test_a_database_that_is_overwritten_is_left_alone(
    world: World, owner: Owner, path: Path, backup: Path, clock: ManualClock, overwrite: Callable[[Path, Path], None]
) -> None:
    overwrite(backup, path)
    written = path.read_bytes()
    _, second = await refused(world, owner)
    assert "something else than SQLite wrote to the database" in second.message
    with pytest.raises(Gone):
        await world.store.checkpoint()
    await world.store.close()
    assert path.read_bytes() == written, "nothing of the log came into it"
    with pytest.raises(Gone, match="belongs to what was there before"):
        await opened(path, clock).open()
    beside(path, "-wal").unlink()
    beside(path, "-shm").unlink()
    shutil.copyfile(backup, path)
    assert await tasks_in(path, clock) == 1


async def test_a_copy_onto_it_is_no_cure(world: World, owner: Owner, path: Path, backup: Path) -> None:
    before = path.read_bytes()
    copy_over(backup, path)
    await refused(world, owner)
    path.write_bytes(before)
    assert isinstance(world.store.lost(), Gone)


async def test_checkpoints_of_anybody_are_no_overwriting(
    world: World, owner: Owner, path: Path, clock: ManualClock
) -> None:
    """Those of our duty, of a commit, of another process of ours, of any program that uses SQLite."""
    another = opened(path, clock)
    await another.open()
    connection = apsw.Connection(str(path))
    for round_ in range(12):
        await world.submit_many(owner, 60)
        if round_ % 3 == 0:
            await another.insert(world.task(owner))
            connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        elif round_ % 3 == 1:
            connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        else:
            connection.execute("PRAGMA wal_autocheckpoint = 1; UPDATE meta SET value = value")
        assert world.store.lost() is None
        assert another.lost() is None
    connection.close()
    checkpoint(path)
    await another.close()
    assert world.store.lost() is None
    await world.store.probe()


# The log and its index


async def test_what_a_removed_log_holds_is_kept(world: World, owner: Owner, path: Path, clock: ManualClock) -> None:
    await world.submit_many(owner, 5)
    beside(path, "-wal").unlink()
    _, second = await refused(world, owner)
    assert f"{path}-wal is gone, which belongs to the database. What it held is in the database" in second.message
    copy = path.with_name("copy")
    shutil.copy(path, copy)
    assert await tasks_in(copy, clock) >= 5, "also for whoever comes before the server stops"
    await world.store.close()
    assert await tasks_in(path, clock) >= 5


@pytest.mark.parametrize("ending", ["-wal", "-shm"])
async def test_another_log_or_index_is_not_taken_for_it(
    world: World, owner: Owner, path: Path, clock: ManualClock, ending: str
) -> None:
    await world.submit(owner)
    theirs = beside(path, f".theirs{ending}")
    theirs.write_bytes(b"")
    theirs.rename(beside(path, ending))
    _, second = await refused(world, owner)
    assert f"{path.name}-wal or {path.name}-shm was replaced. Start the server anew" in second.message
    await world.store.close()
    assert beside(path, ending).read_bytes() == b""


async def test_an_index_that_is_gone_loses_nothing(world: World, owner: Owner, path: Path, clock: ManualClock) -> None:
    await world.submit_many(owner, 5)
    beside(path, "-shm").unlink()
    _, second = await refused(world, owner)
    assert f"{path}-shm is gone" in second.message
    await world.store.close()
    assert await tasks_in(path, clock) >= 5


# Two processes


async def test_each_process_finds_out_by_itself(world: World, owner: Owner, path: Path, clock: ManualClock) -> None:
    another = opened(path, clock)
    await another.open()
    await world.submit(owner)
    move(path)
    assert isinstance(another.lost(), Gone)
    assert isinstance(world.store.lost(), Gone)
    with pytest.raises(Gone):
        await another.owners()
    path.with_name("elsewhere").rename(path)
    assert another.lost() is None
    await another.close()


async def test_a_store_in_memory_has_no_files(clock: ManualClock, path: Path) -> None:
    store = SqliteStore(None, Sealer(MASTER), clock)
    await store.open()
    await store.probe()
    assert store.lost() is None
    await store.close()


async def test_a_store_that_does_not_open_leaves_nothing_open(path: Path, clock: ManualClock) -> None:
    before = len(os.listdir("/proc/self/fd"))
    path.write_bytes(b"no database" * 1_000)
    with pytest.raises(StoreError):
        await opened(path, clock).open()
    assert len(os.listdir("/proc/self/fd")) == before
