"""Bulk work: kept, and done step by step; each task once, whatever stops it in between."""

from collections import Counter

import pytest

from tasks_server.domain import lifecycle
from tasks_server.domain.attempt import OutcomeKind
from tasks_server.domain.bulk import DEFAULT_STATES, QUEUE_FULL, Action, Bulk, BulkFilter
from tasks_server.domain.errors import Refused, Unauthorized
from tasks_server.domain.owner import Owner
from tasks_server.domain.schedule import Rule
from tasks_server.domain.task import FINAL, State, Task
from tasks_server.store.bulking import BulkRefusal, Sighted, Worked
from tasks_server.store.ports import Hints

from .bulks import OPEN_MAX, Desk
from .schedules import Calendar
from .world import FAILURE, World


@pytest.fixture
def desk(world: World) -> Desk:
    return Desk(world)


# Keeping


async def test_it_comes_back_as_it_was_made(world: World, desk: Desk, owner: Owner) -> None:
    await desk.failed(owner, 3)
    conditions = {
        "states": (State.COMPLETED, State.FAILED),
        "lane": "a",
        "host": "h",
        "handler": "n",
        "schedule": "s",
        "status": (500, 599),
        "error": 'a "part" \\u0000 ✓',
        "metadata": {"k": "v"},
        "created_since": 1,
        "created_until": 2,
        "ended_since": 3,
        "ended_until": 4,
    }
    made = await desk.make(owner, Action.REVOKE, **conditions)
    assert made == Bulk(
        made.id, owner.id, Action.REVOKE, BulkFilter(**conditions), "owner", world.now, updated_at=world.now, total=3
    )
    assert made.standing == "pending"
    assert await world.store.bulk(owner.id, made.id) == made
    named = await desk.make(owner, Action.DELETE, ids=("A" * 24, "B" * 24))
    assert await world.store.bulk(None, named.id) == named
    assert (named.total, named.filter) == (2, BulkFilter(ids=("A" * 24, "B" * 24)))


async def test_owners_see_their_own(world: World, desk: Desk, owner: Owner, other: Owner) -> None:
    mine, theirs = await desk.make(owner, Action.RETRY), await desk.make(other, Action.RETRY)
    assert await world.store.bulk(owner.id, theirs.id) is None
    assert await world.store.cancel_bulk(owner.id, theirs.id, world.now) is None
    assert await world.store.bulk(None, "0" * 24) is None
    assert await world.store.bulks(owner.id, "", 10) == [mine]
    assert await world.store.bulks(None, "", 10) == [theirs, mine]
    assert (await desk.read(theirs)).ended_at == 0


async def test_pages_follow_each_other_the_newest_first(world: World, desk: Desk, owner: Owner, other: Owner) -> None:
    made = []
    for _ in range(5):
        made.append((await desk.make(owner, Action.RETRY)).id)
        await desk.make(other, Action.RETRY)
    seen: list[str] = []
    while page := await world.store.bulks(owner.id, seen[-1] if seen else "", 2):
        seen += [bulk.id for bulk in page]
    assert seen == made[::-1]
    assert len(await world.store.bulks(None, seen[0], 100)) == 8


async def test_an_owner_has_so_much_open_and_no_more(world: World, desk: Desk, owner: Owner, other: Owner) -> None:
    first = await desk.make(owner, Action.RETRY)
    assert await world.store.create_bulk(desk.new(owner, Action.RETRY), 1) is BulkRefusal.FULL
    assert isinstance(await world.store.create_bulk(desk.new(other, Action.RETRY), 1), Bulk)
    await desk.finish(first)
    assert isinstance(await world.store.create_bulk(desk.new(owner, Action.RETRY), 1), Bulk)


async def test_an_owner_who_is_gone_asks_for_none_and_leaves_none(world: World, desk: Desk, owner: Owner) -> None:
    await desk.failed(owner, 3)
    made = await desk.make(owner, Action.RETRY)
    assert await world.store.delete_owner(owner.id)
    assert await world.store.bulk(None, made.id) is None
    assert await world.store.next_bulk() is None
    assert await desk.step() == Worked()
    assert await world.store.create_bulk(desk.new(owner, Action.RETRY), OPEN_MAX) is BulkRefusal.UNKNOWN_OWNER
    assert await world.store.sight_bulk(owner.id, BulkFilter(), 0, 10) == Sighted(0, [], None)


