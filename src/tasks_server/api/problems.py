"""Every error of the API: its stable code, its status, and the one shape it is answered in (RFC 9457)."""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from tasks_server.api.exchange import Answer, Headers
from tasks_server.api.throttle import rate_limit_headers
from tasks_server.domain import limits
from tasks_server.domain.errors import (
    Busy,
    Conflict,
    Fault,
    Forbidden,
    InvalidRequest,
    NotFound,
    Overloaded,
    Refused,
    RequestError,
    TasksServerError,
    Throttled,
    TooLarge,
    TooSlow,
    Unauthorized,
    Unavailable,
    Unreadable,
    UnsupportedEncoding,
)

CONTENT_TYPE: Final = b"application/problem+json"
_RETRY_STORE_SECONDS: Final = 2


class Code(msgspec.Struct, frozen=True):
    """A stable error code: the status it comes with, and what it means."""

    status: int
    title: str
    meaning: str


CODES: Final[Mapping[str, Code]] = {
    "malformed_body": Code(400, "Malformed body", "The body ends too early, or its chunks are malformed."),
    "malformed_json": Code(400, "Malformed JSON", "The body is not JSON (RFC 8259), or is nested too deep."),
    "content_type_invalid": Code(400, "Wrong content type", "Bodies are sent as application/json in UTF-8."),
    "content_encoding_unsupported": Code(415, "Compressed body", "Bodies are sent plain, with no Content-Encoding."),
    "invalid_request": Code(400, "Invalid request", "Fields are unknown, missing or out of bounds; see `errors`."),
    "host_invalid": Code(400, "Host invalid", "The request has no Host, several, or one that is none (RFC 9112, 3.2)."),
    "key_invalid": Code(401, "Wrong key", "The key is not, or no longer, a key of this owner."),
    "credentials_missing": Code(401, "Credentials missing", "The request has no `Authorization: Bearer <key>`."),
    "credentials_malformed": Code(401, "Credentials malformed", "The key or the owner id has not the form of one."),
    "owner_unknown": Code(401, "Owner unknown", "There is no owner of this id."),
    "owner_missing": Code(403, "Owner missing", "The admin key must name an owner by X-Tasks-Owner-Id here."),
    "admin_required": Code(403, "Admin key required", "Only the operator's admin key may do this."),
    "key_read_only": Code(403, "Key may only look", "A read-only admin key may GET, and nothing else."),
    "registration_closed": Code(401, "Registration closed", "New owners are registered with the admin key only."),
    "owner_suspended": Code(403, "Owner suspended", "The operator has suspended the owner, and alone can resume it."),
    "lane_held": Code(403, "Lane held", "The operator paused the lane; its owner cannot resume it."),
    "host_unknown": Code(403, "Host unknown", "Without a key, the server does not answer under this Host; see limits."),
    "cross_site": Code(403, "Cross-site request", "A page of another site sent a request without a key."),
    "task_not_found": Code(404, "Task not found", "There is no task of this id, or it belongs to another owner."),
    "schedule_not_found": Code(404, "Schedule not found", "There is no schedule of this id or name, or not of yours."),
    "bulk_not_found": Code(404, "Bulk work not found", "There is no bulk work of this id, or not of yours."),
    "lane_not_found": Code(404, "Lane not found", "No task of the owner has used a lane of this name; PUT makes it."),
    "owner_not_found": Code(404, "Owner not found", "There is no owner of this name, or it is not yours."),
    "key_not_found": Code(404, "Key not found", "The owner has no key of this id."),
    "path_not_found": Code(404, "Path not found", "Nothing is served at this path."),
    "method_not_allowed": Code(405, "Method not allowed", "The path exists; `Allow` lists its methods."),
    "body_timeout": Code(408, "Body too slow", "The body did not come, or came too slowly; see limits."),
    "owner_name_taken": Code(409, "Name taken", "Another owner has this name."),
    "certificates_unexamined": Code(409, "Changed meanwhile", "Somebody else changed it at the same time; repeat it."),
    "task_not_pending": Code(409, "Task not pending", "`/tasks` changes and cancels only what has not begun."),
    "task_cancelled": Code(409, "Task cancelled", "`/tasks` changes and cancels no task that is cancelled already."),
    "schedule_name_taken": Code(409, "Schedule name taken", "Another schedule of the owner has this name."),
    "idempotency_key_reused": Code(409, "Idempotency key reused", "The key was used for another request within 24 h."),
    "body_too_large": Code(413, "Body too large", "The body is over its limit."),
    "state_refuses": Code(422, "State does not allow it", "The task's state does not allow this; nothing was changed."),
    "stored_unreadable": Code(
        422,
        "Not readable",
        "What is stored of it is damaged, or of another version or key: `detail` says what, and how to mend it.",
    ),
    "search_too_long": Code(422, "Search too long", "The filters fit few among very many; narrow them."),
    "queue_full": Code(422, "Queue full", "The owner has as many tasks in queue as it may have."),
    "schedules_full": Code(422, "Schedules full", "The owner has as many schedules as it may have."),
    "bulks_full": Code(422, "Bulk work full", "The owner has as much bulk work open as it may have."),
    "lanes_full": Code(422, "Lanes full", "The owner has as many lanes as may be set up."),
    "lane_in_use": Code(422, "Lane in use", "A lane is deleted once none of its tasks is in queue."),
    "owner_has_tasks": Code(422, "Owner has tasks", "An owner is removed once no task of it is in queue."),
    "keys_full": Code(422, "Keys full", "An owner has at most two live keys."),
    "last_key": Code(422, "Last key", "The last key of an owner cannot be removed."),
    "throttled": Code(429, "Too many requests", "Too many requests in the window; `Retry-After` says when to go on."),
    "bodies_full": Code(503, "Bodies full", "The bodies of all requests hold what they may; try again in a moment."),
    "internal_error": Code(500, "Internal error", "A fault of the server; its log names it by the X-Request-Id."),
    "store_error": Code(500, "Store error", "The database refused; the server's log says why."),
    "store_corrupt": Code(500, "Store corrupt", "The database is damaged, or sealed under another key."),
    "store_schema_out_of_date": Code(500, "Schema out of date", "The database fits another version of the server."),
    "store_unavailable": Code(503, "Store unavailable", "The database cannot take it now; nothing was stored."),
    "store_gone": Code(503, "Store gone", "The database was removed, moved or replaced; the server's log says more."),
    "store_read_only": Code(503, "Store read-only", "The database takes no writes now; nothing was stored."),
    "store_outcome_unknown": Code(
        503,
        "Outcome unknown",
        "The database went away in the middle; whether it was done is not known. Look, or repeat it; an"
        " Idempotency-Key keeps a repeated registration from being a second task.",
    ),
    "store_busy": Code(503, "Store busy", "Another process holds the database for too long; nothing was stored."),
}

