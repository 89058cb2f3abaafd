"""Our process among those that work on the database: its number, its heartbeat, and who is known to be dead."""

import os
import socket
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from tasks_server import __version__
from tasks_server.clock import Clock
from tasks_server.domain.leases import Vigil
from tasks_server.store.postgres.link import Connection, Link, one
from tasks_server.store.postgres.statements import sql

BEAT_SECONDS: Final = 5.0
_FORGOTTEN_SECONDS: Final = 3_600.0
"""A node whose heartbeat was seen to stand still for so long is struck off."""


class RollCall(msgspec.Struct, frozen=True):
    """The nodes that are there, and those that are not any more (None: not known, there was no roll call before). When
    there was none, `cut_off` are those of `alive` that are not connected to the database.
    """

    alive: set[int]
    gone: set[int] | None
    cut_off: frozenset[int] = frozenset()


class Nodes:
    """A process takes a number when it first needs one. Leases carry it.

    Whoever dies on another machine is missed when its leases end. Of those on this machine, the kernel tells at
    once.
    """

    def __init__(self, link: Link, clock: Clock, role: str) -> None:
        self._link = link
        self._clock = clock
        self.joined = False
        """Whether a heartbeat goes."""
        self._number = 0
        self._joining = threading.Lock()
        self._present: set[int] | None = None
        self._silent: Vigil[tuple[int, int]] = Vigil()
        self._self: dict[str, Any] = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "role": role,
            "version": __version__,
            "realm": _realm(),
            "born": _born(os.getpid()) or 0,
        }

    def number(self, connection: Connection) -> int:
        """Our number, taken at the first call."""
        with self._joining:
            if not self._number:
                (self._number,) = one(connection, sql("node_insert"), self._self | {"now": self._clock.now()})
        return self._number

    def beat(self, connection: Connection, items: Sequence[None]) -> Sequence[None]:
        """Each item asks for the same: we are alive; and what time the database tells."""
        self._link.sample(connection)
        number, now = self.number(connection), self._clock.now()
        beat = self._self | {"number": number, "now": now, "pooled": self._link.pooled}
        connection.execute(sql("node_seen"), beat)
        return [None] * len(items)

    def leave(self, connection: Connection, items: Sequence[None]) -> Sequence[None]:
        """We are no more."""
        if self._number:
            self.bury(connection, [self._number])
            self._number = 0
        self.joined = False
        return [None] * len(items)

    def roll_call(self, connection: Connection) -> "RollCall":
        """Who is there, and who has gone since the last roll call that `answered` confirmed. Nodes on this machine
        whose process has ended without leaving are struck off, and those that are silent for an hour.
        """
        self.number(connection)
        rows = self._rows(connection)
        alive, dead = self._sorted(rows)
        silence = self._silent.look(((row[0], row[4]) for row in rows), self._clock.monotonic())
        forgotten = {number for (number, _), seconds in silence.items() if seconds >= _FORGOTTEN_SECONDS}
        dead |= forgotten - {self._number}
        alive -= dead
        if dead:
            self.bury(connection, list(dead))
        if self._present is None:
            cut_off = frozenset(number for (number,) in connection.execute(sql("nodes_cut_off")))
            return RollCall(alive, None, cut_off & alive)
        return RollCall(alive, self._present - alive)

    def present(self, connection: Connection) -> set[int]:
        """Who is there, as far as is known: who died on another machine may be among them."""
        return self._sorted(self._rows(connection))[0]

    @staticmethod
    def _rows(connection: Connection) -> list[Any]:
        return connection.execute(sql("nodes_list")).fetchall()

    def _sorted(self, rows: Sequence[Any]) -> tuple[set[int], set[int]]:
        """The nodes that are there, and those on this machine whose process has ended without leaving."""
        realm = self._self["realm"]
        dead = {number for number, pid, born, where, _ in rows if realm and where == realm and _born(pid) != born}
        return {number for number, *_ in rows} - dead, dead

    def answered(self, call: "RollCall") -> None:
        """What those who have gone had in work is given back."""
        self._present = call.alive

    @staticmethod
    def bury(connection: Connection, numbers: Sequence[int]) -> None:
        """Forgets nodes; nothing runs under their leases any more."""
        connection.execute(sql("nodes_delete"), {"numbers": list(numbers)})


def _realm() -> str:
    """Within which a process id means one process: this machine since its start, this namespace. Empty: unknown."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}/{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        return ""


def _born(pid: int) -> int | None:
    """When a process began, in clock ticks since the machine started (proc(5), field 22); None: there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    state, *rest = stat.rpartition(")")[2].split()
    return None if state in "ZX" else int(rest[18])