async def test_cancelled_it_ends_where_it_stands(world: World, desk: Desk, owner: Owner) -> None:
    made = await desk.failed(owner, 10)
    bulk = await desk.make(owner, Action.RETRY)
    await desk.step(changed_max=4)
    world.clock.advance(5)
    cancelled = await world.store.cancel_bulk(owner.id, bulk.id, world.now)
    assert cancelled is not None
    assert (cancelled.standing, cancelled.changed, cancelled.ended_at) == ("cancelled", 4, world.now)
    assert await world.store.next_bulk() is None
    assert await desk.step() == Worked()
    assert [await world.state(task) for task in made].count(State.FAILED) == 6
    world.clock.advance(5)
    assert await world.store.cancel_bulk(None, bulk.id, world.now) == cancelled


async def test_what_has_ended_cannot_be_cancelled(world: World, desk: Desk, owner: Owner) -> None:
    done = await desk.finish(await desk.make(owner, Action.RETRY))
    world.clock.advance(5)
    assert done.standing == "done"
    assert await world.store.cancel_bulk(owner.id, done.id, world.now) == done


async def test_it_is_pruned_with_the_history(world: World, desk: Desk, owner: Owner) -> None:
    done = await desk.finish(await desk.make(owner, Action.RETRY))
    world.clock.advance(1_000)
    late = await desk.finish(await desk.make(owner, Action.RETRY))
    waits = await desk.make(owner, Action.RETRY)
    await world.store.prune(world.now, 100)
    assert [one.id for one in await world.store.bulks(None, "", 10)] == [waits.id, late.id]
    assert done.id < late.id


# Each action


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("action", list(Action))
async def test_an_action_does_to_a_task_in_any_state_what_its_owner_could(
    world: World, desk: Desk, owner: Owner, action: Action, state: State
) -> None:
    task_id = await world.bring_to(state, owner)
    before = await world.read(task_id)
    bulk = await desk.make(owner, action, ids=(task_id, "0" * 24))
    world.clock.advance(10)
    done = await desk.finish(bulk)
    allowed = action is Action.DELETE or (
        state in DEFAULT_STATES[action] | (FINAL if action is Action.RETRY else frozenset())
    )
    assert (done.seen, done.changed, done.skipped) == (1, int(allowed), int(not allowed))
    if action is Action.DELETE:
        assert await world.store.task(None, task_id) is None
        assert await world.in_queue(owner) == 0
    elif not allowed:
        assert await world.read(task_id) == before
    else:
        await _check_steered(world, bulk, before, await world.read(task_id))
    await world.check_counters()


async def _check_steered(world: World, bulk: Bulk, before: Task, after: Task) -> None:
    """As steering it alone would have left it."""
    steer = {
        Action.RETRY: lifecycle.restart,
        Action.REVOKE: lifecycle.revoke,
        Action.PAUSE: lifecycle.pause,
        Action.RESUME: lifecycle.resume,
        Action.EXECUTE: lifecycle.execute,
    }[bulk.action]
    wanted = steer(before, world.now)
    after.response, after.outcome = wanted.response, wanted.outcome  # of the attempt that was dropped
    wanted.held_by = None
    assert after == wanted
    event = (await world.store.events(None, before.id))[-1]
    assert (event.at, event.detail) == (world.now, f"by bulk work {bulk.id}")
    if before.state is State.RUNNING:
        last = (await world.store.attempts(None, before.id))[-1]
        assert (last.number, last.outcome, last.ended_at) == (before.attempt, OutcomeKind.ABORTED, world.now)


async def test_tasks_in_flight_lose_their_leases(world: World, desk: Desk, owner: Owner) -> None:
    await world.submit_many(owner, 4)
    claims = await world.claim()
    leases = [(claim.ref, claim.lease) for claim in claims]
    await desk.make(owner, Action.REVOKE, ids=(claims[0].id,))
    assert (await desk.step()).stopped
    await desk.make(owner, Action.DELETE, ids=(claims[1].id,))
    assert (await desk.step()).stopped
    await desk.make(owner, Action.EXECUTE, ids=(claims[2].id,))
    assert not (await desk.step()).stopped
    assert await world.store.held(leases) == {claims[2].ref, claims[3].ref}


