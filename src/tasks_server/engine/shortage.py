"""What an engine does when its machine runs out of descriptors, local ports or memory: tasks that could not be sent for
that come back uncounted, and it takes fewer, and more again little by little.

Local ports are used up towards one address, as a rule by the one who calls it all the time over connections that are
not kept: then it is the tasks for that target alone that wait, for else one owner could slow down all others.
"""

from typing import Final

import msgspec

from tasks_server.clock import Clock
from tasks_server.domain.attempt import PORTS
from tasks_server.domain.slots import Slots
from tasks_server.telemetry import Telemetry
from tasks_server.telemetry.events import ResourcesShort

NO_TARGETS: Final[frozenset[str]] = frozenset()
PAUSE_SECONDS: Final = 1.0
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
        self._targets: dict[str, float] = {}
        """Those to which there were no ports left, and until when none of their tasks is taken."""

    def note(self, what: str, target: str, in_flight: int) -> None:
        """It could not send a task to `target`, for lack of `what`, with so many others in flight. Several at once
        count once.
        """
        self._telemetry.emit(ResourcesShort(lacking=what, in_flight=in_flight))
        if what == PORTS:
            self._targets[target] = self._clock.monotonic() + PAUSE_SECONDS
            return
        if self.wait_seconds() > 0:
            return
        self._room = max(1, int(in_flight * _LESS))
        self._noted_at = self._clock.monotonic()

    def wait_seconds(self) -> float:
        """For how long to take nothing."""
        if self._noted_at is None:
            return 0.0
        return max(0.0, self._noted_at + PAUSE_SECONDS - self._clock.monotonic())

    def targets(self) -> frozenset[str]:
        """The targets that are to get nothing now."""
        if not self._targets:
            return NO_TARGETS
        now = self._clock.monotonic()
        self._targets = {target: until for target, until in self._targets.items() if until > now}
        return frozenset(self._targets)

    def narrowed(self, slots: Slots) -> Slots:
        """The slots as far as there may be calls now."""
        if self._noted_at is None:
            return slots
        seconds = self._clock.monotonic() - self._noted_at - PAUSE_SECONDS
        room = int((self._room + 1) * _MORE ** max(0.0, min(seconds, 1_000.0)))
        if room >= slots.total:
            self._noted_at = None
            return slots
        few = Slots.of(room, slots.target_max)
        return msgspec.structs.replace(slots, total=few.total, owner_max=few.owner_max)
