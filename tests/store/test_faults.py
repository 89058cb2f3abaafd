"""When the file or the disk is at fault: a clear word, nothing half-stored, and on again once it is mended."""

import asyncio
import os
import resource
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw
import pytest

from tasks_server.clock import ManualClock
from tasks_server.domain.errors import Busy, Corrupt, StoreError, Unavailable
from tasks_server.domain.owner import Owner
from tasks_server.domain.task import State
from tasks_server.store.ports import Inserted, TaskQuery
from tasks_server.store.sqlite.store import SqliteStore

from .adapters import ADAPTERS, Adapter
from .world import World

FILE = ADAPTERS["sqlite-file"]


@pytest.fixture
def adapter() -> Adapter:
    """These are about files."""
    return FILE


def connection_of(world: World) -> apsw.Connection:
    """The connection that writes. Only for pragmas, and only while the store is idle."""
    assert isinstance(world.store, SqliteStore)
    assert world.store._writer is not None
    return world.store._writer.connection


async def refused(folder: Path, clock: ManualClock) -> StoreError:
    """The error with which a store refuses to open."""
    store = FILE.make(folder, clock)
    with pytest.raises(StoreError) as caught:
        await store.open()
    await store.close()
    assert str(folder) in caught.value.message
    return caught.value


async def sound(world: World, owner: Owner, count: int) -> None:
    """The store holds `count` whole tasks, its books are right and it takes more."""
    await world.check_counters()
    assert await world.in_queue(owner) == count
    listed = (await world.store.tasks(TaskQuery(owner.id, limit=1_000))).tasks
    assert len(listed) == count
    for task in listed:
        assert await world.store.spec(owner.id, task.id) is not None
    await world.store.check()
    await world.submit(owner)
    assert await world.in_queue(owner) == count + 1


# Files that are none of ours


@pytest.mark.parametrize(
    "content", [b"not a database" * 100, os.urandom(8_192), b"\x00" * 8_192], ids=["text", "noise", "nul"]
)
async def test_a_file_that_is_no_database(tmp_path: Path, clock: ManualClock, content: bytes) -> None:
    (tmp_path / "tasks.db").write_bytes(content)
    error = await refused(tmp_path, clock)
    assert isinstance(error, Corrupt)
    assert "not a database of Tasks Server" in error.message
    assert (tmp_path / "tasks.db").read_bytes() == content


async def test_a_database_of_somebody_else(tmp_path: Path, clock: ManualClock) -> None:
    foreign = sqlite3.connect(tmp_path / "tasks.db")
    foreign.execute("CREATE TABLE task (id)")
    foreign.close()
    before = (tmp_path / "tasks.db").read_bytes()
    error = await refused(tmp_path, clock)
    assert isinstance(error, Corrupt)
    assert "not one of Tasks Server" in error.message
    assert (tmp_path / "tasks.db").read_bytes() == before
    foreign = sqlite3.connect(tmp_path / "tasks.db")
    assert foreign.execute("SELECT name FROM sqlite_schema").fetchall() == [("task",)]
    foreign.close()


async def test_an_empty_file_becomes_a_database(tmp_path: Path, clock: ManualClock) -> None:
    (tmp_path / "tasks.db").touch()
    store = FILE.make(tmp_path, clock)
    await store.open()
    await store.close()


async def test_a_folder_that_is_not_there(tmp_path: Path, clock: ManualClock) -> None:
    error = await refused(tmp_path / "nowhere", clock)
    assert isinstance(error, Unavailable)
    assert "No such file or directory" in error.message


async def test_a_folder_in_the_files_place(tmp_path: Path, clock: ManualClock) -> None:
    (tmp_path / "tasks.db").mkdir()
    assert isinstance(await refused(tmp_path, clock), Unavailable)


async def spoil(world: World, pages: list[int]) -> None:
    """Closes the store and overwrites the head of these pages (the first is 1)."""
    await world.store.close()
    path = world.folder / "tasks.db"
    content = bytearray(path.read_bytes())
    for page in pages:
        start = (page - 1) * 4_096
        content[start : start + 64] = b"\xaa" * 64
    path.write_bytes(content)


async def test_damage_in_one_place_is_found_by_the_check(world: World, owner: Owner) -> None:
    await world.submit_many(owner, 500)
    ((root,),) = await world.query("SELECT rootpage FROM sqlite_schema WHERE name = 'task_execution'")
    await spoil(world, [root])
    await world.store.open()
    with pytest.raises(Corrupt, match=r"damaged .*restore it from a backup"):
        await world.store.check()


async def test_damage_everywhere_is_found_at_once(world: World, owner: Owner) -> None:
    await world.submit_many(owner, 500)
    ((pages,),) = await world.query("SELECT page_count FROM pragma_page_count()")
    await spoil(world, list(range(2, pages + 1)))
    with pytest.raises(Corrupt, match=r"damaged .*restore it from a backup"):
        await world.store.open()


# No writing