async def test_engines_are_told(world: World, desk: Desk, owner: Owner) -> None:
    made = await desk.failed(owner, 2)
    await world.listening()
    await desk.make(owner, Action.RETRY)
    assert (await desk.step()).restarted
    if world.adapter.hears:
        assert await world.store.wait(60) == Hints(work_at=world.now)
    assert {claim.id for claim in await world.claim()} == set(made)
    await desk.make(owner, Action.REVOKE)
    await desk.step()
    if world.adapter.hears:
        assert await world.store.wait(60) == Hints(cancelled=True)


async def test_a_retried_task_runs_again_and_shows_why(world: World, desk: Desk, owner: Owner) -> None:
    (task_id,) = await desk.failed(owner, 1)
    bulk = await desk.finish(await desk.make(owner, Action.RETRY))
    await world.settle(await world.claim_one())
    task = await world.read(task_id)
    assert (task.state, task.attempt) == (State.COMPLETED, 2)
    ((kind, detail),) = [(event.kind, event.detail) for event in await world.store.events(None, task_id)]
    assert (kind, detail) == ("restart", f"by bulk work {bulk.id}")


# Which tasks


async def test_only_what_the_filter_finds(world: World, desk: Desk, owner: Owner, other: Owner) -> None:
    begun = world.now
    one = await desk.failed(owner, 3, lane="slow", metadata={"a": "1", "b": "2"})
    world.clock.advance(1_000)
    two = await desk.failed(owner, 2, target="b.example:443", metadata={"a": "1"})
    world.clock.advance(1_000)
    handled = await desk.failed(owner, 1, target="@send")
    await desk.failed(other, 2, lane="slow")
    done = await world.bring_to(State.COMPLETED, owner)
    every = [*one, *two, *handled, done]
    cases = [
        ({}, every),
        ({"states": (State.FAILED,)}, every[:-1]),
        ({"states": (State.COMPLETED,)}, [done]),
        ({"lane": "slow"}, one),
        ({"lane": "nowhere"}, []),
        ({"host": "a.example:80"}, [*one, done]),
        ({"host": "b.example"}, two),
        ({"host": "example"}, []),
        ({"handler": "send"}, handled),
        ({"status": (500, 599)}, every[:-1]),
        ({"status": (200, 200)}, [done]),
        ({"status": (504, 599)}, []),
        ({"status": (0, 0)}, []),
        ({"error": "service UNAVAIL"}, every[:-1]),
        ({"error": "refused"}, []),
        ({"metadata": {"a": "1"}}, [*one, *two]),
        ({"metadata": {"a": "1", "b": "2"}}, one),
        ({"metadata": {"a": "2"}}, []),
        ({"created_since": begun + 1_000}, [*two, *handled, done]),
        ({"created_until": begun + 1_000}, one),
        ({"created_since": begun + 1, "created_until": begun + 1_001}, two),
        ({"ended_since": begun + 2_000}, [*handled, done]),
        ({"ended_until": begun + 1_000}, one),
        ({"ids": (one[0], two[1], "0" * 24)}, [one[0], two[1]]),
        ({"ids": (one[0], two[1]), "lane": "slow"}, [one[0]]),
        ({"lane": "slow", "metadata": {"b": "2"}, "status": (503, 503)}, one),
    ]
    for conditions, wanted in cases:
        sighted = await world.store.sight_bulk(owner.id, BulkFilter(**conditions), 0, 100)
        assert [task.id for task in sighted.found] == wanted, conditions
        assert sighted.after is None
    bulk = await desk.finish(await desk.make(owner, Action.DELETE, lane="slow", metadata={"b": "2"}))
    assert (bulk.seen, bulk.changed) == (7, 3)
    assert set(await desk.tasks(owner)) == set(every) - set(one)
    assert len(await desk.tasks(other)) == 2


async def test_tasks_of_a_schedule(world: World, desk: Desk, owner: Owner) -> None:
    calendar = Calendar(world)
    made = await calendar.make(owner, "hourly", Rule(every_ms=1_000))
    await calendar.make(owner, "daily", Rule(every_ms=1_000))
    world.clock.advance(1_000)
    await calendar.fire()
    await world.submit(owner)
    done = await desk.finish(await desk.make(owner, Action.REVOKE, schedule=made.id))
    assert (done.seen, done.changed, done.skipped) == (3, 1, 0)
    revoked = [task.schedule for task in await calendar.tasks(owner) if task.state is State.REVOKED]
    assert revoked == [made.id]


