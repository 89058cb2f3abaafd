"""Runs calls: coroutines on the event loop, other handlers in threads. What the engine says is read on a thread of its
own, so that neither keeps it from being heard.
"""

import asyncio
import contextlib
import os
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any, Final

from tasks_server import traces
from tasks_server.clock import Clock
from tasks_server.handlers.context import Context, Stopped
from tasks_server.handlers.frames import Blocked, Call, Cancel, Ended, Noted, Relog, ToRunner
from tasks_server.handlers.noting import Noting
from tasks_server.runner import endings
from tasks_server.runner.link import Link
from tasks_server.runner.loading import Handler
from tasks_server.runner.logs import current_task, follow
from tasks_server.runner.threads import Job, Threads
from tasks_server.telemetry import Telemetry, leave_lost_terminal
from tasks_server.telemetry.events import HandlerFailed, LoopBlocked, ResultNotKept, Unexpected

_BLOCKED_SECONDS: Final = 0.5
"""An event loop that has not taken up a cancellation for so long is blocked. Less than the engine's patience."""

_NOTE_SECONDS: Final = 0.25
"""What is noted within this time goes to the engine together."""
_FAULT: Final = 1


class Running:
    """A call in work. What is done to it is done by the thread or loop it runs on, but for `stop`."""

    __slots__ = ("begun", "call", "cancelled", "handler", "heard", "job", "noting", "stopped", "task")

    def __init__(self, call: Call, handler: Handler) -> None:
        self.call = call
        self.handler = handler
        self.cancelled: threading.Event | None = None
        """That of its context, wherever the handler has put it."""
        self.noting: Noting | None = None
        self.task: asyncio.Task[None] | None = None
        self.job: Job | None = None
        self.begun = False
        self.stopped = False
        self.heard = False
        """Whether the event loop has taken up the cancellation."""

    def arguments(self, clock: Clock, on_note: Callable[[], None]) -> tuple[list[Any], dict[str, Any]]:
        """What the function is called with. `on_note` is called when it notes something. Raises `Unfit`."""
        registration, read = self.handler
        call, positional, named = self.call, [], {}
        parameter = registration.payload
        if parameter is not None and read is not None:
            left_out = call.payload == b"null" and parameter.default is not parameter.empty
            if not left_out:
                positional.append(read(call.payload))
        if registration.context is not None:
            self.noting = Noting(clock.now, on_note)
            context = named[registration.context] = Context(
                task_id=call.task_id,
                name=call.name,
                attempt=call.attempt,
                failures=call.failures,
                created_at_ms=call.created_at,
                due_at_ms=call.due_at,
                timeout_seconds=call.timeout_ms / 1_000,
                metadata=call.metadata,
                noting=self.noting,
            )
            self.cancelled = context.cancelled
            if self.stopped:
                self.cancelled.set()
        return positional, named

    def noted(self) -> Noted | None:
        """What it has noted since this was asked last."""
        noted = self.noting.take() if self.noting is not None else None
        return None if noted is None else Noted(self.call.token, *noted)


