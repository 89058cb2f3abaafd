"""The runners of an engine: how many there are, who replaces whom, and when one has to go."""

import selectors
from collections.abc import Collection, Iterator, Mapping
from typing import Final, Literal

import msgspec
from msgspec.structs import replace

from tasks_server.clock import Clock
from tasks_server.domain import limits, texts
from tasks_server.domain.engines import HandlersTrouble
from tasks_server.domain.retry import wait_ms
from tasks_server.domain.task import handler_target
from tasks_server.engine.handlers.process import Runner, Stage
from tasks_server.engine.runs import Known
from tasks_server.handlers.frames import Announced, Relog, Start
from tasks_server.telemetry import Telemetry
from tasks_server.telemetry.events import (
    HandlersImporting,
    HandlersLoaded,
    HandlersNotLoaded,
    ProcessDied,
    RunnerRetired,
)

PATIENCE_SECONDS: Final = 1.0
"""How long something that was told to end may take."""
_COROUTINES_MAX: Final = 256
_THREADS_MAX: Final = 32
_HEALTHY_AFTER_SECONDS: Final = 10.0
_FIRST_WAIT_MS: Final = 100
_LONGEST_WAIT_MS: Final = 10_000
_IMPORT_SECONDS: Final = 10.0
"""After so long, and again and again, it is told that handlers are still being imported."""
_START_SECONDS: Final = 60.0
"""How long runs wait for a runner that does not get ready; then they are given back."""
_RETIRED_MAX: Final = 4
"""Runners that wait for their last runs while others have taken their places; beyond, the oldest is ended."""

Isolation = Literal["shared", "task"]


class CrewPlan(msgspec.Struct, frozen=True):
    """What the operator chose. `task`: a runner has one run at a time, `shared`: as many as come."""

    start: Start
    processes: int = 1
    isolation: Isolation = "shared"
    calls_max: int | None = None
    """How many runs a runner gets before another takes its place."""
    retry_base_ms: int = limits.HANDLER_RETRY_BASE_MS
    withheld: Collection[str] = ()
    """Variables of the environment that runners do not get."""


