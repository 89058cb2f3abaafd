"""What to tell somebody who may not use a file: whose it is, and the command that works."""

import errno
import os
import pwd
import shlex
import sys
from pathlib import Path
from typing import Final

_DENIED: Final = frozenset({errno.EACCES, errno.EPERM})


def denied(error: BaseException | None) -> str | None:
    """Advice, when an error goes back to a file that this user may not use; None for all others."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:  # one that is raised anew may be in its own past
        if isinstance(error, OSError) and error.errno in _DENIED:
            return advice(error.filename)
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return None


def advice(name: object) -> str | None:
    """Who owns what stands in the way of using a file of this name, and how to run the command as that user. None when
    it is our own, or nobody can tell.
    """
    if not isinstance(name, str | bytes | os.PathLike):
        return None
    barrier = _barrier(Path(os.fsdecode(name)))
    if barrier is None:
        return None
    owner = _name_of(barrier.stat().st_uid)
    command = shlex.join([_program(), *sys.argv[1:]])
    return f"{barrier} belongs to {owner}, and you are {_name_of(os.geteuid())}; run: sudo -u {owner} {command}"


def _barrier(path: Path) -> Path | None:
    """The first folder on the way that another user owns and that we may not go through; else the file itself."""
    for place in (*reversed(path.absolute().parents), path.absolute()):
        try:
            facts = place.stat()
        except OSError:
            return None
        needed = os.X_OK if place.is_dir() else os.R_OK
        if facts.st_uid != os.geteuid() and (not os.access(place, needed) or place == path.absolute()):
            return place
    return None


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"#{uid}"  # as sudo takes it


def _program() -> str:
    return sys.argv[0] if "/" in sys.argv[0] else "tasks-server"
