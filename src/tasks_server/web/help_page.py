"""Keys, words of the search line, states: from the tables that they are made of."""

from typing import Final

from tasks_server.api.exchange import Answer
from tasks_server.api.routes import Route
from tasks_server.api.search_line import BULK, LOG, TASKS
from tasks_server.api.states import WIRE_STATES
from tasks_server.domain.task import State
from tasks_server.web.frame import Frame
from tasks_server.web.visit import Visit

_MEANINGS: Final = {
    State.SCHEDULED: "waits for its time",
    State.AVAILABLE: "is due, and waits for a free slot",
    State.RUNNING: "an engine works on it",
    State.RETRYABLE: "waits for its next attempt",
    State.PAUSED: "stands still; resume goes on with the wait that was left",
    State.COMPLETED: "has ended well",
    State.FAILED: "has failed for good: its attempts are used up, or more would be no use",
    State.REVOKED: "was stopped for good",
}


async def help_page(visit: Visit) -> Answer:
    """The page."""
    states = [(state.value, WIRE_STATES[state], meaning) for state, meaning in _MEANINGS.items()]
    searches = [("Tasks", TASKS), ("Log", LOG), ("Bulk work", BULK)]
    return visit.page("help.html", "Help", states=states, searches=searches, live=0)


def help_routes(frame: Frame) -> list[Route]:
    return [frame.shows("/ui/help", help_page, "Show help")]
