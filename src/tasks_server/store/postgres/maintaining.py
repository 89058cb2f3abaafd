"""Background duties of the adapter: expire and prune. Each call is a bounded piece of work."""

from collections.abc import Sequence
from typing import Any

from tasks_server.domain import lifecycle
from tasks_server.domain.attempt import Event
from tasks_server.domain.task import FINAL, State
from tasks_server.store.callbacks import ending_of_expiry
from tasks_server.store.ports import Change
from tasks_server.store.postgres.callbacks import CallbackKeeper
from tasks_server.store.postgres.days import Days
from tasks_server.store.postgres.link import Connection, one
from tasks_server.store.postgres.rows import SOUND, day_of, load_task, pack
from tasks_server.store.postgres.statements import sql
from tasks_server.store.postgres.steering import Steerings
from tasks_server.store.pruning import Sweep
from tasks_server.store.sealing import Sealer


class Maintenance:
    """The batch functions of the duties."""

    def __init__(self, steerings: Steerings, callbacks: CallbackKeeper, days: Days, sealer: Sealer) -> None:
        self._steerings = steerings
        self._callbacks = callbacks
        self._days = days
        self._sealer = sealer
        self._kept, self._short = Sweep(), Sweep()
        """Over what was kept beyond its day; over what is too old for owners that keep less than others."""

    def expire(self, connection: Connection, items: Sequence[tuple[int, int]]) -> Sequence[tuple[int, int]]:
        """Each item is the instant and how many at most. For each, how many expired, and how many callbacks tell it."""
        return [self._expire(connection, now, limit) for now, limit in items]

    def _expire(self, connection: Connection, now: int, limit: int) -> tuple[int, int]:
        parameters, endings = {"now": now, "count_max": limit}, []
        with connection.transaction():  # what was found stays locked until it is written
            ids = [task_id for (task_id,) in connection.execute(sql("expired_find"), parameters)]
            for task_id in ids:
                loaded = load_task(connection, self._sealer, None, task_id, response=False, lock=True)
                if loaded is not None and loaded.task.state not in FINAL | {State.RUNNING}:
                    task = lifecycle.expire(loaded.task, now)
                    self._steerings.write(connection, loaded, Change(task, Event(now, "expired", task.error)))
                    endings.append(ending_of_expiry(loaded, task, self._sealer))
            return len(ids), self._callbacks.tell(connection, endings)

    def prune(self, connection: Connection, items: Sequence[tuple[int, int, int]]) -> Sequence[int]:
        """Each item is until when history goes, the instant, and how many rows at most. How many went."""
        return [self._prune(connection, before, now, limit) for before, now, limit in items]

    def _prune(self, connection: Connection, before: int, now: int, limit: int) -> int:
        names = {"now": now, "retention_ms": now - before, "count_max": limit}
        (tasks,) = one(connection, sql("tasks_prune"), names | SOUND)
        days = self._days.drop_before(connection, before, now, limit)
        attempts = self._prune_attempts(connection, {**names, "first": 0, "last": -1, "all": True}, self._kept)
        shown = {"first": day_of(before), "last": day_of(now), "all": False}
        attempts += self._prune_attempts(connection, names | shown, self._short)
        connection.execute(sql("idempotency_prune"), {"now": now, "count_max": limit})
        connection.execute(sql("bulks_prune"), {"before": before, "count_max": limit})
        if not tasks + attempts:
            connection.execute(sql("owners_prune"), {"count_max": limit})
        return int(tasks) + days + attempts

    @staticmethod
    def _prune_attempts(connection: Connection, names: dict[str, Any], sweep: Sweep) -> int:
        """Removes attempts that may go, of those that the sweep comes to next."""
        with connection.transaction():
            connection.execute(sql("walk"))
            found = connection.execute(sql("attempts_old"), names | sweep.place, prepare=False).fetchall()
        rows = [(task, number, day) for _, _, task, number, day, may_go in found if may_go]
        sweep.move(found, names["count_max"])
        return connection.execute(sql("attempts_prune"), {"rows": pack(rows)}).rowcount if rows else 0
