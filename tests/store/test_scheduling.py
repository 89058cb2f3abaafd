"""Schedules: kept, steered, and fired once for each fire time, with their tasks in the same transaction."""

import msgspec
import pytest

from tasks_server.domain import lifecycle, schedule
from tasks_server.domain.defaults import VERSIONS
from tasks_server.domain.errors import Conflict
from tasks_server.domain.firing import Template, encode_template
from tasks_server.domain.forms import decode_spec
from tasks_server.domain.owner import Owner
from tasks_server.domain.request import HttpRequest, TaskConfig
from tasks_server.domain.schedule import Missed, MissedRuns, Rule, Schedule
from tasks_server.domain.task import State
from tasks_server.store.ports import Hints
from tasks_server.store.scheduling import Fired, ScheduleChange, ScheduleRefusal

from .schedules import TEMPLATE, Calendar
from .world import World


@pytest.fixture
def calendar(world: World) -> Calendar:
    return Calendar(world)


# Keeping


async def test_a_schedule_comes_back_as_it_was_made(world: World, calendar: Calendar, owner: Owner) -> None:
    rule = Rule(
        cron="0 9 * * MON-FRI", timezone="Europe/Berlin", start_at=5, end_at=2**50, runs_max=7, jitter_ms=900,
        missed="all", missed_window_ms=77_000, overlap="cancel",
    )  # fmt: skip
    made = await calendar.make(owner, "report", rule)
    for key in (made.id, "report"):
        assert await world.store.schedule(owner.id, key) == (made, encode_template(TEMPLATE))
    assert await world.store.schedule(None, made.id) == (made, encode_template(TEMPLATE))
    assert await world.store.schedule(None, "report") is None


async def test_owners_see_their_own(world: World, calendar: Calendar, owner: Owner, other: Owner) -> None:
    mine, theirs = await calendar.make(owner, "same"), await calendar.make(other, "same")
    for key in (theirs.id, "nothing", "Z" * 24):
        assert await world.store.schedule(owner.id, key) is None
        assert not await world.store.delete_schedule(owner.id, key)
        assert await calendar.change(owner.id, key, lambda found: schedule.pause(found, 1)) is None
    assert await world.store.schedules(owner.id, "", 10) == [mine]
    assert await world.store.schedules(None, "", 10) == sorted([mine, theirs], key=lambda one: one.id)


async def test_pages_follow_each_other(world: World, calendar: Calendar, owner: Owner, other: Owner) -> None:
    made = []
    for number in range(7):
        made.append((await calendar.make(owner, f"number-{number}")).id)
        await calendar.make(other, f"number-{number}")
    seen: list[str] = []
    while page := await world.store.schedules(owner.id, seen[-1] if seen else "", 3):
        seen += [one.id for one in page]
    assert seen == sorted(made)


async def test_a_name_is_given_once(world: World, calendar: Calendar, owner: Owner) -> None:
    first, second = await calendar.make(owner, "first"), await calendar.make(owner, "second")
    refused = await calendar.change(owner.id, second.id, lambda found: msgspec.structs.replace(found, name="first"))
    assert refused is ScheduleRefusal.NAME_TAKEN
    again = msgspec.structs.replace(calendar.schedule(owner, "first"))
    taken = await world.store.change_schedule(owner.id, "third", lambda _, __: ScheduleChange(again, b"x"), 10)
    assert taken is ScheduleRefusal.NAME_TAKEN
    assert await world.store.schedules(owner.id, "", 10) == [first, second]


async def test_an_owner_has_so_many_and_no_more(world: World, calendar: Calendar, owner: Owner) -> None:
    await calendar.make(owner, "one")
    two = ScheduleChange(calendar.schedule(owner, "two"), b"x")
    assert await world.store.change_schedule(owner.id, "two", lambda _, __: two, 1) is ScheduleRefusal.FULL
    assert await world.store.change_schedule(owner.id, "two", lambda _, __: two, 2) == two.schedule


async def test_an_owner_who_is_gone_makes_none(world: World, calendar: Calendar, owner: Owner) -> None:
    await calendar.make(owner, "old", Rule(every_ms=1_000))
    assert await world.store.delete_owner(owner.id)
    assert await world.store.next_look() is None
    assert await world.store.schedules(None, "", 10) == []
    change = ScheduleChange(calendar.schedule(owner, "new"), b"x")
    answer = await world.store.change_schedule(owner.id, "new", lambda _, __: change, 10)
    assert answer is ScheduleRefusal.UNKNOWN_OWNER


