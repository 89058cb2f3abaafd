"""Whether other processes have a SQLite file open, whatever they are: asked before this process opens it."""

import fcntl
import os
import struct
from pathlib import Path
from typing import Final

from tasks_server.store.sqlite.nodes import Nodes

_SHARED_FIRST: Final = 0x40000002
_SHARED_BYTES: Final = 510
"""Every connection in WAL mode holds a read lock in this range of the file (https://sqlite.org/fileformat2.html)."""
_FLOCK: Final = "hhqqi4x"


def at_work(path: Path) -> str | None:
    """Who has the file open, in words; None: nobody. Closing what is opened here would take this process's own locks
    off the file, so nothing in it may have the file open.
    """
    if not path.exists():
        return None
    if path.with_name(path.name + ".nodes").is_dir() and Nodes(path).alive() - {0}:
        return "servers work on it"
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, _SHARED_FIRST, _SHARED_BYTES, 0)
        kind, _, _, _, pid = struct.unpack(_FLOCK, fcntl.fcntl(descriptor, fcntl.F_GETLK, asked))
    finally:
        os.close(descriptor)
    if kind == fcntl.F_UNLCK:
        return None
    return f"process {pid} has it open" if pid > 0 else "a process in another container has it open"
