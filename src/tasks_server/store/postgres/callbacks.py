"""Keeps the callbacks that tell of ends, in the transaction that keeps the ends."""

from collections.abc import Sequence

from tasks_server.store.callbacks import Ending, telling
from tasks_server.store.postgres.link import Connection
from tasks_server.store.postgres.rows import pack
from tasks_server.store.postgres.statements import sql
from tasks_server.store.postgres.submitting import Submissions
from tasks_server.store.sealing import Sealer


class CallbackKeeper:
    """Asked by whoever records ends."""

    def __init__(self, submissions: Submissions, sealer: Sealer) -> None:
        self._submissions = submissions
        self._sealer = sealer

    def tell(self, connection: Connection, endings: Sequence[Ending]) -> int:
        """Makes the callbacks of ends that were recorded in the transaction that is open. How many there are."""
        if not endings:
            return 0
        asked = {"rows": pack([(ending.ref, ending.own) for ending in endings])}
        made = telling(self._sealer, endings, connection.execute(sql("ended_find"), asked).fetchall())
        if made.tasks:
            self._submissions.add(connection, made.tasks)
        if made.events:
            connection.execute(sql("events_insert"), {"rows": pack(made.events)})
        return len(made.tasks)