@contextmanager
def nobody() -> Iterator[None]:
    """As a user who may not write what the tests have made; root may write anything."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65_534)
    try:
        yield
    finally:
        os.seteuid(user)


@pytest.mark.parametrize(("file_mode", "folder_mode"), [(0o444, 0o555), (0o644, 0o555), (0o000, 0o755)])
async def test_a_database_that_may_not_be_written(clock: ManualClock, file_mode: int, folder_mode: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = FILE.make(folder, clock)
        await store.open()
        await store.close()
        before = (folder / "tasks.db").read_bytes()
        (folder / "tasks.db").chmod(file_mode)
        folder.chmod(folder_mode)
        with nobody():
            error = await refused(folder, clock)
        folder.chmod(0o700)
        (folder / "tasks.db").chmod(0o600)
        assert isinstance(error, Unavailable)
        assert "read-only" in error.message or "may it be written" in error.message or "denied" in error.message
        assert (folder / "tasks.db").read_bytes() == before
        await store.open()
        await store.close()


async def test_a_database_that_turns_read_only_and_back(world: World, owner: Owner) -> None:
    await world.submit_many(owner, 3)
    connection_of(world).pragma("query_only", True)
    with pytest.raises(Unavailable, match="read-only"):
        await world.store.insert(world.task(owner))
    with pytest.raises(Unavailable):
        await world.claim()
    assert await world.in_queue(owner) == 3
    connection_of(world).pragma("query_only", False)
    await sound(world, owner, 3)


# No room


async def fill_up(world: World, owner: Owner) -> int:
    """Inserts until there is no room. How many tasks were accepted."""
    accepted = 0
    for _ in range(2_000):
        batch = [world.task(owner, spec=os.urandom(3_000), metadata={"a": "b"}) for _ in range(5)]
        answers = await asyncio.gather(*map(world.store.insert, batch), return_exceptions=True)
        accepted += answers.count(Inserted())
        refusals = [answer for answer in answers if isinstance(answer, BaseException)]
        for refusal in refusals:
            assert isinstance(refusal, Unavailable), refusal
            assert "disk" in refusal.message
        if refusals:
            return accepted
    raise AssertionError("the disk never gets full")


async def test_a_full_database(world: World, owner: Owner) -> None:
    pages = connection_of(world).pragma("page_count")
    connection_of(world).pragma("max_page_count", pages + 60)
    accepted = await fill_up(world, owner)
    assert accepted > 0
    await world.check_counters()
    assert await world.in_queue(owner) == accepted
    with pytest.raises(Unavailable, match="the disk is full; nothing was stored"):
        await world.store.insert_batch([world.task(owner, spec=os.urandom(3_000)) for _ in range(100)])
    connection_of(world).pragma("max_page_count", 1_000_000)
    await sound(world, owner, accepted)


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """No file of this process grows beyond `size` bytes. The system then refuses to write, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_a_disk_without_room_for_the_log(world: World, owner: Owner) -> None:
    await world.submit(owner)
    log = (world.folder / "tasks.db-wal").stat().st_size
    with file_size_limit(log + 200_000):
        accepted = 1 + await fill_up(world, owner)
        assert accepted > 1
        # What was accepted can be read all the time, and what cannot be written is refused each time.
        assert await world.in_queue(owner) == accepted
        with pytest.raises(Unavailable):
            await world.store.insert_batch([world.task(owner, spec=os.urandom(3_000)) for _ in range(100)])
        with pytest.raises(Unavailable):
            await world.store.insert_batch([world.task(owner, spec=os.urandom(3_000)) for _ in range(100)])
    await sound(world, owner, accepted)
    claims = await world.claim()
    assert len(claims) == accepted + 1
    await world.settle(claims)


async def test_work_goes_on_without_a_word_lost_after_a_full_disk_and_a_restart(world: World, owner: Owner) -> None:
    log = (world.folder / "tasks.db-wal").stat().st_size
    with file_size_limit(log + 200_000):
        accepted = await fill_up(world, owner)
    await world.store.close()
    await world.store.open()
    await sound(world, owner, accepted)


# Others at the file


async def test_a_stranger_who_holds_the_lock_too_long(world: World, owner: Owner) -> None:
    await world.submit(owner)
    connection_of(world).set_busy_timeout(10)
    stranger = apsw.Connection(str(world.folder / "tasks.db"))
    stranger.execute("BEGIN IMMEDIATE")
    with pytest.raises(Busy, match="another process holds the database's lock"):
        await world.store.insert(world.task(owner))
    assert await world.in_queue(owner) == 1  # reading goes on
    stranger.execute("ROLLBACK")
    stranger.close()
    await sound(world, owner, 1)


# Opening and closing


async def test_a_closed_store_says_so(world: World, owner: Owner) -> None:
    await world.store.close()
    for call in (world.store.insert(world.task(owner)), world.store.owner(owner.id), world.rescue(1)):
        with pytest.raises(Unavailable, match="not open"):
            await call
    await world.store.close()  # twice is once


async def test_close_finishes_what_was_asked(world: World, owner: Owner) -> None:
    tasks = [world.task(owner) for _ in range(50)]
    asked = [asyncio.ensure_future(world.store.insert(task)) for task in tasks]
    await asyncio.sleep(0)  # they have asked
    await world.store.close()
    assert await asyncio.gather(*asked) == [Inserted()] * 50
    await world.store.open()
    assert await world.in_queue(owner) == 50


async def test_everything_is_there_after_a_restart(world: World, owner: Owner) -> None:
    made = {state: await world.bring_to(state, owner) for state in State if state is not State.AVAILABLE}
    before = {task_id: await world.read(task_id) for task_id in made.values()}
    await world.store.close()
    await world.store.open()
    assert {task_id: await world.read(task_id) for task_id in before} == before
    await world.check_counters()


async def test_one_who_gave_up_waiting_disturbs_nobody(world: World, owner: Owner) -> None:
    task = world.task(owner)
    impatient = asyncio.ensure_future(world.store.insert(task))
    await asyncio.sleep(0)
    impatient.cancel()
    await world.submit(owner)
    assert impatient.cancelled()
    # It was asked for, so it is there: whoever gives up does not know.
    assert await world.state(task) is State.AVAILABLE
    assert (await world.query("SELECT count(*) FROM task"))[0][0] == 2