STATUSES: Final[Sequence[tuple[type[TasksServerError], int]]] = (
    (UnsupportedEncoding, 415),
    (InvalidRequest, 400),
    (Unauthorized, 401),
    (Forbidden, 403),
    (NotFound, 404),
    (Conflict, 409),
    (TooSlow, 408),
    (TooLarge, 413),
    (Refused, 422),
    (Unreadable, 422),
    (Throttled, 429),
    (Overloaded, 503),
    (Unavailable, 503),
    (Busy, 503),
)
"""Which status each class of error is answered with; any other is a 500. A test holds it against `CODES`."""


class Problem(msgspec.Struct, omit_defaults=True):
    """An error as it is answered. `action` and `message` are for clients of the first version."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    action: str
    message: str
    errors: list[Fault] | None = None


class MethodNotAllowed(RequestError):
    """The path is known, with other methods."""

    code = "method_not_allowed"

    def __init__(self, method: str, allowed: Sequence[str]) -> None:
        super().__init__(f"{method[:16]} is not served here; allowed: {', '.join(allowed)}")
        self.allowed = tuple(allowed)


def status_of(error: Exception) -> int:
    """The status that an error is answered with."""
    if isinstance(error, MethodNotAllowed):
        return 405
    return next((status for kind, status in STATUSES if isinstance(error, kind)), 500)


def problem(error: Exception, action: str) -> Answer:
    """The answer to an error. Of an error of ours that the caller cannot mend, it tells no more than its code."""
    status = status_of(error)
    code = error.code if isinstance(error, TasksServerError) else "internal_error"
    known = CODES[code]
    detail = error.message if isinstance(error, RequestError | Unreadable) else known.meaning
    faults: list[Fault] | None = None
    if isinstance(error, InvalidRequest):
        faults = list(error.faults[: limits.FAULTS_MAX])
        rest = len(error.faults) - len(faults)
        detail += f" ({rest} of them are not listed)" if rest else ""
        detail += f" ({error.unread} more tasks were not looked at)" if error.unread else ""
    body = msgspec.json.encode(
        Problem(f"/docs#error-{code}", known.title, status, detail, code, action, detail, faults)
    )
    return Answer(status, body, CONTENT_TYPE, _headers(error, status))


def _headers(error: Exception, status: int) -> Headers:
    if isinstance(error, MethodNotAllowed):
        return ((b"allow", ", ".join(error.allowed).encode()),)
    if isinstance(error, Throttled):
        wait = error.retry_after_seconds
        return ((b"retry-after", b"%d" % wait), *rate_limit_headers(error.limit, 0, wait))
    if isinstance(error, UnsupportedEncoding):
        return ((b"accept-encoding", b"identity"),)
    if status == 401:
        return ((b"www-authenticate", b'Bearer realm="tasks-server"'),)
    if status == 503:
        return ((b"retry-after", b"%d" % _RETRY_STORE_SECONDS),)
    return ()
