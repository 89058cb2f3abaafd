"""Keeps what is done by hand in the transaction that does it, whatever adapter it is.

Whoever acts by hand sets `DOING`; what is then asked of the store as a change by hand, is recorded with it.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextvars import ContextVar
from enum import StrEnum
from typing import Any, Final

from tasks_server.domain.audit import Act
from tasks_server.domain.errors import TasksServerError
from tasks_server.store.batching import Batch

DOING: Final[ContextVar[Act | None]] = ContextVar("doing", default=None)
"""What is being done by hand just now; None: nothing is, or nobody wants it recorded."""


class Recording(ABC):
    """Makes of a batch function one that records, of the items it has done, what was done by hand."""

    def __init__(self) -> None:
        self._beside: dict[Batch, Batch] = {}

    def beside(self, batch: Batch) -> Batch:
        """A batch function whose items are pairs of an item of `batch` and an act; the same one each time."""
        known = self._beside.get(batch)
        if known is None:
            known = self._beside[batch] = self._made(batch)
        return known

    @abstractmethod
    def _made(self, batch: Batch) -> Batch:
        """The function; both parts of its work are one transaction."""


def rows_of(acts: Sequence[Act], answers: Sequence[Any]) -> list[dict[str, Any]]:
    """What `act_insert` writes of those that were done, given what was answered: of an act that does not say whose
    thing it is or which, the answer does.
    """
    return [
        {
            "at": act.at,
            "asked_by": act.actor.by,
            "via": act.actor.via,
            "who": act.actor.who,
            "owner": act.owner or getattr(answer, "owner", None),
            "kind": act.kind,
            "action": act.action,
            "subject": act.subject or getattr(answer, "id", None),
            "detail": act.detail,
        }
        for act, answer in zip(acts, answers, strict=True)
        if _done(answer)
    ]


def _done(answer: Any) -> bool:
    """Whether this is no refusal: nothing was found, or it was refused with a reason."""
    return answer is not None and answer is not False and not isinstance(answer, TasksServerError | StrEnum)
