"""Claiming: what is due, the most urgent first, never twice, however it is walked through."""

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from tasks_server.domain import lifecycle
from tasks_server.domain.owner import Owner
from tasks_server.domain.request import TaskConfig
from tasks_server.domain.task import State
from tasks_server.store.ports import Group, Line, Quota

from .world import FAILURE, World, nothing, up_to


class Shown:
    """Remembers what groups it was shown, and takes `count` of each."""

    def __init__(self, count: int = 0) -> None:
        self.groups: list[Group] = []
        self._count = count

    def __call__(self, groups: Sequence[Group], lanes: Mapping[int, int]) -> Sequence[Quota]:
        self.groups = list(groups)
        return [Quota(group, self._count) for group in groups]


async def test_a_claim_tells_all_that_its_attempt_needs(world: World, owner: Owner) -> None:
    task = world.task(owner, priority=2, target="b.example:443", expire_at=world.now + 5_000)
    spec, created = task.spec, world.now
    await world.store.insert(task)
    world.clock.advance(3)
    claim = await world.claim_one()
    assert (claim.id, claim.target, claim.attempt, claim.spec) == (task.id, "b.example:443", 1, spec)
    assert (claim.created_at, claim.due_at, claim.expire_at) == (created, created, created + 5_000)
    assert (claim.failures, claim.repeats, claim.status_code, claim.error) == (0, 0, 0, None)
    found = await world.read(task)
    assert (found.state, found.attempt, found.execution_at) == (State.RUNNING, 1, world.now)
    await world.check_counters()


async def test_a_later_attempt_brings_what_went_before(world: World, owner: Owner) -> None:
    await world.submit(owner)
    await world.settle(await world.claim_one(), FAILURE, TaskConfig(retry=3, retry_interval=1))
    claim = await world.claim_one(horizon=world.now + 10)
    assert (claim.attempt, claim.failures, claim.status_code, claim.error) == (2, 1, 503, "Service Unavailable")


async def test_nothing_is_claimed_twice(world: World, owner: Owner) -> None:
    made = await world.submit_many(owner, 50)
    looks = await asyncio.gather(*(world.claim(up_to(7)) for _ in range(10)))
    claims = [claim for claims in looks for claim in claims]
    assert sorted(claim.id for claim in claims) == sorted(made)
    assert len({(claim.ref, claim.lease) for claim in claims}) == 50
    assert await world.claim() == []


async def test_leases_are_never_the_same_again(world: World, owner: Owner) -> None:
    await world.submit(owner)
    seen = set()
    for _ in range(5):
        claim = await world.claim_one()
        assert claim.lease not in seen
        seen.add(claim.lease)
        assert await world.leases_end() == 1


@pytest.mark.parametrize("state", [state for state in State if state not in (State.AVAILABLE, State.RETRYABLE)])
async def test_what_is_not_due_is_not_claimed(world: World, owner: Owner, state: State) -> None:
    task_id = await world.bring_to(state, owner)
    assert await world.claim() == []
    assert await world.state(task_id) is state


# Promotion


async def test_promotion_goes_up_to_the_horizon(world: World, owner: Owner) -> None:
    tasks = {delay: await world.submit(owner, delay) for delay in (1_000, 2_000, 2_001, 9_000)}
    looked = await world.look(nothing, horizon=world.now + 2_000)
    assert (looked.promoted, looked.claims, looked.next_due_at) == (2, [], world.now + 2_001)
    states = {delay: await world.state(task) for delay, task in tasks.items()}
    assert states == {
        1_000: State.AVAILABLE, 2_000: State.AVAILABLE, 2_001: State.SCHEDULED, 9_000: State.SCHEDULED,
    }  # fmt: skip
    await world.check_counters()


async def test_what_was_promoted_is_claimed_in_the_same_look(world: World, owner: Owner) -> None:
    task = await world.submit(owner, 5_000)
    world.clock.advance(5_000)
    looked = await world.look()
    assert [claim.id for claim in looked.claims] == [task.id]
    assert (looked.promoted, looked.next_due_at) == (1, None)


