"""Cipher keys as text: their forms, and the file that holds them, newest first. Sealing with them is in `sealing`."""

import base64
import binascii
import contextlib
import errno
import fcntl
import hashlib
import os
import re
import secrets
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from tasks_server.domain.errors import SettingsError, Unavailable
from tasks_server.store.regular import file_fault
from tasks_server.store.sealing import KEY_BYTES

_PASSPHRASE_LENGTH_MIN: Final = 32
_HEX: Final = re.compile(r"[0-9a-fA-F]+")
_SEPARATOR: Final = re.compile(r"[,\n]")
_FILE_MAX_BYTES: Final = 65_536
_ACCESS_LIST: Final = "system.posix_acl_access"
_MOUNTED: Final = {
    errno.EROFS: "it is mounted read-only: change it where it comes from (`tasks-server docs keys`)",
    errno.EBUSY: "it is mounted by itself, so that no file can take its place: change it where it comes from "
    "(`tasks-server docs keys`)",
}


def read_key_file(path: Path) -> tuple[str, os.stat_result]:
    """The text of a key file, and what kind of file it is. Opens nothing but a regular file.

    Raises `OSError`, and `SettingsError` for what cannot be a key file.
    """
    if fault := file_fault(path):
        raise SettingsError(fault)
    with path.open("rb") as file:
        facts = os.fstat(file.fileno())
        content = file.read(_FILE_MAX_BYTES + 1)
    if len(content) > _FILE_MAX_BYTES:
        raise SettingsError(f"{path} holds more than {_FILE_MAX_BYTES} bytes: it is no file of cipher keys")
    return content.decode("ascii", errors="replace"), facts


def create_key_file(path: Path) -> None:
    """Makes a key that is there whole or not at all; of two processes that try, both go on with the same one."""
    try:
        with _beside(path, secrets.token_hex(KEY_BYTES) + "\n") as (made, _), contextlib.suppress(FileExistsError):
            os.link(made, path)
        _sync_folder(path.parent)
    except OSError as error:
        raise Unavailable(f"cannot make the cipher key {path}: {error.strerror}") from error


def change_keys(path: Path, change: Callable[[list[bytes]], list[bytes]]) -> list[bytes]:
    """Puts into the file what `change` makes of its keys, newest first, in one step and alone. Its owner and its mode
    stay; where `path` is a link, it is the file behind it that changes.

    The keys afterwards. Raises `Unavailable`, and what `change` raises.
    """
    try:
        real = path.resolve(strict=True)
        folder = os.open(real.parent, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            text, before = read_key_file(real)
            keys = change(parse_keys(text, str(path)))
            text = "".join(f"{key.hex()}\n" for key in keys)
            with _beside(real, text, before) as (made, alike):
                if alike:
                    made.replace(real)
                else:  # what is beside it is the copy that a crash in the middle of this leaves
                    _overwrite(real, text)
            _sync_folder(real.parent)
        finally:
            os.close(folder)
    except OSError as error:
        why = _MOUNTED.get(error.errno or 0) or error.strerror
        raise Unavailable(f"cannot change the cipher key {path}: {why}; it is as it was") from error
    return keys


@contextlib.contextmanager
def _beside(path: Path, text: str, like: os.stat_result | None = None) -> Iterator[tuple[Path, bool]]:
    """A private file of this text on disk, beside `path`, and whether it could be given the owner and the mode of
    `like`. It is gone afterwards, unless it was moved.
    """
    alike = True
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            if like is not None:  # the server must be able to read it as before
                alike = _own(descriptor, like)
                if alike:
                    _copy_access(path, descriptor)
                    os.fchmod(descriptor, stat.S_IMODE(like.st_mode))
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        yield temporary, alike
    finally:
        temporary.unlink(missing_ok=True)


def _own(descriptor: int, like: os.stat_result) -> bool:
    """Gives a new file the owner and the group of another one. False when it cannot have the group, which may read
    the other one: a group is given only by who is in it.
    """
    try:
        os.fchown(descriptor, like.st_uid, like.st_gid)
    except PermissionError:
        if like.st_uid != os.geteuid():
            raise
        return like.st_mode & stat.S_IRWXG == 0
    return True


def _overwrite(path: Path, text: str) -> None:
    """Writes a short text over a file in one step: its owner, group and access list are as before."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.pwrite(descriptor, text.encode(), 0)
        os.ftruncate(descriptor, len(text))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _copy_access(path: Path, descriptor: int) -> None:
    """Who else may read the file, where that is said by an access list."""
    with contextlib.suppress(OSError):  # it has none, or the file system knows none
        os.setxattr(descriptor, _ACCESS_LIST, os.getxattr(path, _ACCESS_LIST))


def key_faults(path: Path) -> Callable[[], str | None]:
    """A function that tells why the file gives no keys, in words for the operator; None: it does. A file that has not
    changed since is not read again: a passphrase is dear to stir.
    """
    seen: tuple[int, int, int] | None = None

    def look() -> str | None:
        nonlocal seen
        try:
            version = _version(path.stat())
        except OSError:
            version = None
        if version is not None and version == seen:
            return None
        fault = key_fault(path)
        seen = None if fault else version
        return fault

    return look


def key_fault(path: Path) -> str | None:
    """Why the file gives no keys, in words for the operator; None: it does."""
    try:
        parse_keys(read_key_file(path)[0], str(path))
    except OSError as error:
        return (
            f"the cipher key {path} cannot be read: {error.strerror}. What is stored cannot be opened without it: put "
            "the file back, from a copy, before the server is started again"
        )
    except SettingsError as error:
        return error.message
    return None


def follower(path: Path) -> Callable[[], Sequence[bytes] | None]:
    """A function that gives the keys of the file when it was changed since it was last asked; None when there is
    nothing new, or nothing that could be read as keys.
    """
    seen: tuple[int, int, int] | None = None

    def look() -> Sequence[bytes] | None:
        nonlocal seen
        try:
            if _version(path.stat()) == seen:
                return None
            text, facts = read_key_file(path)
            keys = parse_keys(text, str(path))
        except (OSError, SettingsError):
            return None
        seen = _version(facts)
        return keys

    return look


def _version(facts: os.stat_result) -> tuple[int, int, int]:
    """What is another when the file was changed."""
    return facts.st_ino, facts.st_mtime_ns, facts.st_size


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
