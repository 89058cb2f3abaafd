"""The execution log: `/v1/logs`."""

from collections.abc import Sequence
from typing import Final

from tasks_server.client import results
from tasks_server.client.bodies import millis
from tasks_server.client.options import Instant
from tasks_server.client.protocol import Request, Route

_LIST: Final = Route("GET", "/v1/logs", list[results.LogEntry])


def list_(
    *,
    state: str | Sequence[str] | None = None,
    status_code: int | str | Sequence[str] | None = None,
    host: str | None = None,
    handler: str | None = None,
    lane: str | None = None,
    schedule: str | None = None,
    task: str | None = None,
    since: Instant | None = None,
    until: Instant | None = None,
    page_size: int = 100,
) -> Request[list[results.LogEntry]]:
    """All attempts that have ended and fit, the newest end first, page after page as they are needed. `state`: SUCCESS,
    ERROR, STOPPED or an outcome; `status_code`: such as 404 or 5xx, 0 for no answer; `since` is inside, `until` is not.
    """
    query = {
        "limit": page_size,
        "state": state,
        "statusCode": status_code,
        "host": host,
        "handler": handler,
        "lane": lane,
        "schedule": schedule,
        "task": task,
        "since": millis(since),
        "until": millis(until),
    }
    return _LIST.request(query=query)
