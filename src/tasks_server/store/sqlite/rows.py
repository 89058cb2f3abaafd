"""Between rows and the types of the domain: how batches travel as JSON, how tasks are read and written."""

from collections.abc import Sequence
from typing import Any, Final

import apsw
import msgspec

from tasks_server.domain.attempt import Attempt
from tasks_server.store.attempts import is_truncated, sealed_facts, sealed_response
from tasks_server.store.rows import Loaded, add_response, holder, task_of
from tasks_server.store.sealing import Sealer
from tasks_server.store.sqlite.statements import sql

_ENCODE: Final = msgspec.json.Encoder().encode


def pack(rows: Any) -> str:
    """A batch as one JSON parameter. Bytes must be hexadecimal text already."""
    return _ENCODE(rows).decode()


def unpack(text: str) -> Any:
    """What a statement gathered by `json_group_array`."""
    return msgspec.json.decode(text)


def single(connection: apsw.Connection, name: str, parameters: dict[str, Any]) -> tuple[Any, ...]:
    """The one row of a statement that gathers its results, which saves a step for each row."""
    row: tuple[Any, ...] | None = connection.execute(sql(name), parameters).fetchone()
    assert row is not None
    return row


def load_task(
    connection: apsw.Connection, sealer: Sealer, owner: str | None, task_id: str, *, response: bool = True
) -> Loaded | None:
    """The task, or None when it is not there for that owner. With the opened response of its last attempt, unless
    that is not wanted: then it is not even read.
    """
    names = {"id": task_id, "owner": owner, "response": response}
    row = connection.execute(sql("task_load"), names).fetchone()
    if row is None:
        return None
    task = task_of(row[1:], sealer, row[25])
    add_response(task, sealer, row[22], row[21])
    task.schedule, task.fire_at, task.held_by = row[26], row[27], holder(row[28])
    task.callback_of = row[30]
    task.response_truncated = is_truncated(row[29], task_id, row[21], sealer)
    return Loaded(row[0], task, row[20], row[23], row[24], row[19])


def attempt_row(ref: int, owner: int, task_id: str, attempt: Attempt, sealer: Sealer) -> Sequence[Any]:
    """An attempt as `attempt_insert` takes it, its response and its facts sealed."""
    return (
        ref,
        attempt.number,
        owner,
        attempt.due_at,
        attempt.started_at,
        attempt.ended_at,
        attempt.outcome,
        attempt.status_code,
        None,  # it is in the facts
        sealed_response(attempt, task_id, sealer),
        sealed_facts(attempt, task_id, sealer),
    )
