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
    """Something for a thread to do. `run` does it; `end` is called with what that gave (None: it was stopped) when
    nothing can stop it any more.
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
            except Stopped:  # once at most for each `stop`, wherever this thread just was
                continue
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
        self._count = 0

    def start(self, job: Job) -> None:
        with self._lock:
            if self._idle:
                self._idle -= 1
                new = False
            else:
                self._count += 1
                new = True
        self._jobs.put(job)
        if new:
            threading.Thread(target=self._work, name=f"handler-{self._count}", daemon=True).start()

    def _work(self) -> None:
        while True:
            self._jobs.get().work()
            with self._lock:
                self._idle += 1