async def test_a_refusal_changes_nothing(world: World, calendar: Calendar, owner: Owner) -> None:
    made = await calendar.make(owner, "steady")

    def refuse(found: Schedule | None, _: bytes) -> ScheduleChange:
        assert found == made
        raise Conflict("no")

    with pytest.raises(Conflict):
        await world.store.change_schedule(owner.id, "steady", refuse, 10)
    assert await world.store.schedule(owner.id, "steady") == (made, encode_template(TEMPLATE))


async def test_a_template_stays_or_is_replaced(world: World, calendar: Calendar, owner: Owner) -> None:
    made = await calendar.make(owner, "steady")
    await calendar.change(owner.id, made.id, lambda found: schedule.pause(found, 5))
    assert (await calendar.read(made))[1] == encode_template(TEMPLATE)
    await world.store.change_schedule(owner.id, made.id, lambda one, _: _renamed(one, b"another"), 10)
    assert (await calendar.read(made))[1] == b"another"


def _renamed(found: Schedule | None, template: bytes) -> ScheduleChange:
    assert found is not None
    return ScheduleChange(msgspec.structs.replace(found, name="new"), template)


async def test_a_deleted_one_fires_no_more_and_its_tasks_stay(world: World, calendar: Calendar, owner: Owner) -> None:
    made = await calendar.make(owner, "short", Rule(every_ms=1_000))
    world.clock.advance(1_000)
    await calendar.fire()
    assert await world.store.delete_schedule(owner.id, "short")
    assert not await world.store.delete_schedule(owner.id, "short")
    world.clock.advance(1_000)
    assert await calendar.fire() == Fired()
    (task,) = await calendar.tasks(owner)
    assert task.schedule == made.id


# Firing


async def test_a_fire_time_makes_one_task(world: World, calendar: Calendar, owner: Owner) -> None:
    made = await calendar.make(owner, "each-second", Rule(every_ms=1_000))
    first = world.now + 1_000
    assert await world.store.next_look() == made.next_fire_at == first
    assert await calendar.fire() == Fired()
    world.clock.advance(1_000)
    assert await calendar.fire() == Fired(1, 1)
    assert await calendar.fire() == Fired()
    (task,) = await calendar.tasks(owner)
    assert (task.id, task.schedule, task.fire_at) == (schedule.task_id(made.id, first), made.id, first)
    assert (task.due_at, task.state, task.created_at) == (first, State.AVAILABLE, world.now)
    assert (task.lane, task.priority, task.target) == ("slow", 7, "a.example:80")
    assert task.metadata == {"of": "schedule"}
    spec = decode_spec(await world.store.spec(owner.id, task.id) or b"")
    assert (spec.request, spec.config) == (TEMPLATE.request, TEMPLATE.config)
    after, _ = await calendar.read(made)
    assert (after.runs, after.last_task, after.fired_at) == (1, task.id, first)
    assert after.next_fire_at == await world.store.next_look() == first + 1_000
    await world.check_counters()


