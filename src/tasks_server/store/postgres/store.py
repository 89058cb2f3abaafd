"""The PostgreSQL adapter: one database, many processes on many machines. This is its door; the rooms behind it do the
work, each kind of it on a connection of its own.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any, Final

from msgspec.structs import replace

from tasks_server.clock import Clock
from tasks_server.domain import limits
from tasks_server.domain.attempt import Attempt, Event
from tasks_server.domain.errors import RequestError, StoreError, Unavailable
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
from tasks_server.store.postgres import roster, schema
from tasks_server.store.postgres.claiming import Claims
from tasks_server.store.postgres.days import Days
from tasks_server.store.postgres.folding import Folded
from tasks_server.store.postgres.hints import Hinting
from tasks_server.store.postgres.link import Connection, Link
from tasks_server.store.postgres.listing import Listings
from tasks_server.store.postgres.maintaining import Maintenance
from tasks_server.store.postgres.nodes import BEAT_SECONDS, Nodes
from tasks_server.store.postgres.owning import Ownings
from tasks_server.store.postgres.resealing import Resealings
from tasks_server.store.postgres.session import Session, Verify
from tasks_server.store.postgres.settling import Settlements
from tasks_server.store.postgres.signing import Signings, fill_in
from tasks_server.store.postgres.steering import Steerings
from tasks_server.store.postgres.submitting import Lanes, Submissions
from tasks_server.store.sealing import Sealer, spec_context

_HINT_AHEAD_MS: Final = 60_000
"""Engines look by themselves at least this often, so that only tasks due sooner are worth a hint."""
COMMAND_LINE: Final = "command line"
"""The role of those who come and go; others are nodes as long as they are open."""
FOLLOW_SECONDS: Final = 2.0
"""How soon a process seals with a key that was put into the key file."""


class PostgresStore:
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
        self._hinting = Hinting(self._link, clock)
        self._days, self._folded = Days(), Folded(clock)
        self._submissions = Submissions(self._lanes, sealer, self._folded)
        self._steerings = Steerings(self._lanes, self._days, sealer)
        self._claims = Claims(self._nodes.number, sealer, clock)
        self._settlements = Settlements(self._nodes, self._days, sealer)
        self._maintenance = Maintenance(self._steerings, self._days, sealer)
        self._listings = Listings(sealer)
        self._ownings = Ownings(sealer)
        self._signings = Signings(sealer)
        self._resealings = Resealings(sealer)
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
        answer: InsertAnswer = await self._do("submit", self._submissions.insert, sealed, len(sealed))
        if isinstance(answer, Inserted) and soonest <= tasks[0].created_at + _HINT_AHEAD_MS:
            self._hinting.work(soonest)
        return answer

    async def replay(self, owner: str, key: str, digest: bytes, now: int) -> Duplicate | None:
        found: Duplicate | None = await self._do("read", self._submissions.replay, (owner, key, digest, now))
        return found

    # Steering

    async def change(self, owner: str | None, task_id: str, decide: Decide) -> Task | None:
        answer: Task | RequestError | None = await self._do("steer", self._steerings.change, (owner, task_id, decide))
        if isinstance(answer, RequestError):
            raise answer
        return answer

    async def delete(self, owner: str | None, task_id: str) -> bool:
        done: bool = await self._do("steer", self._steerings.delete, (owner, task_id))
        return done

    # Reading

    async def task(self, owner: str | None, task_id: str) -> Task | None:
        found: Task | None = await self._do("read", self._listings.task, (owner, task_id))
        return found

    async def spec(self, owner: str | None, task_id: str) -> bytes | None:
        found: bytes | None = await self._do("read", self._listings.spec, (owner, task_id))
        return found

    async def tasks(self, query: TaskQuery) -> TaskPage:
        page: TaskPage = await self._do("read", self._listings.tasks, query)
        return page

    async def attempts(self, owner: str | None, task_id: str) -> list[Attempt]:
        found: list[Attempt] = await self._do("read", self._listings.attempts, (owner, task_id))
        return found

    async def events(self, owner: str | None, task_id: str) -> list[Event]:
        found: list[Event] = await self._do("read", self._listings.events, (owner, task_id))
        return found

    # Owning

    async def create_owner(self, owner: Owner, key: OwnerKey, digest: bytes, secret: SigningSecret) -> bool:
        created: bool = await self._do("steer", self._ownings.create, (owner, key, digest, secret))
        return created

    async def owner(self, owner_id: str) -> Owner | None:
        found: Owner | None = await self._do("read", Ownings.by_id, owner_id)
        return found

    async def owner_by_name(self, name: str) -> Owner | None:
        found: Owner | None = await self._do("read", Ownings.by_name, name)
        return found

    async def owner_by_key(self, digest: bytes) -> Owner | None:
        found: Owner | None = await self._do("read", Ownings.by_key, digest)
        return found

    async def owners(self, after: str = "", limit: int = limits.PAGE_SIZE_MAX) -> list[Owner]:
        found: list[Owner] = await self._do("read", Ownings.page, (after, limit))
        return found

    async def set_limit(self, owner_id: str, tasks_in_queue_max: int) -> bool:
        done: bool = await self._do("steer", Ownings.set_limit, (owner_id, tasks_in_queue_max))
        return done

    async def delete_owner(self, owner_id: str) -> bool | None:
        done: bool | None = await self._do("steer", Ownings.delete, owner_id)
        return done

    async def add_key(self, owner_id: str, key: OwnerKey, digest: bytes, keys_max: int) -> bool:
        done: bool = await self._do("steer", Ownings.add_key, (owner_id, key, digest, keys_max))
        return done

    async def keys(self, owner_id: str) -> list[OwnerKey]:
        found: list[OwnerKey] = await self._do("read", Ownings.keys, owner_id)
        return found

    async def remove_key(self, owner_id: str, key_id: str) -> bool | None:
        done: bool | None = await self._do("steer", Ownings.remove_key, (owner_id, key_id))
        return done

    async def signing(self, owner_id: str) -> Signing | None:
        found: Signing | None = await self._do("read", self._signings.of_owner, owner_id)
        return found

    async def change_signing(self, owner_id: str, decide: DecideSigning) -> Signing | None:
        answer: Signing | RequestError | None = await self._do("steer", self._signings.change, (owner_id, decide))
        if isinstance(answer, RequestError):
            raise answer
        return answer

    async def signing_keys(self, owners: Sequence[int]) -> dict[int, Signing]:
        found: dict[int, Signing] = await self._do("read", self._signings.of_handles, owners)
        return found

    # Claiming and settling

    async def claim(self, look: Look, choose: Choose) -> Claimed:
        self._join()
        return self._claims.open(await self._do("claim", self._claims.claim, (look, choose)))

    async def settle(self, reports: Sequence[Report]) -> set[int]:
        lost: set[int] = await self._do("settle", self._settlements.settle, reports, len(reports))
        again = [report.settlement.due_at for report in reports if not report.settlement.ended_at]
        if again:  # retries, repeats and what was given back: whoever sleeps may have to wake for them
            self._hinting.work(min(again))
        return lost

    async def extend(self, leases: Sequence[tuple[int, int]], lease_until: int) -> set[int]:
        lost: set[int] = await self._do("settle", self._settlements.extend, (leases, lease_until))
        return lost

    async def held(self, leases: Sequence[tuple[int, int]]) -> set[int]:
        held: set[int] = await self._do("read", self._settlements.held, leases)
        return held

    # Maintaining

    async def rescue(self, now: int, limit: int) -> int:
        self._join()
        count: int = await self._do("duty", self._settlements.rescue, (now, limit))
        if count:
            self._hinting.work(now)
        return count

    async def expire(self, now: int, limit: int) -> int:
        count: int = await self._do("duty", self._maintenance.expire, (now, limit))
        return count

    async def prune(self, before: int, limit: int) -> int:
        count: int = await self._do("duty", self._maintenance.prune, (before, self._clock.now(), limit))
        return count

    async def checkpoint(self) -> None:
        """Folds the changes of the counters."""
        await self._do("duty", self._folded.fold, None)

    async def check(self) -> None:
        """Whether the database answers and has our schema; what its files are like is its own affair."""
        await self._do("read", self._verify, None)

    # Changing keys

    async def reseal(self, after: tuple[int, int, int], limit: int) -> Resealed:
        done: Resealed = await self._do("steer", self._resealings.step, (after, limit), limit)
        return done

    async def keys_used(self) -> dict[bytes, int]:
        found: dict[bytes, int] = await self._do("read", Resealings.used, None)
        return found

    # Waking

    def hint_work(self, at: int) -> None:
        self._hinting.work(at)

    def hint_cancel(self) -> None:
        self._hinting.cancel()

    async def wait(self, timeout_seconds: float) -> Hints:
        self._join()
        return await self._hinting.wait(timeout_seconds)

    # Nodes

    async def nodes(self) -> list[Node]:
        found: list[Node] = await self._do("read", self._roster, None)
        return found

    # Inside

    async def _follow_keys(self) -> None:
        """Takes over a changed key, so that nothing is sealed with an old one for long."""
        while True:
            await asyncio.sleep(FOLLOW_SECONDS)
            self._sealer.refresh()

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

    @staticmethod
    def _roster(connection: Connection, items: Sequence[None]) -> Sequence[list[Node]]:
        return [roster.read(connection)] * len(items)

    def _do(self, kind: str, batch: Batch, item: Any, rows: int = 1) -> "asyncio.Future[Any]":
        """Asks a batch function to do something, on the connection for that kind of work."""
        session = self._sessions.get(kind)
        if session is None:
            if not self._open:
                raise Unavailable("the store is not open")
            verify: dict[Batch, Verify] = {self._submissions.insert: self._submissions.stored}
            session = Session(kind, self._link, on_failure=self._days.forget, verify=verify)
            session.begin()
            self._sessions[kind] = session
        return session.do(batch, item, rows)
