"""Records what came of attempts, where the lease still holds; extends leases; finds what dead workers held. A
batch of reports is one statement.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from tasks_server.clock import Clock
from tasks_server.domain.leases import EVER, LeaseWatch, Seen
from tasks_server.store.noting import Note, note_row
from tasks_server.store.postgres.days import Days
from tasks_server.store.postgres.link import Connection
from tasks_server.store.postgres.nodes import Nodes, RollCall
from tasks_server.store.postgres.rows import attempt_row, day_of, pack
from tasks_server.store.postgres.statements import sql
from tasks_server.store.rows import NODE_SHIFT
from tasks_server.store.sealed_texts import sealed_error
from tasks_server.store.sealing import Sealer
from tasks_server.store.settling import DecideLost, Lost, Report, opened

Lease = tuple[int, int]

_LATE_MAX: Final = 20_000
"""Leases that are looked at in one go."""


class Settlements:
    """The batch functions that settle, extend and rescue."""

    def __init__(self, nodes: Nodes, days: Days, sealer: Sealer, clock: Clock) -> None:
        self._nodes = nodes
        self._days = days
        self._sealer = sealer
        self._clock = clock
        self._watch = LeaseWatch()

    def settle(self, connection: Connection, items: Sequence[Sequence[Report]]) -> Sequence[set[int]]:
        """Each item is a batch of reports. For each, the handles of those whose lease was lost."""
        reports: dict[Lease, Report] = {}
        for item in items:
            for report in item:  # a lease ends with the first report under it
                reports.setdefault((report.ref, report.lease), report)
        self._ensure_days(connection, reports.values())
        rows = pack([self._row(report) for report in reports.values()])
        recorded = connection.execute(sql("settle"), {"rows": rows}, binary=True)
        standing = {id(reports[ref, lease]) for ref, lease in recorded}
        noted = [(one.ref, one.attempt.number) for one in reports.values() if one.attempt and one.attempt.notes]
        if noted:
            connection.execute(sql("notes_settled"), {"rows": pack(noted)})
        return [{report.ref for report in item if id(report) not in standing} for item in items]

    def note(self, connection: Connection, items: Sequence[Sequence[Note]]) -> Sequence[None]:
        """Each item is some notes, kept where the lease holds."""
        rows = [note_row(note, self._sealer) for item in items for note in item]
        connection.execute(sql("notes_write"), {"rows": pack(rows)})
        return [None] * len(items)

    def extend(self, connection: Connection, items: Sequence[tuple[Sequence[Lease], int]]) -> Sequence[set[int]]:
        """Each item is some leases and until when they shall hold. For each, the handles of the lost ones."""
        answers = []
        for leases, lease_until in items:
            parameters = {"rows": pack(leases), "lease_until": lease_until}
            held = set(connection.execute(sql("leases_extend"), parameters).fetchall())
            answers.append({lease[0] for lease in leases if lease not in held})
        return answers

    @staticmethod
    def held(connection: Connection, items: Sequence[Sequence[Lease]]) -> Sequence[set[int]]:
        """Each item is some leases. For each, the handles of those that hold."""
        return [{ref for (ref,) in connection.execute(sql("leases_find"), {"rows": pack(item)})} for item in items]

    def rescue(self, connection: Connection, items: Sequence[tuple[int, int, DecideLost]]) -> Sequence[int]:
        """Each item is the instant, how many to rescue at most, and what to decide. For each, how many were."""
        return [self._rescue(connection, *item) for item in items]

    def _rescue(self, connection: Connection, now: int, limit: int, decide: DecideLost) -> int:
        self._days.ensure(connection, [day_of(now)])
        call = self._nodes.roll_call(connection)
        orphaned, late = self._late(connection, now, call)
        given_up = [*orphaned, *self._watch.over(late)][:limit]
        if given_up:
            with connection.transaction():  # what was found stays locked until it is settled
                rows = connection.execute(sql("lost_find"), {"rows": pack(given_up)})
                lost = [opened(Lost(*row), self._sealer) for row in rows]
                self.settle(connection, [[decide(task) for task in lost]])
        if len(given_up) < limit:
            self._nodes.answered(call)
        return len(given_up)

    def _late(self, connection: Connection, now: int, call: RollCall) -> tuple[list[Seen], list[Seen]]:
        """The leases of nodes that have gone, and those of others that should have been extended."""
        sight = self._watch.sight(now, self._clock.monotonic())
        some_gone = call.gone is None or bool(call.gone)
        parameters = {
            "floor": 0 if some_gone else sight.floor,
            "until": EVER if some_gone else sight.until,
            "low": sight.low,
            "high": sight.high,
            "gone": list(call.gone or ()),
            "all": call.gone is None,
            "alive": list(call.alive),
            "count_max": _LATE_MAX,
        }
        rows = connection.execute(sql("leases_late"), parameters).fetchall()
        seen: tuple[list[Seen], list[Seen]] = ([], [])
        for *one, stays in rows:
            lease = Seen(*one)
            # Nobody has looked before, and may have seen that nobody extends it; but its end is past, and its node is
            # not there to extend it.
            ended = lease.until < now and lease.lease >> NODE_SHIFT in call.cut_off
            seen[stays and not ended].append(lease)
        return seen

    def _ensure_days(self, connection: Connection, reports: Iterable[Report]) -> None:
        self._days.ensure(connection, {day_of(report.attempt.ended_at) for report in reports if report.attempt})

    def _row(self, report: Report) -> tuple[Any, ...]:
        settlement, attempt = report.settlement, report.attempt
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
            sealed_error(settlement.error, report.task_id, self._sealer),
            settlement.remaining_ms,
            attempt_row(report.ref, 0, report.task_id, attempt, self._sealer) if attempt else None,
        )
