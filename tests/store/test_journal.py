"""The execution log: every recorded attempt once, the newest end first, at a cost that is bounded."""

import random
from collections.abc import Iterable, Iterator
from typing import Any, Final

import pytest

from tasks_server.domain import lifecycle, limits
from tasks_server.domain.attempt import Attempt, Outcome, OutcomeKind, Redirected
from tasks_server.domain.owner import Owner
from tasks_server.domain.request import TaskConfig
from tasks_server.store import journal
from tasks_server.store.journal import Key, LogEntry, LogPage, LogQuery, Step
from tasks_server.store.sealing import Sealer

from .world import FAILURE, SUCCESS, World

Name = tuple[str, int]
"""A task and the number of its attempt."""


def name(entry: LogEntry) -> Name:
    return entry.task, entry.attempt.number


async def run(world: World, owner: Owner, count: int, outcome: Outcome = SUCCESS, **fields: object) -> list[str]:
    """That many new tasks, each with one attempt that ended now."""
    made: list[str] = []
    while count > 0:
        made += await world.submit_many(owner, min(count, 1_000), **fields)
        await world.settle(await world.claim(), outcome)
        count -= 1_000
    return made


async def pages(world: World, query: LogQuery, most: int = 10_000) -> list[LogPage]:
    """The whole log, page by page."""
    found: list[LogPage] = []
    after: Key | None = query.after
    while True:
        page = await world.store.log(_after(query, after))
        found.append(page)
        after = page.next
        if after is None:
            return found
        assert len(found) < most, "the log never ends"


LED = Outcome(
    OutcomeKind.HTTP_ERROR, 503, "Service Unavailable", b"the first part", True,
    Redirected(2, "GET", "https://elsewhere.test/p\u00e4th?token=***", True),
)  # fmt: skip


async def test_what_few_attempts_tell_is_kept_with_them(world: World, owner: Owner) -> None:
    task = await world.submit(owner)
    for outcome in (LED, SUCCESS):
        await world.settle(await world.claim_one(), outcome, TaskConfig(retry=1, retry_interval=1))
        found = await world.read(task)
        assert (found.response, found.response_truncated) == (outcome.response, outcome.response_truncated)
        world.clock.advance(1_000)
    told = [(outcome.response_truncated, outcome.redirected) for outcome in (LED, SUCCESS)]
    attempts = await world.store.attempts(None, task.id)
    assert [(each.response_truncated, each.redirected) for each in attempts] == told
    for query in (LogQuery(owner.id), LogQuery(None), LogQuery(owner.id, task=task.id)):
        found_there = [entry.attempt for entry in await entries(world, query)]
        assert [(each.response_truncated, each.redirected) for each in reversed(found_there)] == told
    assert (await world.store.task(None, task.id, response=False)) is not None


async def test_damaged_facts_stand_in_nobodys_way(world: World, owner: Owner) -> None:
    task = await world.submit(owner)
    await world.settle(await world.claim_one(), LED)
    blob = world.adapter.blob(b"\x01" + bytes(60))
    await world.adapter.query(world.store, f"UPDATE attempt SET facts = {blob}")
    (attempt,) = await world.store.attempts(None, task.id)
    assert (attempt.status_code, attempt.response_truncated, attempt.redirected) == (503, False, None)
    assert (await entries(world, LogQuery(owner.id)))[0].attempt == attempt
    assert (await world.read(task)).response == b"the first part"


def _after(query: LogQuery, after: Key | None) -> LogQuery:
    return LogQuery(**{name: getattr(query, name) for name in query.__struct_fields__} | {"after": after})


async def entries(world: World, query: LogQuery) -> list[LogEntry]:
    return [entry for page in await pages(world, query) for entry in page.entries]


async def test_an_entry_says_what_was_tried_and_how_it_ended(world: World, owner: Owner) -> None:
    task = await world.submit(owner, lane="mail", target="b.example:8080")
    claim = await world.claim_one()
    world.clock.advance(70)
    await world.settle(claim, Outcome(OutcomeKind.HTTP_ERROR, 503, "Service Unavailable", b"secret body"))
    page = await world.store.log(LogQuery(owner.id))
    attempt = Attempt(1, claim.due_at, world.now, world.now, OutcomeKind.HTTP_ERROR, 503, "Service Unavailable")
    assert page == LogPage([LogEntry(task.id, owner.id, "mail", "b.example:8080", None, 0, attempt)])


async def test_an_entry_names_the_schedule_that_made_its_task(world: World, owner: Owner) -> None:
    made = world.task(owner, schedule="S" * 24, fire_at=12_345)
    await world.store.insert(made)
    await world.settle(await world.claim_one())
    plain = (await run(world, owner, 1))[0]
    shown = {entry.task: (entry.schedule, entry.fire_at) for entry in await entries(world, LogQuery(owner.id))}
    assert shown == {made.id: ("S" * 24, 12_345), plain: (None, 0)}
    (only,) = await entries(world, LogQuery(owner.id, schedule="S" * 24))
    assert only.task == made.id


