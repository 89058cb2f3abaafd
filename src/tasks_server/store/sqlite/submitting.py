"""Takes tasks in: many requests, one transaction."""

from collections.abc import Sequence
from typing import Any

import apsw
import msgspec

from tasks_server.domain import limits
from tasks_server.domain.task import NewTask, as_task, urgency
from tasks_server.store.ports import Duplicate, InsertAnswer, Inserted, QueueFull, UnknownOwner
from tasks_server.store.rows import ids_text, metadata_text, text_ids
from tasks_server.store.sealing import Sealer
from tasks_server.store.sqlite.rows import load_task, pack, single, unpack
from tasks_server.store.sqlite.statements import sql
from tasks_server.store.sqlite.tally import Tally

_INSERTED = Inserted()


class Lanes:
    """The handles of lanes by owner and name. They never change, so they are remembered; but not across a
    transaction that was undone, which may have made them.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[int, str], int] = {}

    def handle(self, connection: apsw.Connection, owner: int, name: str) -> int:
        """The lane's handle; makes the lane on its first use."""
        lane = self._known.get((owner, name))
        if lane is None:
            row = single(connection, "lane_insert", {"owner": owner, "name": name})
            lane = self._known[owner, name] = row[0]
        return lane

    def forget(self) -> None:
        self._known.clear()


class _Room(msgspec.Struct):
    """An owner's handle and how many places are left in its queue."""

    owner: int
    limit: int
    used: int


def owner_room(connection: apsw.Connection, owner_id: str) -> tuple[int, int] | None:
    """How many tasks the owner may have in its queue and how many it has; None: there is no such owner (any more)."""
    facts, _ = single(connection, "owner_facts", {"ids": pack([owner_id])})
    rows = unpack(facts)
    return (rows[0][2], rows[0][3]) if rows else None


class Submissions:
    """The batch function that inserts."""

    def __init__(self, lanes: Lanes, sealer: Sealer) -> None:
        self._lanes = lanes
        self._sealer = sealer

    def insert(self, connection: apsw.Connection, items: Sequence[Sequence[NewTask]]) -> Sequence[InsertAnswer]:
        """Each item is a request with one task or more, of one owner, their specs sealed; all of it or none."""
        owners = list({item[0].owner for item in items})
        facts, last = single(connection, "owner_facts", {"ids": pack(owners)})
        rooms = {row[0]: _Room(*row[1:]) for row in unpack(facts)}
        seen = _Idempotency(connection, self._sealer, rooms, items)
        rows: list[Any] = []
        searchable: list[Any] = []
        runs: list[Any] = []
        tally = Tally()
        seq = last or 0
        answers: list[InsertAnswer] = []
        for item in items:
            answer = self._admit(rooms, seen, item)
            answers.append(answer)
            if not isinstance(answer, Inserted):
                continue
            room = rooms[item[0].owner]
            room.used += len(item)
            if item[0].idempotency_key is not None:
                seen.remember(room.owner, item)
            for task in item:
                seq += 1
                lane = self._lanes.handle(connection, room.owner, task.lane)
                tally.enter(room.owner, lane, task.state)
                rows.append(_row(seq, room.owner, lane, task))
                if task.metadata:
                    searchable.extend((room.owner, key, value, seq) for key, value in task.metadata.items())
                if task.schedule is not None:
                    runs.append((seq, task.schedule, task.fire_at))
        if rows:
            self._write(connection, rows, searchable, tally, seen)
        if runs:
            connection.execute(sql("schedule_runs_insert"), {"rows": pack(runs)})
        return answers

    def replay(
        self, connection: apsw.Connection, items: Sequence[tuple[str, str, bytes, int]]
    ) -> Sequence[Duplicate | None]:
        """Each item is an owner, an idempotency key, the digest of a request under it, and the instant."""
        answers = []
        for owner, key, digest, now in items:
            names = {"owner": owner, "key": key, "now": now}
            row = connection.execute(sql("idempotency_replay"), names).fetchone()
            answers.append(_duplicate(connection, self._sealer, owner, row[1], row[0] == digest) if row else None)
        return answers

    @staticmethod
    def _admit(rooms: dict[str, _Room], seen: "_Idempotency", item: Sequence[NewTask]) -> InsertAnswer:
        room = rooms.get(item[0].owner)
        if room is None:
            return UnknownOwner()
        duplicate = seen.find(room.owner, item[0])
        if duplicate is not None:
            return duplicate
        if room.used + len(item) > room.limit:
            return QueueFull(room.limit)
        return _INSERTED

    @staticmethod
    def _write(
        connection: apsw.Connection, rows: list[Any], searchable: list[Any], tally: Tally, seen: "_Idempotency"
    ) -> None:
        packed = {"rows": pack(rows)}
        connection.execute(sql("task_insert"), packed)
        connection.execute(sql("request_insert"), packed)
        if searchable:
            connection.execute(sql("metadata_insert"), {"rows": pack(searchable)})
        seen.write(connection)
        tally.write(connection)


