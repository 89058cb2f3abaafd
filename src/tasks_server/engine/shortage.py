"""What an engine does when its machine runs out of descriptors, local ports or memory: tasks that could not be sent for
that come back uncounted, and it takes fewer, and more again little by little.
"""

from typing import Final

import msgspec

from tasks_server.clock import Clock
from tasks_server.domain.slots import Slots
from tasks_server.telemetry import Telemetry
from tasks_server.telemetry.events import ResourcesShort

_PAUSE_SECONDS: Final = 1.0
"""Nothing is taken for so long: what was lacking may come back, and who lacks it is not asked again and again."""
_LESS: Final = 0.75
"""What is left of the calls that were in flight."""
_MORE: Final = 1.1
"""By how much there may be more after each further second."""


class Shortage:
    """How many tasks an engine may have in flight since it last ran short."""

    def __init__(self, clock: Clock, telemetry: Telemetry) -> None:
        self._clock = clock
        self._telemetry = telemetry
        self._noted_at: float | None = None
        self._room = 0

    def note(self, what: str, in_flight: int) -> None:
        """It could not send a task, for lack of `what`, with so many others in flight. Several at once count once."""
        self._telemetry.emit(ResourcesShort(lacking=what, in_flight=in_flight))
        if self.wait_seconds() > 0:
            return
        self._room = max(1, int(in_flight * _LESS))
        self._noted_at = self._clock.monotonic()

    def wait_seconds(self) -> float:
        """For how long to take nothing."""
        if self._noted_at is None:
            return 0.0
        return max(0.0, self._noted_at + _PAUSE_SECONDS - self._clock.monotonic())

    def narrowed(self, slots: Slots) -> Slots:
        """The slots as far as there may be calls now."""
        if self._noted_at is None:
            return slots
        seconds = self._clock.monotonic() - self._noted_at - _PAUSE_SECONDS
        room = int((self._room + 1) * _MORE ** max(0.0, min(seconds, 1_000.0)))
        if room >= slots.total:
            self._noted_at = None
            return slots
        few = Slots.of(room, slots.target_max)
        return msgspec.structs.replace(slots, total=few.total, owner_max=few.owner_max)
