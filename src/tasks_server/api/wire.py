"""JSON of `/v1`, both ways: bodies into drafts, tasks and owners into what clients see.

Canonical bodies are decoded in one go into the very structs that are stored. What the decoder refuses is read again
thoroughly by `domain.validation`, which understands more forms and names every fault.
"""

import base64
import json
from datetime import tzinfo
from typing import Annotated, Any, Final

import msgspec
from msgspec import UNSET, Meta

from tasks_server.api.states import Readable, state_word
from tasks_server.domain import asked, encodings, limits, masking, reading, shapes, validation, words
from tasks_server.domain.abilities import Abilities
from tasks_server.domain.attempt import Attempt, OutcomeKind, Redirected
from tasks_server.domain.egress import Egress
from tasks_server.domain.errors import Fault, InvalidRequest, Unreadable
from tasks_server.domain.handler_reading import HandlerRegistration
from tasks_server.domain.json_text import Kept, check_encoding, deeper_than, opened
from tasks_server.domain.notes import Notes
from tasks_server.domain.opening import opened_spec
from tasks_server.domain.request import TaskSpec
from tasks_server.domain.signing import Signing
from tasks_server.domain.stored import together
from tasks_server.domain.task import Task
from tasks_server.domain.validation import Draft, Registration

_LOOKED_INTO_BYTES: Final = 131_072
"""Of a body up to here, it is looked for what keeps it from being JSON; of a larger one that would take too long."""
_NESTING_MAX: Final = 64
"""Levels of any body; `data` has its own, lower limit."""


# What comes in


