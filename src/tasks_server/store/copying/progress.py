"""How far a copy has come. It is kept in the target, in the transaction of the rows it tells of."""

from typing import Any, Final, Literal

import msgspec

from tasks_server.domain.errors import Corrupt, Unavailable
from tasks_server.store.copying.shapes import MOVED, Sum

NAME: Final = "copy"
"""Its name among the things that a database remembers of itself (`meta`)."""


class Progress(msgspec.Struct, frozen=True):
    """`source` names the database that is copied. `shape` is the one at work, `after` the key of the last of its rows
    that arrived. `sums` are of what was read so far.
    """

    source: bytes
    started_at: int
    shape: str = MOVED[0].name
    after: list[Any] | None = None
    sums: dict[str, Sum] = {}
    state: Literal["copying", "differs", "done"] = "copying"


def encode(progress: Progress) -> bytes:
    return msgspec.msgpack.encode(progress)


def decode(text: bytes) -> Progress:
    """Raises `Corrupt` for what is no progress."""
    try:
        return msgspec.msgpack.decode(text, type=Progress)
    except msgspec.MsgspecError as error:
        raise Corrupt(f"how far the copy has come cannot be read: {error}") from error


def refuse_unfinished(text: bytes | None) -> None:
    """Raises `Unavailable` for a database into which a copy has begun and not ended: its tasks may still run in the
    other one, and its counters are not made yet.
    """
    if text is not None and decode(text).state != "done":
        raise Unavailable(
            "a copy into this database is not finished: run the same `tasks-server db copy` again, it goes on; "
            "or run it with --replace-target to begin anew"
        )
