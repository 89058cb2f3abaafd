"""A server whose database is taken away, replaced or made read-only under it: what it acknowledges is on disk, at its
path, and where it is not, everybody is told.
"""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from .conftest import Cli, Serve, Server, until

pytestmark = pytest.mark.process


class Client:
    """An owner who registers tasks."""

    def __init__(self, server: Server) -> None:
        self.url = server.url
        answer = httpx.post(f"{self.url}/v1/owners/register", json={"name": "small-shop"})
        assert answer.status_code == 201, answer.text
        self._headers = {"Authorization": f"Bearer {answer.json()['key']}"}
        self.accepted: list[str] = []

    def register(self, **config: Any) -> tuple[int, str]:
        """The status and the code of the answer."""
        body = {"httpRequest": {"url": f"{self.url}/status", "method": "GET"}, "config": config}
        answer = httpx.post(f"{self.url}/v1/queues/register", json=body, headers=self._headers)
        if answer.status_code == 201:
            self.accepted.append(answer.json()["id"])
            return 201, ""
        assert answer.headers["retry-after"]
        return answer.status_code, answer.json()["code"]

    def state(self, task_id: str) -> str:
        return str(httpx.get(f"{self.url}/v1/queues/{task_id}", headers=self._headers).json().get("state"))

    def health(self) -> tuple[int, str]:
        answer = httpx.get(f"{self.url}/monitor/health")
        store = answer.json()["checks"]["store"]
        return answer.status_code, store.get("code", store["status"])

    def status(self) -> tuple[int, str]:
        answer = httpx.get(f"{self.url}/status")
        return answer.status_code, answer.text if answer.status_code == 200 else answer.json()["code"]


def refused(client: Client, code: str) -> None:
    """Nothing is accepted, and everything says why."""
    first = client.register()
    assert first in [(503, code), (503, "store_outcome_unknown")]
    assert client.register(executionDelay="1h") == (503, code)
    assert client.health() == (503, code)


def stored(cli: Cli) -> set[str]:
    return {task["id"] for task in cli("task", "list", "--limit", "1000", "--json").json()}


def test_a_database_that_is_moved_away_and_back(serve: Serve, cli: Cli, data_dir: Path, tmp_path: Path) -> None:
    server = serve()
    client = Client(server)
    database = data_dir / "tasks.sqlite"
    for _ in range(5):
        assert client.register(executionDelay="1h")[0] == 201
    assert client.register(executionDelay=1_500)[0] == 201
    soon = client.accepted[-1]
    assert (client.status(), client.health()[0]) == ((200, "OK"), 200)

    database.rename(tmp_path / "moved")
    refused(client, "store_gone")
    assert client.status() == (503, "store_gone")
    log = f"{database}: the database is gone: it was removed or moved"
    until(lambda: '"doing":"find the database","code":"store_gone"' in server.log(), "both processes say so")
    until(lambda: '"doing":"claim","code":"store_gone"' in server.log(), "the engine claims nothing from it")
    assert log in server.log()
    refusal = cli("task", "list")
    assert (refusal.code, "there is no database" in refusal.err) == (3, True)
    assert cli("owner", "create", "other-shop").code == 3

    os.kill(server.pids("api")[0], signal.SIGKILL)
    until(lambda: "there is no database any more" in server.log(), "a process that is started anew makes none")
    assert not database.exists()

    (tmp_path / "moved").rename(database)
    until(lambda: bool(server.pids("api")) and _answers(client), "it goes on by itself")
    until(lambda: client.state(soon) == "SUCCESS", "what came due meanwhile is sent")
    assert client.register(executionDelay="1h")[0] == 201
    until(lambda: client.health() == (200, "ok"), "all is well again")
    assert '"event":"store_back"' in server.log()
    assert server.stop() == 0
    found = stored(cli)
    assert found >= set(client.accepted)
    assert len(found) <= len(client.accepted) + 1, "of one, nobody could say whether it was stored"


def _answers(client: Client) -> bool:
    try:
        return client.status() == (200, "OK")
    except httpx.HTTPError:
        return False


