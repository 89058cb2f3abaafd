"""Encryption at rest: AES-256-GCM under session keys that are derived from the key in the settings.

Each process derives a session key by HKDF-SHA256 (RFC 5869) from the master key and a random salt, and counts its
nonces. So a nonce never repeats under one key however many tasks pass, where random 96-bit nonces would reach the
bound of NIST SP 800-38D (2^32 messages) within days. Stored form: version, key id, salt, counter, ciphertext with
tag. The context (which row, which field) is authenticated, so that blobs cannot be moved between rows.
"""

import hashlib
import itertools
import os
from collections.abc import Mapping
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tasks_server.domain.errors import Corrupt

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


class Sealer:
    """Seals with the first of its master keys, opens with any. A key is 32 bytes."""

    def __init__(self, *masters: bytes) -> None:
        if not masters or any(len(master) != KEY_BYTES for master in masters):
            raise ValueError(f"a cipher key is {KEY_BYTES} bytes")
        self._masters: Mapping[bytes, bytes] = {key_id(master): master for master in masters}
        self._sessions: dict[bytes, AESGCM] = {}
        self._head = _VERSION + key_id(masters[0]) + os.urandom(_SALT_BYTES)
        self._cipher = self._session(self._head)
        self._counter = itertools.count()

    def seal(self, plain: bytes, context: bytes) -> bytes:
        """The stored form of `plain`, bound to `context`."""
        counter = next(self._counter).to_bytes(_COUNTER_BYTES, "big")
        return self._head + counter + self._cipher.encrypt(b"\0\0\0\0" + counter, plain, context)

    def open(self, sealed: bytes, context: bytes) -> bytes:
        """What was sealed. Raises `Corrupt` when it was changed, moved, or sealed under a key that we do not have."""
        head = sealed[:_HEAD_BYTES]
        cipher = self._sessions.get(head) or self._session(head)
        try:
            return cipher.decrypt(b"\0\0\0\0" + sealed[_HEAD_BYTES:_BODY_AT], sealed[_BODY_AT:], context)
        except (InvalidTag, ValueError) as error:
            raise Corrupt("stored data was changed or damaged: its authentication tag does not fit") from error

    def _session(self, head: bytes) -> AESGCM:
        master = self._masters.get(head[1 : 1 + _KEY_ID_BYTES])
        if head[:1] != _VERSION or master is None:
            raise Corrupt(
                "stored data is sealed under another cipher key; start with the CIPHER_KEY or key file it was made with"
            )
        kdf = HKDF(hashes.SHA256(), KEY_BYTES, salt=head[1 + _KEY_ID_BYTES :], info=b"tasks-server at rest")
        if len(self._sessions) > 10_000:  # one entry for each start of a process whose rows are still kept
            self._sessions.clear()
        cipher = self._sessions[head] = AESGCM(kdf.derive(master))
        return cipher
