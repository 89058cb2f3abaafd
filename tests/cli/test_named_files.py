"""What a user merely names is never changed, and what is no file is refused before anything else."""

import os
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from tasks_server.domain.errors import SettingsError
from tasks_server.exit_codes import of
from tasks_server.settings import Settings
from tasks_server.settings.places import cipher_keys, located, places

from .conftest import Cli

KEY = "0123456789abcdef" * 4


def device(path: Path) -> None:
    """What /dev/null is, elsewhere."""
    try:
        os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("only root makes devices")
    path.chmod(0o666)


def pipe(path: Path) -> None:
    os.mkfifo(path, 0o666)
    path.chmod(0o666)


def folder(path: Path) -> None:
    path.mkdir()
    path.chmod(0o777)


def nowhere(path: Path) -> None:
    path.symlink_to(path.parent / "not-there")


def listening(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(os.path.relpath(path))
    path.chmod(0o666)


ODD = [
    (device, "is a device, not a file"),
    (pipe, "is a named pipe, not a file"),
    (folder, "is a folder, not a file"),
    (listening, "is a socket, not a file"),
    (nowhere, "which is not there"),
]


@pytest.fixture(params=ODD, ids=lambda odd: odd[0].__name__)
def odd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """Something that is no file, and what is said of it. It is afterwards what it was."""
    make, told = request.param
    path = tmp_path / "odd"
    make(path)
    before = path.lstat()
    yield path, told
    after = path.lstat()
    assert (after.st_mode, after.st_ino, after.st_rdev) == (before.st_mode, before.st_ino, before.st_rdev)
    assert not (tmp_path / "not-there").exists()


@pytest.mark.parametrize("command", [("serve", "--port", "0"), ("owner", "list"), ("keys", "rotate"), ("settings",)])
def test_a_key_file_that_is_none_is_refused_before_anything_else(
    cli: Cli, odd: tuple[Path, str], command: tuple[str, ...], data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, told = odd
    monkeypatch.setenv("CIPHER_KEY_FILE", str(path))
    result = cli(*command)
    assert result.code == of(SettingsError(""))
    (line,) = result.err.splitlines()
    assert f"CIPHER_KEY_FILE: {path} " in line
    assert told in line
    assert not data_dir.exists()


def test_so_is_a_database(odd: tuple[Path, str], tmp_path: Path) -> None:
    path, told = odd
    if path.is_dir():  # the database lies in it
        return
    for name, named in (
        ("PATH_SQLITE", lambda: places(Settings(data_dir=tmp_path, path_sqlite=path))),
        ("DATABASE_URL", lambda: places(Settings(data_dir=tmp_path, database_url=SecretStr(f"sqlite:///{path}")))),
        ("--to", lambda: located(f"sqlite:///{path}", "--to")),
    ):
        with pytest.raises(SettingsError, match=f"^{name}: {path} .*{told}"):
            named()
    assert os.listdir(tmp_path) == ["odd"]


def test_a_link_to_a_device_is_one(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device(tmp_path / "null")
    (tmp_path / "key").symlink_to("null")
    monkeypatch.setenv("CIPHER_KEY_FILE", str(tmp_path / "key"))
    assert "is a device, not a file" in cli("owner", "create", "small-shop").err
    assert (tmp_path / "null").stat().st_mode & 0o777 == 0o666


def test_a_file_that_cannot_hold_keys_is_not_read_to_its_end(cli: Cli, tmp_path: Path, data_dir: Path) -> None:
    data_dir.mkdir()
    with (data_dir / "cipher.key").open("wb") as file:
        file.truncate(1 << 40)
    assert "holds more than 65536 bytes: it is no file of cipher keys" in cli("owner", "create", "small-shop").err


# Modes


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "my.key"
    path.write_text(KEY)
    return path


def warned(path: Path, mode: int) -> list[str]:
    """What is told of the file with this mode; the file stays as it is."""
    path.chmod(mode)
    before = untouched(path)
    warnings: list[str] = []
    settings = Settings(data_dir=path.parent / "data", cipher_key_file=path)
    assert cipher_keys(settings, places(settings), warnings, create=False) == [bytes.fromhex(KEY)]
    assert untouched(path) == before
    return warnings


def untouched(path: Path) -> tuple[int, ...]:
    """What is another when something of a file was changed; that it was read is no change."""
    facts = path.stat()
    return facts.st_ino, facts.st_mode, facts.st_uid, facts.st_gid, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns


@pytest.mark.parametrize(
    ("mode", "told"),
    [(0o644, "read"), (0o604, "read"), (0o640, "read"), (0o660, "change"), (0o666, "change"), (0o602, "change")],
)
def test_a_key_that_others_can_reach_is_told_and_left_as_it_is(key_file: Path, mode: int, told: str) -> None:
    (warning,) = warned(key_file, mode)
    assert f"the cipher key {key_file} has mode {mode:04o}, so that others can {told} it" in warning
    assert f"`chmod 600 {key_file}` closes it" in warning


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_of_a_private_key_there_is_nothing_to_tell(key_file: Path, mode: int) -> None:
    assert warned(key_file, mode) == []


def another_user(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process is not the owner of the file."""
    monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)


def read_only(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is on a file system that is mounted read-only, as Kubernetes and Docker mount secrets."""
    found = list(os.statvfs(path))
    found[8] |= os.ST_RDONLY
    monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result(found))


@pytest.mark.parametrize("mounted", [another_user, read_only])
def test_a_key_that_the_group_may_read_is_how_it_is_read(
    key_file: Path, mounted: Callable[[Path, pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    mounted(key_file, monkeypatch)
    assert warned(key_file, 0o440) == warned(key_file, 0o640) == []
    (warning,) = warned(key_file, 0o660)
    assert "others can change it" in warning


def test_a_mounted_secret_that_all_can_read_is_told(key_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read_only(key_file, monkeypatch)
    (warning,) = warned(key_file, 0o444)
    assert warning.endswith("so that others can read it; mount it with mode 0400 or 0440")


@pytest.mark.process
def test_a_server_with_such_a_key_starts_says_so_and_leaves_it(key_file: Path, data_dir: Path) -> None:
    key_file.chmod(0o644)
    words = [sys.executable, "-P", "-m", "tasks_server", "owner", "create", "small-shop"]
    ended = subprocess.run(
        words, env=os.environ | {"CIPHER_KEY_FILE": str(key_file)}, capture_output=True, text=True, check=True
    )
    assert f"the cipher key {key_file} has mode 0644" in ended.stderr
    assert key_file.stat().st_mode & 0o777 == 0o644
    assert key_file.read_text() == KEY
