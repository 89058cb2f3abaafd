"""Lanes: how many tasks may start, by property: never more than bucket and rate allow in any window of time, and all
that they allow when there is a backlog.
"""

from fractions import Fraction
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks_server.domain import limits
from tasks_server.domain.lane import Lane, LaneFacts, LaneLimits, Room, burst_of, changed, look_at, room, take
from tasks_server.domain.task import State

NOW = 1_700_000_000_000
RATES = st.one_of(
    st.floats(limits.LANE_RATE_MIN, 1), st.floats(1, 1_000), st.floats(1_000, limits.LANE_RATE_MAX), st.integers(1, 99)
)
BURSTS = st.one_of(st.none(), st.integers(1, 20), st.integers(1, limits.LANE_BURST_MAX))


def lane(rate: float | None = None, burst: int | None = None, **more: int) -> LaneFacts:
    return LaneFacts(LaneLimits(rate=rate, burst=burst, concurrent_max=more.get("concurrent_max")))


def tokens(facts: LaneFacts, now: int) -> int:
    count = room(facts, now).count
    assert count is not None
    return count


@given(RATES, BURSTS, st.lists(st.tuples(st.integers(0, 5_000), st.integers(1, 50)), min_size=1, max_size=30))
def test_no_window_has_more_starts_than_the_burst_and_the_rate_times_its_length(
    rate: float, burst: int | None, steps: list[tuple[int, int]]
) -> None:
    facts, now = lane(rate, burst), NOW
    starts: list[tuple[int, int]] = []
    for wait, wanted in steps:
        now += wait
        count = min(wanted, tokens(facts, now))
        facts = take(facts, count, now)
        starts.append((now, count))
    most = burst_of(facts.limits)
    for first, (begin, _) in enumerate(starts):
        for (end, _), total in zip(starts[first:], accumulate(count for _, count in starts[first:]), strict=True):
            assert total <= most + Fraction(rate) * (end - begin) / 1_000 + Fraction(1, 1_000)


@given(RATES, BURSTS, st.integers(5, 60))
def test_a_backlog_that_is_looked_at_when_told_uses_the_whole_rate(rate: float, burst: int | None, looks: int) -> None:
    facts, now, total = lane(rate, burst), NOW, 0
    most = burst_of(facts.limits)
    for _ in range(looks):
        count = tokens(facts, now)
        facts = take(facts, count, now)
        total += count
        again = look_at(facts, now)
        assert again is not None
        assert again > now
        now = again
    total += tokens(facts, now)
    allowed = most + Fraction(rate) * (now - NOW) / 1_000
    slack = 1 + Fraction(rate) * looks / 1_000_000  # the remainder of a token, and a microsecond a look
    if most == 1 or rate > 500 * most:  # between two looks, more comes than the bucket holds
        slack += Fraction(rate) * looks / 1_000
    assert allowed - slack <= total <= allowed + Fraction(1, 1_000)


@given(RATES, BURSTS, st.integers(0, 10**6))
def test_there_is_room_again_when_it_was_said_and_not_before(rate: float, burst: int | None, wait: int) -> None:
    facts = take(lane(rate, burst), burst_of(LaneLimits(rate=rate, burst=burst)), NOW)
    found = room(facts, NOW)
    if found.count:
        return  # so high a rate that a token comes within the microsecond
    assert found.why == "rate"
    assert found.again_at is not None
    assert tokens(facts, found.again_at) >= 1
    assert tokens(facts, found.again_at - 2) == 0
    gathered = look_at(facts, NOW)
    assert gathered is not None
    assert found.again_at <= max(gathered, NOW + 1)
    assert gathered - found.again_at <= limits.LANE_GATHER_MS
    assert tokens(facts, found.again_at + wait) <= burst_of(facts.limits)


def test_places_are_what_the_running_leave() -> None:
    few = LaneLimits(concurrent_max=3)
    assert [room(LaneFacts(few, running=running), NOW) for running in (0, 2)] == [Room(3), Room(1)]
    for running in (3, 4):
        full = LaneFacts(few, running=running)
        assert room(full, NOW) == Room(0, "concurrency")
        assert look_at(full, NOW) == NOW + limits.LANE_LOOK_MS


def test_the_tighter_limit_counts() -> None:
    both = lane(10, 5, concurrent_max=3)
    assert room(both, NOW) == Room(3)
    assert room(take(both, 3, NOW), NOW) == Room(0, "concurrency")
    emptied = take(lane(10, 2, concurrent_max=3), 2, NOW)
    assert room(emptied, NOW) == Room(0, "rate", NOW + 100)


def test_without_limits_there_is_no_bound() -> None:
    assert room(LaneFacts(LaneLimits(), running=10**9), NOW) == Room()


def test_a_paused_lane_starts_nothing_and_nobody_looks() -> None:
    paused = LaneFacts(LaneLimits(concurrent_max=5, rate=1, paused_at=NOW, paused_by="owner"))
    assert room(paused, NOW) == Room(0, "paused")
    assert look_at(paused, NOW) is None


def test_high_rates_are_looked_at_a_few_milliseconds_apart() -> None:
    emptied = take(lane(100_000, 1_000), 1_000, NOW)
    assert room(emptied, NOW).again_at == NOW + 1
    again = look_at(emptied, NOW)
    assert again == NOW + limits.LANE_GATHER_MS
    assert tokens(emptied, again) == 500


@pytest.mark.parametrize(
    ("after", "left"),
    [
        (LaneLimits(rate=100, burst=10), 6),  # four were missing
        (LaneLimits(rate=0.5, burst=10), 6),
        (LaneLimits(rate=10, burst=3), 0),
        (LaneLimits(rate=10, burst=20), 16),
        (LaneLimits(rate=10, burst=10, concurrent_max=5), 5),
    ],
)
def test_a_change_of_the_rate_keeps_the_missing_tokens(after: LaneLimits, left: int) -> None:
    facts = changed(take(lane(10, 10), 4, NOW), after, NOW)
    assert room(LaneFacts(facts.limits, facts.full_at), NOW).count == left


def test_a_lane_that_had_a_rate_of_one_a_day_is_not_held_up_by_it() -> None:
    slow = take(lane(1 / 86_400, 1), 1, NOW)
    assert room(changed(slow, LaneLimits(rate=10, burst=1), NOW), NOW).again_at == NOW + 100
    assert room(changed(slow, LaneLimits(concurrent_max=9), NOW), NOW).count == 8
    assert room(changed(changed(slow, LaneLimits(), NOW), LaneLimits(rate=1, burst=3), NOW), NOW).count == 3


def test_a_clock_that_was_put_back_does_not_stop_a_lane() -> None:
    """It goes on at its rate, at once; how many tokens there really are, nobody knows."""
    for by_ms in (2_000, 10 * limits.DAY_MS):
        ahead = take(lane(10, 5), 5, NOW + by_ms)
        assert tokens(ahead, NOW) == 1
        after = take(ahead, 1, NOW)
        assert [tokens(after, NOW + ms) for ms in (0, 99, 100, 500)] == [0, 0, 1, 5]
    a_little = take(lane(10, 5), 5, NOW + 10)
    assert tokens(a_little, NOW) == 0


def test_what_is_in_queue_is_what_is_not_final() -> None:
    counts = {State.AVAILABLE: 2, State.RUNNING: 1, State.PAUSED: 3, State.COMPLETED: 40, State.REVOKED: 1}
    assert Lane("mail", counts=counts).in_queue == 6
