"""Gates, by property: whoever explains says the same as the engine's shares; and the cases with several engines."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from tasks_server.domain import gates
from tasks_server.domain.engines import Engine, EngineFacts, KnownHandler, Repertoire, Trouble
from tasks_server.domain.gate import KINDS, Gate
from tasks_server.domain.request import HttpRequest, TaskConfig, TaskSpec
from tasks_server.domain.situation import Ahead, InWork, Situation
from tasks_server.domain.slots import Held, Slots
from tasks_server.domain.task import State, Task
from tasks_server.engine.shares import share, within_runs
from tasks_server.store.ports import Group

NOW = 1_700_000_000_000
TARGETS = ["a:80", "b:80", "@mail", "@print", "@curl"]


def engine(number: int, slots: Slots, **more: object) -> Engine:
    handlers = [KnownHandler(name[1:], concurrency_max=most) for name, most in slots.target_maxes.items()]
    facts = EngineFacts(
        f"host-{number}",
        number,
        "1",
        slots.total,
        slots.owner_max,
        slots.target_max,
        Repertoire(True, (KnownHandler("curl"), *handlers)),
        slots.runs_max,
    )
    return Engine(number, NOW, NOW, True, msgspec.structs.replace(facts, **more))


def situation(target: str, engines: list[Engine], in_work: list[InWork], ahead: Ahead | None = None) -> Situation:
    task = Task("id", "owner", "default", State.AVAILABLE, 0, NOW, NOW, NOW, target=target)
    spec = TaskSpec(HttpRequest("http://a/", "GET"), TaskConfig())
    return Situation(NOW, task, spec, engines, in_work, ahead=ahead or Ahead())


def names(found: list[Gate]) -> list[str]:
    return [gate.gate for gate in gates.closed(found)]


SLOTS = st.builds(
    Slots,
    total=st.integers(1, 12),
    owner_max=st.integers(1, 12),
    target_max=st.integers(1, 12),
    target_maxes=st.fixed_dictionaries({"@mail": st.integers(1, 4), "@print": st.integers(1, 4)}),
    runs_max=st.none() | st.integers(1, 5),
)
COUNTS = st.lists(st.tuples(st.sampled_from(TARGETS), st.integers(1, 2), st.integers(1, 4)), max_size=5)


@given(SLOTS, COUNTS, st.sampled_from(TARGETS))
def test_a_gate_is_closed_exactly_where_the_engine_gives_no_place(
    slots: Slots, counts: list[tuple[str, int, int]], target: str
) -> None:
    owners: dict[int, int] = {}
    targets: dict[str, int] = {}
    in_work = []
    for where, owner, count in counts:
        owners[owner] = owners.get(owner, 0) + count
        targets[where] = targets.get(where, 0) + count
        in_work.append(InWork(1, where, count, count if owner == 1 else 0))
    held = Held(sum(owners.values()), owners, targets)
    given_places = within_runs(share([Group(1, 1, 9, target)], slots, held), slots, held)
    found = gates.gates(situation(target, [engine(1, slots)], in_work))
    assert bool(names(found)) == (not given_places)
    assert set(names(found)) <= {"slots", "owner_share", "host", "handler_limit"}


@given(st.lists(SLOTS, min_size=1, max_size=3), COUNTS, st.sampled_from(TARGETS), st.integers(0, 20))
def test_with_several_engines_a_task_is_held_only_when_none_has_room(
    several: list[Slots], counts: list[tuple[str, int, int]], target: str, ahead: int
) -> None:
    engines = [engine(number, slots) for number, slots in enumerate(several, 1)]
    in_work = [
        InWork(index % len(engines) + 1, where, count, count if owner == 1 else 0)
        for index, (where, owner, count) in enumerate(counts)
    ]
    asked = situation(target, engines, in_work, Ahead(earlier=ahead))
    alone = [situation(target, [one], in_work) for one in engines]
    free = [not names(gates.gates(each)) for each in alone]
    found = gates.gates(asked)
    closed = names(found)
    assert bool(set(closed) - {"ahead"}) == (not any(free))
    assert list(KINDS).index(found[0].gate) == min(list(KINDS).index(gate.gate) for gate in found)
    if closed:
        text = next(gate.text for gate in found if gate.closed)
        assert gates.summary(found).lower().startswith(text.lower())


def test_one_engine_full_of_calls_and_another_full_of_one_host() -> None:
    full, busy = engine(1, Slots(2, 2, 2)), engine(2, Slots(9, 8, 1))
    in_work = [InWork(1, "x:80", 2, 0), InWork(2, "a:80", 1, 1)]
    found = gates.gates(situation("a:80", [full, busy], in_work))
    assert names(found) == ["slots", "host"]
    assert names(gates.gates(situation("b:80", [full, busy], in_work))) == []


def test_trouble_of_one_engine_is_none_while_another_reaches_the_database() -> None:
    well, ill = engine(1, Slots.of(4, 4)), engine(2, Slots.of(4, 4), trouble=Trouble("claim", "store_busy"))
    assert names(gates.gates(situation("a:80", [well, ill], []))) == []
    assert names(gates.gates(situation("a:80", [ill], []))) == ["database"]


def test_an_engine_that_stops_or_is_gone_or_silent_does_not_count() -> None:
    slots = Slots.of(4, 4)
    gone = msgspec.structs.replace(engine(1, slots), lives=False)
    silent = msgspec.structs.replace(engine(2, slots), seen_at=NOW - 60_000)
    stopped = engine(3, slots, stopped_at=NOW - 1)
    for engines in ([gone], [silent], [stopped], [gone, silent, stopped], []):
        assert names(gates.gates(situation("a:80", engines, [])))[0] == "engine"
    assert names(gates.gates(situation("a:80", [engine(4, slots), gone, silent, stopped], []))) == []


def test_a_bounded_count_says_that_there_may_be_more() -> None:
    found = gates.gates(situation("a:80", [engine(1, Slots.of(4, 4))], [], Ahead({"b:80": 1}, earlier=10_000)))
    (gate,) = gates.closed(found)
    assert gate.text == (
        "at least 10001 tasks of its owner go first: 1 more urgent in its lane, 10000 due earlier to the same target"
    )
    assert gates.estimate(situation("a:80", [], []), found) is None
