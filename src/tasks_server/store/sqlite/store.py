"""The SQLite adapter: one file, many processes on one machine. This is its door; the rooms behind it do the work."""

import asyncio
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from tasks_server.clock import Clock
from tasks_server.domain.errors import StoreError, Unavailable
from tasks_server.store.batching import Batch
from tasks_server.store.clustering import Node
from tasks_server.store.door import Door, Kind
from tasks_server.store.ports import Hints
from tasks_server.store.sealing import Sealer
from tasks_server.store.sqlite import maintaining, schema
from tasks_server.store.sqlite.acting import Acts
from tasks_server.store.sqlite.bulking import Bulks
from tasks_server.store.sqlite.callbacks import CallbackKeeper
from tasks_server.store.sqlite.claiming import Claims
from tasks_server.store.sqlite.connection import Reader, Searcher, Writer, connect, translate, turn
from tasks_server.store.sqlite.counting import Counts
from tasks_server.store.sqlite.engines import Engines
from tasks_server.store.sqlite.explaining import Explanations
from tasks_server.store.sqlite.files import Files
from tasks_server.store.sqlite.journal import Journals
from tasks_server.store.sqlite.laning import Lanings
from tasks_server.store.sqlite.listing import Listings
from tasks_server.store.sqlite.nodes import Nodes
from tasks_server.store.sqlite.owning import Ownings
from tasks_server.store.sqlite.resealing import Resealings
from tasks_server.store.sqlite.scheduling import Schedules
from tasks_server.store.sqlite.settling import Settlements
from tasks_server.store.sqlite.signing import Signings
from tasks_server.store.sqlite.statements import sql
from tasks_server.store.sqlite.steering import Steerings
from tasks_server.store.sqlite.submitting import Lanes, Submissions
from tasks_server.store.sqlite.timekeeping import Clockwork

_CHECK_SECONDS: Final = 1.0
_PROBE_SECONDS: Final = 5.0


