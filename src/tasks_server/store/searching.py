"""Lists, histories and explanations are searches: they take turns by who asks, and none goes on for long."""

from typing import Final

from tasks_server.domain.errors import Refused

SEARCH_SECONDS: Final = 2.0
"""For how long one search may look."""


def too_long() -> Refused:
    """What a search that found no end is answered with."""
    text = (
        f"the search looked for {SEARCH_SECONDS:g} s and was given up: its filters fit few among very many; name a "
        "state, a lane or a span of time, or ask for fewer"
    )
    return Refused(text, code="search_too_long")
