"""Promotes and claims: looks for due tasks when there is reason to, and takes as many as there are free slots."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from tasks_server.clock import Clock
from tasks_server.domain import limits
from tasks_server.domain.engines import Trouble
from tasks_server.domain.errors import StoreError
from tasks_server.domain.slots import Held, Reach, Slots
from tasks_server.engine.ageing import Ageing
from tasks_server.engine.executor import Executor
from tasks_server.engine.handlers.builtin import BUILTIN_TARGETS
from tasks_server.engine.inflight import InFlight
from tasks_server.engine.runs import Known
from tasks_server.engine.shares import share, within_runs
from tasks_server.engine.shortage import PAUSE_SECONDS, Shortage
from tasks_server.store.ports import Claimed, Claiming, Group, Line, Look, Quota
from tasks_server.store.settling import Report
from tasks_server.telemetry import Telemetry

_LOOK_AHEAD_MS: Final = 10
"""How long before a task is due to look for it. The rest of `PROMOTE_AHEAD_MS` is for its successors: what is due
within it is taken by the same look, so that a steady stream is handled in small batches, not one by one.
"""
_FROM_THE_FIRST: Final = (limits.URGENCY_FORCED - 1, "")
_TROUBLE_FIRST_SECONDS: Final = 0.05
_TROUBLE_MAX_SECONDS: Final = 5.0
_GATHER_SECONDS: Final = 0.002
"""With work waiting for slots, how long freed slots are gathered before the next look."""


class Dispatcher:
    """One loop. `look` is one pass, for tests to call alone."""

    def __init__(
        self,
        store: Claiming,
        executor: Executor,
        inflight: InFlight,
        slots: Slots,
        clock: Clock,
        telemetry: Telemetry,
        reach: Reach,
        look_again_seconds: float,
    ) -> None:
        self._look_again_seconds = look_again_seconds
        self.reach = reach
        self._store = store
        self._executor = executor
        self._inflight = inflight
        self.slots = slots
        self._clock = clock
        self._telemetry = telemetry
        self._ageing = Ageing(clock)
        self.shortage = Shortage(clock, telemetry)
        self._wake = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._line: Line | None = None
        self._groups_after = _FROM_THE_FIRST
        self._starved = False
        self._freed = False
        self._full_lanes: set[int] = set()
        self._lanes_again_at: int | None = None
        self.looked_at = 0
        """When a look last went well; 0: never."""
        self.trouble: Trouble | None = None
        """Why the last look did not go well, if it did not."""

    def wake(self) -> None:
        """There may be something due."""
        self._wake.set()

    def wake_for(self, at: int) -> None:
        """There may be something due at `at`."""
        wait_ms = at - self._clock.now() - _LOOK_AHEAD_MS
        if wait_ms <= 0:
            self._wake.set()
        else:
            self._set_timer(wait_ms / 1_000)

    def handlers_changed(self, known: Mapping[str, Known], runs_max: int | None) -> None:
        """Other handlers can be run than before."""
        handlers = BUILTIN_TARGETS | known.keys()
        self.reach = msgspec.structs.replace(self.reach, handlers=handlers)
        maxes = {target: one.concurrency_max for target, one in known.items()}
        self.slots = msgspec.structs.replace(self.slots, target_maxes=maxes, runs_max=runs_max)
        self._wake.set()

    def slot_freed(self) -> None:
        """A call ended. Worth a look only when work waits for a slot, and then a few slots together."""
        self._freed = True
        if self._starved:
            if len(self._inflight) * 8 <= self.slots.total * 7:
                self._wake.set()
            else:
                self._set_timer(_GATHER_SECONDS)

    def recorded(self, reports: Sequence[Report]) -> None:
        """Tasks ended, and the store knows: worth a look when due tasks wait for a place in one of their lanes."""
        if self._full_lanes and any(report.lane in self._full_lanes for report in reports):
            self._wake.set()

    async def run(self) -> None:
        """Looks whenever there is reason to, until it is cancelled. Trouble of the store is waited out."""
        trouble_seconds = _TROUBLE_FIRST_SECONDS
        while True:
            self._wake.clear()
            try:
                wait_seconds = await self.look()
                trouble_seconds = _TROUBLE_FIRST_SECONDS
                self._telemetry.store_worked("claim")
            except StoreError as error:
                self._telemetry.store_failed("claim", error)
                self.trouble = Trouble("claim", error.code)
                wait_seconds = trouble_seconds
                trouble_seconds = min(trouble_seconds * 2, _TROUBLE_MAX_SECONDS)
            if wait_seconds > 0:
                self._set_timer(wait_seconds)
                await self._wake.wait()

    async def look(self) -> float:
        """One pass: promotes, claims, begins. In how many seconds to look again without any other reason."""
        if (pause_seconds := self.shortage.wait_seconds()) > 0:
            return pause_seconds
        now, slots = self._clock.now(), self.shortage.narrowed(self.slots)
        resting = self.shortage.targets()
        look = Look(
            now=now,
            horizon=now + limits.PROMOTE_AHEAD_MS,
            lease_until=now + limits.LEASE_MS,
            after=self._line,
            targets_excluded=self._inflight.full_targets(slots) | resting,
            groups_after=self._groups_after,
        )
        self._freed = False
        choice = _Choice(slots, self._inflight.held(), self.reach, self._ageing.due())
        claimed = await self._store.claim(look, choice)
        self.looked_at, self.trouble = now, None
        self._note_lanes(claimed, anew=self._line is None and self._groups_after == _FROM_THE_FIRST)
        self._ageing.note(choice.shown, choice.quotas)
        self._line = claimed.resume_after
        self._groups_after = claimed.groups_resume_after or _FROM_THE_FIRST
        if claimed.claims:
            await self._executor.begin(claimed.claims)
        full = len(self._inflight) >= slots.total
        refused = any(lane not in claimed.lanes_shut for lane in choice.refused)
        self._starved = full or refused or bool(look.targets_excluded)
        # Looks follow each other at once while they bring something, or until all that is due was shown once.
        all_shown = claimed.resume_after is None and claimed.groups_resume_after is None
        if not full and (not all_shown or ((claimed.claims or claimed.promoted) and (claimed.more or refused))):
            return 0.0
        if self._starved and self._freed:  # while the store was asked, room was made that it did not know of
            return _GATHER_SECONDS
        wait_seconds = self._look_again_seconds
        if resting:
            wait_seconds = min(wait_seconds, PAUSE_SECONDS)
        if claimed.next_due_at is not None:
            wait_seconds = min(max(0, claimed.next_due_at - now - _LOOK_AHEAD_MS) / 1_000, wait_seconds)
        if self._lanes_again_at is not None:
            wait_seconds = min(max(0, self._lanes_again_at - self._clock.now()) / 1_000, wait_seconds)
        return wait_seconds

    def _note_lanes(self, claimed: Claimed, *, anew: bool) -> None:
        """Remembers for which lanes to look again. What is due may have been shown in several looks."""
        if anew:
            self._full_lanes.clear()
            self._lanes_again_at = None
        if claimed.lanes_shut:
            self._full_lanes.update(lane for lane, why in claimed.lanes_shut.items() if why == "concurrency")
            instants = (claimed.lanes_again_at, self._lanes_again_at)
            self._lanes_again_at = min((at for at in instants if at is not None), default=None)

    def _set_timer(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        if self._timer is not None:
            if self._timer.when() <= loop.time() + seconds and not self._timer.cancelled():
                return
            self._timer.cancel()
        self._timer = loop.call_later(seconds, self._timed_out)

    def _timed_out(self) -> None:
        self._timer = None
        self._wake.set()


class _Choice:
    """Chooses from what one look shows, on the store's thread, from a picture of what was in flight before it."""

    def __init__(self, slots: Slots, held: Held, reach: Reach, aged: Mapping[int, int]) -> None:
        self._slots = slots
        self._held = held
        self._reach = reach
        self._aged = aged
        self.shown: Sequence[Group] = ()
        """The groups that are for this engine."""
        self.quotas: Sequence[Quota] = ()
        self.refused: list[int] = []
        """The lanes of groups that have due tasks and got no slot."""

    def __call__(self, groups: Sequence[Group], lanes: Mapping[int, int]) -> list[Quota]:
        ours = [group for group in groups if self._reach.has(group.target)]
        quotas = within_runs(share(ours, self._slots, self._held, self._aged, lanes), self._slots, self._held)
        self.refused = []
        if len(quotas) < len(ours):
            served = {quota.group for quota in quotas}
            self.refused = [group.lane for group in ours if group not in served]
        self.shown, self.quotas = ours, quotas
        return quotas
