"""For tests of one's own code: a server that lives in the test's process, with a clock that is moved, and a recorder
that keeps tasks instead of sending them. The pytest plugin that comes with the package makes fixtures of both.

    def test_a_reminder_is_sent_a_day_later(tasks_server):
        task = tasks_server.client.tasks.register(url=shop.url, delay="1d")
        tasks_server.advance("1d")
        assert tasks_server.client.tasks.wait(task.id, timeout=10).state == "SUCCESS"

What is here knows no way into a server that runs elsewhere: no setting and no route moves a clock.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tasks_server.testing.recording import Recorded as Recorded
    from tasks_server.testing.recording import Recorder as Recorder
    from tasks_server.testing.server import TestServer as TestServer

__all__ = ["Recorded", "Recorder", "TestServer"]


def __getattr__(name: str) -> Any:
    """Looked up when it is asked for: the plugin lies in here, and costs nothing where no test uses it."""
    if name == "TestServer":
        from tasks_server.testing.server import TestServer

        return TestServer
    if name in ("Recorded", "Recorder"):
        from tasks_server.testing import recording

        return getattr(recording, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
