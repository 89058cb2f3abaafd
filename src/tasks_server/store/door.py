"""The door of every adapter: the methods of the ports, each handed to the room behind that does it, as work of one
kind. Where and how that kind of work is done, the adapter says.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Final, Literal

from msgspec.structs import replace

from tasks_server.clock import Clock
from tasks_server.domain import limits
from tasks_server.domain.attempt import Attempt, Event
from tasks_server.domain.audit import Act
from tasks_server.domain.bulk import Bulk, BulkFilter
from tasks_server.domain.callback import Callbacks
from tasks_server.domain.engines import Engine, EngineReport
from tasks_server.domain.errors import RequestError
from tasks_server.domain.lane import Lane
from tasks_server.domain.notes import Notes
from tasks_server.domain.owner import Owner, OwnerKey
from tasks_server.domain.schedule import Schedule
from tasks_server.domain.signing import Signing, SigningSecret
from tasks_server.domain.task import NewTask, State, Task
from tasks_server.domain.timekeeping import Timekeeping
from tasks_server.store.acting import DOING
from tasks_server.store.auditing import ActPage, ActQuery
from tasks_server.store.batching import Batch
from tasks_server.store.bulking import BulkRefusal, DecideBulk, Sighted, Stride, Worked
from tasks_server.store.explaining import Standing
from tasks_server.store.journal import LogPage, LogQuery
from tasks_server.store.laning import DecideLane, LanePage, LaneRefusal
from tasks_server.store.noting import Note
from tasks_server.store.owning import OWNERS_END, DecideCallbacks, DecideOwner, DecideSigning, KeyHolder
from tasks_server.store.ports import (
    Choose,
    Claimed,
    Decide,
    Duplicate,
    InsertAnswer,
    Inserted,
    Look,
    Resealed,
    TaskPage,
    TaskQuery,
)
from tasks_server.store.scheduling import DecideFiring, DecideSchedule, Fired, ScheduleRefusal
from tasks_server.store.sealing import Sealer, spec_context
from tasks_server.store.settling import DecideLost, Report, Settled
from tasks_server.store.timekeeping import Righted

Kind = Literal["submit", "steer", "read", "search", "claim", "settle", "duty"]
"""Work that may share a connection and a transaction: tasks taken in; changes by hand; reading; claims; outcomes;
background duties."""
_HINT_AHEAD_MS: Final = 60_000
"""Engines look by themselves at least this often, so that only tasks due sooner are worth a hint."""
FOLLOW_SECONDS: Final = 2.0
"""How soon a process seals with a key that was put into the key file."""


class Door(ABC):
    """What an adapter's store derives from. It sets the rooms (whose classes bear the same names in every adapter),
    the sealer and the clock.
    """

    _sealer: Sealer
    _clock: Clock
    _submissions: Any
    _steerings: Any
    _listings: Any
    _counts: Any
    _ownings: Any
    _signings: Any
    _claims: Any
    _settlements: Any
    _maintenance: Any
    _resealings: Any
    _schedules: Any
    _lanings: Any
    _engines: Any
    _explanations: Any
    _journals: Any
    _bulks: Any
    _clockwork: Any
    _acts: Any

    @abstractmethod
    def _do(self, kind: Kind, batch: Batch, item: Any, rows: int = 1, asker: str = "") -> "asyncio.Future[Any]":
        """Asks a batch function to do an item of about so many rows. Raises `Unavailable` when it is not open."""

    def _by_hand(self, batch: Batch, item: Any) -> "asyncio.Future[Any]":
        """Asks for a change that somebody makes, which is recorded with it where that is wanted."""
        act = DOING.get()
        if act is None:
            return self._do("steer", batch, item)
        return self._do("steer", self._acts.beside(batch), (item, act))

    @abstractmethod
    def _join(self) -> None:
        """From the first work on, this process is one of the nodes. Called before every such work."""

    @abstractmethod
    def hint_work(self, at: int) -> None: ...

    @abstractmethod
    def hint_cancel(self) -> None: ...

    @abstractmethod
    def hint_schedules(self) -> None: ...

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
            self.hint_work(soonest)
        return answer

    async def replay(self, owner: str, key: str, digest: bytes, now: int) -> Duplicate | None:
        found: Duplicate | None = await self._do("read", self._submissions.replay, (owner, key, digest, now))
        return found

    # Steering

    async def change(self, owner: str | None, task_id: str, decide: Decide) -> Task | None:
        answer: Task | RequestError | None = await self._by_hand(self._steerings.change, (owner, task_id, decide))
        if isinstance(answer, RequestError):
            raise answer
        return answer

    async def delete(self, owner: str | None, task_id: str) -> bool:
        done: bool = await self._by_hand(self._steerings.delete, (owner, task_id))
        return done

    # Reading

    async def task(self, owner: str | None, task_id: str, *, response: bool = True) -> Task | None:
        found: Task | None = await self._do("read", self._listings.task, (owner, task_id, response))
        return found

    async def exists(self, owner: str | None, task_id: str) -> bool:
        found: bool = await self._do("read", self._listings.exists, (owner, task_id))
        return found

    async def spec(self, owner: str | None, task_id: str) -> bytes | None:
        found: bytes | None = await self._do("read", self._listings.spec, (owner, task_id))
        return found

    async def tasks(self, query: TaskQuery) -> TaskPage:
        page: TaskPage = await self._do("search", self._listings.tasks, query, asker=query.owner or "")
        return page

    async def attempts(
        self, owner: str | None, task_id: str, *, after: int = 0, limit: int = limits.HISTORY_MAX
    ) -> list[Attempt]:
        asked = (owner, task_id, after, limit)
        found: list[Attempt] = await self._do("search", self._listings.attempts, asked, asker=owner or "")
        return found

    async def newest_attempts(self, owner: str | None, task_id: str, limit: int = limits.HISTORY_MAX) -> list[Attempt]:
        asked = (owner, task_id, None, limit)
        found: list[Attempt] = await self._do("search", self._listings.attempts, asked, asker=owner or "")
        return found

    async def notes(self, owner: str | None, task_id: str) -> dict[int, Notes]:
        found: dict[int, Notes] = await self._do("search", self._listings.notes, (owner, task_id), asker=owner or "")
        return found

    async def events(self, owner: str | None, task_id: str) -> list[Event]:
        found: list[Event] = await self._do("search", self._listings.events, (owner, task_id), asker=owner or "")
        return found

    async def log(self, query: LogQuery) -> LogPage:
        page: LogPage = await self._do("search", self._journals.page, query, asker=query.owner or "")
        return page

    async def counts(self, owner: str | None) -> dict[State, int]:
        found: dict[State, int] = await self._do("read", self._counts.of, owner)
        return found

    # Owning

    async def create_owner(self, owner: Owner, key: OwnerKey, digest: bytes, secret: SigningSecret) -> bool:
        created: bool = await self._by_hand(self._ownings.create, (owner, key, digest, secret))
        return created

    async def owner(self, owner_id: str) -> Owner | None:
        found: Owner | None = await self._do("read", self._ownings.by_id, owner_id)
        return found

    async def owner_by_name(self, name: str) -> Owner | None:
        found: Owner | None = await self._do("read", self._ownings.by_name, name)
        return found

    async def owner_by_key(self, digest: bytes) -> KeyHolder | None:
        found: KeyHolder | None = await self._do("read", self._ownings.by_key, digest)
        return found

    async def owners(self, after: str = "", limit: int = limits.PAGE_SIZE_MAX, until: str = OWNERS_END) -> list[Owner]:
        found: list[Owner] = await self._do("read", self._ownings.page, (after, limit, until))
        return found

    async def change_owner(self, owner_id: str, decide: DecideOwner, now: int) -> Owner | None:
        answer: Owner | RequestError | None = await self._by_hand(self._ownings.change, (owner_id, decide, now))
        if isinstance(answer, RequestError):
            raise answer
        if answer is not None and answer.suspended_at is None:
            self.hint_work(now)
            self.hint_schedules()
        return answer

    async def delete_owner(self, owner_id: str) -> bool | None:
        done: bool | None = await self._by_hand(self._ownings.delete, owner_id)
        return done

    async def add_key(self, owner_id: str, key: OwnerKey, digest: bytes, keys_max: int) -> bool:
        done: bool = await self._by_hand(self._ownings.add_key, (owner_id, key, digest, keys_max))
        return done

    async def keys(self, owner_id: str) -> list[OwnerKey]:
        found: list[OwnerKey] = await self._do("read", self._ownings.keys, owner_id)
        return found

    async def note_keys_used(self, uses: Sequence[tuple[bytes, int]]) -> None:
        await self._do("duty", self._ownings.note_used, uses, len(uses))

    async def use_link(self, link: bytes, until: int, now: int) -> bool:
        first: bool = await self._do("steer", self._ownings.use_link, (link, until, now))
        return first

    async def remove_key(self, owner_id: str, key_id: str) -> bool | None:
        done: bool | None = await self._by_hand(self._ownings.remove_key, (owner_id, key_id))
        return done

    async def signing(self, owner_id: str) -> Signing | None:
        found: Signing | None = await self._do("read", self._signings.of_owner, owner_id)
        return found

    async def owner_callbacks(self, owner_id: str) -> Callbacks | None:
        found: Callbacks | None = await self._do("read", self._ownings.callbacks, owner_id)
        return found

    async def change_owner_callbacks(self, owner_id: str, decide: DecideCallbacks) -> Callbacks | None:
        answer: Callbacks | RequestError | None = await self._by_hand(
            self._ownings.change_callbacks, (owner_id, decide)
        )
        if isinstance(answer, RequestError):
            raise answer
        return answer

    async def change_signing(self, owner_id: str, decide: DecideSigning) -> Signing | None:
        answer: Signing | RequestError | None = await self._by_hand(self._signings.change, (owner_id, decide))
        if isinstance(answer, RequestError):
            raise answer
        return answer

    async def signing_keys(self, owners: Sequence[int]) -> dict[int, Signing]:
        found: dict[int, Signing] = await self._do("read", self._signings.of_handles, owners)
        return found

    # Claiming and settling

    async def claim(self, look: Look, choose: Choose) -> Claimed:
        self._join()
        claimed: Claimed = await self._do("claim", self._claims.claim, (look, choose))
        self._claims.open(claimed)
        return claimed

    async def settle(self, reports: Sequence[Report]) -> set[int]:
        settled: Settled = await self._do("settle", self._settlements.settle, reports, len(reports))
        again = [report.settlement.due_at for report in reports if not report.settlement.ended_at]
        if settled.callbacks:
            again.append(self._clock.now())
        if again:  # retries, repeats and what was given back: whoever sleeps may have to wake for them
            self.hint_work(min(again))
        return settled.lost

    async def note(self, several: Sequence[Note]) -> None:
        await self._do("settle", self._settlements.note, several)

    async def extend(self, leases: Sequence[tuple[int, int]], lease_until: int) -> set[int]:
        lost: set[int] = await self._do("settle", self._settlements.extend, (leases, lease_until))
        return lost

    async def held(self, leases: Sequence[tuple[int, int]]) -> set[int]:
        held: set[int] = await self._do("read", self._settlements.held, leases)
        return held

    # Maintaining

    async def rescue(self, now: int, limit: int, decide: DecideLost) -> int:
        self._join()
        count: int = await self._do("duty", self._settlements.rescue, (now, limit, decide))
        if count:
            self.hint_work(now)
        return count

    async def expire(self, now: int, limit: int) -> int:
        count: int
        count, callbacks = await self._do("duty", self._maintenance.expire, (now, limit))
        if callbacks:
            self.hint_work(now)
        return count

    async def prune(self, before: int, limit: int) -> int:
        count: int = await self._do("duty", self._maintenance.prune, (before, self._clock.now(), limit))
        return count

    # Scheduling

    async def change_schedule(
        self, owner: str | None, key: str, decide: DecideSchedule, count_max: int
    ) -> Schedule | ScheduleRefusal | None:
        answer: Schedule | ScheduleRefusal | RequestError | None = await self._by_hand(
            self._schedules.change, (owner, key, decide, count_max)
        )
        if isinstance(answer, RequestError):
            raise answer
        return answer

    async def schedule(self, owner: str | None, key: str) -> tuple[Schedule, bytes] | None:
        found: tuple[Schedule, bytes] | None = await self._do("read", self._schedules.read, (owner, key))
        return found

    async def schedules(self, owner: str | None, after: str, limit: int) -> list[Schedule]:
        found: list[Schedule] = await self._do("search", self._schedules.page, (owner, after, limit), asker=owner or "")
        return found

    async def delete_schedule(self, owner: str | None, key: str) -> bool:
        done: bool = await self._by_hand(self._schedules.delete, (owner, key))
        return done

    async def next_look(self) -> int | None:
        at: int | None = await self._do("read", self._schedules.next_look, None)
        return at

    async def fire(self, now: int, horizon: int, limit: int, decide: DecideFiring) -> Fired:
        fired: Fired
        fired, tasks, stopped = await self._do("steer", self._schedules.fire, (horizon, limit, decide), limit)
        soon = [task.due_at for task in tasks if task.due_at <= now + _HINT_AHEAD_MS]
        if soon:
            self.hint_work(min(soon))
        if stopped:
            self.hint_cancel()
        return fired

    # Bulk work

    async def create_bulk(self, bulk: Bulk, open_max: int) -> Bulk | BulkRefusal:
        answer: Bulk | BulkRefusal = await self._by_hand(self._bulks.create, (bulk, open_max))
        return answer

    async def bulk(self, owner: str | None, bulk_id: str) -> Bulk | None:
        found: Bulk | None = await self._do("read", self._bulks.read, (owner, bulk_id))
        return found

    async def bulks(self, owner: str | None, before: str, limit: int) -> list[Bulk]:
        found: list[Bulk] = await self._do("search", self._bulks.page, (owner, before, limit), asker=owner or "")
        return found

    async def cancel_bulk(self, owner: str | None, bulk_id: str, now: int) -> Bulk | None:
        found: Bulk | None = await self._by_hand(self._bulks.cancel, (owner, bulk_id, now))
        return found

    async def sight_bulk(self, owner: str, asked: BulkFilter, after: int, seen_max: int) -> Sighted:
        sighted: Sighted = await self._do("search", self._bulks.sight, (owner, asked, after, seen_max), asker=owner)
        return sighted

    async def next_bulk(self) -> int | None:
        at: int | None = await self._do("read", self._bulks.next_turn, None)
        return at

    async def work_bulk(self, now: int, stride: Stride, decide: DecideBulk) -> Worked:
        worked: Worked = await self._do("steer", self._bulks.work, (now, stride, decide), stride.changed_max)
        if worked.restarted:
            self.hint_work(now)
        if worked.stopped:
            self.hint_cancel()
        return worked

    # Lanes

    async def lanes(self, owner: str, after: str, limit: int) -> LanePage:
        page: LanePage = await self._do("search", self._lanings.page, (owner, after, limit), asker=owner)
        return page

    async def lane(self, owner: str, name: str) -> Lane | None:
        found: Lane | None = await self._do("read", self._lanings.read, (owner, name))
        return found

    async def change_lane(self, owner: str, name: str, decide: DecideLane, count_max: int) -> Lane | LaneRefusal | None:
        answer: Lane | LaneRefusal | RequestError | None = await self._by_hand(
            self._lanings.change, (owner, name, decide, count_max)
        )
        if isinstance(answer, RequestError):
            raise answer
        if isinstance(answer, Lane) and answer.in_queue:
            self.hint_work(self._clock.now())
        return answer

    async def delete_lane(self, owner: str, name: str, now: int, *, held_too: bool = True) -> LaneRefusal | bool:
        answer: LaneRefusal | bool = await self._by_hand(self._lanings.delete, (owner, name, now, held_too))
        return answer

    # Auditing

    async def acts(self, query: ActQuery) -> ActPage:
        page: ActPage = await self._do("search", self._acts.page, query, asker=query.owner or "")
        return page

    async def record(self, act: Act) -> None:
        await self._do("steer", self._acts.record, act)

    async def prune_acts(self, before: int, limit: int) -> int:
        count: int = await self._do("duty", self._acts.prune, (before, limit))
        return count

    # Changing keys

    async def reseal(self, after: tuple[int, int, int], limit: int) -> Resealed:
        done: Resealed = await self._do("steer", self._resealings.step, (after, limit), limit)
        return done

    async def keys_used(self) -> dict[bytes, int]:
        found: dict[bytes, int] = await self._do("read", self._resealings.used, None)
        return found

    async def keys_replaced(self) -> set[bytes]:
        found: set[bytes] = await self._do("read", self._resealings.replaced, None)
        return found

    # Engines

    async def report(self, report: EngineReport) -> None:
        self._join()
        await self._do("duty", self._engines.report, report)

    async def engines(self) -> list[Engine]:
        found: list[Engine] = await self._do("read", self._engines.all, None)
        return found

    # Keeping time

    async def keep_time(self, seen_ms: int = 0) -> Timekeeping:
        known: Timekeeping = await self._do("duty", self._clockwork.keep, seen_ms)
        return known

    async def put_right(self, count_max: int) -> Righted:
        righted: Righted = await self._do("duty", self._clockwork.step, count_max)
        if righted.due_at is not None:
            self.hint_work(righted.due_at)
        if righted.schedules:
            self.hint_schedules()
        return righted

    async def timekeeping(self) -> Timekeeping:
        known: Timekeeping = await self._do("read", self._clockwork.read, None)
        return known

    # Explaining

    async def standing(self, owner: str | None, task_id: str) -> Standing | None:
        found: Standing | None = await self._do(
            "search", self._explanations.standing, (owner, task_id), asker=owner or ""
        )
        return found

    # Waking

    # Nodes

    # Keys

    def look_for_keys(self) -> None:
        self._sealer.refresh()

    # Inside

    async def _follow_keys(self) -> None:
        """Takes over a changed key, so that nothing is sealed with an old one for long."""
        while True:
            await asyncio.sleep(FOLLOW_SECONDS)
            self._sealer.refresh()
