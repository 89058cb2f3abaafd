"""PEM (RFC 7468) taken apart by single passes over the bytes: a pattern that looks for an end from each beginning would
take time with the square of their number.
"""

import binascii
from collections.abc import Iterator
from typing import Final

import msgspec

BEGIN: Final = b"-----BEGIN "
_END: Final = b"-----END "
_RULE: Final = b"-----"
_LABEL_MAX: Final = 64


class Block(msgspec.Struct, frozen=True):
    """One block: what it says it is, its text from the first line to the last, and what stands between them."""

    label: bytes
    text: bytes
    body: bytes

    def der(self) -> bytes | None:
        """What its base64 stands for; None: it is none, or it begins with headers."""
        try:
            return binascii.a2b_base64(self.body)
        except binascii.Error:
            return None


def blocks(content: bytes) -> Iterator[Block]:
    """The blocks in these bytes that are whole, in their order."""
    at = 0
    while (begin := content.find(BEGIN, at)) >= 0:
        named = begin + len(BEGIN)
        rule = content.find(_RULE, named, named + _LABEL_MAX + len(_RULE))
        if rule < 0:
            at = named
            continue
        label, inside = content[named:rule], rule + len(_RULE)
        end = content.find(_END, inside)
        if end < 0:  # nor is there one for any block after this
            return
        close = _END + label + _RULE
        at = end + len(_END)
        if content.startswith(close, end):
            yield Block(label, content[begin : end + len(close)] + b"\n", content[inside:end])
