"""How dear it is to open a locked key. Who made it says how many rounds a password is to be stirred, up to minutes of a
processor; while that is done, nobody else is served.
"""

import binascii
import re
from collections.abc import Iterator
from typing import Final

ROUNDS_MAX: Final = 2_000_000
"""Three times what is usual where much is used; some tenths of a second."""
_PEM_BODY: Final = re.compile(rb"-----BEGIN [^-]+-----([A-Za-z0-9+/=\s]+)-----END ")
_INTEGER, _OCTETS, _CONSTRUCTED = 0x02, 0x04, 0x20
_DEPTH_MAX: Final = 24


def is_too_dear(content: bytes) -> bool:
    """Whether a key or P12 file (DER or PEM) asks for more rounds than `ROUNDS_MAX`, as far as it tells unopened."""
    is_pem = b"-----BEGIN " in content
    for body in _PEM_BODY.findall(content) if is_pem else [content]:
        try:
            der = binascii.a2b_base64(body) if is_pem else body
        except binascii.Error:
            continue
        if any(rounds > ROUNDS_MAX for rounds in _rounds(der, 0)):
            return True
    return False


def _rounds(der: bytes, depth: int) -> Iterator[int]:
    """Every number that follows a string of octets: so all schemes write salt and rounds (PKCS 5, PKCS 12, scrypt)."""
    before = 0
    for tag, value in _elements(der):
        if tag == _INTEGER and before == _OCTETS:
            yield int.from_bytes(value)
        if depth < _DEPTH_MAX and (tag & _CONSTRUCTED or tag == _OCTETS):
            yield from _rounds(value, depth + 1)
        before = tag


def _elements(der: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and value of each element, as far as they can be read."""
    at = 0
    while at + 2 <= len(der):
        tag, length = der[at], der[at + 1]
        at += 2
        if length == 0x80:  # its end is marked, not told: read on inside
            continue
        if length & 0x80:
            size = length & 0x7F
            length = int.from_bytes(der[at : at + size])
            at += size
        if at + length > len(der):
            return
        yield tag, der[at : at + length]
        at += length
