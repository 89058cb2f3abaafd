"""Answers about owners, their keys and secrets."""

from collections.abc import Iterator

from tasks_server.client.results.base import Result, Secretive


class OwnerKey(Result, frozen=True):
    """A live key of an owner, without its secret. `last_used_at` is right to a few minutes; None: never."""

    key_id: str
    created_at: int
    last_used_at: int | None


class ListedOwner(Result, frozen=True):
    """An owner. `tasks_in_queue` counts every task that is not final; `retention_days` is for how long its history is
    kept, None: as long as the operator keeps all; `requests_per_minute` None: as many as of all others. While it is
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


class Owner(ListedOwner, frozen=True):
    """An owner with its keys."""

    keys: list[OwnerKey]


class RegisteredOwner(Secretive, frozen=True):
    """A new owner with its first key, which the server shows this once."""

    id: str
    key: str
    name: str
    key_id: str


class IssuedKey(Secretive, frozen=True):
    """A new key, which the server shows this once."""

    key_id: str
    key: str


class SigningSecret(Secretive, frozen=True):
    """A secret that calls are signed with. `expires_at` is set once a newer one has taken its place; only the owner
    sees `secret`, the operator sees None.
    """

    id: str
    secret: str | None
    created_at: int
    expires_at: int | None


class Signing(Result, frozen=True):
    """How an owner's calls are signed: by every one of the secrets, newest first."""

    enabled: bool
    secrets: list[SigningSecret]

    def __iter__(self) -> Iterator[SigningSecret]:
        return iter(self.secrets)

    def __len__(self) -> int:
        return len(self.secrets)
