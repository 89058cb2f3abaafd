"""Handlers run by their names: `/tasks`, in the words of that API."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, Literal, TypeAlias, Unpack
from uuid import uuid4

from tasks_server.client import results
from tasks_server.client.bodies import check_names, iso, local
from tasks_server.client.options import HandlerOptions
from tasks_server.client.protocol import Request, Route

Status: TypeAlias = Literal["pending", "processing", "completed", "failed", "paused", "cancelled"]

_PATH: Final = "/tasks/{id}"
_CREATE: Final = Route("POST", "/tasks", results.Created)
_LIST: Final = Route("GET", "/tasks", list[results.ListedHandlerTask])
_GET: Final = Route("GET", _PATH, results.HandlerTask)
_RESCHEDULE: Final = Route("PATCH", _PATH, results.HandlerTask)
_DELETE: Final = Route("DELETE", _PATH, type(None), done_by="task_cancelled")


def create(
    task_name: str,
    payload: Any = None,
    *,
    scheduled_at: datetime | str | None = None,
    timezone: str | None = None,
    idempotency_key: str | None = None,
    **options: Unpack[HandlerOptions],
) -> Request[results.Created]:
    """Runs a handler once, now or at `scheduled_at`; a date without a zone counts in `timezone`. What is not given is
    as the handler is registered. Tried again, it is one task, as with `tasks.register`.
    """
    at = iso(local(scheduled_at, timezone))
    body = _body(options, task_name=task_name, payload=payload, scheduled_at=at, timezone=timezone)
    return _CREATE.request(body=body).keyed(uuid4().hex if idempotency_key is None else idempotency_key)


def create_recurring(
    task_name: str,
    schedule: str,
    payload: Any = None,
    *,
    timezone: str | None = None,
    name: str | None = None,
    **options: Unpack[HandlerOptions],
) -> Request[results.Created]:
    """Runs a handler again and again, by cron: makes a schedule, and gives its id. `schedules.put` does more."""
    body = _body(options, task_name=task_name, payload=payload, schedule=schedule, timezone=timezone, name=name)
    return _CREATE.request(body={"type": "recurring", **body})


def list_(
    *,
    task_name: str | None = None,
    status: Status | Sequence[Status] | None = None,
    priority: int | None = None,
    scheduled_after: datetime | str | None = None,
    scheduled_before: datetime | str | None = None,
    created_after: datetime | str | None = None,
    created_before: datetime | str | None = None,
    page_size: int = 100,
) -> Request[list[results.ListedHandlerTask]]:
    """All that run handlers and fit, the newest first, page after page as they are needed."""
    query = {
        "limit": page_size,
        "task_name": task_name,
        "status": status,
        "priority": priority,
        "scheduled_after": iso(scheduled_after),
        "scheduled_before": iso(scheduled_before),
        "created_after": iso(created_after),
        "created_before": iso(created_before),
    }
    return _LIST.request(query=query)


def get(task_id: str) -> Request[results.HandlerTask]:
    """The task as it is now, with the result of its handler."""
    return _GET.request(task_id)


def reschedule(
    task_id: str, scheduled_at: datetime | str, *, timezone: str | None = None
) -> Request[results.HandlerTask]:
    """Sets when it is due instead; a date without a zone counts in `timezone`. Only while it is pending, else
    `Conflict`.
    """
    body = {"scheduled_at": iso(local(scheduled_at, timezone))} | ({"timezone": timezone} if timezone else {})
    return _RESCHEDULE.request(task_id, body=body)


def delete(task_id: str) -> Request[None]:
    """Cancels it: it stays visible as `cancelled`. Only while it is pending, else `Conflict`."""
    return _DELETE.request(task_id)


def _body(options: HandlerOptions, **fields: object) -> dict[str, object]:
    """What is given. Raises `TypeError` for options that are unknown."""
    check_names(options, HandlerOptions)
    return {name: value for name, value in {**fields, **options}.items() if value is not None}
