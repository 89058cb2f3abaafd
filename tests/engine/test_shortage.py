"""An engine whose machine runs out of descriptors or ports takes fewer tasks, and loses none."""

from tasks_server.clock import ManualClock
from tasks_server.domain.attempt import PORTS, Outcome, OutcomeKind
from tasks_server.domain.slots import Slots
from tasks_server.domain.task import State
from tasks_server.engine.loop import EngineConfig
from tasks_server.engine.shortage import Shortage
from tasks_server.telemetry import Telemetry

from .shop import OpenShop

SHORT = Outcome(OutcomeKind.INTERRUPTED, error="given back", lacking="file descriptors of the process")


async def test_a_task_that_could_not_be_sent_comes_back_uncounted_and_later(open_shop: OpenShop) -> None:
    shop = await open_shop(EngineConfig(concurrency_max=100, per_target_max=100))
    ids = [await shop.submit(target=f"{number}.example:80") for number in range(40)]
    tokens = await shop.look()
    assert len(tokens) == 40
    for token in tokens[20:]:
        shop.caller.end(token, SHORT)
    await shop.settle()
    states = [(await shop.task(task_id)).state for task_id in ids]
    assert (states.count(State.RUNNING), states.count(State.AVAILABLE)) == (20, 20)
    assert {(await shop.task(task_id)).failures for task_id in ids} == {0}
    assert 0 < await shop.engine.dispatcher.look() <= 1.0, "nothing is taken for a moment"
    assert len(shop.caller.sent) == 20
    shop.clock.advance(1_000)
    assert len(await shop.look()) < 40
    shop.caller.end_all()
    await shop.settle()
    for _ in range(20):
        shop.clock.advance(1_000)
        await shop.look()
        shop.caller.end_all()
        await shop.settle()
    assert {(await shop.task(task_id)).state for task_id in ids} == {State.COMPLETED}


async def test_ports_are_lacking_towards_one_target_and_hold_up_nobody_else(open_shop: OpenShop) -> None:
    shop = await open_shop(EngineConfig(concurrency_max=100, per_target_max=100))
    used_up, other = await shop.submit(target="greedy.example:80"), await shop.submit(target="other.example:80")
    for token in await shop.look():
        if shop.caller.sent[token].request.url == "http://greedy.example:80/":
            shop.caller.end(token, Outcome(OutcomeKind.INTERRUPTED, error="given back", lacking=PORTS))
    await shop.settle()
    later = await shop.submit(target="third.example:80")
    await shop.look()
    states = [(await shop.task(task_id)).state for task_id in (used_up, other, later)]
    assert states == [State.AVAILABLE, State.RUNNING, State.RUNNING]
    assert await shop.engine.dispatcher.look() <= 1.0
    shop.clock.advance(1_000)
    await shop.look()
    assert (await shop.task(used_up)).state is State.RUNNING


def test_there_are_fewer_slots_and_again_more_little_by_little() -> None:
    clock, told = ManualClock(), []
    shortage = Shortage(clock, Telemetry(clock, form="json", write=told.append))
    slots = Slots.of(1_000, 100)
    assert shortage.narrowed(slots) is slots
    for _ in range(50):
        shortage.note("network buffers", "a.example:80", 400)
    assert len(told) == 1, "one line for many"
    assert shortage.wait_seconds() == 1.0
    clock.advance(1_000)
    assert shortage.wait_seconds() == 0.0
    first = shortage.narrowed(slots)
    assert (first.total, first.target_max) == (301, 100)
    assert first.owner_max < first.total
    seen = []
    while shortage.narrowed(slots) is not slots:
        clock.advance(1_000)
        seen.append(shortage.narrowed(slots).total)
    assert seen == sorted(seen)
    assert 5 < len(seen) < 20


def test_with_nothing_else_in_flight_one_is_tried() -> None:
    clock = ManualClock()
    shortage = Shortage(clock, Telemetry(clock, write=lambda _: None))
    shortage.note("file descriptors of the process", "a.example:80", 0)
    clock.advance(1_000)
    assert shortage.narrowed(Slots.of(10, 10)).total >= 1
