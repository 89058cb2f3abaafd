"""Keeps what owners' calls are signed with; sealed, each secret bound to its owner."""

from collections.abc import Sequence
from typing import Any

import apsw

from tasks_server.domain.errors import RequestError
from tasks_server.domain.signing import Signing, SigningSecret
from tasks_server.store.owning import DecideSigning
from tasks_server.store.sealing import Sealer
from tasks_server.store.signing import made_secret, secret_columns, signings_of
from tasks_server.store.sqlite.rows import pack
from tasks_server.store.sqlite.statements import sql


def insert_secret(
    connection: apsw.Connection, sealer: Sealer, owner: int, owner_id: str, secret: SigningSecret
) -> None:
    """Stores one secret of an owner, given by handle and id."""
    connection.execute(sql("signing_insert"), secret_columns(sealer, owner, owner_id, secret))


def fill_in(connection: apsw.Connection, sealer: Sealer) -> None:
    """Gives a secret to every owner that has none."""
    missing: list[Any] = connection.execute(sql("signing_missing")).fetchall()
    for seq, owner_id, created_at in missing:
        insert_secret(connection, sealer, seq, owner_id, made_secret(created_at))


class Signings:
    """The batch functions about signing."""

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer

    def of_handles(self, connection: apsw.Connection, items: Sequence[Sequence[int]]) -> Sequence[dict[int, Signing]]:
        """Each item is handles of owners; for each those that exist. A damaged secret is left out: it must not hold
        up the others.
        """
        return [self._find(connection, item, strict=False) for item in items]

    def of_owner(self, connection: apsw.Connection, items: Sequence[str]) -> Sequence[Signing | None]:
        """Each item is an owner's id."""
        answers: list[Signing | None] = []
        for item in items:
            seq = _handle(connection, item)
            answers.append(None if seq is None else self._find(connection, [seq], strict=True)[seq])
        return answers

    def change(
        self, connection: apsw.Connection, items: Sequence[tuple[str, DecideSigning]]
    ) -> Sequence[Signing | RequestError | None]:
        """Each item is an owner's id and what becomes of its signing."""
        return [self._change(connection, owner_id, decide) for owner_id, decide in items]

    def _change(
        self, connection: apsw.Connection, owner_id: str, decide: DecideSigning
    ) -> Signing | RequestError | None:
        seq = _handle(connection, owner_id)
        if seq is None:
            return None
        try:
            after = decide(self._find(connection, [seq], strict=False)[seq])
        except RequestError as error:
            return error
        connection.execute(sql("signing_enable"), {"owner": seq, "enabled": int(after.enabled)})
        connection.execute(sql("signing_delete"), {"owner": seq})
        for secret in after.secrets:
            insert_secret(connection, self._sealer, seq, owner_id, secret)
        return after

    def _find(self, connection: apsw.Connection, owners: Sequence[int], *, strict: bool) -> dict[int, Signing]:
        rows = connection.execute(sql("signing_find"), {"owners": pack(owners)})
        return signings_of(self._sealer, rows, strict=strict)


def _handle(connection: apsw.Connection, owner_id: str) -> int | None:
    row = connection.execute(sql("owner_by_id"), {"id": owner_id}).fetchone()
    return None if row is None else row[5]
