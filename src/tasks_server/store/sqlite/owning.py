"""Keeps owners and their keys."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import apsw

from tasks_server.domain.callback import Callbacks
from tasks_server.domain.errors import RequestError
from tasks_server.domain.owner import Owner, OwnerKey
from tasks_server.domain.signing import SigningSecret
from tasks_server.store.callbacks import opened_callbacks, sealed_callbacks
from tasks_server.store.owners import owner_columns
from tasks_server.store.owning import DecideCallbacks, DecideOwner, KeyHolder
from tasks_server.store.sealing import Sealer
from tasks_server.store.sqlite.signing import insert_secret
from tasks_server.store.sqlite.statements import sql


class Ownings:
    """The batch functions about owners. Each handles its items one by one: they are rare."""

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer

    def create(
        self, connection: apsw.Connection, items: Sequence[tuple[Owner, OwnerKey, bytes, SigningSecret]]
    ) -> Sequence[bool]:
        """Each item is a new owner, its first key, that key's digest, its signing secret. False: the name is taken."""
        answers = []
        for owner, key, digest, secret in items:
            row = connection.execute(
                sql("owner_insert"),
                {
                    "id": owner.id,
                    "name": owner.name,
                    "created_at": owner.created_at,
                    "tasks_in_queue_max": owner.tasks_in_queue_max,
                },
            ).fetchone()
            if row is not None:
                _insert_key(connection, row[0], key, digest)
                insert_secret(connection, self._sealer, row[0], owner.id, secret)
            answers.append(row is not None)
        return answers

    @staticmethod
    def by_id(connection: apsw.Connection, items: Sequence[str]) -> Sequence[Owner | None]:
        return [_owner(_find(connection, item)) for item in items]

    @staticmethod
    def by_name(connection: apsw.Connection, items: Sequence[str]) -> Sequence[Owner | None]:
        return [_owner(connection.execute(sql("owner_by_name"), {"name": item}).fetchone()) for item in items]

    @staticmethod
    def by_key(connection: apsw.Connection, items: Sequence[bytes]) -> Sequence[KeyHolder | None]:
        return [_holder(connection.execute(sql("owner_by_key"), {"digest": item}).fetchone()) for item in items]

    @staticmethod
    def page(connection: apsw.Connection, items: Sequence[tuple[str, int, str]]) -> Sequence[list[Owner]]:
        """Each item is the name to go on after, how many to give, and the name to end before."""
        return [
            [
                _owner_of(row)
                for row in connection.execute(sql("owners_list"), {"after": after, "until": until, "count_max": limit})
            ]
            for after, limit, until in items
        ]

    @staticmethod
    def change(
        connection: apsw.Connection, items: Sequence[tuple[str, DecideOwner, int]]
    ) -> Sequence[Owner | RequestError | None]:
        """Each item is an owner, what to decide, and the instant."""
        return [_change(connection, *item) for item in items]

    def callbacks(self, connection: apsw.Connection, items: Sequence[str]) -> Sequence[Callbacks | None]:
        """Each item is an owner's id."""
        return [self._callbacks(connection, item) for item in items]

    def change_callbacks(
        self, connection: apsw.Connection, items: Sequence[tuple[str, DecideCallbacks]]
    ) -> Sequence[Callbacks | RequestError | None]:
        """Each item is an owner's id and what becomes of its callbacks."""
        return [self._change_callbacks(connection, *item) for item in items]

    def _callbacks(self, connection: apsw.Connection, owner_id: str) -> Callbacks | None:
        row = connection.execute(sql("owner_callbacks_find"), {"id": owner_id}).fetchone()
        return None if row is None else opened_callbacks(self._sealer, row[0], owner_id)

    def _change_callbacks(
        self, connection: apsw.Connection, owner_id: str, decide: DecideCallbacks
    ) -> Callbacks | RequestError | None:
        before = self._callbacks(connection, owner_id)
        if before is None:
            return None
        try:
            after = decide(before)
        except RequestError as refusal:
            return refusal
        sealed = sealed_callbacks(self._sealer, after, owner_id)
        connection.execute(sql("owner_callbacks_change"), {"id": owner_id, "callbacks": sealed})
        return after

    @staticmethod
    def delete(connection: apsw.Connection, items: Sequence[str]) -> Sequence[bool | None]:
        """Each item is an owner. False: tasks are in queue; None: there is no such owner."""
        answers: list[bool | None] = []
        for item in items:
            row = _find(connection, item)
            if row is not None and row[4] == 0:
                for name in (
                    "owner_delete", "owner_keys_delete", "signing_delete", "schedules_of_owner_delete",
                    "bulks_of_owner_delete",
                ):  # fmt: skip
                    connection.execute(sql(name), {"owner": row[5]})
            answers.append(row[4] == 0 if row is not None else None)
        return answers

    @staticmethod
    def add_key(connection: apsw.Connection, items: Sequence[tuple[str, OwnerKey, bytes, int]]) -> Sequence[bool]:
        """Each item is an owner, its new key, that key's digest and how many live keys are allowed."""
        answers = []
        for owner, key, digest, keys_max in items:
            row = _find(connection, owner)
            room = row is not None and len(_keys(connection, row[5])) < keys_max
            if row is not None and room:
                _insert_key(connection, row[5], key, digest)
            answers.append(room)
        return answers

    @staticmethod
    def keys(connection: apsw.Connection, items: Sequence[str]) -> Sequence[list[OwnerKey]]:
        answers = []
        for item in items:
            row = _find(connection, item)
            answers.append(_keys(connection, row[5]) if row is not None else [])
        return answers

    @staticmethod
    def note_used(connection: apsw.Connection, items: Sequence[Sequence[tuple[bytes, int]]]) -> Sequence[None]:
        """Each item is digests of keys, and when each was used."""
        for uses in items:
            connection.executemany(sql("owner_key_used"), [{"digest": digest, "at": at} for digest, at in uses])
        return [None] * len(items)

    @staticmethod
    def use_link(connection: apsw.Connection, items: Sequence[tuple[bytes, int, int]]) -> Sequence[bool]:
        """Each item is a link, until when it is good, and now; whether it is used for the first time."""
        answers = []
        for link, until, now in items:
            connection.execute(sql("links_prune"), {"now": now})
            answers.append(bool(connection.execute(sql("link_use"), {"id": link, "until": until}).fetchall()))
        return answers

    @staticmethod
    def remove_key(connection: apsw.Connection, items: Sequence[tuple[str, str]]) -> Sequence[bool | None]:
        """Each item is an owner and a key. False: it is the last one; None: there is no such key."""
        answers: list[bool | None] = []
        for owner, key_id in items:
            row = _find(connection, owner)
            keys = _keys(connection, row[5]) if row is not None else []
            if row is None or key_id not in {key.id for key in keys}:
                answers.append(None)
                continue
            if len(keys) > 1:
                connection.execute(sql("owner_key_delete"), {"owner": row[5], "id": key_id})
            answers.append(len(keys) > 1)
        return answers


