"""The process that holds the servers of a test run, and ends them when the run is over, however it ended.

    python -m tests.postgres.keeper FIFO [URL]

Every process of the run holds FIFO open for writing; the kernel closes it when they die. What serves is told as one
line of JSON on the standard output. With a URL, only PgBouncer is started, before that server.
"""

import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.postgres.run import PGBOUNCER, POSTGRES
from tests.postgres.server import PgBouncer, Postgres, pgbouncer_program


def main(arguments: Sequence[str]) -> None:
    fifo = os.open(arguments[0], os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(fifo, True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    folder = Path(tempfile.mkdtemp(prefix="tasks-server-tests-"))
    folder.chmod(0o755)
    running: list[Postgres | PgBouncer] = []
    try:
        serving = {POSTGRES: arguments[1] if len(arguments) > 1 else _postgres(folder, running)}
        if pgbouncer_program():
            serving[PGBOUNCER] = _pgbouncer(folder, running, serving[POSTGRES])
        print(json.dumps(serving), flush=True)
        while os.read(fifo, 1):
            pass  # nobody writes; it ends when the last one is gone
    finally:
        for server in reversed(running):
            server.stop()
        shutil.rmtree(folder)


def _postgres(folder: Path, running: list[Postgres | PgBouncer]) -> str:
    place = folder / "postgres"
    place.mkdir()
    server = Postgres(place)
    running.append(server)
    server.start()
    return server.url


def _pgbouncer(folder: Path, running: list[Postgres | PgBouncer], url: str) -> str:
    place = folder / "pgbouncer"
    place.mkdir()
    pooler = PgBouncer(place, url)
    running.append(pooler)
    pooler.start()
    return pooler.url


if __name__ == "__main__":
    main(sys.argv[1:])
