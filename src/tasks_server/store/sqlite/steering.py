"""Changes single tasks by their owner's hand, and deletes them."""

from collections.abc import Sequence

import apsw

from tasks_server.domain.attempt import Event
from tasks_server.domain.bulk import enters_queue
from tasks_server.domain.errors import RequestError, Unreadable
from tasks_server.domain.owner import owner_gone, queue_full
from tasks_server.domain.task import Task
from tasks_server.store.ports import Change, Decide, Refusal
from tasks_server.store.rows import Loaded, changed_columns, event_row, metadata_text
from tasks_server.store.sealing import Sealer, spec_context
from tasks_server.store.sqlite.rows import attempt_row, load_task, pack
from tasks_server.store.sqlite.statements import sql
from tasks_server.store.sqlite.submitting import Lanes, owner_room
from tasks_server.store.sqlite.tally import Tally


class Steerings:
    """The batch functions that change and delete."""

    def __init__(self, lanes: Lanes, sealer: Sealer) -> None:
        self._lanes = lanes
        self._sealer = sealer

    def change(
        self, connection: apsw.Connection, items: Sequence[tuple[str | None, str, Decide]]
    ) -> Sequence[Task | Refusal | None]:
        """Each item is an owner, a task and what to decide. A refusal is an answer."""
        return [self._change(connection, *item) for item in items]

    def delete(self, connection: apsw.Connection, items: Sequence[tuple[str | None, str]]) -> Sequence[bool]:
        """Each item is an owner and a task."""
        answers = []
        for owner, task_id in items:
            loaded = load_task(connection, self._sealer, owner, task_id, response=False)
            if loaded is not None:
                tally = Tally()
                tally.leave(loaded.owner, loaded.lane, loaded.task.state)
                erase(connection, [loaded.ref], tally)
            answers.append(loaded is not None)
        return answers

    def _change(
        self, connection: apsw.Connection, owner: str | None, task_id: str, decide: Decide
    ) -> Task | Refusal | None:
        loaded = load_task(connection, self._sealer, owner, task_id, response=False)
        if loaded is None:
            return None
        try:
            change = decide(loaded.task, loaded.spec(self._sealer))
        except (RequestError, Unreadable) as refusal:
            return refusal
        if enters_queue(loaded.task, change.task):
            room = owner_room(connection, loaded.task.owner)
            if room is None or room[1] >= room[0]:
                return owner_gone() if room is None else queue_full(room[0])
        self.write(connection, loaded, change)
        return change.task

    def write(self, connection: apsw.Connection, loaded: Loaded, change: Change) -> None:
        """Keeps the whole change."""
        before, task = loaded.task, change.task
        if task is not before:
            lane = self._lanes.handle(connection, loaded.owner, task.lane)
            columns = changed_columns(loaded.ref, lane, task, self._sealer)
            # What cannot be read stays as it is stored, unless there is something to take its place.
            kept = loaded.metadata if task.metadata == before.metadata else metadata_text(task.metadata)
            connection.execute(sql("task_change"), columns | {"metadata": kept})
            tally = Tally()
            tally.leave(loaded.owner, loaded.lane, before.state)
            tally.enter(loaded.owner, lane, task.state)
            tally.write(connection)
            if task.metadata != before.metadata:
                _replace_metadata(connection, loaded, task)
        if change.spec is not None:
            sealed = self._sealer.seal(change.spec, spec_context(task.id))
            connection.execute(sql("request_change"), {"task": loaded.ref, "spec": sealed})
        if change.attempt is not None:
            row = attempt_row(loaded.ref, loaded.owner, task.id, change.attempt, self._sealer)
            connection.execute(sql("attempt_insert"), {"rows": pack([row])})
        if change.event is not None:
            write_event(connection, loaded.ref, change.event, before, task)


def erase(connection: apsw.Connection, refs: Sequence[int], tally: Tally) -> None:
    """Removes tasks with all that is known of them. The tally has counted them out."""
    seqs = {"seqs": pack(refs)}
    for name in (
        "request_delete", "attempt_delete", "notes_delete", "event_delete", "metadata_of_tasks_delete",
        "schedule_runs_delete", "callbacks_delete", "task_delete",
    ):  # fmt: skip
        connection.execute(sql(name), seqs)
    tally.write(connection)


def write_event(connection: apsw.Connection, ref: int, event: Event, before: Task, after: Task) -> None:
    """Adds to the task's timeline."""
    connection.execute(sql("events_insert"), {"rows": pack([event_row(ref, event, before, after)])})


def _replace_metadata(connection: apsw.Connection, loaded: Loaded, task: Task) -> None:
    for key, value in (loaded.task.metadata or {}).items():
        row = {"owner": loaded.owner, "key": key, "value": value, "task": loaded.ref}
        connection.execute(sql("metadata_delete"), row)
    rows = [(loaded.owner, key, value, loaded.ref) for key, value in (task.metadata or {}).items()]
    if rows:
        connection.execute(sql("metadata_insert"), {"rows": pack(rows)})
