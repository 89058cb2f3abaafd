"""Keeps what engines tell of themselves."""

from collections.abc import Sequence

from tasks_server.domain.engines import Engine, EngineReport
from tasks_server.store.engines import engines_of, forgotten_before, report_row
from tasks_server.store.postgres.link import Connection
from tasks_server.store.postgres.nodes import Nodes
from tasks_server.store.postgres.statements import sql


class Engines:
    """The batch functions about engines."""

    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes

    def report(self, connection: Connection, items: Sequence[EngineReport]) -> Sequence[None]:
        """Each item is what the engine of this process tells."""
        number = self._nodes.number(connection)
        for item in items:
            with connection.pipeline():
                connection.execute(sql("engine_report"), report_row(number, item))
                connection.execute(sql("engines_prune"), forgotten_before(item))
        return [None] * len(items)

    def all(self, connection: Connection, items: Sequence[None]) -> Sequence[list[Engine]]:
        """Each item asks for the same."""
        found = engines_of(connection.execute(sql("engines_list")).fetchall(), self._nodes.present(connection))
        return [found] * len(items)
