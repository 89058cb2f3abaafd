"""The `Handlers` over runners: a thread of its own hands runs to them, minds their deadlines, ends what does not end.

Other threads only append to an inbox and wake that thread when it sleeps. Deadlines are judged here, never in a runner:
what it says of time would be the word of the code that is late.
"""

import heapq
import selectors
import socket
import threading
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

from tasks_server.clock import Clock
from tasks_server.domain import limits, texts
from tasks_server.domain.attempt import Outcome, OutcomeKind
from tasks_server.domain.engines import HandlersTrouble
from tasks_server.domain.errors import HandlersFailed
from tasks_server.domain.notes import TEXT_LENGTH_MAX, Line, Notes, merged
from tasks_server.domain.waits import is_set_back
from tasks_server.engine.calls import SET_BACK, Done
from tasks_server.engine.handlers.crew import PATIENCE_SECONDS, Crew, CrewPlan
from tasks_server.engine.handlers.process import Flight, Runner, Stage
from tasks_server.engine.runs import Handlers, Known, Run
from tasks_server.handlers.frames import Blocked, Call, Cancel, Ended, Loaded, Noted, Relog, ToEngine
from tasks_server.telemetry import Telemetry
from tasks_server.telemetry.events import Level

_LOOK_SECONDS: Final = 1.0
"""While runs wait for their time, the clock is looked at this often at least: it may be set."""
_NEVER: Final = float("inf")
_NOTE_SECONDS: Final = 1.0
"""What runs note is told together, not more often than this."""
_FAULT: Final = Outcome(OutcomeKind.INTERRUPTED, error="given back: the thread for handlers died")
_STOPPED: Final = Outcome(OutcomeKind.INTERRUPTED, error="cut short by a shutdown of the server")
_NOBODY: Final = Outcome(OutcomeKind.INTERRUPTED, error="given back: no process is ready to run this handler")
_OTHERS: Final = Outcome(
    OutcomeKind.INTERRUPTED, error="given back: its process had to be ended for another run that did not end"
)
_UNCLEAR: Final = Outcome(
    OutcomeKind.INTERRUPTED,
    error="given back: its process ended, and which of its runs brought that about is not known; it runs alone next",
)
_SUSPECTS_MAX: Final = 10_000
_BLOCKED: Final = Outcome(
    OutcomeKind.HANDLER_ERROR,
    status_code=500,
    error="the handler blocked the event loop of its process, and with it other runs; a coroutine must not do that",
)
_TOO_LARGE: Final = "the result is not kept: it is too large"

OnDone = Callable[[list[Done]], None]
OnNoted = Callable[[dict[int, Notes]], None]


def _timed_out(run: Run) -> Outcome:
    return Outcome(OutcomeKind.TIMEOUT, status_code=408, error=f"the handler did not end within {run.timeout_ms} ms")


