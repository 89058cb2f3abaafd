"""Two stores at once: one truth, whoever asks. What holds here holds for any adapter that several processes share."""

import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest

from tasks_server.domain import lifecycle
from tasks_server.domain.limits import DAY_MS, HOUR_MS
from tasks_server.domain.owner import Owner
from tasks_server.domain.request import TaskConfig
from tasks_server.domain.task import State
from tasks_server.store.ports import Claim, Duplicate, Hints, Inserted, QueueFull, TaskQuery
from tasks_server.store.postgres.store import PostgresStore
from tests.store.lanes import set_lane
from tests.store.test_random_walks import LIMIT, Walk
from tests.store.world import FAILURE, LEASE_MS, World, up_to

from .conftest import Pair

# Claims


async def test_claims_never_overlap(pair: Pair, owner: Owner) -> None:
    made = await pair[0].submit_many(owner, 300)
    looks = await asyncio.gather(*(world.claim(up_to(7)) for _ in range(30) for world in pair))
    claims = [claim for claims in looks for claim in claims]
    assert sorted(claim.id for claim in claims) == sorted(made)
    first, second = ({claim.lease for claims in looks[side::2] for claim in claims} for side in (0, 1))
    assert first
    assert second
    assert not first & second


async def test_the_places_of_a_lane_are_the_same_for_both(pair: Pair, owner: Owner) -> None:
    await set_lane(pair[0], owner, concurrent_max=5)
    made = await pair[0].submit_many(owner, 40)
    done: set[str] = set()
    for _ in range(100):
        looks = await asyncio.gather(*(world.claim(up_to(3)) for _ in range(3) for world in pair))
        claims = [claim for claims in looks for claim in claims]
        lane = await pair[1].store.lane(owner.id, "default")
        assert lane is not None
        assert lane.facts.running <= 5
        await asyncio.gather(*(world.settle(claims[side::2]) for side, world in enumerate(pair)))
        done |= {claim.id for claim in claims}
        pair[0].clock.advance(5)
        if len(done) == len(made):
            break
    assert sorted(done) == sorted(made)
    await pair[0].check_counters()


async def test_the_rate_of_a_lane_is_the_same_for_both(pair: Pair, owner: Owner) -> None:
    await set_lane(pair[0], owner, rate=20, burst=4)
    await pair[0].submit_many(owner, 100)
    started = 0
    for step in range(20):
        looks = await asyncio.gather(*(world.claim(up_to(3)) for _ in range(2) for world in pair))
        looks.append(await pair[step % 2].claim(up_to(10)))  # of those at once, each may have left it to the other
        started += sum(len(claims) for claims in looks)
        assert started == 4 + step
        pair[0].clock.advance(50)


async def test_what_one_submits_the_other_claims_and_the_first_sees_settled(pair: Pair, owner: Owner) -> None:
    one, two = pair
    task = await one.submit(owner)
    await two.settle(await two.claim_one())
    assert await one.state(task) is State.COMPLETED
    assert await one.in_queue(owner) == 0


async def test_a_task_is_promoted_once(pair: Pair, owner: Owner) -> None:
    for _ in range(5):
        await pair[0].submit_many(owner, 100, delay=1_000)
    pair[0].clock.advance(1_000)
    looks = await asyncio.gather(*(world.look(up_to(50)) for _ in range(8) for world in pair))
    assert sum(look.promoted for look in looks) == 500
    claims = [claim.id for look in looks for claim in look.claims]
    assert len(claims) == len(set(claims))
    await pair[1].check_counters()


# Late reports


async def rescued_and_claimed(other: World, claim: Claim) -> None:
    assert await other.leases_end() == 1
    assert (await other.claim_one()).id == claim.id


async def paused(other: World, claim: Claim) -> None:
    await other.steer(claim, lifecycle.pause)


async def revoked(other: World, claim: Claim) -> None:
    await other.steer(claim, lifecycle.revoke)


async def deleted(other: World, claim: Claim) -> None:
    assert await other.store.delete(None, claim.id)


@pytest.mark.parametrize("lose", [rescued_and_claimed, paused, revoked, deleted])
async def test_what_the_other_took_away_cannot_be_settled(
    pair: Pair, owner: Owner, lose: Callable[[World, Claim], Awaitable[None]]
) -> None:
    one, two = pair
    await one.submit(owner)
    claim = await one.claim_one()
    await lose(two, claim)
    before = (await two.store.tasks(TaskQuery(None))).tasks
    assert await one.store.held([(claim.ref, claim.lease)]) == set()
    assert await one.store.extend([(claim.ref, claim.lease)], one.now + 10**9) == {claim.ref}
    assert await one.store.settle([one.report(claim, FAILURE)]) == {claim.ref}
    assert (await two.store.tasks(TaskQuery(None))).tasks == before
    await two.check_counters()


