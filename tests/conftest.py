"""What all tests share: a clock that stands still, how hypothesis searches, and the databases of PostgreSQL."""

import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tasks_server.clock import ManualClock
from tests.postgres.databases import Databases
from tests.postgres.run import Servers

# No deadline: a slow machine is no fault. A change is judged by the same examples each time, so that it never fails
# for what was wrong before it; `make explore` looks for new ones. The blob lets a failure be played again by
# `@reproduce_failure`.
_PLAIN = settings(deadline=None, print_blob=True, database=None)
settings.register_profile("tasks-server", _PLAIN, derandomize=True)
settings.register_profile("explore", _PLAIN, max_examples=2_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "tasks-server"))


def pytest_collection_finish() -> None:
    """What was imported stays: nothing that looks for garbage has to look at it, again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def clock() -> ManualClock:
    """The time of a test; it moves when the test moves it."""
    return ManualClock()


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all processes of this run share, and no other run."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if os.environ.get("PYTEST_XDIST_WORKER") else own


@pytest.fixture(scope="session", autouse=True)
def _compiled_once(run_folder: Path) -> None:
    """The many processes that tests start share what Python compiles, also where it is told to leave nothing behind."""
    if sys.dont_write_bytecode:
        os.environ["PYTHONPYCACHEPREFIX"] = str(run_folder / "compiled")
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


@pytest.fixture(scope="session")
def databases(run_folder: Path) -> Iterator[Databases]:
    """Databases of PostgreSQL. The servers start when the first one is asked for."""
    servers = Servers(run_folder)
    databases = Databases(servers)
    yield databases
    databases.close()
    servers.leave(wait=not os.environ.get("PYTEST_XDIST_WORKER"))


@pytest.fixture(autouse=True)
def _databases_of_this_test(databases: Databases) -> Iterator[None]:
    yield
    databases.take_back()
