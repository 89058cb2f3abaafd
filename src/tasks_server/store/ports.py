"""What the store is asked, grouped by who asks, and its answers as small types.

An adapter decides nothing: rules come from the domain, choices of what to claim from the engine. `ref` is the
adapter's own handle of a task; `lease` the token of one attempt. Every method may raise `errors.Unavailable`
(nothing was changed), `errors.Busy` or `errors.Corrupt`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, Protocol

import msgspec

from tasks_server.domain import limits
from tasks_server.domain.attempt import Attempt, Event
from tasks_server.domain.errors import RequestError, Unreadable
from tasks_server.domain.lane import Why
from tasks_server.domain.signing import Signing
from tasks_server.domain.task import NewTask, State, Task
from tasks_server.store.auditing import Auditing
from tasks_server.store.bulking import Bulking
from tasks_server.store.clustering import Clustering
from tasks_server.store.counting import Counting
from tasks_server.store.engines import Engines
from tasks_server.store.explaining import Explaining
from tasks_server.store.filtering import EVERYTHING, TaskFilter
from tasks_server.store.journal import Journaling
from tasks_server.store.laning import Laning
from tasks_server.store.noting import Noting
from tasks_server.store.owning import Owning
from tasks_server.store.scheduling import Scheduling
from tasks_server.store.settling import DecideLost, Settling
from tasks_server.store.timekeeping import KeepingTime
from tasks_server.store.watching import Watching

# Submitting


class Inserted(msgspec.Struct, frozen=True):
    """The task is stored, durably."""


class Duplicate(msgspec.Struct, frozen=True):
    """The idempotency key was used before, for the tasks of these ids; `task` is the first of them that is still there.
    `same_body` tells whether the request was the same.
    """

    task: Task
    same_body: bool
    ids: tuple[str, ...]


class QueueFull(msgspec.Struct, frozen=True):
    """The owner has no place left in the queue. Nothing was stored."""

    limit: int


class UnknownOwner(msgspec.Struct, frozen=True):
    """There is no such owner (any more). Nothing was stored."""


InsertAnswer = Inserted | Duplicate | QueueFull | UnknownOwner


class Submitting(Protocol):
    """Asked by the service that takes tasks in."""

    async def insert(self, task: NewTask) -> InsertAnswer:
        """Stores one task. Inserts that arrive together share one transaction."""
        ...

    async def insert_batch(self, tasks: Sequence[NewTask]) -> InsertAnswer:
        """Stores all of them (one owner) or none. An idempotency key of the whole is that of the first task."""
        ...

    async def replay(self, owner: str, key: str, digest: bytes, now: int) -> Duplicate | None:
        """What an idempotency key was used for, as far as that is remembered at `now`. Stores nothing."""
        ...


# Steering


class Change(msgspec.Struct):
    """What becomes of a task by its owner's hand; the store keeps all of it or none."""

    task: Task
    event: Event | None = None
    attempt: Attempt | None = None
    """The attempt that was in flight and is dropped, if there was one."""
    spec: bytes | None = None
    """The edited spec, when it was edited."""


Decide = Callable[[Task, bytes], Change]
"""Given a task and its spec, what becomes of it. May raise a `Refusal`: then nothing changes. A spec that cannot be
read is empty, and the task tells of it."""
Refusal = RequestError | Unreadable
"""Why something was not changed, as an answer."""


class Steering(Protocol):
    """Asked by the service when an owner pauses, edits, revokes, deletes. `owner` None: any (the operator)."""

    async def change(self, owner: str | None, task_id: str, decide: Decide) -> Task | None:
        """Applies `decide` to the task as it is, alone with it. A lease that the task had is taken away, unless
        the task stays as it was. The task afterwards, without a response, or None when there is no such task. Raises
        what `decide` raises, and `Refused` when a final task would run again and the queue is full.
        """
        ...

    async def delete(self, owner: str | None, task_id: str) -> bool:
        """Removes the task with all that is known of it. False when there is no such task."""
        ...


# Reading

Order = Literal["created", "ended", "execution"]