class HandlerPool(Handlers):
    """Runs handlers in processes of their own.

    Should the thread die by a fault of ours, every run it had ends as INTERRUPTED, `send` raises from then on, and the
    fault goes to `threading.excepthook`.
    """

    def __init__(self, plan: CrewPlan, clock: Clock, telemetry: Telemetry) -> None:
        self._clock = clock
        self._result_bytes_max = plan.start.result_bytes_max
        self._selector = selectors.DefaultSelector()
        self._crew = Crew(plan, clock, telemetry, self._selector)
        self._runs_max = plan.processes if plan.isolation == "task" else None
        self._thread: threading.Thread | None = None
        self._on_done: OnDone = lambda _: None
        self._on_change: Callable[[], None] = lambda: None
        self._on_noted: OnNoted = lambda _: None
        self._noted: set[int] = set()
        """The runs that have noted something that is not told yet."""
        self._tell_notes_at = 0.0
        self._inbox: deque[Sequence[Run] | frozenset[int] | Relog] = deque()
        self._bell_in, self._bell_out = socket.socketpair()
        for end in (self._bell_in, self._bell_out):
            end.setblocking(False)
        self._selector.register(self._bell_in, selectors.EVENT_READ, None)
        self._sleeping = False
        self._stopping = False
        self._ended = False
        self._prepared = threading.Event()
        self._failure: str | None = None
        # Runs whose time has not come, a heap by start_at; those that wait for a runner; and which of both still count.
        self._waiting: list[tuple[int, int, Run]] = []
        self._queue: deque[Run] = deque()
        self._held: set[int] = set()
        self._flights: dict[int, Flight] = {}
        self._suspects: dict[str, None] = {}
        """Tasks in whose company a process has ended, the longest suspected first: each runs alone until it is cleared,
        so that no task pays for what another did."""
        self._look_at = _NEVER
        self._done: list[Done] = []

    # Any thread

    def prepare(self) -> None:
        self._crew.patient = False
        self._begin()
        self._prepared.wait()
        if self._failure is not None:
            self.stop()
            raise HandlersFailed(self._failure)

    def start(self, on_done: OnDone, on_change: Callable[[], None], on_noted: OnNoted) -> None:
        self._on_done = on_done
        self._on_change = on_change
        self._on_noted = on_noted
        self._begin()

    def known(self) -> Mapping[str, Known]:
        return self._crew.known

    def trouble(self) -> HandlersTrouble | None:
        return self._crew.trouble

    def runs_max(self) -> int | None:
        return self._runs_max

    def send(self, runs: Sequence[Run]) -> None:
        self._inbox.append(runs)
        # Looked at after the append: either the ending thread finds these runs or this finds the thread ended.
        if self._ended:
            raise RuntimeError("the thread for handlers has ended")
        self._rouse()

    def abort(self, tokens: Collection[int]) -> None:
        self._inbox.append(frozenset(tokens))
        self._rouse()

    def relog(self, level: Level) -> None:
        self._inbox.append(Relog(level))
        self._rouse()

    def stop(self) -> None:
        self._stopping = True
        if self._thread is not None:
            self._rouse()
            self._thread.join()

    def _begin(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="handlers", daemon=True)
            self._thread.start()

    def _rouse(self) -> None:
        # Whoever clears the flag rings; the loop looks into the inbox once more after setting it.
        if self._sleeping:
            self._sleeping = False
            self._bell_out.send(b"!")

    # On the thread

    def _work(self) -> None:
        try:
            while not self._stopping:
                self._turn()
            self._wind_down()
        except BaseException as error:
            self._failure = f"{type(error).__name__}: {error}"
            raise
        finally:
            self._ended = True
            try:
                for runner in self._crew.runners:
                    runner.leave(0)
                for runner in self._crew.runners:
                    runner.bury(PATIENCE_SECONDS)
            finally:
                self._give_up()  # now that nothing of it runs any more
                self._selector.close()
                self._bell_in.close()
                self._bell_out.close()

    def _turn(self) -> None:
        self._take_in()
        self._place()
        self._crew.staff()
        if self._crew.watch_imports():
            self._on_change()
        self._look_at_deadlines()
        self._crew.tidy()
        self._flush()
        self._sleeping = True
        timeout = 0.0 if self._inbox or self._stopping or self._done else self._timeout()
        events = self._selector.select(timeout)
        self._sleeping = False
        for key, mask in events:
            if key.data is None:
                self._bell_in.recv(4_096)
            elif mask & selectors.EVENT_READ:
                self._read(key.data, ended=key.fileobj is not key.data.socket)
        self._deliver()

    def _deliver(self) -> None:
        if self._noted and self._clock.monotonic() >= self._tell_notes_at:
            flights = ((token, self._flights.get(token)) for token in self._noted)
            noted = {token: flight.notes for token, flight in flights if flight is not None and flight.notes}
            self._noted.clear()
            self._tell_notes_at = self._clock.monotonic() + _NOTE_SECONDS
            self._on_noted(noted)
        if self._done:
            done, self._done = self._done, []
            self._on_done(done)

    def _take_in(self) -> None:
        inbox = self._inbox
        while inbox:
            item = inbox.popleft()
            if isinstance(item, frozenset):
                self._held.difference_update(item)
                for token in item:
                    if (flight := self._flights.get(token)) is not None:
                        flight.aborted = True
                        self._tell_to_stop(flight, _STOPPED)
                continue
            if isinstance(item, Relog):
                self._crew.relog(item)
                continue
            now = self._clock.now()
            for run in item:
                self._held.add(run.token)
                if run.start_at <= now:
                    self._queue.append(run)
                else:
                    heapq.heappush(self._waiting, (run.start_at, run.token, run))

    def _place(self) -> None:
        """Hands what is due to runners, as far as they take it."""
        waiting, queue = self._waiting, self._queue
        now = self._clock.now()
        while waiting and waiting[0][0] <= now:
            queue.append(heapq.heappop(waiting)[2])
        if waiting and is_set_back(waiting[0][0], now):
            self._give_back(now)
        left: deque[Run] = deque()
        self._crew.ward_wanted = False
        while queue:
            run = queue.popleft()
            if run.token not in self._held:  # it was aborted meanwhile
                continue
            suspect = run.task_id in self._suspects and not self._crew.alone
            self._crew.ward_wanted |= suspect
            runner = self._crew.place_for(run.name, ward=suspect)
            if runner is not None:
                self._held.discard(run.token)
                self._hand_over(run, runner, now)
            elif self._crew.will_have_place_for(run.name, ward=suspect):
                left.append(run)
            else:
                self._held.discard(run.token)
                self._done.append(Done(run.token, _NOBODY, now, now))
        self._queue = left

    def _give_back(self, now: int) -> None:
        """The clock was set back: nothing that waits here has its time soon."""
        held = [run.token for _, _, run in self._waiting if run.token in self._held]
        self._waiting.clear()
        self._held.difference_update(held)
        self._done += [Done(token, SET_BACK, now, now) for token in held]

    def _hand_over(self, run: Run, runner: Runner, now: int) -> None:
        deadline = self._clock.monotonic() + run.timeout_ms / 1_000
        flight = Flight(run, runner, runner.handlers[run.name].coroutine, now, deadline)
        self._flights[run.token] = runner.flights[run.token] = flight
        self._look_at = min(self._look_at, deadline)
        self._crew.count(runner)
        call = Call(
            run.token, run.name, run.payload, run.task_id, run.attempt, run.failures, run.created_at, run.due_at,
            run.timeout_ms, run.keep_result, run.metadata,
        )  # fmt: skip
        try:
            runner.post(call)
        except Exception as error:  # nothing that a task should hold, and no reason for others to suffer
            why = f"the run cannot be handed over: {texts.described(error, limits.ERROR_LENGTH_MAX)}"
            self._end(flight, Outcome(OutcomeKind.HANDLER_ERROR, 500, why, no_retry=True))

    def _flush(self) -> None:
        for runner in self._crew.runners:
            if runner.has_mail:
                self._send(runner)

    def _send(self, runner: Runner) -> None:
        events = selectors.EVENT_READ if runner.flush() else selectors.EVENT_READ | selectors.EVENT_WRITE
        if self._selector.get_key(runner.socket).events != events:
            self._selector.modify(runner.socket, events, runner)

    def _timeout(self) -> float | None:
        notes_at = self._tell_notes_at if self._noted else None
        times = [at for at in (self._look_at, self._crew.next_at(), notes_at) if at is not None and at != _NEVER]
        timeout = max(0.0, min(times) - self._clock.monotonic()) if times else None
        if self._waiting:
            # The clock's milliseconds are cut off, so this ends in the right one or at most one later, never before.
            wait = min(max(0, self._waiting[0][0] - self._clock.now()) / 1_000, _LOOK_SECONDS)
            timeout = wait if timeout is None else min(wait, timeout)
        return timeout

    # Deadlines

    def _look_at_deadlines(self) -> None:
        now = self._clock.monotonic()
        if now < self._look_at:
            return
        for flight in [flight for flight in self._flights.values() if flight.look_at <= now]:
            if flight.verdict is not None:
                self._lose_patience(flight, flight.verdict)
            else:
                self._tell_to_stop(flight, _timed_out(flight.run))
        self._look_at = min((flight.look_at for flight in self._flights.values()), default=_NEVER)

    def _tell_to_stop(self, flight: Flight, verdict: Outcome) -> None:
        """Its time is over, or nobody wants it any more. In a process of its own, what cannot be told is ended."""
        if flight.verdict is not None:
            return
        flight.verdict = verdict
        flight.look_at = self._clock.monotonic() + PATIENCE_SECONDS
        self._look_at = min(self._look_at, flight.look_at)
        if self._crew.alone and not flight.coroutine:
            self._end(flight, verdict)
            flight.runner.kill()
        else:
            flight.runner.post(Cancel(flight.run.token))

    def _lose_patience(self, flight: Flight, verdict: Outcome) -> None:
        """It was told to stop and did not."""
        runner = flight.runner
        if runner.blocked and flight.coroutine:
            flight.look_at = _NEVER  # not its fault; it is given back when the runner has to go
            return
        self._end(flight, verdict)
        if self._crew.alone:
            runner.kill()
        else:
            self._crew.retire(runner, f"the handler {flight.run.name} did not stop when it was told to")
            self._on_change()

    def _end(self, flight: Flight, outcome: Outcome) -> None:
        del self._flights[flight.run.token]
        del flight.runner.flights[flight.run.token]
        if not flight.aborted:
            now = self._clock.now()
            self._done.append(Done(flight.run.token, outcome, flight.began_at, now, flight.notes))

    # What runners say

    def _read(self, runner: Runner, ended: bool) -> None:
        """Takes in what it says. `ended`: its process is no more, so these are its last words."""
        if runner not in self._crew.runners:
            return
        messages = runner.receive()
        while messages:
            for message in messages:
                self._hear(runner, message)
            messages = runner.receive() if ended else []
        if messages is None or ended or runner.garbled is not None:
            self._bury(runner)

    def _hear(self, runner: Runner, message: ToEngine) -> None:
        if isinstance(message, Ended):
            flight = runner.flights.get(message.token)
            if flight is not None:
                if runner.ward:
                    self._suspects.pop(flight.run.task_id, None)
                self._end(flight, self._outcome(flight, message))
        elif isinstance(message, Noted):
            self._note(runner, message)
        elif isinstance(message, Blocked):
            self._unblock(runner, message.token)
        elif runner.stage is not Stage.STARTING:
            runner.garbled = f"{type(message).__name__} at the wrong time"
        elif isinstance(message, Loaded):
            self._crew.loaded(runner, message.handlers)
            self._prepared.set()
            self._on_change()
        elif not self._crew.patient:
            runner.killed = True  # it ends itself, and there is nothing more to tell of it
            self._fail(f"the handlers cannot be imported: {message.message}\n{message.trace}".rstrip())
        else:
            self._crew.not_loaded(runner, message.message, message.trace)
            self._on_change()

    def _note(self, runner: Runner, message: Noted) -> None:
        flight = runner.flights.get(message.token)
        if flight is not None:
            lines = tuple(Line(at, texts.fitting(text, TEXT_LENGTH_MAX)) for at, text in message.lines)
            said = None if message.message is None else texts.fitting(message.message, TEXT_LENGTH_MAX)
            more = Notes(message.at, message.progress, said, lines, message.dropped)
            flight.notes = merged(flight.notes, more)
            self._noted.add(message.token)

    def _unblock(self, runner: Runner, culprit: int) -> None:
        runner.blocked = True
        flight = runner.flights.get(culprit)
        if flight is not None:
            self._end(flight, _BLOCKED)
        self._crew.retire(runner, "a coroutine blocks the event loop")
        self._on_change()

    def _outcome(self, flight: Flight, ended: Ended) -> Outcome:
        if ended.how == "success":
            if ended.result is not None and len(ended.result) > self._result_bytes_max:
                return Outcome(OutcomeKind.SUCCESS, ended.status_code, _TOO_LARGE)
            return Outcome(OutcomeKind.SUCCESS, ended.status_code, ended.error, ended.result)
        if flight.verdict is not None:
            return flight.verdict
        return Outcome(
            OutcomeKind.HANDLER_ERROR,
            ended.status_code,
            ended.error,
            no_retry=ended.no_retry,
            wait_ms=ended.wait_ms,
        )

    def _bury(self, runner: Runner) -> None:
        """A runner is gone, by itself or by us."""
        by_us = runner.killed
        how = self._crew.remove(runner)
        crashed = Outcome(
            OutcomeKind.CRASHED, status_code=500, error=f"the process in which the handler ran has ended: {how}"
        )
        flights = list(runner.flights.values())
        for flight in flights:
            if len(flights) > 1 and not by_us:
                self._suspect(flight.run.task_id)
            ending = _UNCLEAR if len(flights) > 1 else crashed
            self._end(flight, _OTHERS if by_us else flight.verdict or ending)
        if not self._crew.patient:
            self._fail(f"the process that imports the handlers has ended: {how}")
        self._on_change()

    def _suspect(self, task_id: str) -> None:
        self._suspects[task_id] = None
        if len(self._suspects) > _SUSPECTS_MAX:
            del self._suspects[next(iter(self._suspects))]

    def _fail(self, message: str) -> None:
        """There will be no handlers. What was said first counts."""
        self._failure = self._failure or message
        self._stopping = True
        self._prepared.set()

    # The end

    def _wind_down(self) -> None:
        """Tells what still runs to stop, and waits a little until it has."""
        self._take_in()
        end_at = self._clock.monotonic() + PATIENCE_SECONDS
        for flight in list(self._flights.values()):
            self._tell_to_stop(flight, _STOPPED)
        while self._flights and (left := end_at - self._clock.monotonic()) > 0:
            self._flush()
            for key, mask in self._selector.select(left):
                if key.data is None:
                    self._bell_in.recv(4_096)
                elif mask & selectors.EVENT_READ:
                    self._read(key.data, ended=key.fileobj is not key.data.socket)

    def _give_up(self) -> None:
        """Ends everything that is left, so that nobody waits for it."""
        while self._inbox:
            item = self._inbox.popleft()
            if not isinstance(item, frozenset | Relog):
                self._held.update(run.token for run in item)
        now = self._clock.now()
        outcome = _STOPPED if self._stopping else _FAULT
        self._done += [Done(token, outcome, now, now) for token in self._held]
        for flight in list(self._flights.values()):
            self._end(flight, flight.verdict or outcome)
        self._held.clear()
        self._prepared.set()
        self._deliver()