async def test_what_is_in_flight_is_not_there_yet(world: World, owner: Owner) -> None:
    await world.submit(owner)
    await world.claim_one()
    assert await world.store.log(LogQuery(owner.id)) == LogPage([])
    assert await world.leases_end() == 1
    (lost,) = await entries(world, LogQuery(owner.id))
    assert lost.attempt.outcome is OutcomeKind.LOST


async def test_a_deleted_tasks_attempts_are_gone(world: World, owner: Owner) -> None:
    made = await run(world, owner, 3)
    await world.store.delete(owner.id, made[1])
    assert {entry.task for entry in await entries(world, LogQuery(owner.id))} == {made[0], made[2]}


@pytest.mark.parametrize("all_owners", [False, True], ids=["owner", "all"])
@pytest.mark.parametrize("seed", range(4))
async def test_each_entry_comes_once_and_in_order_while_new_ones_arrive(
    world: World, owner: Owner, other: Owner, seed: int, all_owners: bool
) -> None:
    draw = random.Random(seed)
    owners = [owner, other, await world.owner()]
    spans = [0, 0, 1, 700, limits.HOUR_MS, limits.DAY_MS, 20 * limits.DAY_MS]
    expected: set[Name] = set()
    for _ in range(25):
        whose = draw.choice(owners)
        made = await run(world, whose, draw.choice([1, 1, 2, 9, 70]), draw.choice([SUCCESS, FAILURE]))
        if all_owners or whose is owner:
            expected |= {(task, 1) for task in made}
        world.clock.advance(draw.choice(spans))
    seen: list[LogEntry] = []
    query = LogQuery(None if all_owners else owner.id, limit=draw.choice([1, 7, 50, 1_000]))
    while True:
        page = await world.store.log(query)
        assert len(page.entries) <= query.limit
        seen += page.entries
        if page.next is None:
            break
        query = _after(query, page.next)
        world.clock.advance(draw.choice([1, 1_000, limits.DAY_MS]))
        await run(world, draw.choice(owners), draw.choice([0, 1, 3]))
    names = [name(entry) for entry in seen]
    assert len(names) == len(set(names))
    assert set(names) == expected
    ends = [entry.attempt.ended_at for entry in seen]
    assert ends == sorted(ends, reverse=True)


@pytest.mark.parametrize("all_owners", [False, True], ids=["owner", "all"])
async def test_thousands_that_ended_at_one_instant_come_once_each(
    world: World, owner: Owner, other: Owner, all_owners: bool
) -> None:
    made = await run(world, owner, 2_500)
    if all_owners:
        made += await run(world, other, 300)
    found = await entries(world, LogQuery(None if all_owners else owner.id, limit=700))
    assert sorted(entry.task for entry in found) == sorted(made)


async def test_the_last_page_says_that_it_is_the_last(world: World, owner: Owner) -> None:
    await run(world, owner, 20)
    assert [len(page.entries) for page in await pages(world, LogQuery(owner.id, limit=10))] == [10, 10]
    assert [len(page.entries) for page in await pages(world, LogQuery(None, limit=10))] == [10, 10]
    assert len(await pages(world, LogQuery(owner.id, limit=20))) == 1


FILTERS: Final[dict[str, dict[str, Any]]] = {
    "outcome": {"outcomes": frozenset({OutcomeKind.TIMEOUT})},
    "status": {"statuses": ((408, 408),)},
    "statuses": {"statuses": ((700, 799), (400, 499))},
    "host": {"target": "slow.example"},
    "host and port": {"target": "slow.example:81"},
    "lane": {"lane": "slow"},
}


@pytest.mark.parametrize("filtered", FILTERS)
@pytest.mark.parametrize("all_owners", [False, True], ids=["owner", "all"])
async def test_a_filter_finds_its_entries_and_no_others(
    world: World, owner: Owner, filtered: str, all_owners: bool
) -> None:
    wanted: list[str] = []
    for _ in range(3):
        await run(world, owner, 5, FAILURE)
        world.clock.advance(10)
        slow = {"lane": "slow", "target": "slow.example:81"}
        wanted += await run(world, owner, 2, Outcome(OutcomeKind.TIMEOUT, 408, "too slow"), **slow)
        world.clock.advance(limits.DAY_MS)
        await run(world, owner, 5, target="@slow.example")
    query = LogQuery(None if all_owners else owner.id, limit=4, **FILTERS[filtered])
    found = await pages(world, query)
    assert sorted(entry.task for page in found for entry in page.entries) == sorted(wanted)
    assert len(found[0].entries) == 4


async def test_handlers_are_found_by_their_mark(world: World, owner: Owner) -> None:
    (wanted,) = await run(world, owner, 1, target="@send-email")
    await run(world, owner, 1, target="send-email:80")
    (found,) = await entries(world, LogQuery(owner.id, target="@send-email"))
    assert (found.task, found.target) == (wanted, "@send-email")


