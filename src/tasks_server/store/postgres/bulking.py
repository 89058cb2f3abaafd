"""Keeps bulk work, and does it step by step: a step changes tasks and moves the mark in one transaction.

Who holds an owner's queue and work of it at once holds the queue first. And a step never waits for a task while it
holds others: those who settle hold many tasks, too, in an order of their own.
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from tasks_server.domain.bulk import Action, Bulk, BulkFilter, matches, room_for
from tasks_server.domain.errors import Busy
from tasks_server.domain.task import State
from tasks_server.store.bulking import BulkRefusal, DecideBulk, Sighted, Stride, Worked
from tasks_server.store.bulks import (
    Deeds,
    Found,
    Walk,
    Window,
    bulk_of,
    deeds_of,
    failed_step,
    given_up,
    moved,
    moved_columns,
    new_columns,
    walk_of,
    window_of,
)
from tasks_server.store.postgres.changes import OWNER_LOCK, Changes
from tasks_server.store.postgres.days import Days
from tasks_server.store.postgres.folding import Folded
from tasks_server.store.postgres.link import Connection, concerns_all, one, translate
from tasks_server.store.postgres.rows import attempt_row, day_of, pack, storable, storable_json
from tasks_server.store.postgres.signing import lock_owner
from tasks_server.store.postgres.statements import sql
from tasks_server.store.postgres.steering import count, erase
from tasks_server.store.postgres.submitting import owner_room
from tasks_server.store.rows import TASK_COLUMNS, changed_columns, event_row, task_of
from tasks_server.store.sealing import Sealer

_LAST: Final = 2**63 - 1
_BULK_COLUMNS: Final = 17


class Bulks:
    """The batch functions about bulk work."""

    def __init__(self, days: Days, folded: Folded, sealer: Sealer) -> None:
        self._days = days
        self._folded = folded
        self._sealer = sealer

    def create(self, connection: Connection, items: Sequence[tuple[Bulk, int]]) -> Sequence[Bulk | BulkRefusal]:
        """Each item is new work, and how much of it its owner may have open."""
        answers: list[Bulk | BulkRefusal] = [BulkRefusal.UNKNOWN_OWNER] * len(items)
        with connection.transaction():
            for index in sorted(range(len(items)), key=lambda index: items[index][0].owner):
                answers[index] = self._create(connection, *items[index])
        return answers

    @staticmethod
    def read(connection: Connection, items: Sequence[tuple[str | None, str]]) -> Sequence[Bulk | None]:
        """Each item is an owner and the work's id."""
        return [_read(connection, *item) for item in items]

    @staticmethod
    def page(connection: Connection, items: Sequence[tuple[str | None, str, int]]) -> Sequence[list[Bulk]]:
        """Each item is an owner, the id to go on before, and how many to give."""
        answers = []
        for owner, before, limit in items:
            names: dict[str, Any] = {"before": storable(before or "~"), "count_max": limit}
            if owner is None:
                rows = connection.execute(sql("bulks_list"), names)
            else:
                rows = connection.execute(sql("bulks_list_owner"), names | {"owner": storable(owner)})
            answers.append([bulk_of(row) for row in rows])
        return answers

    @staticmethod
    def cancel(connection: Connection, items: Sequence[tuple[str | None, str, int]]) -> Sequence[Bulk | None]:
        """Each item is an owner, the work's id, and the instant."""
        answers = []
        for owner, bulk_id, now in items:
            connection.execute(sql("bulk_cancel"), _names(owner, bulk_id) | {"now": now})
            answers.append(_read(connection, owner, bulk_id))
        return answers

    def sight(self, connection: Connection, items: Sequence[tuple[str, BulkFilter, int, int]]) -> Sequence[Sighted]:
        """Each item is an owner, a filter, the handle to go on after, and how many tasks to look at."""
        answers = []
        for item in items:
            with connection.transaction():
                answers.append(_sight(connection, *item, self._sealer))
        return answers

    @staticmethod
    def next_turn(connection: Connection, items: Sequence[None]) -> Sequence[int | None]:
        """For each item the same: when the next work has its turn."""
        (at,) = one(connection, sql("bulks_next"))
        return [at] * len(items)

    def work(self, connection: Connection, items: Sequence[tuple[int, Stride, DecideBulk]]) -> Sequence[Worked]:
        """Each item is the instant, how far to go, and what to decide; each is a transaction of its own."""
        answers = []
        for now, stride, decide in items:
            self._days.ensure(connection, [day_of(now)])
            answers.append(self._step(connection, now, stride, decide))
        return answers

    def _create(self, connection: Connection, bulk: Bulk, open_max: int) -> Bulk | BulkRefusal:
        owner = lock_owner(connection, bulk.owner)
        if owner is None:
            return BulkRefusal.UNKNOWN_OWNER
        if one(connection, sql("bulks_open"), {"owner": owner})[0] >= open_max:
            return BulkRefusal.FULL
        walk = walk_of(bulk.filter)
        (until,) = one(connection, sql("task_newest"), {"owner": owner})
        total = len(walk.ids) if walk.ids is not None else self._count(connection, owner, walk.states)
        columns = new_columns(bulk, owner, until, total)
        columns |= {"filter": storable_json(columns["filter"]), "asked_by": storable(bulk.asked_by)}
        connection.execute(sql("bulk_insert"), columns)
        return msgspec.structs.replace(bulk, updated_at=bulk.created_at, total=total)

    def _count(self, connection: Connection, owner: int, states: Sequence[State]) -> int:
        names = {"owner": owner, "states": [state.value for state in states], "folded": self._folded.until}
        (total,) = one(connection, sql("tasks_counted"), names)
        return int(total)

    def _step(self, connection: Connection, now: int, stride: Stride, decide: DecideBulk) -> Worked:
        first = connection.execute(sql("bulk_first"), {"now": now}).fetchone()
        if first is None:
            return Worked()
        seq, owner, action = first
        row = None
        try:
            with connection.transaction():
                if action == Action.RETRY:  # it takes places in the queue, as those do who store tasks
                    connection.execute(sql("owner_queue_lock"), {"class": OWNER_LOCK, "owner": owner})
                row = connection.execute(sql("bulk_take"), {"seq": seq, "now": now}).fetchone()
                return Worked() if row is None else self._work(connection, seq, owner, row, now, stride, decide)
        except Exception as error:
            if row is None or concerns_all(error):
                raise
            columns, told = failed_step(seq, row, error, now, busy=isinstance(translate(error, ""), Busy))
            connection.execute(sql("bulk_set_back"), columns)
            return told

    def _work(
        self,
        connection: Connection,
        seq: int,
        owner: int,
        row: Sequence[Any],
        now: int,
        stride: Stride,
        decide: DecideBulk,
    ) -> Worked:
        bulk = bulk_of(row)
        until, after = row[_BULK_COLUMNS:]
        if bulk.unreadable is not None:
            ended = given_up(bulk, now)
            connection.execute(sql("bulk_move"), moved_columns(seq, ended, after, now))
            return Worked(ended)
        window = _walk(connection, walk_of(bulk.filter), owner, after, until, stride.seen_max)
        sought = window.sought(_found(connection, window.refs, self._sealer), bulk.filter, stride.changed_max)
        held, stops_at = _hold(connection, sought, stride.changed_max, self._sealer)
        room = 0
        if bulk.action is Action.RETRY:
            places = owner_room(connection, owner, self._folded)
            room = 0 if places is None else room_for(*places)
        deeds = deeds_of(bulk, [each for each in held if matches(bulk.filter, each.task)], decide, room, stops_at)
        self._write(connection, owner, deeds)
        further, after, look_at = moved(bulk, window, deeds, after, now)
        connection.execute(sql("bulk_move"), moved_columns(seq, further, after, look_at))
        return Worked(further, deeds.restarted, deeds.stopped)

    def _write(self, connection: Connection, owner: int, deeds: Deeds) -> None:
        """Keeps what was decided, in a few statements for all of it."""
        changes = Changes()
        changed, events, attempts = [], [], []
        for found, deed in deeds.steered:
            changes.leave(owner, found.lane, found.task.state)
            changes.enter(owner, found.lane, deed.task.state)
            changed.append(changed_columns(found.ref, found.lane, deed.task, self._sealer))
            events.append(event_row(found.ref, deed.event, found.task, deed.task))
            if deed.attempt is not None:
                attempts.append(attempt_row(found.ref, owner, found.task.id, deed.attempt, self._sealer))
        if changed:
            connection.execute(sql("tasks_change"), {"rows": pack(changed)})
            connection.execute(sql("events_insert"), {"rows": pack(events)})
        if attempts:
            connection.execute(sql("attempt_insert"), {"rows": pack(attempts)})
        for found in deeds.deleted:
            changes.leave(owner, found.lane, found.task.state)
        if deeds.deleted:
            erase(connection, [found.ref for found in deeds.deleted], changes)
        else:
            count(connection, changes)


