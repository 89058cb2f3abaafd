"""What a handler notes of an attempt while it runs: how far it has come, and lines of a log. Bounded, whoever notes."""

from typing import Final

import msgspec

LINES_MAX: Final = 100
"""Of more, the last ones are kept."""
TEXT_LENGTH_MAX: Final = 500
"""Characters of a line, and of what is said of the progress."""


class Line(msgspec.Struct, frozen=True):
    """A line that was logged at an instant (ms since the epoch)."""

    at: int
    text: str


class Notes(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was noted of one attempt. `at`: when last (ms since the epoch); `progress`: from 0 to 1, and what the
    handler says of it; `dropped`: how many lines before the first of `lines` are not kept.
    """

    at: int
    progress: float | None = None
    message: str | None = None
    lines: tuple[Line, ...] = ()
    dropped: int = 0


def merged(before: Notes | None, more: Notes) -> Notes:
    """The notes with what was noted after them."""
    if before is None:
        before = Notes(more.at)
    lines = (*before.lines, *more.lines)
    over = max(0, len(lines) - LINES_MAX)
    return Notes(
        max(before.at, more.at),
        before.progress if more.progress is None else more.progress,
        before.message if more.message is None else more.message,
        lines[over:],
        before.dropped + more.dropped + over,
    )
