"""Tells when something holds an event loop, so that nobody else is served, and where in the code that is."""

import asyncio
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Final

from tasks_server.clock import Clock
from tasks_server.telemetry import Telemetry
from tasks_server.telemetry.events import LoopHeld

HELD_SECONDS: Final = 0.1
_LOOK_SECONDS: Final = 0.1
_FRAMES_MAX: Final = 4
_OURS: Final = str(Path(__file__).parent)


class Watchdog:
    """Asks the loop that runs now for a sign of life, ten times a second while `is_busy` says that there is work."""

    def __init__(self, telemetry: Telemetry, clock: Clock, is_busy: Callable[[], bool]) -> None:
        self._telemetry = telemetry
        self._clock = clock
        self._is_busy = is_busy
        self._loop = asyncio.get_running_loop()
        self._watched = threading.get_ident()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Returns when it watches no more."""
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(_LOOK_SECONDS):
            if self._is_busy():
                self.look()

    def look(self) -> None:
        """One look: tells what holds the loop, once it goes on, if it does not answer in time."""
        answered, began = threading.Event(), self._clock.monotonic()
        try:
            self._loop.call_soon_threadsafe(answered.set)
        except RuntimeError:  # the loop is closed
            return
        if answered.wait(HELD_SECONDS):
            return
        where = place_of(sys._current_frames().get(self._watched))
        while not answered.wait(HELD_SECONDS):
            if self._over.is_set():
                return
        self._telemetry.emit(LoopHeld(ms=round((self._clock.monotonic() - began) * 1_000), where=where))


def place_of(frame: FrameType | None) -> str:
    """The innermost places of ours on a stack, the innermost first."""
    places: list[str] = []
    while frame is not None and len(places) < _FRAMES_MAX:
        code = frame.f_code
        if code.co_filename.startswith(_OURS):
            path = Path(code.co_filename).relative_to(_OURS)
            places.append(f"{path}:{frame.f_lineno} {code.co_name}")
        frame = frame.f_back
    return " < ".join(places) or "outside of the server's code"
