"""Looking at something until it is over: often at first, every second later."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Generic, TypeVar

from tasks_server.client.protocol import Core, Request, Rest, Script

T = TypeVar("T")

_FIRST_LOOK_SECONDS: Final = 0.05
_LOOK_SECONDS_MAX: Final = 1.0


@dataclass(frozen=True)
class Waiting(Generic[T]):
    """Asks for something until it `is_over`; `standing` tells where it stands when the time is up."""

    request: Request[T]
    seconds: float
    is_over: Callable[[T], bool]
    standing: Callable[[T], str]

    def script(self, core: Core) -> Script[T]:
        ends_at = core.monotonic() + self.seconds
        pause = _FIRST_LOOK_SECONDS
        while True:
            seen = yield from self.request.script(core)
            left = ends_at - core.monotonic()
            if self.is_over(seen):
                return seen
            if left <= 0:
                raise TimeoutError(f"{self.request.path} is {self.standing(seen)} after {self.seconds:g} s")
            yield Rest(min(pause, left))
            pause = min(pause * 1.5, _LOOK_SECONDS_MAX)


def seconds(timeout: float | timedelta) -> float:
    """A timeout in seconds."""
    return timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
