"""Who waits for whom at a SQLite file, shown with one holding the lock until the other is seen to wait."""

import asyncio
import fcntl
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import apsw
import pytest

from tasks_server.clock import ManualClock
from tasks_server.domain.owner import Owner
from tasks_server.store.ports import Inserted, TaskQuery
from tasks_server.store.sqlite.connection import LockFile
from tests.store.adapters import ADAPTERS, Adapter
from tests.store.world import World, up_to

from .conftest import Pair

DEADLINE_SECONDS = 30


@pytest.fixture
def adapter() -> Adapter:
    return ADAPTERS["sqlite-file"]


async def until(fact: Callable[[], bool]) -> None:
    """Returns once `fact` holds; another thread or process brings it about."""
    end = time.monotonic() + DEADLINE_SECONDS
    while not fact():
        assert time.monotonic() < end, "it never came about"
        await asyncio.sleep(0.001)


@contextmanager
def turn_taken(folder: Path) -> Iterator[Callable[[], int]]:
    """Holds the turn to write. Gives a function that tells how many wait for it."""
    with (folder / "tasks.db.lock").open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        # The first who waits is seen at this lock, the others at the one that it holds meanwhile.
        inodes = [f":{(folder / name).stat().st_ino} " for name in ("tasks.db.lock", "tasks.db.turn")]

        def waiting() -> int:
            lines = [line for line in Path("/proc/locks").read_text().splitlines() if "-> FLOCK" in line]
            return sum(inode in line for line in lines for inode in inodes)

        yield waiting


def writer_is_inside(folder: Path) -> bool:
    """Whether a writer has its turn, which it keeps while it waits for SQLite's own lock."""
    with (folder / "tasks.db.lock").open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


async def test_a_claim_waits_for_its_turn_and_then_succeeds(pair: Pair, owner: Owner) -> None:
    one, two = pair
    task = await one.submit(owner)
    with turn_taken(one.folder) as waiting:
        assert waiting() == 0
        claiming = asyncio.ensure_future(two.claim_one())
        await until(lambda: waiting() == 1)
        assert not claiming.done()
        assert await two.store.task(None, task.id) is not None  # reading waits for nobody
    assert (await claiming).id == task.id


async def test_two_wait_and_each_gets_its_turn(pair: Pair, owner: Owner) -> None:
    one, _ = pair
    made = await one.submit_many(owner, 10)
    with turn_taken(one.folder) as waiting:
        looks = [asyncio.ensure_future(world.claim(up_to(5))) for world in pair]
        await until(lambda: waiting() == 2)
    first, second = await asyncio.gather(*looks)
    assert sorted(claim.id for claim in first + second) == sorted(made)


async def test_who_writes_without_pause_lets_the_other_in(pair: Pair, owner: Owner) -> None:
    """The turn goes to who waits, not back to who had it: of two that always want it, each gets every second one."""
    one, two = pair
    order: list[str] = []
    locks = {"one": LockFile(one.folder / "tasks.db"), "two": LockFile(two.folder / "tasks.db")}
    with turn_taken(one.folder) as waiting:
        turn = one.folder / "tasks.db.turn"
        threads = [threading.Thread(target=write_often, args=(lock, turn, name, order)) for name, lock in locks.items()]
        for thread in threads:
            thread.start()
        await until(lambda: waiting() == 2)
    for thread in threads:
        await asyncio.to_thread(thread.join)
    for lock in locks.values():
        lock.close()
    assert order in (["one", "two"] * 50, ["two", "one"] * 50)


def write_often(lock: LockFile, path: Path, name: str, order: list[str]) -> None:
    """Takes 50 turns, each time ending one only when the other waits for the next, so that it is contested."""
    with path.open("rb") as file:
        for _ in range(50):
            with lock:
                order.append(name)
                while order.count(name) < 50 and free(file):
                    time.sleep(0)


