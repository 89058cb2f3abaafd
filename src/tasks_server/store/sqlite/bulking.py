"""Keeps bulk work, and does it step by step: a step changes tasks and moves the mark in one transaction."""

from collections.abc import Sequence
from typing import Any

import apsw
import msgspec

from tasks_server.domain import limits
from tasks_server.domain.bulk import Action, Bulk, BulkFilter, matches, room_for
from tasks_server.domain.errors import Busy, Unavailable
from tasks_server.domain.task import State, Task
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
from tasks_server.store.rows import changed_columns, event_row, task_of
from tasks_server.store.sealing import Sealer
from tasks_server.store.sqlite.connection import concerns_all
from tasks_server.store.sqlite.rows import attempt_row, pack, single, unpack
from tasks_server.store.sqlite.statements import sql
from tasks_server.store.sqlite.steering import erase
from tasks_server.store.sqlite.submitting import owner_room
from tasks_server.store.sqlite.tally import Tally

_LAST = 2**63 - 1
_BULK_COLUMNS = 17


class Bulks:
    """The batch functions about bulk work."""

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer

    @staticmethod
    def create(connection: apsw.Connection, items: Sequence[tuple[Bulk, int]]) -> Sequence[Bulk | BulkRefusal]:
        """Each item is new work, and how much of it its owner may have open."""
        return [_create(connection, bulk, open_max) for bulk, open_max in items]

    @staticmethod
    def read(connection: apsw.Connection, items: Sequence[tuple[str | None, str]]) -> Sequence[Bulk | None]:
        """Each item is an owner and the work's id."""
        return [_read(connection, *item) for item in items]

    @staticmethod
    def page(connection: apsw.Connection, items: Sequence[tuple[str | None, str, int]]) -> Sequence[list[Bulk]]:
        """Each item is an owner, the id to go on before, and how many to give."""
        answers = []
        for owner, before, limit in items:
            names: dict[str, Any] = {"before": before or "~", "count_max": limit}
            if owner is None:
                rows = connection.execute(sql("bulks_list"), names)
            else:
                rows = connection.execute(sql("bulks_list_owner"), names | {"owner": owner})
            answers.append([bulk_of(row) for row in rows])
        return answers

    @staticmethod
    def cancel(connection: apsw.Connection, items: Sequence[tuple[str | None, str, int]]) -> Sequence[Bulk | None]:
        """Each item is an owner, the work's id, and the instant."""
        answers = []
        for owner, bulk_id, now in items:
            connection.execute(sql("bulk_cancel"), {"owner": owner, "id": bulk_id, "now": now})
            answers.append(_read(connection, owner, bulk_id))
        return answers

    def sight(
        self, connection: apsw.Connection, items: Sequence[tuple[str, BulkFilter, int, int]]
    ) -> Sequence[Sighted]:
        """Each item is an owner, a filter, the handle to go on after, and how many tasks to look at."""
        return [_sight(connection, *item, self._sealer) for item in items]

    @staticmethod
    def next_turn(connection: apsw.Connection, items: Sequence[None]) -> Sequence[int | None]:
        """For each item the same: when the next work has its turn."""
        (at,) = single(connection, "bulks_next", {})
        return [at] * len(items)

    def work(self, connection: apsw.Connection, items: Sequence[tuple[int, Stride, DecideBulk]]) -> Sequence[Worked]:
        """Each item is the instant, how far to go, and what to decide."""
        return [self._step(connection, *item) for item in items]

    def _step(self, connection: apsw.Connection, now: int, stride: Stride, decide: DecideBulk) -> Worked:
        row = connection.execute(sql("bulk_take"), {"now": now}).fetchone()
        if row is None:
            return Worked()
        try:
            with connection:  # what was changed before it failed is undone
                worked = self._work(connection, row, now, stride, decide)
        except Exception as error:
            if concerns_all(error) or isinstance(error, Unavailable | Busy):
                raise
            columns, worked = failed_step(row[_BULK_COLUMNS], row, error, now, busy=False)
            connection.execute(sql("bulk_set_back"), columns)
        return worked

    def _work(
        self, connection: apsw.Connection, row: Sequence[Any], now: int, stride: Stride, decide: DecideBulk
    ) -> Worked:
        bulk = bulk_of(row)
        seq, owner, until, after = row[_BULK_COLUMNS:]
        if bulk.unreadable is not None:
            ended = given_up(bulk, now)
            connection.execute(sql("bulk_move"), moved_columns(seq, ended, after, now))
            return Worked(ended)
        window = _walk(connection, walk_of(bulk.filter), owner, after, until, stride.seen_max)
        seen = _found(connection, window, self._sealer)
        found = {ref: one for ref, one in seen.items() if not _came_later(one.task, bulk, now)}
        sought = window.sought(found, bulk.filter, stride.changed_max)
        stops_at = sought[stride.changed_max].ref if len(sought) > stride.changed_max else None
        room = 0
        if bulk.action is Action.RETRY:
            places = owner_room(connection, bulk.owner)
            room = 0 if places is None else room_for(*places)
        deeds = deeds_of(bulk, sought[: stride.changed_max], decide, room, stops_at)
        self._write(connection, owner, deeds)
        further, after, look_at = moved(bulk, window, deeds, after, now)
        connection.execute(sql("bulk_move"), moved_columns(seq, further, after, look_at))
        return Worked(further, deeds.restarted, deeds.stopped)

    def _write(self, connection: apsw.Connection, owner: int, deeds: Deeds) -> None:
        """Keeps what was decided, in a few statements for all of it."""
        tally = Tally()
        changed, events, attempts = [], [], []
        for found, deed in deeds.steered:
            tally.leave(owner, found.lane, found.task.state)
            tally.enter(owner, found.lane, deed.task.state)
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
            tally.leave(owner, found.lane, found.task.state)
        if deeds.deleted:
            erase(connection, [found.ref for found in deeds.deleted], tally)
        else:
            tally.write(connection)


