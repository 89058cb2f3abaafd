"""Tasks: `/v1/queues`."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Final, Literal, Unpack
from uuid import uuid4

from tasks_server.client import results
from tasks_server.client.bodies import millis, task_body, task_patch
from tasks_server.client.options import Instant, TaskFields
from tasks_server.client.protocol import Request, Route
from tasks_server.client.waiting import Waiting, seconds

_NOTHING: Final = type(None)
_REGISTER: Final = Route("POST", "/v1/queues/register", results.NewTask)
_BATCH: Final = Route("POST", "/v1/queues/batch", results.Batch)
_LIST: Final = Route("GET", "/v1/queues", list[results.ListedTask])
_GET: Final = Route("GET", "/v1/queues/{id}", results.TaskDetail)
_CONFIG: Final = Route("GET", "/v1/queues/{id}/config", results.Spec)
_ATTEMPTS: Final = Route("GET", "/v1/queues/{id}/attempts", list[results.Attempt])
_TIMELINE: Final = Route("GET", "/v1/queues/{id}/timeline", list[results.TimelineEntry])
_EXPLAIN: Final = Route("GET", "/v1/queues/{id}/explain", results.Explanation)
_EDIT: Final = Route("PATCH", "/v1/queues/{id}", results.TaskDetail)
_DELETE: Final = Route("DELETE", "/v1/queues/{id}", _NOTHING)
_PAUSE: Final = Route("PATCH", "/v1/queues/{id}/pause", _NOTHING)
_RESUME: Final = Route("PATCH", "/v1/queues/{id}/resume", results.TaskDetail)
_REVOKE: Final = Route("PATCH", "/v1/queues/{id}/revoke", _NOTHING)
_EXECUTE: Final = Route("POST", "/v1/queues/{id}/execute", _NOTHING)
_RETRY: Final = Route("POST", "/v1/queues/{id}/retry", results.TaskDetail)


def register(*, idempotency_key: str | None = None, **task: Unpack[TaskFields]) -> Request[results.NewTask]:
    """Registers a task; when this returns, it is stored durably. `idempotency_key`: the same key and task within 24 h
    give the first task instead of a second one, whoever asks; unless it is given, each call has a key of its own, so
    that its retries make one task.
    """
    return registration(task_body(task), uuid4().hex if idempotency_key is None else idempotency_key)


def registration(body: object, key: str) -> Request[results.NewTask]:
    """A registration of a body that is made already."""
    return _REGISTER.request(body=body).keyed(key)


def register_batch(tasks: Iterable[TaskFields], *, idempotency_key: str | None = None) -> Request[results.Batch]:
    """Registers up to 1 000 tasks, all or none. `idempotency_key`: as for `register`, of all of them together; the same
    key and tasks give those of the first time, without responses.
    """
    body = {"tasks": [task_body(task) for task in tasks]}
    return _BATCH.request(body=body).keyed(uuid4().hex if idempotency_key is None else idempotency_key)


def list_(
    *,
    state: results.State | Sequence[results.State] | None = None,
    lane: str | None = None,
    schedule: str | None = None,
    host: str | None = None,
    handler: str | None = None,
    status_code: int | str | None = None,
    created_since: Instant | None = None,
    created_until: Instant | None = None,
    ended_since: Instant | None = None,
    ended_until: Instant | None = None,
    metadata: Mapping[str, str] | None = None,
    order: Literal["createdAt", "estimateEndAt", "estimateExecutionAt"] | None = None,
    sort: Literal["asc", "desc"] | None = None,
    page_size: int = 100,
) -> Request[list[results.ListedTask]]:
    """All tasks that fit, page after page as they are needed. `schedule`: the id of the one that made them;
    `host`: with its port, or for any; `status_code`: such as 404 or 5xx, 0 for no answer; `…_since` is inside,
    `…_until` is not.
    """
    entries = {f"metadata.{key}": value for key, value in (metadata or {}).items()}
    ended = {"endedSince": millis(ended_since), "endedUntil": millis(ended_until)}
    created = {"createdSince": millis(created_since), "createdUntil": millis(created_until)}
    made = {"lane": lane, "schedule": schedule, "host": host, "handler": handler}
    narrowed = {"state": state, "statusCode": status_code, **made, **created, **ended, **entries}
    query = {"limit": page_size, "order": order, "sort": sort, **narrowed}
    return _LIST.request(query=query)


def get(task_id: str) -> Request[results.TaskDetail]:
    """The task as it is now."""
    return _GET.request(task_id)


def config(task_id: str) -> Request[results.Spec]:
    """What was registered, with the defaults filled in; secrets are masked."""
    return _CONFIG.request(task_id)


def attempts(task_id: str) -> Request[list[results.Attempt]]:
    """The attempts so far, oldest first."""
    return _ATTEMPTS.request(task_id)


def timeline(task_id: str) -> Request[list[results.TimelineEntry]]:
    """What happened to it, oldest first."""
    return _TIMELINE.request(task_id)


def explain(task_id: str) -> Request[results.Explanation]:
    """Why it has not run, and when it can."""
    return _EXPLAIN.request(task_id)


def edit(task_id: str, **changes: Unpack[TaskFields]) -> Request[results.TaskDetail]:
    """Changes what is named, while the task waits or is paused; None takes an option back."""
    return _EDIT.request(task_id, body=task_patch(changes))


def delete(task_id: str) -> Request[None]:
    """Removes it, in any state."""
    return _DELETE.request(task_id)


def pause(task_id: str) -> Request[None]:
    """Holds it; it keeps the rest of its wait."""
    return _PAUSE.request(task_id)


def resume(task_id: str) -> Request[results.TaskDetail]:
    """Lets a paused task go on from where it was."""
    return _RESUME.request(task_id)


def revoke(task_id: str) -> Request[None]:
    """Stops it for good; an attempt in flight is dropped."""
    return _REVOKE.request(task_id)


def execute(task_id: str) -> Request[None]:
    """Runs it now instead of when it is due."""
    return _EXECUTE.request(task_id)


def retry(task_id: str) -> Request[results.TaskDetail]:
    """Runs a final task again, with a fresh budget of retries."""
    return _RETRY.request(task_id)


def wait(task_id: str, timeout: float | timedelta = 60.0) -> Waiting[results.TaskDetail]:
    """The task once it is over: SUCCESS, ERROR or REVOKED. Raises `TimeoutError` after `timeout` (in seconds)."""
    return Waiting(get(task_id), seconds(timeout), lambda task: task.is_final, lambda task: task.phase)
