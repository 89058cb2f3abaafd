"""Idempotency keys, for all adapters. At rest, names stand for them that nobody can turn back (`Sealer.names`), each
with what the key was used for, sealed: the digest of the request, and the key itself, which a change of the cipher key
needs to give it another name. What versions before stored in clear counts until it is pruned.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from tasks_server.domain import limits
from tasks_server.domain.errors import Unreadable
from tasks_server.domain.task import NewTask, Task, as_task
from tasks_server.store.ports import Duplicate
from tasks_server.store.rows import ids_text, text_ids
from tasks_server.store.sealing import Sealer, idempotency_context

_DIGEST_MAX: Final = 32
"""Bytes of a digest; what is sealed is longer."""


def names_of(owner_id: str, key: str, sealer: Sealer) -> list[str]:
    """What a key of an owner may be stored under, first what it is stored under from now on; in clear last."""
    sealer.refresh()  # another process may have stored it under a key that was made a moment ago
    return [*sealer.names(_named(owner_id, key)), key]


def name_anew(owner_id: str, sealed: bytes, sealer: Sealer) -> str:
    """What a key is stored under with the present cipher key, given what was sealed of it, opened."""
    return sealer.names(_named(owner_id, _parts(sealed)[1]))[0]


def duplicate_of(
    stored: Sequence[Any], digest: bytes | None, owner_id: str, sealer: Sealer, load: Callable[[str], Task | None]
) -> Duplicate | None:
    """What a stored key (its digest, its tasks) stands for, asked for with the digest of a request; None: all of it was
    deleted since, and the key may be used again.
    """
    ids = text_ids(stored[1])
    loaded = next((task for task_id in ids if (task := load(task_id)) is not None), None)
    return None if loaded is None else Duplicate(loaded, _fits(stored[0], digest, owner_id, sealer), ids)


def _fits(stored: bytes, digest: bytes | None, owner_id: str, sealer: Sealer) -> bool:
    """Whether the request of this digest is the one that the key was used for. Where that cannot be read it counts as
    such: the key was used, and what it is for is to make no second task.
    """
    if len(stored) <= _DIGEST_MAX:  # in clear
        return stored == digest
    try:
        return _parts(sealer.open(stored, idempotency_context(owner_id)))[0] == (digest or b"")
    except Unreadable:
        return True


class Memory:
    """Which idempotency keys are known to one transaction: those in the store, and those of its own tasks. `keyed` are
    the tasks that bring one, with the handles of their owners.
    """

    def __init__(self, sealer: Sealer, keyed: Sequence[tuple[int, NewTask]]) -> None:
        self._sealer = sealer
        self._names = {
            (owner, task.idempotency_key): names_of(task.owner, task.idempotency_key, sealer)
            for owner, task in keyed
            if task.idempotency_key is not None
        }
        self._stored: dict[tuple[int, str], tuple[bytes, str]] = {}
        self._fresh: dict[tuple[int, str], Sequence[NewTask]] = {}
        self.rows: list[Any] = []
        """What is to be stored: owner, name, digest in hexadecimal digits, task, expires_at."""

    @property
    def asked(self) -> list[tuple[int, str]]:
        """What to look for: owners and names."""
        return [(owner, name) for (owner, _), names in self._names.items() for name in names]

    def found(self, rows: Iterable[Sequence[Any]]) -> None:
        """What is stored: owner, name, digest, task."""
        for owner, name, digest, task in rows:
            self._stored[owner, name] = (digest, task)

    def find(self, owner: int, task: NewTask, load: Callable[[str], Task | None]) -> Duplicate | None:
        """What this key was used for before, if any task of that still exists."""
        if task.idempotency_key is None:
            return None
        fresh = self._fresh.get((owner, task.idempotency_key))
        if fresh is not None:
            same = fresh[0].idempotency_digest == task.idempotency_digest
            return Duplicate(as_task(fresh[0]), same, tuple([each.id for each in fresh]))
        for name in self._names[owner, task.idempotency_key]:
            stored = self._stored.get((owner, name))
            if stored is None:
                continue
            found = duplicate_of(stored, task.idempotency_digest, task.owner, self._sealer, load)
            if found is not None:
                return found
        return None

    def remember(self, owner: int, item: Sequence[NewTask]) -> None:
        """The key was used for these tasks. Of the first one it is said what all were asked under."""
        task = item[0]
        key, digest = task.idempotency_key, task.idempotency_digest or b""
        assert key is not None
        self._fresh[owner, key] = item
        plain = bytes([len(digest)]) + digest + key.encode()
        sealed = self._sealer.seal(plain, idempotency_context(task.owner)).hex()
        expires_at = task.created_at + limits.IDEMPOTENCY_KEPT_MS
        self.rows.append((owner, self._names[owner, key][0], sealed, ids_text(item), expires_at))


def _named(owner_id: str, key: str) -> bytes:
    """Two owners' keys have nothing in common."""
    return f"idempotency:{owner_id}:{key}".encode()


def _parts(plain: bytes) -> tuple[bytes, str]:
    """The digest and the key."""
    end = 1 + plain[0]
    return plain[1:end], plain[end:].decode()
