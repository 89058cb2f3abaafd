"""Why a task does not run: the gates that it must pass, in the order in which they hold it. Pure; where an engine
decides the same, both ask the same function.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from tasks_server.domain import durations, gates_engine, gates_task
from tasks_server.domain.gate import Gate
from tasks_server.domain.limits import SECOND_MS
from tasks_server.domain.situation import Situation
from tasks_server.domain.task import FINAL, State

_BEHIND_MS: Final = SECOND_MS
"""What an engine may take to take a task that nothing holds."""


def gates(situation: Situation) -> list[Gate]:
    """All gates that matter to the task as it is; the first closed one is what holds it. A task that has ended or runs
    has one alone, closed, that says so.
    """
    state = situation.task.state
    if state in FINAL:
        return [gates_task.final(situation)]
    if state is State.RUNNING:
        return [gates_task.running(situation)]
    found = [
        *gates_task.waiting(situation),
        *gates_engine.there(situation),
        *gates_engine.roomy(situation),
        *_ahead(situation),
    ]
    if not closed(found):
        found += _behind(situation)
    return found


def closed(found: Sequence[Gate]) -> list[Gate]:
    """Those that hold the task."""
    return [gate for gate in found if gate.closed]


def estimate(situation: Situation, found: Sequence[Gate]) -> int | None:
    """The earliest instant at which the task can run; None when what holds it has no known end, or it needs none."""
    if situation.task.state in FINAL or situation.task.state is State.RUNNING:
        return None
    untils = [gate.until for gate in closed(found)]
    known = [until for until in untils if until is not None]
    if len(known) < len(untils):
        return None
    return max([situation.now, situation.task.due_at, *known])


def summary(found: Sequence[Gate]) -> str:
    """One sentence that says what holds the task."""
    holding = closed(found)
    if not holding:
        return "Nothing holds it: the next look of an engine takes it."
    first, *others = holding
    told = first.text[0].upper() + first.text[1:]
    more = ", ".join(gate.gate for gate in others)
    return f"{told}; held by {more}, too." if more else f"{told}."


def _ahead(situation: Situation) -> Iterator[Gate]:
    """Those that go first matter when they are more than there is room for."""
    ahead, loads = situation.ahead, situation.loads()
    if not situation.in_line or not loads:
        return
    room = sum(gates_engine.room(situation, load) for load in loads)
    least = "at least " if ahead.more else ""
    facts = {
        "urgent": ahead.urgent,
        "urgentInOtherLanes": ahead.elsewhere,
        "earlier": ahead.earlier,
        "more": ahead.more,
        "room": room,
    }
    if not ahead.count:
        yield Gate("ahead", False, "no task of its owner goes first", None, facts)
        return
    kinds = (
        (ahead.urgent, "more urgent in its lane"),
        (ahead.elsewhere, "more urgent in other lanes"),
        (ahead.earlier, "due earlier to the same target"),
    )
    which = ", ".join(f"{count} {kind}" for count, kind in kinds if count)
    go = "tasks of its owner go" if ahead.count > 1 else "task of its owner goes"
    yield Gate("ahead", ahead.count >= room, f"{least}{ahead.count} {go} first: {which}", None, facts)


def _behind(situation: Situation) -> Iterator[Gate]:
    late = situation.now - situation.task.due_at
    looked_at = max((load.engine.facts.looked_at for load in situation.loads()), default=0)
    place = "stands in line" if situation.in_line else "has not been put in line yet"
    facts = {"lateMs": max(0, late), "inLine": situation.in_line, "lookedAt": looked_at}
    if late <= _BEHIND_MS:
        yield Gate("behind", False, "an engine takes it with its next look", None, facts)
        return
    text = f"the engines are behind: it is due since {durations.shown(late)}, {place}, and nothing else holds it"
    yield Gate("behind", True, text, None, facts)
