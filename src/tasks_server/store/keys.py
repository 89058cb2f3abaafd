"""Cipher keys as text: their forms, and the file that holds them, newest first. Sealing with them is in `sealing`."""

import base64
import binascii
import contextlib
import fcntl
import hashlib
import os
import re
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from tasks_server.domain.errors import SettingsError, Unavailable
from tasks_server.store.sealing import KEY_BYTES

_PASSPHRASE_LENGTH_MIN: Final = 32
_HEX: Final = re.compile(r"[0-9a-fA-F]+")
_SEPARATOR: Final = re.compile(r"[,\n]")


def create_key_file(path: Path) -> None:
    """Makes a key that is there whole or not at all; of two processes that try, both go on with the same one."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(KEY_BYTES) + "\n")
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        raise Unavailable(f"cannot make the cipher key {path}: {error.strerror}") from error
    finally:
        temporary.unlink(missing_ok=True)


def change_keys(path: Path, change: Callable[[list[bytes]], list[bytes]]) -> list[bytes]:
    """Puts into the file what `change` makes of its keys, newest first, in one step and alone; its owner stays.

    The keys afterwards. Raises `Unavailable`, and what `change` raises.
    """
    try:
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            keys = change(parse_keys(path.read_text("ascii", errors="replace"), str(path)))
            _replace(path, keys)
        finally:
            os.close(folder)
    except OSError as error:
        raise Unavailable(f"cannot change the cipher key {path}: {error.strerror}") from error
    return keys


def _replace(path: Path, keys: Sequence[bytes]) -> None:
    before = path.stat()
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            os.fchown(descriptor, before.st_uid, before.st_gid)  # the server must be able to read it as before
            file.write("".join(f"{key.hex()}\n" for key in keys))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def follower(path: Path) -> Callable[[], Sequence[bytes] | None]:
    """A function that gives the keys of the file when it was changed since it was last asked; None when there is
    nothing new, or nothing that could be read as keys.
    """
    seen: tuple[int, int, int] | None = None

    def look() -> Sequence[bytes] | None:
        nonlocal seen
        try:
            facts = path.stat()
            now = (facts.st_ino, facts.st_mtime_ns, facts.st_size)
            if now == seen:
                return None
            keys = parse_keys(path.read_text("ascii", errors="replace"), str(path))
        except (OSError, SettingsError):
            return None
        seen = now
        return keys

    return look


def _sync_folder(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)  # without the key, nothing that is stored could be read again
    finally:
        os.close(folder)


def parse_keys(text: str, source: str) -> list[bytes]:
    """The keys that `text` holds: raw ones separated by commas or line ends, or one passphrase, which may hold commas
    itself.

    `source` names the text in errors; the text itself is never shown. Raises `SettingsError`.
    """
    text = text.strip()
    keys = [_raw_key(part.strip(), source) for part in _SEPARATOR.split(text)]
    raw = [key for key in keys if key is not None]
    if len(raw) == len(keys):
        return raw
    if not raw and len(text) >= _PASSPHRASE_LENGTH_MIN:
        # The salt is fixed: the key must be the same at every start, wherever the database is moved to.
        return [hashlib.scrypt(text.encode(), salt=b"tasks-server cipher key", n=16_384, r=8, p=1, dklen=KEY_BYTES)]
    raise SettingsError(
        f"{source}: a cipher key is {2 * KEY_BYTES} hexadecimal digits, or base64 of {KEY_BYTES} bytes, or a "
        f"passphrase of at least {_PASSPHRASE_LENGTH_MIN} characters; make one with `openssl rand -hex 32`"
    )


def _raw_key(text: str, source: str) -> bytes | None:
    """The bytes of a key in hexadecimal or base64; None for what could be a passphrase."""
    if _HEX.fullmatch(text):
        if len(text) == 2 * KEY_BYTES:
            return bytes.fromhex(text)
        raise SettingsError(f"{source}: a hexadecimal key has {2 * KEY_BYTES} digits, not {len(text)}")
    with contextlib.suppress(binascii.Error, ValueError):
        key = base64.b64decode(text, validate=True)
        if len(key) == KEY_BYTES:
            return key
    return None
