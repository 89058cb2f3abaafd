"""The marker in the data folder: which database its server works on, so that a command which was not told so, or was
told otherwise, does not work on another one. It holds no user, no password and no key.
"""

import contextlib
import os
import secrets
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec

from tasks_server.domain.errors import SettingsError
from tasks_server.settings.layers import DEFAULT, Resolved
from tasks_server.settings.places import Places
from tasks_server.settings.table import SYSTEM_CONFIG
from tasks_server.store.postgres import address

NAME: Final = "database.json"
_NAMING: Final = ("database_url", "path_sqlite")
_MODE: Final = 0o644
_LENGTH_MAX: Final = 65_536


class Marker(msgspec.Struct, frozen=True):
    """The database as people are shown it: a path, or a URL without user, password and options."""

    database: str


def refuse_other(resolved: Resolved, where: Places) -> None:
    """Raises `SettingsError`, which names the marker, when it says another database than these settings."""
    left = _read(where)
    if left is None or _same(left.database, where.shown):
        return
    raise SettingsError(
        f"{_path(where)} says that the server of this data folder works on {left.database}, but {_by(resolved)} "
        f"{where.shown}. Give this command what the server was given: {_given(left.database)}; or have both find it in "
        f"{SYSTEM_CONFIG}. For another database, name the data folder of its server with --data-dir"
    )


def refuse_unnamed(resolved: Resolved, where: Places) -> None:
    """For the server itself, which moves to another database only when its settings name one. Raises `SettingsError`
    when they name none, and the marker another than the default.
    """
    if all(resolved.origins[name] == DEFAULT for name in _NAMING):
        refuse_other(resolved, where)


def leave(where: Places) -> str | None:
    """Says from now on that the server works on this database. What the marker said before, when that was another one.
    Where the folder cannot be written, no marker is left.
    """
    left = _read(where)
    if left != Marker(where.shown):
        with contextlib.suppress(OSError):
            _write(where)
    return None if left is None or _same(left.database, where.shown) else left.database


def leave_first(where: Places) -> None:
    """The same where no marker was left yet: a database that is made ready has no server yet."""
    if _read(where) is None:
        with contextlib.suppress(OSError):
            _write(where)


def _path(where: Places) -> Path:
    return where.data_dir / NAME


def _by(resolved: Resolved) -> str:
    origin = next((resolved.origins[name] for name in _NAMING if resolved.origins[name] != DEFAULT), None)
    return f"{origin} says" if origin else "nothing is set here, which means"


def _given(database: str) -> str:
    return "its DATABASE_URL" if address.is_postgres(database) else f"PATH_SQLITE={database}, and no DATABASE_URL"


def _read(where: Places) -> Marker | None:
    """None: there is none, or nothing that can be read: it only helps."""
    try:
        descriptor = os.open(_path(where), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    with contextlib.suppress(OSError, msgspec.MsgspecError), os.fdopen(descriptor, "rb") as file:
        return msgspec.json.decode(file.read(_LENGTH_MAX), type=Marker)
    return None


def _write(where: Places) -> None:
    """In one step, and readable by whoever may enter the folder: root may have run the command, and another user the
    server.
    """
    where.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    beside = where.data_dir / f".{NAME}.{secrets.token_hex(8)}"
    try:
        with beside.open("xb") as file:
            os.fchmod(file.fileno(), _MODE)
            file.write(msgspec.json.encode(Marker(where.shown)) + b"\n")
        beside.replace(_path(where))
    except OSError:
        beside.unlink(missing_ok=True)
        raise


def _same(one: str, other: str) -> bool:
    """Whether both name one database. One on PostgreSQL is the same under any host: a pooler, an address and a name may
    all lead to it, and where they do not, its cipher key differs.
    """
    if address.is_postgres(one) != address.is_postgres(other):
        return False
    if address.is_postgres(one):
        return _name(one) == _name(other)
    return os.path.realpath(one) == os.path.realpath(other)


def _name(url: str) -> str:
    return urlsplit(url).path.strip("/")