@pytest.mark.parametrize(("missed", "made_up"), [("skip", []), ("once", [12]), ("all", [*range(3, 13)])])
async def test_ten_minutes_without_an_engine(
    world: World, calendar: Calendar, owner: Owner, missed: Missed, made_up: list[int]
) -> None:
    """It works for two minutes, is down for ten, and works again for one and a half."""
    made = await calendar.make(owner, "minutely", Rule(every_ms=60_000, missed=missed))
    for seconds in (60, 60, 630, 30, 60):
        world.clock.advance(seconds * 1_000)
        await calendar.fire()
    fired = sorted((task.fire_at - made.created_at) // 60_000 for task in await calendar.tasks(owner))
    assert fired == [1, 2, *made_up, 13, 14]
    found, _ = await calendar.read(made)
    told = None if found.missed is None else (found.missed.first_at, found.missed.last_at, found.missed.reason)
    first, last = made.created_at + 3 * 60_000, made.created_at + (12 - len(made_up)) * 60_000
    assert told == (None if missed == "all" else (first, last, "late"))


async def test_its_task_is_claimed_and_settled_like_any(world: World, calendar: Calendar, owner: Owner) -> None:
    await calendar.make(owner, "plain", Rule(every_ms=1_000))
    world.clock.advance(1_000)
    await calendar.fire()
    claim = await world.claim_one()
    await world.settle(claim)
    assert await world.state(claim) is State.COMPLETED
    assert await world.in_queue(owner) == 0


async def test_those_first_that_wait_longest(world: World, calendar: Calendar, owner: Owner, other: Owner) -> None:
    late = await calendar.make(owner, "late", Rule(every_ms=3_000))
    early = await calendar.make(other, "early", Rule(every_ms=1_000, missed="all"))
    world.clock.advance(3_000)
    assert await calendar.fire(limit=1) == Fired(1, 3)
    assert {task.schedule for task in await calendar.tasks(None)} == {early.id}
    assert await calendar.fire(limit=1) == Fired(1, 1)
    assert late.id in {task.schedule for task in await calendar.tasks(None)}
    assert await calendar.fire(limit=1) == Fired()


async def test_jitter_puts_off_when_it_is_due(world: World, calendar: Calendar, owner: Owner) -> None:
    made = await calendar.make(owner, "loose", Rule(every_ms=1_000, jitter_ms=500_000))
    world.clock.advance(1_000)
    await calendar.fire()
    (task,) = await calendar.tasks(owner)
    assert task.due_at == schedule.due_at(made, world.now) > world.now
    assert (task.state, task.fire_at) == (State.SCHEDULED, world.now)


async def test_a_paused_one_has_no_turn(world: World, calendar: Calendar, owner: Owner) -> None:
    made = await calendar.make(owner, "quiet", Rule(every_ms=1_000))
    await calendar.change(owner.id, made.id, lambda found: schedule.pause(found, world.now))
    assert await world.store.next_look() is None
    world.clock.advance(60_000)
    assert await calendar.fire() == Fired()
    await calendar.change(owner.id, made.id, lambda found: schedule.resume(found, world.now))
    assert await world.store.next_look() == world.now + 1_000


async def test_a_full_queue_is_recorded_and_the_schedule_goes_on(world: World, calendar: Calendar) -> None:
    small = await world.owner(limit=2)
    made = await calendar.make(small, "much", Rule(every_ms=1_000, missed="all"))
    world.clock.advance(3_000)
    missed = MissedRuns(world.now, world.now, "queue_full")
    assert await calendar.fire() == Fired(1, 2, [(made.id, missed)])
    assert await world.in_queue(small) == 2
    after, _ = await calendar.read(made)
    assert (after.runs, after.missed, after.next_fire_at) == (2, missed, world.now + 1_000)
    await world.settle(await world.claim())
    world.clock.advance(1_000)
    assert await calendar.fire() == Fired(1, 1)
    await world.check_counters()


async def test_room_is_shared_by_the_schedules_of_one_look(world: World, calendar: Calendar) -> None:
    small = await world.owner(limit=2)
    for number in range(3):
        await calendar.make(small, f"number-{number}", Rule(every_ms=1_000))
    world.clock.advance(1_000)
    fired = await calendar.fire()
    assert (fired.schedules, fired.tasks, len(fired.missed)) == (3, 2, 1)
    assert await world.in_queue(small) == 2


# Overlap


async def test_skip_waits_until_the_task_before_is_final(world: World, calendar: Calendar, owner: Owner) -> None:
    made = await calendar.make(owner, "skips", Rule(every_ms=1_000, overlap="skip"))
    world.clock.advance(1_000)
    await calendar.fire()
    world.clock.advance(1_000)
    assert await calendar.fire() == Fired(1, 0, [(made.id, MissedRuns(world.now, world.now, "overlap"))])
    await world.settle(await world.claim_one())
    world.clock.advance(1_000)
    assert (await calendar.fire()).tasks == 1


async def test_skip_does_not_wait_for_a_task_that_was_deleted(world: World, calendar: Calendar, owner: Owner) -> None:
    await calendar.make(owner, "skips", Rule(every_ms=1_000, overlap="skip"))
    world.clock.advance(1_000)
    await calendar.fire()
    (task,) = await calendar.tasks(owner)
    assert await world.store.delete(owner.id, task.id)
    world.clock.advance(1_000)
    assert (await calendar.fire()).tasks == 1


async def test_buffer_runs_one_as_soon_as_it_can(world: World, calendar: Calendar, owner: Owner) -> None:
    made = await calendar.make(owner, "waits", Rule(every_ms=60_000, overlap="buffer"))
    world.clock.advance(60_000)
    await calendar.fire()
    held = world.clock.advance(60_000)
    assert await calendar.fire() == Fired(1, 0)
    world.clock.advance(1_000)
    assert await calendar.fire() == Fired(1, 0)
    await world.settle(await world.claim_one())
    world.clock.advance(1_000)
    assert await calendar.fire() == Fired(1, 1)
    assert {task.fire_at for task in await calendar.tasks(owner)} == {held - 60_000, held}
    assert await world.store.next_look() == held + 60_000
    assert (await calendar.read(made))[0].buffered_at is None


@pytest.mark.parametrize("running", [False, True])
async def test_cancel_revokes_the_one_before(world: World, calendar: Calendar, owner: Owner, running: bool) -> None:
    await calendar.make(owner, "impatient", Rule(every_ms=1_000, overlap="cancel"))
    await world.listening()
    world.clock.advance(1_000)
    await calendar.fire()
    if world.adapter.hears:
        assert await world.store.wait(60) == Hints(world.now)
    claims = await world.claim() if running else []
    world.clock.advance(1_000)
    assert await calendar.fire() == Fired(1, 1)
    if world.adapter.hears:
        assert await world.store.wait(60) == Hints(world.now, cancelled=running)
    old, new = sorted(await calendar.tasks(owner), key=lambda task: task.fire_at)
    assert (old.state, new.state) == (State.REVOKED, State.AVAILABLE)
    assert await world.store.held([(claim.ref, claim.lease) for claim in claims]) == set()
    assert len(await world.store.attempts(owner.id, old.id)) == len(claims)
    (event,) = await world.store.events(owner.id, old.id)
    assert (event.kind, event.detail) == ("revoke", "the next run of its schedule took its place")
    assert await world.in_queue(owner) == 1
    await world.check_counters()


async def test_cancel_makes_the_room_it_needs(world: World, calendar: Calendar) -> None:
    small = await world.owner(limit=1)
    await calendar.make(small, "impatient", Rule(every_ms=1_000, overlap="cancel"))
    for _ in range(3):
        world.clock.advance(1_000)
        assert await calendar.fire() == Fired(1, 1)
    assert await world.in_queue(small) == 1
    await world.check_counters()


# Damage, and what is left


async def test_a_damaged_template_stops_its_schedule_alone(world: World, calendar: Calendar, owner: Owner) -> None:
    bad = await calendar.make(owner, "bad", Rule(every_ms=1_000))
    good = await calendar.make(owner, "good", Rule(every_ms=1_000))
    blank = world.adapter.blob(bytes(60))
    await world.query(f"UPDATE schedule SET template = {blank} WHERE id = '{bad.id}'")
    at = world.clock.advance(1_000)
    fired = await calendar.fire()
    ((schedule_id, missed),) = fired.missed
    assert (fired.schedules, fired.tasks, schedule_id) == (2, 1, bad.id)
    assert (missed.first_at, missed.last_at, missed.reason) == (at, at, "unreadable")
    assert missed.why.startswith("what the schedule makes its tasks from cannot be read: it is ")
    assert {task.schedule for task in await calendar.tasks(owner)} == {good.id}
    assert [one.standing for one in await world.store.schedules(owner.id, "", 10)] == ["paused", "active"]
    shown = await world.store.schedule(owner.id, bad.id)
    assert shown is not None
    assert (shown[0].unreadable, shown[1]) == (missed.why, b"")
    assert await world.store.delete_schedule(owner.id, bad.id)


async def test_facts_that_cannot_be_read_stop_their_schedule_alone(
    world: World, calendar: Calendar, owner: Owner
) -> None:
    bad = await calendar.make(owner, "bad", Rule(every_ms=1_000))
    await calendar.make(owner, "good", Rule(every_ms=1_000))
    await world.query(f"UPDATE schedule SET facts = '[]' WHERE id = '{bad.id}'")
    world.clock.advance(1_000)
    assert (await calendar.fire()).tasks == 1
    assert await world.store.next_look() == world.now + 1_000


# Versions of what is stored


async def test_facts_of_before_there_were_versions_are_what_they_were(
    world: World, calendar: Calendar, owner: Owner
) -> None:
    made = await calendar.make(owner, "old", Rule(every_ms=1_000))
    old = (
        f'{{"id":"{made.id}","owner":"{owner.id}","name":"old","rule":{{"every_ms":1000}},"created_at":{made.created_at},'
        f'"updated_at":{made.updated_at},"anchor_at":{made.anchor_at},"next_fire_at":{made.next_fire_at}}}'
    )
    await world.query(f"UPDATE schedule SET facts = '{old}' WHERE id = '{made.id}'")
    (found, _) = await calendar.read(made)
    assert found == made
    defaults = (found.rule.timezone, found.rule.jitter_ms, found.rule.missed, found.rule.missed_window_ms)
    assert (*defaults, found.rule.overlap) == ("UTC", 0, "once", 86_400_000, "allow")
    world.clock.advance(1_000)
    assert (await calendar.fire()).tasks == 1
    (facts,) = await world.query("SELECT facts FROM schedule")
    assert facts[0].startswith('1{"id":')
    assert '"overlap":"allow"' in facts[0], "nothing of the rule is left to a default"


@pytest.mark.parametrize("part", ["facts", "template"])
async def test_what_a_newer_version_stored_is_left_to_it(
    world: World, calendar: Calendar, owner: Owner, part: str
) -> None:
    newer = Template(TEMPLATE.request, TEMPLATE.config, TEMPLATE.target)
    template = bytes([len(VERSIONS)]) + encode_template(newer)[1:]
    made = ScheduleChange(
        calendar.schedule(owner, "newer", Rule(every_ms=1_000)),
        template if part == "template" else encode_template(newer),
    )
    await world.store.change_schedule(owner.id, "newer", lambda _, __: made, 1_000)
    if part == "facts":
        await world.query("UPDATE schedule SET facts = '2' || substr(facts, 2)")
    for _ in range(2):
        world.clock.advance(1_000)
        assert await calendar.fire() == Fired(1, 0)
        assert await world.store.next_look() == world.now + 1_000
    if part == "facts":
        (found, _) = await calendar.read(made.schedule)
        assert found.lost
        assert "a newer version" in (found.unreadable or "")
        await world.query("UPDATE schedule SET facts = '1' || substr(facts, 2)")
    assert (await calendar.read(made.schedule))[0].standing == "active"


async def test_nothing_is_left_of_pruned_and_deleted_tasks(world: World, calendar: Calendar, owner: Owner) -> None:
    await calendar.make(owner, "leaves", Rule(every_ms=1_000))
    for _ in range(2):
        world.clock.advance(1_000)
        await calendar.fire()
    first, second = await calendar.tasks(owner)
    assert await world.store.delete(owner.id, first.id)
    await world.steer(second.id, lifecycle.revoke)
    assert await world.store.prune(world.now + 1, 100) >= 1
    rows = await world.adapter.rows(world.store)
    assert rows["schedule_run"] == rows["task"] == 0
    assert rows["schedule"] == 1


async def test_the_template_is_in_no_byte_of_the_store(world: World, calendar: Calendar, owner: Owner) -> None:
    if not world.adapter.shared:
        pytest.skip("in memory, there is nothing to steal")
    marker = "Zs3crEtMaRk3r"
    template = Template(
        HttpRequest(f"http://a.example/{marker}", "POST", headers={"Authorization": marker}, data=marker),
        TaskConfig(),
        "a.example:80",
        metadata={"of": marker},
    )
    await calendar.make(owner, "secret", Rule(every_ms=1_000), template)
    assert marker.encode() not in world.adapter.stored(world.folder)
    world.clock.advance(1_000)
    await calendar.fire()
    assert marker.encode() in world.adapter.stored(world.folder), "a task's metadata is searched, and so found"


async def test_a_change_is_a_hint(world: World) -> None:
    if not world.adapter.hears:
        pytest.skip("nothing is heard through a pooler of transactions")
    await world.listening()
    world.store.hint_schedules()
    world.store.hint_work(5)
    assert await world.store.wait(60) == Hints(5, schedules=True)
