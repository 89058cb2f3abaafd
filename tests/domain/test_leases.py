"""Leases end because nobody extends them, whatever clocks show."""

import pytest

from tasks_server.domain.leases import RENEWED_SECONDS, LeaseWatch, Seen, Sight, Vigil
from tasks_server.domain.limits import LEASE_MS

HOUR = 3_600_000
DAY = 24 * HOUR


class Rescuer:
    """One who looks every second, by a wall clock that is set now and then, at the leases that there are."""

    def __init__(self, now: int = 1_700_000_000_000) -> None:
        self.now, self.at = now, 100.0
        self.watch = LeaseWatch()
        self.leases: dict[int, Seen] = {}

    def give(self, ref: int) -> None:
        """The lease is given, or extended, by who reads the same clock."""
        self.leases[ref] = Seen(ref, ref, self.now + LEASE_MS)

    def passes(self, seconds: float = 1.0) -> None:
        self.now, self.at = self.now + round(seconds * 1_000), self.at + seconds

    def looks(self) -> set[int]:
        """The leases that are over."""
        sight = self.watch.sight(self.now, self.at)
        return {one.ref for one in self.watch.over([one for one in self.leases.values() if seen_by(sight, one)])}

    def until_over(self, ref: int) -> float:
        """How many seconds go by until this lease is over."""
        began = self.at
        while ref not in self.looks():
            self.passes()
            assert self.at - began < 1_000, "never"
        return self.at - began


def seen_by(sight: Sight, one: Seen) -> bool:
    return sight.floor <= one.until < sight.until and (one.until < sight.low or one.until > sight.high)


def test_a_lease_that_nobody_extends_is_over_after_its_time() -> None:
    rescuer = Rescuer()
    rescuer.give(1)
    assert LEASE_MS / 1_000 <= rescuer.until_over(1) <= LEASE_MS / 1_000 + 2


@pytest.mark.parametrize("by", [HOUR, -HOUR, DAY, -DAY, 90_000, -90_000, 20_000, -20_000])
def test_a_lease_that_is_extended_survives_any_clock(by: int) -> None:
    rescuer = Rescuer()
    rescuer.give(1)
    for second in range(200):
        rescuer.passes()
        rescuer.now += by if second in (33, 90) else 0
        if second % RENEWED_SECONDS == 0:
            rescuer.give(1)
        assert rescuer.looks() == set(), second


@pytest.mark.parametrize("by", [HOUR, -HOUR, DAY, -DAY, 20_000, -20_000])
@pytest.mark.parametrize("settled", [True, False])
def test_one_that_nobody_extends_ends_all_the_same(by: int, settled: bool) -> None:
    rescuer = Rescuer()
    for _ in range(100 if settled else 1):
        rescuer.looks()
        rescuer.passes()
    rescuer.give(1)
    rescuer.passes()
    rescuer.now += by
    assert rescuer.until_over(1) <= 2 * LEASE_MS / 1_000


def test_one_that_was_given_before_the_clock_went_back_and_is_seen_later_ends() -> None:
    """As a rescuer finds it that was started when the clock was right again."""
    rescuer = Rescuer()
    rescuer.leases[1] = Seen(1, 1, rescuer.now + HOUR)
    assert rescuer.until_over(1) <= LEASE_MS / 1_000


def test_who_was_held_up_has_not_seen_that_nobody_extends() -> None:
    rescuer = Rescuer()
    rescuer.give(1)
    for _ in range(14):
        rescuer.passes()
        rescuer.looks()
    rescuer.passes(300)
    assert rescuer.looks() == set()
    rescuer.give(1)
    rescuer.passes()
    assert rescuer.looks() == set()


def test_while_all_goes_well_only_what_was_given_lately_is_looked_at() -> None:
    rescuer = Rescuer()
    for _ in range(40):
        rescuer.passes()
        rescuer.looks()
    sight = rescuer.watch.sight(rescuer.now, rescuer.at)
    assert 0 < rescuer.now - sight.floor < 10 * LEASE_MS
    assert sight.until <= rescuer.now + LEASE_MS
    rescuer.now += HOUR
    assert rescuer.watch.sight(rescuer.now, rescuer.at).floor == 0  # what was given before lies further back


def test_a_vigil_begins_anew_when_a_thing_changes_or_was_gone() -> None:
    vigil: Vigil[str] = Vigil()
    assert vigil.look(["a", "b"], 10.0) == {"a": 0.0, "b": 0.0}
    assert vigil.look(["a"], 12.0) == {"a": 2.0}
    assert vigil.look(["a", "b"], 13.0) == {"a": 3.0, "b": 0.0}
