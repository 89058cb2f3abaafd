"""The thread that looks after connections: closes those that hold a place for nothing, before places run out."""

import threading
from collections.abc import Callable
from typing import Final, Protocol

import msgspec

from tasks_server.clock import Clock
from tasks_server.connections.kernel import Connection, Sockets
from tasks_server.connections.rules import Places, Stalled, idle_too_long, too_many
from tasks_server.telemetry import Telemetry
from tasks_server.telemetry.events import ConnectionsDropped, Unexpected

_GLANCE_SECONDS: Final = 0.5
_LOOK_SECONDS_MAX: Final = 5.0
_TELL_SECONDS: Final = 60.0


class Peers(Protocol):
    """The other ends whose requests are worked on; `awaited`: or whose bodies are waited for, which is limited by
    itself.
    """

    def __call__(self, *, awaited: bool) -> set[tuple[str, str] | None]: ...


class Watched(msgspec.Struct):
    """What the doorkeeper looks at: the sockets, the other ends that have requests, and what else is to be looked after
    at every glance.
    """

    sockets: Sockets
    peers: Peers
    glance: Callable[[], None]


class Doorkeeper:
    """Counts open files twice a second, which costs nothing; looks at each connection every few seconds, or as often
    as it counts once half of the places are taken.
    """

    def __init__(
        self, watched: Watched, bounds: Places, silence_seconds: float, clock: Clock, telemetry: Telemetry
    ) -> None:
        self._watched = watched
        self._bounds = bounds
        self._silence_ms = round(silence_seconds * 1_000)
        self._look_seconds = min(_LOOK_SECONDS_MAX, silence_seconds / 4)
        self._clock = clock
        self._telemetry = telemetry
        self._stalled = Stalled(self._silence_ms)
        self._look_at = 0.0
        self._dropped = 0
        self._tell_at = 0.0
        self._stopped = threading.Event()

    def start(self) -> None:
        """Begins to look, in a thread of its own."""
        threading.Thread(target=self._watch, name="doorkeeper", daemon=True).start()

    def stop(self) -> None:
        """Does not look again."""
        self._stopped.set()

    def glance(self) -> None:
        """Looks closer when it is time, or when many files are open."""
        self._watched.glance()
        now = self._clock.monotonic()
        if now >= self._look_at or self._watched.sockets.files() > self._bounds.connections // 2:
            self._look_at = now + self._look_seconds
            self.look()

    def look(self) -> None:
        """Closes what holds a place for nothing, and makes room where there are too many."""
        now = self._clock.monotonic()
        connections = self._watched.sockets.connections()
        idle = idle_too_long(connections, self._watched.peers(awaited=True), self._silence_ms)
        idle += self._stalled.among(connections, round(now * 1_000))
        gone = {connection.fd for connection in idle}
        rest = [connection for connection in connections if connection.fd not in gone]
        many = too_many(rest, self._watched.peers(awaited=False), self._bounds)
        for connection in idle:
            self._watched.sockets.close(connection)
        self._dropped += sum(map(self._watched.sockets.close, many))
        if self._dropped and now >= self._tell_at:
            self._tell_at = now + _TELL_SECONDS
            self._tell(many)

    def _tell(self, many: list[Connection]) -> None:
        nets: dict[bytes, list[str]] = {}
        for connection in many:
            nets.setdefault(connection.peer.net, []).append(connection.peer.address)
        most = max(nets.values(), key=len, default=[""])[0]
        self._telemetry.emit(ConnectionsDropped(count=self._dropped, places=self._bounds.connections, most_of=most))
        self._dropped = 0

    def _watch(self) -> None:
        while not self._stopped.wait(_GLANCE_SECONDS):
            try:
                self.glance()
            except Exception as error:
                self._telemetry.emit(Unexpected.of("look after connections", error))