async def test_every_set_of_states_is_walked_in_order(world: World, desk: Desk, owner: Owner) -> None:
    made: dict[State, list[str]] = {state: [] for state in State}
    for _ in range(3):
        for state in sorted(State, key=lambda state: state is State.AVAILABLE):
            if state is not State.AVAILABLE:
                made[state].append(await world.bring_to(state, owner))
    made[State.AVAILABLE] = [await world.bring_to(State.AVAILABLE, owner)]
    names = list(State)
    for bits in range(1, 1 << len(names)):
        states = tuple(state for place, state in enumerate(names) if bits >> place & 1)
        wanted = sorted(task_id for state in states for task_id in made[state])
        seen: list[str] = []
        after: int | None = 0
        while after is not None:
            sighted = await world.store.sight_bulk(owner.id, BulkFilter(states=states), after, 5)
            assert sighted.seen <= 5
            seen, after = seen + [task.id for task in sighted.found], sighted.after
        assert seen == wanted, states


async def test_what_comes_later_is_left_alone(world: World, desk: Desk, owner: Owner) -> None:
    before = await world.submit_many(owner, 3)
    bulk = await desk.make(owner, Action.DELETE, states=tuple(State))
    assert bulk.total == 3
    await world.store.delete(None, before[2])
    world.clock.advance(1)
    after = await world.submit_many(owner, 3)
    done = await desk.finish(bulk, seen_max=1)
    assert done.changed == 2
    assert set(await desk.tasks(owner)) == set(after)


# Step by step


async def test_each_task_once_in_steps_of_any_size(world: World, desk: Desk, owner: Owner) -> None:
    made = await desk.failed(owner, 30)
    for seen_max, changed_max in ((1, 1), (7, 3), (3, 7), (30, 30), (10, 10), (1_000, 200)):
        bulk = await desk.make(owner, Action.RETRY, states=(State.FAILED,))
        done = await desk.finish(bulk, seen_max=seen_max, changed_max=changed_max)
        assert (done.standing, done.total, done.seen, done.changed, done.skipped) == ("done", 30, 30, 30, 0)
        assert done.started_at == done.ended_at == world.now
        await world.settle(await world.claim(), FAILURE)
    events = Counter([len(await world.store.events(None, task)) for task in made])
    assert events == {6: 30}
    await world.check_counters()


async def test_a_filter_that_finds_nothing_ends_in_bounded_steps(world: World, desk: Desk, owner: Owner) -> None:
    await desk.failed(owner, 25)
    bulk = await desk.make(owner, Action.RETRY, lane="nowhere")
    seen = []
    while not (await desk.read(bulk)).ended_at:
        worked = await desk.step(seen_max=10)
        assert worked.bulk is not None
        seen.append(worked.bulk.seen)
        assert not worked.restarted
    assert seen == [10, 20, 25]
    assert (await desk.read(bulk)).standing == "done"


async def test_ten_thousand(world: World, desk: Desk, owner: Owner) -> None:
    for _ in range(10):
        await world.submit_many(owner, 1_000, delay=60_000)
    bulk = await desk.make(owner, Action.REVOKE)
    assert bulk.total == 10_000
    done = await desk.finish(bulk)
    assert (done.seen, done.changed, done.skipped) == (10_000, 10_000, 0)
    assert await world.in_queue(owner) == 0
    again = await desk.finish(await desk.make(owner, Action.DELETE, states=(State.REVOKED,)))
    assert again.changed == 10_000
    assert await desk.tasks(owner) == {}
    await world.check_counters()
    assert not {"task", "request", "event"} & (await world.adapter.rows(world.store)).keys()


async def test_work_of_several_takes_turns(world: World, desk: Desk, owner: Owner, other: Owner) -> None:
    await desk.failed(owner, 6)
    await desk.failed(other, 6)
    bulks = [await desk.make(owner, Action.RETRY), await desk.make(other, Action.RETRY)]
    turns = []
    for _ in range(6):
        world.clock.advance(1)
        worked = await desk.step(changed_max=2)
        assert worked.bulk is not None
        turns.append(bulks.index(next(bulk for bulk in bulks if bulk.id == worked.bulk.id)))
    assert turns == [0, 1] * 3
    assert await world.store.next_bulk() is None


