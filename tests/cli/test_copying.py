"""`tasks-server db copy` as an operator has it: between real files and databases, killed, beside real servers."""

import asyncio
import contextlib
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import apsw
import msgspec
import pytest

from tasks_server import wiring
from tasks_server.clock import ManualClock
from tasks_server.store.copying.progress import decode
from tests.postgres.databases import Databases
from tests.store.adapters import ADAPTERS
from tests.store.world import World

from .conftest import DEADLINE_SECONDS, Cli, Serve, until

KEY = "c" * 64


@pytest.fixture
def source(cli: Cli, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of a SQLite database with an owner and some tasks."""
    monkeypatch.setenv("CIPHER_KEY", KEY)
    assert cli("owner", "create", "small-shop", "--limit", "100000").code == 0
    for number in range(3):
        submitted = cli("task", "submit", f"http://shop.test/{number}", "--owner", "small-shop", "--delay", "1h")
        assert submitted.code == 0, submitted.err
    return f"sqlite:///{data_dir / 'tasks.sqlite'}"


def listed(cli: Cli) -> Any:
    return cli("task", "list", "--owner", "small-shop", "--json").json()


def test_from_sqlite_to_postgresql_and_back(
    cli: Cli, source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = Databases.lend(tmp_path)
    assert url is not None
    before = listed(cli)
    there = cli("db", "copy", "--from", source, "--to", url)
    assert (there.code, there.err) == (0, "")
    assert "Counts and checksums agree." in there.out
    again = cli("db", "copy", "--from", source, "--to", url)
    assert (again.code, "nothing was done" in again.out) == (0, True)
    monkeypatch.setenv("DATABASE_URL", url)
    assert listed(cli) == before
    back = f"sqlite:///{tmp_path / 'back.sqlite'}"
    told: Any = cli("db", "copy", "--to", back, "--json").json()  # from that of the settings
    assert {name: found["rows"] for name, found in told["tables"].items() if found["rows"]} == {
        "owner": 1,
        "owner_key": 1,
        "signing_secret": 1,
        "lane": 1,
        "task": 3,
        "act": 1,
    }
    assert (told["resumed"], told["already"], told["moved"]) == (False, False, 8)
    assert told["from"] == url.replace(url.split("//")[1].split("@")[0] + "@", "").split("?")[0]
    monkeypatch.setenv("DATABASE_URL", back)
    assert listed(cli) == before


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--to", "mysql://me:s3cret@there/tasks"], "--to: must be sqlite:///relative/path"),
        (["--to", "postgresql://me:s3:cret@there/tasks"], "--to: in the user and the password"),
        (["--from", "sqlite:///"], "--from: must be sqlite:///relative/path"),
        ([], "--from and --to name the same database"),
    ],
)
def test_a_wrong_command_line(cli: Cli, source: str, arguments: list[str], told: str) -> None:
    result = cli("db", "copy", *arguments)
    assert (result.code, result.out) == (2, "")
    assert told in result.err
    assert "s3" not in result.err


def test_a_target_without_our_tables(cli: Cli, source: str, databases: Databases) -> None:
    result = cli("db", "copy", "--from", source, "--to", databases.bare())
    assert result.code == 3
    assert "run `tasks-server db upgrade`" in result.err


def test_another_key(cli: Cli, source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CIPHER_KEY", "d" * 64)
    target = tmp_path / "target.sqlite"
    result = cli("db", "copy", "--from", source, "--to", f"sqlite:///{target}")
    assert result.code == 3
    assert "/data/tasks.sqlite: stored data is sealed under another cipher key than that of CIPHER_KEY;" in result.err
    assert not target.exists()


@pytest.mark.process
@pytest.mark.parametrize("role", ["all", "api", "engine"])
def test_beside_a_server(cli: Cli, serve: Serve, source: str, tmp_path: Path, role: str) -> None:
    target = f"sqlite:///{tmp_path / 'target.sqlite'}"
    server = serve("--role", role)
    refused = cli("db", "copy", "--from", source, "--to", target)
    assert (refused.code, refused.out) == (1, "")
    assert "stop what works on it first" in refused.err
    assert cli("db", "copy", "--from", source, "--to", target, "--live").code == 0
    assert server.stop() == 0
    assert cli("db", "copy", "--from", source, "--to", target, "--replace-target").code == 0
    refused = cli("db", "copy", "--from", target, "--to", source)
    assert refused.code == 1
    assert "holds other data (1 owner, 3 tasks)" in refused.err


async def _many_tasks(source: str, count: int) -> None:
    """Adds tasks to the owner that is there."""
    path = Path(source.removeprefix("sqlite:///"))
    store = wiring.build_store(str(path), [bytes.fromhex(KEY)], ManualClock())
    await store.open()
    try:
        world = World(store, ManualClock(), ADAPTERS["sqlite-file"], path.parent)
        owner = await store.owner_by_name("small-shop")
        assert owner is not None
        for _ in range(count // 1_000):
            await world.submit_many(owner, 1_000, delay=10**9)
    finally:
        await store.close()


@pytest.mark.process
def test_killed_in_the_middle_it_goes_on(cli: Cli, source: str, tmp_path: Path) -> None:
    asyncio.run(_many_tasks(source, 30_000))
    target = tmp_path / "target.sqlite"
    arguments = ["db", "copy", "--from", source, "--to", f"sqlite:///{target}"]

    def arrived() -> int:
        """Of the tasks, by the progress that is kept in the target."""
        with contextlib.suppress(apsw.Error):
            reader = apsw.Connection(str(target), flags=apsw.SQLITE_OPEN_READONLY)
            try:
                row = reader.execute("SELECT value FROM meta WHERE name = 'copy'").fetchone()
                sums = decode(row[0]).sums if row else {}
                return sums["task"].rows if "task" in sums else 0
            finally:
                reader.close()
        return 0

    process = subprocess.Popen([sys.executable, "-m", "tasks_server", *arguments], stdout=subprocess.DEVNULL)
    try:
        until(lambda: arrived() > 0 or process.poll() is not None, "the first tasks arrive")
    finally:
        process.kill()
        assert process.wait(DEADLINE_SECONDS) == -signal.SIGKILL
    before = arrived()
    assert 0 < before < 30_003
    assert cli("owner", "list").code == 0
    unusable = subprocess.run(
        [sys.executable, "-m", "tasks_server", "owner", "list"],
        env={"DATABASE_URL": f"sqlite:///{target}", "CIPHER_KEY": KEY, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )
    assert (unusable.returncode, "is not finished" in unusable.stderr) == (3, True)
    went_on: Any = msgspec.json.decode(cli(*arguments, "--json").out)
    assert went_on["resumed"]
    assert went_on["moved"] == 30_004 - before
    assert went_on["tables"]["task"]["rows"] == 30_003
