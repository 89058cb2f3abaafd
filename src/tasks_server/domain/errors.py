"""Everything that can be refused or go wrong, as one tree with stable codes.

    TasksServerError
    ├── RequestError                 the caller can mend it
    │   ├── InvalidRequest           a field is malformed or out of bounds (carries every fault found)
    │   │   └── UnsupportedEncoding  the body is compressed
    │   ├── Unauthorized             the key is missing, malformed or wrong, or the owner is unknown
    │   ├── Forbidden                this key may not do this
    │   ├── NotFound                 no such thing, or not yours
    │   ├── Conflict                 taken, or an idempotency key used twice for different bodies
    │   ├── TooLarge                 the body is over its limit
    │   ├── TooSlow                  the body does not come, or comes too slowly
    │   ├── Overloaded               the bodies of all requests take up what they may
    │   ├── Refused                  well-formed, but the state of things does not allow it
    │   └── Throttled                too many requests in the time window
    ├── StoreError                   the store cannot do it
    │   ├── Unavailable              now; nothing was stored, try again later
    │   │   ├── Uncertain            it went away in the middle; whether it was done is not known
    │   │   ├── Gone                 its files are not there any more, or are others than it was opened with
    │   │   └── ReadOnly             nothing can be written to it
    │   ├── Busy                     another process holds the lock for too long
    │   ├── Corrupt                  the database file is damaged or not ours
    │   │   └── Unreadable           one thing in it is damaged, or of another version; all else is fine
    │   └── SchemaOutOfDate          the schema is newer or older than this program
    ├── SettingsError                a setting is unknown or out of bounds
    └── HandlersFailed               users' handlers cannot be imported

A failed delivery is no error: it is a value (`domain.attempt.Outcome`).
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import msgspec


class Fault(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing wrong with a request: the dotted path of the field, why, what was given, what is allowed."""

    field: str
    message: str
    given: Any = None
    allowed: Any = None


class TasksServerError(Exception):
    """The root. `code` is stable and part of the API; the message is for people."""

    code: ClassVar[str] = "internal_error"

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        if code is not None:
            self.code = code  # type: ignore[misc]  # an instance may be more precise than its class


_FAULTS_TOLD_MAX = 3
"""How many faults the message names; all of them are in `faults`."""


class RequestError(TasksServerError):
    code = "request_refused"


class InvalidRequest(RequestError):
    """Carries all the faults of one request, so that its sender mends them in one go."""

    code = "invalid_request"

    def __init__(self, faults: Sequence[Fault], *, code: str | None = None, unread: int = 0) -> None:
        self.faults = tuple(faults)
        self.unread = unread
        """How many tasks of a batch were not looked at, since there were faults enough."""
        told = [f"{fault.field}: {fault.message}" for fault in self.faults[:_FAULTS_TOLD_MAX]]
        rest = len(self.faults) - len(told)
        super().__init__("; ".join([*told, f"and {rest} more"] if rest else told), code=code)


class UnsupportedEncoding(InvalidRequest):
    code = "content_encoding_unsupported"


class Unauthorized(RequestError):
    code = "key_invalid"


class Forbidden(RequestError):
    code = "admin_required"


class NotFound(RequestError):
    """`scoped`: it may be there for others; who asked with a key that sees one owner's things is told so."""

    code = "task_not_found"

    def __init__(self, message: str, *, code: str | None = None, scoped: bool = False) -> None:
        super().__init__(message, code=code)
        self.scoped = scoped


class Conflict(RequestError):
    code = "conflict"


class TooLarge(RequestError):
    code = "body_too_large"


class TooSlow(RequestError):
    code = "body_timeout"


class Overloaded(RequestError):
    code = "bodies_full"


class Refused(RequestError):
    code = "state_refuses"


class Throttled(RequestError):
    """Carries how long to wait, in whole seconds, and the limit that was reached."""

    code = "throttled"

    def __init__(self, message: str, *, retry_after_seconds: int, limit: int) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds
        self.limit = limit


class StoreError(TasksServerError):
    code = "store_error"


class Unavailable(StoreError):
    code = "store_unavailable"


class Uncertain(Unavailable):
    code = "store_outcome_unknown"


class Gone(Unavailable):
    code = "store_gone"


class ReadOnly(Unavailable):
    code = "store_read_only"


class Busy(StoreError):
    code = "store_busy"


class Corrupt(StoreError):
    code = "store_corrupt"


class Unreadable(Corrupt):
    """The message says what cannot be read, why, and how to mend it, for whoever asked for it."""

    code = "stored_unreadable"


class SchemaOutOfDate(StoreError):
    code = "store_schema_out_of_date"


class SettingsError(TasksServerError):
    code = "settings_invalid"


class HandlersFailed(TasksServerError):
    """The message names the module and what was raised; the traceback is in the log."""

    code = "handlers_failed"