class TaskQuery(msgspec.Struct, frozen=True):
    """Which tasks to list and how. `after` is the `next` of the page before, `offset` its `skip`: of what fits from
    there on, so many are left out.
    """

    owner: str | None
    order: Order = "created"
    descending: bool = False
    limit: int = 10
    offset: int = 0
    states: frozenset[State] | None = None
    lane: str | None = None
    metadata: tuple[tuple[str, str], ...] = ()
    after: tuple[int, int] | None = None
    filter: TaskFilter = EVERYTHING
    with_specs: bool = False
    last: tuple[int, int] | None = None
    """The last place that is looked at; set by the adapters themselves."""


class TaskPage(msgspec.Struct, frozen=True):
    """Some tasks, without responses, and where the next page begins (None: this is the last). A page is a bounded piece
    of work: it may be short or empty although there is a next one. `skip`: the `offset` that the next one goes on with.
    If they are wanted, their specs; one that cannot be read is empty, and its task tells of it.
    """

    tasks: list[Task]
    next: tuple[int, int] | None = None
    specs: list[bytes] = []
    skip: int = 0


class Reading(Protocol):
    """Asked by whoever shows tasks. `owner` None: any (the operator)."""

    async def task(self, owner: str | None, task_id: str, *, response: bool = True) -> Task | None:
        """The task with the response of its last attempt, unless that is not wanted: then it is not even read."""
        ...

    async def exists(self, owner: str | None, task_id: str) -> bool:
        """Whether there is such a task."""
        ...

    async def spec(self, owner: str | None, task_id: str) -> bytes | None:
        """The stored spec of the task."""
        ...

    async def tasks(self, query: TaskQuery) -> TaskPage:
        """One page of tasks. It costs the same however deep it lies, when asked for by `after`."""
        ...

    async def attempts(
        self, owner: str | None, task_id: str, *, after: int = 0, limit: int = limits.HISTORY_MAX
    ) -> list[Attempt]:
        """The recorded attempts with a number above `after`, oldest first, without response bodies: the first `limit`
        of them.
        """

    async def newest_attempts(self, owner: str | None, task_id: str, limit: int = limits.HISTORY_MAX) -> list[Attempt]:
        """The last `limit` attempts, oldest first."""

    async def events(self, owner: str | None, task_id: str) -> list[Event]:
        """What happened beside the attempts, oldest first: the last `HISTORY_MAX` of it."""
        ...


# Claiming


class Line(msgspec.Struct, frozen=True):
    """Due tasks of one owner in one lane, by the adapter's handles."""

    owner: int
    lane: int


class Group(msgspec.Struct, frozen=True):
    """Due tasks that are alike to the one who chooses: one owner, one lane, one urgency, one target host."""

    owner: int
    lane: int
    urgency: int
    target: str


class Quota(msgspec.Struct, frozen=True):
    """How many tasks to take of a group at most."""

    group: Group
    count: int


class Claim(msgspec.Struct):
    """A task taken for work under a lease, with all that its attempt and its settlement need."""

    ref: int
    lease: int
    id: str
    owner: int
    lane: int
    target: str
    attempt: int
    created_at: int
    due_at: int
    failures: int
    repeats: int
    status_code: int
    error: str | None
    remaining_ms: int | None
    expire_at: int | None
    spec: bytes
    """Empty when what is stored cannot be read."""
    unreadable: str | None = None
    """Why it cannot, and what to do."""


class Claimed(msgspec.Struct):
    """What one look brought."""

    claims: list[Claim]
    next_due_at: int | None
    """When the next waiting task becomes due; None: none waits."""
    promoted: int = 0
    resume_after: Line | None = None
    """The line to go on after with the next look; None: begin from the first again."""
    groups_resume_after: tuple[int, str] | None = None
    """The `groups_after` to go on with: a line had more groups than one look shows."""
    more: bool = False
    """Whether another look at once may find more: lines, groups or due tasks were left out for their number."""
    lanes_shut: Mapping[int, Why] = {}
    """Lanes with due tasks that may start no more now."""
    lanes_again_at: int | None = None
    """When one of them may, at the earliest, as far as that is known."""


Choose = Callable[[Sequence[Group], Mapping[int, int]], Sequence[Quota]]
"""Given the groups that have available tasks and may start some, and how many each limited lane may start: how many to
take of which. Pure: it may be called inside a transaction, and more than once."""


class Look(msgspec.Struct, frozen=True):
    """Where a claim looks: at most `lines_max` lines after `after` (None: from the first), at most `groups_max`
    groups of each, without the excluded targets. `horizon`: what is due by then is promoted first.
    """

    now: int
    horizon: int
    lease_until: int
    after: Line | None = None
    lines_max: int = 256
    groups_max: int = 64
    targets_excluded: frozenset[str] = frozenset()
    groups_after: tuple[int, str] = (-2, "")
    """Urgency and target: of each line, the groups after this one are shown; all of them when none comes after."""


