"""Owners, their keys and their signing secrets: `/v1/owners`."""

from datetime import timedelta
from typing import Final, Unpack

from msgspec import UNSET, UnsetType

from tasks_server.client import results
from tasks_server.client.bodies import settings_body
from tasks_server.client.options import OwnerCallbackFields
from tasks_server.client.protocol import Request, Route

_PATH: Final = "/v1/owners/{name}"
_REGISTER: Final = Route("POST", "/v1/owners/register", results.RegisteredOwner)
_LIST: Final = Route("GET", "/v1/owners", list[results.ListedOwner])
_GET: Final = Route("GET", _PATH, results.Owner)
_EDIT: Final = Route("PATCH", _PATH, results.Owner, harmless_twice=True)
_DELETE: Final = Route("DELETE", _PATH, type(None), harmless_twice=False)
_KEYS: Final = Route("GET", f"{_PATH}/keys", list[results.OwnerKey])
_ADD_KEY: Final = Route("POST", f"{_PATH}/keys", results.IssuedKey)
_DELETE_KEY: Final = Route("DELETE", f"{_PATH}/keys/{{keyId}}", type(None), harmless_twice=False)
_CALLBACKS: Final = Route("GET", f"{_PATH}/callbacks", results.Callbacks)
_EDIT_CALLBACKS: Final = Route("PATCH", f"{_PATH}/callbacks", results.Callbacks, harmless_twice=True)
_SIGNING: Final = Route("GET", f"{_PATH}/signing", results.Signing)
_EDIT_SIGNING: Final = Route("PATCH", f"{_PATH}/signing", results.Signing, harmless_twice=True)
_ROTATE_SIGNING: Final = Route("POST", f"{_PATH}/signing/rotate", results.Signing)


def register(name: str, *, tasks_in_queue_limit: int | None = None) -> Request[results.RegisteredOwner]:
    """Registers an owner; its key is in the answer, this once. Only the operator may set the limit."""
    limit = {} if tasks_in_queue_limit is None else {"tasksInQueueLimit": tasks_in_queue_limit}
    return _REGISTER.request(body={"name": name, **limit})


def list_(*, prefix: str | None = None, page_size: int = 100) -> Request[list[results.ListedOwner]]:
    """All owners by name, those whose name begins with `prefix`, page after page; takes an admin key."""
    given = {} if prefix is None else {"prefix": prefix}
    return _LIST.request(query={"limit": page_size, **given})


def get(name: str) -> Request[results.Owner]:
    """The owner, how many tasks it has in queue, its keys."""
    return _GET.request(name)


def edit(
    name: str,
    *,
    tasks_in_queue_limit: int | UnsetType = UNSET,
    retention_days: float | UnsetType | None = UNSET,
    requests_per_minute: int | UnsetType | None = UNSET,
    suspended: bool | UnsetType = UNSET,
) -> Request[results.Owner]:
    """Sets for how many days its history is kept, None: as all others'. The rest takes the admin key: its limit, how
    many requests a minute each API process takes of it (None: as of all others), whether it is suspended.
    """
    given = {
        "tasksInQueueLimit": tasks_in_queue_limit,
        "retentionDays": retention_days,
        "requestsPerMinute": requests_per_minute,
        "suspended": suspended,
    }
    return _EDIT.request(name, body={field: value for field, value in given.items() if value is not UNSET})


def delete(name: str) -> Request[None]:
    """Removes the owner, its keys and its finished tasks."""
    return _DELETE.request(name)


def suspend(name: str) -> Request[results.Owner]:
    """Has its keys refused and its tasks wait; takes the admin key. Those that run go on."""
    return edit(name, suspended=True)


def resume(name: str) -> Request[results.Owner]:
    """Lets an owner go on that was suspended; takes the admin key."""
    return edit(name, suspended=False)


def keys(name: str) -> Request[list[results.OwnerKey]]:
    """Its live keys, without their secrets, the oldest first."""
    return _KEYS.request(name)


def add_key(name: str) -> Request[results.IssuedKey]:
    """A second key for the owner, shown this once."""
    return _ADD_KEY.request(name)


def delete_key(name: str, key_id: str) -> Request[None]:
    """Takes a key away, at once."""
    return _DELETE_KEY.request(name, key_id)


def callbacks(name: str) -> Request[results.Callbacks]:
    """What is called when its tasks have ended."""
    return _CALLBACKS.request(name)


def edit_callbacks(name: str, **changes: Unpack[OwnerCallbackFields]) -> Request[results.Callbacks]:
    """Changes what is called from now on; None takes it away."""
    return _EDIT_CALLBACKS.request(name, body=settings_body(changes, OwnerCallbackFields))


def signing(name: str) -> Request[results.Signing]:
    """Whether calls are signed, and with what."""
    return _SIGNING.request(name)


def edit_signing(name: str, *, enabled: bool) -> Request[results.Signing]:
    """Switches signing on or off; the secrets stay."""
    return _EDIT_SIGNING.request(name, body={"enabled": enabled})


def rotate_signing(name: str, *, overlap_seconds: int | timedelta | None = None) -> Request[results.Signing]:
    """Makes a new secret; the one before stays valid for `overlap_seconds`, one day unless it is given."""
    seconds = int(overlap_seconds.total_seconds()) if isinstance(overlap_seconds, timedelta) else overlap_seconds
    return _ROTATE_SIGNING.request(name, body={} if seconds is None else {"overlapSeconds": seconds})
