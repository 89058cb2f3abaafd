"""What moves: the tables and their columns in one form that both kinds of database are brought to, and the checksums
by which they are compared.

A running task is read as an available one: its lease does not move, its attempt number does. The attempt that was
under way is read as a lost one (`LOST`), so that the history has a row for each number.
"""

import hashlib
from typing import Any, Final

import msgspec

Row = tuple[Any, ...]
_ENCODE: Final = msgspec.msgpack.Encoder().encode
_SUM_BITS: Final = 64

LOST_ERROR: Final = "the task was moved to another database meanwhile; what the target saw is unknown"


class Shape(msgspec.Struct, frozen=True):
    """Rows of one kind. `kinds`: the columns with their types on PostgreSQL, a boolean is a number here; the first
    `key` of them tell rows apart and put them in order. `free`: texts that may hold anything.
    """

    name: str
    key: int
    kinds: dict[str, str]
    free: tuple[str, ...] = ()
    table: str = ""
    """Where its rows go, when that is not the table of its name."""

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(self.kinds)

    @property
    def goes_to(self) -> str:
        return self.table or self.name

    def key_of(self, row: Row) -> list[Any]:
        return list(row[: self.key])

    def places(self, *names: str) -> tuple[int, ...]:
        """Where these columns stand in a row."""
        return tuple(self.columns.index(name) for name in names)


OWNER: Final = Shape(
    "owner",
    1,
    {
        "seq": "int4",
        "id": "text",
        "name": "text",
        "created_at": "int8",
        "tasks_in_queue_max": "int8",
        "signing": "bool",
        "deleted_at": "int8",
        "retention_ms": "int8",
        "callbacks": "bytea",
        "suspended_at": "int8",
        "requests_max": "int8",
    },
    ("name",),
)
OWNER_KEY: Final = Shape(
    "owner_key", 1, {"digest": "bytea", "id": "text", "owner": "int4", "created_at": "int8", "used_at": "int8"}
)
SIGNING_SECRET: Final = Shape(
    "signing_secret",
    2,
    {"owner": "int4", "id": "text", "created_at": "int8", "expires_at": "int8", "secret": "bytea"},
)
LANE: Final = Shape(
    "lane",
    1,
    {
        "seq": "int4",
        "owner": "int4",
        "name": "text",
        "concurrent_max": "int4",
        "rate": "float8",
        "burst": "int4",
        "paused_at": "int8",
        "paused_by": "text",
        "deleted_at": "int8",
        "callbacks": "bytea",
    },
    ("name",),
)
TASK: Final = Shape(
    "task",
    1,
    {
        "seq": "int8",
        "id": "text",
        "owner": "int4",
        "lane": "int4",
        "state": "text",
        "urgency": "int2",
        "priority": "int2",
        "created_at": "int8",
        "due_at": "int8",
        "execution_at": "int8",
        "ended_at": "int8",
        "expire_at": "int8",
        "remaining_ms": "int8",
        "attempt": "int4",
        "failures": "int4",
        "repeats": "int4",
        "status_code": "int2",
        "target": "text",
        "error": "text",
        "metadata": "text",
        "spec": "bytea",
    },
    ("target", "error", "metadata"),
)
"""A task with its request."""
_ATTEMPT: Final = {
    "task": "int8",
    "number": "int4",
    "owner": "int4",
    "due_at": "int8",
    "started_at": "int8",
    "ended_at": "int8",
    "outcome": "text",
    "status_code": "int2",
    "error": "text",
    "response": "bytea",
    "facts": "bytea",
}
ATTEMPT: Final = Shape("attempt", 2, _ATTEMPT, ("error",))
LOST: Final = Shape("lost", 2, _ATTEMPT, table="attempt")
NOTE: Final = Shape("note", 2, {"task": "int8", "number": "int4", "sealed": "bytea"})
EVENT: Final = Shape(
    "event",
    1,
    {"seq": "int8", "task": "int8", "at": "int8", "kind": "text", "detail": "text", "facts": "text"},
    ("detail",),
)
IDEMPOTENCY: Final = Shape(
    "idempotency",
    2,
    {"owner": "int4", "key": "text", "digest": "bytea", "task": "text", "expires_at": "int8"},
    ("key",),
)
SCHEDULE: Final = Shape(
    "schedule",
    1,
    {
        "seq": "int8",
        "id": "text",
        "owner": "int4",
        "name": "text",
        "look_at": "int8",
        "facts": "text",
        "template": "bytea",
    },
)
SCHEDULE_RUN: Final = Shape("schedule_run", 1, {"task": "int8", "schedule": "text", "fire_at": "int8"})
CALLBACK: Final = Shape("callback", 1, {"task": "int8", "source": "text"})
BULK: Final = Shape(
    "bulk",
    1,
    {
        "seq": "int8",
        "id": "text",
        "owner": "int4",
        "action": "text",
        "filter": "text",
        "asked_by": "text",
        "created_at": "int8",
        "started_at": "int8",
        "updated_at": "int8",
        "ended_at": "int8",
        "look_at": "int8",
        "cancelled": "bool",
        "until_task": "int8",
        "after_task": "int8",
        "total": "int8",
        "seen": "int8",
        "changed": "int8",
        "skipped": "int8",
        "waits": "text",
        "error": "text",
        "failures": "int4",
    },
    ("filter",),
)
ACT: Final = Shape(
    "act",
    1,
    {
        "seq": "int8",
        "at": "int8",
        "asked_by": "text",
        "via": "text",
        "who": "text",
        "owner": "text",
        "kind": "text",
        "action": "text",
        "subject": "text",
        "detail": "text",
    },
    ("subject", "detail"),
)
METADATA: Final = Shape("metadata", 4, {"owner": "int4", "key": "text", "value": "text", "task": "int8"})
"""Made at the target from what its tasks say, as the counters are; compared nevertheless."""

