"""What an examiner and the process that opens keys say to each other: each message a length and msgpack. Apart from
both, since the one must not load what the other works with.
"""

import socket
import struct
from typing import Final

import msgspec

from tasks_server.domain.certificates import Certificates, Examined

_LENGTH: Final = struct.Struct("!I")

encode: Final = msgspec.msgpack.Encoder().encode
asked: Final = msgspec.msgpack.Decoder(list[Certificates])
told: Final = msgspec.msgpack.Decoder(list[Examined])


def send(link: socket.socket, message: bytes) -> None:
    link.sendall(_LENGTH.pack(len(message)) + message)


def receive(link: socket.socket) -> bytes:
    """The next message. Raises `EOFError` when there will be none."""
    (length,) = _LENGTH.unpack(_exactly(link, _LENGTH.size))
    return _exactly(link, length)


def _exactly(link: socket.socket, length: int) -> bytes:
    received = bytearray()
    while len(received) < length:
        part = link.recv(min(length - len(received), 1_048_576))
        if not part:
            raise EOFError
        received += part
    return bytes(received)
