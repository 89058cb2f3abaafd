"""What the execution log holds."""

from tasks_server.client.results.base import Readable
from tasks_server.client.results.tasks import Redirected


class LogEntry(Readable, frozen=True):
    """One attempt of one task. `late` is how many ms it began after it was due, `duration` how many it took. `host` is
    None for a task that runs a handler, `handler` for one that sends a request. `response_truncated`: of the answer
    only the first part was kept. `redirected`: where redirects led, None where none was followed.
    """

    task_id: str
    owner_id: str
    attempt: int
    state: str
    outcome: str
    status_code: int
    host: str | None
    handler: str | None
    lane: str
    schedule_id: str | None
    fire_at: int | None
    due_at: int
    started_at: int
    ended_at: int
    late: int
    duration: int
    error: str | None
    response_truncated: bool = False
    redirected: Redirected | None = None
