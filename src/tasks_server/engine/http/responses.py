"""Reads a target's answer: status, body and the few headers that matter to a task. What libcurl reports when there
is no answer is in `errors`.
"""

import re
from collections.abc import Sequence
from email.utils import parsedate_to_datetime
from itertools import takewhile
from typing import Final

from tasks_server.domain.attempt import NO_ANSWER, Outcome, OutcomeKind

_LINE_ENDS: Final = (b"\r\n", b"\n")
_STATUS_LINE: Final = re.compile(rb"HTTP/[0-9.]+[ \t]")
"""No header or trailer, whatever its name."""
_STATUS_OF_09: Final = 200
"""HTTP/0.9 has no status: whatever comes is the answer."""
NO_RETRY_STATUSES: Final = frozenset({410, 489})
_DIGITS_MAX: Final = 1_000
_SECONDS_MAX: Final = 10**9
"""Far more than anyone waits for (the domain caps it at a day); keeps absurd numbers small."""


def answered(
    status: int, header_lines: Sequence[bytes], body: bytes | None, now: int, *, is_truncated: bool = False
) -> Outcome:
    """The outcome of an answer: what its status and headers say, however much of its body was read (`is_truncated`:
    `body` is the first part). `header_lines` are all lines that came; `now` is ms.
    """
    # An answer of HTTP/0.9 has no headers at all; any other has an empty line at their end. libcurl does not mind
    # when a connection closes before it.
    if header_lines and header_lines[-1] not in _LINE_ENDS and not _is_complete(header_lines):
        error = "the target closed the connection in the middle of its headers"
        return Outcome(OutcomeKind.CONNECTION, status_code=NO_ANSWER, error=error)
    status = status or _STATUS_OF_09
    if 200 <= status < 400:
        return Outcome(OutcomeKind.SUCCESS, status_code=status, response=body, response_truncated=is_truncated)
    if not 400 <= status < 600:
        what = "ends no request" if status < 200 else "is no status of HTTP"
        error = f"the target answered {status}, which {what}"
        return Outcome(
            OutcomeKind.CONNECTION, status_code=NO_ANSWER, error=error, response=body, response_truncated=is_truncated
        )
    retry_after, no_retry = steering(header_lines)
    return Outcome(
        OutcomeKind.HTTP_ERROR,
        status_code=status,
        error=f"the target answered {status}",
        response=body,
        response_truncated=is_truncated,
        retry_after_ms=None if retry_after is None else retry_after_ms(retry_after, now),
        no_retry=no_retry or status in NO_RETRY_STATUSES,
    )


def steering(header_lines: Sequence[bytes]) -> tuple[bytes | None, bool]:
    """`Retry-After` of the last answer in these lines, and whether it says `X-Tasks-No-Retry: true`."""
    retry_after: bytes | None = None
    no_retry = False
    for line in last_block(header_lines):
        name, _, value = line.partition(b":")
        match name.strip().lower():
            case b"retry-after":
                retry_after = value.strip()
            case b"x-tasks-no-retry":
                no_retry = value.strip().lower() == b"true"
    return retry_after, no_retry


def retry_after_ms(value: bytes, now: int) -> int | None:
    """How long to wait, in ms: `value` is seconds, or an HTTP date that is held against `now`. None: neither."""
    if value.isdigit():
        return (min(int(value), _SECONDS_MAX) if len(value) <= _DIGITS_MAX else _SECONDS_MAX) * 1_000
    try:
        moment = parsedate_to_datetime(value.decode("ascii"))
        at = int(moment.timestamp() * 1_000)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return max(0, at - now)


def _begin(lines: Sequence[bytes]) -> int:
    """Where the header lines of the last answer begin, behind its status line."""
    for index in range(len(lines) - 1, -1, -1):
        if lines[index].startswith(b"HTTP/") and _STATUS_LINE.match(lines[index]):
            return index + 1
    return 0


def _is_complete(lines: Sequence[bytes]) -> bool:
    return any(line in _LINE_ENDS for line in lines[_begin(lines) :])


def last_block(lines: Sequence[bytes]) -> list[bytes]:
    """The header lines of the last answer in these, up to the empty line, so trailers stay out."""
    return list(takewhile(lambda line: line not in _LINE_ENDS, lines[_begin(lines) :]))