class SqliteStore(Door):
    """A store on one SQLite file, or in memory when there is no path.

    `durable`: every commit reaches the disk before it is answered. An engine may do without: what it loses to a
    power cut, a claim or a settlement, only makes a call be made again. `make`: a file that is missing is made; an
    empty one is filled in any case.
    """

    def __init__(
        self, path: Path | None, sealer: Sealer, clock: Clock, *, durable: bool = True, make: bool = False
    ) -> None:
        self._path = path
        self._make = make
        self._sealer = sealer
        self._clock = clock
        self._durable = durable
        self._lanes = Lanes()
        self._nodes = Nodes(path)
        self._submissions = Submissions(self._lanes, sealer)
        callbacks = CallbackKeeper(self._submissions, sealer)
        self._steerings = Steerings(self._lanes, sealer)
        self._schedules = Schedules(self._submissions, self._steerings, sealer)
        self._bulks = Bulks(sealer)
        self._claims = Claims(self._nodes, sealer)
        self._settlements = Settlements(self._nodes, callbacks, sealer, clock)
        self._maintenance = maintaining.Maintenance(self._steerings, callbacks, sealer)
        self._listings = Listings(sealer)
        self._journals = Journals(sealer)
        self._counts = Counts()
        self._ownings = Ownings(sealer)
        self._acts = Acts()
        self._signings = Signings(sealer)
        self._resealings = Resealings(sealer)
        self._lanings = Lanings(self._lanes, sealer)
        self._engines = Engines(self._nodes)
        self._explanations = Explanations(sealer)
        self._clockwork = Clockwork(sealer, clock)
        self._following: asyncio.Task[None] | None = None
        self._writer: Writer | None = None
        self._reader: Reader | None = None
        self._searcher: Searcher | None = None
        self._files = Files(path)
        self._probed_at = -_PROBE_SECONDS

    async def open(self) -> None:
        """Opens the file, makes or upgrades the schema, proves the key. Raises `StoreError`."""
        if self._path is not None:
            self._path = self._path.resolve()
        self._files = Files(self._path)
        with turn(self._path):  # two that make a database at once, or recover its log, would refuse each other
            connection = connect(self._path, durable=True, make=self._make)  # what an upgrade makes is shown to owners
            try:
                self._prepare(connection)
                if not self._durable:
                    connection.pragma("synchronous", "NORMAL")
                self._files.open(connection)
                self._nodes.open()
                if self._path is not None:
                    self._reader = Reader("sqlite-reader", connect(self._path, durable=False), self._path, self._files)
                    self._reader.begin()
                    # Now, and not with the first search: another file may lie there by then.
                    second = connect(self._path, durable=False)
                    self._searcher = Searcher(second, self._path, self._files, self._clock.monotonic)
                    self._searcher.begin()
            except BaseException:
                connection.close()
                self._files.close()
                raise
        self._writer = Writer(connection, self._path, self._files, self._lanes.forget)
        self._writer.begin()
        if self._sealer.follows:
            self._following = asyncio.create_task(self._follow_keys(), name="keys")

    async def close(self) -> None:
        """Finishes what was asked and lets go of the file."""
        if self._following is not None:
            self._following.cancel()
            self._following = None
        for worker in (self._writer, self._reader, self._searcher):
            if worker is not None:
                await worker.end()
        self._writer = self._reader = self._searcher = None
        self._files.close()
        self._nodes.close()

    # What the door leaves to the adapter

    def lost(self) -> StoreError | None:
        lost = self._files.look()
        if lost is not None and self._writer is not None:  # which saves what can be saved
            self._writer.do(_nothing, None).add_done_callback(_heard)
        return lost

    async def probe(self) -> None:
        """By a transaction on the disk, but not at every call: whoever watches the server asks often."""
        if lost := self.lost():
            raise lost
        if self._clock.monotonic() - self._probed_at >= _PROBE_SECONDS:
            await self._do("duty", _touch, None)
            self._probed_at = self._clock.monotonic()

    async def ready(self) -> None:
        """Its schema was made or upgraded when it was opened, and no other version opens it meanwhile."""
        await self.probe()

    async def checkpoint(self) -> None:
        if lost := self._files.look():
            raise lost
        if self._path is not None:
            await asyncio.to_thread(maintaining.checkpoint, self._path)

    async def check(self) -> None:
        """Looks for damage for one second at most: a small file is seen whole, a large one in part."""
        if lost := self._files.look():
            raise lost
        if self._path is not None:
            until = self._clock.monotonic() + _CHECK_SECONDS
            await asyncio.to_thread(maintaining.check, self._path, lambda: self._clock.monotonic() < until)

    async def nodes(self) -> list[Node]:
        """Those that claim tasks. The kernel tells that they live, they themselves tell the rest."""
        if lost := self._files.look():
            raise lost
        host = socket.gethostname()
        living = await asyncio.to_thread(self._nodes.alive)
        nodes = {number: Node(number, host, None, "engine", None, None, None, True) for number in living - {0}}
        for engine in await self.engines():
            if engine.number in nodes:
                facts = engine.facts
                told = (facts.pid, "engine", facts.version, engine.started_at, engine.seen_at)
                nodes[engine.number] = Node(engine.number, facts.host, *told, True)
        return [nodes[number] for number in sorted(nodes)]

    def hint_work(self, at: int) -> None:
        self._nodes.hint_work(at)

    def hint_cancel(self) -> None:
        self._nodes.hint_cancel()

    def hint_schedules(self) -> None:
        self._nodes.hint_schedules()

    async def wait(self, timeout_seconds: float) -> Hints:
        return await self._nodes.wait(timeout_seconds)

    # Inside

    def _prepare(self, connection: Any) -> None:
        try:
            schema.prepare(connection, self._sealer)
        except Exception as error:
            raise translate(error, self._path) from error

    def _join(self) -> None:
        if not self._nodes.number and (lost := self._files.look()):
            raise lost
        self._nodes.join()

    def _do(self, kind: Kind, batch: Batch, item: Any, rows: int = 1, asker: str = "") -> "asyncio.Future[Any]":
        """Reading and searching have a thread each; all else shares the one that writes, and its transactions."""
        reader = self._reader if kind == "read" else self._searcher if kind == "search" else None
        if reader is not None:  # in memory, there is one connection for all
            return reader.do(batch, item, asker=asker)
        if self._writer is None:
            raise Unavailable("the store is not open")
        return self._writer.do(batch, item, rows)


def _nothing(_: Any, items: Sequence[None]) -> Sequence[None]:
    return [None] * len(items)


def _touch(connection: Any, items: Sequence[None]) -> Sequence[None]:
    """Writes something that means nothing."""
    connection.execute(sql("meta_touch"))
    return [None] * len(items)


def _heard(done: "asyncio.Future[Any]") -> None:
    """Nobody waits for this answer."""
    if not done.cancelled():
        done.exception()
