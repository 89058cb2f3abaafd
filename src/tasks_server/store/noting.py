"""What the store is asked about the notes of running attempts. Those of an attempt whose end was told are with it."""

from collections.abc import Iterable, Sequence
from typing import Final, Protocol

import msgspec

from tasks_server.domain.attempt import Attempt
from tasks_server.domain.errors import Unreadable
from tasks_server.domain.notes import Notes
from tasks_server.store.sealing import Sealer, notes_context

_ENCODE: Final = msgspec.json.Encoder().encode
_DECODE: Final = msgspec.json.Decoder(Notes).decode
Row = tuple[int, int, int, str]
"""Handle, lease, number of the attempt, and the sealed notes in hexadecimal digits, as batches carry it."""


class Note(msgspec.Struct, frozen=True):
    """All that an attempt has noted so far."""

    ref: int
    lease: int
    task_id: str
    number: int
    notes: Notes


class Noting(Protocol):
    """Asked by engines, and by whoever shows a task."""

    async def note(self, several: Sequence[Note]) -> None:
        """Keeps notes where the lease still holds, in place of what was noted of the same attempt before."""
        ...

    async def notes(self, owner: str | None, task_id: str) -> dict[int, Notes]:
        """What was noted of attempts whose ends nobody told: the one that runs, and those that were lost or dropped;
        by their numbers. What cannot be read is left out.
        """
        ...


def note_row(note: Note, sealer: Sealer) -> Row:
    sealed = sealer.seal(_ENCODE(note.notes), notes_context(note.task_id, note.number))
    return note.ref, note.lease, note.number, sealed.hex()


def notes_of(rows: Iterable[tuple[int, bytes]], task_id: str, sealer: Sealer) -> dict[int, Notes]:
    """The notes of stored rows: the number of the attempt, and what is sealed."""
    found = {}
    for number, sealed in rows:
        try:
            found[number] = _DECODE(sealer.open(sealed, notes_context(task_id, number)))
        except (Unreadable, msgspec.MsgspecError):
            continue
    return found


def with_notes(attempts: Iterable[Attempt], notes: dict[int, Notes]) -> None:
    """Gives attempts whose ends nobody told what was noted of them."""
    for attempt in attempts:
        if attempt.notes is None:
            attempt.notes = notes.get(attempt.number)
