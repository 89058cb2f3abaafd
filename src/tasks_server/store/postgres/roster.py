"""Who works on the database: the processes that have a row in `node`, and which of them were heard of lately."""

from typing import Any, Final

from tasks_server.store.clustering import Node
from tasks_server.store.postgres.link import Connection
from tasks_server.store.postgres.statements import sql

ALIVE_MS: Final = 15_000
"""A process that was not heard of for so long counts as gone. It tells of itself far more often."""


def read(connection: Connection) -> list[Node]:
    """All of them, by number. What is now, the database says."""
    rows: list[Any] = connection.execute(sql("roster"), {"alive_ms": ALIVE_MS}).fetchall()
    return [Node(*row) for row in rows]
