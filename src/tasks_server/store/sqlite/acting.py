"""Records what is done by hand, and shows it."""

from collections.abc import Sequence
from typing import Any

import apsw

from tasks_server.domain.audit import Act
from tasks_server.store.acting import Recording, rows_of
from tasks_server.store.acts import page_of
from tasks_server.store.auditing import LOOKED_MAX, ActPage, ActQuery
from tasks_server.store.batching import Batch
from tasks_server.store.sqlite.statements import sql


class Acts(Recording):
    """The batch functions about what is done by hand."""

    def _made(self, batch: Batch) -> Batch:
        def recording(connection: apsw.Connection, items: Sequence[tuple[Any, Act]]) -> Sequence[Any]:
            answers = batch(connection, [item for item, _ in items])
            connection.executemany(sql("act_insert"), rows_of([act for _, act in items], answers))
            return answers

        return recording

    @staticmethod
    def record(connection: apsw.Connection, items: Sequence[Act]) -> Sequence[bool]:
        """Each item is what was done already."""
        done = [True] * len(items)
        connection.executemany(sql("act_insert"), rows_of(items, done))
        return done

    @staticmethod
    def page(connection: apsw.Connection, items: Sequence[ActQuery]) -> Sequence[ActPage]:
        return [_page(connection, item) for item in items]

    @staticmethod
    def prune(connection: apsw.Connection, items: Sequence[tuple[int, int]]) -> Sequence[int]:
        """Each item is an instant, and how many at most."""
        return [
            len(connection.execute(sql("acts_prune"), {"before": before, "count_max": limit}).fetchall())
            for before, limit in items
        ]


def _page(connection: apsw.Connection, query: ActQuery) -> ActPage:
    last = connection.execute(sql("act_until"), {"until": query.until}).fetchone()
    if last is None:
        return ActPage([])
    names: dict[str, Any] = {"before": min(query.before, last[0] + 1), "count_max": LOOKED_MAX}
    if query.owner is None:
        return page_of(query, connection.execute(sql("acts_list"), names).fetchall())
    return page_of(query, connection.execute(sql("acts_list_owner"), names | {"owner": query.owner}).fetchall())
