"""What happened to a task, in order: told again from its row, its attempts and the events beside them.

Most of it is stored nowhere by itself: that a task was promoted follows from when it was due, a planned retry from the
attempt after it. Only what somebody did by hand is an event, with where the task stood at that moment.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from enum import StrEnum
from itertools import accumulate, islice
from typing import Any, Final

import msgspec

from tasks_server.domain import limits
from tasks_server.domain.attempt import Attempt, Event, OutcomeKind, Redirected
from tasks_server.domain.callback_making import MADE, NOT_MADE
from tasks_server.domain.lifecycle import EventKind
from tasks_server.domain.notes import Notes
from tasks_server.domain.request import TaskSpec
from tasks_server.domain.stored import is_known, together, unknown_word, word_of
from tasks_server.domain.task import PENDING, State, Task
from tasks_server.domain.timekeeping import CLOCK_EVENT


class Happening(StrEnum):
    """What can be told of a task. What each means is in `MEANINGS`."""

    REGISTERED = "registered"
    HISTORY_PRUNED = "history_pruned"
    PROMOTED = "promoted"
    STARTED = "started"
    LOGGED = "logged"
    PROGRESSED = "progressed"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    RETRY_PLANNED = "retry_planned"
    REPEATED = "repeated"
    INTERRUPTED = "interrupted"
    RESCUED = "rescued"
    DROPPED = "dropped"
    PAUSED = "paused"
    RESUMED = "resumed"
    EDITED = "edited"
    CLOCK_SET_BACK = "clock_set_back"
    EXECUTED = "executed"
    RESTARTED = "restarted"
    REVOKED = "revoked"
    EXPIRED = "expired"
    COMPLETED = "completed"
    GIVEN_UP = "given_up"
    CALLBACK_MADE = "callback_made"
    CALLBACK_NOT_MADE = "callback_not_made"
    UNREADABLE = "unreadable"


_H = Happening
MEANINGS: Final[dict[Happening, tuple[str, str]]] = {
    _H.REGISTERED: ("it was stored; by a schedule, for one of its fire times", "dueAt, scheduleId, fireAt"),
    _H.HISTORY_PRUNED: ("its earlier attempts are no longer kept, or too many to tell", "detail: which"),
    _H.PROMOTED: ("its time came, and it joined the line", ""),
    _H.STARTED: ("an attempt began", "attempt, dueAt, late: how many ms after it was due"),
    _H.LOGGED: ("the handler logged a line", "attempt, detail: the line"),
    _H.PROGRESSED: (
        "how far the attempt had come when its handler told last",
        "attempt, progress: from 0 to 1, detail: what the handler says of it",
    ),
    _H.SUCCEEDED: ("the attempt ended well", "attempt, statusCode, redirected: where redirects led"),
    _H.FAILED: (
        "the attempt failed",
        "attempt, statusCode, outcome, detail: the error, redirected: where redirects led",
    ),
    _H.RETRY_PLANNED: ("it is to be tried again", "dueAt, number: which retry since the last success, of: how many"),
    _H.REPEATED: ("after a success, it is to run again", "dueAt, number: which repeat, of: how many"),
    _H.INTERRUPTED: ("the attempt was cut short by the server's shutdown; back in line", "attempt, detail"),
    _H.RESCUED: ("the attempt's worker died or lost its lease; back in line", "attempt, detail"),
    _H.DROPPED: ("the attempt was stopped in flight, because of what comes next", "attempt, detail"),
    _H.PAUSED: ("its clock stands still", "detail: by whom"),
    _H.RESUMED: ("its clock goes on", "dueAt, detail: by whom"),
    _H.EDITED: ("its request or configuration was changed", "fields: which, dueAt: if that changed, detail: by whom"),
    _H.CLOCK_SET_BACK: ("the clock was set back, and its wait began once more", "dueAt, detail: by how much"),
    _H.EXECUTED: ("it is to run now", "detail: by whom"),
    _H.RESTARTED: ("it is to run once more although it had ended, with all its retries", "detail: by whom"),
    _H.REVOKED: ("it was stopped for good", "detail: by whom, or why"),
    _H.EXPIRED: ("`expireAt` passed before it could start", "attempt, if one was about to begin"),
    _H.COMPLETED: ("it has ended as SUCCESS", ""),
    _H.GIVEN_UP: ("it has ended as ERROR", "detail: the error"),
    _H.CALLBACK_MADE: ("a task was made that tells of its end", "detail: its id, and what it calls"),
    _H.CALLBACK_NOT_MADE: ("its end should be told, but nobody knows how", "detail: why, and what to do"),
    _H.UNREADABLE: ("what is stored of it is damaged, or of another version", "attempt, outcome, detail: what to do"),
}
"""What each means, and the fields that say more."""

_OF_KIND: Final = {
    EventKind.PAUSE: _H.PAUSED,
    EventKind.RESUME: _H.RESUMED,
    EventKind.EDIT: _H.EDITED,
    EventKind.EXECUTE: _H.EXECUTED,
    EventKind.RESTART: _H.RESTARTED,
    EventKind.REVOKE: _H.REVOKED,
    "expired": _H.EXPIRED,
    CLOCK_EVENT: _H.CLOCK_SET_BACK,
}
_OF_CALLBACKS: Final = {MADE: _H.CALLBACK_MADE, NOT_MADE: _H.CALLBACK_NOT_MADE}
"""Told beside what becomes of the task itself."""
_OF_OUTCOME: Final = {
    OutcomeKind.SUCCESS: _H.SUCCEEDED,
    OutcomeKind.EXPIRED: _H.EXPIRED,
    OutcomeKind.INTERRUPTED: _H.INTERRUPTED,
    OutcomeKind.LOST: _H.RESCUED,
    OutcomeKind.ABORTED: _H.DROPPED,
}
"""Of all others: FAILED."""
_WAITS_AGAIN: Final = frozenset({_H.RESUMED, _H.CLOCK_SET_BACK, _H.EXECUTED, _H.RESTARTED})


class TimelineEntry(msgspec.Struct, frozen=True, rename="camel"):
    """Something that happened at the instant `at` (ms since the epoch, like all instants here)."""

    at: int
    event: str
    attempt: int | None = None
    status_code: int | None = None
    outcome: str | None = None
    due_at: int | None = None
    late: int | None = None
    number: int | None = None
    of: int | None = None
    fields: list[str] | None = None
    schedule_id: str | None = None
    fire_at: int | None = None
    detail: str | None = None
    redirected: Redirected | None = None
    progress: float | None = None


def timeline(
    task: Task,
    spec: TaskSpec | None,
    attempts: Iterable[Attempt],
    events: Iterable[Event],
    notes: Notes | None = None,
) -> list[TimelineEntry]:
    """All that happened so far, oldest first; what shares a millisecond in the order of cause and effect. `spec`: None
    when it cannot be read; `notes`: of the attempt that runs.
    """
    return _Telling(task, spec, list(attempts), list(events), notes).told()


class _Telling:
    """Goes through attempts and events in the order of cause and effect, and keeps in mind for when the task waits."""

    def __init__(
        self,
        task: Task,
        spec: TaskSpec | None,
        attempts: list[Attempt],
        events: list[Event],
        notes: Notes | None,
    ) -> None:
        self._task = task
        self._notes = notes
        self._attempts = attempts
        self._told = [event for event in events if event.kind in _OF_CALLBACKS]
        self._acts = _in_order(attempts, [event for event in events if event.kind not in _OF_CALLBACKS])
        self._entries: list[TimelineEntry] = []
        self._due_at: int | None = None
        self._waits_since = 0
        self._counts = _Counts(task, self._acts, self._pruned)
        own_retries = spec is not None and (spec.handler is None or spec.config.says_retries)
        self._retries_max = spec.config.retries_max if spec is not None and own_retries else None
        self._repeats_max = spec.config.repeat_policy().repeats_max if spec is not None else None

    @property
    def _pruned(self) -> int:
        """The number of the last attempt before the first one that is kept."""
        if self._attempts:
            return self._attempts[0].number - 1
        return self._task.attempt - (self._task.state is State.RUNNING)

    @property
    def _is_cut(self) -> bool:
        """Whether there may be attempts before these."""
        return len(self._attempts) >= limits.HISTORY_MAX

    def told(self) -> list[TimelineEntry]:
        self._begin()
        for place, act in enumerate(self._acts):
            if isinstance(act, Attempt):
                self._tell_attempt(act, place)
            else:
                self._tell_event(act, place)
        self._end()
        self._tell_callbacks(self._told)  # those of ends that are no longer kept
        return sorted(self._entries, key=lambda entry: entry.at)  # stable

    def _tell(self, at: int, event: Happening, **more: Any) -> None:
        self._entries.append(TimelineEntry(at, event.value, **more))

    def _begin(self) -> None:
        task = self._task
        due_at = None if self._pruned else self._due_before(0)
        why = None if task.schedule is None else f"made by schedule {task.schedule} for its fire time"
        why = why if task.callback_of is None else f"made to tell of the end of the task {task.callback_of}"
        fire_at = None if task.schedule is None else task.fire_at
        self._tell(
            task.created_at, _H.REGISTERED, due_at=due_at, schedule_id=task.schedule, fire_at=fire_at, detail=why
        )
        if self._pruned:
            which = "attempt 1 is" if self._pruned == 1 else f"attempts 1 to {self._pruned} are"
            what = "left out here; the list of attempts has what is kept of them" if self._is_cut else "no longer kept"
            self._tell(task.created_at, _H.HISTORY_PRUNED, detail=f"{which} {what}")
        else:
            self._wait(task.created_at, due_at)

    def _tell_attempt(self, attempt: Attempt, place: int) -> None:
        number = attempt.number
        self._promote(attempt.started_at)
        happening = _OF_OUTCOME.get(attempt.outcome, _H.FAILED)
        if happening is not _H.EXPIRED:  # then nothing began
            late = attempt.started_at - attempt.due_at
            self._tell(attempt.started_at, _H.STARTED, attempt=number, due_at=attempt.due_at, late=late)
            self._tell_notes(attempt.notes, number, attempt.started_at, attempt.ended_at)
        status = attempt.status_code or None
        if not is_known(attempt.outcome):
            told, word = attempt.unreadable, attempt.outcome.value
            self._tell(attempt.ended_at, _H.UNREADABLE, attempt=number, outcome=word, detail=told)
            return
        outcome = attempt.outcome.value if happening is _H.FAILED else None
        self._tell(
            attempt.ended_at,
            happening,
            attempt=number,
            status_code=status,
            outcome=outcome,
            detail=together(attempt.error, attempt.unreadable),
            redirected=attempt.redirected,
        )
        if happening is _H.DROPPED:
            return
        if self._ended_with(place):
            if happening is _H.SUCCEEDED:
                self._tell(attempt.ended_at, _H.COMPLETED)
            else:
                last = place == len(self._acts) - 1
                self._tell(attempt.ended_at, _H.GIVEN_UP, detail=self._task.error if last else attempt.error)
            self._tell_callbacks([event for event in self._told if event.at == attempt.ended_at])
            return
        due_at = self._due_before(place + 1)
        count = self._counts.of(place)
        if happening is _H.SUCCEEDED:
            self._tell(attempt.ended_at, _H.REPEATED, due_at=due_at, number=count, of=self._repeats_max)
        elif happening is _H.FAILED:
            self._tell(attempt.ended_at, _H.RETRY_PLANNED, due_at=due_at, number=count, of=self._retries_max)
        self._wait(attempt.ended_at, due_at)

    def _tell_notes(self, notes: Notes | None, number: int, since: int, until: int) -> None:
        """What the handler noted; clocks of machines differ a little, so it is put between beginning and end."""
        if notes is None:
            return
        if notes.dropped:
            many = f"{notes.dropped} earlier line{'s are' if notes.dropped > 1 else ' is'} not kept"
            self._tell(since, _H.LOGGED, attempt=number, detail=many)
        for line in notes.lines:
            self._tell(min(max(line.at, since), until), _H.LOGGED, attempt=number, detail=line.text)
        if notes.progress is not None or notes.message is not None:
            at = min(max(notes.at, since), until)
            self._tell(at, _H.PROGRESSED, attempt=number, progress=notes.progress, detail=notes.message)

    def _tell_event(self, event: Event, place: int) -> None:
        happening = _OF_KIND.get(event.kind)
        if happening is None:
            if (told := unknown_word("what happened", word_of(EventKind, event.kind))) is not None:
                self._tell(event.at, _H.UNREADABLE, detail=together(told, event.detail))
            return
        facts = event.facts
        moved = facts is not None and facts.due_at is not None
        again = happening in _WAITS_AGAIN or (happening is _H.EDITED and moved)
        if happening is not _H.EXECUTED or moved:  # else it was due already, and goes on to wait for its turn
            self._promote(event.at)
        due_at = self._due_before(place + 1) if again else None
        shown = due_at if happening in (_H.RESUMED, _H.EDITED, _H.CLOCK_SET_BACK) else None
        fields = facts.fields if facts is not None and facts.fields else None
        self._tell(event.at, happening, due_at=shown, fields=fields, detail=together(event.detail, event.unreadable))
        if happening is _H.EXPIRED:
            self._tell(event.at, _H.GIVEN_UP, detail=event.detail)
            self._tell_callbacks([told for told in self._told if told.at == event.at])
        if again and (happening is not _H.EXECUTED or moved):
            self._wait(event.at, due_at)

    def _tell_callbacks(self, events: list[Event]) -> None:
        """Tells these events that are about callbacks, once."""
        for event in events:
            self._tell(event.at, _OF_CALLBACKS[event.kind], detail=together(event.detail, event.unreadable))
        self._told = [event for event in self._told if event not in events]

    def _end(self) -> None:
        task = self._task
        if task.state is State.RUNNING and (not self._attempts or self._attempts[-1].number < task.attempt):
            late = task.execution_at - task.due_at
            self._promote(task.execution_at)
            self._tell(task.execution_at, _H.STARTED, attempt=task.attempt, due_at=task.due_at, late=late)
            self._tell_notes(self._notes, task.attempt, task.execution_at, limits.INT63_MAX)
        elif task.state is State.AVAILABLE:
            self._promote(limits.DAY_MS * 10**9)

    def _wait(self, since: int, due_at: int | None) -> None:
        self._waits_since, self._due_at = since, due_at

    def _promote(self, at: int) -> None:
        """Tells that the task's time had come by then, if it had to wait for it; the wait is over in any case."""
        due_at, self._due_at = self._due_at, None
        if due_at is not None and self._waits_since + limits.PROMOTE_AHEAD_MS < due_at <= at:
            self._tell(due_at, _H.PROMOTED)

    def _due_before(self, place: int) -> int | None:
        """For when the task waits before this act: what the acts that follow say, or else the task itself."""
        for act in islice(self._acts, place, None):
            if isinstance(act, Attempt):
                return act.due_at
            if act.facts is not None and act.facts.due_at is not None:
                return act.facts.due_at
            if _OF_KIND.get(act.kind) in (_H.PAUSED, _H.RESUMED, _H.RESTARTED, _H.REVOKED, _H.EXPIRED):
                return None
        waits = self._task.state in PENDING or self._task.state is State.RUNNING
        return self._task.due_at if waits else None

    def _ended_with(self, place: int) -> bool:
        """Whether the task was final after this attempt."""
        if place + 1 < len(self._acts):
            following = self._acts[place + 1]
            return isinstance(following, Event) and following.kind == EventKind.RESTART
        return self._task.state in (State.COMPLETED, State.FAILED)


