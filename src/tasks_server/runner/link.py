"""The runner's end of the socket: one thread reads, any thread writes; what comes together goes in one frame."""

import contextlib
import os
import select
import socket
import sys
import threading
from collections import deque
from typing import Final, NoReturn

from tasks_server.handlers.frames import Start, ToEngine, ToRunner, frame, pack, to_runner

_READ_BYTES: Final = 262_144
_BATCH_MAX: Final = 1_000
_BATCH_BYTES_MAX: Final = 65_536
"""A batch that is longer ends; one message may be longer still. What a process that dies has not sent is lost."""


class Link:
    """The socket to the engine. Its end means that the engine is gone; then this process ends at once."""

    def __init__(self, fd: int) -> None:
        os.set_inheritable(fd, False)
        self._socket = socket.socket(fileno=fd)
        self._socket.setblocking(True)
        self._poll = select.poll()
        self._poll.register(fd, select.POLLIN)
        self._frames = to_runner()
        self._outbox: deque[bytes] = deque()
        self._sending = threading.Lock()
        os.register_at_fork(after_in_child=self._socket.close)

    def start(self) -> Start:
        """The first message. Blocks until it has come."""
        while True:
            for message in self.receive(None):
                assert isinstance(message, Start)
                return message

    def receive(self, timeout_seconds: float | None) -> list[ToRunner]:
        """What comes within the timeout; None: waits for it."""
        if timeout_seconds is not None and not self._poll.poll(timeout_seconds * 1_000):
            return []
        try:
            data = self._socket.recv(_READ_BYTES)
        except OSError:
            data = b""
        messages = self._frames.feed(data) if data else _leave()
        if self._frames.broken is not None:
            raise RuntimeError(f"the engine cannot be understood: {self._frames.broken}")
        return messages

    def post(self, message: ToEngine) -> None:
        """Sends a message, alone or with those of others. Raises what packing it raises; then nothing is sent."""
        self._add(message)
        self.flush()

    def keep(self, message: ToEngine) -> bool:
        """Keeps a message for the next `flush`. Whether it is the only one, so that nobody has seen to that yet. Raises
        what packing it raises; then nothing is kept.
        """
        self._add(message)
        return len(self._outbox) == 1

    def _add(self, message: ToEngine) -> None:
        if self._socket.fileno() < 0:  # a copy of this process, made by a handler that forks: it has nothing to say
            _leave()
        self._outbox.append(pack(message))

    def flush(self) -> None:
        """Sends what is kept. When another thread is at it, that one does."""
        while self._outbox:  # asked again after the release: another may have come in between, and gone away
            if not self._sending.acquire(blocking=False):
                return
            try:
                self._send()
            finally:
                self._sending.release()

    def _send(self) -> None:
        batch: list[bytes] = []
        size = 0
        while self._outbox and len(batch) < _BATCH_MAX and size < _BATCH_BYTES_MAX:
            batch.append(self._outbox.popleft())
            size += len(batch[-1])
        try:
            self._socket.sendall(frame(batch))
        except OSError:
            _leave()


def _leave() -> NoReturn:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    os._exit(0)
