"""Background duties of the adapter: expire, prune, checkpoint, check. Each call is a bounded piece of work."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import apsw

from tasks_server.domain import lifecycle
from tasks_server.domain.attempt import Event
from tasks_server.domain.errors import Corrupt
from tasks_server.store.callbacks import ending_of_expiry
from tasks_server.store.ports import Change
from tasks_server.store.pruning import Sweep
from tasks_server.store.sealing import Sealer
from tasks_server.store.sqlite.callbacks import CallbackKeeper
from tasks_server.store.sqlite.connection import connect, translate, turn
from tasks_server.store.sqlite.rows import load_task, pack, single, unpack
from tasks_server.store.sqlite.statements import sql
from tasks_server.store.sqlite.steering import Steerings, erase
from tasks_server.store.sqlite.tally import Tally

_CHECKPOINT_BYTES: Final = 4 * 1024 * 1024
_RESTART_BYTES: Final = 32 * 1024 * 1024
_CHECK_STEPS: Final = 100_000


class Maintenance:
    """The batch functions of the duties that are transactions."""

    def __init__(self, steerings: Steerings, callbacks: CallbackKeeper, sealer: Sealer) -> None:
        self._steerings = steerings
        self._callbacks = callbacks
        self._sealer = sealer
        self._sweep = Sweep()

    def expire(self, connection: apsw.Connection, items: Sequence[tuple[int, int]]) -> Sequence[tuple[int, int]]:
        """Each item is the instant and how many at most. For each, how many expired, and how many callbacks tell it."""
        return [self._expire(connection, now, limit) for now, limit in items]

    def _expire(self, connection: apsw.Connection, now: int, limit: int) -> tuple[int, int]:
        (text,) = single(connection, "expired_find", {"now": now, "count_max": limit})
        ids, endings = unpack(text), []
        for task_id in ids:
            loaded = load_task(connection, self._sealer, None, task_id, response=False)
            if loaded is not None:
                task = lifecycle.expire(loaded.task, now)
                self._steerings.write(connection, loaded, Change(task, Event(now, "expired", task.error)))
                endings.append(ending_of_expiry(loaded, task, self._sealer))
        return len(ids), self._callbacks.tell(connection, endings)

    def prune(self, connection: apsw.Connection, items: Sequence[tuple[int, int, int]]) -> Sequence[int]:
        """Each item is until when history goes, the instant, and how many rows at most. How many went."""
        return [self._prune(connection, before, now, limit) for before, now, limit in items]

    def _prune(self, connection: apsw.Connection, before: int, now: int, limit: int) -> int:
        names = {"now": now, "retention_ms": now - before, "count_max": limit}
        (text,) = single(connection, "prunable_find", names)
        tasks = unpack(text)
        if tasks:
            tally = Tally()
            for _, lane, state in tasks:
                tally.leave(0, lane, state)  # final: no place in a queue to give back
            erase(connection, [seq for seq, _, _ in tasks], tally)
        attempts = self._prune_attempts(connection, names)
        connection.execute(sql("idempotency_prune"), {"now": now, "count_max": limit})
        connection.execute(sql("bulks_prune"), {"before": before, "count_max": limit})
        if not tasks:
            _prune_owners(connection, limit)
        return len(tasks) + attempts

    def _prune_attempts(self, connection: apsw.Connection, names: dict[str, int]) -> int:
        """Removes attempts that may go, of those that the sweep comes to next."""
        found = connection.execute(sql("attempts_old"), names | self._sweep.place).fetchall()
        rows = [(task, number) for _, _, task, number, may_go in found if may_go]
        if rows:
            connection.execute(sql("attempts_prune"), {"rows": pack(rows)})
        self._sweep.move(found, names["count_max"])
        return len(rows)


def _prune_owners(connection: apsw.Connection, limit: int) -> None:
    (text,) = single(connection, "owners_prune", {"count_max": limit})
    if unpack(text):
        for name in (
            "counters_of_owners_delete", "buckets_of_owners_delete", "lanes_of_owners_delete",
            "idempotency_of_owners_delete", "owners_delete",
        ):  # fmt: skip
            connection.execute(sql(name), {"owners": text})


def checkpoint(path: Path) -> None:
    """Moves the write-ahead log into the database once it is worth it, beside the writers; and when it grows all
    the same, because it is never caught up with, stops the writers for the moment that the rest takes.
    """
    log = path.with_name(path.name + "-wal")
    size = log.stat().st_size if log.exists() else 0
    if size < _CHECKPOINT_BYTES:
        return
    connection = connect(path, durable=True)
    try:
        connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        if size >= _RESTART_BYTES:
            with turn(path):
                connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    except apsw.BusyError:
        pass  # a reader or a backup holds on to the log; the next time will do
    except apsw.Error as error:
        raise translate(error, path) from error
    finally:
        connection.close()


def check(path: Path, going_on: Callable[[], bool]) -> bool:
    """Looks through the whole file for damage while `going_on()` says so. Whether it came to the end of it.

    Raises `Corrupt`.
    """
    connection = connect(path, durable=False, read_only=True)
    try:
        connection.set_progress_handler(lambda: not going_on(), _CHECK_STEPS)
        found = connection.pragma("quick_check", 1)
    except apsw.InterruptError:
        return False
    except apsw.Error as error:
        raise translate(error, path) from error
    finally:
        connection.close()
    if found != "ok":
        detail = " ".join(str(found).split())  # SQLite tells it in several lines
        raise Corrupt(f"{path}: the database file is damaged ({detail}); restore it from a backup")
    return True
