"""Keeps what engines tell of themselves."""

from collections.abc import Sequence

import apsw

from tasks_server.domain.engines import Engine, EngineReport
from tasks_server.store.engines import engines_of, forgotten_before, report_row
from tasks_server.store.sqlite.nodes import Nodes
from tasks_server.store.sqlite.statements import sql


class Engines:
    """The batch functions about engines."""

    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes

    def report(self, connection: apsw.Connection, items: Sequence[EngineReport]) -> Sequence[None]:
        """Each item is what the engine of this process tells."""
        for item in items:
            connection.execute(sql("engine_report"), report_row(self._nodes.number, item))
            connection.execute(sql("engines_prune"), forgotten_before(item))
        return [None] * len(items)

    def all(self, connection: apsw.Connection, items: Sequence[None]) -> Sequence[list[Engine]]:
        """Each item asks for the same. The kernel tells whose process is there."""
        found = engines_of(connection.execute(sql("engines_list")), self._nodes.alive())
        return [found] * len(items)
