"""Between rows and the types of the domain, as far as all adapters do it alike."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from tasks_server.domain.attempt import Event, EventFacts, OutcomeKind
from tasks_server.domain.lane import LaneFacts, LaneLimits
from tasks_server.domain.stored import together, unknown_word, unreadable, word_of
from tasks_server.domain.task import PENDING, NewTask, State, Task, urgency
from tasks_server.store.sealed_texts import opened_error, sealed_error
from tasks_server.store.sealing import Sealer, response_context, spec_context

_ENCODE: Final = msgspec.json.Encoder().encode

TASK_COLUMNS: Final = 19
"""How many columns `task_of` reads."""


NODE_SHIFT: Final = 32
"""A lease is the number of the process that holds it, and below that many bits a serial number."""


def holder(lease: int | None) -> int | None:
    """The number of the process that holds a lease."""
    return None if lease is None else lease >> NODE_SHIFT


def metadata_text(metadata: dict[str, str] | None) -> str | None:
    """Metadata as it is stored with the task."""
    return _ENCODE(metadata).decode() if metadata else None


def task_of(row: Sequence[Any], sealer: Sealer, outcome: str | None = None) -> Task:
    """A task from the columns id, owner's id, lane's name, state, priority, created_at, due_at, execution_at, ended_at,
    attempt, failures, repeats, status_code, error, remaining_ms, expire_at, target, whether it is forced, metadata.
    What of it cannot be read is left out, and told of.
    """
    state = word_of(State, row[3])
    metadata, told = _metadata(row[18]) if row[18] else (None, None)
    error, unread = opened_error(row[13], row[0], sealer) if row[13] else (None, None)
    return Task(
        id=row[0],
        owner=row[1],
        lane=row[2],
        state=state,
        priority=row[4],
        created_at=row[5],
        due_at=row[6],
        execution_at=row[7],
        ended_at=row[8],
        attempt=row[9],
        failures=row[10],
        repeats=row[11],
        status_code=row[12],
        error=error,
        remaining_ms=row[14],
        expire_at=row[15],
        target=row[16],
        forced=bool(row[17]),
        metadata=metadata,
        outcome=word_of(OutcomeKind, outcome) if outcome else None,
        unreadable=together(told, unread, unknown_word("its state", state)),
    )


def metadata_of(text: str | None) -> dict[str, str] | None:
    """Metadata as it is stored with the task; None, too, where it cannot be read."""
    return _metadata(text)[0] if text else None


def _metadata(text: str) -> tuple[dict[str, str] | None, str | None]:
    try:
        return _METADATA.decode(text), None
    except msgspec.MsgspecError as error:
        return None, unreadable("its metadata", f"it is damaged ({error})", "set it anew by an edit of the task")


def facts_of(row: Sequence[Any]) -> LaneFacts:
    """A lane's facts from the columns concurrent_max, rate, burst, paused_at, paused_by, full_at, running."""
    return LaneFacts(LaneLimits(*row[:5]), row[5], row[6])


class Loaded(msgspec.Struct):
    """A task with its handles, its sealed spec, and its metadata as they are stored."""

    ref: int
    task: Task
    sealed_spec: bytes
    owner: int
    lane: int
    metadata: str | None

    def spec(self, sealer: Sealer) -> bytes:
        """The spec; empty when it cannot be read, which the task tells of then."""
        opened, told = sealer.look(self.sealed_spec, spec_context(self.task.id))
        self.task.unreadable = together(self.task.unreadable, told)
        return opened


def add_response(task: Task, sealer: Sealer, sealed: bytes | None, number: int) -> None:
    """Gives a task the response of its last attempt, of which this is the number; where it cannot be read, the task
    tells of it.
    """
    if sealed is not None:
        opened, told = sealer.look(sealed, response_context(task.id, number))
        task.response = None if told else opened
        task.unreadable = together(task.unreadable, told)


def open_specs(sealer: Sealer, tasks: Sequence[Task], sealed: Sequence[bytes]) -> list[bytes]:
    """The specs of tasks; one that cannot be read is empty, and its task tells of it."""
    opened = []
    for task, one in zip(tasks, sealed, strict=bool(sealed)):
        spec, told = sealer.look(one, spec_context(task.id))
        task.unreadable = together(task.unreadable, told)
        opened.append(spec)
    return opened


def changed_columns(ref: int, lane: int, task: Task, sealer: Sealer) -> dict[str, Any]:
    """What `task_change` writes of a task that its owner changed, given with its handle and its lane's."""
    return {
        "seq": ref,
        "lane": lane,
        "state": task.state.value,
        "urgency": urgency(task.priority, forced=task.forced and task.state is State.AVAILABLE),
        "priority": task.priority,
        "due_at": task.due_at,
        "execution_at": task.execution_at,
        "ended_at": task.ended_at,
        "failures": task.failures,
        "status_code": task.status_code,
        "error": sealed_error(task.error, task.id, sealer),
        "remaining_ms": task.remaining_ms,
        "expire_at": task.expire_at,
        "target": task.target,
    }


_FACTS: Final = msgspec.json.Decoder(EventFacts)
_METADATA: Final = msgspec.json.Decoder(dict[str, str])


def event_row(ref: int, event: Event, before: Task, after: Task) -> tuple[int, int, str, str | None, str]:
    """What is stored of an event that made `after` of the task `before`, given with its handle."""
    moved = before.state in PENDING and (after.state not in PENDING or after.due_at != before.due_at)
    fields = event.facts.fields if event.facts else []
    facts = EventFacts(before.attempt, before.due_at if moved else None, fields)
    return ref, event.at, event.kind, event.detail, _ENCODE(facts).decode()


def event_of(row: Sequence[Any]) -> Event:
    """An event from the columns at, kind, detail, facts."""
    at, kind, detail, text = row
    try:
        return Event(at, kind, detail, _FACTS.decode(text) if text else None)
    except msgspec.MsgspecError as error:
        told = unreadable("where the task stood then", f"it is damaged ({error})", "nothing needs to be done")
        return Event(at, kind, detail, unreadable=told)


def ids_text(tasks: Sequence[NewTask]) -> str:
    """What is stored of the tasks that one idempotency key stands for: their ids, with commas between them."""
    return ",".join([task.id for task in tasks])


def text_ids(text: str) -> tuple[str, ...]:
    """The same, read back."""
    return tuple(text.split(","))
