"""Identifiers: time-ordered, unguessable, made from an instant and random bytes that the caller brings."""

import hashlib
from typing import Final

_CROCKFORD: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS: Final = [a + b for a in _CROCKFORD for b in _CROCKFORD]
_KEY_ALPHABET: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

TASK_ID_LENGTH: Final = 24
TASK_ID_RANDOM_BYTES: Final = 9
OWNER_ID_LENGTH: Final = 26
OWNER_ID_RANDOM_BYTES: Final = 10
KEY_RANDOM_BYTES: Final = 128
_ID_CHARACTERS: Final = frozenset(_CROCKFORD)


def _base32(number: int, pairs: int) -> str:
    """`number` in Crockford's base 32, two characters at a time, most significant first."""
    table = _PAIRS
    return "".join([table[(number >> shift) & 1023] for shift in range(10 * (pairs - 1), -1, -10)])


def task_id(at: int, random: bytes) -> str:
    """24 characters of [0-9A-Z]: 48 bits of milliseconds, then 72 random bits. Sorts by time as text.

    >>> task_id(0, bytes(9))
    '000000000000000000000000'
    >>> task_id(1, bytes(9)) > task_id(0, b"\\xff" * 9)
    True
    """
    return _base32((at << 72) | int.from_bytes(random, "big"), 12)


def owner_id(at: int, random: bytes) -> str:
    """A ULID (github.com/ulid/spec): 26 characters of Crockford's base 32, 48 bits of time and 80 random bits.

    >>> owner_id(1469918176385, bytes(10))
    '01ARYZ6S410000000000000000'
    """
    return _base32((at << 80) | int.from_bytes(random, "big"), 13)


def is_task_id(text: str) -> bool:
    """Whether `text` could be a task's id; what could not is answered as unknown without asking the store."""
    return len(text) == TASK_ID_LENGTH and text.isascii() and text.isalnum() and text.upper() == text


def is_owner_id(text: str) -> bool:
    """Whether `text` has the form of a ULID."""
    return len(text) == OWNER_ID_LENGTH and _ID_CHARACTERS.issuperset(text)


def owner_key(random: bytes) -> str:
    """64 characters of [A-Za-z0-9] from at least 128 random bytes; bytes that would skew the choice are dropped.

    >>> len(owner_key(bytes(range(128)))), owner_key(bytes(128))[:3]
    (64, 'AAA')
    """
    # 248 is the largest multiple of 62 that fits a byte. 128 bytes leave fewer than 64 usable ones with a
    # probability below 2^-200, so the padding below never matters but for the reader's peace of mind.
    usable = [_KEY_ALPHABET[byte % 62] for byte in random if byte < 248][:64]
    return "".join(usable).ljust(64, "A")


def key_digest(key: str) -> bytes:
    """What is stored of a key. Keys are random, so a fast hash is as safe as a slow one and cannot starve us."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
