"""The package of the client alone: a wheel from the same source that works with nothing of the server around it."""

import os
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import distribution
from pathlib import Path
from typing import Final

import pytest
from packaging.requirements import Requirement

from tests.tidy.documents import ROOT

PACKAGE: Final = ROOT / "packages" / "client"
PROGRAM: Final = """
import sys
from tasks_server import __version__, handlers
from tasks_server.client import Client, ConnectionFailed, Retries
from tasks_server.client.outbox import Outbox

@handlers.register("ship")
def ship(order: int) -> None: ...

with Client("http://127.0.0.1:1", "k" * 64, retries=Retries(deadline=0)) as client:
    try:
        ship.enqueue(7, client=client)
    except ConnectionFailed:
        print(__version__)
    try:
        ship.enqueue("7", client=client)
    except ValueError as error:
        print(error)
"""


def project(folder: Path) -> dict[str, object]:
    found: dict[str, object] = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    return found


def needed(names: list[str]) -> set[str]:
    """These distributions, and what they need in turn."""
    found: set[str] = set()
    while names:
        name = names.pop().lower()
        if name not in found:
            found.add(name)
            wanted = (Requirement(each) for each in distribution(name).requires or ())
            names += [each.name for each in wanted if each.marker is None or each.marker.evaluate({"extra": ""})]
    return found


@pytest.mark.process
def test_the_wheel_works_alone(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "dist")],
        cwd=PACKAGE, check=True, capture_output=True,
    )  # fmt: skip
    (wheel,) = (tmp_path / "dist").iterdir()
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(site)
    wanted = project(PACKAGE)["dependencies"]
    assert isinstance(wanted, list)
    for name in needed([Requirement(each).name for each in wanted]):
        for file in distribution(name).files or ():
            top = file.parts[0]
            if top != ".." and not (site / top).exists():
                (site / top).symlink_to(distribution(name).locate_file(top))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    ran = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {str(site)!r})\n{PROGRAM}"],
        capture_output=True, text=True, env=environment, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    version, refused = ran.stdout.splitlines()
    assert version == project(PACKAGE)["version"]
    assert refused == "handler 'ship' does not take this: payload: Expected `int`, got `str`"


def test_it_is_the_same_as_in_the_package_of_the_server() -> None:
    whole, alone = project(ROOT), project(PACKAGE)
    for name in ("version", "license", "requires-python", "authors"):
        assert whole[name] == alone[name]
    wanted, of_the_server = alone["dependencies"], whole["dependencies"]
    assert isinstance(wanted, list)
    assert isinstance(of_the_server, list)
    assert set(wanted) <= set(of_the_server)
