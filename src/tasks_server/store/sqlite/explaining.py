"""Gathers what it depends on whether a task may run."""

from collections.abc import Sequence

import apsw

from tasks_server.domain.situation import HOLDERS_MAX, RUNNING_COUNTED_MAX, Ahead, InWork
from tasks_server.domain.task import FINAL, State
from tasks_server.store.explaining import Standing, ahead_of, lease_of, place
from tasks_server.store.rows import Loaded
from tasks_server.store.sealing import Sealer
from tasks_server.store.sqlite.rows import load_task, single
from tasks_server.store.sqlite.statements import sql


class Explanations:
    """The batch function that does."""

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer

    def standing(
        self, connection: apsw.Connection, items: Sequence[tuple[str | None, str]]
    ) -> Sequence[Standing | None]:
        """Each item is an owner and a task."""
        return [self._standing(connection, *item) for item in items]

    def _standing(self, connection: apsw.Connection, owner: str | None, task_id: str) -> Standing | None:
        loaded = load_task(connection, self._sealer, owner, task_id, response=False)
        if loaded is None:
            return None
        task = loaded.task
        waits = task.state not in FINAL | {State.RUNNING}
        return Standing(
            task,
            loaded.spec(self._sealer),
            lease_of(task.state, *single(connection, "explain_lease", {"seq": loaded.ref})),
            _in_work(connection, loaded.owner) if waits else [],
            _ahead(connection, loaded) if task.state is State.AVAILABLE else Ahead(),
            _holders(connection, loaded.lane) if waits else [],
        )


def _in_work(connection: apsw.Connection, owner: int) -> list[InWork]:
    rows = connection.execute(sql("explain_running"), {"owner": owner, "count_max": RUNNING_COUNTED_MAX})
    return [InWork(*row) for row in rows]


def _holders(connection: apsw.Connection, lane: int) -> list[str]:
    bounds = {"running_max": RUNNING_COUNTED_MAX, "count_max": HOLDERS_MAX}
    return [holder for (holder,) in connection.execute(sql("explain_holders"), {"lane": lane} | bounds)]


def _ahead(connection: apsw.Connection, loaded: Loaded) -> Ahead:
    where = place(loaded.ref, loaded.owner, loaded.lane, loaded.task)
    (earlier,) = single(connection, "explain_earlier", where)
    return ahead_of(connection.execute(sql("explain_urgent"), where), earlier)
