"""Takes tasks in: many requests, one transaction."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import apsw
import msgspec

from tasks_server.domain.task import NewTask, Task, urgency
from tasks_server.store.idempotency import Memory, duplicate_of, names_of
from tasks_server.store.ports import Duplicate, InsertAnswer, Inserted, QueueFull, UnknownOwner
from tasks_server.store.rows import metadata_text
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
        seen = self._seen(connection, rooms, items)
        rows: list[Any] = []
        searchable: list[Any] = []
        runs: list[Any] = []
        tally = Tally()
        seq = last or 0
        answers: list[InsertAnswer] = []
        for item in items:
            answer = self._admit(connection, rooms, seen, item)
            answers.append(answer)
            if not isinstance(answer, Inserted):
                continue
            room = rooms[item[0].owner]
            room.used += len(item)
            if item[0].idempotency_key is not None and seen is not None:
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

    def add(self, connection: apsw.Connection, tasks: Sequence[tuple[int, NewTask]]) -> None:
        """Stores callbacks, each with its owner's handle, in the places that those leave of whose end they tell."""
        _, last = single(connection, "owner_facts", {"ids": "[]"})
        tally = Tally()
        rows, sources = [], []
        for seq, (owner, task) in enumerate(tasks, (last or 0) + 1):
            lane = self._lanes.handle(connection, owner, task.lane)
            tally.enter(owner, lane, task.state)
            rows.append(_row(seq, owner, lane, task))
            sources.append((seq, task.callback_of))
        packed = {"rows": pack(rows)}
        connection.execute(sql("task_insert"), packed)
        connection.execute(sql("request_insert"), packed)
        connection.execute(sql("callbacks_insert"), {"rows": pack(sources)})
        tally.write(connection)

    def replay(
        self, connection: apsw.Connection, items: Sequence[tuple[str, str, bytes, int]]
    ) -> Sequence[Duplicate | None]:
        """Each item is an owner, an idempotency key, the digest of a request under it, and the instant."""
        answers = []
        for owner, key, digest, now in items:
            names = {"owner": owner, "keys": pack(names_of(owner, key, self._sealer)), "now": now}
            row = connection.execute(sql("idempotency_replay"), names).fetchone()
            load = partial(_loaded, connection, self._sealer, owner)
            answers.append(duplicate_of(row, digest, owner, self._sealer, load) if row else None)
        return answers

    def _seen(
        self, connection: apsw.Connection, rooms: dict[str, _Room], items: Sequence[Sequence[NewTask]]
    ) -> Memory | None:
        """What is known of the idempotency keys of the items; None: they have none."""
        keyed = [item[0] for item in items if item[0].idempotency_key is not None and item[0].owner in rooms]
        if not keyed:
            return None
        memory = Memory(self._sealer, [(rooms[task.owner].owner, task) for task in keyed])
        names = {"keys": pack(memory.asked), "now": min(task.created_at for task in keyed)}
        (found,) = single(connection, "idempotency_find", names)
        memory.found((owner, name, bytes.fromhex(digest), task) for owner, name, digest, task in unpack(found))
        return memory

    def _admit(
        self, connection: apsw.Connection, rooms: dict[str, _Room], seen: Memory | None, item: Sequence[NewTask]
    ) -> InsertAnswer:
        room = rooms.get(item[0].owner)
        if room is None:
            return UnknownOwner()
        if seen is not None:
            load = partial(_loaded, connection, self._sealer, item[0].owner)
            duplicate = seen.find(room.owner, item[0], load)
            if duplicate is not None:
                return duplicate
        if room.used + len(item) > room.limit:
            return QueueFull(room.limit)
        return _INSERTED

    @staticmethod
    def _write(
        connection: apsw.Connection, rows: list[Any], searchable: list[Any], tally: Tally, seen: Memory | None
    ) -> None:
        packed = {"rows": pack(rows)}
        connection.execute(sql("task_insert"), packed)
        connection.execute(sql("request_insert"), packed)
        if searchable:
            connection.execute(sql("metadata_insert"), {"rows": pack(searchable)})
        if seen is not None and seen.rows:
            connection.execute(sql("idempotency_insert"), {"rows": pack(seen.rows)})
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


def _loaded(connection: apsw.Connection, sealer: Sealer, owner: str, task_id: str) -> Task | None:
    loaded = load_task(connection, sealer, owner, task_id)
    return loaded.task if loaded else None
