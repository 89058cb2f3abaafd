"""One action over all tasks that a filter finds, done by the server: `/v1/bulk`."""

from datetime import timedelta
from typing import Final, Literal, TypeAlias, Unpack

from tasks_server.client import results
from tasks_server.client.bodies import settings_body
from tasks_server.client.options import BulkFilter
from tasks_server.client.protocol import Request, Route
from tasks_server.client.waiting import Waiting, seconds

Action: TypeAlias = Literal["retry", "revoke", "delete", "pause", "resume", "execute"]

_CREATE: Final = Route("POST", "/v1/bulk", results.Bulk)
_DRY_RUN: Final = Route("POST", "/v1/bulk", results.BulkSight, harmless_twice=True)
_LIST: Final = Route("GET", "/v1/bulk", list[results.Bulk])
_GET: Final = Route("GET", "/v1/bulk/{id}", results.Bulk)
_CANCEL: Final = Route("POST", "/v1/bulk/{id}/cancel", results.Bulk, harmless_twice=True)


def create(action: Action, **filter_: Unpack[BulkFilter]) -> Request[results.Bulk]:
    """Asks for an action over all tasks that the filter finds; all of its conditions must hold. When this returns, it
    is stored durably, and the engines begin.
    """
    return _CREATE.request(body={"action": action, "filter": settings_body(filter_, BulkFilter)})


def dry_run(action: Action, **filter_: Unpack[BulkFilter]) -> Request[results.BulkSight]:
    """What `create` would do now; nothing is changed."""
    body = {"action": action, "filter": settings_body(filter_, BulkFilter), "dryRun": True}
    return _DRY_RUN.request(body=body)


def list_(*, page_size: int = 100) -> Request[list[results.Bulk]]:
    """All bulk work, the newest first, page after page as it is needed."""
    return _LIST.request(query={"limit": page_size})


def get(bulk_id: str) -> Request[results.Bulk]:
    """How far it has come."""
    return _GET.request(bulk_id)


def cancel(bulk_id: str) -> Request[results.Bulk]:
    """Ends it where it stands; what it has changed stays so."""
    return _CANCEL.request(bulk_id)


def wait(bulk_id: str, timeout: float | timedelta = 60.0) -> Waiting[results.Bulk]:
    """The work once it has ended. Raises `TimeoutError` after `timeout` (in seconds)."""
    return Waiting(
        get(bulk_id),
        seconds(timeout),
        lambda bulk: bulk.is_final,
        lambda bulk: f"{bulk.state}, {bulk.seen} of {bulk.total} seen",
    )
