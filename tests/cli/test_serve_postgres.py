"""The server on PostgreSQL: roles on their own, what a start refuses, who is listed. Real processes throughout."""

import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from psycopg import sql

from tasks_server import wiring
from tasks_server.settings import marker, resolve
from tasks_server.settings.places import places
from tasks_server.store.postgres import address
from tests.postgres.databases import Databases

from .conftest import DEADLINE_SECONDS, Cli, Serve, until

pytestmark = pytest.mark.process


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A database with our tables, named by the environment; so is the key."""
    lent = Databases.lend(tmp_path)
    assert lent is not None
    monkeypatch.setenv("DATABASE_URL", lent)
    monkeypatch.setenv("CIPHER_KEY", "c" * 64)
    return lent


def serve_in_vain(*flags: str) -> tuple[int, str]:
    """The exit status and error output of a server that cannot start."""
    command = [sys.executable, "-m", "tasks_server", "serve", "--port", "0", *flags]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_SECONDS, check=False)
    return ended.returncode, ended.stderr


def nodes(cli: Cli) -> list[dict[str, Any]]:
    listed = cli("nodes", "--json").json()
    assert isinstance(listed, list)
    return listed


def test_one_takes_in_and_another_executes(serve: Serve, cli: Cli, url: str, data_dir: Path) -> None:
    api, engine = serve("--role", "api"), serve("--role", "engine")
    assert "in another shell that has the CIPHER_KEY, DATABASE_URL of this one" in api.banner
    where = places(resolve().settings)
    assert not wiring.has_owners(where)
    assert (engine.url, bool(api.url)) == ("", True)
    assert (len(api.pids("engine")), len(engine.pids("api"))) == (0, 0)
    owner = httpx.post(f"{api.url}/v1/owners/register", json={"name": "first-shop"}).json()
    asked = {"httpRequest": {"url": f"{api.url}/status", "method": "GET"}}
    headers = {"Authorization": f"Bearer {owner['key']}"}
    assert wiring.has_owners(where)
    task = httpx.post(f"{api.url}/v1/queues/register", json=asked, headers=headers).json()

    def state() -> str:
        return str(httpx.get(f"{api.url}/v1/queues/{task['id']}", headers=headers).json()["state"])

    until(lambda: state() == "SUCCESS", "the task is sent")
    listed = nodes(cli)
    assert sorted(node["role"] for node in listed) == ["api", "engine"]
    assert {node["pid"] for node in listed} == {*api.pids("api"), *engine.pids("engine")}
    assert all(node["alive"] and node["version"] and node["startedAt"] <= node["seenAt"] for node in listed)
    assert cli("nodes").out.count(" yes") == 2
    (facts,) = (node["engine"] for node in listed if node["role"] == "engine")
    assert facts["slots"] > facts["inFlight"] >= 0
    assert "HTTP, curl, default" in cli("nodes").out
    assert engine.stop() == 0
    assert [node["role"] for node in nodes(cli)] == ["api"]
    assert api.stop() == 0
    assert cli("nodes").out == "No process works on the database.\n"
    assert "postgres@" not in api.log() + engine.log() + api.banner
    assert [path.name for path in data_dir.iterdir()] == [marker.NAME]


def test_a_shell_that_was_not_told_of_the_database_works_on_no_other(
    serve: Serve, cli: Cli, url: str, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve()
    assert cli("owner", "create", "first-shop").code == 0
    monkeypatch.delenv("DATABASE_URL")
    for command in (("task", "list"), ("owner", "create", "other-shop"), ("db", "upgrade"), ("serve", "--port", "0")):
        refused = cli(*command)
        assert refused.code == 2, command
        assert str(data_dir / marker.NAME) in refused.err
        assert address.shown(url) in refused.err
        assert "its DATABASE_URL" in refused.err
        assert [path.name for path in data_dir.iterdir()] == [marker.NAME]
    monkeypatch.setenv("DATABASE_URL", url)
    assert "first-shop" in cli("owner", "list").out
    assert server.stop() == 0


def test_the_first_upgrade_leaves_the_marker(
    databases: Databases, cli: Cli, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", databases.bare())
    assert cli("db", "upgrade").code == 0
    monkeypatch.delenv("DATABASE_URL")
    assert cli("owner", "create", "other-shop").code == 2
    assert sorted(path.name for path in data_dir.iterdir()) == ["cipher.key", marker.NAME]


def test_defaults_that_others_need_do_not_matter(
    serve: Serve, cli: Cli, databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twelve clients at once, while an engine claims: under such an isolation every few of them were turned away."""
    bare = databases.bare()
    monkeypatch.setenv("DATABASE_URL", bare)
    with psycopg.connect(bare, autocommit=True) as connection:
        name = sql.Identifier(connection.info.dbname)
        for setting in ("default_transaction_isolation = serializable", "synchronous_commit = off", "lock_timeout = 1"):
            connection.execute(sql.SQL("ALTER DATABASE {} SET " + setting).format(name))
    assert cli("db", "upgrade").code == 0
    server = serve()
    owner = httpx.post(f"{server.url}/v1/owners/register", json={"name": "first-shop"}).json()
    asked = {"httpRequest": {"url": f"{server.url}/status", "method": "GET"}}

    def register(_: int) -> list[int]:
        with httpx.Client(base_url=server.url, headers={"Authorization": f"Bearer {owner['key']}"}) as client:
            return [client.post("/v1/queues/register", json=asked).status_code for _ in range(10)]

    with ThreadPoolExecutor(12) as clients:
        answers = Counter(status for some in clients.map(register, range(12)) for status in some)
    assert answers == {201: 120}
    assert server.stop() == 0
    assert "store_trouble" not in server.log()


