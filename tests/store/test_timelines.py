"""The timeline tells all that happened to a task, in order, over every adapter."""

from typing import Any, Final

import pytest

from tasks_server.domain import limits
from tasks_server.domain.attempt import Outcome, OutcomeKind
from tasks_server.domain.owner import Owner
from tasks_server.domain.request import TaskConfig
from tasks_server.domain.task import NewTask
from tasks_server.service.ground import Ground
from tasks_server.service.tasks import TaskService
from tasks_server.service.timeline import Happening, TimelineEntry

from .world import FAILURE, INTERRUPTED, LEASES_END_MS, SUCCESS, World, nothing, sample_spec

OWNERS: Final = {"detail": "by its owner"}
TRY_TWICE: Final = TaskConfig(retry=2, retry_interval=1_000, retry_exponential=False)


class Story:
    """One task, what is done to it, and what its timeline says of that."""

    def __init__(self, world: World, owner: Owner, config: TaskConfig) -> None:
        self.world = world
        self.owner = owner
        self.config = config
        self.service = TaskService(Ground(world.store, world.clock))
        self.begun_at = world.now
        self.id = ""

    async def submit(self, delay: int = 0, **fields: Any) -> NewTask:
        task = await self.world.submit(self.owner, delay, spec=sample_spec(config=self.config), **fields)
        self.id = task.id
        return task

    def after(self, ms: int) -> None:
        self.world.clock.advance(ms)

    async def attempt(self, outcome: Outcome = SUCCESS, takes: int = 5) -> None:
        claim = await self.world.claim_one()
        started = self.world.now
        self.after(takes)
        report = self.world.report(claim, outcome, self.config)
        assert report.attempt is not None
        report.attempt.started_at = started
        assert await self.world.store.settle([report]) == set()

    async def entries(self) -> list[TimelineEntry]:
        return await self.service.timeline(self.owner.id, self.id)

    async def told(self) -> list[tuple[Any, ...]]:
        """When (ms since the beginning), what, and which attempt or number of how many."""
        return [
            (entry.at - self.begun_at, entry.event, *(one for one in (entry.attempt, entry.number) if one is not None))
            for entry in await self.entries()
        ]

    async def of(self, event: Happening) -> TimelineEntry:
        """The one entry of this kind."""
        (found,) = [entry for entry in await self.entries() if entry.event == event]
        return found


def story(world: World, owner: Owner, config: TaskConfig = TRY_TWICE) -> Story:
    return Story(world, owner, config)


async def test_a_task_that_waits_then_fails_twice_then_succeeds(world: World, owner: Owner) -> None:
    it = story(world, owner)
    await it.submit(delay=500)
    assert await it.told() == [(0, "registered")]
    assert (await it.of(Happening.REGISTERED)).due_at == it.begun_at + 500
    it.after(510)
    await it.attempt(FAILURE)
    planned = await it.of(Happening.RETRY_PLANNED)
    assert (planned.due_at, planned.number, planned.of) == (it.begun_at + 1_515, 1, 2)
    it.after(1_000)
    await it.attempt(FAILURE)
    it.after(1_003)
    await it.attempt()
    assert await it.told() == [
        (0, "registered"),
        (500, "promoted"),
        (510, "started", 1),
        (515, "failed", 1),
        (515, "retry_planned", 1),
        (1_515, "promoted"),
        (1_515, "started", 2),
        (1_520, "failed", 2),
        (1_520, "retry_planned", 2),
        (2_520, "promoted"),
        (2_523, "started", 3),
        (2_528, "succeeded", 3),
        (2_528, "completed"),
    ]
    started = [entry.late for entry in await it.entries() if entry.event == "started"]
    assert started == [10, 0, 3]
    failed = next(entry for entry in await it.entries() if entry.event == "failed")
    assert (failed.status_code, failed.outcome, failed.detail) == (503, "http_error", "Service Unavailable")


async def test_a_task_that_gives_up_and_is_restarted(world: World, owner: Owner) -> None:
    it = story(world, owner, TaskConfig(retry=1, retry_interval=1_000))
    await it.submit()
    for _ in range(2):
        await it.attempt(FAILURE)
        it.after(1_000)
    await it.service.retry(owner.id, it.id, by="owner")
    assert (await it.of(Happening.RESTARTED)).detail == "by its owner"
    await it.attempt(FAILURE)
    it.after(1_000)
    await it.attempt()
    assert await it.told() == [
        (0, "registered"),
        (0, "started", 1),
        (5, "failed", 1),
        (5, "retry_planned", 1),
        (1_005, "promoted"),
        (1_005, "started", 2),
        (1_010, "failed", 2),
        (1_010, "given_up"),
        (2_010, "restarted"),
        (2_010, "started", 3),
        (2_015, "failed", 3),
        (2_015, "retry_planned", 1),
        (3_015, "promoted"),
        (3_015, "started", 4),
        (3_020, "succeeded", 4),
        (3_020, "completed"),
    ]
    assert (await it.of(Happening.GIVEN_UP)).detail == "Service Unavailable"


