"""Between stored signing secrets and the types of the domain, for all adapters; sealed, each bound to its owner."""

import os
from collections.abc import Iterable, Sequence
from typing import Any

from tasks_server.domain import ids, limits
from tasks_server.domain.errors import Corrupt
from tasks_server.domain.signing import Signing, SigningSecret
from tasks_server.store.sealing import Sealer, secret_context


def made_secret(created_at: int) -> SigningSecret:
    """A new secret, for an owner that has none since it was made then."""
    secret_id = ids.task_id(created_at, os.urandom(ids.TASK_ID_RANDOM_BYTES))
    return SigningSecret(secret_id, created_at, os.urandom(limits.SIGNING_SECRET_BYTES))


def secret_columns(sealer: Sealer, owner: int, owner_id: str, secret: SigningSecret) -> dict[str, Any]:
    """What `signing_insert` writes of a secret of an owner, given by handle and id."""
    return {
        "owner": owner,
        "id": secret.id,
        "created_at": secret.created_at,
        "expires_at": secret.expires_at,
        "secret": sealer.seal(secret.key, secret_context(owner_id, secret.id)),
    }


def signings_of(sealer: Sealer, rows: Iterable[Sequence[Any]], *, strict: bool) -> dict[int, Signing]:
    """The signing of each owner in the rows of `signing_find`, by its handle.

    Raises `Corrupt` for a damaged secret when `strict`; else that one is left out: it must not hold up the others.
    """
    enabled: dict[int, bool] = {}
    secrets: dict[int, list[SigningSecret]] = {}
    for owner, owner_id, on, secret_id, created_at, expires_at, sealed in rows:
        enabled[owner] = bool(on)
        kept = secrets.setdefault(owner, [])
        if secret_id is None:
            continue
        try:
            key = sealer.open(sealed, secret_context(owner_id, secret_id))
        except Corrupt:
            if strict:
                raise
        else:
            kept.append(SigningSecret(secret_id, created_at, key, expires_at))
    return {owner: Signing(on, tuple(sorted(secrets[owner], key=_newest_first))) for owner, on in enabled.items()}


def _newest_first(secret: SigningSecret) -> tuple[bool, int]:
    return secret.expires_at is not None, -secret.created_at
