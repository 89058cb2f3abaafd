"""Between rows and the types of the domain: how batches travel as JSON, how a task is read."""

import re
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from tasks_server.domain import limits
from tasks_server.domain.attempt import Attempt
from tasks_server.store.attempts import is_truncated, sealed_facts, sealed_response
from tasks_server.store.postgres.link import Connection
from tasks_server.store.postgres.statements import sql
from tasks_server.store.rows import TASK_COLUMNS, Loaded, add_response, holder, metadata_text, task_of
from tasks_server.store.sealing import Sealer

_ESCAPED_NUL: Final = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")
_ENCODE: Final = msgspec.json.Encoder().encode
_TEXT: Final = r'"([^"\\\x01-\x1f]|\\["\\/bfnrt]|\\u00(0[1-9a-f]|[1-9a-f][0-9a-f]))*"'
SOUND: Final = {"sound": rf"^\{{({_TEXT}: ?{_TEXT}(, ?{_TEXT}: ?{_TEXT})*)?\}}$"}
"""What metadata looks like as we write it, and as the database does where an edit brought it: for statements that take
it apart. To cast anything else might end them.
"""


def pack(rows: Any) -> str:
    """A batch as one parameter, for `jsonb_array_elements`: of all the ways to hand over a batch the fastest. Bytes
    must be hexadecimal text already. PostgreSQL cannot store the character U+0000; U+FFFD stands for it.
    """
    text = _ENCODE(rows).decode()
    return text if "\\u0000" not in text else _without_nul(text)


def _without_nul(text: str) -> str:
    """The same JSON without the escaped character, but with escaped backslashes as they were."""
    return text.replace("\\\\", "\\u005c").replace("\\u0000", "\\ufffd")


def metadata_for(metadata: dict[str, str] | None) -> str | None:
    """Metadata as it is stored with the task."""
    text = metadata_text(metadata)
    return text if text is None or "\\u0000" not in text else _without_nul(text)


def storable(text: str) -> str:
    """A text as it is stored, and as it is looked for: U+FFFD stands for U+0000, as in `pack`."""
    return text.replace("\0", "\ufffd")


def storable_json(text: str) -> str:
    """The same for a text that is JSON, where the character is written as an escape; all else stays as it is."""
    return _ESCAPED_NUL.sub(r"\1\\ufffd", text)


def load_task(
    connection: Connection,
    sealer: Sealer,
    owner: str | None,
    task_id: str,
    *,
    response: bool = True,
    lock: bool = False,
) -> Loaded | None:
    """The task, or None when it is not there for that owner. With the opened response of its last attempt, unless
    that is not wanted: then it is not even read. With `lock`, the task is held for the rest of the transaction; then it
    is read, as whoever held it before left it.
    """
    names = {"id": storable(task_id), "owner": None if owner is None else storable(owner)}
    if lock:
        connection.execute(sql("task_lock"), names)
    row = connection.execute(sql("task_load"), names | {"response": response}).fetchone()
    if row is None:
        return None
    ref, spec, owner_seq, lane_seq, number, sealed, outcome, *origin, lease, facts, source = row[TASK_COLUMNS:]
    task = task_of(row, sealer, outcome)
    add_response(task, sealer, sealed, number)
    (task.schedule, task.fire_at), task.held_by = origin, holder(lease)
    task.callback_of = source
    task.response_truncated = is_truncated(facts, task_id, number, sealer)
    return Loaded(ref, task, spec, owner_seq, lane_seq, row[TASK_COLUMNS - 1])


def attempt_row(ref: int, owner: int, task_id: str, attempt: Attempt, sealer: Sealer) -> Sequence[Any]:
    """An attempt as `attempt_insert` takes it, its response and its facts sealed."""
    return (
        ref,
        attempt.number,
        owner,
        day_of(attempt.ended_at),
        attempt.due_at,
        attempt.started_at,
        attempt.ended_at,
        attempt.outcome,
        attempt.status_code,
        None,  # it is in the facts
        sealed_response(attempt, task_id, sealer),
        sealed_facts(attempt, task_id, sealer),
    )


def day_of(at: int) -> int:
    """The day of an instant, since the epoch: the partition of the attempts that end in it."""
    return at // limits.DAY_MS
