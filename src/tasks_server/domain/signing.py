"""Signing by Standard Webhooks: an owner's secrets, their form, what rotation makes of them, a message's id.

Making the signature is in `engine.http.signature`, where the bytes to send are known.
"""

import base64
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from tasks_server.domain import limits
from tasks_server.domain.errors import Fault

_PREFIX: Final = "whsec_"
HEADER_PREFIX: Final = "webhook-"
"""Headers of this beginning are ours while calls are signed."""


class SigningSecret(msgspec.Struct, frozen=True):
    """A secret of an owner. `expires_at` is set once a newer one has taken its place."""

    id: str
    created_at: int
    key: bytes
    expires_at: int | None = None

    def __repr__(self) -> str:
        return f"SigningSecret({self.id})"  # the key must not reach a log by accident

    def valid_at(self, at: int) -> bool:
        return self.expires_at is None or at < self.expires_at

    @property
    def text(self) -> str:
        """The form in which receivers take it.

        >>> SigningSecret("s", 0, b"0123456789abcdef01234567").text
        'whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3'
        """
        return _PREFIX + base64.b64encode(self.key).decode("ascii")


class Signing(msgspec.Struct, frozen=True):
    """Whether an owner's calls are signed, and with what: newest first."""

    enabled: bool
    secrets: tuple[SigningSecret, ...]

    def keys(self, at: int) -> tuple[bytes, ...]:
        """The keys to sign with at that instant."""
        return tuple(secret.key for secret in self.secrets if secret.valid_at(at)) if self.enabled else ()


def rotated(secrets: Sequence[SigningSecret], new: SigningSecret, old_until: int) -> list[SigningSecret]:
    """All secrets once `new` has come: the newest of the others stays until `old_until` at the latest, and the rest
    goes, so that no call ever carries more signatures than `limits.SIGNING_SECRETS_MAX`.

    >>> first, second = SigningSecret("1", 0, b"a"), SigningSecret("2", 5, b"b")
    >>> [(secret.id, secret.expires_at) for secret in rotated([first], second, 15)]
    [('2', None), ('1', 15)]
    >>> rotated([first], second, 5)
    [SigningSecret(2)]
    """
    live = sorted((secret for secret in secrets if secret.valid_at(new.created_at)), key=_age, reverse=True)
    kept = [new]
    for secret in live[: limits.SIGNING_SECRETS_MAX - 1]:
        until = old_until if secret.expires_at is None else min(old_until, secret.expires_at)
        if until > new.created_at:
            kept.append(msgspec.structs.replace(secret, expires_at=until))
    return kept


def _age(secret: SigningSecret) -> tuple[int, str]:
    return secret.created_at, secret.id


def header_faults(names: Iterable[str], path: str) -> list[Fault]:
    """The faults of headers that a caller may not set while its calls are signed, by dotted path below `path`.

    >>> [fault.field for fault in header_faults(["Accept", "Webhook-Id"], "headers")]
    ['headers.Webhook-Id']
    """
    why = "cannot be set while calls are signed: webhook- headers are the signature's"
    return [Fault(f"{path}.{name}", why) for name in names if name.lower().startswith(HEADER_PREFIX)]


def message_id(task_id: str, repeats: int) -> str:
    """The id of the message that a call brings: the same over attempts, another one for each repeat. It holds no full
    stop, which parts the fields of what is signed.

    >>> message_id("01ABC", 0), message_id("01ABC", 2)
    ('01ABC', '01ABC-2')
    """
    return f"{task_id}-{repeats}" if repeats else task_id