def _hold(
    connection: Connection, sought: list[Found], count_max: int, sealer: Sealer
) -> tuple[list[Found], int | None]:
    """Holds the first of these tasks, up to one that another has in hand (of the first one, it waits for that); gives
    them as they are now, and the handle of the first that is left to the next step.
    """
    refs = [found.ref for found in sought[:count_max]]
    stops_at = sought[count_max].ref if len(sought) > count_max else None
    free = {seq for (seq,) in connection.execute(sql("bulk_hold"), {"seqs": refs})} if refs else set()
    taken = next((place for place, ref in enumerate(refs) if ref not in free), None)
    if taken == 0 and not free:
        connection.execute(sql("bulk_hold_first"), {"seq": refs[0]})
        taken = 1 if len(refs) > 1 else None
    elif taken == 0:  # holding others, it must not wait: this step does nothing more
        return [], refs[0]
    if taken is not None:
        stops_at, refs = refs[taken], refs[:taken]
    found = _found(connection, refs, sealer)
    return [found[ref] for ref in refs if ref in found], stops_at


def _names(owner: str | None, bulk_id: str) -> dict[str, Any]:
    return {"owner": None if owner is None else storable(owner), "id": storable(bulk_id)}


def _read(connection: Connection, owner: str | None, bulk_id: str) -> Bulk | None:
    row = connection.execute(sql("bulk_by_id"), _names(owner, bulk_id)).fetchone()
    return None if row is None else bulk_of(row)


