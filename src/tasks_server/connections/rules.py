"""Which connections are closed: those that are idle for too long, and of those that are too many the idlest."""

from collections import defaultdict
from collections.abc import Collection, Iterable
from typing import Final

import msgspec

from tasks_server.connections.kernel import Connection, Peer

RATE_MIN_BYTES: Final = 8 * 1_024
"""Bytes a second that the other end takes of an answer at least, on the whole, once its first time is over."""
_FRESH_MS: Final = 1_000
"""Who has only just come is about to bring something."""
_SLACK: Final = 30
"""The server itself closes what is idle too long, with an answer where it can; it is given this part of the time more.
"""


class Places(msgspec.Struct, frozen=True):
    """How many connections there may be: in all, of one address, and accepted before anybody looks again."""

    connections: int
    per_address: int
    accepted: int


def places(wanted: int, per_address: int, files: int) -> Places:
    """What is possible where a process may have `files` files open. `per_address` 0: half of all.

    >>> places(16_384, 0, 65_536)
    Places(connections=16384, per_address=8192, accepted=20480)
    >>> places(16_384, 10_000, 1_024)
    Places(connections=614, per_address=614, accepted=768)
    """
    accepted = min(wanted + max(wanted // 4, 64), files - min(1_024, files // 4))
    connections = min(wanted, accepted * 4 // 5)
    return Places(connections, min(per_address or max(connections // 2, 1), connections), accepted)


class Stalled:
    """Remembers since when a connection has had an answer to take, and how much it had taken by then."""

    def __init__(self, silence_ms: int) -> None:
        self._silence_ms = silence_ms
        self._since: dict[int, tuple[int, int]] = {}

    def among(self, connections: Iterable[Connection], now_ms: int) -> list[Connection]:
        """Those that take their answers too slowly."""
        before, self._since = self._since, {}
        slow = []
        for connection in connections:
            if connection.unsent:
                since, taken = before.get(connection.inode, (now_ms, connection.taken))
                self._since[connection.inode] = (since, taken)
                allowed_ms = self._silence_ms + (connection.taken - taken) * 1_000 // RATE_MIN_BYTES
                if now_ms - since >= allowed_ms:
                    slow.append(connection)
        return slow


def idle_too_long(
    connections: Iterable[Connection], at_work: Collection[tuple[str, str] | None], silence_ms: int
) -> list[Connection]:
    """Those that brought and took nothing for so long, and have no request."""
    bound = silence_ms + silence_ms // _SLACK
    return [one for one in connections if one.idle_ms >= bound and not _works(one.peer, at_work)]


def too_many(
    connections: Collection[Connection], at_work: Collection[tuple[str, str] | None], bounds: Places
) -> list[Connection]:
    """Those that make room. Whoever has the most gives the most; the idlest go, first of all those that never brought
    anything; none with a request at work.
    """
    by_net: dict[bytes, list[Connection]] = defaultdict(list)
    for connection in connections:
        by_net[connection.peer.net].append(connection)
    level = _level([len(group) for group in by_net.values()], bounds)
    closed: list[Connection] = []
    for group in by_net.values():
        if len(group) > level:
            closed += _idlest(group, at_work, len(group) - level)
    excess = len(connections) - len(closed) - bounds.connections
    if excess > 0:
        gone = {connection.fd for connection in closed}
        closed += _idlest((one for one in connections if one.fd not in gone), at_work, excess)
    return closed


def _level(counts: list[int], bounds: Places) -> int:
    """How many each address may keep, so that all find a place: at least one, at most its bound."""
    level, left = bounds.per_address, bounds.connections
    for place, count in enumerate(sorted(counts)):
        share = left // (len(counts) - place)
        if min(count, level) > share:
            return max(1, share)
        left -= min(count, level)
    return level


def _idlest(
    connections: Iterable[Connection], at_work: Collection[tuple[str, str] | None], count: int
) -> list[Connection]:
    free = [one for one in connections if not _works(one.peer, at_work)]
    return sorted(free, key=lambda one: (one.brought > 0 or one.idle_ms < _FRESH_MS, -one.idle_ms))[:count]


def _works(peer: Peer, at_work: Collection[tuple[str, str] | None]) -> bool:
    return (peer.address, peer.port) in at_work