class Claiming(Protocol):
    """Asked by the dispatcher."""

    async def claim(self, look: Look, choose: Choose) -> Claimed:
        """Promotes what is due, shows `choose` the groups that have available tasks, and takes the oldest due tasks
        of each quota: state running, attempt number + 1, a lease that nobody else has, held until `lease_until`.
        No lane starts more than it may, over all processes. The cost does not grow with how many tasks wait.
        """
        ...


class SigningKeys(Protocol):
    """Asked by the engine before it sends."""

    async def signing_keys(self, owners: Sequence[int]) -> dict[int, Signing]:
        """How the calls of these owners, by their handles, are signed. Unknown handles are left out."""
        ...


# Maintaining


class Maintaining(Protocol):
    """Asked by the background duties. Each does a bounded piece of work and tells how much it was."""

    async def rescue(self, now: int, limit: int, decide: DecideLost) -> int:
        """Finds tasks whose lease is over or whose worker is known to be dead, alone with them, and settles each as
        `decide` has it.
        """
        ...

    async def expire(self, now: int, limit: int) -> int:
        """Fails tasks whose `expire_at` has passed before they could start."""
        ...

    async def prune(self, before: int, limit: int) -> int:
        """Deletes final tasks and attempts that ended before `before`, or are older than their owner's own retention
        wants, where it has one; and what deleted owners left. The last attempt of a task that is not final stays.
        """
        ...

    async def checkpoint(self) -> None:
        """Does what the adapter needs from time to time to stay fast (SQLite: moves the log into the file)."""
        ...

    async def check(self) -> None:
        """Verifies that the store is sound. Raises `errors.Corrupt`."""
        ...


# Changing keys


class Resealed(msgspec.Struct, frozen=True):
    """What one step of sealing anew did: how many values it looked at and changed, and where to go on (None: done)."""

    seen: int
    changed: int
    after: tuple[int, int, int] | None


RESEAL_FROM: tuple[int, int, int] = (0, -1, -1)
"""Where sealing anew begins."""


class Resealing(Protocol):
    """Asked by the operator who changes the cipher key."""

    async def reseal(self, after: tuple[int, int, int], limit: int) -> Resealed:
        """Seals with the present key what is sealed with another one, at most `limit` values of those after `after`."""
        ...

    async def keys_used(self) -> dict[bytes, int]:
        """How many values are sealed with each key, by key id. Looks at everything: it takes its time."""
        ...

    async def keys_replaced(self) -> set[bytes]:
        """The ids of the keys that sealed everything once, until all of it was sealed anew with another one."""
        ...


# Waking


class Hints(msgspec.Struct, frozen=True):
    """What came since the last time."""

    work_at: int | None = None
    """The earliest instant at which something may be due that was not before; None: nothing new."""
    cancelled: bool = False
    """Leases were taken away."""
    schedules: bool = False
    """Schedules were made or changed, or bulk work was asked for."""


class Waking(Protocol):
    """Hints between processes. A lost hint costs time, never a task: whoever waits also looks by itself."""

    def hint_work(self, at: int) -> None:
        """Tells engines that a task may be due at `at`."""
        ...

    def hint_cancel(self) -> None:
        """Tells engines that a lease was taken away."""
        ...

    def hint_schedules(self) -> None:
        """Tells engines that schedules were made or changed, or that bulk work was asked for."""
        ...

    async def wait(self, timeout_seconds: float) -> Hints:
        """The hints since the last call, as soon as one comes; empty after the timeout."""
        ...


class Store(
    Submitting,
    Steering,
    Reading,
    Counting,
    Owning,
    Auditing,
    Claiming,
    SigningKeys,
    Noting,
    Settling,
    Maintaining,
    Scheduling,
    Journaling,
    Bulking,
    Laning,
    Resealing,
    Waking,
    Clustering,
    Engines,
    Explaining,
    KeepingTime,
    Watching,
    Protocol,
):
    """All that an adapter offers."""

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    def look_for_keys(self) -> None:
        """Takes over cipher keys that were put into the key file, now; else that is done within seconds."""
        ...