async def test_closed_and_opened_in_between_it_goes_on(world: World, desk: Desk, owner: Owner) -> None:
    if not world.adapter.shared:
        pytest.skip("what is in memory is gone")
    made = await desk.failed(owner, 20)
    bulk = await desk.make(owner, Action.RETRY)
    for _ in range(4):
        await desk.step(changed_max=5)
        await world.store.close()
        world.store = desk.store = world.adapter.make(world.folder, world.clock)
        await world.store.open()
    done = await desk.finish(bulk)
    assert (done.seen, done.changed) == (20, 20)
    assert {len(await world.store.events(None, task)) for task in made} == {1}
    await world.store.close()


async def test_a_filter_of_before_there_were_versions_is_what_it_was(world: World, desk: Desk, owner: Owner) -> None:
    await desk.failed(owner, 2)
    bulk = await desk.make(owner, Action.DELETE, states=(State.FAILED,))
    (stored,) = await world.query("SELECT filter FROM bulk")
    assert stored[0] == '1{"states":["failed"]}'
    await world.query(f"UPDATE bulk SET filter = '{stored[0][1:]}' WHERE id = '{bulk.id}'")
    done = await desk.finish(bulk)
    assert (done.standing, done.changed) == ("done", 2)


@pytest.mark.parametrize("broken", ["{broken", "1{broken", "1", "", '2{"states":["failed"]}'])
async def test_one_whose_filter_cannot_be_read_ends_and_says_so(
    world: World, desk: Desk, owner: Owner, broken: str
) -> None:
    await desk.failed(owner, 2)
    bulk = await desk.make(owner, Action.DELETE, states=(State.FAILED,))
    await world.query(f"UPDATE bulk SET filter = '{broken}' WHERE id = '{bulk.id}'")
    done = await desk.finish(bulk)
    assert (done.standing, done.changed, done.error) == ("failed", 0, done.unreadable)
    assert len(await desk.tasks(owner)) == 2


# The queue


async def test_a_retry_waits_for_places_in_the_queue_and_leaves_some(world: World, desk: Desk) -> None:
    owner = await world.owner(limit=20)
    made = await desk.failed(owner, 20)
    await desk.failed(owner, 10)
    bulk = await desk.make(owner, Action.RETRY)
    worked = await desk.step()
    assert worked.bulk is not None
    assert (worked.bulk.standing, worked.bulk.waits, worked.bulk.changed) == ("waiting", QUEUE_FULL, 18)
    assert await world.in_queue(owner) == 18
    assert await desk.step() == Worked()  # its turn is later
    assert await world.store.next_bulk() == world.now + 1_000
    await world.submit_many(owner, 2)
    world.clock.advance(1_000)
    worked = await desk.step()
    assert worked.bulk is not None
    assert (worked.bulk.seen, worked.bulk.changed) == (18, 18)
    await world.settle(await world.claim())
    world.clock.advance(1_000)
    done = await desk.finish(bulk)
    assert (done.standing, done.seen, done.changed, done.waits) == ("done", 30, 30, None)
    assert [await world.state(task) for task in made] == [State.COMPLETED] * 18 + [State.AVAILABLE] * 2
    await world.check_counters()


async def test_a_single_retry_respects_the_limit(world: World, desk: Desk) -> None:
    owner = await world.owner(limit=3)
    one, _ = await desk.failed(owner, 2)
    await world.submit_many(owner, 3)
    with pytest.raises(Refused) as refusal:
        await world.steer(one, lifecycle.restart)
    assert refusal.value.code == "queue_full"
    assert await world.state(one) is State.FAILED
    await world.settle(await world.claim())
    assert await world.steer(one, lifecycle.restart) is not None
    assert await world.in_queue(owner) == 1


async def test_a_single_retry_after_its_owner_is_gone_is_refused(world: World, desk: Desk, owner: Owner) -> None:
    (one,) = await desk.failed(owner, 1)
    assert await world.store.delete_owner(owner.id)
    with pytest.raises(Unauthorized):
        await world.steer(one, lifecycle.restart)
