"""Takes tasks in: many requests, one transaction of two round trips (what there is room for; what is stored)."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import msgspec
from psycopg.pq import TransactionStatus

from tasks_server.domain.task import NewTask, Task, urgency
from tasks_server.store.idempotency import Memory, duplicate_of, names_of
from tasks_server.store.ports import Duplicate, InsertAnswer, Inserted, QueueFull, UnknownOwner
from tasks_server.store.postgres.changes import OWNER_LOCK, Changes
from tasks_server.store.postgres.folding import Folded
from tasks_server.store.postgres.link import Connection, one
from tasks_server.store.postgres.rows import load_task, metadata_for, pack, storable
from tasks_server.store.postgres.statements import sql
from tasks_server.store.sealing import Sealer

_INSERTED = Inserted()


class Lanes:
    """The handles of lanes by owner and name. They never change, so they are remembered."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, str], int] = {}

    def handle(self, connection: Connection, owner: int, name: str) -> int:
        """The lane's handle; makes the lane on its first use."""
        lane = self._known.get((owner, name))
        if lane is None:
            names = {"owner": owner, "name": name}
            row = connection.execute(sql("lane_find"), names).fetchone()
            (lane,) = row or one(connection, sql("lane_insert"), names)
            if connection.info.transaction_status == TransactionStatus.IDLE:  # else it may be undone yet
                self._known[owner, name] = lane
        return lane


class _Room(msgspec.Struct):
    """How many tasks an owner may have in its queue, and how many there are."""

    limit: int
    used: int


def owner_room(connection: Connection, owner: int, folded: Folded) -> tuple[int, int] | None:
    """How many tasks the owner of this handle may have in its queue and how many it has; None: there is no such owner
    (any more).
    """
    asked = {"owners": pack([owner]), "folded": folded.until}
    row = connection.execute(sql("owner_rooms"), asked).fetchone()
    return None if row is None else (row[1], row[2])


