"""Keeps schedules, and fires those whose turn it is: each is moved on in the transaction that stores its tasks."""

from collections.abc import Sequence
from typing import Any

import apsw

from tasks_server.domain import ids
from tasks_server.domain.errors import RequestError, Unreadable
from tasks_server.domain.schedule import Schedule
from tasks_server.domain.task import NewTask
from tasks_server.store.ports import Refusal
from tasks_server.store.rows import Loaded
from tasks_server.store.schedules import FiredSchedules, look_at_template, schedule_columns, schedule_of
from tasks_server.store.scheduling import DecideFiring, DecideSchedule, Fired, ScheduleChange, ScheduleRefusal
from tasks_server.store.sealing import Sealer
from tasks_server.store.sqlite.rows import load_task, pack, single, unpack
from tasks_server.store.sqlite.statements import sql
from tasks_server.store.sqlite.steering import Steerings
from tasks_server.store.sqlite.submitting import Submissions


class Schedules(FiredSchedules):
    """The batch functions about schedules."""

    def __init__(self, submissions: Submissions, steerings: Steerings, sealer: Sealer) -> None:
        self._submissions = submissions
        self._steerings = steerings
        self._sealer = sealer

    def change(
        self, connection: apsw.Connection, items: Sequence[tuple[str | None, str, DecideSchedule, int]]
    ) -> Sequence[Schedule | ScheduleRefusal | Refusal | None]:
        """Each item is an owner, a key, what to decide, and how many schedules an owner may have."""
        return [self._change(connection, *item) for item in items]

    def read(
        self, connection: apsw.Connection, items: Sequence[tuple[str | None, str]]
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
    def page(connection: apsw.Connection, items: Sequence[tuple[str | None, str, int]]) -> Sequence[list[Schedule]]:
        """Each item is an owner, the id to go on after, and how many to give."""
        answers = []
        for owner, after, limit in items:
            names: dict[str, Any] = {"after": after, "count_max": limit}
            if owner is None:
                rows = connection.execute(sql("schedules_list"), names)
            else:
                rows = connection.execute(sql("schedules_list_owner"), names | {"owner": owner})
            answers.append([schedule_of(*row) for row in rows])
        return answers

    @staticmethod
    def delete(connection: apsw.Connection, items: Sequence[tuple[str | None, str]]) -> Sequence[bool]:
        """Each item is an owner and a key."""
        answers = []
        for owner, key in items:
            row = _find(connection, owner, key)
            if row is not None:
                connection.execute(sql("schedule_delete"), {"seq": row[0]})
            answers.append(row is not None)
        return answers

    @staticmethod
    def next_look(connection: apsw.Connection, items: Sequence[None]) -> Sequence[int | None]:
        """For each item the same: when the next schedule has its turn."""
        (at,) = single(connection, "schedules_next", {})
        return [at] * len(items)

    def fire(
        self, connection: apsw.Connection, items: Sequence[tuple[int, int, DecideFiring]]
    ) -> Sequence[tuple[Fired, list[NewTask], bool]]:
        """Each item is until when turns count as come, how many schedules at most, and what to decide. With what was
        done go the tasks that were stored, and whether one in flight was stopped.
        """
        return [self._fire(connection, *item) for item in items]

    def _change(
        self, connection: apsw.Connection, owner: str | None, key: str, decide: DecideSchedule, count_max: int
    ) -> Schedule | ScheduleRefusal | Refusal | None:
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
        columns = schedule_columns(self._sealer, change, seq=row[0])
        written = connection.execute(sql("schedule_change"), columns).fetchone()
        return change.schedule if written else ScheduleRefusal.NAME_TAKEN

    def _insert(
        self, connection: apsw.Connection, change: ScheduleChange, count_max: int
    ) -> Schedule | ScheduleRefusal:
        owner = connection.execute(sql("owner_by_id"), {"id": change.schedule.owner}).fetchone()
        if owner is None:
            return ScheduleRefusal.UNKNOWN_OWNER
        if single(connection, "schedules_count", {"owner": owner[5]})[0] >= count_max:
            return ScheduleRefusal.FULL
        row = schedule_columns(self._sealer, change, id=change.schedule.id, owner=owner[5])
        written = connection.execute(sql("schedule_insert"), row).fetchone()
        return change.schedule if written else ScheduleRefusal.NAME_TAKEN

    def _fire(
        self, connection: apsw.Connection, horizon: int, limit: int, decide: DecideFiring
    ) -> tuple[Fired, list[NewTask], bool]:
        rows: list[Any] = connection.execute(sql("schedules_due"), {"horizon": horizon, "count_max": limit}).fetchall()
        if not rows:
            return Fired(), [], False
        owners, _ = single(connection, "owner_facts", {"ids": pack(list({row[2] for row in rows}))})
        rooms = {seq: limit - used for _, seq, limit, used in unpack(owners)}
        due = [(seq, owner, facts, sealed) for seq, owner, _, facts, sealed, _ in rows]
        held = frozenset(row[1] for row in rows if row[5])
        return self._fire_each(connection, due, rooms, held, horizon, decide)

    def _run(self, connection: apsw.Connection, statement: str, row: dict[str, Any]) -> None:
        connection.execute(sql(statement), row)

    def _load(self, connection: apsw.Connection, owner: str, task_id: str, *, hold: bool) -> Loaded | None:
        return load_task(connection, self._sealer, owner, task_id, response=False)  # nobody else writes meanwhile


def _find(connection: apsw.Connection, owner: str | None, key: str) -> Any:
    if ids.is_task_id(key):
        return connection.execute(sql("schedule_by_id"), {"key": key, "owner": owner}).fetchone()
    if owner is None:
        return None
    return connection.execute(sql("schedule_by_name"), {"key": key, "owner": owner}).fetchone()
