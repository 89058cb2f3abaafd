"""On which way a list is walked, and what of a query is only looked at along it: both adapters agree on this, so that
a page ends at the same place whichever database there is.

A way is an index in the list's order. What the way itself does not tell is the rest: with a rest, any number of tasks
may be passed over for one that fits, and so a page looks at `LOOKED_AT_MAX` of them and says where to go on.
"""

from typing import Final, Literal

from msgspec.structs import replace

from tasks_server.domain.task import PENDING, State
from tasks_server.store.filtering import EVERYTHING
from tasks_server.store.journal import LOOKED_AT_MAX
from tasks_server.store.ports import TaskQuery

__all__ = ["LOOKED_AT_MAX", "UNFINISHED", "Way", "has_rest", "rest_of", "way_of"]

Way = Literal["metadata", "schedule", "unfinished", "stopped", "handlers", "owner", "all", "ended", "execution"]
"""The entries of one pair of metadata; the runs of one schedule; an owner's tasks: those that have not ended, those in
one of the states of `STOPPED`, those that run handlers, all of them; the tasks of all owners. These in order of
arrival. An owner's tasks by their end; by when they run.
"""
UNFINISHED: Final = PENDING | {State.RUNNING}
STOPPED: Final = frozenset({State.PAUSED, State.FAILED, State.REVOKED})
"""Those that the partial index task_stopped holds: few among many, and asked for when something is wrong."""


def way_of(query: TaskQuery) -> Way:
    """The way of a list. Lists over all owners are in order of arrival."""
    if query.order != "created":
        return "ended" if query.order == "ended" else "execution"
    if query.owner is not None and query.metadata:
        return "metadata"
    if query.filter.schedule is not None:
        return "schedule"
    if query.states == UNFINISHED and (query.owner is not None or _is_plain(query)):
        return "unfinished"
    if _is_stopped(query.states) and (query.owner is not None or _is_plain(query)):
        return "stopped"
    if query.owner is None:
        return "all"
    return "handlers" if query.filter.handlers_only else "owner"


def rest_of(query: TaskQuery, way: Way) -> TaskQuery:
    """The query without what its way tells."""
    if way == "metadata":
        return replace(query, metadata=query.metadata[1:])
    if way == "schedule":
        return replace(query, filter=replace(query.filter, schedule=None))
    if way in ("unfinished", "stopped"):
        return replace(query, states=None)
    if way == "handlers":
        return replace(query, filter=replace(query.filter, handlers_only=False))
    if way == "ended":
        states = None if query.states == UNFINISHED else query.states
        return replace(query, states=states, filter=replace(query.filter, ended_from=None, ended_until=None))
    return query


def has_rest(query: TaskQuery) -> bool:
    """Whether tasks may be passed over that do not fit."""
    rest = rest_of(query, way_of(query))
    return rest.filter != EVERYTHING or rest.states is not None or rest.lane is not None or bool(rest.metadata)


def _is_stopped(states: frozenset[State] | None) -> bool:
    return states is not None and len(states) == 1 and states < STOPPED


def _is_plain(query: TaskQuery) -> bool:
    """Whether its states are all that is asked: of all owners, only then are they looked up owner by owner."""
    return query.filter == EVERYTHING and query.lane is None and not query.metadata
