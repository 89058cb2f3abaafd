"""Every command where there is no database: some make one; all others say where they looked, and make nothing."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import typer

from tasks_server.cli.main import app

from .conftest import Cli, Serve

MAKES: Final = {"serve", "owner create"}
"""They make a database."""
NEEDS_NONE: Final = {"settings", "db upgrade", "docs"}
"""They open none; one on SQLite needs no upgrade."""
SAMPLES: Final = {
    "name": "small-shop",
    "owner": "small-shop",
    "limit": "5",
    "days": "3",
    "action": "retry",
    "seconds": "60",
    "requests": "60",
}
EXTRA: Final = {
    "db copy": ["--to", "sqlite:////nowhere/at-all.sqlite"],
    "bulk create": ["--all"],
    "task submit": ["http://shop.test/"],
    "schedule create": ["--every", "1h"],
    "schedule preview": ["--every", "1h"],
    "task move": ["--delay", "1h"],
}
AFTER: Final = {"schedule create": ["http://shop.test/"]}


def commands() -> Iterator[tuple[str, Any]]:
    def walk(command: Any, words: list[str]) -> Iterator[tuple[str, Any]]:
        inner = getattr(command, "commands", None)
        if inner is None:
            yield " ".join(words), command
        for name in inner or ():
            yield from walk(inner[name], [*words, name])

    return walk(typer.main.get_command(app), [])


def words(name: str, command: Any) -> list[str]:
    """The command with a sample of all that it requires."""
    found = name.split() + EXTRA.get(name, [])
    for parameter in command.params:
        if parameter.required:
            sample = SAMPLES.get(parameter.name or "", "0" * 24)
            found += [sample] if parameter.param_type_name == "argument" else [parameter.opts[0], sample]
    return found + AFTER.get(name, [])


ALL: Final = dict(commands())


@pytest.fixture(autouse=True)
def _no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process is not to become a server."""

    def refuse(_: object) -> None:
        raise AssertionError("it starts")

    monkeypatch.setattr("tasks_server.supervisor.replace_this_process", refuse)


@pytest.fixture(params=["key", "no key"])
def key(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "key":
        monkeypatch.setenv("CIPHER_KEY", "c" * 64)


@pytest.mark.parametrize("name", sorted(set(ALL) - MAKES - NEEDS_NONE))
@pytest.mark.usefixtures("key")
def test_a_command_makes_no_database(cli: Cli, data_dir: Path, tmp_path: Path, name: str) -> None:
    before = sorted(tmp_path.rglob("*"))
    refused = cli(*words(name, ALL[name]))
    assert (refused.code, refused.out) == (3, ""), refused.err
    assert f"there is no database {data_dir}/tasks.sqlite" in refused.err
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", sorted(set(ALL) - MAKES - NEEDS_NONE))
def test_an_empty_file_is_no_database(cli: Cli, data_dir: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("CIPHER_KEY", "c" * 64)
    data_dir.mkdir()
    (data_dir / "tasks.sqlite").touch()
    refused = cli(*words(name, ALL[name]))
    assert (refused.code, refused.out) == (3, ""), refused.err
    assert f"there is no database {data_dir}/tasks.sqlite" in refused.err
    assert [(path.name, path.stat().st_size) for path in data_dir.iterdir()] == [("tasks.sqlite", 0)]


@pytest.mark.parametrize("name", sorted(NEEDS_NONE))
def test_what_needs_no_database_makes_none(cli: Cli, data_dir: Path, name: str) -> None:
    assert cli(*name.split()).code == 0
    assert not data_dir.exists()


def test_the_first_owner_makes_one(cli: Cli, data_dir: Path) -> None:
    assert cli("owner", "create", "small-shop").code == 0
    assert (data_dir / "tasks.sqlite").stat().st_size > 0


@pytest.mark.process
def test_the_first_start_makes_one(serve: Serve, data_dir: Path) -> None:
    assert serve().stop() == 0
    assert (data_dir / "tasks.sqlite").stat().st_size > 0


@pytest.mark.parametrize("left", ["tasks.sqlite.lock", "tasks.sqlite-wal"])
def test_a_database_that_is_gone_is_not_begun_anew(cli: Cli, data_dir: Path, tmp_path: Path, left: str) -> None:
    assert cli("owner", "create", "small-shop").code == 0
    database = data_dir / "tasks.sqlite"
    database.rename(tmp_path / "moved")
    for path in data_dir.glob("tasks.sqlite?*"):
        path.rmdir() if path.is_dir() else path.unlink()
    (data_dir / left).write_bytes(b"something")
    (data_dir / "cipher.key").rename(tmp_path / "key")
    for command in (("owner", "create", "other-shop"), ("serve", "--port", "0")):
        refused = cli(*command)
        assert (refused.code, refused.out) == (3, "")
        assert f"there is no database {database} any more: {left} is still there" in refused.err
        assert f"To begin with an empty one, remove {data_dir / left}" in refused.err
        assert [path.name for path in data_dir.iterdir()] == [left]
    (data_dir / left).unlink()
    assert cli("owner", "create", "other-shop").code == 0
    assert "small-shop" not in cli("owner", "list").out


def test_a_database_that_was_put_back_goes_on(cli: Cli, data_dir: Path, tmp_path: Path) -> None:
    assert cli("owner", "create", "small-shop").code == 0
    (data_dir / "tasks.sqlite").rename(tmp_path / "moved")
    assert cli("owner", "create", "other-shop").code == 3
    (tmp_path / "moved").rename(data_dir / "tasks.sqlite")
    assert cli("owner", "create", "other-shop").code == 0
    assert "small-shop" in cli("owner", "list").out
