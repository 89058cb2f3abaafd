"""A store with the means to fill it, so that a test says only what it is about."""

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from msgspec.structs import replace

from tasks_server.clock import ManualClock
from tasks_server.domain import callback_making, ids, lifecycle, limits
from tasks_server.domain.attempt import Attempt, Event, Outcome, OutcomeKind
from tasks_server.domain.forms import encode_spec
from tasks_server.domain.lifecycle import Progress
from tasks_server.domain.owner import Owner, OwnerKey
from tasks_server.domain.request import HttpRequest, TaskConfig, TaskSpec
from tasks_server.domain.signing import SigningSecret
from tasks_server.domain.task import NewTask, State, Task
from tasks_server.engine.reports import report_lost
from tasks_server.store.ports import Change, Choose, Claim, Claimed, Group, Inserted, Look, Quota, Store
from tasks_server.store.settling import Report

from .adapters import Adapter

LEASE_MS: Final = limits.LEASE_MS
LEASES_END_MS: Final = LEASE_MS + 5_000
"""How much time `World.leases_end` takes."""
SUCCESS: Final = Outcome(OutcomeKind.SUCCESS, status_code=200)
FAILURE: Final = Outcome(OutcomeKind.HTTP_ERROR, status_code=503, error="Service Unavailable")
INTERRUPTED: Final = Outcome(OutcomeKind.INTERRUPTED)


def secret(number: int, created_at: int = 0) -> SigningSecret:
    """A signing secret that is another for each number."""
    return SigningSecret(f"secret-{number}", created_at, number.to_bytes(32, "big"))


def up_to(count: int) -> Choose:
    """Chooses that many of every group."""
    return lambda groups, _: [Quota(group, count) for group in groups]


def nothing(groups: Sequence[Group], lanes: Mapping[int, int]) -> Sequence[Quota]:
    """Chooses none."""
    return ()


def sample_spec(target: str = "a.example:80", config: TaskConfig | None = None) -> bytes:
    return encode_spec(TaskSpec(HttpRequest(f"http://{target}/", "GET"), config or TaskConfig()))


