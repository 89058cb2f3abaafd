"""`tasks-server db upgrade`: makes the schema on PostgreSQL, and the key of a new database."""

import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from tasks_server.store import migrate
from tasks_server.store.migrate import Migration
from tests.postgres.databases import Databases

from .conftest import DEADLINE_SECONDS, Cli

OURS = [step.name for step in migrate.load("tasks_server.store.postgres.migrations")]
LAST = len(OURS)
WIDER = Migration(LAST + 1, f"{LAST + 1:04}_wider", "ALTER TABLE owner ADD COLUMN more text;", "m")
POST = Migration(LAST + 2, f"{LAST + 2:04}_less.post", "DROP TABLE idempotency;", "l", after="0.0.1")


@pytest.fixture
def url(databases: Databases, monkeypatch: pytest.MonkeyPatch) -> str:
    """A database without any table, named by the environment."""
    bare = databases.bare()
    monkeypatch.setenv("DATABASE_URL", bare)
    return bare


def knows(monkeypatch: pytest.MonkeyPatch, *more: Migration) -> None:
    """Makes this program one that knows these migrations beside ours."""
    ours = migrate.load("tasks_server.store.postgres.migrations")
    monkeypatch.setattr("tasks_server.store.migrate.load", lambda _: [*ours, *more])


def test_a_new_database_is_made_with_its_key(cli: Cli, url: str, data_dir: Path) -> None:
    checked = cli("db", "upgrade", "--check")
    assert (checked.code, checked.out) == (1, "".join(f"{name}: to apply\n" for name in OURS))
    assert not data_dir.exists()
    made = cli("db", "upgrade")
    assert (made.code, made.err) == (0, "")
    assert made.out.startswith(f"Applied {OURS[0]}.\n")
    assert made.out.endswith("is ready.\n")
    assert (data_dir / "cipher.key").exists()
    again = cli("db", "upgrade")
    assert (again.code, again.out.splitlines()[0]) == (0, "Nothing was to apply.")
    assert (cli("db", "upgrade", "--check").code, cli("db", "upgrade", "--post").code) == (0, 0)


def test_no_key_is_made_for_a_database_that_has_one(cli: Cli, url: str, data_dir: Path) -> None:
    assert cli("db", "upgrade").code == 0
    (data_dir / "cipher.key").unlink()
    assert cli("db", "upgrade").code == 0  # an upgrade needs none
    assert not (data_dir / "cipher.key").exists()


def test_upgrades_of_a_release_come_in_two_steps(cli: Cli, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cli("db", "upgrade").code == 0
    knows(monkeypatch, WIDER, POST)
    assert cli("db", "upgrade", "--check", "--json").json() == {
        "applied": [],
        "pending": [WIDER.name],
        "pendingPost": [POST.name],
    }
    refused = cli("db", "upgrade", "--post")
    assert (refused.code, refused.out) == (1, "")
    assert f"{WIDER.name} comes first" in refused.err
    done = cli("db", "upgrade")
    assert (done.code, done.out.splitlines()[:2]) == (
        0,
        [
            f"Applied {WIDER.name}.",
            f"{POST.name} waits for `tasks-server db upgrade --post`, once every node runs version 0.0.1 or newer.",
        ],
    )
    assert cli("db", "upgrade", "--check").code == 0  # this version can start
    assert cli("db", "upgrade", "--post", "--json").json() == {
        "applied": [POST.name],
        "pending": [],
        "pendingPost": [],
    }


def test_a_database_that_cannot_be_reached(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://me:s3cret@127.0.0.1:1/tasks")
    for arguments in (("db", "upgrade"), ("db", "upgrade", "--check")):
        result = cli(*arguments)
        assert result.code == 3
        assert "postgresql://127.0.0.1:1/tasks: the database cannot be reached" in result.err
        assert "s3cret" not in result.err


def test_a_user_without_the_rights(cli: Cli, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    role = f"nobody_{os.getpid()}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
        connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD 's3cret'".encode())
        try:
            place = urlsplit(url)
            monkeypatch.setenv(
                "DATABASE_URL", place._replace(netloc=f"{role}:s3cret@{place.hostname}:{place.port}").geturl()
            )
            result = cli("db", "upgrade")
            assert result.code == 3
            assert "may not do what is needed" in result.err
            assert "s3cret" not in result.err
        finally:
            connection.execute(f"DROP ROLE {role}".encode())


def test_sqlite_needs_none_of_it(cli: Cli, data_dir: Path) -> None:
    result = cli("db", "upgrade")
    assert (result.code, result.err) == (0, "")
    assert "upgrades itself" in result.out
    assert cli("db", "upgrade", "--check", "--json").json() == {"applied": [], "pending": [], "pendingPost": []}
    assert not data_dir.exists()


def told_of(encoding: str, said: str) -> bool:
    """Whether it is one sentence, with what to do."""
    return (
        said.count("tasks-server: ") == 1
        and f"the database has the encoding {encoding}" in said
        and "CREATE DATABASE" in said
    )


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII", "EUC_JP"])
def test_a_database_that_is_not_in_utf_8(
    cli: Cli, databases: Databases, data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    """Every command says so, and none makes anything."""
    bare = databases.bare(encoding)
    monkeypatch.setenv("DATABASE_URL", bare)
    for flag in ((), ("--check",), ("--post",)):
        refused = cli("db", "upgrade", *flag)
        assert (refused.code, refused.out, told_of(encoding, refused.err)) == (3, "", True), refused.err
    monkeypatch.setenv("CIPHER_KEY", "c" * 64)
    new = tmp_path / "new.sqlite"
    for command in (("owner", "list"), ("nodes",), ("db", "copy", "--to", f"sqlite:///{new}")):
        refused = cli(*command)
        assert (refused.code, refused.out, told_of(encoding, refused.err)) == (3, "", True), refused.err
    assert not new.exists()
    assert not data_dir.exists()


@pytest.mark.process
def test_a_server_and_a_copy_refuse_a_database_that_is_not_in_utf_8(
    cli: Cli, databases: Databases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = databases.bare("LATIN1")
    monkeypatch.setenv("CIPHER_KEY", "c" * 64)
    assert cli("owner", "create", "first-shop").code == 0
    refused = cli("db", "copy", "--to", bare)
    assert (refused.code, refused.out, told_of("LATIN1", refused.err)) == (3, "", True), refused.err
    monkeypatch.setenv("DATABASE_URL", bare)
    command = [sys.executable, "-m", "tasks_server", "serve", "--port", "0"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_SECONDS, check=False)
    assert (ended.returncode, ended.stdout, told_of("LATIN1", ended.stderr)) == (3, "", True), ended.stderr
