"""The servers of this test run: the first process that needs them starts their keeper, the others find it."""

import contextlib
import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

_ROOT: Final = Path(__file__).parents[2]
POSTGRES: Final = "postgres"
PGBOUNCER: Final = "pgbouncer"
OTHER_SERVER: Final = "TEST_DATABASE_URL"
"""Names the variable with the URL of a server to use instead. Its user must be allowed to make databases."""


class Servers:
    """What serves. `folder` is the same for all processes of a run, and no other run's."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held = -1
        self._keeper: subprocess.Popen[str] | None = None
        self._urls: dict[str, str] = {}

    def url(self, of: str = POSTGRES) -> str | None:
        """The server `POSTGRES` or `PGBOUNCER`; None: it is not installed."""
        if self._held < 0:
            with self._alone():
                self._find() or self._start()
        return self._urls.get(of)

    def leave(self, *, wait: bool) -> None:
        """This process needs them no more. `wait`: no other does, either; returns when they are gone."""
        if self._held >= 0:
            os.close(self._held)
            self._held = -1
        if self._keeper is not None and wait:
            self._keeper.wait(60)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        with (self._folder / "postgres.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    @property
    def _fifo(self) -> Path:
        return self._folder / "postgres.fifo"

    @property
    def _told(self) -> Path:
        return self._folder / "postgres.json"

    def _find(self) -> bool:
        try:
            self._held = os.open(self._fifo, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:  # there is none, or nobody reads from it any more
            return False
        self._urls = json.loads(self._told.read_text())
        return True

    def _start(self) -> None:
        self._fifo.unlink(missing_ok=True)
        os.mkfifo(self._fifo)
        self._held = os.open(self._fifo, os.O_RDWR)
        other = [os.environ[OTHER_SERVER]] if os.environ.get(OTHER_SERVER) else []
        command = [sys.executable, "-m", "tests.postgres.keeper", str(self._fifo), *other]
        out: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "text": True}
        # A session of its own: an interrupt from the keyboard goes to the tests, not to what they lean on.
        self._keeper = subprocess.Popen(command, cwd=_ROOT, start_new_session=True, **out)
        assert self._keeper.stdout is not None
        line = self._keeper.stdout.readline()
        if not line:
            raise RuntimeError("the tests' PostgreSQL does not start")
        self._urls = json.loads(line)
        self._told.write_text(line)
