"""What bytes are that should be text in UTF-8, so that whoever sent them is told. By their first bytes alone."""

import codecs
from typing import Final

_COMPRESSED: Final = (
    (b"\x1f\x8b", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\x78\x01", "deflate"),
    (b"\x78\x5e", "deflate"),
    (b"\x78\x9c", "deflate"),
    (b"\x78\xda", "deflate"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ", "xz"),
    (b"PK\x03\x04", "zip"),
)
_MARKED: Final = (
    (codecs.BOM_UTF32_LE, "UTF-32"),  # begins like that of UTF-16
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)
_ZEROS: Final[dict[tuple[bool, ...], str]] = {
    (True, True, True, False): "UTF-32",
    (False, True, True, True): "UTF-32",
    (True, False, True, False): "UTF-16",
    (False, True, False, True): "UTF-16",
}
"""Which of the first four bytes are zero, of text in ASCII that is encoded so."""


def unmarked(text: bytes) -> bytes:
    """The text without a byte order mark of UTF-8, which says nothing (RFC 8259 section 8.1)."""
    return text.removeprefix(codecs.BOM_UTF8)


def other_than_utf8(text: bytes) -> str | None:
    """What is wrong with bytes that should be text in UTF-8, and how to mend it; None: they are.

    >>> other_than_utf8("{}".encode("utf-16"))
    'is text in UTF-16; send it in UTF-8'
    >>> other_than_utf8("{}".encode()) is None
    True
    """
    for start, name in _COMPRESSED:
        if text.startswith(start):
            return f"is compressed ({name}); send it plain"
    for start, name in _MARKED:
        if text.startswith(start):
            return f"is text in {name}; send it in UTF-8"
    unmarked_name = _ZEROS.get(tuple(byte == 0 for byte in text[:4]))
    if unmarked_name is not None:
        return f"is text in {unmarked_name}; send it in UTF-8"
    try:
        text.decode()
    except UnicodeDecodeError as error:
        return f"is no text in UTF-8: byte {error.start} is 0x{text[error.start]:02x}; send it in UTF-8"
    return None
