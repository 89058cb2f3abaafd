"""Holds back the first calls that need a module which takes long to load, and loads it on a thread of its own: the
other calls do not wait for it.
"""

import threading
from collections.abc import Callable, Collection

from tasks_server.engine.calls import Call
from tasks_server.engine.http import ntlm
from tasks_server.engine.http.conversations import needs_ntlm


class Loading:
    """The calls that wait, by token. `wake` is called, on another thread, when they need not wait any more."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._thread: threading.Thread | None = None
        self._is_over = False
        self.waiting: dict[int, Call] = {}

    def takes(self, call: Call) -> bool:
        """Whether the call has to wait; then it does so here."""
        if self._is_over or not needs_ntlm(call):
            return False
        self.waiting[call.token] = call
        if self._thread is None:
            self._thread = threading.Thread(target=self._load, name="loading", daemon=True)
            self._thread.start()
        return True

    def take_ready(self) -> list[Call]:
        """The calls that waited, once they need not any more."""
        if not self._is_over:
            return []
        ready = list(self.waiting.values())
        self.waiting.clear()
        return ready

    def drop(self, tokens: Collection[int]) -> None:
        for token in tokens:
            self.waiting.pop(token, None)

    def close(self) -> None:
        """Returns when the thread has ended."""
        if self._thread is not None:
            self._thread.join()

    def _load(self) -> None:
        try:
            ntlm.load()
        finally:  # should it not load, the calls find that out for themselves
            self._is_over = True
            self._wake()
