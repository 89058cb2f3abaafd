"""An engine that hangs is told of by whoever watches, once, by a clock that nobody sets."""

from typing import Any

import msgspec
import pytest

from tasks_server.clock import ManualClock
from tasks_server.domain.engines import Engine, EngineFacts, Repertoire
from tasks_server.domain.errors import StoreError, Unavailable
from tasks_server.service.engine_watch import EngineWatch
from tasks_server.telemetry import Telemetry


class Known:
    """The engines that a store knows."""

    def __init__(self, *engines: Engine) -> None:
        self.found = list(engines)
        self.trouble: StoreError | None = None

    async def engines(self) -> list[Engine]:
        if self.trouble is not None:
            raise self.trouble
        return self.found

    async def report(self, _: object) -> None:
        raise AssertionError("who watches tells nothing")


FACTS = EngineFacts("worker-1", 42, "1", 10, 10, 10, Repertoire(True, ()), in_flight=3)


def engine(number: int, seen_at: int, *, lives: bool = True, stopped_at: int = 0) -> Engine:
    return Engine(number, 0, seen_at, lives, msgspec.structs.replace(FACTS, stopped_at=stopped_at))


class Watched:
    def __init__(self, *engines: Engine) -> None:
        self.clock, self.lines, self.store = ManualClock(), list[bytes](), Known(*engines)
        telemetry = Telemetry(self.clock, form="json", write=self.lines.append)
        self.watch = EngineWatch(self.store, self.clock, telemetry)

    async def look_for(self, seconds: int) -> list[dict[str, Any]]:
        """What is told in so many seconds."""
        self.lines.clear()
        for _ in range(seconds):
            await self.watch.look()
            self.clock.advance(1_000)
        await self.watch.look()
        return [msgspec.json.decode(line) for line in self.lines]


async def test_one_that_tells_nothing_more_is_told_of_once_and_when_it_is_back() -> None:
    watched = Watched(engine(1, 1_000), engine(2, 1_000))
    assert await watched.look_for(14) == []
    watched.store.found[1] = engine(2, 16_000)
    (silent,) = await watched.look_for(14)
    assert (silent["event"], silent["level"]) == ("engine_silent", "warning")
    told = {name: silent[name] for name in ("node", "host", "pid", "since", "in_flight")}
    assert told == {"node": 1, "host": "worker-1", "pid": 42, "since": 1_000, "in_flight": 3}
    watched.store.found = [engine(1, 40_000), engine(2, 40_000)]
    (back,) = await watched.look_for(1)
    assert (back["event"], back["node"], back["host"], back["pid"]) == ("engine_heard", 1, "worker-1", 42)


@pytest.mark.parametrize("gone", [engine(1, 0, lives=False), engine(1, 0, stopped_at=5)])
async def test_one_that_has_ended_or_was_stopped_is_not_silent(gone: Engine) -> None:
    assert await Watched(gone).look_for(60) == []


async def test_a_clock_that_is_set_makes_nobody_silent() -> None:
    watched = Watched(engine(1, 1_000))
    await watched.watch.look()
    watched.clock.set(86_400_000)
    assert await watched.look_for(14) == []


async def test_while_the_store_cannot_be_asked_nobody_is_silent() -> None:
    watched = Watched(engine(1, 1_000))
    assert await watched.look_for(10) == []
    watched.store.trouble = Unavailable("away")
    with pytest.raises(Unavailable):
        await watched.watch.look()
