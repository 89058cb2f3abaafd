"""How lanes are kept, as far as all adapters do it alike."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from tasks_server.domain.callback import NO_CALLBACKS
from tasks_server.domain.lane import Lane, LaneFacts, LaneLimits
from tasks_server.domain.stored import word_of
from tasks_server.domain.task import State
from tasks_server.store.callbacks import opened_callbacks, sealed_callbacks
from tasks_server.store.laning import LaneChange, LanePage, LaneRefusal
from tasks_server.store.sealing import Sealer


def lane_of(sealer: Sealer, owner: str, row: Sequence[Any], counts: dict[State, int]) -> Lane | None:
    """A lane from the id of its owner and the columns seq, name, concurrent_max, rate, burst, paused_at, paused_by,
    full_at, deleted_at, callbacks; None when it is deleted and was not used again.
    """
    facts = LaneFacts(LaneLimits(*row[2:7]), row[7], counts.get(State.RUNNING, 0))
    lane = Lane(row[1], facts, counts, opened_callbacks(sealer, row[9], owner, row[1]))
    return None if row[8] is not None and not lane.in_queue else lane


def refused(found: Lane | None, *, held_too: bool) -> LaneRefusal | bool | None:
    """Why a lane is not deleted, False: there is none; None: it may be."""
    if found is None:
        return False
    if found.in_queue:
        return LaneRefusal.IN_USE
    return LaneRefusal.HELD if found.facts.limits.held and not held_too else None


def changed_lane(name: str, before: Lane | None, change: LaneChange) -> Lane:
    """The lane once it is changed."""
    known = before or Lane(name)
    return Lane(name, change.facts, known.counts, known.callbacks if change.callbacks is None else change.callbacks)


def page_of(
    sealer: Sealer, owner: str, rows: Sequence[Sequence[Any]], counted: Iterable[Sequence[Any]], limit: int
) -> LanePage:
    """A page from those columns, and from rows of seq, state and count."""
    counts = counts_by_lane(counted)
    found = [lane_of(sealer, owner, row, counts[row[0]]) for row in rows]
    return LanePage([lane for lane in found if lane is not None], rows[-1][1] if len(rows) >= limit else None)


def counts_by_lane(counted: Iterable[Sequence[Any]]) -> defaultdict[int, dict[State, int]]:
    """How many tasks of each lane are in each state, from rows of seq, state and count."""
    counts: defaultdict[int, dict[State, int]] = defaultdict(dict)
    for seq, state, count in counted:
        if count:
            counts[seq][word_of(State, state)] = count
    return counts


def lane_columns(sealer: Sealer, owner: str, name: str, seq: int, change: LaneChange) -> dict[str, Any]:
    """What `lane_change` writes of a lane, given by its owner's id, its name and its handle."""
    chosen = change.facts.limits
    return {
        "seq": seq,
        "concurrent_max": chosen.concurrent_max,
        "rate": chosen.rate,
        "burst": chosen.burst,
        "paused_at": chosen.paused_at,
        "paused_by": chosen.paused_by,
        "callbacks_stay": change.callbacks is None,
        "callbacks": sealed_callbacks(sealer, change.callbacks or NO_CALLBACKS, owner, name),
    }
