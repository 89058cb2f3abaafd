"""Keeps the callbacks that tell of ends, in the transaction that keeps the ends."""

from collections.abc import Sequence

import apsw

from tasks_server.store.callbacks import Ending, telling
from tasks_server.store.sealing import Sealer
from tasks_server.store.sqlite.rows import pack, single
from tasks_server.store.sqlite.statements import sql
from tasks_server.store.sqlite.submitting import Submissions


class CallbackKeeper:
    """Asked by whoever records ends."""

    def __init__(self, submissions: Submissions, sealer: Sealer) -> None:
        self._submissions = submissions
        self._sealer = sealer

    def tell(self, connection: apsw.Connection, endings: Sequence[Ending]) -> int:
        """Makes the callbacks of ends that were recorded. How many there are."""
        if not endings or not (any(ending.own for ending in endings) or _are_asked_for(connection)):
            return 0
        asked = {"rows": pack([(ending.ref, ending.own) for ending in endings])}
        made = telling(self._sealer, endings, connection.execute(sql("ended_find"), asked).fetchall())
        if made.tasks:
            self._submissions.add(connection, made.tasks)
        if made.events:
            connection.execute(sql("events_insert"), {"rows": pack(made.events)})
        return len(made.tasks)


def _are_asked_for(connection: apsw.Connection) -> bool:
    """Whether any lane or owner asks for callbacks."""
    return bool(single(connection, "callbacks_any", {})[0])
