"""The PostgreSQL adapter: one database, many processes on many machines. This is its door; the rooms behind it do the
work, each kind of it on a connection of its own.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any, Final

from tasks_server.clock import Clock
from tasks_server.domain.errors import StoreError, Unavailable
from tasks_server.store.batching import Batch, Turns
from tasks_server.store.clustering import Node
from tasks_server.store.door import Door, Kind
from tasks_server.store.ports import Hints
from tasks_server.store.postgres import roster, schema
from tasks_server.store.postgres.acting import Acts
from tasks_server.store.postgres.bulking import Bulks
from tasks_server.store.postgres.callbacks import CallbackKeeper
from tasks_server.store.postgres.claiming import Claims
from tasks_server.store.postgres.counting import Counts
from tasks_server.store.postgres.days import Days
from tasks_server.store.postgres.engines import Engines
from tasks_server.store.postgres.explaining import Explanations
from tasks_server.store.postgres.folding import Folded
from tasks_server.store.postgres.hints import Hinting
from tasks_server.store.postgres.journal import Journals
from tasks_server.store.postgres.laning import Lanings
from tasks_server.store.postgres.link import Connection, Link, one, read_only
from tasks_server.store.postgres.listing import Listings
from tasks_server.store.postgres.maintaining import Maintenance
from tasks_server.store.postgres.nodes import BEAT_SECONDS, Nodes
from tasks_server.store.postgres.owning import Ownings
from tasks_server.store.postgres.resealing import Resealings
from tasks_server.store.postgres.scheduling import Schedules
from tasks_server.store.postgres.session import Session
from tasks_server.store.postgres.settling import Settlements
from tasks_server.store.postgres.signing import Signings, fill_in
from tasks_server.store.postgres.steering import Steerings
from tasks_server.store.postgres.submitting import Lanes, Submissions
from tasks_server.store.postgres.timekeeping import Clockwork
from tasks_server.store.sealing import Sealer

COMMAND_LINE: Final = "command line"
"""The role of those who come and go; others are nodes as long as they are open."""


_PROBE_SECONDS: Final = 5.0


class PostgresStore(Door):
    """A store on one PostgreSQL database, given as `postgresql://…`.

    `durable`: every commit reaches the disk before it is answered. An engine may do without: what it loses to a
    crash of the database, a claim or a settlement, only makes a call be made again. `role`: what the process is, for
    whoever lists the nodes.
    """

    def __init__(
        self, url: str, sealer: Sealer, clock: Clock, *, durable: bool = True, role: str = COMMAND_LINE
    ) -> None:
        self._sealer = sealer
        self._clock = clock
        self._serves = role != COMMAND_LINE
        self._link = Link(url, clock, durable=durable)
        self._lanes = Lanes()
        self._nodes = Nodes(self._link, clock, role)
        self._probed_at = -_PROBE_SECONDS
        self._hinting = Hinting(self._link, clock)
        self._days, self._folded = Days(), Folded(clock)
        self._submissions = Submissions(self._lanes, sealer, self._folded)
        callbacks = CallbackKeeper(self._submissions, sealer)
        self._steerings = Steerings(self._lanes, self._days, self._folded, sealer)
        self._schedules = Schedules(self._submissions, self._steerings, self._folded, sealer)
        self._bulks = Bulks(self._days, self._folded, sealer)
        self._claims = Claims(self._nodes.number, self._folded, sealer, clock)
        self._settlements = Settlements(self._nodes, self._days, callbacks, sealer, clock)
        self._maintenance = Maintenance(self._steerings, callbacks, self._days, sealer)
        self._listings = Listings(sealer)
        self._journals = Journals(sealer)
        self._counts = Counts(self._folded)
        self._ownings = Ownings(sealer)
        self._acts = Acts()
        self._signings = Signings(sealer)
        self._resealings = Resealings(sealer)
        self._lanings = Lanings(self._lanes, self._folded, sealer)
        self._engines = Engines(self._nodes)
        self._explanations = Explanations(sealer)
        self._clockwork = Clockwork(self._link, sealer, clock)
        self._sessions: dict[str, Session] = {}
        self._open = False
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        """Reaches the database, proves its schema and the key. Raises `StoreError`."""
        self._open = True
        self._hinting.open()
        try:
            await self._do("read", self._verify, None)
        except BaseException:
            await self.close()
            raise
        if self._serves:
            self._join()
        if self._sealer.follows:
            self._tasks.append(asyncio.create_task(self._follow_keys(), name="keys"))

    async def close(self) -> None:
        """Finishes what was asked and lets go of the connections."""
        for task in self._tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._tasks.clear()
        if self._nodes.joined:
            with contextlib.suppress(StoreError):
                await self._do("duty", self._nodes.leave, None)
        self._open = False
        await self._hinting.close()
        for session in self._sessions.values():
            await session.end()
        self._sessions.clear()

    # What the door leaves to the adapter

    def lost(self) -> StoreError | None:
        """A database elsewhere is asked, or nothing is known of it."""
        return None

    async def ready(self) -> None:
        await self._do("read", self._fits, None)
        await self.probe()

    async def probe(self) -> None:
        """By what the database says of itself, and by a write now and then: whoever watches the server asks often."""
        await self._do("read", self._writes, None)
        if self._nodes.joined and self._clock.monotonic() - self._probed_at >= _PROBE_SECONDS:
            await self._do("duty", self._nodes.beat, None)
            self._probed_at = self._clock.monotonic()

    async def checkpoint(self) -> None:
        """Folds the changes of the counters."""
        await self._do("duty", self._folded.fold, None)

    async def check(self) -> None:
        """Whether the database answers and has our schema; what its files are like is its own affair."""
        await self._do("read", self._verify, None)

    async def nodes(self) -> list[Node]:
        found: list[Node] = await self._do("read", self._roster, None)
        return found

    def hint_work(self, at: int) -> None:
        self._hinting.work(at)

    def hint_cancel(self) -> None:
        self._hinting.cancel()

    def hint_schedules(self) -> None:
        self._hinting.schedules()

    async def wait(self, timeout_seconds: float) -> Hints:
        self._join()
        return await self._hinting.wait(timeout_seconds)

    # Inside

    async def _beat(self) -> None:
        """Tells the others that this process lives."""
        while True:
            with contextlib.suppress(StoreError):
                await self._do("duty", self._nodes.beat, None)
            await asyncio.sleep(BEAT_SECONDS)

    def _join(self) -> None:
        """From the first work on, this process is one of the nodes."""
        if not self._nodes.joined:
            self._nodes.joined = True
            self._tasks.append(asyncio.create_task(self._beat(), name="heartbeat"))

    def _verify(self, connection: Connection, items: Sequence[None]) -> Sequence[None]:
        schema.verify(connection, self._sealer, self._link.where)
        fill_in(connection, self._sealer)
        return [None] * len(items)

    def _fits(self, connection: Connection, items: Sequence[None]) -> Sequence[None]:
        schema.verify(connection, self._sealer, self._link.where)
        return [None] * len(items)

    def _writes(self, connection: Connection, items: Sequence[None]) -> Sequence[None]:
        (refuses,) = one(connection, "SELECT current_setting('transaction_read_only') = 'on'")
        if refuses:
            raise read_only(self._link.where)
        return [None] * len(items)

    @staticmethod
    def _roster(connection: Connection, items: Sequence[None]) -> Sequence[list[Node]]:
        return [roster.read(connection)] * len(items)

    def _do(self, kind: Kind, batch: Batch, item: Any, rows: int = 1, asker: str = "") -> "asyncio.Future[Any]":
        """Asks a batch function to do something, on the connection for that kind of work."""
        session = self._sessions.get(kind)
        if session is None:
            if not self._open:
                raise Unavailable("the store is not open")
            again: dict[Batch, Batch] = {self._submissions.insert: self._submissions.insert_again}
            jobs = Turns() if kind == "search" else None
            session = Session(kind, self._link, on_failure=self._days.forget, again=again, jobs=jobs)
            session.begin()
            self._sessions[kind] = session
        return session.do(batch, item, rows, asker)
