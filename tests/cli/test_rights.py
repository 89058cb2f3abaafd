"""Who may not use the files of a server is told so in one line: whose they are, and the command that works."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tasks_server.cli import rights
from tasks_server.cli.main import main

from .conftest import DEADLINE_SECONDS, Cli

COMMANDS = (
    "task list", "owner list", "keys list", "keys rotate", "nodes", "logs", "lane list", "bulk list", "schedule list",
    "serve --port 0", "db copy --to sqlite:////tmp/never.sqlite",
)  # fmt: skip
AS_NOBODY = """
import os, sys
from tasks_server.cli import main
os.setgroups([]); os.setgid(65534); os.setuid(65534)
folder, *commands = sys.argv[1:]
for command in commands:
    sys.argv = ["tasks-server", *command.split(), "--data-dir", folder]
    try:
        main.main()
    except SystemExit as ended:
        print(ended.code, flush=True)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_the_data_folder_of_another_user(cli: Cli, data_dir: Path) -> None:
    cli("owner", "create", "small-shop")
    program = [sys.executable, "-c", AS_NOBODY, str(data_dir), *COMMANDS]
    ended = subprocess.run(program, capture_output=True, text=True, timeout=DEADLINE_SECONDS, check=False, cwd="/")
    assert "Traceback" not in ended.stderr
    assert ended.stdout.split() == ["3"] * len(COMMANDS), ended.stderr
    for command, line in zip(COMMANDS, ended.stderr.splitlines(), strict=True):
        assert " belongs to root, and you are nobody; run: sudo -u root tasks-server " in line
        assert line.endswith(f"tasks-server {command} --data-dir {data_dir}")


def test_what_nobody_expected_is_one_line_too(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("division\nby zero")

    monkeypatch.setattr("tasks_server.cli.options.resolve", broken)
    monkeypatch.setattr(sys, "argv", ["tasks-server", "owner", "list"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 3
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("tasks-server: a fault of Tasks Server, at test_rights.py:")
    assert "ZeroDivisionError: division; PYTHONDEVMODE=1 shows all of it" in line


def test_an_error_that_is_in_its_own_past_is_no_riddle_without_end() -> None:
    first, second = ValueError("first"), ValueError("second")
    first.__context__, second.__context__ = second, first
    assert rights.denied(first) is None
