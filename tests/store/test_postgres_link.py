"""What each connection to PostgreSQL is told."""

import contextlib
from pathlib import Path

from tasks_server.clock import SystemClock
from tasks_server.store.postgres.link import Link, one
from tests.postgres.databases import Databases


def test_statements_are_planned_for_indexes_and_not_compiled(tmp_path: Path, databases: Databases) -> None:
    url = databases.lend(tmp_path)
    assert url is not None
    with contextlib.closing(Link(url, SystemClock()).connect()) as connection:
        for name in ("enable_seqscan", "enable_hashjoin", "enable_mergejoin", "jit"):
            assert one(connection, f"SELECT current_setting('{name}')") == ("off",), name
