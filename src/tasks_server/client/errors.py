"""What goes wrong, by class: the answers of the API that are errors (RFC 9457), and answers that never came."""

from typing import Final

import msgspec

_FAULTS_SHOWN: Final = 5
_ALLOWED_SHOWN: Final = 12


class FieldFault(msgspec.Struct, frozen=True):
    """What is wrong with one field, named by a dotted path such as `httpRequest.data.0.value`."""

    field: str
    message: str
    given: object = None
    allowed: object = None

    def __str__(self) -> str:
        more = [] if self.given is None else [f"given {self.given!r}"]
        if self.allowed is not None:
            more.append(f"allowed {_listed(self.allowed)}")
        return f"{self.field}: {self.message}" + (f" ({'; '.join(more)})" if more else "")


def _listed(allowed: object) -> str:
    """What is allowed, for people; of a long list, its beginning."""
    if not isinstance(allowed, list | tuple):
        return str(allowed)
    shown = ", ".join(str(each) for each in allowed[:_ALLOWED_SHOWN])
    return shown if len(allowed) <= _ALLOWED_SHOWN else f"{shown} and {len(allowed) - _ALLOWED_SHOWN} more"


class Problem(msgspec.Struct, frozen=True):
    """What the server said of an error. `status` 0: it said nothing."""

    status: int = 0
    code: str = ""
    detail: str = ""
    errors: tuple[FieldFault, ...] = ()
    request_id: str | None = None
    retry_after: float | None = None
    """Seconds to wait before the next try."""


class TasksError(Exception):
    """An error of the API or on the way to it. `code` is stable, see docs/errors.md; `errors` has a line for each
    field that is wrong; `request_id` names the request in the server's log. `uncertain`: whether what was asked for may
    have been done nevertheless.
    """

    uncertain = False

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self.problem = problem
        self.status = problem.status
        self.code = problem.code
        self.detail = problem.detail
        self.errors = problem.errors
        self.request_id = problem.request_id
        self.retry_after = problem.retry_after

    def __str__(self) -> str:
        faults = [str(fault) for fault in self.errors[:_FAULTS_SHOWN]]
        if len(self.errors) > _FAULTS_SHOWN:
            faults.append(f"and {len(self.errors) - _FAULTS_SHOWN} more")
        said = "; ".join(faults) or self.detail  # where there are faults, the detail tells the first of them
        said = f"{self.status} {self.code}: {said}" if self.status else f"{self.code}: {said}"
        if self.uncertain:
            said += "; it may have been done nevertheless"
        return f"{said} (request {self.request_id})" if self.request_id else said


class InvalidRequest(TasksError):
    """400: fields are wrong; `errors` names them all."""


class Unauthorized(TasksError):
    """401: the key is missing, malformed or wrong."""


class Forbidden(TasksError):
    """403: this key may not do this."""


class NotFound(TasksError):
    """404: there is no such thing, or it belongs to another owner."""


class Conflict(TasksError):
    """409: a name is taken, or an idempotency key was used for another request."""


class TooLarge(TasksError):
    """413: the body is over its limit."""


class Refused(TasksError):
    """422: the state does not allow it, or a limit is reached."""


class Throttled(TasksError):
    """429: too many requests; `retry_after` says when to go on."""


class Unavailable(TasksError):
    """503: the server cannot do it now."""


class ConnectionFailed(TasksError):
    """No answer came, or the request cannot be sent at all. `uncertain` tells whether it may have arrived."""


BY_STATUS: Final[dict[int, type[TasksError]]] = {
    400: InvalidRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    413: TooLarge,
    422: Refused,
    429: Throttled,
    503: Unavailable,
}
"""Any other status raises `TasksError` itself."""