def test_a_database_that_is_removed(serve: Serve, data_dir: Path, tmp_path: Path) -> None:
    """The server neither begins another one nor stops; started anew, it says what is missing."""
    server = serve()
    client = Client(server)
    assert client.register(executionDelay="1h")[0] == 201
    (data_dir / "tasks.sqlite").unlink()
    refused(client, "store_gone")
    assert server.stop() == 0
    ended = subprocess.run(
        [sys.executable, "-m", "tasks_server", "serve", "--port", "0"], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 3
    assert "there is no database" in ended.stderr
    assert not (data_dir / "tasks.sqlite").exists()


def test_a_backup_that_is_copied_onto_it(serve: Serve, cli: Cli, data_dir: Path, tmp_path: Path) -> None:
    server = serve()
    client = Client(server)
    assert client.register(executionDelay="1h")[0] == 201
    backup = tmp_path / "backup.sqlite"
    assert cli("db", "copy", "--live", "--to", f"sqlite:///{backup}").code == 0
    kept = set(client.accepted)
    assert client.register(executionDelay="1h")[0] == 201
    database = data_dir / "tasks.sqlite"
    shutil.copyfile(backup, database)
    refused(client, "store_gone")
    until(lambda: "something else than SQLite wrote to the database" in server.log(), "the log says what happened")
    assert server.stop() == 0
    refusal = cli("task", "list")
    assert (refusal.code, "tasks.sqlite-wal belongs to what was there before" in refusal.err) == (3, True)
    for ending in ("-wal", "-shm"):
        database.with_name(database.name + ending).unlink()
    shutil.copyfile(backup, database)
    assert stored(cli) == kept
    assert serve().stop() == 0


def test_a_log_that_is_removed_takes_nothing_with_it(serve: Serve, cli: Cli, data_dir: Path) -> None:
    server = serve()
    client = Client(server)
    for _ in range(5):
        assert client.register(executionDelay="1h")[0] == 201
    (data_dir / "tasks.sqlite-wal").unlink()
    refused(client, "store_gone")
    until(lambda: "What it held is in the database" in server.log(), "it is saved")
    assert server.stop() == 0
    assert stored(cli) >= set(client.accepted)
    assert Client(serve("--role", "api", "--data-dir", str(data_dir / "other"))).register()[0] == 201


# Disks that take no writes


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, in a file."""
    image, folder = tmp_path / "image", tmp_path / "disk"
    folder.mkdir()
    image.write_bytes(b"")
    os.truncate(image, 64 * 1024 * 1024)
    try:
        subprocess.run(["mkfs.ext4", "-q", image], check=True, capture_output=True)
        subprocess.run(["mount", "-o", "loop,errors=remount-ro", image, folder], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"a file system cannot be mounted here: {error}")
    yield folder
    until(lambda: _unmounted(folder), "nobody uses the disk any more")


def _unmounted(folder: Path) -> bool:
    return subprocess.run(["umount", folder], check=False, capture_output=True).returncode == 0


def fail(disk: Path) -> None:
    """The kernel finds an error on the disk and takes no more writes."""
    (device,) = (
        line.split()[0] for line in Path("/proc/mounts").read_text().splitlines() if line.split()[1] == str(disk)
    )
    trigger = Path(f"/sys/fs/ext4/{Path(device).name}/trigger_fs_error")
    try:
        trigger.write_text("test")
    except OSError as error:
        pytest.skip(f"a file system cannot be made to fail here: {error}")


def test_a_disk_that_takes_no_more_writes(disk: Path, serve: Serve, cli: Cli, tmp_path: Path) -> None:
    server = serve("--data-dir", str(disk))
    client = Client(server)
    assert client.register(executionDelay="1h")[0] == 201
    fail(disk)
    assert client.register() == (503, "store_read_only")
    until(lambda: client.health() == (503, "store_read_only"), "health says so")
    assert "the database cannot be written: it, its folder or its disk is read-only" in server.log()
    refusal = cli("task", "pause", client.accepted[0], "--data-dir", str(disk))
    assert (refusal.code, "Read-only file system" in refusal.err) == (3, True), refusal.err
    assert server.stop() == 0
    subprocess.run(["umount", disk], check=True)
    subprocess.run(["fsck.ext4", "-fy", tmp_path / "image"], check=False, capture_output=True)
    subprocess.run(["mount", "-o", "loop", tmp_path / "image", disk], check=True)
    listed = cli("task", "list", "--json", "--data-dir", str(disk)).json()
    assert [task["id"] for task in listed] == client.accepted


def test_a_disk_that_is_mounted_read_only(cli: Cli, disk: Path) -> None:
    assert cli("owner", "create", "small-shop", "--data-dir", str(disk)).code == 0
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    for command in (("owner", "list"), ("owner", "create", "other-shop")):
        refusal = cli(*command, "--data-dir", str(disk))
        assert refusal.code == 3
        assert "ead-only" in refusal.err or "cannot write to the data folder" in refusal.err, refusal.err
