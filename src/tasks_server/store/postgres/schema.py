"""The schema of the database: making and upgrading it (which an operator asks for), and whether it is one that this
program can work with (which every start asks).
"""

import itertools
from typing import Any, Final

from tasks_server.domain.errors import Refused, SchemaOutOfDate
from tasks_server.store import migrate
from tasks_server.store.copying import progress
from tasks_server.store.migrate import Applied, Migration
from tasks_server.store.postgres import roster
from tasks_server.store.postgres.link import Connection, one
from tasks_server.store.sealing import Sealer, key_id_of, key_ids

_MIGRATIONS: Final = "tasks_server.store.postgres.migrations"
_CANARY: Final = b"tasks-server canary"
_UPGRADE_LOCK: Final = 0x7461736B
"""Advisory: two upgrades at once follow each other."""


def upgrade(connection: Connection, *, post: bool = False) -> list[str]:
    """Applies what is missing, all of it or nothing. The names of what was applied. Of a database that is in use:
    what expands, or with `post` what contracts, up to the first of the other kind. Raises `Refused` when that
    comes first, or when a node needs what is to be taken away.
    """
    with connection.transaction():
        connection.execute("SET LOCAL statement_timeout = 0")
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_UPGRADE_LOCK,))
        connection.execute(
            "CREATE TABLE IF NOT EXISTS migration "
            "(number integer PRIMARY KEY, name text NOT NULL, checksum text NOT NULL)"
        )
        steps = _next(connection, post=post)
        for step in steps:
            connection.execute(step.sql.encode())
            connection.execute("INSERT INTO migration VALUES (%s, %s, %s)", (step.number, step.name, step.checksum))
    return [step.name for step in steps]


def is_made(connection: Connection) -> bool:
    """Whether any migration was ever applied."""
    (there,) = one(connection, "SELECT to_regclass('migration') IS NOT NULL")
    return bool(there) and bool(_applied(connection))


def preview(connection: Connection) -> list[Migration]:
    """What is missing, of both kinds. Changes nothing."""
    return _pending(connection)


def verify(connection: Connection, sealer: Sealer, where: str, *, unfinished: bool = False) -> None:
    """Raises `SchemaOutOfDate` when this program cannot work with the schema, `Corrupt` under another key,
    `Unavailable` when a copy into the database is not finished and we are not to fill it (`unfinished`).
    """
    missing = migrate.needed(_pending(connection))
    if missing:
        if not is_made(connection):
            has = "holds no tables of Tasks Server yet"
        else:
            has = f"lacks {len(missing)} migration{'s' if len(missing) > 1 else ''} of this version"
        raise SchemaOutOfDate(f"{where}: the database {has}: run `tasks-server db upgrade`")
    _prove_key(connection, sealer, where)
    if not unfinished:
        progress.refuse_unfinished(copy_progress(connection))


def canary(connection: Connection) -> bytes:
    """What was sealed when the database was made."""
    (value,) = one(connection, "SELECT value FROM meta WHERE name = 'canary'")
    return bytes(value)


def copy_progress(connection: Connection, *, lock: bool = False) -> bytes | None:
    """How far a copy into this database has come; None: there was none. With `lock`, nobody else goes on with it
    before the transaction ends.
    """
    text = b"SELECT value FROM meta WHERE name = %s" + (b" FOR UPDATE" if lock else b"")
    row = connection.execute(text, (progress.NAME,)).fetchone()
    return None if row is None else bytes(row[0])


def reseal_canary(connection: Connection, sealer: Sealer) -> None:
    """Seals with the present key what proves at the next start that the key fits. The key that did so is replaced."""
    ids = replaced_keys(connection) | {key_id_of(canary(connection))}
    kept = b"".join(sorted(ids - {sealer.sealing_key_id}))
    connection.execute(
        "INSERT INTO meta (name, value) VALUES ('replaced keys', %s) "
        "ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        (kept,),
    )
    connection.execute("UPDATE meta SET value = %s WHERE name = 'canary'", (sealer.seal(_CANARY, b"canary"),))


def replaced_keys(connection: Connection) -> set[bytes]:
    """The ids of the keys that sealed everything once, and do not any more."""
    row = connection.execute("SELECT value FROM meta WHERE name = 'replaced keys'").fetchone()
    return set() if row is None else key_ids(bytes(row[0]))


def _next(connection: Connection, *, post: bool) -> list[Migration]:
    steps = _pending(connection)
    if not is_made(connection):
        return steps  # nobody works with it yet
    turn = list(itertools.takewhile(lambda step: (step.after is not None) == post, steps))
    if not turn and any((step.after is not None) == post for step in steps):
        raise _out_of_turn(steps[0])
    for step in turn:
        if step.after is not None:
            _refuse_older(connection, step, step.after)
    return turn


def _out_of_turn(first: Migration) -> Refused:
    """What stands before a migration is applied before it."""
    if first.after is None:
        return Refused(f"{first.name} comes first: run `tasks-server db upgrade`")
    return Refused(
        f"{first.name} comes first: once every node runs version {first.after} or newer, "
        "run `tasks-server db upgrade --post`, then this again"
    )


def _refuse_older(connection: Connection, step: Migration, after: str) -> None:
    """Nobody may be left who needs what this migration takes away."""
    wanted = migrate.version_key(after)
    alive = [node for node in roster.read(connection) if node.alive]
    older = [node for node in alive if migrate.version_key(node.version or "") < wanted]
    if older:
        named = ", ".join(f"{node.host} (pid {node.pid}) with {node.version}" for node in older)
        raise Refused(f"{step.name} needs every node to run version {after} or newer; older are: {named}")


def _pending(connection: Connection) -> list[Migration]:
    applied = _applied(connection) if is_made(connection) else {}
    info = connection.info
    where = f"postgresql://{info.host}:{info.port}/{info.dbname}"
    return migrate.pending(migrate.load(_MIGRATIONS), applied, where, newer_may_expand=True)


def _applied(connection: Connection) -> dict[int, Applied]:
    rows: list[Any] = connection.execute("SELECT number, name, checksum FROM migration").fetchall()
    return {number: Applied(name, checksum) for number, name, checksum in rows}


def _prove_key(connection: Connection, sealer: Sealer, where: str) -> None:
    """Opens what was sealed when the database was made, so that a wrong key is noticed now and not at a task."""
    sealed = sealer.seal(_CANARY, b"canary")
    connection.execute("INSERT INTO meta VALUES ('canary', %s) ON CONFLICT (name) DO NOTHING", (sealed,))
    (value,) = one(connection, "SELECT value FROM meta WHERE name = 'canary'")
    sealer.prove(value, b"canary", where)
