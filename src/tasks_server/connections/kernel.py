"""The connections of this process as the kernel knows them: whose they are, when they last brought or took something.

The HTTP server accepts and closes them by itself and tells nobody. So they are found among the open files of the
process, and what is closed here is found anew first: a number may belong to another file by then.
"""

import contextlib
import errno
import os
import socket
import stat
import struct
from typing import Final

import msgspec

_FILES: Final = "/proc/self/fd"
_INFO_BYTES: Final = 192
_LAST_DATA: Final = struct.Struct("=44xI4xI")
"""`tcpi_last_data_sent` and `tcpi_last_data_recv` of `struct tcp_info`, in ms; just after the start both count from
there.
"""
_COUNTERS: Final = struct.Struct("=120xQQ8xI")
"""`tcpi_bytes_acked`, `tcpi_bytes_received`, `tcpi_notsent_bytes`."""
_LINGER_NOT: Final = struct.pack("ii", 1, 0)
_NET_BYTES: Final = 8
"""Whoever has an IPv6 address has all that begin with the same 64 bits."""
_MAPPED: Final = bytes(10) + b"\xff\xff"


class Peer(msgspec.Struct, frozen=True):
    """The other end. `net` is what counts as one address: an IPv4 address, or 64 bits of an IPv6 one."""

    address: str
    port: str
    net: bytes


class Connection(msgspec.Struct, frozen=True, gc=False):
    """One connection at one moment. `idle_ms`: since it last brought or took data, or began. `unsent`: bytes that wait
    in the kernel until the other end takes more; `taken`, `brought`: all that it has taken and brought.
    """

    fd: int
    inode: int
    peer: Peer
    idle_ms: int
    unsent: int
    taken: int
    brought: int


class Sockets:
    """The connections to a port of this machine that this process has open."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._known: dict[int, tuple[int, Peer | None]] = {}

    @staticmethod
    def files() -> int:
        """How many files of any kind are open. The kernel counts them since Linux 6.2; before, they are listed."""
        with contextlib.suppress(OSError):
            return os.stat(_FILES).st_size or len(os.listdir(_FILES))  # noqa: PTH116, PTH208  # for speed
        return 0

    def connections(self) -> list[Connection]:
        """All of them now. Takes some microseconds for each open file."""
        before, self._known = self._known, {}
        found = []
        for name in os.listdir(_FILES):  # noqa: PTH208  # for speed
            fd = int(name)
            try:
                status = os.fstat(fd)
                if not stat.S_ISSOCK(status.st_mode):
                    continue
                inode = status.st_ino
                seen = before.get(fd)
                peer = seen[1] if seen is not None and seen[0] == inode else self._peer(fd)
                self._known[fd] = (inode, peer)
                if peer is not None:
                    found.append(_connection(fd, inode, peer))
            except OSError:  # closed while we look
                continue
        return found

    def close(self, connection: Connection) -> bool:
        """Ends a connection at once, whatever of it is on its way; whoever serves it notices. False: it is gone."""
        try:
            held = os.dup(connection.fd)  # from here on the number cannot become another file's
        except OSError:
            return False
        with socket.socket(fileno=held) as ours:
            if os.fstat(held).st_ino != connection.inode:
                return False
            try:
                ours.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
                ours.shutdown(socket.SHUT_RDWR)
            except OSError as error:
                return error.errno == errno.ENOTCONN  # the other end was faster, and the server has still to notice
        return True

    def _peer(self, fd: int) -> Peer | None:
        with socket.socket(fileno=os.dup(fd)) as ours:
            if ours.family not in (socket.AF_INET, socket.AF_INET6) or ours.type != socket.SOCK_STREAM:
                return None
            if ours.getsockname()[1] != self._port or ours.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                return None
            address, port = ours.getpeername()[:2]
            address = address.partition("%")[0]
            return Peer(address, str(port), _net(ours.family, address))


def _net(family: int, address: str) -> bytes:
    packed = socket.inet_pton(family, address)
    return packed[:_NET_BYTES] if len(packed) > 4 and not packed.startswith(_MAPPED) else packed[-4:]


def _connection(fd: int, inode: int, peer: Peer) -> Connection:
    # With family and type given, nothing is asked of the kernel; detached, nothing is closed.
    borrowed = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, fileno=fd)
    try:
        info = borrowed.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO_BYTES)
    finally:
        borrowed.detach()
    sent_ms, received_ms = _LAST_DATA.unpack_from(info)
    taken, brought, unsent = _COUNTERS.unpack_from(info) if len(info) >= _COUNTERS.size else (0, 1, 0)
    return Connection(fd, inode, peer, min(sent_ms, received_ms), unsent, taken, brought)