def _sight(connection: Connection, owner: str, asked: BulkFilter, after: int, seen_max: int, sealer: Sealer) -> Sighted:
    row = connection.execute(sql("owner_handle"), {"id": storable(owner)}).fetchone()
    if row is None:
        return Sighted(0, [], None)
    window = _walk(connection, walk_of(asked), row[0], after, _LAST, seen_max)
    found = _found(connection, window.refs, sealer)
    tasks = [found[ref].task for ref in window.refs if ref in found and matches(asked, found[ref].task)]
    return Sighted(len(window.refs), tasks, None if window.last else window.refs[-1])


def _walk(connection: Connection, walk: Walk, owner: int, after: int, until: int, count_max: int) -> Window:
    """The next tasks of the owner on this way, so many at most."""
    names: dict[str, Any] = {"owner": owner, "after": after, "until": until, "count_max": count_max}
    if walk.ids is not None:
        rows = connection.execute(sql("bulk_named"), names | {"ids": pack(walk.ids)})
        return window_of([sorted(seq for (seq,) in rows)[:count_max]], count_max)
    statements: list[tuple[str, dict[str, Any]]] = []
    if walk.whole:
        statements.append(("bulk_whole", names))
    if walk.unfinished:
        statements.append(("bulk_unfinished", names))
    statements += [("bulk_stopped", names | {"state": state.value}) for state in walk.stopped]
    connection.execute(sql("walk"))
    return window_of(
        [[seq for (seq,) in connection.execute(sql(name), values)] for name, values in statements], count_max
    )


def _found(connection: Connection, refs: Sequence[int], sealer: Sealer) -> dict[int, Found]:
    """The tasks of these handles as they are now."""
    if not refs:
        return {}
    found = {}
    for row in connection.execute(sql("bulk_found"), {"seqs": pack(refs)}):
        seq, lane, schedule = row[TASK_COLUMNS:]
        task = task_of(row, sealer)
        task.schedule = schedule
        found[seq] = Found(seq, lane, task)
    return found
