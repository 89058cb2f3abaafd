"""Many engines on one PostgreSQL: what was accepted is delivered; once, when nothing fails."""

import random
from collections.abc import Iterator

import pytest

from .cluster import Cluster, Part, cluster


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster(tmp_path_factory.mktemp("cluster"), engines=2) as found:
        yield found


def check(part: Part) -> None:
    assert part.accepted, part
    assert (part.missing, part.unfinished, part.early, part.unexplained) == (0, 0, 0, 0), part


@pytest.mark.process
def test_each_task_is_delivered_once_when_nothing_fails(made: Cluster) -> None:
    part = made.part(2_000, made.nothing)
    check(part)
    assert part.accepted == 2_000
    assert part.repeated == 0


@pytest.mark.process
def test_a_rolling_restart_repeats_nothing(made: Cluster) -> None:
    part = made.part(10**7, made.rolling_restart, pause_seconds=0.1)
    check(part)
    assert part.repeated == 0


@pytest.mark.process
def test_engines_that_die_lose_nothing(made: Cluster) -> None:
    part = made.part(10**7, made.sudden_deaths(2.5, 0.5, random.Random(7)), pause_seconds=0.1, wait_ms=200)
    check(part)
    assert part.repeated, part  # they died at work


@pytest.mark.process
def test_a_database_that_is_restarted_loses_nothing(made: Cluster) -> None:
    check(made.part(10**7, made.restarts(1, 1.0, 0.5), pause_seconds=0.1))
