"""Records what came of attempts, where the lease still holds; extends leases; finds what dead workers held. A
batch of reports is one statement.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from tasks_server.clock import Clock
from tasks_server.domain.leases import EVER, LeaseWatch, Seen
from tasks_server.store.callbacks import ending_of
from tasks_server.store.noting import Note, note_row
from tasks_server.store.postgres.callbacks import CallbackKeeper
from tasks_server.store.postgres.days import Days
from tasks_server.store.postgres.link import Connection
from tasks_server.store.postgres.nodes import Nodes, RollCall
from tasks_server.store.postgres.rows import attempt_row, day_of, pack
from tasks_server.store.postgres.statements import sql
from tasks_server.store.rows import NODE_SHIFT
from tasks_server.store.sealed_texts import sealed_error
from tasks_server.store.sealing import Sealer
from tasks_server.store.settling import DecideLost, Lost, Report, Settled, opened

Lease = tuple[int, int]

_LATE_MAX: Final = 20_000
"""Leases that are looked at in one go."""


class Settlements:
    """The batch functions that settle, extend and rescue."""

    def __init__(self, nodes: Nodes, days: Days, callbacks: CallbackKeeper, sealer: Sealer, clock: Clock) -> None:
        self._nodes = nodes
        self._days = days
        self._callbacks = callbacks
        self._sealer = sealer
        self._clock = clock
        self._watch = LeaseWatch()

    def settle(self, connection: Connection, items: Sequence[Sequence[Report]]) -> Sequence[Settled]:
        """Each item is a batch of reports. The first answer counts the callbacks of all. Ends of which nobody wants to
        be told are recorded by one statement, which finds that out; the others with their callbacks, in a transaction.
        """
        reports: dict[Lease, Report] = {}
        for item in items:
            for report in item:  # a lease ends with the first report under it
                reports.setdefault((report.ref, report.lease), report)
        self._ensure_days(connection, reports.values())
        quiet = {lease: report for lease, report in reports.items() if not report.tells}
        recorded = self._record(connection, quiet, told_by_others=True)
        made = 0
        told = {lease: report for lease, report in reports.items() if _is_told(report, lease in recorded)}
        if told:
            with connection.transaction():
                ended = self._record(connection, told, told_by_others=False)
                endings = [ending for lease in ended if (ending := ending_of(told[lease])) is not None]
                made = self._callbacks.tell(connection, endings)
            recorded |= ended
        noted = [(one.ref, one.attempt.number) for one in reports.values() if one.attempt and one.attempt.notes]
        if noted:
            connection.execute(sql("notes_settled"), {"rows": pack(noted)})
        standing = {id(reports[lease]) for lease in recorded}
        lost = [{report.ref for report in item if id(report) not in standing} for item in items]
        return [Settled(one, 0 if place else made) for place, one in enumerate(lost)]

    def _record(self, connection: Connection, reports: dict[Lease, Report], *, told_by_others: bool) -> set[Lease]:
        """Records them where the lease holds, except for those of which their lane or owner may want to be told, when
        they may be `told_by_others`. Which were recorded.
        """
        if not reports:
            return set()
        rows = [(*self._row(report), told_by_others and report.tells is None) for report in reports.values()]
        return set(connection.execute(sql("settle"), {"rows": pack(rows)}, binary=True).fetchall())

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


def _is_told(report: Report, recorded: bool) -> bool:
    """Whether its end is, or may be, one to be told of. One that was not recorded may have lost its lease, too."""
    return report.tells is not False and not recorded
