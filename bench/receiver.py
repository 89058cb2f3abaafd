"""A target of our own, for what nginx cannot do: arrival times to the microsecond, and answers that take their time.

As a program it serves until SIGTERM and then writes its log; as a module it is the handle of such a process.
"""

import argparse
import heapq
import re
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from bench.target import Delivery, due_of

_ANSWER: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.I)
_HEADERS: Final = re.compile(rb"\r\nx-tasks-(queue-id|attempt): *([^\r\n]+)", re.I)
_DUE: Final = re.compile(rb"^\S+ \S+[?&]due=(\d+)")


class Receiver:
    """A receiver on a free port, as a context. `delay_seconds`: how long it takes to answer."""

    def __init__(self, log: Path, delay_seconds: float = 0.0) -> None:
        self._log = log
        self._delay_seconds = delay_seconds
        self._process: subprocess.Popen[bytes] | None = None
        self.url = ""

    def __enter__(self) -> "Receiver":
        command = [sys.executable, "-m", "bench.receiver", str(self._log), "--delay-seconds", str(self._delay_seconds)]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        port = self._process.stdout.readline().strip()  # comes when it listens
        if not port:
            sys.exit("bench: the receiver did not start")
        self.url = f"http://127.0.0.1:{port.decode()}"
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.stop()

    def stop(self) -> None:
        """Ends it; its log is there then."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=20)

    def deliveries(self) -> list[Delivery]:
        """All that came in. Call it after `stop`."""
        assert self._process is None
        found = []
        for line in self._log.read_text().splitlines():
            at, task_id, attempt, due = line.split()
            found.append(Delivery(int(at) / 1e6, task_id, int(attempt), due_of(due)))
        return found


class _Loop:
    """Serves with one epoll; it does so little that nothing else would be faster."""

    def __init__(self, listener: socket.socket, delay_seconds: float) -> None:
        self._listener = listener
        self._delay_seconds = delay_seconds
        self._poll = select.epoll()
        self._open: dict[int, tuple[socket.socket, bytearray]] = {}
        self._answers: list[tuple[float, int]] = []
        self.lines: list[bytes] = []
        self.going = True

    def watch(self, woken: socket.socket) -> None:
        """Looks up when `woken` becomes readable."""
        self._poll.register(woken, select.EPOLLIN | select.EPOLLONESHOT)

    def run(self) -> None:
        self._poll.register(self._listener, select.EPOLLIN)
        while self.going:
            wait = max(0.0, self._answers[0][0] - time.monotonic()) if self._answers else None
            for fd, _ in self._poll.poll(wait):
                if fd == self._listener.fileno():
                    self._accept()
                elif fd in self._open:
                    self._read(fd)
            while self._answers and self._answers[0][0] <= time.monotonic():
                self._answer(heapq.heappop(self._answers)[1])

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._open[connection.fileno()] = (connection, bytearray())
        self._poll.register(connection, select.EPOLLIN)

    def _read(self, fd: int) -> None:
        connection, received = self._open[fd]
        try:
            part = connection.recv(65_536)
        except ConnectionResetError:
            part = b""
        at = time.time_ns()
        if not part:
            self._close(fd)
            return
        received += part
        end = received.find(b"\r\n\r\n")
        if end < 0:
            return
        length = _LENGTH.search(received, 0, end)
        if len(received) < end + 4 + (int(length[1]) if length else 0):
            return
        self._note(at, bytes(received[:end]))
        received.clear()
        if self._delay_seconds:
            heapq.heappush(self._answers, (time.monotonic() + self._delay_seconds, fd))
        else:
            self._answer(fd)

    def _note(self, at: int, head: bytes) -> None:
        headers = {name.lower(): value for name, value in _HEADERS.findall(head)}
        due = _DUE.match(head)
        self.lines.append(
            b"%d %s %s %s\n"
            % (at, headers.get(b"queue-id", b"-"), headers.get(b"attempt", b"0"), due[1] if due else b"-")
        )

    def _answer(self, fd: int) -> None:
        if fd in self._open:
            try:
                self._open[fd][0].send(_ANSWER)
            except OSError:
                self._close(fd)

    def _close(self, fd: int) -> None:
        self._poll.unregister(fd)
        self._open.pop(fd)[0].close()
        self._answers = [answer for answer in self._answers if answer[1] != fd]
        heapq.heapify(self._answers)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("log", type=Path)
    parser.add_argument("--delay-seconds", type=float, default=0.0)
    arguments = parser.parse_args()
    with socket.create_server(("127.0.0.1", 0), backlog=4_096) as listener:
        listener.setblocking(False)
        loop = _Loop(listener, arguments.delay_seconds)

        def stop(*_: Any) -> None:
            loop.going = False

        # The signal must end the wait for events, too: its byte makes the other end readable.
        woken, waker = socket.socketpair()
        waker.setblocking(False)
        signal.set_wakeup_fd(waker.fileno())
        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        loop.watch(woken)
        print(listener.getsockname()[1], flush=True)
        loop.run()
    arguments.log.write_bytes(b"".join(loop.lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
