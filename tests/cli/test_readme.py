"""The README can be followed word for word: its shell blocks run against a real server, in order."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import DEADLINE_SECONDS, Serve, Server
from tests.postgres.databases import Databases
from tests.tidy.documents import ROOT

pytestmark = pytest.mark.process


def blocks(section: str) -> list[str]:
    """The shell blocks of a section of the README."""
    text = (ROOT / "README.md").read_text().split(f"\n## {section}\n")[1].split("\n## ")[0]
    return re.findall(r"```sh\n(.*?)```", text, re.S)


def test_the_first_task(serve: Serve, tmp_path: Path) -> None:
    server = serve()
    ended = run_at(server, tmp_path, "set -eu", *blocks("The first task"), *blocks("Again and again"))
    assert ended.returncode == 0, ended.stderr
    assert '"state":"RUNNING"' in ended.stdout
    assert '"state": "SUCCESS"' in ended.stdout
    assert '"statusCode": 200' in ended.stdout
    assert '"event": "succeeded"' in ended.stdout
    assert '"name":"heartbeat","state":"active"' in ended.stdout
    again = run_at(server, tmp_path, *blocks("The first task"))  # not "set -e": nobody types that into a shell
    assert again.returncode != 0
    assert '"code":"owner_name_taken"' in again.stdout
    assert "there is no key: the answer above says why" in again.stderr
    assert '"state"' not in again.stdout


def test_your_own_functions(serve: Serve, tmp_path: Path) -> None:
    server = serve()
    section = (ROOT / "README.md").read_text().split("\n## Your own functions\n")[1].split("\n## ")[0]
    (module,) = re.findall(r"```python\n(.*?)```", section, re.S)
    (tmp_path / "shop.py").write_text(module)
    (block,) = blocks("Your own functions")
    binary = Path(sys.executable).parent / "tasks-server"
    script = [
        *blocks("The first task")[:1],
        block.replace(".venv/bin/tasks-server", str(binary)).replace(
            "--handlers shop &", "--handlers shop >log 2>&1 &"
        ),
        'until grep -q "is ready" log; do kill -0 $! || { cat log; exit 1; }; sleep 0.1; done',
        'until curl -s "http://127.0.0.1:9420/v1/queues" -H "Authorization: Bearer $KEY" | grep SUCCESS; do',
        "kill -0 $! || exit 1; sleep 0.1; done; kill $!; wait $!",
    ]
    ended = run_at(server, tmp_path, *script)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert '"state":"SUCCESS"' in ended.stdout


def run_at(server: Server, folder: Path, *lines: str) -> "subprocess.CompletedProcess[str]":
    """Runs these lines in a shell, with the address of this server in place of the one that they name."""
    script = "\n".join(lines).replace("http://127.0.0.1:9420", server.url)
    return subprocess.run(
        ["sh", "-c", script], cwd=folder, capture_output=True, text=True, timeout=DEADLINE_SECONDS, check=False
    )


def test_many_machines(databases: Databases, tmp_path: Path) -> None:
    (block,) = blocks("Many machines")
    url = re.search(r"postgresql://\S+", block)
    assert url
    serve = re.search(r".*/tasks-server serve.*\n", block)
    assert serve
    script = block.replace(url[0], databases.bare()).replace(serve[0], "").replace(".venv/bin/", "")
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    ended = subprocess.run(
        ["sh", "-euc", script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert "Applied 0001_model." in ended.stdout
    assert "No process works on the database." in ended.stdout


def test_the_command_line(serve: Serve, tmp_path: Path) -> None:
    server = serve()
    script = "\n".join(["set -eu", "tasks-server owner create first-shop", *blocks("The command line")])
    script = script.replace(".venv/bin/tasks-server", "tasks-server").replace("http://127.0.0.1:9420", server.url)
    binaries = str(Path(sys.executable).parent)
    environment = {**os.environ, "PATH": f"{binaries}:{os.environ['PATH']}"}
    ended = subprocess.run(
        ["sh", "-c", script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert "is stored, due" in ended.stdout
    assert "scheduled" in ended.stdout
