"""Encryption at rest: AES-256-GCM under session keys that are derived from the key in the settings.

Each process derives a session key by HKDF-SHA256 (RFC 5869) from the master key and a random salt, and counts its
nonces. So a nonce never repeats under one key however many tasks pass, where random 96-bit nonces would reach the
bound of NIST SP 800-38D (2^32 messages) within days. Stored form: version, key id, salt, counter, ciphertext with
tag. The context (which row, which field) is authenticated, so that blobs cannot be moved between rows.
"""

import base64
import hashlib
import hmac
import itertools
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tasks_server.domain.errors import Corrupt, Unreadable
from tasks_server.domain.stored import OTHER_VERSION, unreadable

KEY_BYTES: Final = 32
_VERSION: Final = b"\x01"
_KEY_ID_BYTES: Final = 4
_SALT_BYTES: Final = 16
_HEAD_BYTES: Final = 1 + _KEY_ID_BYTES + _SALT_BYTES
_COUNTER_BYTES: Final = 8
_BODY_AT: Final = _HEAD_BYTES + _COUNTER_BYTES


def key_id(master: bytes) -> bytes:
    """Four bytes that name a key without telling it."""
    return hashlib.sha256(b"tasks-server key id" + master).digest()[:_KEY_ID_BYTES]


def _naming_key(master: bytes) -> bytes:
    return HKDF(hashes.SHA256(), KEY_BYTES, salt=None, info=b"tasks-server names").derive(master)


def key_id_of(sealed: bytes) -> bytes:
    """The id of the key that something is sealed with."""
    return sealed[1 : 1 + _KEY_ID_BYTES]


def key_ids(text: bytes) -> set[bytes]:
    """The ids that are written one after the other."""
    return {text[at : at + _KEY_ID_BYTES] for at in range(0, len(text), _KEY_ID_BYTES)}


def head_of(sealed: bytes) -> bytes:
    """What no two sealed values have in common: key, session and counter."""
    return sealed[:_BODY_AT]


def spec_context(task_id: str) -> bytes:
    """What a task's sealed spec is bound to."""
    return b"spec:" + task_id.encode()


def response_context(task_id: str, number: int) -> bytes:
    """What the sealed response of an attempt is bound to."""
    return f"response:{task_id}:{number}".encode()


def facts_context(task_id: str, number: int) -> bytes:
    """What the sealed facts of an attempt are bound to."""
    return f"facts:{task_id}:{number}".encode()


def error_context(task_id: str) -> bytes:
    """What the sealed text of a task's last error is bound to."""
    return b"error:" + task_id.encode()


def idempotency_context(owner_id: str) -> bytes:
    """What is sealed of an idempotency key is bound to its owner."""
    return b"idempotency:" + owner_id.encode()


def notes_context(task_id: str, number: int) -> bytes:
    """What the sealed notes of a running attempt are bound to."""
    return f"notes:{task_id}:{number}".encode()


def template_context(schedule_id: str) -> bytes:
    """What a schedule's sealed template is bound to."""
    return b"template:" + schedule_id.encode()


def secret_context(owner_id: str, secret_id: str) -> bytes:
    """What a sealed signing secret is bound to."""
    return f"signing:{owner_id}:{secret_id}".encode()


def callbacks_context(owner_id: str, lane: str) -> bytes:
    """What the sealed callbacks of a lane, or of an owner (without one), are bound to."""
    return f"callbacks:{owner_id}:{lane}".encode()


_THINGS: Final = {
    b"spec": ("the stored request of the task", "delete the task and register it anew"),
    b"facts": ("the error of the attempt and where redirects led it", "nothing needs to be done"),
    b"error": ("the last error of the task", "the next attempt brings another one"),
    b"idempotency": ("what an idempotency key was used for", "nothing needs to be done"),
    b"response": ("the stored response of the task", "the next attempt brings another one"),
    b"template": ("what the schedule makes its tasks from", "PUT the schedule anew, or delete it"),
    b"callbacks": ("what the lane or the owner asks to be called", "set its callbacks anew"),
    b"signing": ("a signing secret of the owner", "rotate the secrets"),
}
"""What is sealed in each context, and how to mend it when it is damaged for good."""


def _thing(context: bytes) -> tuple[str, str]:
    return _THINGS.get(context.partition(b":")[0], ("stored data", "restore the database from a backup"))


