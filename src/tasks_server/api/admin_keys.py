"""The operator's keys: those that may do everything, and those that may only look."""

import hashlib
from collections.abc import Iterator
from typing import Final

import msgspec

_FINGERPRINT_CHARACTERS: Final = 8


class AdminKey(msgspec.Struct, frozen=True):
    """One of them, without its secret: by what it is known, and whether it may only look."""

    fingerprint: str
    read_only: bool


class AdminKeys:
    """The keys that two settings name, separated by commas. None named: nobody has one."""

    def __init__(self, keys: str | None = None, read_only: str | None = None) -> None:
        self._known = {digest: AdminKey(shown, False) for digest, shown in _digests(keys)}
        for digest, shown in _digests(read_only):
            self._known.setdefault(digest, AdminKey(shown, True))

    def find_digest(self, digest: bytes) -> AdminKey | None:
        """Which of them has this digest, SHA-256."""
        return self._known.get(digest)

    def find(self, key: bytes) -> AdminKey | None:
        """Which of them it is. What is looked up is a digest, so that the time it takes tells nothing of a key."""
        return self._known.get(hashlib.sha256(key).digest()) if self._known else None


def _digests(keys: str | None) -> Iterator[tuple[bytes, str]]:
    """Of each key, its digest, and as much of it as is shown: whoever has the key finds it by `sha256sum`."""
    for key in (keys or "").split(","):
        if key.strip():
            digest = hashlib.sha256(key.strip().encode()).digest()
            yield digest, digest.hex()[:_FINGERPRINT_CHARACTERS]
