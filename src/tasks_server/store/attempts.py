"""What is sealed of an attempt, for all adapters: its response, and the facts that few attempts have. These are one
value, NULL where there are none, so that others cost nothing; sealed, because they tell where a target led and what a
handler raised. (Versions before wrote the error in clear, into a column of its own: it is still read from there.)
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from tasks_server.domain.attempt import Attempt, OutcomeKind, Redirected
from tasks_server.domain.errors import Unreadable
from tasks_server.domain.notes import Notes
from tasks_server.domain.stored import OTHER_VERSION, together, unknown_word, unreadable, word_of
from tasks_server.store.sealing import Sealer, facts_context, response_context


class _Facts(msgspec.Struct, omit_defaults=True):
    response_truncated: bool = False
    redirected: Redirected | None = None
    error: str | None = None
    notes: Notes | None = None


_ENCODE: Final = msgspec.json.Encoder().encode
_DECODE: Final = msgspec.json.Decoder(_Facts).decode
_NONE: Final = _Facts()


def sealed_response(attempt: Attempt, task_id: str, sealer: Sealer) -> str | None:
    """In hexadecimal digits, as batches carry it."""
    if attempt.response is None:
        return None
    return sealer.seal(attempt.response, response_context(task_id, attempt.number)).hex()


def sealed_facts(attempt: Attempt, task_id: str, sealer: Sealer) -> str | None:
    """In hexadecimal digits, as batches carry it; None: there are none."""
    told = (attempt.redirected, attempt.error, attempt.notes)
    if not attempt.response_truncated and told == (None, None, None):
        return None
    facts = _Facts(attempt.response_truncated, *told)
    return sealer.seal(_ENCODE(facts), facts_context(task_id, attempt.number)).hex()


def attempt_of(row: Sequence[Any], task_id: str, sealer: Sealer) -> Attempt:
    """An attempt from the columns number, due_at, started_at, ended_at, outcome, status_code, error, facts."""
    return with_facts(plain_attempt(*row[:7]), row[7], task_id, sealer)


def plain_attempt(
    number: int, due_at: int, started_at: int, ended_at: int, outcome: str, status_code: int, error: str | None
) -> Attempt:
    """An attempt but for what is sealed of it."""
    ended = word_of(OutcomeKind, outcome)
    attempt = Attempt(number, due_at, started_at, ended_at, ended, status_code, error)
    attempt.unreadable = unknown_word("its outcome", ended)
    return attempt


def with_facts(attempt: Attempt, sealed: bytes | None, task_id: str, sealer: Sealer) -> Attempt:
    """The attempt with the facts that were sealed."""
    if sealed is not None:
        facts, told = _opened(sealed, task_id, attempt.number, sealer)
        attempt.response_truncated, attempt.redirected = facts.response_truncated, facts.redirected
        attempt.error = facts.error if attempt.error is None else attempt.error
        attempt.notes = facts.notes
        attempt.unreadable = together(attempt.unreadable, told)
    return attempt


def is_truncated(sealed: bytes | None, task_id: str, number: int, sealer: Sealer) -> bool:
    """Whether the facts of the attempt say that its response is only the first part."""
    return sealed is not None and _opened(sealed, task_id, number, sealer)[0].response_truncated


def _opened(sealed: bytes, task_id: str, number: int, sealer: Sealer) -> tuple[_Facts, str | None]:
    """The facts; none of them, and why, where they cannot be read: all else of the attempt is told all the same."""
    try:
        return _DECODE(sealer.open(sealed, facts_context(task_id, number))), None
    except Unreadable as error:
        return _NONE, error.message
    except msgspec.MsgspecError as error:
        return _NONE, unreadable(
            "what its error was and where redirects led", f"it is of another version ({error})", OTHER_VERSION
        )
