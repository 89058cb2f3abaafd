"""Hints between processes by NOTIFY. They cost a little and may be lost: whoever waits also looks by itself."""

import asyncio
import contextlib
import os
import secrets
import socket
import threading
from collections.abc import Callable, Sequence
from typing import Any, Final

import psycopg

from tasks_server.clock import Clock
from tasks_server.domain.errors import StoreError
from tasks_server.store.ports import Hints
from tasks_server.store.postgres.link import Connection, Link
from tasks_server.store.postgres.session import Session

CHANNEL: Final = "tasks_server"
_POLL_SECONDS: Final = 0.1
"""How often a process that hears no notifications looks for work."""
_HEAR_SECONDS: Final = 0.5
"""How long the listening thread waits before it looks whether it shall end."""
_TEST_SECONDS: Final = 2.0
_AGAIN_SECONDS: Final = 1.0
_CANCEL: Final = "c"
_SCHEDULES: Final = "s"


def notify(connection: Connection, items: Sequence[str]) -> Sequence[None]:
    """Each item is a message to all who listen. Nobody waits for it to reach the disk."""
    for item in items:
        connection.execute("SELECT set_config('synchronous_commit', 'off', true), pg_notify(%s, %s)", (CHANNEL, item))
    return [None] * len(items)


class Hinting:
    """Sends and receives. Hints of one turn of the event loop, and those that come while one is on its way, go out
    together: a batch of inserts is one notification.
    """

    def __init__(self, link: Link, clock: Clock) -> None:
        self._link = link
        self._clock = clock
        self._us = secrets.token_hex(4)
        self._mouth: Session | None = None
        self._ear: _Ear | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._arrived = asyncio.Event()
        self._work_at: int | None = None
        self._cancelled = False
        self._schedules = False
        self._out_work_at: int | None = None
        self._out_cancel = False
        self._out_schedules = False
        self._sending = False

    def open(self) -> None:
        """Remembers the running event loop."""
        self._loop = asyncio.get_running_loop()
        self._mouth = Session("hints", self._link)
        self._mouth.begin()

    async def close(self) -> None:
        if self._ear is not None:
            await asyncio.to_thread(self._ear.end)
            self._ear = None
        if self._mouth is not None:
            await self._mouth.end()
            self._mouth = None
        self._loop = None

    def work(self, at: int) -> None:
        """A task may be due at `at`."""
        self._heard(at, cancelled=False)
        self._out_work_at = at if self._out_work_at is None else min(at, self._out_work_at)
        self._send_soon()

    def cancel(self) -> None:
        """A lease was taken away."""
        self._heard(None, cancelled=True)
        self._out_cancel = True
        self._send_soon()

    def schedules(self) -> None:
        """Schedules were changed."""
        self._heard(None, cancelled=False, schedules=True)
        self._out_schedules = True
        self._send_soon()

    async def wait(self, timeout_seconds: float) -> Hints:
        """The hints since the last call, as soon as one comes; empty after the timeout. Without notifications:
        after a moment, that there may be something.
        """
        if self._ear is None:
            self._ear = _Ear(self._link, self._from_thread)
            self._ear.start()
        deaf = not self._ear.hears
        seconds = min(timeout_seconds, _POLL_SECONDS) if deaf else timeout_seconds
        if self._work_at is None and not self._cancelled and not self._schedules and seconds > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._arrived.wait()
        hints = Hints(self._work_at, self._cancelled, self._schedules)
        if deaf and timeout_seconds > seconds and hints == Hints():
            hints = Hints(self._clock.now(), True)
        self._work_at, self._cancelled, self._schedules = None, False, False
        self._arrived.clear()
        return hints

    def _heard(self, at: int | None, *, cancelled: bool, schedules: bool = False) -> None:
        if at is not None:
            self._work_at = at if self._work_at is None else min(at, self._work_at)
        self._cancelled = self._cancelled or cancelled
        self._schedules = self._schedules or schedules
        self._arrived.set()

    def _from_thread(self, message: str | None) -> None:
        loop = self._loop
        if loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has closed in the meantime
                loop.call_soon_threadsafe(self._take, message)

    def _take(self, message: str | None) -> None:
        """A message, or None: some may have been missed."""
        if message is None:
            self._heard(self._clock.now(), cancelled=True)
            return
        sender, _, rest = message.partition(":")
        if sender == self._us:
            return
        work, _, words = rest.partition(":")
        at = int(work) if work.isdigit() else None
        self._heard(at, cancelled=_CANCEL in words, schedules=_SCHEDULES in words)

    def _send_soon(self) -> None:
        if self._loop is not None and not self._sending:
            self._sending = True
            self._loop.call_soon(self._send)

    def _send(self) -> None:
        work = "" if self._out_work_at is None else str(self._out_work_at)
        words = (_CANCEL if self._out_cancel else "") + (_SCHEDULES if self._out_schedules else "")
        message = f"{self._us}:{work}:{words}"
        self._out_work_at, self._out_cancel, self._out_schedules = None, False, False
        if self._mouth is None:  # closed
            self._sending = False
        else:
            self._mouth.do(notify, message).add_done_callback(self._sent)

    def _sent(self, done: "asyncio.Future[Any]") -> None:
        self._sending = False
        if not done.cancelled():
            done.exception()  # lost: it was only a hint
        if self._out_work_at is not None or self._out_cancel or self._out_schedules:
            self._send_soon()


class _Ear(threading.Thread):
    """Listens on a connection of its own. `tell` gets each message, and None when some may have been missed."""

    def __init__(self, link: Link, tell: Callable[[str | None], None]) -> None:
        super().__init__(name="postgres-ear", daemon=True)
        self._link = link
        self._tell = tell
        self._ending = threading.Event()
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self.hears = False
        """Whether notifications come through, as was tried out."""

    def end(self) -> None:
        """Ends the thread and its connection, whatever it waits for."""
        self._ending.set()
        with self._lock, contextlib.suppress(psycopg.Error, OSError):
            if self._connection is not None:
                with socket.socket(fileno=os.dup(self._connection.fileno())) as line:
                    line.shutdown(socket.SHUT_RDWR)
        self.join()

    def run(self) -> None:
        while not self._ending.is_set():
            with contextlib.suppress(StoreError, psycopg.Error):
                self._listen()
            self.hears = False
            self._ending.wait(_AGAIN_SECONDS)

    def _listen(self) -> None:
        # Bare: a pooler may leave a session to a pipeline a while after its end, and so let the trial alone through.
        connection = self._link.connect(bare=True)
        with self._lock:
            self._connection = connection
        try:
            if self._ending.is_set():
                return
            connection.execute(f"LISTEN {CHANNEL}")
            if not self._comes_through(connection):
                self._ending.wait(60 * _AGAIN_SECONDS)
                return
            self.hears = True
            self._tell(None)
            while not self._ending.is_set():
                for notification in connection.notifies(timeout=_HEAR_SECONDS):
                    self._tell(notification.payload)
        finally:
            with self._lock:
                self._connection = None
                connection.close()

    def _comes_through(self, connection: Connection) -> bool:
        """Whether what another connection says is heard on this one: a pooler may stand in between."""
        word = f"test-{secrets.token_hex(8)}"
        other = self._link.connect()
        try:
            notify(other, [word])
        finally:
            other.close()
        return any(said.payload == word for said in connection.notifies(timeout=_TEST_SECONDS, stop_after=1))