def _create(connection: apsw.Connection, bulk: Bulk, open_max: int) -> Bulk | BulkRefusal:
    row = connection.execute(sql("owner_by_id"), {"id": bulk.owner}).fetchone()
    if row is None:
        return BulkRefusal.UNKNOWN_OWNER
    owner = row[5]
    if single(connection, "bulks_open", {"owner": owner})[0] >= open_max:
        return BulkRefusal.FULL
    walk = walk_of(bulk.filter)
    (until,) = single(connection, "task_newest", {"owner": owner})
    total = len(walk.ids) if walk.ids is not None else _count(connection, owner, walk.states)
    connection.execute(sql("bulk_insert"), new_columns(bulk, owner, until, total))
    return msgspec.structs.replace(bulk, updated_at=bulk.created_at, total=total)


def _came_later(task: Task, bulk: Bulk, now: int) -> bool:
    """A handle may be given anew once the newest task is gone: what came later is told by its time, too. What came in
    the future came before the clock was set back.
    """
    return bulk.created_at < task.created_at <= now + limits.CLOCK_SET_MS


def _count(connection: apsw.Connection, owner: int, states: Sequence[State]) -> int:
    (total,) = single(connection, "tasks_counted", {"owner": owner, "states": pack(states)})
    return int(total)


def _read(connection: apsw.Connection, owner: str | None, bulk_id: str) -> Bulk | None:
    row = connection.execute(sql("bulk_by_id"), {"owner": owner, "id": bulk_id}).fetchone()
    return None if row is None else bulk_of(row)


def _sight(
    connection: apsw.Connection, owner: str, asked: BulkFilter, after: int, seen_max: int, sealer: Sealer
) -> Sighted:
    row = connection.execute(sql("owner_by_id"), {"id": owner}).fetchone()
    if row is None:
        return Sighted(0, [], None)
    window = _walk(connection, walk_of(asked), row[5], after, _LAST, seen_max)
    found = _found(connection, window, sealer)
    tasks = [found[ref].task for ref in window.refs if ref in found and matches(asked, found[ref].task)]
    return Sighted(len(window.refs), tasks, None if window.last else window.refs[-1])


def _walk(connection: apsw.Connection, walk: Walk, owner: int, after: int, until: int, count_max: int) -> Window:
    """The next tasks of the owner on this way, so many at most."""
    names: dict[str, Any] = {"owner": owner, "after": after, "until": until, "count_max": count_max}
    streams = []
    if walk.ids is not None:
        streams.append(unpack(single(connection, "bulk_named", names | {"ids": pack(walk.ids)})[0]))
        return window_of([sorted(streams[0])[:count_max]], count_max)
    if walk.whole:
        streams.append(unpack(single(connection, "bulk_whole", names)[0]))
    if walk.unfinished:
        streams.append(unpack(single(connection, "bulk_unfinished", names)[0]))
    for state in walk.stopped:
        streams.append(unpack(single(connection, "bulk_stopped", names | {"state": state.value})[0]))
    return window_of(streams, count_max)


def _found(connection: apsw.Connection, window: Window, sealer: Sealer) -> dict[int, Found]:
    """The tasks of a window by their handles."""
    if not window.refs:
        return {}
    found = {}
    for row in unpack(single(connection, "bulk_found", {"seqs": pack(window.refs)})[0]):
        task = task_of(row, sealer)
        task.schedule = row[21]
        found[row[19]] = Found(row[19], row[20], task)
    return found
