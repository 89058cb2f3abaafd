"""How both adapters go through attempts that are too old: a bounded number at a time, however many have to stay."""

from collections.abc import Sequence
from typing import Any


class Sweep:
    """Where a walk over old attempts stands, by owner, end, task and number. The last attempt of a task that lives on
    stays, however old it is; a walk that began with the oldest each time would come to all of those again and again.
    """

    def __init__(self) -> None:
        self.place = _place(0, 0, 0, 0)

    def move(self, found: Sequence[Sequence[Any]], wanted: int) -> None:
        """Goes on after what was found, which begins with these four; from the beginning again after the last."""
        self.place = _place(*found[-1][:4]) if len(found) == wanted else _place(0, 0, 0, 0)


def _place(owner: int, ended_at: int, task: int, number: int) -> dict[str, int]:
    return {"owner": owner, "ended_at": ended_at, "task": task, "number": number}
