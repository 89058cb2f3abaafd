"""The sockets that libcurl waits for, watched by epoll, and a way to end that wait from another thread."""

import os
import select
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import pycurl

_EVENTS_MAX: Final = 512
_READ: Final = select.EPOLLIN | select.EPOLLHUP | select.EPOLLRDHUP
# What libcurl asks for (POLL_IN, POLL_OUT, POLL_INOUT) as epoll says it, and epoll's answer as libcurl wants it.
_WANTED: Final = {
    pycurl.POLL_NONE: 0,
    pycurl.POLL_IN: select.EPOLLIN,
    pycurl.POLL_OUT: select.EPOLLOUT,
    pycurl.POLL_INOUT: select.EPOLLIN | select.EPOLLOUT,
}


class Sockets:
    """Those of one multi handle at a time. Not thread-safe but for `wake`."""

    def __init__(self) -> None:
        self._watched: dict[int, int] = {}
        self._trouble: BaseException | None = None
        self._epoll = select.epoll()
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._wake_lock = threading.Lock()
        self._closed = False
        self._epoll.register(self._wake_fd, select.EPOLLIN)

    def wake(self) -> None:
        """Ends the `wait` of another thread. Does nothing once closed."""
        with self._wake_lock:
            if not self._closed:
                os.eventfd_write(self._wake_fd, 1)

    def watch(self, what: int, fd: int, _multi: object, _data: object) -> None:
        """For libcurl: takes in which events of which socket it waits for. What is raised here it would only print."""
        try:
            if what == pycurl.POLL_REMOVE:
                del self._watched[fd]
                with suppress(FileNotFoundError):
                    self._epoll.unregister(fd)
            elif fd in self._watched:
                self._watched[fd] = what
                self._epoll.modify(fd, _WANTED[what])
            else:
                self._epoll.register(fd, _WANTED[what])
                self._watched[fd] = what
        except BaseException as error:  # raised again by `wait`
            self._trouble = error

    def wait(self, timeout_seconds: float | None, action: Callable[[int, int], object]) -> bool:
        """Waits for an event of a socket or for `wake`, and tells `action` (libcurl's) of the former. Whether there
        was any before the timeout (None: without end). Raises what went wrong in `watch`.
        """
        self._check()
        events = self._epoll.poll(timeout_seconds, _EVENTS_MAX)
        for fd, mask in events:
            if fd == self._wake_fd:
                os.eventfd_read(fd)
            elif fd in self._watched:
                action(
                    fd,
                    (pycurl.CSELECT_IN if mask & _READ else 0)
                    | (pycurl.CSELECT_OUT if mask & select.EPOLLOUT else 0)
                    | (pycurl.CSELECT_ERR if mask & select.EPOLLERR else 0),
                )
        self._check()
        return bool(events)

    def forget(self) -> None:
        """The multi handle is closed, and all its sockets with it."""
        self._watched.clear()

    def close(self) -> None:
        self._epoll.close()
        with self._wake_lock:
            self._closed = True
            os.close(self._wake_fd)

    def _check(self) -> None:
        if self._trouble is not None:
            raise self._trouble
