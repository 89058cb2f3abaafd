"""How dear it is to open a locked key, as far as it tells unopened. Who made it says how many rounds a password is to
be stirred, up to minutes of a processor and all of the memory.
"""

from collections.abc import Iterator
from typing import Final

from tasks_server.engine.certificates.pem import BEGIN, blocks

ROUNDS_MAX: Final = 2_000_000
"""Over all keys of a request; three times what is usual where much is used. Some tenths of a second."""
FILE_ROUNDS_MAX: Final = 100_000
"""Of a file below CERTIFICATES_DIR, which is opened anew by each call: some hundredths of a second, while no other call
goes on."""
_SCRYPT_MEMORY_MAX_BYTES: Final = 32 * 1_024 * 1_024
"""As OpenSSL has it."""
_SCRYPT_ROUNDS: Final = 4
"""What one block of scrypt (RFC 7914) costs, in rounds of PBKDF2 (RFC 8018)."""
_FAR_TOO_MANY: Final = 2**62
_INTEGER, _OCTETS, _CONSTRUCTED = 0x02, 0x04, 0x20
_DEPTH_MAX: Final = 24


def rounds_of(content: bytes) -> int:
    """How many rounds all that is locked in a key or P12 file (DER or PEM) asks for together."""
    ders = [block.der() for block in blocks(content)] if BEGIN in content else [content]
    return sum(min(rounds, _FAR_TOO_MANY) for der in ders if der for rounds in _rounds(memoryview(der), 0))


def _rounds(der: memoryview, depth: int) -> Iterator[int]:
    """The rounds of each run of numbers that follows a string of octets: so all schemes write what follows the salt
    (PKCS 5, PKCS 12, scrypt).
    """
    numbers: list[int] | None = None
    for tag, value in _elements(der):
        if tag == _INTEGER and numbers is not None:
            numbers.append(int.from_bytes(value[:16]) if len(value) <= 16 else _FAR_TOO_MANY)
            continue
        yield _cost(numbers)
        numbers = [] if tag == _OCTETS else None
        if depth < _DEPTH_MAX and (tag & _CONSTRUCTED or tag == _OCTETS):
            yield from _rounds(value, depth + 1)
    yield _cost(numbers)


def _cost(numbers: list[int] | None) -> int:
    if not numbers:
        return 0
    if len(numbers) < 3:  # the rounds, and maybe the length of the key
        return numbers[0]
    blocks_count, size, lanes = numbers[:3]
    if 128 * blocks_count * size > _SCRYPT_MEMORY_MAX_BYTES:
        return _FAR_TOO_MANY
    return max(numbers[0], _SCRYPT_ROUNDS * blocks_count * size * lanes)


def _elements(der: memoryview) -> Iterator[tuple[int, memoryview]]:
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