class SigningRotation(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """How long the secret before stays valid beside the new one, in seconds."""

    overlap_seconds: Annotated[int, Meta(ge=0, le=limits.SIGNING_OVERLAP_MAX_SECONDS)] = (
        limits.SIGNING_OVERLAP_DEFAULT_SECONDS
    )


class SigningPatch(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Whether calls are signed."""

    enabled: bool


class TaskPatch(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """What a merge patch may hold; the merged whole is judged as a registration."""

    http_request: dict[str, Any] | None = None
    handler: dict[str, Any] | None = None
    config: dict[str, Any] | None = None
    metadata: dict[str, str | None] | None = None


_REGISTRATION: Final = msgspec.json.Decoder(Registration)
_HANDLER: Final = msgspec.json.Decoder(HandlerRegistration)
UNFIT: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What a decoder raises for a body that is none of its type, or no JSON."""
_NOTHING: Final[Kept] = {}


def read_json(body: bytes, kept: Kept | None = _NOTHING) -> Any:
    """Any JSON value, of which what `kept` names is not taken apart (`AS_IT_CAME`: nothing is). Raises `InvalidRequest`
    when the body is none, saying what it is.
    """
    body = encodings.unmarked(body)
    try:
        check_encoding(body)
        value = opened(body, kept)
    except RecursionError:
        value, message = None, "is nested too deep"
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        value, message = None, why_not_json(body, error)
    else:
        message = "is nested too deep" if deeper_than(body, _NESTING_MAX) else ""
    if message:
        raise InvalidRequest([Fault("body", message)], code="malformed_json")
    return value


def why_not_json(body: bytes, error: Exception) -> str:
    """What is wrong with a body that a decoder did not take for JSON."""
    if not body:
        return "is empty, JSON was expected"
    if (other := encodings.other_than_utf8(body)) is not None:
        return other
    if _has_half_a_pair(body):
        return "is not JSON: a text in it has half of a surrogate pair, \\ud800 to \\udfff, which is no character"
    return f"is not JSON: {error}"


def _has_half_a_pair(body: bytes) -> bool:
    """Whether it would be JSON, were it not for a surrogate alone. The decoder may call that truncated."""
    if b"\\u" not in body or len(body) > _LOOKED_INTO_BYTES:
        return False
    try:
        json.dumps(json.loads(body), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    except (ValueError, RecursionError):
        return False
    return False


def read_draft(body: bytes, now: int, zone: tzinfo, egress: Egress, abilities: Abilities, field: str = "") -> Draft:
    """The task that a body asks for; faults are told below `field`. Raises `InvalidRequest` with every fault."""
    try:
        return validation.judge(_REGISTRATION.decode(body), now, egress, abilities)
    except UNFIT:
        return _read_handler_draft(body, now, egress) or validation.read(
            read_json(body, asked.KEPT), now, zone, field, egress=egress, abilities=abilities
        )


def _read_handler_draft(body: bytes, now: int, egress: Egress) -> Draft | None:
    """The draft of a canonical task that runs a handler; None: the body is none."""
    try:
        return validation.judge_handler(_HANDLER.decode(body), now, egress)
    except UNFIT:
        return None


def read_signing_rotation(body: bytes) -> SigningRotation:
    """An empty body asks for the defaults. Raises `InvalidRequest` with every fault."""
    return msgspec.convert(read_fields(SigningRotation, body or b"{}"), SigningRotation)


def read_signing_patch(body: bytes) -> SigningPatch:
    """Raises `InvalidRequest` with every fault."""
    return msgspec.convert(read_fields(SigningPatch, body), SigningPatch)


def read_fields(wanted: type[msgspec.Struct], body: bytes) -> dict[str, Any]:
    """The fields of a body, for `msgspec.convert`. Raises `InvalidRequest` with every fault."""
    raw = read_json(body)
    if not isinstance(raw, dict):
        raise InvalidRequest([Fault("body", "must be a JSON object", shapes.shown(raw), "an object")])
    fields: dict[str, Any] = words.spelled(wanted, {name: reading.whole(value) for name, value in raw.items()})
    faults = list(shapes.struct_faults(wanted, fields, ""))
    if faults:
        raise InvalidRequest(faults)
    return fields


# What goes out


class DoneView(msgspec.Struct):
    """It is done."""

    status: str


class TaskHeadView(Readable, rename="camel"):
    """Where a task stands. Instants are ms since the epoch, 0: not yet. A `state` that this version does not know is
    UNREADABLE.
    """

    id: str
    state: str
    created_at: int
    status_code: int
    estimate_end_at: int
    estimate_execution_at: int


class ListedTaskView(TaskHeadView, rename="camel"):
    """A task in a list, with what it is: a request by its `method` and `url`, secrets masked, or the name of a
    `handler`; the others are null.
    """

    method: str | None
    url: str | None
    handler: str | None
    lane: str
    metadata: dict[str, str] | None


class TaskView(TaskHeadView, rename="camel"):
    """A task. `response` is base64 of what the target answered last, or of the reason why there is no answer."""

    response: str | None
    metadata: dict[str, str] | None


class ScheduleRunView(msgspec.Struct, rename="camel"):
    """Which schedule made a task, and for which fire time (ms since the epoch)."""

    id: str
    fire_at: int


class TaskDetailView(TaskView, rename="camel"):
    """A task with where it stands. `phase` tells what `state` sums up as RUNNING. With `responseTruncated`, `response`
    is the first part of what the target answered: as much as is kept. `callbackOf`: the task of whose end it tells.
    """

    phase: str
    lane: str
    priority: int
    attempts: int
    failures: int
    repeats: int
    error: str | None
    expire_at: int | None
    schedule: ScheduleRunView | None
    callback_of: str | None
    response_truncated: bool


class SpecView(msgspec.Struct, rename="camel"):
    """What was registered, with the defaults filled in and secrets masked."""

    http_request: dict[str, Any] | None
    config: dict[str, Any]
    metadata: dict[str, str] | None
    handler: dict[str, Any] | None = None
    """The name and the payload of a task that runs a handler."""


class LineView(msgspec.Struct):
    """A line that a handler logged, at an instant."""

    at: int
    text: str


class NotesView(msgspec.Struct):
    """What a handler noted of an attempt. `at`: when last; `progress`: from 0 to 1, null when it told none, and what it
    says of it; `dropped`: how many lines before these are not kept.
    """

    at: int
    progress: float | None
    message: str | None
    lines: list[LineView]
    dropped: int


class AttemptView(Readable, rename="camel"):
    """One try of a task. `late` is how many ms it began after it was due. `responseTruncated`: of the answer only the
    first part was kept. `redirected`: where redirects led, null where none was followed. `notes`: what the handler
    noted, null when it noted nothing.
    """

    number: int
    due_at: int
    started_at: int
    ended_at: int
    late: int
    outcome: str
    status_code: int
    error: str | None
    response_truncated: bool
    redirected: Redirected | None
    notes: NotesView | None


class SigningSecretView(msgspec.Struct, rename="camel"):
    """A secret that calls are signed with. `expiresAt` is set once a newer one has taken its place. Only the owner
    itself sees `secret`; the operator sees null.
    """

    id: str
    secret: str | None
    created_at: int
    expires_at: int | None


class SigningView(msgspec.Struct, rename="camel"):
    """How an owner's calls are signed: by every one of the secrets, newest first."""

    enabled: bool
    secrets: list[SigningSecretView]


encode: Final = msgspec.json.Encoder().encode
DONE: Final = encode(DoneView("Done"))


def listed_task_view(task: Task, stored: bytes) -> ListedTaskView:
    """`stored`: its spec, empty where that cannot be read."""
    unreadable, request, handler = task.unreadable, None, None
    try:
        spec = opened_spec(stored, unreadable)
        request, handler = spec.request, spec.handler
    except Unreadable as error:
        unreadable = together(unreadable, error.message) if error.message != unreadable else unreadable
    return ListedTaskView(
        task.id,
        state_word(task),
        task.created_at,
        task.status_code,
        task.ended_at,
        task.execution_at,
        request.method if request is not None else None,
        masking.shown_url(request.url) if request is not None else None,
        handler.name if handler is not None else None,
        task.lane,
        masking.shown_entries(task.metadata),
        unreadable=unreadable or UNSET,
    )


def task_view(task: Task) -> TaskDetailView:
    return TaskDetailView(
        id=task.id,
        state=state_word(task),
        created_at=task.created_at,
        status_code=task.status_code,
        estimate_end_at=task.ended_at,
        estimate_execution_at=task.execution_at,
        response=_response(task),
        response_truncated=task.response_truncated,
        metadata=masking.shown_entries(task.metadata),
        phase=task.state.value,
        lane=task.lane,
        priority=task.priority,
        attempts=task.attempt,
        failures=task.failures,
        repeats=task.repeats,
        error=task.error,
        expire_at=task.expire_at,
        schedule=None if task.schedule is None else ScheduleRunView(task.schedule, task.fire_at),
        callback_of=task.callback_of,
        unreadable=task.unreadable or UNSET,
    )


def _response(task: Task) -> str | None:
    if task.response:
        return base64.b64encode(task.response).decode("ascii")
    if task.outcome is OutcomeKind.HTTP_ERROR or not task.error:  # the target answered, without a body
        return None
    return base64.b64encode(task.error.encode()).decode("ascii")


def spec_view(spec: TaskSpec, metadata: dict[str, str] | None) -> SpecView:
    return SpecView(
        http_request=masking.shown_request(spec.request) if spec.request is not None else None,
        config=masking.shown_config(spec),
        metadata=masking.shown_entries(metadata),
        handler=masking.shown_handler(spec.handler) if spec.handler is not None else None,
    )


def attempt_view(attempt: Attempt) -> AttemptView:
    return AttemptView(
        number=attempt.number,
        due_at=attempt.due_at,
        started_at=attempt.started_at,
        ended_at=attempt.ended_at,
        late=attempt.started_at - attempt.due_at,
        outcome=attempt.outcome.value,
        status_code=attempt.status_code,
        error=attempt.error,
        response_truncated=attempt.response_truncated,
        redirected=attempt.redirected,
        notes=notes_view(attempt.notes),
        unreadable=attempt.unreadable or UNSET,
    )


def notes_view(notes: Notes | None) -> NotesView | None:
    if notes is None:
        return None
    lines = [LineView(line.at, line.text) for line in notes.lines]
    return NotesView(notes.at, notes.progress, notes.message, lines, notes.dropped)


def signing_view(signing: Signing, *, reveal: bool) -> SigningView:
    secrets = [
        SigningSecretView(secret.id, secret.text if reveal else None, secret.created_at, secret.expires_at)
        for secret in signing.secrets
    ]
    return SigningView(signing.enabled, secrets)
