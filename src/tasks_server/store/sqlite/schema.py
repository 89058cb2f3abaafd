"""Opens a database for good: whose file it is, whether its key fits, whether its schema is ours; upgrades it."""

from typing import Final

import apsw

from tasks_server.domain.errors import Corrupt
from tasks_server.store import migrate
from tasks_server.store.copying import progress
from tasks_server.store.migrate import Migration
from tasks_server.store.sealing import Sealer, key_id_of, key_ids
from tasks_server.store.sqlite.connection import APPLICATION_ID
from tasks_server.store.sqlite.signing import fill_in

_MIGRATIONS: Final = "tasks_server.store.sqlite.migrations"
_BOOKS: Final = """
CREATE TABLE IF NOT EXISTS migration (number INTEGER PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;
"""
_CANARY: Final = b"tasks-server canary"


def prepare(connection: apsw.Connection, sealer: Sealer, *, unfinished: bool = False) -> None:
    """Makes a new database, or upgrades one of ours, in one transaction. `unfinished`: for whoever fills it.

    Raises `Corrupt` for a file under another key, `SchemaOutOfDate` for a newer one, `Unavailable` for one into which
    a copy is not finished.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        if connection.pragma("application_id") != APPLICATION_ID:
            connection.pragma("application_id", APPLICATION_ID)
        connection.execute(_BOOKS)
        for step in pending(connection):
            connection.execute(step.sql)
            connection.execute("INSERT INTO migration VALUES (?, ?, ?)", (step.number, step.name, step.checksum))
        _prove_key(connection, sealer)
        if not unfinished:
            progress.refuse_unfinished(copy_progress(connection))
            fill_in(connection, sealer)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def pending(connection: apsw.Connection) -> list[Migration]:
    """What is still to apply. Raises `SchemaOutOfDate` for a newer database."""
    rows = connection.execute("SELECT number, name, checksum FROM migration")
    applied = {number: migrate.Applied(name, checksum) for number, name, checksum in rows}
    return migrate.pending(migrate.load(_MIGRATIONS), applied, connection.filename)


def canary(connection: apsw.Connection) -> bytes:
    """What was sealed when the database was made. Raises `Corrupt` when it is not there."""
    row = connection.execute("SELECT value FROM meta WHERE name = 'canary'").fetchone()
    if row is None:
        raise Corrupt("the database does not say what it is sealed with")
    return bytes(row[0])


def copy_progress(connection: apsw.Connection) -> bytes | None:
    """How far a copy into this database has come; None: there was none."""
    row = connection.execute("SELECT value FROM meta WHERE name = ?", (progress.NAME,)).fetchone()
    return None if row is None else bytes(row[0])


def reseal_canary(connection: apsw.Connection, sealer: Sealer) -> None:
    """Seals with the present key what proves at the next start that the key fits. The key that did so is replaced."""
    ids = replaced_keys(connection) | {key_id_of(canary(connection))}
    kept = b"".join(sorted(ids - {sealer.sealing_key_id}))
    connection.execute(
        "INSERT INTO meta (name, value) VALUES ('replaced keys', ?) "
        "ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        (kept,),
    )
    connection.execute("UPDATE meta SET value = ? WHERE name = 'canary'", (sealer.seal(_CANARY, b"canary"),))


def replaced_keys(connection: apsw.Connection) -> set[bytes]:
    """The ids of the keys that sealed everything once, and do not any more."""
    row = connection.execute("SELECT value FROM meta WHERE name = 'replaced keys'").fetchone()
    return set() if row is None else key_ids(bytes(row[0]))


def _prove_key(connection: apsw.Connection, sealer: Sealer) -> None:
    """Opens what was sealed when the database was made, so that a wrong key is noticed now and not at a task."""
    row = connection.execute("SELECT value FROM meta WHERE name = 'canary'").fetchone()
    if row is None:
        connection.execute("INSERT INTO meta VALUES ('canary', ?)", (sealer.seal(_CANARY, b"canary"),))
    else:
        sealer.prove(row[0], b"canary", connection.filename)
