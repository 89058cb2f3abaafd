"""Records what came of attempts, where the lease still holds; extends leases; finds what dead workers held."""

from collections.abc import Sequence
from typing import Any, Final

import apsw
import msgspec

from tasks_server.clock import Clock
from tasks_server.domain.leases import LeaseWatch, Seen
from tasks_server.store.callbacks import ending_of
from tasks_server.store.noting import Note, note_row
from tasks_server.store.sealed_texts import sealed_error
from tasks_server.store.sealing import Sealer
from tasks_server.store.settling import DecideLost, Lost, Report, Settled, opened
from tasks_server.store.sqlite.callbacks import CallbackKeeper
from tasks_server.store.sqlite.nodes import Nodes
from tasks_server.store.sqlite.rows import attempt_row, pack, single, unpack
from tasks_server.store.sqlite.statements import sql
from tasks_server.store.sqlite.tally import Tally

Lease = tuple[int, int]
Place = tuple[int, int]
"""An owner and a lane."""


_LOST: Final = msgspec.json.Decoder(list[Lost])
_LATE: Final = msgspec.json.Decoder(list[Seen])


class Settlements:
    """The batch functions that settle, extend and rescue."""

    def __init__(self, nodes: Nodes, callbacks: CallbackKeeper, sealer: Sealer, clock: Clock) -> None:
        self._nodes = nodes
        self._callbacks = callbacks
        self._sealer = sealer
        self._clock = clock
        self._watch = LeaseWatch()

    def settle(self, connection: apsw.Connection, items: Sequence[Sequence[Report]]) -> Sequence[Settled]:
        """Each item is a batch of reports. The first answer counts the callbacks of all."""
        held = _held(connection, [(report.ref, report.lease) for item in items for report in item])
        standing, answers = _standing(held, items)
        tally = Tally()
        rows, attempts, noted, endings = [], [], [], []
        for report, (owner, lane) in standing:
            settlement = report.settlement
            tally.leave(owner, lane, "running")
            tally.enter(owner, lane, settlement.state)
            rows.append(_row(report, self._sealer))
            if report.tells is not False and (ending := ending_of(report)) is not None:
                endings.append(ending)
            if report.attempt is not None:
                attempts.append(attempt_row(report.ref, owner, report.task_id, report.attempt, self._sealer))
                if report.attempt.notes is not None:
                    noted.append((report.ref, report.attempt.number))
        _write(connection, rows, attempts, tally)
        if noted:
            connection.execute(sql("notes_settled"), {"rows": pack(noted)})
        made = self._callbacks.tell(connection, endings)
        return [Settled(lost, 0 if place else made) for place, lost in enumerate(answers)]

    def note(self, connection: apsw.Connection, items: Sequence[Sequence[Note]]) -> Sequence[None]:
        """Each item is some notes, kept where the lease holds."""
        rows = [note_row(note, self._sealer) for item in items for note in item]
        connection.execute(sql("notes_write"), {"rows": pack(rows)})
        return [None] * len(items)

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

    def rescue(self, connection: apsw.Connection, items: Sequence[tuple[int, int, DecideLost]]) -> Sequence[int]:
        """Each item is the instant, how many to rescue at most, and what to decide. For each, how many were."""
        return [self._rescue(connection, *item) for item in items]

    def _rescue(self, connection: apsw.Connection, now: int, limit: int, decide: DecideLost) -> int:
        sight = self._watch.sight(now, self._clock.monotonic())
        parameters = {"low": sight.low, "high": sight.high, "alive": pack(list(self._nodes.alive()))}
        orphaned, late = single(connection, "leases_late", parameters)
        given_up = [*unpack(orphaned), *(one.ref for one in self._watch.over(_LATE.decode(late)))][:limit]
        if given_up:
            (text,) = single(connection, "lost_find", {"seqs": pack(given_up)})
            self.settle(connection, [[decide(opened(task, self._sealer)) for task in _LOST.decode(text)]])
        return len(given_up)


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


def _row(report: Report, sealer: Sealer) -> tuple[Any, ...]:
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
        sealed_error(settlement.error, report.task_id, sealer),
        settlement.remaining_ms,
    )


def _write(connection: apsw.Connection, rows: list[Any], attempts: list[Any], tally: Tally) -> None:
    if rows:
        connection.execute(sql("settle"), {"rows": pack(rows)})
    if attempts:
        connection.execute(sql("attempt_insert"), {"rows": pack(attempts)})
    tally.write(connection)