def _find(connection: apsw.Connection, owner_id: str) -> Any:
    return connection.execute(sql("owner_by_id"), {"id": owner_id}).fetchone()


def _owner(row: Any) -> Owner | None:
    return _owner_of(row) if row is not None else None


def _holder(row: Any) -> KeyHolder | None:
    return KeyHolder(_owner_of(row[:9]), OwnerKey(*row[9:])) if row is not None else None


def _owner_of(row: Any) -> Owner:
    return Owner(*row[:5], *row[6:])


def _change(connection: apsw.Connection, owner_id: str, decide: DecideOwner, now: int) -> Owner | RequestError | None:
    row = _find(connection, owner_id)
    if row is None:
        return None
    before = _owner_of(row)
    try:
        after = decide(before)
    except RequestError as refusal:
        return refusal
    connection.execute(sql("owner_change"), owner_columns(row[5], after))
    if before.suspended_at is not None and after.suspended_at is None:
        connection.execute(sql("schedules_of_owner_wake"), {"owner": row[5], "now": now})
    return after


def _keys(connection: apsw.Connection, owner: int) -> list[OwnerKey]:
    return [OwnerKey(*row) for row in connection.execute(sql("owner_keys_list"), {"owner": owner})]


def _insert_key(connection: apsw.Connection, owner: int, key: OwnerKey, digest: bytes) -> None:
    row = {"digest": digest, "id": key.id, "owner": owner, "created_at": key.created_at}
    connection.execute(sql("owner_key_insert"), row)


def has_owners(path: Path) -> bool:
    """Whether the database has an owner. One that is missing, new or unreadable counts as one without."""
    if not path.exists():
        return False
    try:
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        try:
            return connection.execute(sql("owner_any")).fetchone() is not None
        finally:
            connection.close()
    except apsw.Error:
        return False