class World:
    """A store, its clock, and the numbers by which what is made gets its names."""

    def __init__(self, store: Store, clock: ManualClock, adapter: Adapter, folder: Path, first: int = 1) -> None:
        self.store = store
        self.clock = clock
        self.adapter = adapter
        self.folder = folder
        self._numbers = itertools.count(first)

    @property
    def now(self) -> int:
        return self.clock.now()

    async def query(self, text: str) -> list[tuple[Any, ...]]:
        """The rows of a statement, run behind the store's back."""
        return await self.adapter.query(self.store, text)

    async def listening(self) -> None:
        """Returns once hints reach the store and it has told those that came before."""
        await self.adapter.listening(self.store)

    # Owners

    async def owner(self, name: str | None = None, limit: int = 1_000_000) -> Owner:
        """A new owner, with a key whose digest is its name's."""
        number = next(self._numbers)
        name = name or f"owner-{number}"
        owner = Owner(ids.owner_id(self.now, number.to_bytes(10, "big")), name, self.now, limit)
        key = OwnerKey(f"key-{number}", self.now)
        assert await self.store.create_owner(owner, key, ids.key_digest(name), secret(number))
        return owner

    async def set_limit(self, owner_id: str, tasks_in_queue_max: int) -> bool:
        return await self.change_owner(owner_id, tasks_in_queue_max=tasks_in_queue_max)

    async def set_retention(self, owner_id: str, retention_ms: int | None) -> bool:
        return await self.change_owner(owner_id, retention_ms=retention_ms)

    async def suspend(self, owner: Owner, *, suspended: bool = True) -> None:
        assert await self.change_owner(owner.id, suspended_at=self.now if suspended else None)

    async def change_owner(self, owner_id: str, **changes: Any) -> bool:
        """Whether there is such an owner."""
        changed = await self.store.change_owner(owner_id, lambda before: replace(before, **changes), self.now)
        return changed is not None

    async def in_queue(self, owner: Owner) -> int:
        """How many tasks of the owner are in queue, by its counter."""
        found = await self.store.owner(owner.id)
        assert found is not None
        return found.tasks_in_queue

    # Tasks

    def task(self, owner: Owner, delay: int = 0, **fields: Any) -> NewTask:
        """A new task that is due in `delay` ms, not stored yet."""
        due = self.now + delay
        target = fields.get("target", "a.example:80")
        known = {
            "id": ids.task_id(self.now, next(self._numbers).to_bytes(9, "big")),
            "owner": owner.id,
            "lane": "default",
            "state": lifecycle.waiting_state(due, self.now),
            "priority": 0,
            "created_at": self.now,
            "due_at": due,
            "remaining_ms": delay,
            "target": target,
            "spec": sample_spec(target),
        }
        return NewTask(**(known | fields))

    async def submit(self, owner: Owner, delay: int = 0, **fields: Any) -> NewTask:
        """A new task, stored."""
        task = self.task(owner, delay, **fields)
        assert await self.store.insert(task) == Inserted()
        return task

    async def submit_many(self, owner: Owner, count: int, delay: int = 0, **fields: Any) -> list[str]:
        """The ids of that many new tasks, stored in one batch."""
        tasks = [self.task(owner, delay, **fields) for _ in range(count)]
        assert await self.store.insert_batch(tasks) == Inserted()
        return [task.id for task in tasks]

    async def read(self, task: NewTask | Claim | str) -> Task:
        """The task as the store knows it."""
        found = await self.store.task(None, task if isinstance(task, str) else task.id)
        assert found is not None
        return found

    async def state(self, task: NewTask | Claim | str) -> State:
        return (await self.read(task)).state

    # Working

    async def look(self, choose: Choose | None = None, **fields: Any) -> Claimed:
        """One look, at what is due now unless told otherwise; takes all it sees unless told otherwise."""
        known = {"now": self.now, "horizon": self.now, "lease_until": self.now + LEASE_MS}
        return await self.store.claim(Look(**(known | fields)), choose or up_to(1_000))

    async def claim(self, choose: Choose | None = None, **fields: Any) -> list[Claim]:
        return (await self.look(choose, **fields)).claims

    async def claim_one(self, **fields: Any) -> Claim:
        """The one task that is due."""
        (claim,) = await self.claim(**fields)
        return claim

    def report(self, claim: Claim, outcome: Outcome = SUCCESS, config: TaskConfig | None = None) -> Report:
        """What the engine reports of a claim that ended with `outcome` now."""
        progress = Progress(
            claim.due_at, claim.failures, claim.repeats, claim.expire_at, claim.status_code, claim.error,
            claim.remaining_ms,
        )  # fmt: skip
        settlement = lifecycle.settle(progress, config or TaskConfig(), outcome, self.now, 0.0)
        attempt = Attempt(
            claim.attempt, claim.due_at, self.now, self.now, outcome.kind, outcome.status_code, outcome.error,
            outcome.response, outcome.response_truncated, outcome.redirected,
        )  # fmt: skip
        tells = callback_making.tells(config or TaskConfig(), settlement.state) if settlement.ended_at else False
        return Report(claim.ref, claim.lease, claim.id, settlement, attempt, claim.lane, tells)

    async def settle(
        self, claims: Claim | Iterable[Claim], outcome: Outcome = SUCCESS, config: TaskConfig | None = None
    ) -> None:
        """Settles claims whose leases hold."""
        several = [claims] if isinstance(claims, Claim) else claims
        assert await self.store.settle([self.report(claim, outcome, config) for claim in several]) == set()

    async def rescue(self, count: int) -> int:
        """Settles tasks that nobody works on any more, so many at most. How many there were."""
        return await self.store.rescue(self.now, count, partial(report_lost, self.now))

    async def leases_end(self, count: int = 10) -> int:
        """So much time goes by that leases are over which nobody extends; a rescuer looks all the while. How many tasks
        it settled.
        """
        rescued = 0
        for _ in range(LEASES_END_MS // 5_000):
            self.clock.advance(5_000)
            rescued += await self.rescue(count)
        return rescued

    async def steer(
        self, task: NewTask | Claim | str, decide: Callable[[Task, int], Task], owner: str | None = None
    ) -> Task | None:
        """Changes a task as the service does: what was in flight is recorded as dropped."""
        now = self.now

        def change(before: Task, _: bytes) -> Change:
            after = decide(before, now)
            if after is before:
                return Change(before)
            attempt = None
            if before.state is State.RUNNING:
                attempt = Attempt(before.attempt, before.due_at, before.execution_at, now, OutcomeKind.ABORTED)
            return Change(after, Event(now, decide.__name__), attempt)

        return await self.store.change(owner, task if isinstance(task, str) else task.id, change)

    async def bring_to(self, state: State, owner: Owner) -> str:
        """The id of a new task that went the usual way into `state`. Nothing else may be due."""
        if state is State.SCHEDULED:
            return (await self.submit(owner, delay=60_000)).id
        task = await self.submit(owner)
        if state is State.AVAILABLE:
            return task.id
        if state in (State.PAUSED, State.REVOKED):
            await self.steer(task, lifecycle.pause if state is State.PAUSED else lifecycle.revoke)
            return task.id
        claim = await self.claim_one()
        if state is State.COMPLETED:
            await self.settle(claim)
        elif state is not State.RUNNING:
            config = TaskConfig(retry=1, retry_interval=60_000) if state is State.RETRYABLE else None
            await self.settle(claim, FAILURE, config)
        return task.id

    async def check_counters(self) -> None:
        """The counters say what counting says."""
        counted, real = await self.adapter.books(self.store)
        assert counted == real