MOVED: Final = (
    OWNER,
    OWNER_KEY,
    SIGNING_SECRET,
    LANE,
    TASK,
    ATTEMPT,
    LOST,
    NOTE,
    EVENT,
    IDEMPOTENCY,
    SCHEDULE,
    SCHEDULE_RUN,
    CALLBACK,
    BULK,
    ACT,
)
"""In the order in which they move."""
KEPT: Final = (
    OWNER,
    OWNER_KEY,
    SIGNING_SECRET,
    LANE,
    TASK,
    ATTEMPT,
    NOTE,
    EVENT,
    IDEMPOTENCY,
    SCHEDULE,
    SCHEDULE_RUN,
    CALLBACK,
    BULK,
    ACT,
    METADATA,
)
"""What the target holds in the end, by table."""
EMPTIED: Final = (*(shape.name for shape in KEPT), "request", "counter", "engine", "lane_bucket", "clock")
"""What is emptied when the target's data is to go."""

_TASK_SEQ, _TASK_OWNER, _TASK_METADATA = TASK.places("seq", "owner", "metadata")


class Sum(msgspec.Struct, frozen=True):
    """How many rows, and the sum of their hashes: the same in whatever order they come."""

    rows: int = 0
    checksum: int = 0

    def plus(self, other: "Sum") -> "Sum":
        return Sum(self.rows + other.rows, (self.checksum + other.checksum) % (1 << _SUM_BITS))

    @property
    def shown(self) -> str:
        return f"{self.checksum:016x}"


class Tally:
    """Sums by table that grow row by row."""

    def __init__(self, begun: dict[str, Sum] | None = None) -> None:
        self._begun = begun or {}
        self._rows: dict[str, int] = {}
        self._sums: dict[str, int] = {}

    def add(self, table: str, row: Row) -> int:
        """Counts a row. Its size in bytes."""
        encoded = _ENCODE(row)
        digest = hashlib.blake2b(encoded, digest_size=_SUM_BITS // 8).digest()
        self._rows[table] = self._rows.get(table, 0) + 1
        self._sums[table] = self._sums.get(table, 0) + int.from_bytes(digest, "big")
        return len(encoded)

    def add_moved(self, shape: Shape, row: Row) -> int:
        """Counts a row that moves, and what the target makes of it beside. Its size in bytes."""
        size = self.add(shape.goes_to, row)
        if shape is TASK and row[_TASK_METADATA]:
            for searchable in metadata_rows(row):
                self.add(METADATA.name, searchable)
        return size

    def sums(self) -> dict[str, Sum]:
        grown = {table: Sum(rows, self._sums[table] % (1 << _SUM_BITS)) for table, rows in self._rows.items()}
        return {
            table: self._begun.get(table, Sum()).plus(grown.get(table, Sum()))
            for table in self._begun.keys() | grown.keys()
        }


def metadata_rows(task: Row) -> list[Row]:
    """What makes a task's metadata searchable."""
    text = task[_TASK_METADATA]
    if not text:
        return []
    try:
        metadata = msgspec.json.decode(text, type=dict[str, str])
    except msgspec.MsgspecError:  # damaged: it goes along as it is, and is found by nobody
        return []
    return [(task[_TASK_OWNER], key, value, task[_TASK_SEQ]) for key, value in metadata.items()]
