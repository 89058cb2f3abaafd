"""Numbered forward migrations, shared by the adapters: which there are, which are applied, and whether an applied
one was changed since. Running a statement is the adapter's part.
"""

import hashlib
from collections.abc import Iterable, Mapping
from importlib import resources
from typing import Final

import msgspec

from tasks_server.domain.errors import SchemaOutOfDate

_DIGITS: Final = 4


class Migration(msgspec.Struct, frozen=True):
    """One step of the schema. The checksum is that of its text."""

    number: int
    name: str
    sql: str
    checksum: str


def load(package: str) -> list[Migration]:
    """The migrations that lie as `0001_name.sql` in a package, in order. Raises `ValueError` on a gap."""
    found = []
    for entry in resources.files(package).iterdir():
        if entry.name.endswith(".sql"):
            sql = entry.read_text(encoding="utf-8")
            checksum = hashlib.sha256(sql.encode()).hexdigest()
            found.append(Migration(int(entry.name[:_DIGITS]), entry.name[:-4], sql, checksum))
    found.sort(key=lambda migration: migration.number)
    if [migration.number for migration in found] != list(range(1, len(found) + 1)):
        raise ValueError(f"the migrations of {package} are not numbered 1, 2, 3, …")
    return found


def pending(migrations: Iterable[Migration], applied: Mapping[int, str]) -> list[Migration]:
    """Those that are still to apply. `applied` maps numbers to checksums, as recorded in the database.

    Raises `SchemaOutOfDate` when the database is newer than this program or an applied migration differs from ours.
    """
    ours = {migration.number: migration for migration in migrations}
    newer = sorted(set(applied) - set(ours))
    if newer:
        raise SchemaOutOfDate(
            f"the database has schema version {newer[-1]}, this program knows {max(ours, default=0)}: "
            "start the version of Tasks Server that upgraded it, or a newer one"
        )
    for number, checksum in applied.items():
        if ours[number].checksum != checksum:
            raise SchemaOutOfDate(f"migration {ours[number].name} was applied to this database with other content")
    return [migration for number, migration in ours.items() if number not in applied]
