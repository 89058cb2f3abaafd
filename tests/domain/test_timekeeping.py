"""What is known of a clock by who looks at it now and then."""

from hypothesis import given
from hypothesis import strategies as st

from tasks_server.domain import limits
from tasks_server.domain.timekeeping import Timekeeping, Walk, kept, walked

NOW = 1_700_000_000_000
FAR = Walk("tasks", 77, NOW)
far_back = st.integers(limits.CLOCK_SET_MS + 1, limits.DAY_MS)


@given(far_back, st.sampled_from([None, Walk(), FAR]))
def test_who_was_not_there_finds_that_it_was_set_back_also_in_the_midst_of_putting_right(
    by: int, walk: Walk | None
) -> None:
    found = kept(Timekeeping(shown_at=NOW, walk=walk), NOW - by)
    assert (found.set_ms, found.set_at, found.walk) == (-by, NOW - by, Walk())
    assert kept(walked(found, FAR), NOW - by).walk == FAR, "it is found once"


@given(far_back)
def test_what_happens_between_the_last_look_and_the_end_of_putting_right_is_found(by: int) -> None:
    done = walked(kept(Timekeeping(shown_at=NOW, walk=FAR), NOW + 1), None)
    assert kept(done, NOW - by).walk == Walk()


@given(st.integers(-limits.CLOCK_SET_MS, limits.DAY_MS))
def test_time_that_goes_by_and_a_leap_second_are_nothing(by: int) -> None:
    assert kept(Timekeeping(shown_at=NOW), NOW + by) == Timekeeping(shown_at=NOW + by)


@given(st.integers(limits.CLOCK_SET_MS + 1, limits.DAY_MS))
def test_set_ahead_it_is_doubtful_for_an_hour_and_nothing_is_put_right(by: int) -> None:
    found = kept(Timekeeping(shown_at=NOW), NOW + by, by)
    assert (found.set_ms, found.walk) == (by, None)
    assert found.set_ahead_lately(NOW + by + limits.HOUR_MS)
    assert not found.set_ahead_lately(NOW + by + limits.HOUR_MS + 1)


def test_all_is_put_right_once_more_for_what_came_late() -> None:
    known = walked(kept(Timekeeping(shown_at=NOW), NOW, -limits.HOUR_MS), None)
    for seconds in (5, 10, 14):
        assert kept(known, NOW + seconds * 1_000).walk is None
    again = kept(known, NOW + 15_000)
    assert (again.walk, again.again_at) == (Walk(), 0)
    assert kept(walked(again, None), NOW + 60_000).walk is None