class Crew:
    """All runners of an engine. One thread uses it, but for `known`, which any may read. Each runner's socket is
    registered with the selector, with the runner as its data.
    """

    def __init__(self, plan: CrewPlan, clock: Clock, telemetry: Telemetry, selector: selectors.BaseSelector) -> None:
        self._plan = plan
        self._clock = clock
        self._telemetry = telemetry
        self._selector = selector
        self._deaths = 0
        self.patient = True
        """Whether an import that fails is tried again; else it is an error for who waits for the first."""
        self.trouble: HandlersTrouble | None = None
        """Why handlers cannot be imported, if they cannot."""
        self._start_at = 0.0
        self._loaded_once = False
        self.runners: list[Runner] = []
        self.known: Mapping[str, Known] = {}
        """The handlers that some runner is ready for, by target. Replaced as a whole."""
        self.ward_wanted = False
        """Whether runs wait that are to be alone in their process."""

    @property
    def alone(self) -> bool:
        """Whether each runner has one run at a time."""
        return self._plan.isolation == "task"

    def relog(self, message: Relog) -> None:
        """From now on, all runners log as this says."""
        self._plan = replace(self._plan, start=replace(self._plan.start, log_level=message.log_level))
        for runner in self.runners:
            runner.post(message)

    def staff(self) -> None:
        """Starts the runners that are missing; before one of them was ever ready, a single one."""
        now = self._clock.monotonic()
        serving = [runner.ward for runner in self.runners if runner.stage is not Stage.RETIRED and not runner.worn]
        wanted = self._plan.processes if self._loaded_once else 1
        missing = [False] * (wanted - serving.count(False)) + [True] * (self.ward_wanted and True not in serving)
        if now >= self._start_at:
            for ward in missing:
                try:
                    runner = Runner(self._plan.start, now, ward=ward, withheld=self._plan.withheld)
                except OSError as error:  # no process to be had now
                    if not self.patient:
                        raise
                    self._tell_of_failure(str(error), "")
                    return
                self.runners.append(runner)
                self._selector.register(runner.socket, selectors.EVENT_READ, runner)
                self._selector.register(runner.watched, selectors.EVENT_READ, runner)

    def next_at(self) -> float | None:
        """When there is something to do by time alone."""
        now = self._clock.monotonic()
        times = [runner.kill_at for runner in self.runners if runner.kill_at is not None]
        starting = [runner for runner in self.runners if runner.stage is Stage.STARTING]
        late = [runner.started_at + _START_SECONDS for runner in starting]
        slow = [runner.told_at + _IMPORT_SECONDS for runner in starting]
        times += [at for at in (self._start_at, *late, *slow) if at > now]
        return min(times, default=None)

    def will_have_place_for(self, name: str, *, ward: bool = False) -> bool:
        """Whether a run may wait: those who could take it are busy, or another runner will soon be ready. One that is
        to be alone waits for its process as long as others run the handler: given back, it would come again at once.
        """
        ready = (runner for runner in self.runners if runner.stage is Stage.READY and name in runner.handlers)
        if (self.alone or ward) and any(ready):
            return True
        now = self._clock.monotonic()
        starting = [runner.started_at for runner in self.runners if runner.stage is Stage.STARTING]
        return max(starting) + _START_SECONDS > now if starting else self._start_at <= now

    def place_for(self, name: str, *, ward: bool = False) -> Runner | None:
        """The runner that is to have the next run of a handler; `ward`: one in which it is alone."""
        alone = self.alone or ward
        ready = [
            runner
            for runner in self.runners
            if runner.ward is ward
            and runner.stage is Stage.READY
            and name in runner.handlers
            and not (alone and runner.flights)
        ]
        return min(ready, key=_burden, default=None)

    def count(self, runner: Runner) -> None:
        """One more run is given to this runner."""
        runner.taken += 1
        if self._plan.calls_max is not None and runner.taken >= self._plan.calls_max:
            runner.worn = True

    def loaded(self, runner: Runner, handlers: list[Announced]) -> None:
        """A runner is ready."""
        runner.handlers = {one.name: one for one in handlers}
        runner.stage = Stage.READY
        self._loaded_once = self.patient = True
        self.trouble = None
        self._telemetry.emit(HandlersLoaded(pid=runner.pid, handlers=", ".join(sorted(runner.handlers))))
        for other in self.runners:
            if other.worn and other is not runner and other.ward is runner.ward and other.stage is Stage.READY:
                other.stage = Stage.RETIRED
                break
        self._learn()

    def retire(self, runner: Runner, reason: str) -> None:
        """Something in a runner does not end: it gets nothing new."""
        if runner.stage is Stage.READY:
            runner.stage = Stage.RETIRED
            runner.unhealthy = True
            self._telemetry.emit(RunnerRetired(pid=runner.pid, reason=reason))
            self._learn()

    def tidy(self) -> None:
        """Ends retired runners that have nothing left to do, or cannot do it."""
        now = self._clock.monotonic()
        for runner in self.runners:
            if runner.ward and runner.stage is Stage.READY and not runner.flights and not self.ward_wanted:
                runner.stage = Stage.RETIRED
        retired = [runner for runner in self.runners if runner.stage is Stage.RETIRED]
        for runner in retired:
            if not runner.flights:
                runner.leave(now + PATIENCE_SECONDS)
            elif runner.blocked and all(flight.coroutine for flight in runner.flights.values()):
                runner.kill()
        for runner in [runner for runner in retired if runner.flights and not runner.killed][:-_RETIRED_MAX]:
            runner.kill()
        for runner in self.runners:
            if runner.kill_at is not None and runner.kill_at <= now:
                runner.kill()

    def watch_imports(self) -> bool:
        """Tells of imports that take long, now and then. Whether there is one of which more is to be told now."""
        now = self._clock.monotonic()
        if any(runner.stage is Stage.READY for runner in self.runners):
            return False
        slow = [
            runner
            for runner in self.runners
            if runner.stage is Stage.STARTING and runner.told_at + _IMPORT_SECONDS <= now
        ]
        for runner in slow:
            runner.told_at = now
            modules = ", ".join(self._plan.start.modules)
            self._telemetry.emit(HandlersImporting(modules=modules))
            self._note(f"the import of {modules} takes long")
        return bool(slow)

    def not_loaded(self, runner: Runner, message: str, trace: str) -> None:
        """A runner could not import the handlers; it ends itself."""
        runner.killed = True  # as good as: its end is nothing more to tell of
        self._tell_of_failure(message, trace)

    def _tell_of_failure(self, message: str, trace: str) -> None:
        wait = self._put_off()
        self._note(message)
        self._telemetry.emit(HandlersNotLoaded(error=message, retry_in_ms=wait, trace=trace))

    def _note(self, message: str) -> None:
        since = self._clock.now() if self.trouble is None else self.trouble.since
        self.trouble = HandlersTrouble(since, texts.fitting(message, limits.ERROR_LENGTH_MAX))

    def remove(self, runner: Runner) -> str:
        """A runner is gone. How it ended."""
        self._selector.unregister(runner.socket)
        self._selector.unregister(runner.watched)
        expected = runner.stage is Stage.RETIRED or runner.killed
        importing = runner.stage is Stage.STARTING
        how = runner.bury()
        self.runners.remove(runner)
        if not expected and self.patient:
            if importing:
                self._note(f"the process that imports them has ended: {how}")
            if self._clock.monotonic() - runner.started_at >= _HEALTHY_AFTER_SECONDS:
                self._deaths = 0
            wait = self._put_off()
            self._telemetry.emit(ProcessDied(role="handlers", pid=runner.pid, how=how, restart_in_ms=wait))
        self._learn()
        return how

    def _put_off(self) -> int:
        """How long to wait before a runner is started again, in ms: the first time, not at all."""
        self._deaths += 1
        wait = wait_ms("exponential", _FIRST_WAIT_MS, self._deaths - 1, _LONGEST_WAIT_MS) if self._deaths > 1 else 0
        self._start_at = self._clock.monotonic() + wait / 1_000
        return wait

    def _learn(self) -> None:
        known: dict[str, Known] = {}
        for one in self._announced():
            several = one.concurrency_max or (_COROUTINES_MAX if one.coroutine else _THREADS_MAX)
            known[handler_target(one.name)] = Known(
                min(several, self._plan.processes) if self.alone else several,
                one.timeout_ms,
                one.retries_max,
                one.retry_interval_ms,
                one.backoff,
                self._plan.retry_base_ms,
            )
        self.known = known

    def _announced(self) -> Iterator[Announced]:
        """The handlers of all runners that are ready; what the youngest says comes last."""
        for runner in self.runners:
            if runner.stage is Stage.READY:
                yield from runner.handlers.values()


def _burden(runner: Runner) -> tuple[bool, int]:
    return runner.worn, len(runner.flights)