async def test_pauses_and_what_becomes_of_the_planned_retry(world: World, owner: Owner) -> None:
    it = story(world, owner)
    await it.submit()
    await it.attempt(FAILURE)
    it.after(400)
    await it.service.pause(owner.id, it.id, by="owner")
    it.after(10_000)
    assert (await it.of(Happening.RETRY_PLANNED)).due_at == it.begun_at + 1_005
    await it.service.resume(None, it.id, by="operator")
    it.after(600)
    await it.attempt()
    assert await it.told() == [
        (0, "registered"),
        (0, "started", 1),
        (5, "failed", 1),
        (5, "retry_planned", 1),
        (405, "paused"),
        (10_405, "resumed"),
        (11_005, "promoted"),
        (11_005, "started", 2),
        (11_010, "succeeded", 2),
        (11_010, "completed"),
    ]
    assert (await it.of(Happening.RETRY_PLANNED)).due_at == it.begun_at + 1_005
    resumed = await it.of(Happening.RESUMED)
    assert (resumed.due_at, resumed.detail) == (it.begun_at + 11_005, "by the operator")


async def test_paused_when_it_was_due_already(world: World, owner: Owner) -> None:
    it = story(world, owner)
    await it.submit(delay=500)
    it.after(600)
    await world.look(nothing)  # it is promoted, and not taken
    assert await it.told() == [(0, "registered"), (500, "promoted")]
    await it.service.pause(owner.id, it.id, by="operator")
    assert await it.told() == [(0, "registered"), (500, "promoted"), (600, "paused")]
    assert (await it.of(Happening.PAUSED)).detail == "by the operator"


@pytest.mark.parametrize("act", ["pause", "revoke"])
async def test_stopped_in_flight(world: World, owner: Owner, act: str) -> None:
    it = story(world, owner)
    await it.submit()
    await world.claim_one()
    it.after(7)
    assert await it.told() == [(0, "registered"), (0, "started", 1)]
    await (it.service.pause if act == "pause" else it.service.revoke)(owner.id, it.id, by="owner")
    happened = "paused" if act == "pause" else "revoked"
    assert await it.told() == [(0, "registered"), (0, "started", 1), (7, "dropped", 1), (7, happened)]


async def test_revoked_while_it_waits_for_a_retry(world: World, owner: Owner) -> None:
    it = story(world, owner)
    await it.submit()
    await it.attempt(FAILURE)
    it.after(100)
    await it.service.revoke(owner.id, it.id, by="owner")
    assert (await it.told())[-2:] == [(5, "retry_planned", 1), (105, "revoked")]
    assert (await it.of(Happening.RETRY_PLANNED)).due_at == it.begun_at + 1_005


async def test_edited_names_fields_and_no_values(world: World, owner: Owner) -> None:
    it = story(world, owner)
    await it.submit(delay=9_000)
    it.after(10)
    secret = {"httpRequest": {"headers": {"X-Api-Key": "s3cret-value"}, "url": "http://b.example/"}}
    await it.service.edit(owner.id, it.id, secret | {"metadata": {"a": "b"}}, by="owner")
    first = await it.of(Happening.EDITED)
    assert (first.fields, first.due_at) == (["httpRequest.headers", "httpRequest.url", "metadata"], None)
    assert "s3cret" not in repr(await it.entries())
    it.after(10)
    await it.service.edit(owner.id, it.id, {"config": {"executionDelay": 100}}, by="owner")
    moved = (await it.entries())[-1]
    assert (moved.fields, moved.due_at) == (["config.executionDelay"], it.begun_at + 120)
    assert (await it.of(Happening.REGISTERED)).due_at == it.begun_at + 9_000
    it.after(130)
    await it.attempt()
    told = await it.told()
    assert [event for _, event, *_ in told] == [
        "registered", "edited", "edited", "promoted", "started", "succeeded", "completed",
    ]  # fmt: skip
    assert told[3][0] == 120


async def test_executed_by_hand(world: World, owner: Owner) -> None:
    it = story(world, owner)
    await it.submit(delay=9_000)
    it.after(50)
    await it.service.execute(owner.id, it.id, by="owner")
    await it.attempt()
    assert await it.told() == [
        (0, "registered"), (50, "executed"), (50, "started", 1), (55, "succeeded", 1), (55, "completed"),
    ]  # fmt: skip
    assert (await it.of(Happening.REGISTERED)).due_at == it.begun_at + 9_000


async def test_rescued_and_interrupted(world: World, owner: Owner) -> None:
    it = story(world, owner)
    await it.submit()
    await world.claim_one()
    await world.leases_end()
    await it.attempt(INTERRUPTED)
    await it.attempt()
    end = LEASES_END_MS
    assert await it.told() == [
        (0, "registered"),
        (0, "started", 1),
        (end, "rescued", 1),
        (end, "started", 2),
        (end + 5, "interrupted", 2),
        (end + 5, "started", 3),
        (end + 10, "succeeded", 3),
        (end + 10, "completed"),
    ]


