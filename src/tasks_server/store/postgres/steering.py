"""Changes single tasks by their owner's hand, and deletes them."""

from collections.abc import Sequence
from typing import Any

from tasks_server.domain.attempt import Event
from tasks_server.domain.errors import RequestError
from tasks_server.domain.task import Task
from tasks_server.store.ports import Change, Decide
from tasks_server.store.postgres.changes import Changes
from tasks_server.store.postgres.days import Days
from tasks_server.store.postgres.link import Connection
from tasks_server.store.postgres.rows import attempt_row, day_of, load_task, metadata_for, pack, storable
from tasks_server.store.postgres.statements import sql
from tasks_server.store.postgres.submitting import Lanes
from tasks_server.store.rows import Loaded, changed_columns
from tasks_server.store.sealing import Sealer, spec_context


class Steerings:
    """The batch functions that change and delete. All items of a batch are one transaction; they are done in the
    order of their tasks' ids, so that two batches seldom wait for each other in a circle.
    """

    def __init__(self, lanes: Lanes, days: Days, sealer: Sealer) -> None:
        self._lanes = lanes
        self._days = days
        self._sealer = sealer

    def change(
        self, connection: Connection, items: Sequence[tuple[str | None, str, Decide]]
    ) -> Sequence[Task | RequestError | None]:
        """Each item is an owner, a task and what to decide. A refusal is an answer."""
        answers: list[Task | RequestError | None] = [None] * len(items)
        with connection.pipeline(), connection.transaction():
            for index in sorted(range(len(items)), key=lambda index: items[index][1]):
                answers[index] = self._change(connection, *items[index])
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
        self, connection: Connection, owner: str | None, task_id: str, decide: Decide
    ) -> Task | RequestError | None:
        loaded = load_task(connection, self._sealer, owner, task_id, lock=True)
        if loaded is None:
            return None
        spec = self._sealer.open(loaded.sealed_spec, spec_context(task_id))
        try:
            change = decide(loaded.task, spec)
        except RequestError as refusal:
            return refusal
        self.write(connection, loaded, change)
        return change.task

    def write(self, connection: Connection, loaded: Loaded, change: Change) -> None:
        """Keeps the whole change of a task that this transaction holds."""
        before, task = loaded.task, change.task
        if task is not before:
            lane = loaded.lane
            if task.lane != before.lane:
                lane = self._lanes.handle(connection, loaded.owner, task.lane)
            connection.execute(sql("task_change"), _storable_columns(changed_columns(loaded.ref, lane, task)))
            changes = Changes()
            changes.leave(loaded.owner, loaded.lane, before.state)
            changes.enter(loaded.owner, lane, task.state)
            _count(connection, changes)
            if task.metadata != before.metadata:
                metadata = {"task": loaded.ref, "metadata": metadata_for(task.metadata)}
                connection.execute(sql("metadata_replace"), metadata)
        if change.spec is not None:
            sealed = self._sealer.seal(change.spec, spec_context(task.id))
            connection.execute(sql("request_change"), {"task": loaded.ref, "spec": sealed})
        if change.attempt is not None:
            row = attempt_row(loaded.ref, loaded.owner, task.id, change.attempt, self._sealer)
            self._days.ensure(connection, [day_of(change.attempt.ended_at)])
            connection.execute(sql("attempt_insert"), {"rows": pack([row])})
        if change.event is not None:
            write_event(connection, loaded.ref, change.event)


def erase(connection: Connection, refs: Sequence[int], changes: Changes) -> None:
    """Removes tasks with all that is known of them. The changes have counted them out."""
    connection.execute(sql("tasks_erase"), {"seqs": pack(refs)})
    _count(connection, changes)


def write_event(connection: Connection, ref: int, event: Event) -> None:
    """Adds to the task's timeline."""
    detail = None if event.detail is None else storable(event.detail)
    row = {"task": ref, "at": event.at, "kind": event.kind, "detail": detail}
    connection.execute(sql("event_insert"), row)


def _count(connection: Connection, changes: Changes) -> None:
    rows = changes.rows()
    if rows != "[]":
        connection.execute(sql("counters_add"), {"rows": rows})


def _storable_columns(columns: dict[str, Any]) -> dict[str, Any]:
    return {name: storable(value) if isinstance(value, str) else value for name, value in columns.items()}