async def test_settling_and_stopping_at_once_has_one_winner(pair: Pair, owner: Owner) -> None:
    one, two = pair
    for _ in range(30):
        task = await one.submit(owner)
        claim = await one.claim_one()
        lost, stopped = await asyncio.gather(
            one.store.settle([one.report(claim)]), two.steer(task, lifecycle.revoke), return_exceptions=True
        )
        state = await two.state(task)
        if lost == set():
            assert (state, type(stopped)) == (State.COMPLETED, lifecycle.IllegalTransition)
        else:
            assert (lost, state) == ({claim.ref}, State.REVOKED)
    await two.check_counters()


async def test_the_tasks_of_one_that_is_gone_are_rescued_before_their_lease_is_over(pair: Pair, owner: Owner) -> None:
    one, two = pair
    await one.submit_many(owner, 3)
    claims = await one.claim()
    assert await two.rescue(10) == 0
    await one.store.close()
    assert await two.rescue(10) == 3
    again = await two.claim()
    assert sorted(claim.id for claim in again) == sorted(claim.id for claim in claims)
    assert {claim.attempt for claim in again} == {2}


async def heartbeat(world: World) -> None:
    """What processes on PostgreSQL do every few seconds."""
    store = world.store
    if isinstance(store, PostgresStore):
        await store._do("duty", store._nodes.beat, None)


@pytest.mark.parametrize("by", [DAY_MS, -DAY_MS, HOUR_MS, -HOUR_MS])
async def test_a_clock_that_is_set_takes_nothing_from_one_that_lives(pair: Pair, owner: Owner, by: int) -> None:
    one, two = pair
    await one.submit(owner)
    claim = await one.claim_one()
    assert await two.rescue(10) == 0
    one.clock.set(by)
    assert await two.claim() == []
    await heartbeat(two)
    for second in range(60):
        one.clock.advance(1_000)
        if (second + 1) % 10 == 0:
            assert await one.store.extend([(claim.ref, claim.lease)], one.now + LEASE_MS) == set()
        assert await two.rescue(10) == 0
    await one.settle(claim)


async def test_one_that_comes_back_is_alive_again(pair: Pair, owner: Owner) -> None:
    one, two = pair
    await one.submit(owner)
    await one.store.close()
    await one.store.open()
    claim = await one.claim_one()
    assert await two.rescue(10) == 0
    await one.settle(claim)


# Submitting


