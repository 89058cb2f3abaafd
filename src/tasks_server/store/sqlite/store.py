"""The SQLite adapter: one file, many processes on one machine. This is its door; the rooms behind it do the work."""

import asyncio
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from msgspec.structs import replace

from tasks_server.clock import Clock
from tasks_server.domain import limits
from tasks_server.domain.attempt import Attempt, Event
from tasks_server.domain.errors import RequestError, Unavailable
from tasks_server.domain.owner import Owner, OwnerKey
from tasks_server.domain.signing import Signing, SigningSecret
from tasks_server.domain.task import NewTask, Task
from tasks_server.store.batching import Batch
from tasks_server.store.ports import (
    Choose,
    Claimed,
    Decide,
    DecideSigning,
    Duplicate,
    Hints,
    InsertAnswer,
    Inserted,
    Look,
    Node,
    Report,
    Resealed,
    TaskPage,
    TaskQuery,
)
from tasks_server.store.sealing import Sealer, spec_context
from tasks_server.store.sqlite import maintaining, schema
from tasks_server.store.sqlite.claiming import Claims
from tasks_server.store.sqlite.connection import Reader, Writer, connect, translate, turn
from tasks_server.store.sqlite.listing import Listings
from tasks_server.store.sqlite.nodes import Nodes
from tasks_server.store.sqlite.owning import Ownings
from tasks_server.store.sqlite.resealing import Resealings
from tasks_server.store.sqlite.settling import Settlements
from tasks_server.store.sqlite.signing import Signings
from tasks_server.store.sqlite.steering import Steerings
from tasks_server.store.sqlite.submitting import Lanes, Submissions

_HINT_AHEAD_MS: Final = 60_000
"""Engines look by themselves at least this often, so that only tasks due sooner are worth a hint."""
_CHECK_SECONDS: Final = 1.0
FOLLOW_SECONDS: Final = 2.0
"""How soon a process seals with a key that was put into the key file."""


