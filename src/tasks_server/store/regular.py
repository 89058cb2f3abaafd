"""What may be opened where a file is named: nothing but a regular one, or none at all. To open a device can set
something off, a pipe makes whoever opens it wait, and what lies behind a link that leads nowhere is not there today,
but may be tomorrow.
"""

import os
import stat
from pathlib import Path
from typing import Final

_KINDS: Final = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
)


def exposed_mode(path: Path, facts: os.stat_result | None = None) -> int | None:
    """The mode of a private file that others can read; None when they cannot.

    That the group can read it is how a process reads a file that is not its own, and how Kubernetes mounts secrets for
    an `fsGroup`: then it is nothing to tell of.
    """
    facts = path.stat() if facts is None else facts
    mode = stat.S_IMODE(facts.st_mode)
    groups_way = mode & 0o077 == 0o040 and (is_read_only(path) or facts.st_uid != os.geteuid())
    return None if mode & 0o077 == 0 or groups_way else mode


def is_read_only(path: Path) -> bool:
    """Whether it lies where nothing can be written."""
    return bool(os.statvfs(path).f_flag & os.ST_RDONLY)


def file_fault(path: Path) -> str | None:
    """Why this cannot be a file of ours, as a sentence that begins with the path; None when it is a regular file, or
    missing. Opens nothing. What may not be looked at is left to whoever opens it.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        if path.is_symlink():
            return f"{path} is a link to {path.readlink()}, which is not there"
        return None
    except OSError:
        return None
    kind = next((kind for test, kind in _KINDS if test(mode)), None)
    return kind and f"{path} is {kind}, not a file"
