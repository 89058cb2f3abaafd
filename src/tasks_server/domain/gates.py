"""Why a task does not run: the gates that it must pass, in the order in which they hold it. Pure; where an engine
decides the same, both ask the same function.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from tasks_server.domain import durations, gates_engine, gates_lane, gates_task
from tasks_server.domain.gate import KINDS, Gate
from tasks_server.domain.limits import SECOND_MS
from tasks_server.domain.situation import Load, Situation
from tasks_server.domain.task import FINAL, State

_ADVISED: Final = frozenset({"final", "paused", "owner_suspended", "lane_paused"})
"""Gates whose text says what to do."""
_BEHIND_MS: Final = SECOND_MS
"""How long an engine may take to take a task that nothing holds."""
_TARGETS_MAX: Final = 1_000
"""Of how many targets it is found out whether tasks with them would be passed over."""


def gates(situation: Situation) -> list[Gate]:
    """All gates that matter to the task as it is; the first closed one is what holds it. A task that has ended or runs
    has one alone, closed, that says so.
    """
    state = situation.task.state
    if state in FINAL:
        return [gates_task.final(situation)]
    if state is State.RUNNING:
        return [gates_task.running(situation)]
    loads = situation.loads()
    takers = gates_engine.takers_of(situation, loads)
    found = [
        *gates_task.waiting(situation),
        *gates_lane.suspended(situation),
        *gates_lane.paused(situation),
        *gates_engine.there(situation, loads),
        *gates_lane.roomy(situation),
        *gates_engine.roomy(situation, takers),
        *(_ahead(situation, loads) if takers else ()),
    ]
    if not closed(found):
        found.append(_behind(situation, takers))
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
    """What holds the task, and what to do about it."""
    holding = closed(found)
    if not holding:
        return "Nothing holds it: the next look of an engine takes it."
    first = holding[0]
    told = f"{first.text[0].upper()}{first.text[1:]}."
    return told if first.gate in _ADVISED else f"{told} {KINDS[first.gate].advice}"


def _ahead(situation: Situation, loads: Sequence[Load]) -> Iterator[Gate]:
    """Those that go first matter when they are more than there is room for."""
    ahead = situation.ahead
    if not situation.in_line:
        return
    room = sum(load.room(situation.task.target) for load in loads)
    allowed = gates_lane.allowed(situation).count
    room = room if allowed is None else min(room, allowed)
    by_target = (ahead.urgent, ahead.elsewhere, ahead.alongside)
    urgent, elsewhere, alongside = (_reachable(loads, counts) for counts in by_target)
    count = urgent + elsewhere + ahead.earlier + alongside
    facts = {
        "urgent": urgent,
        "urgentInOtherLanes": elsewhere,
        "earlier": ahead.earlier + alongside,
        "more": ahead.more,
    }
    if not count:
        yield Gate("ahead", False, "no task of its owner goes first", None, facts | {"room": room})
        return
    kinds = (
        (urgent, "more urgent in its lane"),
        (elsewhere, "more urgent in other lanes"),
        (ahead.earlier, "due earlier to the same target"),
        (alongside, "due earlier to other targets"),
    )
    which = ", ".join(f"{some} {kind}" for some, kind in kinds if some)
    go = "tasks of its owner go" if count > 1 else "task of its owner goes"
    least = "at least " if ahead.more else ""
    until = None if ahead.more or elsewhere else gates_lane.passed_at(situation, count)
    yield Gate("ahead", count >= room, f"{least}{count} {go} first: {which}", until, facts | {"room": room})


def _reachable(loads: Sequence[Load], counts: Mapping[str, int]) -> int:
    """How many of these tasks of the same owner, by target, an engine would begin: others are passed over."""
    looked_at = itertools.islice(counts.items(), _TARGETS_MAX)
    passed_over = sum(count for target, count in looked_at if not any(load.room(target) for load in loads))
    return sum(counts.values()) - passed_over


def _behind(situation: Situation, takers: Sequence[Load]) -> Gate:
    late = situation.now - situation.task.due_at
    looked_at = max((load.engine.facts.looked_at for load in takers), default=0)
    place = "stands in line" if situation.in_line else "has not been put in line yet"
    facts = {"lateMs": max(0, late), "inLine": situation.in_line, "lookedAt": looked_at}
    if late <= _BEHIND_MS or gates_lane.shut_by_rate(situation, situation.now - _BEHIND_MS):
        return Gate("behind", False, "an engine takes it with its next look", None, facts)
    text = f"the engines are behind: it has been due for {durations.shown(late)}, {place}, and nothing else holds it"
    return Gate("behind", True, text, None, facts)
