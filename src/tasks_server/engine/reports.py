"""From the end of an attempt to its report, by one rule for all: what was sent, what could not be sent, what was cut
short, what nobody told of.
"""

from typing import Final

import msgspec

from tasks_server.domain import callback_making, lifecycle, limits, texts
from tasks_server.domain.attempt import Attempt, Outcome, OutcomeKind
from tasks_server.domain.notes import Notes
from tasks_server.domain.request import TaskConfig
from tasks_server.store.ports import Claim
from tasks_server.store.settling import Lost, Report

_LOST: Final = Outcome(OutcomeKind.LOST, error="the worker died or lost its lease; what the target saw is unknown")
_UNKNOWN: Final = TaskConfig()


def report_of(
    held: Claim | Lost,
    config: TaskConfig,
    outcome: Outcome,
    started_at: int,
    ended_at: int,
    jitter: float,
    notes: Notes | None = None,
) -> Report:
    """What is to be recorded of an attempt that ended. `jitter` is in [0, 1)."""
    outcome = _storable(outcome)
    progress = lifecycle.Progress(
        held.due_at,
        held.failures,
        held.repeats,
        held.expire_at,
        held.status_code,
        held.error,
        held.remaining_ms,
    )
    settlement = lifecycle.settle(progress, config, outcome, ended_at, jitter)
    attempt = Attempt(
        held.attempt,
        held.due_at,
        min(started_at, ended_at),  # the clock may have been set back meanwhile
        ended_at,
        outcome.kind,
        outcome.status_code,
        outcome.error,
        outcome.response if config.trace_response_data else None,
        outcome.response_truncated,
        outcome.redirected,
        notes,
    )
    tells = callback_making.tells(config, settlement.state) if settlement.ended_at else False
    return Report(held.ref, held.lease, held.id, settlement, attempt, held.lane, tells)


def report_lost(now: int, lost: Lost) -> Report:
    """What is to be recorded of an attempt of which nobody will tell any more, found at `now`."""
    return report_of(lost, _UNKNOWN, _LOST, lost.started_at, now, 0.0)


def _storable(outcome: Outcome) -> Outcome:
    """The outcome with an error that every store takes, whoever made its text."""
    if outcome.error is None:
        return outcome
    error = texts.fitting(outcome.error, limits.ERROR_LENGTH_MAX)
    return outcome if error == outcome.error else msgspec.structs.replace(outcome, error=error)