class Work:
    """The calls of this process. `handlers` is set once they are imported, before the first call comes."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, link: Link, clock: Clock, told: Telemetry, result_bytes_max: int
    ) -> None:
        self.handlers: dict[str, Handler] = {}
        self._loop = loop
        self._link = link
        self._clock = clock
        self._told = told
        self._result_bytes_max = result_bytes_max
        self._running: dict[int, Running] = {}
        self._threads = Threads()
        self._unheard: list[tuple[float, Running]] = []
        self._noting: dict[int, Running] = {}
        """Those that have noted something of which the engine does not know; guarded by the lock."""
        self._noting_lock = threading.Lock()

    def read(self) -> None:
        """Takes in what the engine says, for ever. Runs on a thread of its own; a fault of ours ends the process."""
        try:
            while True:
                wait = max(0.0, self._unheard[0][0] - self._clock.monotonic()) if self._unheard else None
                self._take(self._link.receive(wait))
                self._look_after_the_loop()
        except BaseException as error:
            self._told.emit(Unexpected.of("run handlers", error))
            os._exit(_FAULT)

    def _take(self, messages: Sequence[ToRunner]) -> None:
        coroutines: list[Running] = []
        for message in messages:
            if isinstance(message, Call):
                running = Running(message, self.handlers[message.name])
                self._running[message.token] = running
                if running.handler.registration.coroutine:
                    coroutines.append(running)
                else:
                    self._start_in_thread(running)
            elif isinstance(message, Cancel):
                self._cancel(message.token)
            elif isinstance(message, Relog):
                self._told.set_level(message.log_level)
                follow(self._told)
                leave_lost_terminal()
        if coroutines:
            self._loop.call_soon_threadsafe(self._begin, coroutines)

    # Threads

    def _start_in_thread(self, running: Running) -> None:
        def run() -> Ended:
            return self._run(running)

        def end(given: object) -> None:
            self._running.pop(running.call.token, None)
            self._tell_last_notes(running)
            call = running.call
            silent = endings.cancelled(call) if running.stopped else endings.unknown(call)
            self._link.post(given if isinstance(given, Ended) else silent)

        running.job = Job(run, end)
        try:
            self._threads.start(running.job)
        except RuntimeError as error:
            end(self._failed(running, error))

    def _run(self, running: Running) -> Ended:
        current_task.set(running.call.task_id)
        try:
            positional, named = running.arguments(self._clock, lambda: self._has_noted(running))
            value = running.handler.registration.function(*positional, **named)
            return self._succeeded(running, value)
        except Stopped as error:
            if running.stopped:
                raise
            return self._failed(running, error)
        except BaseException as error:
            return self._failed(running, error)

    # The event loop

    def _begin(self, several: Sequence[Running]) -> None:
        for running in several:
            work = self._run_coroutine(running)
            try:
                running.task = self._loop.create_task(work)
            except BaseException as error:  # by a task factory of users
                work.close()
                self._ended(self._failed(running, error))

    async def _run_coroutine(self, running: Running) -> None:
        running.begun = True
        current_task.set(running.call.task_id)
        ended = endings.unknown(running.call)
        try:
            ended = endings.cancelled(running.call) if running.stopped else await self._run_here(running)
        finally:
            self._tell_last_notes(running)
            self._ended(ended)

    async def _run_here(self, running: Running) -> Ended:
        try:
            positional, named = running.arguments(self._clock, lambda: self._has_noted(running))
            value = await running.handler.registration.function(*positional, **named)
            return self._succeeded(running, value)
        except asyncio.CancelledError as error:
            return endings.cancelled(running.call) if running.stopped else self._failed(running, error)
        except BaseException as error:
            return self._failed(running, error)

    def _ended(self, ended: Ended) -> None:
        del self._running[ended.token]
        if self._link.keep(ended):
            self._loop.call_soon(self._link.flush)

    # Notes

    def _has_noted(self, running: Running) -> None:
        """It has noted something, in whatever thread it runs."""
        with self._noting_lock:
            first = not self._noting
            self._noting[running.call.token] = running
        if first:
            with contextlib.suppress(RuntimeError):  # users' code has closed the loop
                self._loop.call_soon_threadsafe(self._loop.call_later, _NOTE_SECONDS, self._tell_notes)

    def _tell_notes(self) -> None:
        with self._noting_lock:
            several, self._noting = list(self._noting.values()), {}
        for running in several:
            self._tell_last_notes(running)

    def _tell_last_notes(self, running: Running) -> None:
        noted = running.noted()
        if noted is not None:
            self._link.post(noted)

    # Endings

    def _succeeded(self, running: Running, value: Any) -> Ended:
        call = running.call
        ended = endings.succeeded(call, value, self._result_bytes_max)
        if ended.error is not None:
            self._told.emit(ResultNotKept(task=call.task_id, handler=call.name, reason=ended.error))
        return ended

    def _failed(self, running: Running, error: BaseException) -> Ended:
        call = running.call
        ended = endings.failed(call, error)
        if not running.stopped:
            trace = "" if endings.steers(error) else traces.traced(error, own_frames=1)
            told = ended.error or ""
            self._told.emit(
                HandlerFailed(task=call.task_id, handler=call.name, attempt=call.attempt, error=told, trace=trace)
            )
        return ended

    # Cancelling

    def _cancel(self, token: int) -> None:
        running = self._running.get(token)
        if running is None:  # it has just ended
            return
        running.stopped = True
        if running.cancelled is not None:
            running.cancelled.set()
        if running.job is not None:
            running.job.stop()
        else:
            self._unheard.append((self._clock.monotonic() + _BLOCKED_SECONDS, running))
            self._loop.call_soon_threadsafe(self._cancel_coroutine, running)

    def _cancel_coroutine(self, running: Running) -> None:
        running.heard = True
        if running.begun and running.task is not None:
            running.task.cancel()

    def _look_after_the_loop(self) -> None:
        """Tells the engine when the loop does not go on, and who keeps it."""
        now = self._clock.monotonic()
        while self._unheard and (self._unheard[0][1].heard or self._unheard[0][0] <= now):
            _, running = self._unheard.pop(0)
            if not running.heard:
                self._tell_who_blocks()
                self._unheard.clear()

    def _tell_who_blocks(self) -> None:
        task = asyncio.current_task(self._loop)
        culprit = next((one for one in list(self._running.values()) if task and one.task is task), None)
        where = _stack_of_main_thread()
        if culprit is None:
            self._told.emit(LoopBlocked(task="", handler="", trace=where))
            self._link.post(Blocked(0))
        else:
            self._told.emit(LoopBlocked(task=culprit.call.task_id, handler=culprit.call.name, trace=where))
            self._link.post(Blocked(culprit.call.token))


def _stack_of_main_thread() -> str:
    main = threading.main_thread().ident
    return traces.stack(sys._current_frames().get(main) if main is not None else None)