class SqliteStore:
    """A store on one SQLite file, or in memory when there is no path.

    `durable`: every commit reaches the disk before it is answered. An engine may do without: what it loses to a
    power cut, a claim or a settlement, only makes a call be made again.
    """

    def __init__(self, path: Path | None, sealer: Sealer, clock: Clock, *, durable: bool = True) -> None:
        self._path = path
        self._sealer = sealer
        self._clock = clock
        self._durable = durable
        self._lanes = Lanes()
        self._nodes = Nodes(path)
        self._submissions = Submissions(self._lanes, sealer)
        self._steerings = Steerings(self._lanes, sealer)
        self._claims = Claims(self._nodes, sealer)
        self._settlements = Settlements(self._nodes, sealer)
        self._maintenance = maintaining.Maintenance(self._steerings, sealer)
        self._listings = Listings(sealer)
        self._ownings = Ownings(sealer)
        self._signings = Signings(sealer)
        self._resealings = Resealings(sealer)
        self._following: asyncio.Task[None] | None = None
        self._writer: Writer | None = None
        self._reader: Reader | None = None

    async def open(self) -> None:
        """Opens the file, makes or upgrades the schema, proves the key. Raises `StoreError`."""
        if self._path is not None:
            self._path = self._path.resolve()
        with turn(self._path):  # two that make a database at once, or recover its log, would refuse each other
            connection = connect(self._path, durable=True)  # what an upgrade makes is shown to owners
            try:
                self._prepare(connection)
                if not self._durable:
                    connection.pragma("synchronous", "NORMAL")
                self._nodes.open()
                if self._path is not None:
                    self._reader = Reader("sqlite-reader", connect(self._path, durable=False), self._path)
                    self._reader.begin()
            except BaseException:
                connection.close()
                raise
        self._writer = Writer(connection, self._path, self._lanes.forget)
        self._writer.begin()
        if self._sealer.follows:
            self._following = asyncio.create_task(self._follow_keys(), name="keys")

    async def close(self) -> None:
        """Finishes what was asked and lets go of the file."""
        if self._following is not None:
            self._following.cancel()
            self._following = None
        for worker in (self._writer, self._reader):
            if worker is not None:
                await worker.end()
        self._writer = self._reader = None
        self._nodes.close()

    # Submitting

    async def insert(self, task: NewTask) -> InsertAnswer:
        return await self.insert_batch((task,))

    async def insert_batch(self, tasks: Sequence[NewTask]) -> InsertAnswer:
        seal = self._sealer.seal
        soonest = tasks[0].due_at
        sealed = []
        for task in tasks:
            sealed.append(replace(task, spec=seal(task.spec, spec_context(task.id))))
            soonest = min(soonest, task.due_at)
        answer: InsertAnswer = await self._write(self._submissions.insert, sealed, len(sealed))
        if isinstance(answer, Inserted) and soonest <= tasks[0].created_at + _HINT_AHEAD_MS:
            self._nodes.hint_work(soonest)
        return answer

    async def replay(self, owner: str, key: str, digest: bytes, now: int) -> Duplicate | None:
        found: Duplicate | None = await self._read(self._submissions.replay, (owner, key, digest, now))
        return found

    # Steering

    async def change(self, owner: str | None, task_id: str, decide: Decide) -> Task | None:
        answer: Task | RequestError | None = await self._write(self._steerings.change, (owner, task_id, decide))
        if isinstance(answer, RequestError):
            raise answer
        return answer

    async def delete(self, owner: str | None, task_id: str) -> bool:
        done: bool = await self._write(self._steerings.delete, (owner, task_id))
        return done

    # Reading

    async def task(self, owner: str | None, task_id: str) -> Task | None:
        found: Task | None = await self._read(self._listings.task, (owner, task_id))
        return found

    async def spec(self, owner: str | None, task_id: str) -> bytes | None:
        found: bytes | None = await self._read(self._listings.spec, (owner, task_id))
        return found

    async def tasks(self, query: TaskQuery) -> TaskPage:
        page: TaskPage = await self._read(self._listings.tasks, query)
        return page

    async def attempts(self, owner: str | None, task_id: str) -> list[Attempt]:
        found: list[Attempt] = await self._read(self._listings.attempts, (owner, task_id))
        return found

    async def events(self, owner: str | None, task_id: str) -> list[Event]:
        found: list[Event] = await self._read(self._listings.events, (owner, task_id))
        return found

    # Owning

    async def create_owner(self, owner: Owner, key: OwnerKey, digest: bytes, secret: SigningSecret) -> bool:
        created: bool = await self._write(self._ownings.create, (owner, key, digest, secret))
        return created

    async def owner(self, owner_id: str) -> Owner | None:
        found: Owner | None = await self._read(Ownings.by_id, owner_id)
        return found

    async def owner_by_name(self, name: str) -> Owner | None:
        found: Owner | None = await self._read(Ownings.by_name, name)
        return found

    async def owner_by_key(self, digest: bytes) -> Owner | None:
        found: Owner | None = await self._read(Ownings.by_key, digest)
        return found

    async def owners(self, after: str = "", limit: int = limits.PAGE_SIZE_MAX) -> list[Owner]:
        found: list[Owner] = await self._read(Ownings.page, (after, limit))
        return found

    async def set_limit(self, owner_id: str, tasks_in_queue_max: int) -> bool:
        done: bool = await self._write(Ownings.set_limit, (owner_id, tasks_in_queue_max))
        return done

    async def delete_owner(self, owner_id: str) -> bool | None:
        done: bool | None = await self._write(Ownings.delete, owner_id)
        return done

    async def add_key(self, owner_id: str, key: OwnerKey, digest: bytes, keys_max: int) -> bool:
        done: bool = await self._write(Ownings.add_key, (owner_id, key, digest, keys_max))
        return done

    async def keys(self, owner_id: str) -> list[OwnerKey]:
        found: list[OwnerKey] = await self._read(Ownings.keys, owner_id)
        return found

    async def remove_key(self, owner_id: str, key_id: str) -> bool | None:
        done: bool | None = await self._write(Ownings.remove_key, (owner_id, key_id))
        return done

    async def signing(self, owner_id: str) -> Signing | None:
        found: Signing | None = await self._read(self._signings.of_owner, owner_id)
        return found

    async def change_signing(self, owner_id: str, decide: DecideSigning) -> Signing | None:
        answer: Signing | RequestError | None = await self._write(self._signings.change, (owner_id, decide))
        if isinstance(answer, RequestError):
            raise answer
        return answer

    async def signing_keys(self, owners: Sequence[int]) -> dict[int, Signing]:
        found: dict[int, Signing] = await self._read(self._signings.of_handles, owners)
        return found

    # Claiming and settling

    async def claim(self, look: Look, choose: Choose) -> Claimed:
        self._nodes.join()
        return self._claims.open(await self._write(self._claims.claim, (look, choose)))

    async def settle(self, reports: Sequence[Report]) -> set[int]:
        lost: set[int] = await self._write(self._settlements.settle, reports, len(reports))
        again = [report.settlement.due_at for report in reports if not report.settlement.ended_at]
        if again:  # retries, repeats and what was given back: whoever sleeps may have to wake for them
            self._nodes.hint_work(min(again))
        return lost

    async def extend(self, leases: Sequence[tuple[int, int]], lease_until: int) -> set[int]:
        lost: set[int] = await self._write(self._settlements.extend, (leases, lease_until))
        return lost

    async def held(self, leases: Sequence[tuple[int, int]]) -> set[int]:
        held: set[int] = await self._read(self._settlements.held, leases)
        return held

    # Maintaining

    async def rescue(self, now: int, limit: int) -> int:
        self._nodes.join()
        count: int = await self._write(self._settlements.rescue, (now, limit))
        if count:
            self._nodes.hint_work(now)
        return count

    async def expire(self, now: int, limit: int) -> int:
        count: int = await self._write(self._maintenance.expire, (now, limit))
        return count

    async def prune(self, before: int, limit: int) -> int:
        count: int = await self._write(maintaining.Maintenance.prune, (before, self._clock.now(), limit))
        return count

    async def checkpoint(self) -> None:
        if self._path is not None:
            await asyncio.to_thread(maintaining.checkpoint, self._path)

    async def check(self) -> None:
        """Looks for damage for one second at most: a small file is seen whole, a large one in part."""
        if self._path is not None:
            until = self._clock.monotonic() + _CHECK_SECONDS
            await asyncio.to_thread(maintaining.check, self._path, lambda: self._clock.monotonic() < until)

    # Changing keys

    async def reseal(self, after: tuple[int, int, int], limit: int) -> Resealed:
        done: Resealed = await self._write(self._resealings.step, (after, limit), limit)
        return done

    async def keys_used(self) -> dict[bytes, int]:
        found: dict[bytes, int] = await self._read(Resealings.used, None)
        return found

    # Waking

    def hint_work(self, at: int) -> None:
        self._nodes.hint_work(at)

    def hint_cancel(self) -> None:
        self._nodes.hint_cancel()

    async def wait(self, timeout_seconds: float) -> Hints:
        return await self._nodes.wait(timeout_seconds)

    # Nodes

    async def nodes(self) -> list[Node]:
        """Those that claim tasks. The kernel tells that they live, and nothing else of them."""
        host = socket.gethostname()
        living = await asyncio.to_thread(self._nodes.alive)
        return [Node(number, host, None, "engine", None, None, None, True) for number in sorted(living - {0})]

    # Inside

    async def _follow_keys(self) -> None:
        """Takes over a changed key, so that nothing is sealed with an old one for long."""
        while True:
            await asyncio.sleep(FOLLOW_SECONDS)
            self._sealer.refresh()

    def _prepare(self, connection: Any) -> None:
        try:
            schema.prepare(connection, self._sealer)
        except Exception as error:
            raise translate(error, self._path) from error

    def _write(self, batch: Batch, item: Any, rows: int = 1) -> "asyncio.Future[Any]":
        if self._writer is None:
            raise Unavailable("the store is not open")
        return self._writer.do(batch, item, rows)

    def _read(self, batch: Batch, item: Any) -> "asyncio.Future[Any]":
        if self._reader is None:  # in memory, there is one connection for all
            return self._write(batch, item)
        return self._reader.do(batch, item)
