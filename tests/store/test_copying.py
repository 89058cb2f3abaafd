"""All that a database holds moves to another one, whatever happens on the way, and works there."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tasks_server.clock import ManualClock
from tasks_server.domain import lifecycle
from tasks_server.domain.attempt import OutcomeKind
from tasks_server.domain.errors import Corrupt, Refused, StoreError, Unavailable
from tasks_server.domain.task import State
from tasks_server.store.copying import transfer
from tasks_server.store.copying.ends import Target
from tasks_server.store.copying.progress import Progress
from tasks_server.store.copying.shapes import EMPTIED, LOST_ERROR, MOVED, TASK, Row, Shape
from tasks_server.store.copying.transfer import Step, Transfer
from tasks_server.store.ports import Inserted, TaskQuery

from .copies import Killed, Place, copy, ends, fill
from .world import World

PAIRS = [("sqlite", "postgres"), ("postgres", "sqlite"), ("sqlite", "sqlite"), ("postgres", "postgres")]


ALIVE = """
INSERT INTO node (host, pid, role, version, realm, born, started_at, seen_at)
VALUES ('there', 7, 'engine', '0.1.0', '', 0, 0, extract(epoch FROM clock_timestamp()) * 1000)
"""
"""A server that was heard of just now, by the database's clock; the test's is another."""


@pytest.fixture(params=PAIRS, ids="-to-".join)
def pair(request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock) -> tuple[Place, Place]:
    """Where from, and where to."""
    first, second = request.param
    return Place(first, tmp_path / "source", clock), Place(second, tmp_path / "target", clock)


@pytest.fixture
def sqlites(tmp_path: Path, clock: ManualClock) -> tuple[Place, Place]:
    """The same, for what does not depend on the kind."""
    return Place("sqlite", tmp_path / "source", clock), Place("sqlite", tmp_path / "target", clock)


def moved(dump: dict[str, list[Row]], now: int) -> dict[str, list[Row]]:
    """What the rows of a SQLite database are after a move: nothing runs, and what ran is recorded as lost."""
    tasks, attempts = [], dump["attempt"]
    for row in dump["task"]:
        came = row
        seq, task_id, owner, lane, state, _, priority, created, due, began, *rest = row
        if state == "running":
            number = rest[3]
            lost = (seq, number, owner, due, began, max(began, now), "lost", 0, LOST_ERROR, None, None)
            attempts = [*attempts, lost]
            rest[6 + 1 : 6 + 3] = [None, None]  # the lease
            came = (seq, task_id, owner, lane, "available", 9 - priority, priority, created, due, due, *rest)
        tasks.append(came)
    return dump | {"task": sorted(tasks, key=repr), "attempt": sorted(attempts, key=repr)}


@pytest.mark.parametrize("seed", range(3))
async def test_there_and_back_all_rows_are_the_same(tmp_path: Path, clock: ManualClock, seed: int) -> None:
    first, second, third = (
        Place(kind, tmp_path / name, clock) for kind, name in (("sqlite", "a"), ("postgres", "b"), ("sqlite", "c"))
    )
    await fill(first, seed)
    before = first.dump()
    assert all(before.values()), "a table is empty: what it holds is not tested"
    assert {row[4] for row in before["task"]} == {state.value for state in State}
    there = copy(first, second)
    back = copy(second, third)
    after = third.dump()
    expected = moved(before, clock.now())
    for table in before.keys() - {"counter"}:
        assert after[table] == expected[table]
    assert {name: found.rows for name, found in there.tables.items()} == {
        name: len(after[name]) for name in there.tables
    }
    assert there.tables == back.tables
    assert first.dump() == before, "the source was changed"


async def test_through_pgbouncer(tmp_path: Path, clock: ManualClock) -> None:
    first, second, third = (
        Place(kind, tmp_path / name, clock) for kind, name in (("sqlite", "a"), ("pgbouncer", "b"), ("sqlite", "c"))
    )
    await fill(first, steps=30)
    there = copy(first, second)
    assert copy(second, third).tables == there.tables
    async with second.world() as world:
        await world.check_counters()


async def test_what_was_moved_works(pair: tuple[Place, Place], clock: ManualClock) -> None:
    source, target = pair
    await fill(source)
    ran = {row[0]: row[1] for row in source.run("SELECT seq, attempt FROM task WHERE state = 'running'")}
    last = {name: source.run(f"SELECT max(seq) FROM {name}")[0][0] for name in ("task", "owner", "lane")}
    copy(source, target)
    async with target.world(first=5_000) as world:
        await world.check_counters()
        for owner in await world.store.owners():
            page = await world.store.tasks(TaskQuery(owner.id, limit=1_000))
            assert owner.tasks_in_queue == sum(not task.ended_at or task.state is State.PAUSED for task in page.tasks)
        claims = {claim.ref: claim for claim in await world.claim()}
        assert ran
        assert ran.keys() <= claims.keys()
        assert all(claims[ref].attempt == number + 1 for ref, number in ran.items()), "two attempts under one number"
        history = await world.store.attempts(None, claims[next(iter(ran))].id)
        assert history[-1].outcome is OutcomeKind.LOST
        await world.settle(claims.values())
        await _new_work(world, last)
        await world.check_counters()


async def _new_work(world: World, last: dict[str, int]) -> None:
    """New owners, lanes and tasks come behind those that were moved."""
    owner = await world.owner("new-owner")
    task = await world.submit(owner, lane="new-lane", metadata={"new": "one"})
    assert await world.store.insert(world.task(owner, 1_000)) == Inserted()
    for name, before in last.items():
        assert (await world.query(f"SELECT max(seq) FROM {name}"))[0][0] > before
    await world.steer(task, lifecycle.pause)
    assert await world.state(task) is State.PAUSED
    await world.steer(task, lifecycle.resume)
    await world.settle(await world.claim_one())
    found = await world.store.tasks(TaskQuery(owner.id, metadata=(("new", "one"),)))
    assert [entry.id for entry in found.tasks] == [task.id]


MADE = {"counter", "counter_change", "metadata", "owner.tasks_in_queue", "attempt.day"}
"""What the target makes anew from what arrives."""
STAYS = {
    *("clock", "engine", "lane_bucket", "migration", "meta", "node", "used_link"),
    *("task.lease", "task.lease_until"),
}
"""What belongs to the one database, and what ends with the move."""


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_nothing_is_forgotten(kind: str, tmp_path: Path, clock: ManualClock) -> None:
    """Who adds a table or a column must say what becomes of it when all moves (`copying.shapes`)."""
    place = Place(kind, tmp_path / kind, clock)
    async with place.world():
        pass
    columns = "SELECT m.name, c.name FROM sqlite_schema AS m, pragma_table_info(m.name) AS c WHERE m.type = 'table'"
    if kind == "postgres":
        columns = (
            "SELECT c.relname, a.attname FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid "
            "WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition "
            "AND a.attnum > 0 AND NOT a.attisdropped"
        )
    there = {(table, column) for table, column in place.run(columns) if not table.startswith("sqlite_")}
    moves = {(shape.goes_to, column) for shape in MOVED for column in shape.columns}
    moves |= {("request", column) for column in ("task", "owner", *TASK.columns)}
    known = MADE | STAYS
    assert {f"{t}.{c}" for t, c in there - moves if t not in known and f"{t}.{c}" not in known} == set()
    gone = {name for name in EMPTIED if name not in {table for table, _ in there}}
    assert gone == set()
    assert {shape.goes_to for shape in MOVED} <= set(EMPTIED)


class Dying:
    """A target whose process ends at one of its steps: before it, or after it was done."""

    def __init__(self, target: Target, step: int, *, done: bool) -> None:
        self._target = target
        self._left = step
        self._done = done

    def __getattr__(self, name: str) -> Any:
        asked = getattr(self._target, name)
        if name not in ("begin", "write", "finish"):
            return asked

        def step(*arguments: Any, **options: Any) -> None:
            self._left -= 1
            if self._left < 0 and not self._done:
                raise Killed
            asked(*arguments, **options)
            if self._left < 0:
                raise Killed

        return step


async def test_cut_off_at_any_step_it_goes_on(pair: tuple[Place, Place], tmp_path: Path) -> None:
    source, target = pair
    await fill(source, steps=60)
    whole = Place(target.kind, tmp_path / "whole", source.clock)
    expected = copy(source, whole)
    draw = random.Random(4)
    deaths = 0
    while True:
        with ends(source, target) as (giving, taking):
            dying = Dying(taking, draw.randrange(9), done=draw.random() < 0.5)
            run = Transfer(giving, dying, source.clock, lambda _: None, 3)
            try:
                copied = run.run()
            except Killed:
                deaths += 1
                continue
            break
    assert deaths > 3
    assert copied.resumed
    assert copied.tables == expected.tables
    assert target.dump() == whole.dump()
    again = copy(source, target)
    assert (again.already, again.moved, again.tables) == (True, 0, expected.tables)


async def test_a_finished_copy_does_not_pass_for_one_of_what_came_since(pair: tuple[Place, Place]) -> None:
    source, target = pair
    await fill(source, steps=10)
    copied = copy(source, target)
    async with source.world() as world:
        await world.submit(await world.owner("came-later"))
    before = target.dump()
    with pytest.raises(Refused, match=r"has changed since it was copied.*task has \d+ rows in place of \d+"):
        copy(source, target)
    assert target.dump() == before
    again = copy(source, target, replace_target=True)
    assert again.tables["task"].rows == copied.tables["task"].rows + 1
    assert copy(source, target).already


async def test_where_a_copy_is_not_finished_nothing_works(pair: tuple[Place, Place]) -> None:
    source, target = pair
    await fill(source, steps=10)
    with ends(source, target) as (giving, taking), pytest.raises(Killed):
        Transfer(giving, Dying(taking, 5, done=True), source.clock, lambda _: None, 7).run()
    with pytest.raises(Unavailable, match=r"not finished.*db copy"):
        async with target.world():
            pass
    with pytest.raises(Unavailable, match="not finished"):
        target.source()
    copy(source, target)
    async with target.world() as world:
        await world.check_counters()


async def test_two_copies_at_once_do_not_mix(pair: tuple[Place, Place]) -> None:
    source, target = pair
    await fill(source, steps=10)
    giving, other = source.source(), source.source()
    first, second = target.target(), None
    try:
        second = target.target()
        Transfer(giving, first, source.clock, lambda _: None, 7).run()
        with pytest.raises(Refused, match="another copy into it is at work"):
            Transfer(other, second, source.clock, lambda _: None, 7).run(replace_target=True)
    finally:
        for end in (giving, other, first, second):
            if end is not None:
                end.close()
    target.source().close()  # it is finished, and stays so


@pytest.mark.parametrize("altered", ["target", "source"])
async def test_a_row_that_is_altered_is_found(pair: tuple[Place, Place], altered: str) -> None:
    source, target = pair
    await fill(source, steps=30)
    with ends(source, target) as (giving, taking), pytest.raises(Killed):
        Transfer(giving, Dying(taking, 12, done=True), source.clock, lambda _: None, 7).run()
    place = target if altered == "target" else source
    place.run("UPDATE task SET target = 'x.example:80' WHERE seq = (SELECT min(seq) FROM task)")
    with pytest.raises(Refused, match=r"differs .*task has \d+ rows as it should, but with checksum"):
        copy(source, target)
    with pytest.raises(Unavailable, match="not finished"):
        async with target.world():
            pass
    with pytest.raises(Refused, match="holds a copy that differed"):
        copy(source, target)
    copied = copy(source, target, replace_target=True)
    assert not copied.resumed
    async with target.world() as world:
        await world.check_counters()


class Losing:
    """A target that loses the last row of each batch of attempts, or of metadata."""

    def __init__(self, target: Target) -> None:
        self._target = target

    def __getattr__(self, name: str) -> Any:
        return getattr(self._target, name)

    def write(self, shape: Shape, rows: Sequence[Row], progress: Progress) -> None:
        self._target.write(shape, rows[:-1] if shape.name == "attempt" else rows, progress)


async def test_rows_that_do_not_arrive_are_missed(sqlites: tuple[Place, Place]) -> None:
    source, target = sqlites
    await fill(source)
    with (
        ends(source, target) as (giving, taking),
        pytest.raises(Refused, match=r"attempt has \d+ rows in place of \d+\. Nothing"),
    ):
        Transfer(giving, Losing(taking), source.clock, lambda _: None, 7).run()


async def test_metadata_that_cannot_be_searched_is_missed(pair: tuple[Place, Place]) -> None:
    source, target = pair
    await fill(source)

    def told(step: Step) -> None:
        if step.doing == "idempotency":
            target.run("DELETE FROM metadata WHERE key = 'b'")

    with pytest.raises(Refused, match="metadata has"):
        copy(source, target, told=told)


async def test_a_source_that_is_at_work(pair: tuple[Place, Place]) -> None:
    source, target = pair
    await fill(source, steps=10)
    async with source.world(first=9_000) as world:
        await world.claim()
        if source.kind == "postgres":
            source.run(ALIVE)
        with pytest.raises(Refused, match=r"servers work on it.*With --live it is copied as it is at this instant"):
            copy(source, target)
        owner = await world.owner("late")
        copied = copy(source, target, live=True)
        assert copied.tables["owner"].rows == len(source.run("SELECT * FROM owner"))
        assert owner
    async with target.world() as arrived:
        await arrived.check_counters()


async def test_a_target_that_is_at_work(pair: tuple[Place, Place]) -> None:
    source, target = pair
    await fill(source, steps=10)
    async with target.world() as world:
        await world.claim()
        if target.kind == "postgres":
            target.run(ALIVE)
        with pytest.raises(Refused, match=r"servers work on it.*; stop what works on the target"):
            copy(source, target, live=True, replace_target=True)


async def test_a_source_that_changes_on_the_way(pair: tuple[Place, Place]) -> None:
    source, target = pair
    await fill(source, steps=10)
    done = False

    def told(step: Step) -> None:
        nonlocal done
        if not done and step.doing == "event":
            done = True
            if source.kind == "sqlite":
                source.run("UPDATE task SET error = 'x'")
            else:
                source.run("INSERT INTO counter_change (owner, lane, state, n) VALUES (1, 1, 'failed', 0)")

    with pytest.raises(Refused, match="was changed while it was copied"):
        copy(source, target, told=told)
    assert done
    with pytest.raises(Unavailable, match="not finished"):
        async with target.world():
            pass


async def test_a_target_that_holds_other_data(pair: tuple[Place, Place], tmp_path: Path) -> None:
    source, target = pair
    await fill(source, steps=10)
    async with target.world(first=7_000) as world:
        await world.submit_many(await world.owner("other"), 3)
    before = target.dump()
    with pytest.raises(Refused, match=r"holds other data \(1 owner, 3 tasks\).*--replace-target.*deleted for good"):
        copy(source, target)
    assert target.dump() == before
    copy(source, target, replace_target=True)
    fresh = Place(target.kind, tmp_path / "fresh", source.clock)
    copy(source, fresh)
    assert target.dump() == fresh.dump()


async def test_an_unfinished_copy_of_another_database(sqlites: tuple[Place, Place], tmp_path: Path) -> None:
    source, target = sqlites
    other = Place("sqlite", tmp_path / "other", source.clock)
    await fill(source, steps=10)
    await fill(other, steps=10)
    with ends(other, target) as (giving, taking), pytest.raises(Killed):
        Transfer(giving, Dying(taking, 5, done=True), source.clock, lambda _: None, 7).run()
    with pytest.raises(Refused, match="unfinished copy of another database"):
        copy(source, target)
    copy(source, target, replace_target=True)
    with pytest.raises(Refused, match="is the database that is to be copied"):
        copy(source, source)


@pytest.mark.parametrize("wrong", ["source", "target"])
async def test_another_key(pair: tuple[Place, Place], wrong: str, clock: ManualClock) -> None:
    source, target = pair
    await fill(source, steps=10)
    async with target.world():
        pass
    before = target.dump()
    stranger = Place(
        *((source.kind, source.folder) if wrong == "source" else (target.kind, target.folder)), clock, b"x" * 32
    )
    with pytest.raises(Corrupt, match="another cipher key"):
        copy(stranger if wrong == "source" else source, stranger if wrong == "target" else target)
    assert target.dump() == before


async def test_what_postgresql_cannot_store(tmp_path: Path, clock: ManualClock) -> None:
    """U+FFFD stands for U+0000; two keys of one task may become one."""
    source, target = Place("sqlite", tmp_path / "source", clock), Place("postgres", tmp_path / "target", clock)
    async with source.world() as world:
        owner = await world.owner()
        task = await world.submit(
            owner, target="nul\0.example:80", metadata={"a\0": "1\0", "a\ufffd": "2", "\\u0000": "3"}
        )
    copied = copy(source, target)
    assert copied.tables["metadata"].rows == 2
    async with target.world() as world:
        found = await world.read(task)
        assert found.target == "nul\ufffd.example:80"
        assert found.metadata == {"a\ufffd": "2", "\\u0000": "3"}
        for entry in found.metadata.items():
            assert len((await world.store.tasks(TaskQuery(owner.id, metadata=(entry,)))).tasks) == 1


async def test_memory_is_bounded_by_bytes_too(sqlites: tuple[Place, Place], monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = sqlites
    async with source.world() as world:
        await world.submit_many(await world.owner(), 40, spec=b"x" * 1_000)
    monkeypatch.setattr(transfer, "BATCH_BYTES", 5_000)
    steps: list[Step] = []
    copy(source, target, told=steps.append, batch_rows=1_000)
    tasks = [step for step in steps if step.doing == "task"]
    assert len(tasks) == 8
    assert (tasks[-1].done, tasks[-1].total) == (40, 40)


async def test_damage_is_told(pair: tuple[Place, Place]) -> None:
    source, target = pair
    await fill(source, steps=10)
    source.run("DELETE FROM request WHERE task = (SELECT max(seq) FROM task)")
    with pytest.raises(Corrupt, match="has no request"):
        copy(source, target)


async def test_a_source_that_is_not_there(sqlites: tuple[Place, Place]) -> None:
    source, target = sqlites
    with pytest.raises(StoreError, match="there is no database"):
        copy(source, target)
    assert not Path(target.database).exists()