class _Counts:
    """Which retry and which repeat followed each attempt. Repeats are counted from the last one back, which the task
    knows the number of; retries from the last success or restart on, or back from the last one where the beginning
    is no longer kept.
    """

    def __init__(self, task: Task, acts: "Sequence[Attempt | Event]", pruned: int) -> None:
        self._numbers: dict[int, int | None] = {}
        successes: list[int] = []
        run: list[int] = []
        whole = not pruned
        for place, act in enumerate(acts):
            if isinstance(act, Attempt) and act.outcome is OutcomeKind.SUCCESS:
                successes.append(place)
            elif isinstance(act, Attempt) and act.outcome not in _OF_OUTCOME:
                run.append(place)
                continue
            elif isinstance(act, Attempt) or act.kind != EventKind.RESTART:
                continue
            self._number(run, 1 if whole else None)
            run, whole = [], True
        self._number(run, 1 if whole else task.failures - len(run) + 1)
        repeats = [place for place in successes if not _is_last(task, acts, place)]
        self._number(repeats, task.repeats - len(repeats) + 1)

    def of(self, place: int) -> int | None:
        return self._numbers.get(place)

    def _number(self, places: list[int], first: int | None) -> None:
        for offset, place in enumerate(places):
            self._numbers[place] = None if first is None else first + offset


