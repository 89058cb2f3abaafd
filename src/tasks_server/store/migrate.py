"""Numbered forward migrations, shared by the adapters: which there are, which are applied, and with which ones a
program can live. Running a statement is the adapter's part.

`0007_name.sql` expands: the release before can work with it applied, so it comes before a new version starts.
`0008_name.post.sql` contracts: it takes away what that release needed, so it comes once no process of it lives. Its
first line names the oldest version that can live with it: `-- after 1.4.0`.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from importlib import resources
from typing import Final

import msgspec

from tasks_server.domain.errors import SchemaOutOfDate

_DIGITS: Final = 4
_POST: Final = ".post"
_AFTER: Final = re.compile(r"-- after (\d+(?:\.\d+)*)\n")


class Migration(msgspec.Struct, frozen=True):
    """One step of the schema. The checksum is that of its text. `after`: see above; None for one that expands."""

    number: int
    name: str
    sql: str
    checksum: str
    after: str | None = None


class Applied(msgspec.Struct, frozen=True):
    """What a database remembers of a migration."""

    name: str
    checksum: str

    @property
    def contracts(self) -> bool:
        return self.name.endswith(_POST)


def load(package: str) -> list[Migration]:
    """The migrations of a package, in order. Raises `ValueError` on a gap, or when one that contracts does not say
    after which version.
    """
    found = []
    for entry in resources.files(package).iterdir():
        if entry.name.endswith(".sql"):
            sql = entry.read_text(encoding="utf-8")
            name = entry.name.removesuffix(".sql")
            said = _AFTER.match(sql)
            if name.endswith(_POST) != bool(said):
                raise ValueError(f"{entry.name}: a migration that contracts, and no other, opens with `-- after 1.2.3`")
            checksum = hashlib.sha256(sql.encode()).hexdigest()
            found.append(Migration(int(name[:_DIGITS]), name, sql, checksum, said[1] if said else None))
    found.sort(key=lambda migration: migration.number)
    if [migration.number for migration in found] != list(range(1, len(found) + 1)):
        raise ValueError(f"the migrations of {package} are not numbered 1, 2, 3, …")
    return found


def pending(
    migrations: Iterable[Migration], applied: Mapping[int, Applied], where: str, *, newer_may_expand: bool = False
) -> list[Migration]:
    """Those that are still to apply, in order. `applied` by number, as recorded in the database;
    `where` names it for people.

    Raises `SchemaOutOfDate` when an applied migration differs from ours, or when the database is newer than this
    program. With `newer_may_expand`, it may be newer by migrations that expand.
    """
    ours = {migration.number: migration for migration in migrations}
    newer = sorted(set(applied) - set(ours))
    if newer and not (newer_may_expand and not any(applied[number].contracts for number in newer)):
        raise SchemaOutOfDate(
            f"{where}: the database has schema version {newer[-1]}, this program knows {max(ours, default=0)}: "
            "start the version of Tasks Server that upgraded it, or a newer one"
        )
    for number in sorted(set(applied) & set(ours)):
        if ours[number].checksum != applied[number].checksum:
            raise SchemaOutOfDate(
                f"{where}: migration {ours[number].name} was applied to this database with other content, so another "
                "development version of Tasks Server made it: start that version, or name another database "
                "(--data-dir or DATABASE_URL)"
            )
    return [migration for number, migration in ours.items() if number not in applied]


def needed(pending: Iterable[Migration]) -> list[Migration]:
    """Those of the pending ones without which this program cannot start: what expands."""
    return [migration for migration in pending if migration.after is None]


def version_key(version: str) -> tuple[int, ...]:
    """Orders versions by their numbers.

    >>> version_key("1.10.0") > version_key("1.9.3") == version_key("1.9.3.dev2")
    True
    """
    return tuple(int(part) for part in (re.findall(r"\d+", version) + ["0"] * 3)[:3])
