"""What docs/operations.md tells an operator to do works: its commands are run, its unit is one that systemd takes."""

import re
import shutil
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest

from tests.tidy.documents import ROOT

from .conftest import DEADLINE_SECONDS, Cli, Serve, until

PROGRAM = str(Path(sys.executable).with_name("tasks-server"))


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / "docs" / "operations.md").read_text(), re.S)


def run(script: str) -> str:
    ended = subprocess.run(
        ["sh", "-euc", script], capture_output=True, text=True, timeout=DEADLINE_SECONDS, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.mark.process
def test_a_backup_of_a_server_that_works_and_the_way_back(
    serve: Serve, cli: Cli, data_dir: Path, tmp_path: Path
) -> None:
    backups = tmp_path / "backups"
    backups.mkdir(mode=0o700)
    backup, restore = (
        block.replace("/var/lib/tasks-server", str(data_dir))
        .replace("/var/backups/tasks-server", str(backups))
        .replace("tasks-server db", f"{PROGRAM} db")
        for block in blocks("sh")
    )
    server = serve()
    cli("owner", "create", "small-shop")
    submit = ("task", "submit", "http://shop.test/", "-o", "small-shop", "--delay", "1h", "--json")
    assert "Counts and checksums agree" in run(backup)
    (first,) = backups.iterdir()
    kept = cli(*submit).json()["id"]
    until(lambda: f"{datetime.now():%F-%H%M%S}" not in first.name, "another second")
    assert "Counts and checksums agree" in run(backup), "a second one on the same day"
    assert sorted(path.suffix for path in backups.iterdir()) == [".sqlite"] * 2, "and no locks"
    cli(*submit)
    assert server.stop() == 0
    run(restore)
    facts, folder = (data_dir / "tasks.sqlite").stat(), data_dir.stat()
    assert (facts.st_uid, facts.st_gid, facts.st_mode & 0o777) == (folder.st_uid, folder.st_gid, 0o600)
    assert [task["id"] for task in cli("task", "list", "--json").json()] == [kept]
    assert cli("task", "show", kept, "--json").json()["request"]["url"] == "http://shop.test/"


def test_the_unit_goes_on_however_often_a_start_fails() -> None:
    """By default, systemd gives up after five failures within ten seconds."""
    (unit,) = blocks("ini")
    head, service = unit.split("[Service]")
    assert "StartLimitIntervalSec=0\n" in head
    assert "Restart=on-failure\n" in service
    assert "RestartSec=5\n" in service


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    (unit,) = blocks("ini")
    assert "/opt/tasks-server/.venv/bin/tasks-server serve" in unit
    file = tmp_path / "tasks-server.service"
    file.write_text(unit.replace("/opt/tasks-server/.venv/bin/tasks-server", PROGRAM))
    ended = subprocess.run(["systemd-analyze", "verify", str(file)], capture_output=True, text=True, check=False)
    assert "tasks-server.service" not in ended.stdout + ended.stderr