def test_commands_work_on_the_same_database(cli: Cli, url: str) -> None:
    assert cli("owner", "create", "first-shop").code == 0
    stored = cli("task", "submit", "http://127.0.0.1:1/", "--owner", "first-shop", "--delay", "1h", "--json").json()
    assert isinstance(stored, dict)
    assert cli("task", "show", stored["id"]).code == 0
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT id FROM request").fetchall() == [(stored["id"],)]


def test_a_database_without_our_tables(databases: Databases, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", databases.bare())
    monkeypatch.setenv("CIPHER_KEY", "c" * 64)
    status, said = serve_in_vain()
    assert status == 3
    assert said.count("tasks-server: ") == 1
    assert "holds no tables of Tasks Server yet: run `tasks-server db upgrade`" in said
    assert cli("owner", "list").code == 3
    assert cli("db", "upgrade").code == 0
    assert cli("owner", "list").code == 0


def test_a_machine_without_the_key_makes_none(url: str, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CIPHER_KEY")
    status, said = serve_in_vain()
    assert status == 3
    assert "all machines on one database need the same one" in said
    assert not data_dir.exists()


def test_a_machine_with_another_key(cli: Cli, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cli("owner", "list").code == 0  # the first one to open it
    monkeypatch.setenv("CIPHER_KEY", "d" * 64)
    status, said = serve_in_vain()
    assert status == 3
    assert f"{address.shown(url)}: stored data is sealed under another cipher key than that of CIPHER_KEY;" in said
    assert "dddd" not in said


def test_a_database_that_cannot_be_reached(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://me:s3cret@127.0.0.1:1/tasks")
    monkeypatch.setenv("TASKS_SERVER_DATABASE_WAIT_SECONDS", "0")
    status, said = serve_in_vain()
    assert status == 3
    assert said.count("tasks-server: ") == 1
    assert "postgresql://127.0.0.1:1/tasks: the database cannot be reached" in said
    assert "s3cret" not in said


def test_the_key_of_many_machines_is_not_changed_by_one(
    cli: Cli, url: str, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CIPHER_KEY")
    data_dir.mkdir()
    (data_dir / "cipher.key").write_text("c" * 64)
    (data_dir / "cipher.key").chmod(0o600)
    for command in ("rotate", "reseal"):
        refused = cli("keys", command)
        assert refused.code == 1
        assert "run `tasks-server keys reseal --restarted`" in refused.err
    assert cli("keys", "reseal", "--restarted").code == 0
    assert (data_dir / "cipher.key").read_text() == "c" * 64


def test_sqlite_carries_no_driver_of_postgres(cli: Cli) -> None:
    script = (
        "import sys\nfrom tasks_server import wiring, child, serving\nfrom tasks_server.cli import main\n"
        "import tasks_server.settings.places\nimport tasks_server.api.app, tasks_server.engine.loop\n"
        "import tasks_server.store.sqlite.store\nprint('psycopg' in sys.modules)\n"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ended.stdout == "False\n"
