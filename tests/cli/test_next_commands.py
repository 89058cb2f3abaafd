"""What commands and the server say to run next works as it is printed, wherever the database lies."""

import os
import re
import shlex
import sys
from pathlib import Path

import pytest

from tasks_server.cli import serve
from tasks_server.settings import resolve
from tasks_server.settings.places import places

from .conftest import Cli, Result

PLACES = ("--config", "my settings.toml", "--data-dir", "my data")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the commands run: with a settings file, and nothing in the environment that leads to the data."""
    monkeypatch.delenv("TASKS_SERVER_DATA_DIR")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "elsewhere"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["tasks-server"])
    Path("my settings.toml").write_text('path_sqlite = "my.sqlite"\n')
    return tmp_path


def printed(text: str) -> list[str]:
    """The words of the one command that stands at the end of a line."""
    (command,) = re.findall(r"tasks-server ([a-z].*)$", text, re.M)
    return shlex.split(command)


def follow(cli: Cli, before: Result, *more: str) -> Result:
    """What the command gives that another has printed."""
    assert before.code == 0, before.err
    result = cli(*printed(before.out), *more)
    assert result.code == 0, result.err
    return result


def test_what_is_printed_names_the_same_database(cli: Cli, folder: Path) -> None:
    created = cli("owner", "create", "small-shop", *PLACES)
    submitted = follow(cli, created, "--delay", "1h")
    assert "GET https://example.com" in follow(cli, submitted).out
    rule = ("--name", "hourly", "--every", "1h")
    planned = cli("schedule", "create", "http://shop.test", "--owner", "small-shop", *rule, *PLACES)
    assert "T" in follow(cli, planned).out
    assert {path.name for path in folder.iterdir()} >= {"my data", "my.sqlite"}
    assert not (folder / "elsewhere").exists()


def test_an_empty_list_of_owners(cli: Cli) -> None:
    cli("owner", "create", "small-shop", *PLACES)
    cli("owner", "delete", "small-shop", *PLACES)
    words = printed(cli("owner", "list", *PLACES).out)
    assert cli(*("other-shop" if word == "NAME" else word for word in words)).code == 0
    assert "other-shop" in cli("owner", "list", *PLACES).out


@pytest.mark.usefixtures("no_server")
def test_old_keys(cli: Cli) -> None:
    cli("owner", "create", "small-shop", *PLACES)
    key = Path("my data", "cipher.key")
    key.write_text("ab" * 32 + "\n" + key.read_text())
    os.utime(key, (0, 0))
    refused = cli("keys", "drop-old", *PLACES)
    (command,) = re.findall(r"run `tasks-server (.*?)` first", refused.err)
    resealed = cli(*shlex.split(command))
    os.utime(key, (0, 0))
    follow(cli, resealed)
    assert key.read_text() == "ab" * 32 + "\n"


@pytest.mark.parametrize("by", ["--config", "TASKS_SERVER_CONFIG", "PATH_SQLITE"])
def test_the_first_owner_of_a_server(cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch, by: str) -> None:
    config = Path("my settings.toml")
    if by != "--config":
        monkeypatch.setenv(by, str(config if by == "TASKS_SERVER_CONFIG" else folder / "my.sqlite"))
    given = config if by == "--config" else None
    resolved = resolve({"data_dir": Path("my data")}, given)
    lines = serve._first_owner(resolved, places(resolved.settings), given)
    assert ("that has the PATH_SQLITE of this one" in lines[1]) == (by == "PATH_SQLITE")
    if by != "PATH_SQLITE":  # a relative path in the file is one of the folder where the server runs
        monkeypatch.delenv("TASKS_SERVER_CONFIG", raising=False)
        config.write_text(f'path_sqlite = "{folder}/my.sqlite"\n')
    (folder / "other").mkdir()
    monkeypatch.chdir(folder / "other")
    assert cli(*("small-shop" if word == "NAME" else word for word in printed("\n".join(lines)))).code == 0
    assert {path.name for path in folder.iterdir()} >= {"my data", "my.sqlite"}
    assert [*(folder / "other").iterdir()] == []
