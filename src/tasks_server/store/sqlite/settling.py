"""Records what came of attempts, where the lease still holds; extends leases; rescues what dead workers held."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import apsw
import msgspec

from tasks_server.domain.attempt import Attempt, OutcomeKind
from tasks_server.store.ports import Report
from tasks_server.store.sealing import Sealer
from tasks_server.store.sqlite.nodes import Nodes
from tasks_server.store.sqlite.rows import attempt_row, pack, single, unpack
from tasks_server.store.sqlite.statements import sql
from tasks_server.store.sqlite.tally import Tally

Lease = tuple[int, int]
Place = tuple[int, int]
"""An owner and a lane."""


class _Lost(msgspec.Struct, array_like=True):
    ref: int
    id: str
    owner: int
    lane: int
    attempt: int
    due_at: int
    started_at: int
    failures: int
    repeats: int
    status_code: int
    error: str | None


class Settlements:
    """The batch functions that settle, extend and rescue."""

    def __init__(self, nodes: Nodes, sealer: Sealer) -> None:
        self._nodes = nodes
        self._sealer = sealer

    def settle(self, connection: apsw.Connection, items: Sequence[Sequence[Report]]) -> Sequence[set[int]]:
        """Each item is a batch of reports. For each, the handles of those whose lease was lost."""
        held = _held(connection, [(report.ref, report.lease) for item in items for report in item])
        standing, answers = _standing(held, items)
        tally = Tally()
        rows, attempts = [], []
        for report, (owner, lane) in standing:
            settlement = report.settlement
            tally.leave(owner, lane, "running")
            tally.enter(owner, lane, settlement.state)
            rows.append(_row(report))
            if report.attempt is not None:
                attempts.append(attempt_row(report.ref, owner, report.task_id, report.attempt, self._sealer))
        _write(connection, rows, attempts, tally)
        return answers

    def extend(self, connection: apsw.Connection, items: Sequence[tuple[Sequence[Lease], int]]) -> Sequence[set[int]]:
        """Each item is some leases and until when they shall hold. For each, the handles of the lost ones."""
        answers = []
        for leases, lease_until in items:
            held = _held(connection, leases)
            rows = list(held)
            if rows:
                connection.execute(sql("leases_extend"), {"rows": pack(rows), "lease_until": lease_until})
            answers.append({lease[0] for lease in leases if lease not in held})
        return answers

    def held(self, connection: apsw.Connection, items: Sequence[Sequence[Lease]]) -> Sequence[set[int]]:
        """Each item is some leases. For each, the handles of those that hold."""
        return [{ref for ref, _ in _held(connection, leases)} for leases in items]

    def rescue(self, connection: apsw.Connection, items: Sequence[tuple[int, int]]) -> Sequence[int]:
        """Each item is the instant and how many to rescue at most. For each, how many were."""
        return [self._rescue(connection, now, limit) for now, limit in items]

    def _rescue(self, connection: apsw.Connection, now: int, limit: int) -> int:
        parameters = {"now": now, "alive": pack(list(self._nodes.alive())), "count_max": limit}
        (text,) = single(connection, "lost_find", parameters)
        lost = msgspec.json.decode(text, type=list[_Lost])
        rows, attempts = [], []
        tally = Tally()
        for task in lost:
            rows.append(
                (
                    task.ref, 0, "available", task.due_at, task.due_at, task.failures, task.repeats, 0,
                    task.status_code, task.error,
                )
            )  # fmt: skip
            error = "the worker died or lost its lease; what the target saw is unknown"
            attempt = Attempt(task.attempt, task.due_at, task.started_at, now, OutcomeKind.LOST, error=error)
            attempts.append(attempt_row(task.ref, task.owner, task.id, attempt, self._sealer))
        for (owner, lane), count in Counter((task.owner, task.lane) for task in lost).items():
            tally.leave(owner, lane, "running", count)
            tally.enter(owner, lane, "available", count)
        _write(connection, rows, attempts, tally)
        return len(lost)


def _held(connection: apsw.Connection, leases: Sequence[Lease]) -> dict[Lease, Place]:
    """Of the leases that hold: where their tasks stand."""
    if not leases:
        return {}
    (text,) = single(connection, "leases_find", {"rows": pack(leases)})
    return {(ref, lease): (owner, lane) for ref, lease, owner, lane in unpack(text)}


def _standing(
    held: dict[Lease, Place], items: Sequence[Sequence[Report]]
) -> tuple[list[tuple[Report, Place]], list[set[int]]]:
    """The reports to record, and for each item the handles of the others. Uses `held` up: a lease ends with the
    first report under it, and a batch may bring two, or one under an older lease of the same task.
    """
    standing = []
    answers = []
    for item in items:
        lost = set()
        for report in item:
            place = held.pop((report.ref, report.lease), None)
            if place is None:
                lost.add(report.ref)
            else:
                standing.append((report, place))
        answers.append(lost)
    return standing, answers


def _row(report: Report) -> tuple[Any, ...]:
    settlement = report.settlement
    return (
        report.ref,
        report.lease,
        settlement.state,
        settlement.due_at,
        None if settlement.ended_at else settlement.due_at,  # final: lists go on to show when the last try began
        settlement.failures,
        settlement.repeats,
        settlement.ended_at,
        settlement.status_code,
        settlement.error,
    )


def _write(connection: apsw.Connection, rows: list[Any], attempts: list[Any], tally: Tally) -> None:
    if rows:
        connection.execute(sql("settle"), {"rows": pack(rows)})
    if attempts:
        connection.execute(sql("attempt_insert"), {"rows": pack(attempts)})
    tally.write(connection)
