"""The laws of the simulation: what must hold whatever was measured, and that each limit can be the one."""

import itertools
import math
from typing import Any

import pytest
from bench.simulate_scale import MEANINGS, Assumed, Measured, Part, World
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import fields, replace

from bench import simulate_scale

FOUND = Measured(
    api=Part(25, 1_000),
    engine=Part(65, 600),
    database=Part(55, 900),
    round_ms=3.5,
    late_p50_ms=1.0,
    late_p99_ms=12.0,
    connections_per_process=4,
    wal_bytes_per_task=2_500,
    scheduled_bytes=900,
    finished_bytes=1_500,
)
NODES = st.integers(1, 300)


def world(nodes: int = 1, clusters: int = 1, scheduled: int = 10**9, **assumed: Any) -> World:
    return World(FOUND, replace(Assumed(), **assumed), nodes, clusters, scheduled)


@given(NODES)
def test_more_nodes_never_do_less_until_the_database_is_at_a_limit(nodes: int) -> None:
    fewer, more = world(nodes), world(nodes + 1)
    if more.rate_max() < fewer.rate_max() * (1 - 1e-9):
        assert more.limit(more.rate_max() or 1.0) != "CPU of the nodes"


@given(st.integers(1, 40), st.floats(1, 1e5), st.floats(1.01, 3))
@settings(deadline=None)
def test_more_tasks_bring_every_limit_nearer(nodes: int, rate: float, factor: float) -> None:
    some, more = world(nodes).loads(rate), world(nodes).loads(rate * factor)
    assert {name for name in some if more[name] < some[name] * (1 - 1e-9)} == set()


@given(st.integers(1, 300), st.integers(1, 20))
def test_more_databases_never_do_less(nodes: int, clusters: int) -> None:
    # Their parts of the nodes may be smaller than one; owners cannot be spread more thinly than that.
    if clusters < nodes:
        assert world(nodes, clusters + 1).rate_max() >= world(nodes, clusters).rate_max() * (1 - 1e-9)


@given(NODES)
def test_nothing_is_over_its_limit_at_the_most_and_something_is_beyond(nodes: int) -> None:
    chosen = world(nodes)
    most = chosen.rate_max()
    if most:
        assert max(chosen.loads(most).values()) <= 1
        assert max(chosen.loads(most * 1.01).values()) > 1
    else:
        assert max(chosen.loads(1.0).values()) > 1


@given(st.integers(1, 30), st.lists(st.floats(0.05, 0.99), min_size=2, max_size=5))
def test_lateness_grows_with_the_load_and_never_falls_below_what_was_measured(nodes: int, shares: list[float]) -> None:
    chosen = world(nodes)
    most = chosen.rate_max()
    lates = [chosen.late_ms(most * share) for share in sorted(shares)]
    for (p50, p99), (later_p50, later_p99) in itertools.pairwise(lates):
        assert later_p50 >= p50 * (1 - 1e-9)
        assert later_p99 >= p99 * (1 - 1e-9)
    assert all(p99 > p50 >= FOUND.late_p50_ms and math.isfinite(p99) for p50, p99 in lates)


@pytest.mark.parametrize(
    ("limit", "chosen"),
    [
        ("CPU of the nodes", world(1)),
        ("CPU of the database", world(10, database_cores=2)),
        ("NOTIFY", world(10, notify_per_second_max=100)),
        ("log of the database", world(10, wal_bytes_per_second_max=1e6)),
        ("vacuum", world(10, vacuum_bytes_per_second=1e6)),
        ("disk", world(10, scheduled=17 * 10**9)),
        ("connections", world(10, connections_max=100)),
    ],
)
def test_each_limit_can_be_the_one(limit: str, chosen: World) -> None:
    assert chosen.limit(chosen.rate_max() or 1.0) == limit


def test_tasks_that_come_alone_cost_what_was_measured_alone() -> None:
    part = Part.fit(many=50, alone=900)
    assert part.us(1) == 900
    assert part.us(10**9) == pytest.approx(50)
    assert world(1).batch(1.0) == 1


def test_a_billion_scheduled_tasks_take_their_place_on_disk() -> None:
    assert world(1).disk_bytes(0) == 900e9
    assert world(1).dollars_month(1_000) - world(1, scheduled=0).dollars_month(1_000) == pytest.approx(2 * 900 * 0.12)


def test_every_assumption_is_told() -> None:
    assert {field.name for field in fields(Assumed)} == set(MEANINGS)
    told = simulate_scale.assumptions(world())
    assert [meaning for meaning in MEANINGS.values() if meaning not in told] == []
    assert told.count("| measured |") == 9


def test_what_is_told_has_a_row_for_each_world() -> None:
    chosen = simulate_scale.worlds(FOUND, Assumed())
    assert {one.nodes for one in chosen} == {1, 10, 100}
    assert len(simulate_scale.predictions(chosen).splitlines()) == len(chosen) + 2
    assert len(simulate_scale.breaking(world(10)).splitlines()) == len(world().loads(1.0)) + 1
