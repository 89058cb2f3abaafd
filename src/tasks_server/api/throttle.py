"""Holds back who asks too often: so many requests in a fixed window of time, counted in this process."""

from collections.abc import Sequence
from typing import Final

from tasks_server.clock import Clock
from tasks_server.domain.errors import Throttled

_CALLERS_MAX: Final = 10_000


class Throttle:
    """Counts requests by caller. Each caller's window begins with its first request."""

    def __init__(self, requests_max: int, window_ms: int, clock: Clock) -> None:
        self._max = requests_max
        self._window_seconds = window_ms / 1_000
        self._clock = clock
        self._windows: dict[str, tuple[float, int]] = {}

    def count(self, name: str, requests_max: int | None = None) -> Sequence[tuple[bytes, bytes]]:
        """Counts one request of `name`, which may send `requests_max` in a window, None: as all others; gives the
        RateLimit headers of its answer. Raises `Throttled`.
        """
        most = self._max if requests_max is None else requests_max
        now = self._clock.monotonic()
        ends_at, count = self._windows.get(name, (0.0, 0))
        if ends_at <= now:
            self._make_room(now)
            ends_at, count = now + self._window_seconds, 0
        self._windows[name] = (ends_at, count + 1)
        left = max(1, -int(-(ends_at - now) // 1))
        if count >= most:
            raise Throttled(
                f"more than {most} requests in {self._window_seconds:g} s; go on in {left} s",
                retry_after_seconds=left,
                limit=most,
            )
        return rate_limit_headers(most, most - count - 1, left)

    def _make_room(self, now: float) -> None:
        if len(self._windows) >= _CALLERS_MAX:
            self._windows = {name: window for name, window in self._windows.items() if window[0] > now}
            if len(self._windows) >= _CALLERS_MAX:
                self._windows.clear()


def rate_limit_headers(limit: int, remaining: int, reset_seconds: int) -> Sequence[tuple[bytes, bytes]]:
    """What tells a caller where it stands in its window."""
    return (
        (b"ratelimit-limit", b"%d" % limit),
        (b"ratelimit-remaining", b"%d" % remaining),
        (b"ratelimit-reset", b"%d" % reset_seconds),
    )
