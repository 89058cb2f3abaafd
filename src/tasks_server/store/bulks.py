"""Bulk work as far as all adapters do it alike: how it is stored, which tasks a filter makes it walk over, and what one
step makes of those it found.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from tasks_server.domain.bulk import (
    QUEUE_FULL,
    STEP_FAILED,
    Action,
    Bulk,
    BulkFilter,
    Deleted,
    Steered,
    enters_queue,
    matches,
    set_back,
)
from tasks_server.domain.errors import Corrupt
from tasks_server.domain.stored import together, unknown_word, unreadable, word_of
from tasks_server.domain.task import FINAL, State, Task
from tasks_server.store.bulking import DecideBulk, StepFailed, Worked
from tasks_server.store.texts import marked, unmarked

_FILTER: Final = msgspec.json.Decoder(BulkFilter)
_ENCODE: Final = msgspec.json.Encoder().encode
_STOPPED: Final = frozenset({State.PAUSED, State.FAILED, State.REVOKED})
"""Those that have an index by state."""
UNFINISHED: Final = frozenset(State) - FINAL - {State.PAUSED}
"""Those whose `ended_at` is 0."""
_WAIT_MS: Final = 1_000
"""How long work that waits leaves its turn to others."""
_MEND: Final = "ask for it anew"
_BUSY: Final = "the database was busy for too long"


class Walk(msgspec.Struct, frozen=True):
    """Which of an owner's tasks must be looked at: those that are neither final nor paused, those in states with an
    index of their own, those of these ids, or all of them.
    """

    unfinished: bool = False
    stopped: tuple[State, ...] = ()
    ids: tuple[str, ...] | None = None
    whole: bool = False

    @property
    def states(self) -> tuple[State, ...]:
        """The states that it comes by."""
        if self.whole:
            return tuple(State)
        return (*self.stopped, *(sorted(UNFINISHED) if self.unfinished else ()))


def walk_of(asked: BulkFilter) -> Walk:
    """The shortest way on which everything lies that the filter may find."""
    if asked.ids is not None:
        return Walk(ids=asked.ids)
    states = frozenset(State) if asked.states is None else frozenset(asked.states)
    if State.COMPLETED in states:
        return Walk(whole=True)
    return Walk(bool(states & UNFINISHED), tuple(sorted(states & _STOPPED)))


def filter_text(asked: BulkFilter) -> str:
    return marked(_ENCODE(asked))


def bulk_of(row: Sequence[Any]) -> Bulk:
    """Bulk work from the columns id, owner's id, action, filter, asked_by, created_at, started_at, updated_at,
    ended_at, cancelled, total, seen, changed, skipped, waits, error, failures. One that cannot be read tells of it.
    """
    action, asked, told = word_of(Action, row[2]), BulkFilter(), None
    try:
        asked = _FILTER.decode(unmarked(row[3])[1])
    except msgspec.MsgspecError as error:
        told = unreadable("its filter", f"it is damaged, or of another version ({error})", _MEND)
    return Bulk(
        id=row[0],
        owner=row[1],
        action=action,
        filter=asked,
        asked_by=row[4],
        created_at=row[5],
        started_at=row[6],
        updated_at=row[7],
        ended_at=row[8],
        cancelled=bool(row[9]),
        total=row[10],
        seen=row[11],
        changed=row[12],
        skipped=row[13],
        waits=row[14],
        error=row[15],
        failures=row[16],
        unreadable=together(unknown_word("its action", action), told),
    )


class Found(msgspec.Struct, frozen=True):
    """A task with its handles."""

    ref: int
    lane: int
    task: Task


class Window(msgspec.Struct, frozen=True):
    """What a walk came by: the handles in their order, and whether that was the last of them."""

    refs: Sequence[int]
    last: bool

    def sought(self, found: Mapping[int, Found], asked: BulkFilter, count_max: int) -> "list[Found]":
        """Those that the filter finds, the first so many and one more."""
        sought = []
        for ref in self.refs:
            one = found.get(ref)  # one that is gone meanwhile was looked at nevertheless
            if one is not None and matches(asked, one.task):
                sought.append(one)
                if len(sought) > count_max:
                    break
        return sought


def window_of(streams: Sequence[Sequence[int]], count_max: int) -> Window:
    """The first so many of several ways, each in order and cut off after as many."""
    refs = sorted(ref for stream in streams for ref in stream)
    return Window(refs[:count_max], len(refs) <= count_max and all(len(stream) < count_max for stream in streams))


class Deeds(msgspec.Struct):
    """What one step makes of tasks. `stops_at`: the handle of the first that it leaves to the next step."""

    steered: list[tuple[Found, Steered]] = []
    deleted: list[Found] = []
    skipped: int = 0
    stops_at: int | None = None
    waits: str | None = None

    @property
    def changed(self) -> int:
        return len(self.steered) + len(self.deleted)

    @property
    def restarted(self) -> bool:
        """Whether tasks may be due that were not."""
        waiting = UNFINISHED - {State.RUNNING}
        return any(deed.task.state in waiting for _, deed in self.steered)

    @property
    def stopped(self) -> bool:
        """Whether tasks in flight lost their leases."""
        dropped = any(deed.attempt is not None for _, deed in self.steered)
        return dropped or any(one.task.state is State.RUNNING for one in self.deleted)


def deeds_of(bulk: Bulk, sought: Sequence[Found], decide: DecideBulk, room: int, stops_at: int | None) -> Deeds:
    """Decides on each task in turn, all of them before the handle `stops_at`; ends before the first for which there is
    no room in the owner's queue.
    """
    deeds = Deeds(stops_at=stops_at)
    for found in sought:
        deed = decide(bulk, found.task)
        if isinstance(deed, Steered):
            if enters_queue(found.task, deed.task):
                if room <= 0:
                    deeds.stops_at, deeds.waits = found.ref, QUEUE_FULL
                    break
                room -= 1
            deeds.steered.append((found, deed))
        elif isinstance(deed, Deleted):
            deeds.deleted.append(found)
        else:
            deeds.skipped += 1
    return deeds


def moved(bulk: Bulk, window: Window, deeds: Deeds, after: int, now: int) -> tuple[Bulk, int, int]:
    """The work after a step, how far it has come, and when its next turn is."""
    stops_at = deeds.stops_at
    refs = [ref for ref in window.refs if stops_at is None or ref < stops_at]
    ended = window.last and stops_at is None
    further = msgspec.structs.replace(
        bulk,
        started_at=bulk.started_at or now,
        updated_at=now,
        ended_at=now if ended else 0,
        seen=bulk.seen + len(refs),
        changed=bulk.changed + deeds.changed,
        skipped=bulk.skipped + deeds.skipped,
        waits=deeds.waits,
        error=None,
        failures=0,
    )
    return further, refs[-1] if refs else after, now + (_WAIT_MS if deeds.waits else 0)


def given_up(bulk: Bulk, now: int) -> Bulk:
    """Work that cannot be read, ended: nobody knows what it is to do, and others wait behind it."""
    return msgspec.structs.replace(bulk, updated_at=now, ended_at=now, error=bulk.unreadable)


def moved_columns(seq: int, bulk: Bulk, after: int, look_at: int) -> dict[str, Any]:
    """What `bulk_move` writes."""
    return {
        "seq": seq,
        "started_at": bulk.started_at,
        "updated_at": bulk.updated_at,
        "ended_at": bulk.ended_at,
        "look_at": look_at,
        "after": after,
        "seen": bulk.seen,
        "changed": bulk.changed,
        "skipped": bulk.skipped,
        "waits": bulk.waits,
        "error": bulk.error,
    }


def failed_step(
    seq: int, row: Sequence[Any], error: Exception, now: int, *, busy: bool
) -> tuple[dict[str, Any], Worked]:
    """What `bulk_set_back` writes of work whose step raised this, from its row as `bulk_of` takes it; and what is told
    of it.
    """
    step, reason = set_back(row[16], now, busy=busy), _BUSY if busy else _reason(error)
    columns = {
        "seq": seq,
        "failures": step.failures,
        "look_at": step.look_at,
        "ended_at": step.ended_at,
        "now": now,
        "waits": None if step.ended_at else STEP_FAILED,
        "error": reason,
    }
    return columns, Worked(failed=StepFailed(row[0], error, reason, None if step.ended_at else step.look_at))


def _reason(error: Exception) -> str:
    """What an owner is told of it; the server's log tells the rest."""
    if isinstance(error, msgspec.MsgspecError):
        return "what is stored of a task is damaged"
    return error.message if isinstance(error, Corrupt) else f"a fault of the server ({type(error).__name__})"


def new_columns(bulk: Bulk, owner: int, until: int, total: int) -> dict[str, Any]:
    """What `bulk_insert` writes."""
    return {
        "id": bulk.id,
        "owner": owner,
        "action": bulk.action.value,
        "filter": filter_text(bulk.filter),
        "asked_by": bulk.asked_by,
        "created_at": bulk.created_at,
        "until": until,
        "total": total,
    }
