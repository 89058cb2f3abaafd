"""What an engine tells of itself, and when."""

import asyncio
import os
import socket
from collections.abc import Callable

import pytest

from tasks_server import __version__
from tasks_server.domain.engines import REPORT_SECONDS, Engine, EngineFacts, KnownHandler, Repertoire, Trouble
from tasks_server.domain.errors import Busy, Unavailable
from tasks_server.engine.loop import EngineConfig
from tasks_server.engine.runs import Known

from .scripted import ScriptedHandlers
from .shop import OpenShop, Shop, working

BUILT_IN = (KnownHandler("curl"), KnownHandler("default"))


async def told(shop: Shop) -> Engine:
    (engine,) = await shop.store.engines()
    return engine


async def heard(shop: Shop, fact: Callable[[EngineFacts], bool]) -> None:
    """Returns once the engine has told something of which `fact` holds; long before its next turn to tell."""
    async with asyncio.timeout(REPORT_SECONDS / 2):
        while not any(fact(engine.facts) for engine in await shop.store.engines()):
            await asyncio.sleep(0.001)


async def test_an_engine_tells_who_it_is_and_what_it_may(open_shop: OpenShop) -> None:
    shop = await open_shop(EngineConfig(concurrency_max=20, per_target_max=2))
    began = shop.clock.now()
    await shop.engine.reporting.tick()
    shop.clock.advance(5_000)
    await shop.engine.reporting.tick()
    engine = await told(shop)
    assert (engine.started_at, engine.seen_at) == (began, shop.clock.now())
    facts = engine.facts
    assert (facts.host, facts.pid, facts.version) == (socket.gethostname(), os.getpid(), __version__)
    assert (facts.slots, facts.owner_max, facts.target_max, facts.in_flight) == (20, 18, 2, 0)
    assert (facts.looked_at, facts.trouble, facts.targets_full, facts.stopped_at) == (0, None, {}, 0)
    assert facts.repertoire == Repertoire(True, BUILT_IN)


async def test_it_tells_what_it_takes(open_shop: OpenShop) -> None:
    handlers = ScriptedHandlers({"@send-email": Known(3, 60_000, 5)}, runs_max=4)
    shop = await open_shop(EngineConfig(http=False, concurrency_max=20, per_target_max=2), handlers)
    async with working(shop):
        await heard(shop, lambda facts: len(facts.repertoire.handlers) == 3)
    facts = (await told(shop)).facts
    assert facts.repertoire == Repertoire(False, (*BUILT_IN, KnownHandler("send-email", 60_000, 5, 3)))
    assert facts.limits() == shop.engine.dispatcher.slots
    assert facts.reach() == shop.engine.dispatcher.reach
    assert [facts.reach().has(target) for target in ("@send-email", "@curl", "@other", "a:80")] == [
        *(True, True),
        *(False, False),
    ]


async def test_other_handlers_are_told_at_once(open_shop: OpenShop) -> None:
    handlers = ScriptedHandlers({})
    shop = await open_shop(None, handlers)
    async with working(shop):
        await heard(shop, lambda _: True)
        handlers.learn({"@send-email": Known(3)})
        await heard(shop, lambda facts: len(facts.repertoire.handlers) == 3)


async def test_it_tells_what_is_in_flight_and_which_hosts_are_full(open_shop: OpenShop) -> None:
    shop = await open_shop(EngineConfig(concurrency_max=20, per_target_max=2))
    for target in ("full.example:80", "full.example:80", "full.example:80", "free.example:80"):
        await shop.submit(target=target)
    await shop.look()
    await shop.engine.reporting.tick()
    facts = (await told(shop)).facts
    assert (facts.in_flight, facts.targets_full) == (3, {"full.example:80": 2})
    assert facts.looked_at == shop.clock.now()


async def test_trouble_with_the_store_is_told_until_it_is_over(
    open_shop: OpenShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = await open_shop()
    tried = asyncio.Event()

    async def refuse(*_: object) -> None:
        tried.set()
        raise Busy("somebody else writes")

    with monkeypatch.context() as patch:
        patch.setattr(shop.store, "claim", refuse)
        looking = asyncio.create_task(shop.engine.dispatcher.run())
        await tried.wait()
        await asyncio.sleep(0)
        await shop.engine.reporting.tick()
        assert (await told(shop)).facts.trouble == Trouble("claim", "store_busy")
    await shop.until(lambda: shop.engine.dispatcher.trouble is None)
    looking.cancel()
    await shop.engine.reporting.tick()
    assert (await told(shop)).facts.trouble is None


async def test_outcomes_that_cannot_be_recorded_are_told(open_shop: OpenShop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = await open_shop()
    await shop.submit()
    await shop.look()
    shop.caller.end_all()

    async def refuse(_: object) -> None:
        raise Unavailable("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(shop.store, "settle", refuse)
        await shop.settle()
    await shop.engine.reporting.tick()
    assert (await told(shop)).facts.trouble == Trouble("settle", "store_unavailable")
    await shop.settle()
    await shop.engine.reporting.tick()
    assert (await told(shop)).facts.trouble is None


async def test_a_running_engine_tells_at_once_and_says_when_it_stops(open_shop: OpenShop) -> None:
    shop = await open_shop()
    async with working(shop):
        await heard(shop, lambda _: True)
        assert (await told(shop)).alive(shop.clock.now())
        stopped = shop.clock.advance(1_000)
    engine = await told(shop)
    assert engine.facts.stopped_at == stopped
    assert not engine.alive(shop.clock.now())


async def test_a_store_in_trouble_does_not_hold_up_the_stop(
    open_shop: OpenShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = await open_shop()

    async def refuse(_: object) -> None:
        raise Unavailable("the disk is full")

    monkeypatch.setattr(shop.store, "report", refuse)
    async with working(shop):
        await shop.until(lambda: shop.engine.dispatcher.looked_at > 0)
    assert shop.caller.stopped
