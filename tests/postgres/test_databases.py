"""The tests' own PostgreSQL: what is lent is empty, is the same for the same folder, and is gone with the run."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from tests.postgres.databases import Databases
from tests.postgres.run import PGBOUNCER

DEADLINE_SECONDS = 60


def until(fact: Callable[[], bool]) -> None:
    end = time.monotonic() + DEADLINE_SECONDS
    while not fact():
        assert time.monotonic() < end, "it never came about"
        time.sleep(0.01)


def test_a_folder_keeps_its_database(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    assert Databases.lend(one) == Databases.lend(one) != Databases.lend(two)


@pytest.mark.parametrize("through", ["postgres", PGBOUNCER])
@pytest.mark.parametrize("turn", range(3))
def test_what_a_test_leaves_is_gone_with_it(tmp_path: Path, through: str, turn: int) -> None:
    url = Databases.lend(tmp_path, through)
    if url is None:
        pytest.skip("PgBouncer is not installed")
    with psycopg.connect(url, autocommit=True) as connection:
        assert connection.execute("SELECT count(*) FROM lane").fetchone() == (0,)
        parts = connection.execute(
            "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'attempt'::regclass"
        ).fetchall()
        assert parts == [("attempt_kept",)], "the one that the schema has, and no day"
        row = connection.execute("INSERT INTO lane (owner, name) VALUES (1, 'a') RETURNING seq").fetchone()
        assert row == (1,)
        if turn:  # more than is worth deleting row by row
            connection.execute("INSERT INTO lane (owner, name) SELECT 2, 'lane ' || i FROM generate_series(1, 9000) i")
        connection.execute("CREATE TABLE attempt_1 PARTITION OF attempt FOR VALUES FROM (1) TO (2)")


@pytest.mark.parametrize("turn", range(2))
def test_a_changed_schema_is_not_lent_again(tmp_path: Path, turn: int) -> None:
    url = Databases.lend(tmp_path)
    assert url is not None
    with psycopg.connect(url, autocommit=True) as connection:
        assert connection.execute("SELECT count(*) FROM migration WHERE number = 999").fetchone() == (0,)
        connection.execute("INSERT INTO migration VALUES (999, 'x', 'y')")


@pytest.mark.process
@pytest.mark.skipif("os.environ.get('TEST_DATABASE_URL')", reason="another server is used")
@pytest.mark.parametrize("how", [None, signal.SIGINT, signal.SIGKILL])
def test_nothing_stays_behind_however_a_run_ends(tmp_path: Path, how: signal.Signals | None) -> None:
    script = (
        "import sys\nfrom pathlib import Path\nfrom tests.postgres.run import Servers\n"
        "servers = Servers(Path(sys.argv[1]))\nprint(servers.url(), servers._keeper.pid, flush=True)\n"
        "sys.stdin.read()\n"
    )
    run = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert run.stdout is not None
    url, keeper = run.stdout.readline().split()
    psycopg.connect(url).close()
    if how is not None:
        run.send_signal(how)
    run.communicate()

    def gone() -> bool:
        try:
            os.kill(int(keeper), 0)
        except ProcessLookupError:
            return True
        return Path(f"/proc/{keeper}/stat").read_text().rpartition(")")[2].split()[0] == "Z"

    until(gone)
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(url)
