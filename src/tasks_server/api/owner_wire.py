"""JSON of `/v1/owners`, both ways."""

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Final

import msgspec
from msgspec import UNSET, Meta, UnsetType

from tasks_server.api.wire import read_fields
from tasks_server.domain import limits
from tasks_server.domain.errors import Fault, InvalidRequest
from tasks_server.domain.owner import Owner, OwnerKey
from tasks_server.service.owners import IssuedKey, OwnerEdit

QueueLimit = Annotated[int, Meta(ge=0, le=limits.TASKS_IN_QUEUE_MAX_MAX)]
RequestsPerMinute = Annotated[int, Meta(ge=1, le=limits.REQUESTS_PER_MINUTE_MAX)]
RetentionDays = Annotated[
    float,
    Meta(
        gt=0,
        le=limits.RETENTION_DAYS_MAX,
        extra={"words": f"a number of days from 1/24 (one hour) to {limits.RETENTION_DAYS_MAX}"},
    ),
]
_PREFIX: Final = re.compile(rf"[a-z0-9-]{{0,{limits.OWNER_NAME_LENGTH_MAX}}}")
PREFIX_FORM: Final = f"at most {limits.OWNER_NAME_LENGTH_MAX} of a-z, 0-9 and hyphens"


class OwnerRegistration(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """An owner to register. Only the operator may set the limit."""

    name: str
    tasks_in_queue_limit: QueueLimit | None = None


class OwnerPatch(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """What may be changed of an owner: by itself how long its history is kept (null: as long as the operator keeps
    all), by the operator alone the rest: its limit, how many requests a minute each API process takes of it (null: as
    of all others), whether it is suspended.
    """

    tasks_in_queue_limit: QueueLimit | UnsetType = UNSET
    retention_days: RetentionDays | UnsetType | None = UNSET
    requests_per_minute: RequestsPerMinute | UnsetType | None = UNSET
    suspended: bool | UnsetType = UNSET


class KeyView(msgspec.Struct, rename="camel"):
    """A live key of an owner, without its secret. `lastUsedAt` is right to a few minutes; null: never."""

    key_id: str
    created_at: int
    last_used_at: int | None


class IssuedKeyView(msgspec.Struct, rename="camel"):
    """A new key, which is shown this once."""

    key_id: str
    key: str


class RegisteredOwnerView(msgspec.Struct, rename="camel"):
    """A new owner with its first key, which is shown this once."""

    id: str
    key: str
    name: str
    key_id: str


class ListedOwnerView(msgspec.Struct, rename="camel"):
    """An owner. `tasksInQueue` counts every task that is not final; `retentionDays` is for how long its history is
    kept, null: as long as the operator keeps all; `requestsPerMinute` null: as many as of all others. While it is
    suspended, its keys are refused and its tasks do not start.
    """

    id: str
    name: str
    created_at: int
    tasks_in_queue: int
    tasks_in_queue_limit: int
    retention_days: float | None
    requests_per_minute: int | None
    suspended: bool
    suspended_at: int | None


class OwnerView(ListedOwnerView, rename="camel"):
    """An owner with its keys."""

    keys: list[KeyView]


def read_owner_registration(body: bytes) -> OwnerRegistration:
    """Raises `InvalidRequest` with every fault."""
    return msgspec.convert(read_fields(OwnerRegistration, body), OwnerRegistration)


def read_owner_patch(body: bytes) -> OwnerEdit:
    """Raises `InvalidRequest` with every fault."""
    patch = msgspec.convert(read_fields(OwnerPatch, body), OwnerPatch)
    if patch == OwnerPatch():
        fields = list(msgspec.structs.fields(OwnerPatch))
        names = [field.encode_name for field in fields]
        raise InvalidRequest([Fault("body", f"must name what to change: {' or '.join(names)}", allowed=names)])
    days = patch.retention_days
    return OwnerEdit(
        tasks_in_queue_max=patch.tasks_in_queue_limit,
        retention_ms=round(days * limits.DAY_MS) if isinstance(days, float | int) else days,
        requests_max=patch.requests_per_minute,
        suspended=patch.suspended,
    )


def read_prefix(query: Mapping[str, str], faults: list[Fault]) -> str:
    """With what the names of owners begin that are asked for."""
    prefix = query.get("prefix", "")
    if _PREFIX.fullmatch(prefix):
        return prefix
    faults.append(Fault("query.prefix", f"must be {PREFIX_FORM}", prefix[:100], PREFIX_FORM))
    return ""


def read_cursor(query: Mapping[str, str], faults: list[Fault]) -> str:
    """The name of the owner after which the page begins."""
    cursor = query.get("cursor", "")
    if _PREFIX.fullmatch(cursor):
        return cursor
    faults.append(Fault("query.cursor", "is no cursor of this server; take it from the Link header", cursor[:100]))
    return ""


def key_view(key: OwnerKey) -> KeyView:
    return KeyView(key.id, key.created_at, key.used_at)


def listed_owner_view(owner: Owner) -> ListedOwnerView:
    return ListedOwnerView(
        id=owner.id,
        name=owner.name,
        created_at=owner.created_at,
        tasks_in_queue=owner.tasks_in_queue,
        tasks_in_queue_limit=owner.tasks_in_queue_max,
        retention_days=owner.retention_days,
        requests_per_minute=owner.requests_max,
        suspended=owner.suspended_at is not None,
        suspended_at=owner.suspended_at,
    )


def owner_view(owner: Owner, keys: Iterable[OwnerKey]) -> OwnerView:
    listed = listed_owner_view(owner)
    shown = {field.name: getattr(listed, field.name) for field in msgspec.structs.fields(listed)}
    return OwnerView(**shown, keys=[key_view(key) for key in keys])


def registered_owner_view(owner: Owner, issued: IssuedKey) -> RegisteredOwnerView:
    return RegisteredOwnerView(owner.id, issued.key, owner.name, issued.id)
