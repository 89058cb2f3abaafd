"""Has certificates and keys examined in a process of their own, which is started for the first of them and ended when
there were none for a while. Owners take turns; whoever waits, waits for itself.
"""

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Final

from tasks_server.clock import Clock
from tasks_server.domain.certificates import Certificates, Examined
from tasks_server.domain.errors import Fault, Throttled
from tasks_server.engine.certificates import framing

_COMMAND: Final = (sys.executable, "-P", "-m", "tasks_server.engine.certificates.opening")
_PATIENCE_SECONDS: Final = 5.0
"""For the certificates and keys of one request. Twice what the most rounds take on a slow machine."""
_START_SECONDS: Final = 20.0
"""The same with the start of the process."""
_IDLE_SECONDS: Final = 60.0
_WAITING_MAX: Final = 4
"""Requests of one owner that wait."""
_RETRY_SECONDS: Final = 2
_BARRED_SECONDS: Final = 60.0
"""For so long, an owner whose keys took too long may send none: others wait behind each of them."""
_ENVIRONMENT: Final = frozenset(
    {"PATH", "LANG", "LC_ALL", "TZ", "PYTHONPATH", "PYTHONPYCACHEPREFIX", "LD_LIBRARY_PATH"}
)
"""What the process inherits: no secrets of the server."""


class _Job:
    __slots__ = ("_future", "_loop", "batch", "owner")

    def __init__(self, owner: str, batch: Sequence[Certificates]) -> None:
        self.owner = owner
        self.batch = batch
        self._loop = asyncio.get_running_loop()
        self._future: asyncio.Future[list[Examined]] = self._loop.create_future()

    def end(self, found: list[Examined]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._set, found)

    def _set(self, found: list[Examined]) -> None:
        if not self._future.done():
            self._future.set_result(found)

    async def ended(self) -> list[Examined]:
        return await self._future


class _Opener:
    """The process, used by one thread."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        environment = {name: value for name, value in os.environ.items() if name in _ENVIRONMENT}
        with theirs:
            self._process = subprocess.Popen(
                [*_COMMAND, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                process_group=0,
                env=environment,
            )
        self._link = ours
        self._patience = _START_SECONDS

    def examine(self, batch: Sequence[Certificates]) -> list[Examined] | None:
        """None: it took too long, or brought the process down."""
        self._link.settimeout(self._patience)
        self._patience = _PATIENCE_SECONDS
        try:
            framing.send(self._link, framing.encode(batch))
            return framing.told.decode(framing.receive(self._link))
        except (OSError, EOFError):
            return None

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        self._link.close()


class Examiner:
    """Implements `service.ground.Examiner`. It is for one event loop; a thread of its own waits for the process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._barred: dict[str, float] = {}
        """Owners whose keys took too long, and until when they may send none."""
        self._turns: dict[str, deque[_Job]] = {}
        """Owners who wait, the next one first."""
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False
        self.busy = False
        """Whether a request is in work."""

    async def examine(self, owner: str, asked: Sequence[Certificates]) -> Mapping[Certificates, Examined]:
        """What is to be told of each. Raises `Throttled` when the owner has as many requests waiting as it may, or sent
        keys that took too long a moment ago.
        """
        job = _Job(owner, asked)
        with self._changed:
            self._refuse_if_barred(owner)
            line = self._turns.setdefault(owner, deque())
            if len(line) >= _WAITING_MAX:
                text = f"{_WAITING_MAX} requests of this owner wait until their certificates and keys are opened"
                raise Throttled(text, retry_after_seconds=_RETRY_SECONDS, limit=_WAITING_MAX)
            line.append(job)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="certificates", daemon=True)
                self._thread.start()
            self._changed.notify()
        return dict(zip(asked, await job.ended(), strict=True))

    def _refuse_if_barred(self, owner: str) -> None:
        if not self._barred:
            return
        now = self._clock.monotonic()
        self._barred = {each: until for each, until in self._barred.items() if until > now}
        if owner in self._barred:
            wait = max(1, round(self._barred[owner] - now))
            text = f"a key of this owner took more than {_PATIENCE_SECONDS:g} s to open; send others in {wait} s"
            raise Throttled(text, retry_after_seconds=wait, limit=_WAITING_MAX)

    def close(self) -> None:
        """Ends the process; who waits is told that it took too long."""
        with self._changed:
            self._closed, thread = True, self._thread
            self._changed.notify()
        if thread is not None:
            thread.join(_START_SECONDS)

    def _work(self) -> None:
        opener: _Opener | None = None
        try:
            while (job := self._next()) is not None:
                opener = opener or _Opener()
                found = None if self._closed else opener.examine(job.batch)
                if found is None:
                    self._barred[job.owner] = self._clock.monotonic() + _BARRED_SECONDS
                    opener.end()
                    opener = None
                job.end(found if found is not None else [_too_long(asked) for asked in job.batch])
        finally:
            if opener is not None:
                opener.end()

    def _next(self) -> _Job | None:
        """The next job in turn, once there is one; None: there was none for a while, and this thread is to end."""
        with self._changed:
            self.busy = False
            if not self._turns and not self._closed:
                self._changed.wait(_IDLE_SECONDS)
            if not self._turns:
                self._thread = None
                return None
            self.busy = True
            owner = next(iter(self._turns))
            line = self._turns.pop(owner)
            job = line.popleft()
            if line:
                self._turns[owner] = line
            return job


def _too_long(asked: Certificates) -> Examined:
    field = "config.ca" if asked.cert is None and asked.key is None else "config.cert.value"
    text = f"takes more than {_PATIENCE_SECONDS:g} s to open; lock the key with fewer rounds, or give it unlocked"
    return Examined([Fault(field, text)])
