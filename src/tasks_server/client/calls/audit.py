"""What was done by hand: `/v1/audit`."""

from collections.abc import Sequence
from typing import Final

from tasks_server.client import results
from tasks_server.client.bodies import millis
from tasks_server.client.options import Instant
from tasks_server.client.protocol import Request, Route

_LIST: Final = Route("GET", "/v1/audit", list[results.AuditEntry])


def list_(
    *,
    by: str | None = None,
    kind: str | Sequence[str] | None = None,
    action: str | Sequence[str] | None = None,
    subject: str | None = None,
    key: str | None = None,
    since: Instant | None = None,
    until: Instant | None = None,
    page_size: int = 100,
) -> Request[list[results.AuditEntry]]:
    """All that was done by hand and fits, the newest first, page after page as they are needed: to what is the owner's,
    with an admin key to all. `by`: owner or operator; `since` is inside, `until` is not.
    """
    query = {
        "limit": page_size,
        "by": by,
        "kind": kind,
        "action": action,
        "subject": subject,
        "key": key,
        "since": millis(since),
        "until": millis(until),
    }
    return _LIST.request(query=query)