def free(file: BinaryIO) -> bool:
    """Whether nobody holds the lock of this file."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    fcntl.flock(file, fcntl.LOCK_UN)
    return True


async def test_a_write_waits_for_a_stranger_at_the_database(pair: Pair, owner: Owner) -> None:
    one, _ = pair
    stranger = apsw.Connection(str(one.folder / "tasks.db"))
    stranger.execute("BEGIN IMMEDIATE")
    assert not writer_is_inside(one.folder)
    inserting = asyncio.ensure_future(one.store.insert(one.task(owner)))
    await until(lambda: writer_is_inside(one.folder))
    assert not inserting.done()
    stranger.execute("ROLLBACK")
    assert await inserting == Inserted()
    stranger.close()


async def test_a_long_reader_holds_nobody_up_and_loses_nothing(pair: Pair, owner: Owner) -> None:
    one, two = pair
    await one.submit_many(owner, 100)
    reader = apsw.Connection(str(one.folder / "tasks.db"))
    reader.execute("BEGIN")
    assert reader.execute("SELECT count(*) FROM task").fetchone() == (100,)
    for _ in range(20):
        await two.submit_many(owner, 100, spec=b"x" * 3_000)
        await one.store.checkpoint()
    assert reader.execute("SELECT count(*) FROM task").fetchone() == (100,)
    reader.execute("COMMIT")
    assert reader.execute("SELECT count(*) FROM task").fetchone() == (2_100,)
    reader.close()
    await one.store.checkpoint()
    assert await two.in_queue(owner) == 2_100
    await two.store.check()


async def test_inserts_that_wait_share_the_next_transaction(pair: Pair, owner: Owner) -> None:
    one, _ = pair
    commits: list[object] = []
    connection = one.store._writer.connection  # type: ignore[attr-defined]  # SQLite's own
    connection.set_commit_hook(lambda: bool(commits.append(None)))
    with turn_taken(one.folder) as waiting:
        inserts = [asyncio.ensure_future(one.store.insert(one.task(owner))) for _ in range(3)]
        await until(lambda: waiting() == 1)
        for _ in range(5):  # each in a turn of the loop of its own
            inserts.append(asyncio.ensure_future(one.store.insert(one.task(owner))))
            await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert await asyncio.gather(*inserts) == [Inserted()] * 8
    connection.set_commit_hook(None)
    assert len(commits) == 2


# Real processes

CHILD = """
import asyncio, sys
from pathlib import Path
from tasks_server.clock import ManualClock
from tests.store.adapters import ADAPTERS
from tests.store.world import World

async def main(folder, job, first):
    adapter = ADAPTERS["sqlite-file"]
    store = adapter.make(Path(folder), ManualClock())
    await store.open()
    world = World(store, ManualClock(), adapter, Path(folder), int(first))
    if job == "claim":
        claims = await world.claim()
        print(len(claims), flush=True)
        sys.stdin.read()
    else:
        owner = await world.owner(f"owner-{first}")
        for _ in range(10):
            await world.submit_many(owner, 5)
        print("done", flush=True)
    await store.close()

asyncio.run(main(*sys.argv[1:]))
"""


def start(folder: Path, job: str, first: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, str(folder), job, str(first)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )


@pytest.mark.process
async def test_the_tasks_of_a_killed_process_are_rescued_at_once(pair: Pair, owner: Owner) -> None:
    one, _ = pair
    await one.submit_many(owner, 4)
    child = start(one.folder, "claim", 10_000_000)
    assert child.stdout is not None
    assert child.stdout.readline().strip() == "4"
    assert await one.rescue(10) == 0
    child.send_signal(signal.SIGKILL)
    child.communicate()
    assert await one.rescue(10) == 4
    assert len(await one.claim()) == 4


@pytest.mark.process
async def test_processes_that_make_a_database_at_once(tmp_path: Path, clock: ManualClock, adapter: Adapter) -> None:
    children = [start(tmp_path, "submit", number * 10_000_000) for number in range(1, 4)]
    for child in children:
        output, errors = child.communicate(timeout=DEADLINE_SECONDS)
        assert (output.strip(), child.returncode) == ("done", 0), errors
    store = adapter.make(tmp_path, clock)
    await store.open()
    world = World(store, clock, adapter, tmp_path)
    owners = await store.owners()
    assert len(owners) == 3
    for owner in owners:
        assert await world.in_queue(owner) == 50
        assert len((await store.tasks(TaskQuery(owner.id, limit=1_000))).tasks) == 50
    await world.check_counters()
    await store.close()