async def test_one_key_in_two_places_makes_one_task(pair: Pair, owner: Owner) -> None:
    for number in range(20):
        tasks = [
            world.task(owner, idempotency_key=f"k{number}", idempotency_digest=b"d") for world in pair for _ in range(3)
        ]
        answers = await asyncio.gather(*(pair[index // 3].store.insert(task) for index, task in enumerate(tasks)))
        winners = [task.id for task, answer in zip(tasks, answers, strict=True) if answer == Inserted()]
        assert len(winners) == 1
        assert {answer.task.id for answer in answers if isinstance(answer, Duplicate)} == set(winners)
    assert await pair[0].in_queue(owner) == 20


async def test_the_limit_holds_over_both(pair: Pair) -> None:
    small = await pair[0].owner(limit=25)
    answers = await asyncio.gather(*(world.store.insert(world.task(small)) for _ in range(20) for world in pair))
    assert answers.count(Inserted()) == 25
    assert answers.count(QueueFull(25)) == 15
    assert await pair[1].in_queue(small) == 25


async def test_a_lane_that_both_make_is_one_lane(pair: Pair, owner: Owner) -> None:
    await asyncio.gather(*(world.store.insert(world.task(owner, lane="new")) for _ in range(5) for world in pair))
    rows = await pair[0].adapter.rows(pair[0].store)
    assert rows["lane"] == 1
    assert len((await pair[1].store.tasks(TaskQuery(owner.id, lane="new"))).tasks) == 10
    await pair[0].check_counters()


async def test_what_one_remembers_of_a_deleted_owner_does_not_reach_its_successor(pair: Pair, owner: Owner) -> None:
    one, two = pair
    await one.submit(owner)
    await one.settle(await one.claim_one())
    assert await two.store.delete_owner(owner.id)
    for _ in range(3):
        await two.store.prune(0, 100)
    heir = await two.owner("first-owner")
    stranger = await two.owner("second-owner")
    await two.submit(stranger)
    task = await one.submit(heir)
    found = await two.read(task)
    assert (found.owner, found.lane) == (heir.id, "default")
    assert len(await two.claim()) == 2
    await two.check_counters()


# Reading


async def test_what_is_answered_is_seen_by_the_other(pair: Pair, owner: Owner) -> None:
    one, two = pair
    for number in range(50):
        writer, reader = (one, two) if number % 2 else (two, one)
        task = await writer.submit(owner)
        assert await reader.store.task(owner.id, task.id) is not None
        assert await reader.in_queue(owner) == number + 1


async def test_pages_hold_while_the_other_inserts(pair: Pair, owner: Owner) -> None:
    one, two = pair
    made = [task_id for _ in range(10) for task_id in await one.submit_many(owner, 20)]
    seen: list[str] = []
    after = None
    while len(seen) < 200:
        page, _ = await asyncio.gather(
            one.store.tasks(TaskQuery(owner.id, limit=7, after=after)), two.submit_many(owner, 5)
        )
        seen += [task.id for task in page.tasks]
        after = page.next
    assert seen[:200] == made
    assert len(seen) == len(set(seen))


# Hints


@pytest.fixture
def hearing(pair: Pair) -> Pair:
    """Stores that tell each other."""
    if not pair[0].adapter.hears:
        pytest.skip("nothing is heard through a pooler of transactions")
    return pair


async def test_a_hint_reaches_the_other(hearing: Pair, owner: Owner) -> None:
    one, two = hearing
    one.store.hint_cancel()
    assert await two.store.wait(60) == Hints(cancelled=True)
    assert await one.store.wait(60) == Hints(cancelled=True)  # whoever waits in its own process hears it too
    await two.submit(owner, delay=5_000)
    assert await one.store.wait(60) == Hints(two.now + 5_000)


async def test_the_earliest_of_many_instants_reaches_the_other(hearing: Pair) -> None:
    one, two = hearing
    for at in (9_000, 3_000, 6_000):
        one.store.hint_work(at)
    one.store.hint_cancel()
    assert await two.store.wait(60) == Hints(3_000, True)


async def test_one_that_is_gone_is_hinted_at_without_harm(hearing: Pair, owner: Owner) -> None:
    one, two = hearing
    one.store.hint_cancel()
    await two.store.wait(60)
    await one.store.wait(60)
    await two.store.close()
    one.store.hint_cancel()
    assert await one.store.wait(60) == Hints(cancelled=True)
    await one.submit(owner)
    assert await one.store.wait(60) == Hints(one.now)


async def test_who_hears_nothing_looks_all_the_same(pair: Pair, owner: Owner) -> None:
    one, two = pair
    task = await one.submit(owner, delay=5_000)
    hints = await two.store.wait(60)
    assert hints.work_at is not None
    assert hints.work_at <= task.due_at


# Anything in any order


@pytest.mark.parametrize("seed", range(4))
async def test_a_random_walk_over_both(pair: Pair, seed: int) -> None:
    one, two = pair
    walk = Walk(one, [await one.owner(limit=LIMIT) for _ in range(2)], seed)
    steps = [walk.submit, walk.claim, walk.claim, walk.settle, walk.steer, walk.advance, walk.extend, walk.rescue]
    steps += [walk.limit_lane, walk.leases_end]
    stores, draw = [one.store, two.store], random.Random(seed)
    for _ in range(150):
        one.store = draw.choice(stores)
        await walk.draw.choice(steps)()
        one.store = draw.choice(stores)
        await walk.check()
    assert len(walk.past) > 10
    one.store = stores[0]


async def test_a_day_of_both_at_full_tilt(pair: Pair, owner: Owner) -> None:
    """Both submit, claim and settle as fast as they can, until all is done: each task is delivered once."""
    delivered: list[str] = []
    config = TaskConfig()

    async def submit(world: World) -> None:
        for _ in range(10):
            await world.submit_many(owner, 20)

    async def work(world: World) -> None:
        while len(delivered) < 400:
            claims = await world.claim(up_to(9))
            delivered.extend(claim.id for claim in claims)
            await world.settle(claims, config=config)

    await asyncio.gather(*(job(world) for job in (submit, work) for world in pair))
    assert len(delivered) == len(set(delivered)) == 400
    assert await pair[0].in_queue(owner) == 0
    await pair[1].check_counters()
