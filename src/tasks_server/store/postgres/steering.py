"""Changes single tasks by their owner's hand, and deletes them."""

from collections.abc import Sequence
from typing import Any

from tasks_server.domain.attempt import Event
from tasks_server.domain.bulk import enters_queue
from tasks_server.domain.errors import RequestError, Unreadable
from tasks_server.domain.owner import owner_gone, queue_full
from tasks_server.domain.task import Task
from tasks_server.store.ports import Change, Decide, Refusal
from tasks_server.store.postgres.changes import OWNER_LOCK, Changes
from tasks_server.store.postgres.days import Days
from tasks_server.store.postgres.folding import Folded
from tasks_server.store.postgres.link import Conflicted, Connection
from tasks_server.store.postgres.rows import SOUND, attempt_row, day_of, load_task, metadata_for, pack, storable
from tasks_server.store.postgres.statements import sql
from tasks_server.store.postgres.submitting import Lanes, owner_room
from tasks_server.store.rows import Loaded, changed_columns, event_row
from tasks_server.store.sealing import Sealer, spec_context


class Steerings:
    """The batch functions that change and delete. All items of a batch are one transaction; they are done in the
    order of their tasks' ids, so that two batches seldom wait for each other in a circle.
    """

    def __init__(self, lanes: Lanes, days: Days, folded: Folded, sealer: Sealer) -> None:
        self._lanes = lanes
        self._days = days
        self._folded = folded
        self._sealer = sealer

    def change(
        self, connection: Connection, items: Sequence[tuple[str | None, str, Decide]]
    ) -> Sequence[Task | Refusal | None]:
        """Each item is an owner, a task and what to decide. A refusal is an answer."""
        answers: list[Task | Refusal | None] = [None] * len(items)
        with connection.pipeline(), connection.transaction():
            queues = _hold_queues(connection, items)
            for index in sorted(range(len(items)), key=lambda index: items[index][1]):
                answers[index] = self._change(connection, *items[index], queues)
        return answers

    def delete(self, connection: Connection, items: Sequence[tuple[str | None, str]]) -> Sequence[bool]:
        """Each item is an owner and a task."""
        answers = [False] * len(items)
        with connection.pipeline(), connection.transaction():
            for index in sorted(range(len(items)), key=lambda index: items[index][1]):
                owner, task_id = items[index]
                loaded = load_task(connection, self._sealer, owner, task_id, response=False, lock=True)
                if loaded is not None:
                    changes = Changes()
                    changes.leave(loaded.owner, loaded.lane, loaded.task.state)
                    erase(connection, [loaded.ref], changes)
                    answers[index] = True
        return answers

    def _change(
        self, connection: Connection, owner: str | None, task_id: str, decide: Decide, queues: set[int]
    ) -> Task | Refusal | None:
        loaded = load_task(connection, self._sealer, owner, task_id, response=False, lock=True)
        if loaded is None:
            return None
        try:
            change = decide(loaded.task, loaded.spec(self._sealer))
        except (RequestError, Unreadable) as refusal:
            return refusal
        if enters_queue(loaded.task, change.task):
            if loaded.owner not in queues:
                raise Conflicted("the task has ended meanwhile")  # begins again, and holds the queue
            room = owner_room(connection, loaded.owner, self._folded)
            if room is None or room[1] >= room[0]:
                return owner_gone() if room is None else queue_full(room[0])
        self.write(connection, loaded, change)
        return change.task

    def write(self, connection: Connection, loaded: Loaded, change: Change) -> None:
        """Keeps the whole change of a task that this transaction holds."""
        before, task = loaded.task, change.task
        if task is not before:
            lane = loaded.lane
            if task.lane != before.lane:
                lane = self._lanes.handle(connection, loaded.owner, task.lane)
            connection.execute(
                sql("task_change"), _storable_columns(changed_columns(loaded.ref, lane, task, self._sealer))
            )
            changes = Changes()
            changes.leave(loaded.owner, loaded.lane, before.state)
            changes.enter(loaded.owner, lane, task.state)
            count(connection, changes)
            if task.metadata != before.metadata:
                metadata = {"task": loaded.ref, "metadata": metadata_for(task.metadata)}
                connection.execute(sql("metadata_replace"), metadata | SOUND)
        if change.spec is not None:
            sealed = self._sealer.seal(change.spec, spec_context(task.id))
            connection.execute(sql("request_change"), {"task": loaded.ref, "spec": sealed})
        if change.attempt is not None:
            row = attempt_row(loaded.ref, loaded.owner, task.id, change.attempt, self._sealer)
            self._days.ensure(connection, [day_of(change.attempt.ended_at)])
            connection.execute(sql("attempt_insert"), {"rows": pack([row])})
        if change.event is not None:
            write_event(connection, loaded.ref, change.event, before, task)


def _hold_queues(connection: Connection, items: Sequence[tuple[str | None, str, Decide]]) -> set[int]:
    """Holds the queues in which these tasks may take places: final ones may run again. Queues come before tasks."""
    finals = {"items": pack([(owner, task_id) for owner, task_id, _ in items])}
    owners = [owner for (owner,) in connection.execute(sql("tasks_final"), finals)]
    if owners:
        connection.execute(sql("owners_lock"), {"class": OWNER_LOCK, "owners": pack(owners)})
    return set(owners)


def erase(connection: Connection, refs: Sequence[int], changes: Changes) -> None:
    """Removes tasks with all that is known of them. The changes have counted them out."""
    connection.execute(sql("tasks_erase"), {"seqs": pack(refs)} | SOUND)
    count(connection, changes)


def write_event(connection: Connection, ref: int, event: Event, before: Task, after: Task) -> None:
    """Adds to the task's timeline."""
    connection.execute(sql("events_insert"), {"rows": pack([event_row(ref, event, before, after)])})


def count(connection: Connection, changes: Changes) -> None:
    """Adds to the counters."""
    rows = changes.rows()
    if rows != "[]":
        connection.execute(sql("counters_add"), {"rows": rows})


def _storable_columns(columns: dict[str, Any]) -> dict[str, Any]:
    return {name: storable(value) if isinstance(value, str) else value for name, value in columns.items()}
