"""Three servers on one database, killed in turn: each fire time of a schedule makes one task, which is run."""

from pathlib import Path

import pytest

from .schedules import run


@pytest.mark.process
@pytest.mark.parametrize("store", ["sqlite", "postgres"])
def test_each_fire_time_makes_one_task_whoever_is_killed(tmp_path: Path, store: str) -> None:
    found = run(tmp_path, schedules=20, seconds=4, kill_every=1.2, seed=20_261_121, store=store, kills_min=3)
    assert found.fire_times > 60, found.summary()
    assert found.tasks == found.fire_times, found.summary()
    assert not found.gaps, found.summary()
    assert not found.twice, found.summary()
    assert not found.told_as_missed, found.summary()
    assert not found.unfinished, found.summary()
    assert not found.unseen, found.summary()
    assert not found.early, found.summary()