async def test_a_retry_is_promoted_when_its_time_comes(world: World, owner: Owner) -> None:
    task = await world.submit(owner)
    await world.settle(await world.claim_one(), FAILURE, TaskConfig(retry=1, retry_interval=5_000))
    assert await world.state(task) is State.RETRYABLE
    world.clock.advance(4_999)
    looked = await world.look()
    assert (looked.claims, looked.next_due_at) == ([], world.now + 1)
    world.clock.advance(1)
    assert (await world.claim_one()).id == task.id


async def test_the_next_due_time_is_that_of_the_first_that_waits(world: World, owner: Owner) -> None:
    assert (await world.look()).next_due_at is None
    await world.submit(owner)  # in line already: it waits for nothing
    assert (await world.look(nothing)).next_due_at is None
    for delay in (9_000, 4_000, 6_000):
        await world.submit(owner, delay)
    assert (await world.look()).next_due_at == world.now + 4_000


async def test_a_burst_is_promoted_in_bounded_looks_that_ask_for_more(world: World, owner: Owner) -> None:
    made = set()
    for _ in range(5):
        made |= set(await world.submit_many(owner, 1_000, 1_000))
    world.clock.advance(1_000)
    claimed: list[str] = []
    for _ in range(20):
        looked = await world.look(up_to(10_000))
        claimed += [claim.id for claim in looked.claims]
        if not looked.more:
            break
    assert len(claimed) == 5_000
    assert set(claimed) == made


# Order


async def test_the_oldest_due_goes_first(world: World, owner: Owner) -> None:
    tasks = {delay: await world.submit(owner, delay) for delay in (300, 100, 500, 200, 400)}
    world.clock.advance(1_000)
    order = [(await world.claim(up_to(1)))[0].id for _ in tasks]
    assert order == [tasks[delay].id for delay in sorted(tasks)]


async def test_when_few_groups_are_shown_they_are_the_most_urgent(world: World, owner: Owner) -> None:
    for priority in (0, 9, 4):
        await world.submit(owner, priority=priority)
    forced = await world.submit(owner, 60_000)
    await world.steer(forced, lifecycle.execute)
    shown = Shown()
    for groups_max, urgencies in ((1, [-1]), (2, [-1, 0]), (3, [-1, 0, 5]), (9, [-1, 0, 5, 9])):
        await world.look(shown, groups_max=groups_max)
        assert sorted(group.urgency for group in shown.groups) == urgencies


async def test_a_group_for_each_owner_lane_urgency_and_target(world: World, owner: Owner, other: Owner) -> None:
    made = {}
    for whose in (owner, other):
        for lane in ("default", "second"):
            for priority in (0, 5):
                for target in ("a.example:80", "b.example:80"):
                    fields = {"lane": lane, "priority": priority, "target": target}
                    made[whose.id, lane, priority, target] = await world.submit_many(whose, 3, **fields)
    shown = Shown(1)
    for turn in range(3):
        claims = await world.claim(shown)
        assert len(shown.groups) == len(set(shown.groups)) == 16
        assert sorted(claim.id for claim in claims) == sorted(ids[turn] for ids in made.values())
    assert len({(group.owner, group.lane) for group in shown.groups}) == 4
    assert await world.claim(shown) == []


# Choice


async def test_a_choice_is_kept_to(world: World, owner: Owner) -> None:
    await world.submit_many(owner, 5, target="a.example:80")
    await world.submit_many(owner, 5, target="b.example:80")

    def choose(groups: Sequence[Group], lanes: Mapping[int, int]) -> Sequence[Quota]:
        counts = {"a.example:80": 2, "b.example:80": 0}
        return [Quota(group, counts[group.target]) for group in groups]

    claims = await world.claim(choose)
    assert [claim.target for claim in claims] == ["a.example:80"] * 2


async def test_choosing_more_than_there_is_gives_what_there_is(world: World, owner: Owner) -> None:
    made = await world.submit_many(owner, 3)
    assert sorted(claim.id for claim in await world.claim(up_to(10**9))) == sorted(made)


