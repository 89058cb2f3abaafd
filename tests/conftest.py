"""What all tests share: a clock that stands still, and how hypothesis searches."""

import pytest
from hypothesis import settings

from tasks_server.clock import ManualClock

# No deadline: a slow machine is no fault. The blob lets a failure be played again by `@reproduce_failure`.
settings.register_profile("tasks-server", deadline=None, print_blob=True, database=None)
settings.load_profile("tasks-server")


@pytest.fixture
def clock() -> ManualClock:
    """The time of a test; it moves when the test moves it."""
    return ManualClock()
