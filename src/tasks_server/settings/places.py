"""Where things lie by these settings: the data folder, the database, the cipher key; and making what lies on this
machine at the first start. Opening the database is the store's affair.
"""

import os
import shlex
from pathlib import Path
from typing import Final

import msgspec
from pydantic import SecretStr

from tasks_server.domain import encodings, limits, texts
from tasks_server.domain.errors import Corrupt, SettingsError, Unavailable
from tasks_server.settings.table import Settings
from tasks_server.store.keys import create_key_file, parse_keys, read_key_file
from tasks_server.store.postgres import address
from tasks_server.store.regular import exposed_mode, file_fault, is_read_only

DATABASE_NAME: Final = "tasks.sqlite"
KEY_NAME: Final = "cipher.key"
_SQLITE_URL: Final = "sqlite:///"
_BESIDE: Final = ("-wal", ".lock")
"""Endings of what lies beside a database that was opened before."""


class Places(msgspec.Struct, frozen=True):
    """The data folder, the database (a file, or the URL of one that is elsewhere), the file of the cipher key (None:
    the key is in the settings).
    """

    data_dir: Path
    database: Path | None
    key_file: Path | None
    url: SecretStr | None = None

    @property
    def locator(self) -> str:
        """The database for whoever opens it: a path, or a URL with its password."""
        return self.url.get_secret_value() if self.url else str(self.database)

    @property
    def key_source(self) -> str:
        """Where the cipher key comes from, for people: a file, or the setting."""
        return str(self.key_file) if self.key_file else "CIPHER_KEY"

    @property
    def shown(self) -> str:
        """The database for people."""
        return address.shown(self.url.get_secret_value()) if self.url else str(self.database)


def places(settings: Settings) -> Places:
    """The absolute paths that `settings` mean. Touches nothing. Raises `SettingsError` without a home folder, when
    what they name is there and is no file, and when a path is not UTF-8.
    """
    data_dir = (settings.data_dir.expanduser() if settings.data_dir else _default_data_dir()).absolute()
    _refuse_other_than_utf8(data_dir, "TASKS_SERVER_DATA_DIR")
    if settings.certificates_dir is not None:
        _refuse_other_than_utf8(settings.certificates_dir.absolute(), "CERTIFICATES_DIR")
    key_file: Path | None = None
    if not settings.cipher_key:
        named = settings.cipher_key_file
        key_file = named.expanduser().absolute() if named else data_dir / KEY_NAME
        _refuse_odd(key_file, "CIPHER_KEY_FILE")
    url = settings.database_url.get_secret_value() if settings.database_url else ""
    if address.is_postgres(url):
        return Places(data_dir, None, key_file, settings.database_url)
    database = Path(url.removeprefix(_SQLITE_URL)) if url else settings.path_sqlite or data_dir / DATABASE_NAME
    return Places(data_dir, _file(database, "DATABASE_URL" if url else "PATH_SQLITE"), key_file)


def located(url: str, name: str) -> str:
    """The database that a URL names, for whoever opens it: the path of a file, or the URL itself. Raises
    `SettingsError` with the `name` of what was given.
    """
    if address.is_postgres(url):
        try:
            address.check(url)
        except ValueError as error:
            raise SettingsError(f"{name}: {error}") from None
        return url
    if not url.startswith(_SQLITE_URL) or url == _SQLITE_URL:
        raise SettingsError(f"{name}: must be sqlite:///relative/path, sqlite:////absolute/path or postgresql://…")
    return str(_file(Path(url.removeprefix(_SQLITE_URL)), name))


def _file(path: Path, name: str) -> Path:
    path = path.expanduser().absolute()
    path = path / DATABASE_NAME if path.is_dir() else path
    _refuse_odd(path, name)
    return path


def _refuse_odd(path: Path, name: str) -> None:
    _refuse_other_than_utf8(path, name)
    if fault := file_fault(path):
        raise SettingsError(f"{name}: {fault}")


def _refuse_other_than_utf8(path: Path, name: str) -> None:
    """SQLite takes no other paths. The setting may be text, and the working or home folder before it not."""
    if encodings.other_than_utf8(os.fsencode(path)) is not None:
        shown = texts.fitting(str(path), limits.ERROR_LENGTH_MAX)
        raise SettingsError(f"{name}: the path {shown} is not UTF-8; name one that is")


def _default_data_dir() -> Path:
    base = os.environ.get("XDG_DATA_HOME")
    if base and Path(base).is_absolute():
        return Path(base) / "tasks-server"
    try:
        return Path.home() / ".local" / "share" / "tasks-server"
    except RuntimeError:
        raise SettingsError("there is no home folder to keep data in; set TASKS_SERVER_DATA_DIR") from None