async def test_expired_by_the_duty_and_in_the_engine(world: World, owner: Owner) -> None:
    it = story(world, owner)
    await it.submit(delay=100, expire_at=world.now + 200)
    it.after(250)
    await world.store.expire(world.now, 10)
    assert await it.told() == [(0, "registered"), (100, "promoted"), (250, "expired"), (250, "given_up")]
    it = story(world, owner)
    await it.submit()
    await it.attempt(Outcome(OutcomeKind.EXPIRED, 408, "expired: too late"), takes=0)
    assert await it.told() == [(0, "registered"), (0, "expired", 1), (0, "given_up")]


async def test_repeats_count_and_failures_between_have_fresh_retries(world: World, owner: Owner) -> None:
    it = story(world, owner, TaskConfig(retry=1, retry_interval=1_000, repeat=2, repeat_interval=5_000))
    await it.submit()
    await it.attempt()
    repeated = await it.of(Happening.REPEATED)
    assert (repeated.due_at, repeated.number, repeated.of) == (it.begun_at + 5_005, 1, 2)
    it.after(5_000)
    for outcome, wait in ((FAILURE, 1_000), (SUCCESS, 10_000), (FAILURE, 1_000), (SUCCESS, 0)):
        await it.attempt(outcome, takes=0)
        it.after(wait)
    told = [(event, *rest) for _, event, *rest in await it.told() if event not in ("promoted", "started")]
    assert told == [
        ("registered",),
        ("succeeded", 1),
        ("repeated", 1),
        ("failed", 2),
        ("retry_planned", 1),
        ("succeeded", 3),
        ("repeated", 2),
        ("failed", 4),
        ("retry_planned", 1),
        ("succeeded", 5),
        ("completed",),
    ]
    assert [event for _, event, *_ in await it.told()].count("promoted") == 4


async def test_pruned_history_is_said_and_numbers_stay_right(world: World, owner: Owner) -> None:
    it = story(world, owner, TaskConfig(retry=3, retry_interval=1_000, repeat=9, repeat_interval=5_000))
    await it.submit()
    for _ in range(3):
        await it.attempt()
        it.after(limits.DAY_MS)
    for _ in range(2):
        await it.attempt(FAILURE)
        it.after(limits.DAY_MS)
    while await world.store.prune(world.now - limits.DAY_MS - 1, 100):
        pass
    told = [(event, *rest) for _, event, *rest in await it.told() if event not in ("promoted", "started")]
    assert told[:2] == [("registered",), ("history_pruned",)]
    assert told[-2:] == [("failed", 5), ("retry_planned", 2)]
    assert (await it.of(Happening.HISTORY_PRUNED)).detail == "attempts 1 to 4 are no longer kept"


async def test_made_by_a_schedule_for_a_fire_time(world: World, owner: Owner) -> None:
    it = story(world, owner)
    await it.submit(schedule="S" * 24, fire_at=world.now - 5)
    made = await it.of(Happening.REGISTERED)
    assert (made.schedule_id, made.fire_at) == ("S" * 24, world.now - 5)
    assert made.detail is not None
    assert "made by schedule" in made.detail


async def test_what_shares_a_millisecond_is_in_the_order_of_cause_and_effect(world: World, owner: Owner) -> None:
    it = story(world, owner, TaskConfig())
    await it.submit()
    for _ in range(3):
        await it.service.pause(owner.id, it.id, by="owner")
        await it.service.resume(owner.id, it.id, by="owner")
        await it.attempt(FAILURE, takes=0)
        await it.service.retry(owner.id, it.id, by="owner")
    await it.attempt(takes=0)
    events = [event for _, event, *_ in await it.told()]
    round_ = ["paused", "resumed", "started", "failed", "given_up", "restarted"]
    assert events == ["registered", *round_ * 3, "started", "succeeded", "completed"]


async def test_repeats_are_counted_on_where_the_first_ones_are_pruned(world: World, owner: Owner) -> None:
    it = story(world, owner, TaskConfig(repeat=9, repeat_interval=5_000))
    await it.submit()
    for _ in range(5):
        await it.attempt()
        it.after(limits.DAY_MS)
    while await world.store.prune(world.now - 2 * limits.DAY_MS - limits.HOUR_MS, 100):
        pass
    told = [(event, *rest) for _, event, *rest in await it.told() if event in ("history_pruned", "repeated")]
    assert told == [("history_pruned",), ("repeated", 4), ("repeated", 5)]


async def test_what_joins_the_line_at_once_is_not_promoted(world: World, owner: Owner) -> None:
    it = story(world, owner, TaskConfig(retry=1, retry_interval=limits.PROMOTE_AHEAD_MS, retry_exponential=False))
    await it.submit(delay=limits.PROMOTE_AHEAD_MS)
    it.after(limits.PROMOTE_AHEAD_MS)
    await it.attempt(FAILURE)
    it.after(limits.PROMOTE_AHEAD_MS)
    await it.attempt()
    assert "promoted" not in [event for _, event, *_ in await it.told()]
