"""Records what is done by hand, and shows it."""

from collections.abc import Sequence
from typing import Any

from tasks_server.domain.audit import Act
from tasks_server.store.acting import Recording, rows_of
from tasks_server.store.acts import page_of
from tasks_server.store.auditing import LOOKED_MAX, ActPage, ActQuery
from tasks_server.store.batching import Batch
from tasks_server.store.postgres.link import Connection
from tasks_server.store.postgres.rows import storable
from tasks_server.store.postgres.statements import sql


class Acts(Recording):
    """The batch functions about what is done by hand."""

    def _made(self, batch: Batch) -> Batch:
        def recording(connection: Connection, items: Sequence[tuple[Any, Act]]) -> Sequence[Any]:
            with connection.transaction():
                answers = batch(connection, [item for item, _ in items])
                _insert(connection, [act for _, act in items], answers)
            return answers

        return recording

    @staticmethod
    def record(connection: Connection, items: Sequence[Act]) -> Sequence[bool]:
        """Each item is what was done already."""
        done = [True] * len(items)
        with connection.transaction():
            _insert(connection, items, done)
        return done

    @staticmethod
    def page(connection: Connection, items: Sequence[ActQuery]) -> Sequence[ActPage]:
        return [_page(connection, item) for item in items]

    @staticmethod
    def prune(connection: Connection, items: Sequence[tuple[int, int]]) -> Sequence[int]:
        """Each item is an instant, and how many at most."""
        with connection.transaction():
            return [
                len(connection.execute(sql("acts_prune"), {"before": before, "count_max": limit}).fetchall())
                for before, limit in items
            ]


def _insert(connection: Connection, acts: Sequence[Act], answers: Sequence[Any]) -> None:
    for row in rows_of(acts, answers):
        texts = {name: storable(value) if isinstance(value, str) else value for name, value in row.items()}
        connection.execute(sql("act_insert"), texts)


def _page(connection: Connection, query: ActQuery) -> ActPage:
    last = connection.execute(sql("act_until"), {"until": query.until}).fetchone()
    if last is None:
        return ActPage([])
    names: dict[str, Any] = {"before": min(query.before, last[0] + 1), "count_max": LOOKED_MAX}
    if query.owner is None:
        return page_of(query, connection.execute(sql("acts_list"), names).fetchall())
    names["owner"] = storable(query.owner)
    return page_of(query, connection.execute(sql("acts_list_owner"), names).fetchall())