@pytest.mark.parametrize("by", ["owner", "all", "task"])
async def test_a_span_of_time_includes_its_beginning_and_not_its_end(world: World, owner: Owner, by: str) -> None:
    config = TaskConfig(repeat=20, repeat_interval=1, repeat_exponential=False)
    task = await world.submit(owner)
    ends = []
    for _ in range(8):
        await world.settle(await world.claim_one(horizon=world.now + 50), SUCCESS, config)
        ends.append(world.now)
        world.clock.advance(9 * limits.HOUR_MS)
    query = LogQuery(
        None if by == "all" else owner.id, 2, task=task.id if by == "task" else None, since=ends[2], until=ends[6]
    )
    found = await entries(world, query)
    assert [entry.attempt.ended_at for entry in found] == ends[2:6][::-1]


async def test_the_attempts_of_one_task_come_alone(world: World, owner: Owner, other: Owner) -> None:
    config = TaskConfig(retry=20, retry_interval=1, retry_exponential=False)
    await run(world, owner, 50)
    task = await world.submit(owner)
    for number in range(7):
        outcome = FAILURE if number % 2 else Outcome(OutcomeKind.TIMEOUT, 408)
        await world.settle(await world.claim_one(horizon=world.now + 50), outcome, config)
    found = await entries(world, LogQuery(owner.id, 3, task=task.id))
    assert [name(entry) for entry in found] == [(task.id, number) for number in range(7, 0, -1)]
    timeouts = await entries(world, LogQuery(owner.id, 2, task=task.id, outcomes=frozenset({OutcomeKind.TIMEOUT})))
    assert [entry.attempt.number for entry in timeouts] == [7, 5, 3, 1]
    assert await entries(world, LogQuery(other.id, task=task.id)) == []
    assert len(await entries(world, LogQuery(None, task=task.id))) == 7


@pytest.mark.parametrize("all_owners", [False, True], ids=["owner", "all"])
async def test_a_filter_that_matches_nothing_ends_each_page_early(
    world: World, owner: Owner, all_owners: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "LOOKED_AT_MAX", 300)
    monkeypatch.setattr(journal, "STEP", 100)
    for _ in range(20):
        await run(world, owner, 50)
        world.clock.advance(700)
    query = LogQuery(None if all_owners else owner.id, limit=10, lane="nothing")
    found = await pages(world, query)
    assert [page.entries for page in found] == [[]] * len(found)
    assert 1_000 // 600 < len(found) <= 1_000 // 100


async def test_the_operator_sees_no_deleted_owners(world: World, owner: Owner, other: Owner) -> None:
    await run(world, owner, 3)
    kept = await run(world, other, 2)
    assert await world.store.delete_owner(owner.id)
    assert sorted(entry.task for entry in await entries(world, LogQuery(None))) == sorted(kept)


async def test_what_is_kept_beyond_its_day_stays_where_it_was_in_the_log(world: World, owner: Owner) -> None:
    config = TaskConfig(repeat=90, repeat_interval=1_000, repeat_exponential=False)
    living = [await world.submit(owner) for _ in range(3)]
    ended = []
    for _ in range(6):
        await world.settle(await world.claim(), SUCCESS, config)
        ended += await run(world, owner, 4)
        if len(living) > 1:
            await world.steer(living.pop(), lifecycle.pause)
        world.clock.advance(limits.DAY_MS)
    before = await entries(world, LogQuery(owner.id, limit=5))
    cut = world.now - 3 * limits.DAY_MS
    while await world.store.prune(cut, 3):
        left = [name(entry) for entry in await entries(world, LogQuery(owner.id, limit=5))]
        assert left == [name(entry) for entry in before if name(entry) in set(left)]
    after = await entries(world, LogQuery(owner.id, limit=5))
    assert len(before) > len(after)
    stopped = {entry.task for entry in after if entry.attempt.ended_at < cut - limits.DAY_MS}
    assert stopped
    assert not stopped & set(ended)


async def test_a_page_costs_what_it_is_long(world: World, owner: Owner) -> None:
    """Deep or not, a page of ten looks at eleven entries."""
    made = await run(world, owner, 3_000)
    looked: list[int] = []
    gather = journal.gather

    def counting(query: LogQuery, steps: Iterable[Step], sealer: Sealer) -> LogPage:
        def counted() -> Iterator[Step]:
            for found, rest in steps:
                looked.append(len(found))
                yield found, rest

        return gather(query, counted(), sealer)

    with pytest.MonkeyPatch.context() as patch:
        for module in ("sqlite", "postgres"):
            patch.setattr(f"tasks_server.store.{module}.journal.gather", counting)
        found = await entries(world, LogQuery(owner.id, limit=100))
    assert len(found) == len(made)
    assert max(looked) <= 101