class Submissions:
    """The batch function that inserts."""

    def __init__(self, lanes: Lanes, sealer: Sealer, folded: Folded) -> None:
        self._lanes = lanes
        self._sealer = sealer
        self._folded = folded
        self._owners: dict[str, int] = {}

    def insert(self, connection: Connection, items: Sequence[Sequence[NewTask]]) -> Sequence[InsertAnswer]:
        """Each item is a request with one task or more, of one owner, their specs sealed; all of it or none."""
        handles = self._handles(connection, {item[0].owner for item in items})
        lanes = {
            (handle, task.lane): self._lanes.handle(connection, handle, task.lane)
            for item in items
            if (handle := handles.get(item[0].owner)) is not None
            for task in item
        }
        if not handles:
            return [UnknownOwner()] * len(items)
        with connection.pipeline(), connection.transaction():
            connection.execute(sql("owners_lock"), {"class": OWNER_LOCK, "owners": pack(sorted(handles.values()))})
            rooms, memory = self._facts(connection, handles, items)
            stored = _Stored(memory)
            answers: list[InsertAnswer] = []
            for item in items:
                owner = handles.get(item[0].owner)
                room = rooms.get(owner) if owner is not None else None
                if owner is None or room is None:
                    answers.append(UnknownOwner())
                    continue
                answer = self._admit(connection, stored, owner, room, item)
                answers.append(answer)
                if answer is _INSERTED:
                    room.used += len(item)
                    stored.add(owner, item, lanes)
            stored.write(connection)
        return answers

    def add(self, connection: Connection, tasks: Sequence[tuple[int, NewTask]]) -> None:
        """Stores callbacks, each with its owner's handle, in the places that the tasks leave of whose ends they tell.
        In the transaction that is open.
        """
        stored = _Stored(Memory(self._sealer, []))
        for owner, task in tasks:
            lanes = {(owner, task.lane): self._lanes.handle(connection, owner, task.lane)}
            stored.add(owner, [task], lanes)
        stored.write(connection)
        sources = pack([(task.id, task.callback_of) for _, task in tasks])
        connection.execute(sql("callbacks_insert"), {"rows": sources})

    def insert_again(self, connection: Connection, items: Sequence[Sequence[NewTask]]) -> Sequence[InsertAnswer]:
        """Inserts what was not stored, when the connection was lost before it could be said. The old session may
        still be at it: whoever has the owners' locks sees what came of that.
        """
        handles = self._handles(connection, {item[0].owner for item in items})
        with connection.transaction():
            connection.execute(sql("owners_lock"), {"class": OWNER_LOCK, "owners": pack(sorted(handles.values()))})
            ids = pack([item[0].id for item in items])
            stored = {row[0] for row in connection.execute(sql("tasks_stored"), {"ids": ids})}
            undone = [item for item in items if item[0].id not in stored]
            answers = iter(self.insert(connection, undone) if undone else ())
        return [_INSERTED if item[0].id in stored else next(answers) for item in items]

    def replay(
        self, connection: Connection, items: Sequence[tuple[str, str, bytes, int]]
    ) -> Sequence[Duplicate | None]:
        """Each item is an owner, an idempotency key, the digest of a request under it, and the instant."""
        answers = []
        for owner, key, digest, now in items:
            names = [storable(name) for name in names_of(owner, key, self._sealer)]
            asked = {"owner": owner, "keys": names, "now": now}
            row = connection.execute(sql("idempotency_replay"), asked).fetchone()
            load = partial(_loaded, connection, self._sealer, owner)
            answers.append(duplicate_of(row, digest, owner, self._sealer, load) if row else None)
        return answers

    def _handles(self, connection: Connection, owners: set[str]) -> dict[str, int]:
        """The owners' handles. They never change; that an owner was deleted is seen with its room."""
        unknown = owners - self._owners.keys()
        if unknown:
            self._owners.update(connection.execute(sql("owner_handles"), {"ids": pack(list(unknown))}).fetchall())
        return {owner: self._owners[owner] for owner in owners if owner in self._owners}

    def _facts(
        self, connection: Connection, handles: dict[str, int], items: Sequence[Sequence[NewTask]]
    ) -> tuple[dict[int, _Room], Memory]:
        """Each owner's room, and what the idempotency keys of the items were used for."""
        owners = {"owners": pack(list(handles.values())), "folded": self._folded.until}
        asked = connection.execute(sql("owner_rooms"), owners)
        keyed = [item[0] for item in items if item[0].idempotency_key is not None and item[0].owner in handles]
        memory = Memory(self._sealer, [(handles[task.owner], task) for task in keyed])
        if keyed:
            names = {"keys": pack(memory.asked), "now": min(task.created_at for task in keyed)}
            memory.found(connection.execute(sql("idempotency_find"), names))
        return {owner: _Room(limit, used) for owner, limit, used in asked}, memory

    def _admit(
        self, connection: Connection, stored: "_Stored", owner: int, room: _Room, item: Sequence[NewTask]
    ) -> InsertAnswer:
        load = partial(_loaded, connection, self._sealer, item[0].owner)
        duplicate = stored.memory.find(owner, item[0], load)
        if duplicate is not None:
            return duplicate
        if room.used + len(item) > room.limit:
            return QueueFull(room.limit)
        return _INSERTED


class _Stored:
    """What one transaction stores, and which idempotency keys it knows."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory
        self._rows: list[Any] = []
        self._runs: list[Any] = []
        self._changes = Changes()

    def add(self, owner: int, item: Sequence[NewTask], lanes: dict[tuple[int, str], int]) -> None:
        """An item that was admitted."""
        if item[0].idempotency_key is not None:
            self.memory.remember(owner, item)
        for task in item:
            lane = lanes[owner, task.lane]
            self._changes.enter(owner, lane, task.state)
            self._rows.append(_row(owner, lane, task))
            if task.schedule is not None:
                self._runs.append((task.id, task.schedule, task.fire_at))

    def write(self, connection: Connection) -> None:
        """Stores it all in one statement, and in a second one which tasks schedules made."""
        if self._rows:
            parameters = {"rows": pack(self._rows), "keys": pack(self.memory.rows), "changes": self._changes.rows()}
            connection.execute(sql("task_insert"), parameters)
        if self._runs:
            connection.execute(sql("schedule_runs_insert"), {"rows": pack(self._runs)})


def _loaded(connection: Connection, sealer: Sealer, owner: str, task_id: str) -> Task | None:
    loaded = load_task(connection, sealer, owner, task_id)
    return loaded.task if loaded else None


def _row(owner: int, lane: int, task: NewTask) -> tuple[Any, ...]:
    return (
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
        metadata_for(task.metadata),
        task.spec.hex(),
        task.remaining_ms,
    )
