"""`tasks-server docs`: the pages that messages name are there, installed from a wheel, too."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tasks_server.cli import docs
from tests.cli.conftest import Cli

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "src").rglob("*.py"))


def test_pages_are_listed_and_printed(cli: Cli) -> None:
    listed = cli("docs").out
    for file in (ROOT / "docs").glob("*.md"):
        assert file.stem.lower() in listed
    assert cli("docs", "limits").out.startswith("# Limits")
    assert cli("docs", "docs/limits.md", "--path").out.strip() == str(ROOT / "docs" / "limits.md")
    refused = cli("docs", "limit")
    assert (refused.code, "did you mean limits?" in refused.err) == (2, True)


def test_every_page_that_a_message_names_is_there() -> None:
    named = {name for file in SOURCES for name in re.findall(r"`tasks-server docs ([a-z-]+)`", file.read_text())}
    assert named >= {"keys", "settings"}
    assert {name for name in named if not (docs.folder() / f"{name}.md").is_file()} == set()


@pytest.mark.process
def test_the_wheel_brings_the_pages(tmp_path: Path) -> None:
    build = "from hatchling.build import build_wheel; import sys; build_wheel(sys.argv[1])"
    subprocess.run([sys.executable, "-c", build, tmp_path], cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    packed = set(zipfile.ZipFile(wheel).namelist())
    pages = {f"tasks_server/documentation/{file.name}" for file in (ROOT / "docs").glob("*.md")}
    assert pages <= packed
    assert "tasks_server/web/templates/base.html" in packed
    assert "tasks_server/web/static/ui.js" in packed
