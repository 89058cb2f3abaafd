"""Group commit, shared by the adapters: a thread with a queue of jobs. What arrives while one transaction runs waits
for the next one and shares it. What a transaction is, the adapter says.
"""

import asyncio
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Any, Final

from tasks_server.domain.errors import Unavailable

Batch = Callable[[Any, Sequence[Any]], Sequence[Any]]
"""Given a connection and items, does all the items in the transaction it is called in; one answer for each, in order.
An answer that is an exception is raised to the one who asked, and the rest stands."""
ROWS_MAX: Final = 1_000
"""Rows of one transaction, about; the rest waits for the next, so that other processes get their turn soon."""


class Job:
    """One thing that was asked of a batch function, and whose answer is awaited."""

    __slots__ = ("asker", "batch", "future", "item", "rows")

    def __init__(self, batch: Batch, item: Any, future: "asyncio.Future[Any]", rows: int, asker: str) -> None:
        self.batch, self.item, self.future, self.rows, self.asker = batch, item, future, rows, asker


class Arrivals:
    """Jobs in the order of their arrival; as many as have at most `rows_max` rows share a transaction."""

    def __init__(self, rows_max: int = ROWS_MAX) -> None:
        self._rows_max = rows_max
        self._jobs: deque[Job] = deque()

    def __len__(self) -> int:
        return len(self._jobs)

    def extend(self, jobs: Sequence[Job]) -> None:
        self._jobs.extend(jobs)

    def take(self) -> list[Job]:
        """Those that are to be done next, one at least."""
        shared = [self._jobs.popleft()]
        rows = shared[0].rows
        while self._jobs and rows + self._jobs[0].rows <= self._rows_max:
            rows += self._jobs[0].rows
            shared.append(self._jobs.popleft())
        return shared


class Turns:
    """Jobs of which each asker has one done in turn, so that who asks for much waits for itself."""

    def __init__(self) -> None:
        self._lines: dict[str, deque[Job]] = {}

    def __len__(self) -> int:
        return len(self._lines)

    def extend(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            self._lines.setdefault(job.asker, deque()).append(job)

    def take(self) -> list[Job]:
        """The one that is to be done next."""
        asker = next(iter(self._lines))
        line = self._lines.pop(asker)
        job = line.popleft()
        if line:
            self._lines[asker] = line
        return [job]


class Worker(threading.Thread, ABC):
    """A thread with a queue of jobs that come from one event loop, answered in that loop. `jobs` holds those that wait,
    and says which are next.
    """

    def __init__(self, name: str, jobs: "Arrivals | Turns | None" = None) -> None:
        super().__init__(name=name, daemon=True)
        self._jobs = jobs or Arrivals()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._arrived: list[Job] = []
        self._queue: SimpleQueue[list[Job] | None] = SimpleQueue()

    def begin(self) -> None:
        """Starts the thread; jobs come from the event loop that runs now."""
        self._loop = asyncio.get_running_loop()
        self.start()

    def do(self, batch: Batch, item: Any, rows: int = 1, asker: str = "") -> "asyncio.Future[Any]":
        """Asks for `item`, of about so many rows, to be done by `batch`, for `asker`; what is asked in one turn of the
        loop is handed over together.
        """
        loop = self._loop
        if loop is None:
            raise Unavailable("the store is closed")
        future: asyncio.Future[Any] = loop.create_future()
        if not self._arrived:
            loop.call_soon(self._hand_over)
        self._arrived.append(Job(batch, item, future, rows, asker))
        return future

    def _hand_over(self) -> None:
        arrived, self._arrived = self._arrived, []
        self._queue.put(arrived)

    async def end(self) -> None:
        """Finishes what was asked, then ends the thread."""
        if self._loop is None:
            return
        if self._arrived:
            self._hand_over()
        self._queue.put(None)
        await self._loop.run_in_executor(None, self.join)
        self._loop = None

    def run(self) -> None:
        jobs = self._jobs
        going = True
        while going or jobs:
            if going:
                going = self._collect()
            if jobs:
                shared = jobs.take()
                self._answer(shared, self.perform(shared))
        self.finish()

    def _collect(self) -> bool:
        """Waits for work when there is none, then takes all there is. False once the end was asked for."""
        while not self._jobs or not self._queue.empty():
            arrived = self._queue.get()
            if arrived is None:
                return False
            self._jobs.extend(arrived)
        return True

    def _answer(self, jobs: list[Job], answers: list[Any]) -> None:
        assert self._loop is not None
        # A loop that is gone has nobody waiting in it any more.
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(_resolve, jobs, answers)

    @abstractmethod
    def perform(self, jobs: list[Job]) -> list[Any]:
        """One answer for each job, in order; an exception is an answer too."""

    @abstractmethod
    def finish(self) -> None:
        """Lets go of what the thread holds."""


def _resolve(jobs: list[Job], answers: list[Any]) -> None:
    for job, answer in zip(jobs, answers, strict=True):
        if job.future.done():  # the one who asked was cancelled
            continue
        if isinstance(answer, BaseException):
            job.future.set_exception(answer)
        else:
            job.future.set_result(answer)
