"""What holds the event loop is told, with its place in the code."""

import asyncio
import json
import threading
from collections.abc import Iterator

from tasks_server.clock import ManualClock
from tasks_server.domain import shapes
from tasks_server.telemetry import Telemetry
from tasks_server.watchdog import Watchdog, place_of


async def test_a_loop_that_is_held_is_told_with_the_place() -> None:
    told: list[bytes] = []
    clock = ManualClock()
    dog = Watchdog(Telemetry(clock, form="json", write=told.append), clock, lambda: True)
    looked = threading.Event()
    places: list[str] = []

    def look() -> None:
        dog.look()
        looked.set()

    def names() -> Iterator[str]:
        """Unknown names without end, until the watchdog must have looked: the loop does nothing else meanwhile."""
        threading.Thread(target=look, daemon=True).start()
        while not looked.wait(0.05) and len(places) < 8:
            places.append(".")
            yield "unknwon"

    assert list(shapes.unknown_fields("", names(), ("known",)))
    await asyncio.to_thread(looked.wait, 10)
    (line,) = told
    event = json.loads(line)
    assert event["event"] == "loop_held"
    assert "domain/shapes.py:" in event["where"]


async def test_a_loop_that_answers_is_not_told_of() -> None:
    told: list[bytes] = []
    clock = ManualClock()
    dog = Watchdog(Telemetry(clock, form="json", write=told.append), clock, lambda: True)
    await asyncio.to_thread(dog.look)
    assert told == []


def test_what_is_not_ours_has_no_place() -> None:
    assert place_of(None) == "outside of the server's code"
