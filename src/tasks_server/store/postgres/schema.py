"""The schema of the database: making and upgrading it (which an operator asks for), and whether it is the one that
this program needs (which every start asks).
"""

from typing import Any, Final

from tasks_server.domain.errors import SchemaOutOfDate
from tasks_server.store import migrate
from tasks_server.store.postgres.link import Connection, one
from tasks_server.store.sealing import Sealer

_MIGRATIONS: Final = "tasks_server.store.postgres.migrations"
_CANARY: Final = b"tasks-server canary"
_UPGRADE_LOCK: Final = 0x7461736B
"""Advisory: two upgrades at once follow each other."""


def upgrade(connection: Connection) -> list[str]:
    """Applies what is missing, all of it or nothing. The names of what was applied."""
    done = []
    with connection.transaction():
        connection.execute("SET LOCAL statement_timeout = 0")
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_UPGRADE_LOCK,))
        connection.execute(
            "CREATE TABLE IF NOT EXISTS migration "
            "(number integer PRIMARY KEY, name text NOT NULL, checksum text NOT NULL)"
        )
        for step in migrate.pending(migrate.load(_MIGRATIONS), _applied(connection)):
            connection.execute(step.sql.encode())
            connection.execute("INSERT INTO migration VALUES (%s, %s, %s)", (step.number, step.name, step.checksum))
            done.append(step.name)
    return done


def verify(connection: Connection, sealer: Sealer, where: str) -> None:
    """Raises `SchemaOutOfDate` when the schema is not the one that this program needs, `Corrupt` under another key."""
    (there,) = one(connection, "SELECT to_regclass('migration') IS NOT NULL")
    pending: list[Any] = migrate.pending(migrate.load(_MIGRATIONS), _applied(connection) if there else {})
    if pending:
        has = f"lacks {len(pending)} migrations" if there else "holds no tables of Tasks Server yet"
        raise SchemaOutOfDate(f"{where}: the database {has}: run `tasks-server db upgrade`")
    _prove_key(connection, sealer)


def reseal_canary(connection: Connection, sealer: Sealer) -> None:
    """Seals with the present key what proves at the next start that the key fits."""
    connection.execute("UPDATE meta SET value = %s WHERE name = 'canary'", (sealer.seal(_CANARY, b"canary"),))


def _applied(connection: Connection) -> dict[int, str]:
    return dict(connection.execute("SELECT number, checksum FROM migration").fetchall())


def _prove_key(connection: Connection, sealer: Sealer) -> None:
    """Opens what was sealed when the database was made, so that a wrong key is noticed now and not at a task."""
    sealed = sealer.seal(_CANARY, b"canary")
    connection.execute("INSERT INTO meta VALUES ('canary', %s) ON CONFLICT (name) DO NOTHING", (sealed,))
    (value,) = one(connection, "SELECT value FROM meta WHERE name = 'canary'")
    sealer.open(value, b"canary")