def refuse_missing(where: Places) -> None:
    """For whoever works on the database of a server. Raises `Unavailable` when it is a file and not there."""
    if where.database is not None and not is_made(where.database):
        raise Unavailable(f"there is no database {where.database}: {_advice(where)}")


def is_made(database: Path) -> bool:
    """Whether the file is there and has anything in it: an empty one is filled by the server that begins with it."""
    try:
        return database.stat().st_size > 0
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise Unavailable(f"cannot look at the database {database}: {error.strerror}") from error


def prepare(where: Places) -> None:
    """Makes the folders that are missing, private to the user. Raises `Unavailable` when that cannot be, or when there
    was a database before.
    """
    if where.database is None:
        return  # nothing is kept here but the key, and that is not made by just any command
    if not where.database.exists():
        _refuse_lost(where.database)
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


def _refuse_lost(database: Path) -> None:
    """What lies beside a database and not the database itself: somebody removed it, or its disk is not mounted as it
    was. To begin anew would hide that, and remove what the write-ahead log still holds.
    """
    beside = [database.with_name(database.name + ending) for ending in _BESIDE]
    left = [path for path in beside if path.exists()]
    if left:
        raise Unavailable(
            f"there is no database {database} any more: {left[0].name} is still there, so it was made before. Put it "
            "back where it was, or restore a backup. To begin with an empty one, remove "
            f"{' and '.join(str(path) for path in left)}"
        )


def make_database(where: Places) -> None:
    """An empty file where there is no database yet. From here on nobody makes one, so that one which goes away is
    missed. Raises `Unavailable`.
    """
    if where.database is None:
        return
    try:
        os.close(os.open(where.database, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise Unavailable(f"cannot make the database {where.database}: {error.strerror}") from error


def cipher_keys(settings: Settings, where: Places, warnings: list[str], create: bool) -> list[bytes]:
    """The cipher keys, that to encrypt with first. With `create`, a new database gets a new key in a private file;
    one on PostgreSQL is new only when `tasks-server db upgrade` finds it so (`create_key`).

    Raises `SettingsError` for a key in no known form, `Corrupt` when a database is there but its key is gone, and
    `Unavailable` when the key file cannot be read or made.
    """
    if settings.cipher_key:
        return parse_keys(settings.cipher_key.get_secret_value(), "CIPHER_KEY")
    assert where.key_file is not None  # `places` says so
    if create and where.database is not None and not where.key_file.exists():
        if where.database.exists() and where.database.stat().st_size > 0:
            raise Corrupt(
                f"the database {where.database} is there, but its cipher key {where.key_file} is not: "
                "put the key file back, or give the key as CIPHER_KEY"
            )
        create_key_file(where.key_file)
    try:
        text, facts = read_key_file(where.key_file)
    except FileNotFoundError:
        raise Unavailable(f"there is no cipher key {where.key_file}: {_advice(where)}") from None
    except OSError as error:
        raise Unavailable(f"cannot read the cipher key {where.key_file}: {error.strerror}") from error
    if exposed := _exposed(where.key_file, facts):
        warnings.append(exposed)
    return parse_keys(text, str(where.key_file))


def _advice(where: Places) -> str:
    if where.database is None:
        return (
            "all machines on one database need the same one, so copy the file from where the first "
            "`tasks-server db upgrade` made it, or set CIPHER_KEY"
        )
    return (
        "is this the data folder of a server? "
        "It is made by the first `tasks-server serve` or `tasks-server owner create`"
    )


def create_key(where: Places) -> None:
    """Makes a key for a new database on PostgreSQL, unless there is one. Raises `Unavailable`."""
    if where.key_file is None or where.key_file.exists():
        return
    try:
        where.key_file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Unavailable(f"cannot make the folder {where.key_file.parent}: {error.strerror}") from error
    create_key_file(where.key_file)


def _exposed(path: Path, facts: os.stat_result) -> str | None:
    """What to tell when others can read the key. Nothing is changed: whoever put the file there chose its mode."""
    mode = exposed_mode(path, facts)
    if mode is None:
        return None
    what = "change" if mode & 0o022 else "read"
    advice = f"`chmod 600 {shlex.quote(str(path))}` closes it"
    advice = "mount it with mode 0400 or 0440" if is_read_only(path) else advice
    return f"the cipher key {path} has mode {mode:04o}, so that others can {what} it; {advice}"
