"""Threads for handlers that are no coroutines, as many as are busy at once. One can be told to stop what it does."""

import ctypes
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Final

from tasks_server.handlers.context import Stopped

_raise_in: Final = ctypes.pythonapi["PyThreadState_SetAsyncExc"]
_raise_in.argtypes = (ctypes.c_ulong, ctypes.py_object)
_take_back: Final = ctypes.pythonapi["PyThreadState_SetAsyncExc"]
_take_back.argtypes = (ctypes.c_ulong, ctypes.c_void_p)  # a null pointer: whatever was to be raised is not


class Job:
    """Something for a thread to do. `run` does it; `end` is called with what that gave (None: it was stopped, or it
    raised) when nothing can stop it any more.
    """

    __slots__ = ("_end", "_lock", "_over", "_run", "_stopped", "_thread")

    def __init__(self, run: Callable[[], object], end: Callable[[object], None]) -> None:
        self._run = run
        self._end = end
        self._lock = threading.Lock()
        self._thread = 0
        self._over = False
        self._stopped = False

    def stop(self) -> None:
        """Raises `Stopped` in the job, as soon as it runs Python again; one that has not begun does not begin."""
        with self._lock:
            self._stopped = True
            if self._thread and not self._over:
                _raise_in(self._thread, ctypes.py_object(Stopped))

    def work(self) -> None:
        """Does it, on this thread."""
        given: object = None
        begun = False
        while True:
            try:
                if not begun:
                    begun = True
                    with self._lock:
                        self._thread = threading.get_ident()
                        wanted = not self._stopped
                    if wanted:
                        given = self._run()
                self._close()
                break
            except BaseException:  # `Stopped` comes once at most for each `stop`, wherever this thread just was
                pass
        self._end(given)

    def _close(self) -> None:
        """When this has returned, `Stopped` does not come up in this thread any more."""
        with self._lock:
            self._over = True
        _take_back(self._thread, None)


class Threads:
    """Runs jobs at once: a thread that is idle takes one, else a new thread does. Threads stay."""

    def __init__(self) -> None:
        self._jobs: SimpleQueue[Job] = SimpleQueue()
        self._lock = threading.Lock()
        self._idle = 0
        """Threads that wait for a job; below zero: jobs that wait for a thread."""
        self._count = 0

    def start(self, job: Job) -> None:
        """Runs it at once or, when the system gives no more threads, as soon as one of those that are there is idle.
        Raises `RuntimeError` when there is none. For one thread to call.
        """
        with self._lock:
            enough = self._idle > 0
        if not enough and not self._grow() and not self._count:
            raise RuntimeError("no thread can be started")
        with self._lock:
            self._idle -= 1
        self._jobs.put(job)

    def _grow(self) -> bool:
        """Adds a thread, if the system gives one."""
        name = f"handler-{self._count + 1}"
        try:
            threading.Thread(target=self._work, name=name, daemon=True).start()
        except (RuntimeError, MemoryError):
            return False
        self._count += 1
        return True

    def _work(self) -> None:
        while True:
            with self._lock:
                self._idle += 1
            self._jobs.get().work()
