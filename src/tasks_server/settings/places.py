"""Where things lie on disk by these settings: the data folder, the database, the cipher key; and making the first two
of them at the first start. Opening the database is the store's affair.
"""

import base64
import binascii
import contextlib
import hashlib
import os
import re
import secrets
import stat
from pathlib import Path
from typing import Final

import msgspec

from tasks_server.domain.errors import Corrupt, SettingsError, Unavailable
from tasks_server.settings.table import Settings

KEY_BYTES: Final = 32
DATABASE_NAME: Final = "tasks.sqlite"
KEY_NAME: Final = "cipher.key"
_PASSPHRASE_LENGTH_MIN: Final = 32
_HEX: Final = re.compile(r"[0-9a-fA-F]+")
_SQLITE_URL: Final = "sqlite:///"


class Places(msgspec.Struct, frozen=True):
    """The data folder, the database file, the file of the cipher key (None: the key is in the settings)."""

    data_dir: Path
    database: Path
    key_file: Path | None


def places(settings: Settings) -> Places:
    """The absolute paths that `settings` mean. Touches nothing. Raises `SettingsError` without a home folder."""
    data_dir = (settings.data_dir.expanduser() if settings.data_dir else _default_data_dir()).absolute()
    database = settings.path_sqlite
    if settings.database_url:
        database = Path(settings.database_url.removeprefix(_SQLITE_URL))
    database = database.expanduser().absolute() if database else data_dir / DATABASE_NAME
    if database.is_dir():
        database = database / DATABASE_NAME
    if settings.cipher_key:
        return Places(data_dir, database, None)
    key_file = settings.cipher_key_file
    return Places(data_dir, database, key_file.expanduser().absolute() if key_file else data_dir / KEY_NAME)


def _default_data_dir() -> Path:
    base = os.environ.get("XDG_DATA_HOME")
    if base and Path(base).is_absolute():
        return Path(base) / "tasks-server"
    try:
        return Path.home() / ".local" / "share" / "tasks-server"
    except RuntimeError:
        raise SettingsError("there is no home folder to keep data in; set TASKS_SERVER_DATA_DIR") from None


def prepare(where: Places) -> None:
    """Makes the folders that are missing, private to the user. Raises `Unavailable` when that cannot be."""
    for folder in (where.data_dir, where.database.parent):
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise Unavailable(f"cannot make the data folder {folder}: {error.strerror}") from error
    if not os.access(where.database.parent, os.W_OK | os.X_OK):
        raise Unavailable(
            f"cannot write to the data folder {where.database.parent}: the database needs a folder it can write to; "
            "mend its permissions or name another with TASKS_SERVER_DATA_DIR"
        )


def cipher_keys(settings: Settings, where: Places, warnings: list[str], create: bool) -> list[bytes]:
    """The cipher keys, that to encrypt with first. With `create`, a new database gets a new key in a private file.

    Raises `SettingsError` for a key in no known form, `Corrupt` when a database is there but its key is gone, and
    `Unavailable` when the key file cannot be read or made.
    """
    if settings.cipher_key:
        return parse_keys(settings.cipher_key.get_secret_value(), "CIPHER_KEY")
    assert where.key_file is not None  # `places` says so
    if create and not where.key_file.exists():
        if where.database.exists() and where.database.stat().st_size > 0:
            raise Corrupt(
                f"the database {where.database} is there, but its cipher key {where.key_file} is not: "
                "put the key file back, or give the key as CIPHER_KEY"
            )
        _create_key_file(where.key_file)
    try:
        text = where.key_file.read_text("ascii", errors="replace")
    except FileNotFoundError:
        raise Unavailable(
            f"there is no cipher key {where.key_file}: is this the data folder of a server? "
            "It is made by the first `tasks-server serve` or `tasks-server owner create`"
        ) from None
    except OSError as error:
        raise Unavailable(f"cannot read the cipher key {where.key_file}: {error.strerror}") from error
    _keep_private(where.key_file, warnings)
    return parse_keys(text, str(where.key_file))


def _create_key_file(path: Path) -> None:
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
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # without the key, nothing that is stored could be read again
        finally:
            os.close(folder)
    except OSError as error:
        raise Unavailable(f"cannot make the cipher key {path}: {error.strerror}") from error
    finally:
        temporary.unlink(missing_ok=True)


def _keep_private(path: Path, warnings: list[str]) -> None:
    """Takes from others the right to read the key; says so, as they may have read it."""
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077 == 0:
        return
    try:
        path.chmod(0o600)
        warnings.append(f"the cipher key {path} had mode {mode:04o}, others could read it; it has mode 0600 now")
    except OSError:
        warnings.append(f"the cipher key {path} has mode {mode:04o}: others than its owner can read it")


def parse_keys(text: str, source: str) -> list[bytes]:
    """The keys that `text` holds: raw ones separated by commas, or one passphrase, which may hold commas itself.

    `source` names the text in errors; the text itself is never shown. Raises `SettingsError`.
    """
    text = text.strip()
    keys = [_raw_key(part.strip(), source) for part in text.split(",")]
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
