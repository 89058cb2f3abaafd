"""Where data lies, how the first start makes it, and what happens to keys."""

import base64
import os
import stat
from pathlib import Path

import pytest
from pydantic import SecretStr

from tasks_server.domain.errors import Corrupt, SettingsError, Unavailable
from tasks_server.settings import Settings
from tasks_server.settings.places import cipher_keys, create_key, parse_keys, places, prepare

KEY = "0123456789abcdef" * 4


def test_everything_is_in_the_data_folder(tmp_path: Path) -> None:
    where = places(Settings(data_dir=tmp_path / "x"))
    assert where.data_dir == tmp_path / "x"
    assert where.database == tmp_path / "x" / "tasks.sqlite"
    assert where.key_file == tmp_path / "x" / "cipher.key"


def test_the_default_folder_follows_xdg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "xdg"))
    assert places(Settings()).data_dir == tmp_path / "xdg" / "tasks-server"
    monkeypatch.setenv("XDG_DATA_HOME", "relative-paths-do-not-count")
    assert places(Settings()).data_dir == tmp_path / ".local" / "share" / "tasks-server"


def test_the_database_may_be_named_in_three_ways(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert places(Settings(path_sqlite=Path("a.sqlite"))).database == tmp_path / "a.sqlite"
    assert places(Settings(path_sqlite=tmp_path)).database == tmp_path / "tasks.sqlite"
    assert places(Settings(database_url=SecretStr("sqlite:///b.sqlite"))).database == tmp_path / "b.sqlite"
    assert places(Settings(database_url=SecretStr("sqlite:////c/d.sqlite"))).database == Path("/c/d.sqlite")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://me:s3cret@db.example:5433/tasks?sslpassword=s3cret", "postgresql://db.example:5433/tasks"),
        ("postgres://me:s3cret@one,two:5433/tasks?target_session_attrs=any", "postgresql://one,two:5433/tasks"),
        ("postgresql://me@[::1]:5432/tasks", "postgresql://[::1]:5432/tasks"),
        ("postgresql:///tasks?host=/run/postgresql", "postgresql:///run/postgresql/tasks"),
        ("postgresql://", "postgresql://"),
    ],
)
def test_a_database_elsewhere_is_shown_without_its_password(tmp_path: Path, url: str, shown: str) -> None:
    where = places(Settings(data_dir=tmp_path / "x", database_url=SecretStr(url)))
    assert (where.database, where.locator, where.shown) == (None, url, shown)
    assert "s3cret" not in repr(where)
    prepare(where)
    assert not (tmp_path / "x").exists()


def test_the_key_of_a_database_elsewhere_is_made_for_a_new_one_only(tmp_path: Path) -> None:
    where = places(Settings(data_dir=tmp_path / "x", database_url=SecretStr("postgresql://db/tasks")))
    with pytest.raises(Unavailable, match=r"all machines on one database need the same one.*or set CIPHER_KEY"):
        cipher_keys(Settings(), where, [], create=True)
    create_key(where)
    keys = cipher_keys(Settings(), where, [], create=False)
    create_key(where)
    assert cipher_keys(Settings(), where, [], create=False) == keys
    create_key(places(Settings(data_dir=tmp_path / "y", cipher_key=SecretStr(KEY))))
    assert not (tmp_path / "y").exists()


def test_the_first_start_makes_a_private_folder_and_key(tmp_path: Path) -> None:
    where = places(Settings(data_dir=tmp_path / "a" / "b"))
    prepare(where)
    warnings: list[str] = []
    (key,) = cipher_keys(Settings(), where, warnings, create=True)
    assert where.key_file is not None
    assert stat.S_IMODE(where.key_file.stat().st_mode) == 0o600
    assert stat.S_IMODE(where.data_dir.stat().st_mode) == 0o700
    assert (len(key), warnings) == (32, [])
    assert cipher_keys(Settings(), where, warnings, create=True) == [key]
    assert [path.name for path in where.data_dir.iterdir()] == ["cipher.key"]


def test_two_first_starts_go_on_with_one_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    where = places(Settings(data_dir=tmp_path))
    assert where.key_file is not None
    key_file = where.key_file
    exists = Path.exists

    def another_was_faster(path: Path) -> bool:
        """It makes its key between our look and our write."""
        seen = exists(path)
        if path == key_file and not seen:
            key_file.write_text(KEY)
            key_file.chmod(0o600)
        return seen

    monkeypatch.setattr(Path, "exists", another_was_faster)
    assert cipher_keys(Settings(), where, [], create=True) == [bytes.fromhex(KEY)]


def test_a_database_without_its_key_is_refused_not_given_a_new_one(tmp_path: Path) -> None:
    where = places(Settings(data_dir=tmp_path))
    where.database.write_bytes(b"something")
    with pytest.raises(Corrupt, match="put the key file back"):
        cipher_keys(Settings(), where, [], create=True)
    assert not (tmp_path / "cipher.key").exists()


def test_a_command_that_makes_nothing_says_where_it_looked(tmp_path: Path) -> None:
    where = places(Settings(data_dir=tmp_path))
    with pytest.raises(Unavailable, match=f"there is no cipher key {tmp_path}/cipher.key"):
        cipher_keys(Settings(), where, [], create=False)


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Unavailable, match="cannot make the data folder"):
        prepare(places(Settings(data_dir=tmp_path / "file" / "data")))


def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda *_: False)  # root may write anywhere
    with pytest.raises(Unavailable, match="cannot write to the data folder"):
        prepare(places(Settings(data_dir=tmp_path)))


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        (KEY, [bytes.fromhex(KEY)]),
        (KEY.upper() + "\n", [bytes.fromhex(KEY)]),
        (base64.b64encode(bytes(range(32))).decode(), [bytes(range(32))]),
        (f"{KEY},{'f' * 64}", [bytes.fromhex(KEY), b"\xff" * 32]),
    ],
)
def test_forms_of_a_key(text: str, keys: list[bytes]) -> None:
    assert parse_keys(text, "CIPHER_KEY") == keys


def test_a_passphrase_gives_the_same_key_each_time() -> None:
    phrase = "correct horse battery staple, and some more"
    (first, second) = parse_keys(phrase, "CIPHER_KEY")[0], parse_keys(phrase, "CIPHER_KEY")[0]
    assert first == second
    assert len(first) == 32


@pytest.mark.parametrize("text", ["", "short", KEY[:-1], KEY + "0", f"{KEY},", "x" * 31])
def test_keys_in_no_known_form_are_refused_and_not_shown(text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_keys(text, "CIPHER_KEY")
    assert caught.value.message.startswith("CIPHER_KEY: ")
    assert len(text) < 2 or text not in caught.value.message


@pytest.mark.parametrize("name", ["data_dir", "path_sqlite", "certificates_dir", "cipher_key_file"])
def test_paths_are_utf8(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Also where it is not the setting that is at fault, but the folder it counts from."""
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    folder.mkdir()
    monkeypatch.chdir(folder)
    shown = f": the path {tmp_path}/caf\\udce9/own is not UTF-8; name one that is"
    with pytest.raises(SettingsError) as refused:
        places(Settings(**{"data_dir": tmp_path, name: Path("own")}))
    assert str(refused.value).endswith(shown)
