"""Keeps schedules, and fires those whose turn it is: each is moved on in the transaction that stores its tasks.

Who holds an owner and a schedule at once holds the owner first.
"""

from collections.abc import Sequence
from typing import Any

from tasks_server.domain import ids
from tasks_server.domain.errors import RequestError, Unreadable
from tasks_server.domain.schedule import Schedule
from tasks_server.domain.task import NewTask
from tasks_server.store.ports import Refusal
from tasks_server.store.postgres.changes import OWNER_LOCK
from tasks_server.store.postgres.folding import Folded
from tasks_server.store.postgres.link import Connection, one
from tasks_server.store.postgres.rows import load_task, pack, storable
from tasks_server.store.postgres.statements import sql
from tasks_server.store.postgres.steering import Steerings
from tasks_server.store.postgres.submitting import Submissions
from tasks_server.store.rows import Loaded
from tasks_server.store.schedules import FiredSchedules, look_at_template, schedule_columns, schedule_of
from tasks_server.store.scheduling import DecideFiring, DecideSchedule, Fired, ScheduleChange, ScheduleRefusal
from tasks_server.store.sealing import Sealer


class Schedules(FiredSchedules):
    """The batch functions about schedules. All items of a batch that changes anything are one transaction."""

    def __init__(self, submissions: Submissions, steerings: Steerings, folded: Folded, sealer: Sealer) -> None:
        self._submissions = submissions
        self._steerings = steerings
        self._folded = folded
        self._sealer = sealer

    def change(
        self, connection: Connection, items: Sequence[tuple[str | None, str, DecideSchedule, int]]
    ) -> Sequence[Schedule | ScheduleRefusal | Refusal | None]:
        """Each item is an owner, a key, what to decide, and how many schedules an owner may have."""
        answers: list[Schedule | ScheduleRefusal | Refusal | None] = [None] * len(items)
        with connection.transaction():
            for index in sorted(range(len(items)), key=lambda index: (items[index][0] or "", items[index][1])):
                answers[index] = self._change(connection, *items[index])
        return answers

    def read(
        self, connection: Connection, items: Sequence[tuple[str | None, str]]
    ) -> Sequence[tuple[Schedule, bytes] | None]:
        """Each item is an owner and a key."""
        answers: list[tuple[Schedule, bytes] | None] = []
        for owner, key in items:
            row = _find(connection, owner, key)
            if row is None:
                answers.append(None)
                continue
            found = schedule_of(row[3], row[5], row[2], row[6])
            answers.append((found, look_at_template(self._sealer, found, row[4])))
        return answers

    @staticmethod
    def page(connection: Connection, items: Sequence[tuple[str | None, str, int]]) -> Sequence[list[Schedule]]:
        """Each item is an owner, the id to go on after, and how many to give."""
        answers = []
        for owner, after, limit in items:
            names: dict[str, Any] = {"after": storable(after), "count_max": limit}
            if owner is None:
                rows = connection.execute(sql("schedules_list"), names)
            else:
                rows = connection.execute(sql("schedules_list_owner"), names | {"owner": storable(owner)})
            answers.append([schedule_of(*row) for row in rows])
        return answers

    @staticmethod
    def delete(connection: Connection, items: Sequence[tuple[str | None, str]]) -> Sequence[bool]:
        """Each item is an owner and a key."""
        answers = []
        with connection.transaction():
            for owner, key in items:
                row = _find(connection, owner, key)
                gone = 0 if row is None else connection.execute(sql("schedule_delete"), {"seq": row[0]}).rowcount
                answers.append(bool(gone))
        return answers

    @staticmethod
    def next_look(connection: Connection, items: Sequence[None]) -> Sequence[int | None]:
        """For each item the same: when the next schedule has its turn."""
        (at,) = one(connection, sql("schedules_next"))
        return [at] * len(items)

    def fire(
        self, connection: Connection, items: Sequence[tuple[int, int, DecideFiring]]
    ) -> Sequence[tuple[Fired, list[NewTask], bool]]:
        """Each item is until when turns count as come, how many schedules at most, and what to decide. With what was
        done go the tasks that were stored, and whether one in flight was stopped.
        """
        with connection.transaction():
            return [self._fire(connection, *item) for item in items]

    def _change(
        self, connection: Connection, owner: str | None, key: str, decide: DecideSchedule, count_max: int
    ) -> Schedule | ScheduleRefusal | Refusal | None:
        holder = None if owner is None else connection.execute(sql("owner_handle"), {"id": storable(owner)}).fetchone()
        row = _find(connection, owner, key)
        if row is not None or holder is not None:
            handle = row[1] if row is not None else holder[0] if holder is not None else 0
            connection.execute(sql("owner_queue_lock"), {"class": OWNER_LOCK, "owner": handle})
            row = _find(connection, owner, key)  # alone from here on
        if row is not None:
            connection.execute(sql("schedule_lock"), {"seq": row[0]})
            row = _find(connection, owner, key)
        before = None if row is None else schedule_of(row[3], row[5], row[2], row[6])
        template = b"" if row is None or before is None else look_at_template(self._sealer, before, row[4])
        try:
            change = decide(before, template)
        except (RequestError, Unreadable) as refusal:
            return refusal
        if change is None or change.schedule is before:
            return before
        if row is None:
            return self._insert(connection, change, count_max)
        names = {"owner": row[1], "name": change.schedule.name}
        taken = connection.execute(sql("schedule_name_find"), names).fetchone()
        if taken is not None and taken[0] != row[0]:
            return ScheduleRefusal.NAME_TAKEN
        connection.execute(sql("schedule_change"), schedule_columns(self._sealer, change, seq=row[0]))
        return change.schedule

    def _insert(self, connection: Connection, change: ScheduleChange, count_max: int) -> Schedule | ScheduleRefusal:
        owner = connection.execute(sql("owner_handle"), {"id": storable(change.schedule.owner)}).fetchone()
        if owner is None:
            return ScheduleRefusal.UNKNOWN_OWNER
        if one(connection, sql("schedules_count"), {"owner": owner[0]})[0] >= count_max:
            return ScheduleRefusal.FULL
        row = schedule_columns(self._sealer, change, id=change.schedule.id, owner=owner[0])
        written = connection.execute(sql("schedule_insert"), row).fetchone()
        return change.schedule if written else ScheduleRefusal.NAME_TAKEN

    def _fire(
        self, connection: Connection, horizon: int, limit: int, decide: DecideFiring
    ) -> tuple[Fired, list[NewTask], bool]:
        due: list[Any] = connection.execute(sql("schedules_due"), {"horizon": horizon, "count_max": limit}).fetchall()
        if not due:
            return Fired(), [], False
        owners = pack(sorted({row[1] for row in due}))
        connection.execute(sql("owners_lock"), {"class": OWNER_LOCK, "owners": owners})
        taken = {"seqs": pack([row[0] for row in due]), "horizon": horizon}
        rows: list[Any] = connection.execute(sql("schedules_take"), taken).fetchall()
        asked = {"owners": owners, "folded": self._folded.until}
        rooms = {seq: limit - used for seq, limit, used in connection.execute(sql("owner_rooms"), asked)}
        held = frozenset(row[1] for row in due if row[3])
        return self._fire_each(connection, rows, rooms, held, horizon, decide)

    def _run(self, connection: Connection, statement: str, row: dict[str, Any]) -> None:
        connection.execute(sql(statement), row)

    def _load(self, connection: Connection, owner: str, task_id: str, *, hold: bool) -> Loaded | None:
        return load_task(connection, self._sealer, owner, task_id, response=False, lock=hold)


def _find(connection: Connection, owner: str | None, key: str) -> Any:
    names = {"key": storable(key), "owner": None if owner is None else storable(owner)}
    if ids.is_task_id(key):
        return connection.execute(sql("schedule_by_id"), names).fetchone()
    return None if owner is None else connection.execute(sql("schedule_by_name"), names).fetchone()