def _is_last(task: Task, acts: "Sequence[Attempt | Event]", place: int) -> bool:
    """Whether the task was completed with this success."""
    if place + 1 < len(acts):
        following = acts[place + 1]
        return isinstance(following, Event) and following.kind == EventKind.RESTART
    return task.state is State.COMPLETED


def _in_order(attempts: list[Attempt], events: list[Event]) -> "list[Attempt | Event]":
    """Each event after the attempt that was the last when it happened. Clocks of machines differ a little; this tells
    cause and effect apart all the same.
    """
    keyed: list[tuple[int, int, int, Attempt | Event]] = [(attempt.number, 0, 0, attempt) for attempt in attempts]
    ended, numbers = [attempt.ended_at for attempt in attempts], [attempt.number for attempt in attempts]
    if ended != sorted(ended):  # of machines whose clocks differ; by the end, then, and the highest number so far
        by_end = sorted(zip(ended, numbers, strict=True))
        ended, numbers = [end for end, _ in by_end], list(accumulate((number for _, number in by_end), max))
    for place, event in enumerate(events):
        if event.facts is not None:
            after = event.facts.attempt
        else:
            before = bisect_right(ended, event.at)
            after = numbers[before - 1] if before else 0
        keyed.append((after, 1, place, event))
    return [act for *_, act in sorted(keyed, key=lambda each: each[:3])]
