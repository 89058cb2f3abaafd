"""Takes in the body of an answer, as much as is kept of it. The rest is not read: libcurl is told to stop."""

from typing import Final

_STOP: Final = 0
"""Fewer bytes than were given: libcurl ends the transfer with E_WRITE_ERROR."""


class Body:
    """The body of one answer after another, at most `kept_max` bytes of each. `take` is for libcurl."""

    __slots__ = ("_kept_max", "_room", "_spare", "is_cut", "is_truncated", "pieces")

    def __init__(self, kept_max: int) -> None:
        self._kept_max = kept_max
        self.begin()

    def begin(self, spare: int = 0) -> None:
        """Another answer is to come. `spare` bytes beyond what is kept are read and forgotten before it is cut off:
        only so can its connection be used again.
        """
        self._room = self._kept_max
        self._spare = spare
        self.pieces: list[bytes] = []
        self.is_truncated = False
        """More came than is kept."""
        self.is_cut = False
        """The transfer was ended for it."""

    def take(self, piece: bytes) -> int | None:
        room = self._room = self._room - len(piece)
        if room >= 0:
            self.pieces.append(piece)
            return None
        if not self.is_truncated:
            self.is_truncated = True
            self.pieces.append(piece[:room])  # negative: so much of it is too much
        if room + self._spare >= 0:
            return None
        self.is_cut = True
        return _STOP

    def kept(self) -> bytes | None:
        """What is kept; None where nothing came."""
        return b"".join(self.pieces) or None