class Sealer:
    """Seals with the first of its master keys, opens with any. A key is 32 bytes. `source` gives the keys anew, newest
    first, when they were changed; then they take the place of those before. `named` says in errors where they come
    from. It may be used from several threads.
    """

    def __init__(
        self,
        *masters: bytes,
        source: Callable[[], Sequence[bytes] | None] | None = None,
        named: str = "CIPHER_KEY",
    ) -> None:
        if not masters or any(len(master) != KEY_BYTES for master in masters):
            raise ValueError(f"a cipher key is {KEY_BYTES} bytes")
        self._source = source
        self._named = named
        self._refreshing = threading.Lock()
        self._sessions: dict[bytes, AESGCM] = {}
        self._take(masters)

    @property
    def follows(self) -> bool:
        """Whether its keys may change."""
        return self._source is not None

    @property
    def sealing_key_id(self) -> bytes:
        """Which key it seals with."""
        return key_id_of(self._sealing[0])

    def refresh(self) -> bool:
        """Takes over keys that were changed. Whether there were any."""
        with self._refreshing:  # who comes second finds the keys taken over
            masters = self._source() if self._source is not None else None
            if masters:
                self._take(masters)
            return bool(masters)

    def _take(self, masters: Sequence[bytes]) -> None:
        self._masters: Mapping[bytes, bytes] = {key_id(master): master for master in masters}
        self._naming = [(key_id(master), _naming_key(master)) for master in masters]
        head = _VERSION + key_id(masters[0]) + os.urandom(_SALT_BYTES)
        # One tuple, so that a thread that seals meanwhile has all of the old session or all of the new one.
        session = self._session(head)
        assert session is not None  # it is of the very first key
        self._sealing = (head, session.encrypt, itertools.count())

    def names(self, what: bytes) -> list[str]:
        """What stands for `what` where it must be found again: under each key an HMAC, with the id of that key. The
        one under the key that seals comes first. From a name nobody learns what it is of, nor can try guesses.
        """
        return [
            base64.urlsafe_b64encode(named_by + hmac.digest(key, what, "sha256")).decode()
            for named_by, key in self._naming
        ]

    def seal(self, plain: bytes, context: bytes) -> bytes:
        """The stored form of `plain`, bound to `context`."""
        head, encrypt, counter = self._sealing
        number = next(counter).to_bytes(_COUNTER_BYTES, "big")
        return head + number + encrypt(b"\0\0\0\0" + number, plain, context)

    def open(self, sealed: bytes, context: bytes) -> bytes:
        """What was sealed. Raises `Unreadable` when it was changed, moved, or sealed under a key we do not have."""
        head = sealed[:_HEAD_BYTES]
        cipher = self._sessions.get(head) or self._session(head)
        if cipher is None:
            raise Unreadable(self._why_not(head, context))
        try:
            return cipher.decrypt(b"\0\0\0\0" + sealed[_HEAD_BYTES:_BODY_AT], sealed[_BODY_AT:], context)
        except (InvalidTag, ValueError) as error:
            what, mend = _thing(context)
            why = "it was changed or damaged, its authentication tag does not fit"
            raise Unreadable(unreadable(what, why, mend)) from error

    def look(self, sealed: bytes, context: bytes) -> tuple[bytes, str | None]:
        """What was sealed; or nothing, and why it cannot be read. For those who go on without it."""
        try:
            return self.open(sealed, context), None
        except Unreadable as error:
            return b"", error.message

    def prove(self, sealed: bytes, context: bytes, where: str) -> None:
        """Opens what was sealed when a database was made. Raises `Corrupt` that names it, `where`, and our keys."""
        if sealed[:1] == _VERSION and self._session(sealed[:_HEAD_BYTES]) is None:
            raise Corrupt(
                f"{where}: stored data is sealed under another cipher key than that of {self._named}; "
                "start with the CIPHER_KEY or key file it was made with"
            )
        try:
            self.open(sealed, context)
        except Unreadable as error:
            raise Corrupt(f"{where}: {error.message}") from error

    def _session(self, head: bytes) -> AESGCM | None:
        """What opens all that begins so; None: we have not its key, or do not know its form."""
        master = self._masters.get(head[1 : 1 + _KEY_ID_BYTES])
        if master is None:
            self.refresh()
            master = self._masters.get(head[1 : 1 + _KEY_ID_BYTES])
        if head[:1] != _VERSION or master is None:
            return None
        kdf = HKDF(hashes.SHA256(), KEY_BYTES, salt=head[1 + _KEY_ID_BYTES :], info=b"tasks-server at rest")
        if len(self._sessions) > 10_000:  # one entry for each start of a process whose rows are still kept
            self._sessions.clear()
        cipher = self._sessions[head] = AESGCM(kdf.derive(master))
        return cipher

    def _why_not(self, head: bytes, context: bytes) -> str:
        """What is told of something without a session."""
        what, mend = _thing(context)
        if len(head) < _HEAD_BYTES:
            return unreadable(what, "it is damaged, most of it is missing", mend)
        if head[:1] != _VERSION:
            return unreadable(
                what, f"it is sealed in a form that this version does not know ({head[0]})", OTHER_VERSION
            )
        key = key_id_of(head).hex()
        why = f"it is sealed under another cipher key than those of this server, the one with the id {key}"
        return unreadable(what, why, "start the server with that key beside the present one")