def _row(seq: int, owner: int, lane: int, task: NewTask) -> tuple[Any, ...]:
    return (
        seq,
        task.id,
        owner,
        lane,
        task.state,
        urgency(task.priority),
        task.priority,
        task.created_at,
        task.due_at,
        task.expire_at,
        task.target,
        metadata_text(task.metadata),
        task.spec.hex(),
        task.remaining_ms,
    )


def _duplicate(
    connection: apsw.Connection, sealer: Sealer, owner: str, stored: str, same_body: bool
) -> Duplicate | None:
    """What a key stands for; None: all of it was deleted since, and the key may be used again."""
    for task_id in (ids := text_ids(stored)):
        if (loaded := load_task(connection, sealer, owner, task_id)) is not None:
            return Duplicate(loaded.task, same_body, ids)
    return None


class _Idempotency:
    """Which idempotency keys are known: those in the store, and those of this very transaction."""

    def __init__(
        self,
        connection: apsw.Connection,
        sealer: Sealer,
        rooms: dict[str, _Room],
        items: Sequence[Sequence[NewTask]],
    ) -> None:
        self._connection = connection
        self._sealer = sealer
        self._stored: dict[tuple[int, str], tuple[bytes, str]] = {}
        self._fresh: dict[tuple[int, str], Sequence[NewTask]] = {}
        self._rows: list[Any] = []
        keyed = [item[0] for item in items if item[0].idempotency_key is not None and item[0].owner in rooms]
        if keyed:
            keys = [(rooms[task.owner].owner, task.idempotency_key) for task in keyed]
            now = min(task.created_at for task in keyed)
            (found,) = single(connection, "idempotency_find", {"keys": pack(keys), "now": now})
            for owner, key, digest, task in unpack(found):
                self._stored[owner, key] = (bytes.fromhex(digest), task)

    def find(self, owner: int, task: NewTask) -> Duplicate | None:
        """What this key was used for before, if any task of that still exists."""
        if task.idempotency_key is None:
            return None
        key = (owner, task.idempotency_key)
        fresh = self._fresh.get(key)
        if fresh is not None:
            same = fresh[0].idempotency_digest == task.idempotency_digest
            return Duplicate(as_task(fresh[0]), same, tuple([each.id for each in fresh]))
        stored = self._stored.get(key)
        if stored is None:
            return None
        digest, ids = stored
        return _duplicate(self._connection, self._sealer, task.owner, ids, digest == task.idempotency_digest)

    def remember(self, owner: int, item: Sequence[NewTask]) -> None:
        """Of the first task of a request it is said what all of it was asked under."""
        task = item[0]
        assert task.idempotency_key is not None
        self._fresh[owner, task.idempotency_key] = item
        digest = (task.idempotency_digest or b"").hex()
        expires_at = task.created_at + limits.IDEMPOTENCY_KEPT_MS
        self._rows.append((owner, task.idempotency_key, digest, ids_text(item), expires_at))

    def write(self, connection: apsw.Connection) -> None:
        if self._rows:
            connection.execute(sql("idempotency_insert"), {"rows": pack(self._rows)})
