"""What a handler notes of its attempt, kept until it is handed on: any thread may note, and notes cost no write."""

import math
import threading
from collections.abc import Callable
from typing import Final, NamedTuple

from tasks_server.domain import texts

LINES_MAX: Final = 100
TEXT_LENGTH_MAX: Final = 500
"""As in `domain.notes`, which takes a library to import."""


class Noted(NamedTuple):
    """What was noted and not yet handed on. Instants are ms since the epoch."""

    at: int
    progress: float | None
    message: str | None
    lines: list[tuple[int, str]]
    dropped: int


class Noting:
    """`on_change` is called, in the thread that notes, when something was noted after all before was handed on."""

    def __init__(self, now: Callable[[], int], on_change: Callable[[], None] | None = None) -> None:
        self._now = now
        self._on_change = on_change
        self._lock = threading.Lock()
        self._noted: Noted | None = None

    def progress(self, fraction: float | None, message: object) -> None:
        """Raises `TypeError` for what is no number; one that is not from 0 to 1 is brought there."""
        if fraction is not None and (isinstance(fraction, bool) or not isinstance(fraction, int | float)):
            raise TypeError(f"progress takes a number from 0 to 1, not {fraction!r}")
        known = None if fraction is None or math.isnan(fraction) else min(1.0, max(0.0, fraction))
        self._note(known, None if message is None else texts.shown(message, TEXT_LENGTH_MAX), None)

    def log(self, text: object) -> None:
        self._note(None, None, texts.shown(text, TEXT_LENGTH_MAX))

    def take(self) -> Noted | None:
        """What was noted since it was asked for last; None: nothing."""
        with self._lock:
            noted, self._noted = self._noted, None
        return noted

    def _note(self, fraction: float | None, message: str | None, line: str | None) -> None:
        now = self._now()
        with self._lock:
            known = self._noted
            first = known is None
            at, before, said, lines, dropped = known or Noted(now, None, None, [], 0)
            if line is not None:
                lines.append((now, line))
                if len(lines) > LINES_MAX:
                    del lines[0]
                    dropped += 1
            fraction = before if fraction is None else fraction
            self._noted = Noted(max(at, now), fraction, said if message is None else message, lines, dropped)
        if first and self._on_change is not None:
            self._on_change()