async def test_choosing_a_group_that_is_not_there_gives_nothing(world: World, owner: Owner) -> None:
    await world.submit(owner)
    claims = await world.claim(lambda groups, _: [Quota(Group(groups[0].owner, groups[0].lane, 9, "nowhere:1"), 5)])
    assert claims == []


async def test_excluded_targets_are_not_shown(world: World, owner: Owner) -> None:
    for target in ("a.example:80", "b.example:80", "c.example:80"):
        await world.submit(owner, target=target)
    claims = await world.claim(targets_excluded=frozenset({"a.example:80", "c.example:80", "z.example:80"}))
    assert [claim.target for claim in claims] == ["b.example:80"]


# Walks


async def walk_lines(world: World, lines_max: int) -> list[tuple[int, int]]:
    """The lines that looks show until they begin from the first again."""
    seen: list[tuple[int, int]] = []
    after: Line | None = None
    for _ in range(100):
        shown = Shown()
        looked = await world.look(shown, after=after, lines_max=lines_max)
        seen += sorted({(group.owner, group.lane) for group in shown.groups})
        after = looked.resume_after
        if after is None:
            return seen
    raise AssertionError("the walk never ends")


@pytest.mark.parametrize("lines_max", [1, 2, 3, 4, 9, 10, 100])
async def test_a_walk_over_the_lines_visits_each_once(world: World, lines_max: int) -> None:
    for number in range(5):
        owner = await world.owner(f"owner-{number}")
        for lane in ("default", "second"):
            await world.submit_many(owner, 3, lane=lane)
    everything = Shown()
    await world.look(everything)
    lines = sorted({(group.owner, group.lane) for group in everything.groups})
    assert len(lines) == 10
    assert await walk_lines(world, lines_max) == lines


async def test_a_walk_over_the_targets_of_a_line_shows_them_all(world: World, owner: Owner) -> None:
    targets = [f"host-{number:03}.example:80" for number in range(100)]
    for target in targets:
        await world.submit(owner, target=target)
    seen = await walk_groups(world)
    assert sorted(target for _, target in seen) == targets


async def test_the_walk_goes_on_with_the_less_urgent(world: World, owner: Owner) -> None:
    """Many targets at several priorities: none is hidden behind those that come first."""
    expected = set()
    for number in range(60):
        task = await world.submit(owner, target=f"host-{number % 20:03}.example:80", priority=9 - 4 * (number // 20))
        expected.add((9 - task.priority, task.target))
    assert await walk_groups(world) == expected


async def walk_groups(world: World) -> set[tuple[int, str]]:
    """All groups of one line, urgency and target, by looks that take nothing."""
    seen: set[tuple[int, str]] = set()
    after: tuple[int, str] | None = (-2, "")
    for _ in range(200):
        assert after is not None
        shown = Shown()
        looked = await world.look(shown, groups_max=8, groups_after=after)
        assert len(shown.groups) <= 8
        seen |= {(group.urgency, group.target) for group in shown.groups}
        after = looked.groups_resume_after
        if after is None:
            break
    assert after is None
    return seen


async def test_full_targets_do_not_hide_the_others_of_their_line(world: World, owner: Owner) -> None:
    """A line whose first targets are all busy: whoever goes on after the last one shown reaches the free one."""
    busy = [f"busy-{number:03}.example:80" for number in range(30)]
    for target in busy:
        await world.submit_many(owner, 3, target=target)
    free = await world.submit(owner, target="free.example:80")
    after: tuple[int, str] = (-2, "")
    for _ in range(10):
        looked = await world.look(groups_max=8, groups_after=after, targets_excluded=frozenset(busy))
        if looked.claims:
            break
        assert looked.groups_resume_after is not None
        after = looked.groups_resume_after
    assert [claim.id for claim in looked.claims] == [free.id]


async def test_a_big_backlog_of_one_owner_does_not_hide_another(world: World, owner: Owner, other: Owner) -> None:
    for _ in range(3):
        await world.submit_many(owner, 1_000)
    late = await world.submit(other)
    claims = await world.claim(up_to(1))
    assert late.id in {claim.id for claim in claims}
    assert len(claims) == 2
