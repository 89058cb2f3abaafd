"""The schema: made once, upgraded forwards only, and never touched when it is not the one we know."""

import hashlib
from pathlib import Path

import pytest

from tasks_server.clock import ManualClock
from tasks_server.domain.errors import SchemaOutOfDate
from tasks_server.store.migrate import Applied, Migration, load, needed, pending
from tasks_server.store.sqlite.store import SqliteStore

from .adapters import ADAPTERS, query

FILE = ADAPTERS["sqlite-file"]
ONE, TWO = Migration(1, "0001_one", "SELECT 1", "aa"), Migration(2, "0002_two", "SELECT 2", "bb")
POST = Migration(3, "0003_less.post", "SELECT 3", "cc", after="1.2.0")


def applied(*migrations: Migration) -> dict[int, Applied]:
    """What a database remembers of these."""
    return {step.number: Applied(step.name, step.checksum) for step in migrations}


def test_what_is_not_applied_is_pending_in_order() -> None:
    assert pending([ONE, TWO], {}, "here") == [ONE, TWO]
    assert pending([ONE, TWO], applied(ONE), "here") == [TWO]
    assert pending([ONE, TWO], applied(ONE, TWO), "here") == []


def test_a_database_from_the_future_is_refused() -> None:
    with pytest.raises(SchemaOutOfDate, match="has schema version 3, this program knows 2"):
        pending([ONE, TWO], applied(ONE, TWO, POST), "here")


def test_the_release_before_lives_with_what_expands_and_not_with_what_contracts() -> None:
    assert pending([ONE], applied(ONE, TWO), "here", newer_may_expand=True) == []
    with pytest.raises(SchemaOutOfDate, match="has schema version 3, this program knows 1"):
        pending([ONE], applied(ONE, TWO, POST), "here", newer_may_expand=True)
    with pytest.raises(SchemaOutOfDate, match="here: the database has schema version 2, this program knows 1"):
        pending([ONE], applied(ONE, TWO), "here")


def test_what_contracts_may_be_missing() -> None:
    missing = pending([ONE, TWO, POST], applied(ONE), "here")
    assert missing == [TWO, POST]
    assert needed(missing) == [TWO]


@pytest.mark.parametrize("newer_may_expand", [False, True])
def test_a_migration_that_was_changed_since_is_refused(newer_may_expand: bool) -> None:
    with pytest.raises(
        SchemaOutOfDate, match=r"here: migration 0001_one was applied .* start that version, or name another"
    ):
        pending([ONE, TWO], {1: Applied("0001_one", "zz")}, "here", newer_may_expand=newer_may_expand)


@pytest.mark.parametrize("adapter", ["sqlite", "postgres"])
def test_ours_are_numbered_without_a_gap_and_have_their_checksums(adapter: str) -> None:
    found = load(f"tasks_server.store.{adapter}.migrations")
    assert [migration.number for migration in found] == list(range(1, len(found) + 1))
    for migration in found:
        assert migration.checksum == hashlib.sha256(migration.sql.encode()).hexdigest()
        assert migration.name.startswith(f"{migration.number:04}_")


def made_package(folder: Path, name: str, files: dict[str, str]) -> str:
    """A package with these SQL files."""
    package = folder / name
    package.mkdir()
    (package / "__init__.py").touch()
    for file, text in files.items():
        (package / f"{file}.sql").write_text(text)
    return name


def test_a_gap_is_a_fault_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match="not numbered"):
        load(made_package(tmp_path, "gappy", {"0001_one": "SELECT 1", "0003_three": "SELECT 3"}))


def test_what_contracts_says_after_which_version_and_nothing_else_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    right = {"0001_one": "SELECT 1", "0002_two.post": "-- after 1.2.3\nSELECT 2"}
    assert [step.after for step in load(made_package(tmp_path, "right", right))] == [None, "1.2.3"]
    with pytest.raises(ValueError, match=r"0002_two\.post\.sql: a migration that contracts"):
        load(made_package(tmp_path, "silent", right | {"0002_two.post": "SELECT 2"}))
    with pytest.raises(ValueError, match=r"0001_one\.sql: a migration that contracts"):
        load(made_package(tmp_path, "wrong", right | {"0001_one": "-- after 1.2.3\nSELECT 1"}))


async def schema_of(store: SqliteStore) -> list[tuple]:
    return await query(store, "SELECT type, name, sql FROM sqlite_schema ORDER BY type, name")


async def opened(folder: Path, clock: ManualClock) -> SqliteStore:
    store = FILE.make(folder, clock)
    assert isinstance(store, SqliteStore)
    await store.open()
    return store


async def test_opening_again_changes_nothing(tmp_path: Path, clock: ManualClock) -> None:
    pictures = []
    for _ in range(3):
        store = await opened(tmp_path, clock)
        books = await query(store, "SELECT * FROM migration UNION ALL SELECT name, hex(value), 0 FROM meta")
        pictures.append((await schema_of(store), books))
        await store.close()
    assert pictures[0] == pictures[1] == pictures[2]
    assert len(pictures[0][1]) == len(load("tasks_server.store.sqlite.migrations")) + 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("UPDATE migration SET checksum = 'x' WHERE number = 1", "other content"),
        ("INSERT INTO migration VALUES (999, '0999_later', 'x')", "has schema version 999"),
    ],
)
async def test_a_database_of_another_version_is_left_alone(
    tmp_path: Path, clock: ManualClock, change: str, message: str
) -> None:
    store = await opened(tmp_path, clock)
    await query(store, change)
    await store.close()
    before = (tmp_path / "tasks.db").read_bytes()
    with pytest.raises(SchemaOutOfDate, match=rf"tasks\.db: .*{message}"):
        await opened(tmp_path, clock)
    assert (tmp_path / "tasks.db").read_bytes() == before


async def test_an_upgrade_that_fails_leaves_no_trace(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await opened(tmp_path, clock)
    before = await schema_of(store)
    await store.close()
    ours = load("tasks_server.store.sqlite.migrations")
    broken = Migration(len(ours) + 1, "9999_broken", "CREATE TABLE half (x); SELECT * FROM nowhere;", "cc")
    with monkeypatch.context() as patch:
        patch.setattr("tasks_server.store.migrate.load", lambda _: [*ours, broken])
        with pytest.raises(Exception, match="nowhere"):
            await opened(tmp_path, clock)
    store = await opened(tmp_path, clock)
    assert await schema_of(store) == before
    await store.close()
