"""Opens a database for good: whose file it is, whether its key fits, whether its schema is ours; upgrades it."""

from typing import Final

import apsw

from tasks_server.store import migrate
from tasks_server.store.sealing import Sealer
from tasks_server.store.sqlite.connection import APPLICATION_ID
from tasks_server.store.sqlite.signing import fill_in

_MIGRATIONS: Final = "tasks_server.store.sqlite.migrations"
_BOOKS: Final = """
CREATE TABLE IF NOT EXISTS migration (number INTEGER PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;
"""
_CANARY: Final = b"tasks-server canary"


def prepare(connection: apsw.Connection, sealer: Sealer) -> None:
    """Makes a new database, or upgrades one of ours, in one transaction.

    Raises `Corrupt` for a file under another key, `SchemaOutOfDate` for a newer one.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        if connection.pragma("application_id") != APPLICATION_ID:
            connection.pragma("application_id", APPLICATION_ID)
        connection.execute(_BOOKS)
        rows = connection.execute("SELECT number, name, checksum FROM migration")
        applied = {number: migrate.Applied(name, checksum) for number, name, checksum in rows}
        for step in migrate.pending(migrate.load(_MIGRATIONS), applied):
            connection.execute(step.sql)
            connection.execute("INSERT INTO migration VALUES (?, ?, ?)", (step.number, step.name, step.checksum))
        _prove_key(connection, sealer)
        fill_in(connection, sealer)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def reseal_canary(connection: apsw.Connection, sealer: Sealer) -> None:
    """Seals with the present key what proves at the next start that the key fits."""
    connection.execute("UPDATE meta SET value = ? WHERE name = 'canary'", (sealer.seal(_CANARY, b"canary"),))


def _prove_key(connection: apsw.Connection, sealer: Sealer) -> None:
    """Opens what was sealed when the database was made, so that a wrong key is noticed now and not at a task."""
    row = connection.execute("SELECT value FROM meta WHERE name = 'canary'").fetchone()
    if row is None:
        connection.execute("INSERT INTO meta VALUES ('canary', ?)", (sealer.seal(_CANARY, b"canary"),))
    else:
        sealer.open(row[0], b"canary")
