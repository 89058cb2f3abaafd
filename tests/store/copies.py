"""Databases to copy between, of both kinds: how to fill one, reach its ends, and look at its rows."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import apsw
import psycopg
import pytest

from tasks_server.clock import ManualClock
from tasks_server.domain import lifecycle
from tasks_server.domain.callback import Callback, Callbacks
from tasks_server.domain.lane import LaneFacts, LaneLimits
from tasks_server.domain.notes import Line, Notes
from tasks_server.domain.schedule import Rule, pause
from tasks_server.domain.task import State
from tasks_server.store.copying.ends import Source, Target
from tasks_server.store.copying.transfer import Copied, Step, Transfer
from tasks_server.store.laning import LaneChange
from tasks_server.store.noting import Note
from tasks_server.store.postgres.copying import PostgresSource, PostgresTarget
from tasks_server.store.sealing import Sealer
from tasks_server.store.sqlite.copying import SqliteSource, SqliteTarget
from tests.postgres.databases import Databases

from .adapters import ADAPTERS, MASTER
from .lanes import pause_lane
from .schedules import Calendar
from .test_random_walks import Walk
from .world import World

KINDS = {"sqlite": "sqlite-file", "postgres": "postgres", "pgbouncer": "pgbouncer"}
TABLES = (
    "owner",
    "owner_key",
    "signing_secret",
    "lane",
    "task",
    "request",
    "attempt",
    "note",
    "event",
    "metadata",
    "idempotency",
    "schedule",
    "schedule_run",
    "callback",
    "bulk",
    "act",
    "counter",
)


class Killed(BaseException):
    """The process ends here."""


class Place:
    """A database of some kind, in a folder of its own."""

    def __init__(self, kind: str, folder: Path, clock: ManualClock, master: bytes = MASTER) -> None:
        folder.mkdir(exist_ok=True)
        self.kind = kind
        self.folder = folder
        self.clock = clock
        self.sealer = Sealer(master)

    @property
    def database(self) -> str:
        """A path, or a URL."""
        if self.kind == "sqlite":
            return str(self.folder / "tasks.db")
        url = Databases.lend(self.folder, self.kind)
        if url is None:
            pytest.skip("PgBouncer is not installed (Debian: apt-get install pgbouncer)")
        return url

    def source(self, *, live: bool = False) -> Source:
        if self.kind == "sqlite":
            return SqliteSource(Path(self.database), self.sealer, live=live)
        return PostgresSource(self.database, self.sealer, self.clock, live=live)

    def target(self) -> Target:
        if self.kind == "sqlite":
            return SqliteTarget(Path(self.database), self.sealer)
        return PostgresTarget(self.database, self.sealer, self.clock)

    @asynccontextmanager
    async def world(self, first: int = 1) -> AsyncIterator[World]:
        """An open store on the database."""
        adapter = ADAPTERS[KINDS[self.kind]]
        store = adapter.make(self.folder, self.clock)
        await store.open()
        try:
            yield World(store, self.clock, adapter, self.folder, first)
        finally:
            await store.close()

    def run(self, text: str) -> list[tuple[Any, ...]]:
        """A statement, behind everybody's back."""
        if self.kind == "sqlite":
            connection = apsw.Connection(self.database)
            try:
                return connection.execute(text).fetchall()
            finally:
                connection.close()
        with psycopg.connect(self.database, autocommit=True) as session:
            done = session.execute(text.encode())
            return done.fetchall() if done.description else []

    def dump(self) -> dict[str, list[tuple[Any, ...]]]:
        """All rows of all tables, as they are stored."""
        return {table: sorted(self.run(f"SELECT * FROM {table}"), key=repr) for table in TABLES}


@contextmanager
def ends(source: Place, target: Place, *, live: bool = False) -> Iterator[tuple[Source, Target]]:
    giving = source.source(live=live)
    try:
        taking = target.target()
        try:
            yield giving, taking
        finally:
            taking.close()
    finally:
        giving.close()


def copy(
    source: Place,
    target: Place,
    *,
    live: bool = False,
    replace_target: bool = False,
    told: Callable[[Step], None] = lambda _: None,
    batch_rows: int = 7,
) -> Copied:
    with ends(source, target, live=live) as (giving, taking):
        return Transfer(giving, taking, source.clock, told, batch_rows).run(live=live, replace_target=replace_target)


async def fill(place: Place, seed: int = 1, steps: int = 120) -> None:
    """Owners, one of them deleted; tasks in every state, with all that can hang on them."""
    async with place.world() as world:
        walk = Walk(world, [await world.owner(limit=1_000) for _ in range(2)], seed)
        doings = [walk.submit] * 4 + [walk.claim] * 4 + [walk.settle] * 3 + [walk.steer] * 3 + [walk.advance] * 3
        for _ in range(steps):
            await walk.draw.choice([*doings, walk.extend, walk.delete, walk.expire])()
        await world.submit(await world.owner())
        for claim in await world.claim():
            notes = Notes(world.now, 0.5, "half", (Line(world.now, "Größe"),))
            await world.store.note([Note(claim.ref, claim.lease, claim.id, claim.attempt, notes)])
        owner = await world.owner("Größe ✓")
        asked = Callbacks(failure=Callback("https://ops.example/"))
        await world.store.change_owner_callbacks(owner.id, lambda _: asked)
        await world.store.change_lane(owner.id, "told", lambda _: LaneChange(LaneFacts(LaneLimits()), asked), 10)
        await pause_lane(world, owner, "callbacks")  # what tells of the failed one waits there
        for number, state in enumerate(State):
            if state is not State.AVAILABLE:
                await world.bring_to(state, owner)
            keyed = world.task(owner, 90_000, idempotency_key=f"key-{number}", idempotency_digest=b"\x00\xff" * 16)
            assert await world.store.insert(keyed)
        await world.bring_to(State.AVAILABLE, owner)
        forced = await world.submit(owner, 50_000, metadata={"ключ": "value \\u0000 \\ \"'", "b": ""})
        await world.steer(forced, lifecycle.execute)
        calendar = Calendar(world)
        for name in ("hourly", "quiet"):
            await calendar.make(owner, name, Rule(every_ms=1_000))
        world.clock.advance(1_000)
        await calendar.fire()
        await calendar.change(owner.id, "quiet", lambda found: pause(found, world.now))
        gone = await world.owner("gone")
        await world.submit(gone)
        await world.store.delete_owner(gone.id)
    times = "created_at, started_at, updated_at, ended_at, look_at"
    columns = (
        f"id, owner, action, filter, asked_by, {times}, until_task, after_task, total, seen, changed, waits, failures"
    )
    row = "'B1', 1, 'retry', '{}', 'owner', 5, 6, 9, 0, 10, 7, 3, 12, 5, 2, 'queue_full', 3"
    place.run(f"INSERT INTO bulk ({columns}) VALUES ({row})")
    acted = "'owner', 'api', 'key-1', 'O1', 'lane', 'put', 'Größe', 'rate: 5'"
    place.run(f"INSERT INTO act (at, asked_by, via, who, owner, kind, action, subject, detail) VALUES (5, {acted})")
