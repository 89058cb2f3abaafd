"""From the end of a task to the task that tells of it. Pure, and the same for every store: a store brings what it knows
of the task that ended and what its lane and its owner ask for, and keeps what is made here in the transaction that
keeps the end.

Whatever crashes, an end makes one callback: it is kept with the end, and its id comes from the end. A task that ends
once more, because its owner ran it again, has another end.
"""

import base64
import hashlib
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from tasks_server.domain import ids, limits, masking
from tasks_server.domain.attempt import Attempt, Event, EventFacts, OutcomeKind
from tasks_server.domain.callback import Callback, Callbacks, chosen
from tasks_server.domain.forms import decode_spec, encode_spec
from tasks_server.domain.lifecycle import EXPIRED_ERROR
from tasks_server.domain.request import HandlerCall, HttpRequest, TaskConfig, TaskSpec
from tasks_server.domain.task import NewTask, State, Task, handler_target
from tasks_server.domain.urls import read_url

FAILED: Final = "task.failed"
SUCCEEDED: Final = "task.succeeded"
MADE: Final = "callback_made"
"""The kind of the event on the timeline of the task that ended."""
NOT_MADE: Final = "callback_not_made"
_ENCODE: Final = msgspec.json.Encoder().encode


class End(msgspec.Struct, frozen=True):
    """How a task ended for good, as its last attempt or its expiry tells."""

    state: State
    at: int
    attempt: int
    """How many attempts there were."""
    failures: int
    status_code: int
    outcome: OutcomeKind
    error: str | None = None
    started_at: int | None = None
    response: bytes | None = None
    response_truncated: bool = False


class Ended(msgspec.Struct, frozen=True):
    """What is known of a task that ended, beside its end. `spec` is empty when it cannot be read."""

    id: str
    owner: str
    lane: str
    created_at: int
    metadata: dict[str, str] | None
    schedule: str | None
    fire_at: int
    callback_of: str | None
    spec: bytes
    of_lane: Callbacks
    of_owner: Callbacks


class Told(msgspec.Struct, frozen=True):
    """The callback, and what the timeline of the task that ended says of it."""

    task: NewTask | None
    event: Event


def tells(config: TaskConfig, state: State) -> bool | None:
    """Whether a task itself asks for a callback at this end. None: its lane and its owner decide."""
    asked = config.failure_callback if state is State.FAILED else config.success_callback
    if state not in (State.FAILED, State.COMPLETED):
        return False
    return None if asked is None else asked is not False


def asks_itself(spec: bytes, state: State) -> bool:
    """Whether the task of this spec asks for a callback at this end. One that cannot be read does not."""
    try:
        return bool(tells(decode_spec(spec).config, state))
    except msgspec.DecodeError:
        return False


def end_of_attempt(state: State, failures: int, attempt: Attempt) -> End:
    """The end that an attempt brought."""
    return End(
        state,
        attempt.ended_at,
        attempt.number,
        failures,
        attempt.status_code,
        attempt.outcome,
        attempt.error,
        attempt.started_at,
        attempt.response,
        attempt.response_truncated,
    )


def end_of_expiry(task: Task) -> End:
    """The end of a task that may not start any more; given as it is then."""
    return End(
        task.state, task.ended_at, task.attempt, task.failures, task.status_code, OutcomeKind.EXPIRED, EXPIRED_ERROR
    )


def told(ended: Ended, end: End) -> Told | None:
    """The callback of this end; None: nobody asks for one. A callback itself has none, so that there are no loops."""
    if ended.callback_of is not None:
        return None
    try:
        spec = decode_spec(ended.spec)
    except msgspec.DecodeError:
        spec = TaskSpec(None, TaskConfig())
    own = spec.config.failure_callback if end.state is State.FAILED else spec.config.success_callback
    callback = chosen(end.state, own, ended.of_lane.of(end.state), ended.of_owner.of(end.state))
    if callback is not None:
        task = _task_of(callback, ended, end, spec)
        return Told(task, _event(MADE, f"{task.id}, {_shown(callback)}", end))
    hidden = own is None and (ended.of_lane.unreadable or ended.of_owner.unreadable)
    return Told(None, _event(NOT_MADE, hidden, end)) if hidden else None


def _event(kind: str, detail: str, end: End) -> Event:
    return Event(end.at, kind, detail, EventFacts(end.attempt))


def _shown(callback: Callback) -> str:
    """What a callback calls, in one line."""
    if callback.url is None:
        return f"to the handler {callback.handler.name if callback.handler else '-'}"
    return f"{callback.method} {masking.shown_url(callback.url)}"


def _task_of(callback: Callback, ended: Ended, end: End, spec: TaskSpec) -> NewTask:
    """The task that tells of the end. It waits in a lane of its own, by default, and takes the place in its owner's
    queue that the other has left.
    """
    config = TaskConfig(
        execution_delay=0,
        retry=callback.retry,
        retry_interval=limits.CALLBACK_RETRY_WAIT_MS,
        retry_backoff="exponential",
        lane=callback.lane,
        failure_callback=False,
        success_callback=False,
    )
    body = _ENCODE(_body(ended, end, spec))
    if callback.handler is not None:
        stored = TaskSpec(None, config, handler=HandlerCall(callback.handler.name, body))
        target = handler_target(callback.handler.name)
    else:
        url, target = read_url(callback.url or "")
        stored = TaskSpec(HttpRequest(url, callback.method, headers=callback.headers, json=body), config)
    return NewTask(
        id=_id_of(ended.id, end),
        owner=ended.owner,
        lane=callback.lane,
        state=State.AVAILABLE,
        priority=config.priority,
        created_at=end.at,
        due_at=end.at,
        remaining_ms=0,
        target=target,
        spec=encode_spec(stored),
        callback_of=ended.id,
    )


def _id_of(task_id: str, end: End) -> str:
    """The same for the same end, however often it is asked."""
    named = f"callback {task_id} {end.attempt} {end.at}".encode()
    return ids.task_id(end.at, hashlib.sha256(named).digest()[: ids.TASK_ID_RANDOM_BYTES])


def _written(at: int) -> str:
    """An instant in ISO 8601.

    >>> _written(1_800_000_000_001)
    '2027-01-15T08:00:00.001Z'
    """
    return datetime.fromtimestamp(at / 1_000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _body(ended: Ended, end: End, spec: TaskSpec) -> dict[str, Any]:
    """What is told, in the form of Standard Webhooks: what happened, when, and to what. Secrets are masked."""
    response = None if end.response is None else end.response[: limits.CALLBACK_RESPONSE_MAX_BYTES]
    request, handler = spec.request, spec.handler
    return {
        "type": FAILED if end.state is State.FAILED else SUCCEEDED,
        "timestamp": _written(end.at),
        "data": {
            "id": ended.id,
            "handler": None if handler is None else handler.name,
            "method": None if request is None else request.method,
            "url": None if request is None else masking.shown_url(request.url),
            "lane": ended.lane,
            "metadata": masking.shown_entries(ended.metadata),
            "schedule": None if ended.schedule is None else {"id": ended.schedule, "fireAt": ended.fire_at},
            "state": "ERROR" if end.state is State.FAILED else "SUCCESS",
            "attempts": end.attempt,
            "failures": end.failures,
            "outcome": end.outcome.value,
            "statusCode": end.status_code,
            "error": end.error,
            "response": None if response is None else base64.b64encode(response).decode("ascii"),
            "responseTruncated": end.response_truncated
            or (end.response is not None and response is not None and len(response) < len(end.response)),
            "createdAt": ended.created_at,
            "startedAt": end.started_at,
            "endedAt": end.at,
        },
    }
