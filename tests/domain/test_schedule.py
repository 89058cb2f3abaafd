"""What a look at a schedule decides, and how its owner steers it."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks_server.domain import ids, limits, schedule, turns
from tasks_server.domain.schedule import MissedRuns, Rule, Schedule
from tasks_server.domain.turns import Decision

NOW = 1_700_000_000_000
ID = ids.task_id(NOW, bytes(range(9)))
MINUTE = 60_000
LATE = limits.SCHEDULE_LATE_MS


def made(at: int = NOW, **rule: Any) -> Schedule:
    """An active schedule, every minute unless told otherwise."""
    known = Rule(**({"every_ms": MINUTE} | rule)) if "cron" not in rule else Rule(**rule)
    return schedule.begin(Schedule(ID, "owner", "name", known, at, at, known.start_at or at), at)


def look(found: Schedule, now: int, unfinished: bool = False, room: int = 1_000) -> Decision:
    return turns.decide(found, now, now, unfinished, room)


def minutes(*numbers: int) -> tuple[int, ...]:
    return tuple(NOW + number * MINUTE for number in numbers)


# When it fires


def test_intervals_count_from_the_making_or_from_the_start() -> None:
    assert made().next_fire_at == NOW + MINUTE
    assert made(start_at=NOW + 5).next_fire_at == NOW + 5
    assert made(start_at=NOW - 5 * MINUTE - 1).next_fire_at == NOW + MINUTE - 1


def test_nothing_fires_before_the_start_or_after_the_end() -> None:
    found = made(cron="0 0 * * *", start_at=NOW + 10 * limits.DAY_MS, end_at=NOW + 13 * limits.DAY_MS)
    times = schedule.preview(found, NOW, 100)
    assert len(times) == 3
    assert times[0] >= NOW + 10 * limits.DAY_MS
    assert times[-1] <= NOW + 13 * limits.DAY_MS


def test_both_ends_belong_to_it() -> None:
    found = made(start_at=NOW + MINUTE, end_at=NOW + 3 * MINUTE)
    assert tuple(schedule.preview(found, NOW, 100)) == minutes(1, 2, 3)


def test_a_preview_ends_with_the_runs_that_are_left() -> None:
    assert tuple(schedule.preview(made(runs_max=2), NOW, 100)) == minutes(1, 2)
    assert len(schedule.preview(made(), NOW, 100)) == 100


# Looks


def test_what_has_not_come_is_left_alone() -> None:
    found = made()
    after = look(found, NOW + MINUTE - 1)
    assert (after.fires, after.schedule.next_fire_at) == ((), NOW + MINUTE)


def test_what_has_come_fires_once() -> None:
    once = look(made(), NOW + MINUTE)
    assert once.fires == minutes(1)
    assert (once.schedule.runs, once.schedule.next_fire_at) == (1, NOW + 2 * MINUTE)
    assert once.schedule.last_task == schedule.task_id(ID, NOW + MINUTE)
    assert look(once.schedule, NOW + MINUTE).fires == ()


def test_a_little_late_is_not_missed() -> None:
    assert look(made(missed="skip"), NOW + MINUTE + LATE).fires == minutes(1)
    short = look(made(every_ms=1_000, missed="skip"), NOW + 3_000)
    assert short.fires == (NOW + 1_000, NOW + 2_000, NOW + 3_000)


@pytest.mark.parametrize("rule", [{"every_ms": MINUTE}, {"cron": "* * * * *"}])
def test_after_ten_minutes_without_an_engine(rule: dict[str, Any]) -> None:
    start = made(**rule).next_fire_at or 0
    now = start + 9 * MINUTE + 30_000  # ten have passed, the last one half a minute ago
    passed = tuple(start + number * MINUTE for number in range(10))

    skipped = look(made(**rule, missed="skip"), now)
    assert skipped.fires == ()
    assert skipped.missed == (MissedRuns(passed[0], passed[-1], "late"),)

    once = look(made(**rule, missed="once"), now)
    assert once.fires == passed[-1:]
    assert once.missed == (MissedRuns(passed[0], passed[-2], "late"),)

    every = look(made(**rule, missed="all"), now)
    assert (every.fires, every.missed) == (passed, ())

    for decision in (skipped, once, every):
        assert decision.schedule.next_fire_at == start + 10 * MINUTE
        assert decision.schedule.fired_at == passed[-1]


def test_once_needs_no_more_than_the_one_that_is_on_time() -> None:
    once = look(made(missed="once"), NOW + 5 * MINUTE)
    assert once.fires == minutes(5)
    assert once.missed == (MissedRuns(*(NOW + n * MINUTE for n in (1, 4)), "late"),)


@pytest.mark.parametrize(("missed", "fires"), [("once", ()), ("all", (8, 9, 10))])
def test_beyond_the_window_nothing_is_made_up_for(missed: str, fires: tuple[int, ...]) -> None:
    found = made(missed=missed, missed_window_ms=3 * MINUTE)
    decision = look(found, NOW + 10 * MINUTE + 30_000)
    assert decision.fires == (minutes(*fires) or minutes(10))
    if missed == "all":
        assert decision.missed == (MissedRuns(*minutes(1, 7), "window"),)
    narrow = look(made(missed=missed, missed_window_ms=10_000), NOW + 10 * MINUTE + 30_000)
    assert narrow.fires == ()
    assert narrow.missed == (MissedRuns(*minutes(1, 10), "window"),)


def test_a_long_way_is_gone_in_steps() -> None:
    found, fires = made(every_ms=1_000, missed="all"), list[int]()
    now = NOW + 1_000_000
    while (found.look_at or 0) <= now:
        decision = look(found, now)
        assert len(decision.fires) <= limits.SCHEDULE_FIRES_MAX
        assert decision.schedule.fired_at > found.fired_at
        fires += decision.fires
        found = decision.schedule
    assert fires == [NOW + number * 1_000 for number in range(1, 1_001)]


def test_a_year_without_an_engine_costs_one_look() -> None:
    for expression in ("* * * * * *", "0 12 * * MON", "* * 0-11 * * *"):
        found = made(cron=expression, missed="once")
        now = NOW + 365 * limits.DAY_MS
        decision = look(found, now)
        assert decision.missed[-1].first_at == found.next_fire_at
        following = decision.schedule.next_fire_at
        assert following is not None
        assert following > now
        assert schedule.next_fire(found.rule, NOW, decision.missed[-1].last_at) in {*decision.fires, following}


def test_it_ends_with_its_last_run() -> None:
    decision = look(made(runs_max=3, missed="all"), NOW + 10 * MINUTE)
    assert decision.fires == minutes(1, 2, 3)
    assert (decision.schedule.standing, decision.schedule.look_at) == ("ended", None)
    assert schedule.begin(decision.schedule, NOW + 11 * MINUTE).standing == "ended"


def test_it_ends_with_its_last_fire_time() -> None:
    decision = look(made(end_at=NOW + MINUTE), NOW + MINUTE)
    assert (decision.fires, decision.schedule.standing) == (minutes(1), "ended")


def test_a_full_queue_is_told() -> None:
    decision = look(made(missed="all"), NOW + 4 * MINUTE, room=1)
    assert decision.fires == minutes(1)
    assert decision.missed == (MissedRuns(*minutes(2, 4), "queue_full"),)
    assert (decision.schedule.runs, decision.schedule.missed) == (1, decision.missed[0])
    assert look(made(), NOW + MINUTE, room=-5).fires == ()


# Overlap


def test_skip_leaves_out_what_meets_an_unfinished_task() -> None:
    decision = look(made(overlap="skip"), NOW + MINUTE, unfinished=True)
    assert (decision.fires, decision.missed) == ((), (MissedRuns(*minutes(1, 1), "overlap"),))
    assert look(made(overlap="skip"), NOW + MINUTE).fires == minutes(1)
    several = look(made(overlap="skip", missed="all"), NOW + 3 * MINUTE)
    assert (several.fires, several.missed) == (minutes(1), (MissedRuns(*minutes(2, 3), "overlap"),))


def test_buffer_holds_one() -> None:
    held = look(made(overlap="buffer"), NOW + MINUTE, unfinished=True)
    assert (held.fires, held.missed, held.schedule.buffered_at) == ((), (), NOW + MINUTE)
    assert held.schedule.look_at == NOW + MINUTE + limits.SCHEDULE_BUFFER_LOOK_MS
    still = look(held.schedule, NOW + 2 * MINUTE, unfinished=True)
    assert still.schedule.buffered_at == NOW + MINUTE
    assert still.missed == (MissedRuns(*minutes(2, 2), "overlap"),)
    freed = look(still.schedule, NOW + 2 * MINUTE + 1_000)
    assert (freed.fires, freed.schedule.buffered_at) == (minutes(1), None)


def test_a_held_one_counts_among_the_runs() -> None:
    held = look(made(overlap="buffer", runs_max=1), NOW + MINUTE, unfinished=True).schedule
    later = look(held, NOW + 5 * MINUTE, unfinished=True)
    assert (later.fires, later.missed, later.schedule.buffered_at) == (
        (),
        (),
        NOW + MINUTE,
    )
    assert look(later.schedule, NOW + 5 * MINUTE).schedule.standing == "ended"


def test_a_held_one_outlives_the_last_fire_time() -> None:
    held = look(made(overlap="buffer", end_at=NOW + MINUTE), NOW + MINUTE, unfinished=True).schedule
    assert (held.next_fire_at, held.standing) == (None, "active")
    freed = look(held, NOW + 2 * MINUTE)
    assert (freed.fires, freed.schedule.standing) == (minutes(1), "ended")


@pytest.mark.parametrize("missed", ["skip", "once", "all"])
def test_a_held_one_that_takes_the_last_run_leaves_none_for_those_after_it(missed: str) -> None:
    held = look(made(overlap="buffer", missed=missed, runs_max=1), NOW + MINUTE, unfinished=True).schedule
    assert held.look_at == NOW + MINUTE + limits.SCHEDULE_BUFFER_LOOK_MS
    waits = look(held, NOW + 9 * MINUTE, unfinished=True).schedule
    assert waits.look_at == NOW + 9 * MINUTE + limits.SCHEDULE_BUFFER_LOOK_MS
    freed = look(waits, NOW + 10 * MINUTE)
    assert (freed.fires, freed.missed, freed.schedule.standing) == (minutes(1), (), "ended")
    refused = look(waits, NOW + 10 * MINUTE, room=0)
    assert (refused.fires, refused.missed[0].reason) == ((), "queue_full")
    assert refused.schedule.next_fire_at == NOW + 2 * MINUTE


def test_cancel_takes_the_newest() -> None:
    decision = look(made(overlap="cancel", missed="all"), NOW + 3 * MINUTE, unfinished=True, room=0)
    assert (decision.fires, decision.cancels) == (minutes(3), True)
    assert decision.missed == (MissedRuns(*minutes(1, 2), "overlap"),)
    assert not look(made(overlap="cancel"), NOW + MINUTE).cancels
    assert not look(made(overlap="cancel"), NOW, unfinished=True).cancels


# Steering


def test_a_paused_one_goes_on_from_where_it_is_resumed() -> None:
    paused = schedule.pause(made(), NOW + 5)
    assert (paused.standing, paused.look_at, paused.next_fire_at) == ("paused", None, None)
    assert schedule.pause(paused, NOW + 9) is paused
    resumed = schedule.resume(paused, NOW + 10 * MINUTE + 1)
    assert (resumed.standing, resumed.next_fire_at) == ("active", NOW + 11 * MINUTE)
    assert schedule.resume(resumed, NOW) is resumed


def test_one_that_fired_by_a_clock_that_was_ahead_goes_on_from_now() -> None:
    """By pause and resume, and when it is put right. What has its task gets no other."""
    after = look(made(), NOW + MINUTE).schedule
    for again in (
        schedule.resume(schedule.pause(after, NOW + 30_000), NOW + 30_000),
        schedule.put_right(after, NOW + 30_000),
    ):
        assert again.next_fire_at == NOW + MINUTE
        for has, fires in ((True, ()), (False, (NOW + MINUTE,))):
            decision = turns.decide(again, NOW + MINUTE, NOW + MINUTE, False, 9, {NOW + MINUTE: has}.__getitem__)
            assert (decision.fires, decision.schedule.next_fire_at) == (fires, NOW + 2 * MINUTE)
            assert decision.schedule.runs == after.runs + len(fires)


def test_nothing_is_put_right_while_the_clock_goes_as_it_went() -> None:
    """Nor for a leap second, nor for one that is paused."""
    after = look(made(), NOW + MINUTE).schedule
    for now in (NOW + MINUTE, NOW + MINUTE - limits.CLOCK_SET_MS, NOW + MINUTE + limits.DAY_MS):
        assert schedule.put_right(after, now) is after
    paused = schedule.pause(after, NOW + MINUTE)
    assert schedule.put_right(paused, NOW - limits.DAY_MS) is paused


def test_what_cannot_be_read_is_paused() -> None:
    broken = msgspec.structs.replace(made(), rule=Rule(cron="no", timezone="Nowhere"))
    with pytest.raises(ValueError, match="not a time zone"):
        look(broken, NOW + 2 * MINUTE)
    given_up = turns.give_up(broken, NOW + 2 * MINUTE)
    assert given_up.schedule.standing == "paused"
    assert given_up.schedule.missed == MissedRuns(NOW + MINUTE, NOW + MINUTE, "unreadable")


# Names and jitter


def test_ids_come_from_the_schedule_and_the_fire_time() -> None:
    one = schedule.task_id(ID, NOW)
    assert one == schedule.task_id(ID, NOW)
    assert ids.is_task_id(one)
    assert one < schedule.task_id(ID, NOW + 1)
    assert one != schedule.task_id(ids.task_id(NOW, bytes(9)), NOW)


def test_jitter_is_the_same_for_all_and_spread() -> None:
    loose = made(jitter_ms=10_000)
    dues = [schedule.due_at(loose, NOW + number * MINUTE) - number * MINUTE - NOW for number in range(200)]
    assert dues == [schedule.due_at(loose, NOW + number * MINUTE) - number * MINUTE - NOW for number in range(200)]
    assert 0 <= min(dues) < 1_000
    assert 9_000 < max(dues) <= 10_000
    assert schedule.due_at(made(), NOW) == NOW


# Whatever happens


@given(
    missed=st.sampled_from(["skip", "once", "all"]),
    overlap=st.sampled_from(["skip", "allow", "buffer", "cancel"]),
    rule=st.sampled_from([{"every_ms": 1_000}, {"every_ms": 7_500}, {"cron": "*/3 * * * * *"}, {"cron": "* * * * *"}]),
    runs_max=st.sampled_from([None, 1, 5]),
    steps=st.lists(
        st.tuples(st.integers(0, 40_000), st.booleans(), st.sampled_from([0, 1, 1_000])), min_size=1, max_size=30
    ),
)
def test_each_fire_time_is_made_or_told_or_held_once(
    missed: str, overlap: str, rule: dict[str, Any], runs_max: int | None, steps: list[tuple[int, bool, int]]
) -> None:
    found = made(**rule, missed=missed, overlap=overlap, runs_max=runs_max)
    fires, untold, now = list[int](), list[MissedRuns](), NOW
    for wait, unfinished, room in steps:
        now += wait
        decision = look(found, now, unfinished, room)
        assert decision.schedule.fired_at >= found.fired_at
        fires += decision.fires
        untold += decision.missed
        found = decision.schedule
    assert len(fires) == len(set(fires)) == found.runs
    assert runs_max is None or found.runs <= runs_max
    ended = found.fired_at if found.standing == "ended" else min(now, (found.next_fire_at or now + 1) - 1)
    for at in _times(rule, ended):
        ways = [at in fires, at == found.buffered_at, any(part.first_at <= at <= part.last_at for part in untold)]
        assert sum(ways) == 1, (at, ways)


def _times(rule: dict[str, Any], until: int) -> list[int]:
    at, times = NOW, list[int]()
    while (following := schedule.next_fire(Rule(**rule), NOW, at)) is not None and following <= until:
        times.append(at := following)
    return times
