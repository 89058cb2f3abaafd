"""The handlers that every engine has: `default` logs its payload, `curl` fetches a URL. They need no process of their
own, and nobody can register others in their place.
"""

from typing import Final

import msgspec

from tasks_server.domain import masking
from tasks_server.domain.attempt import Outcome, OutcomeKind
from tasks_server.domain.json_text import compact
from tasks_server.domain.request import HttpRequest
from tasks_server.domain.task import handler_target
from tasks_server.domain.urls import FORMS, read_url

DEFAULT: Final = "default"
CURL: Final = "curl"
BUILTIN_TARGETS: Final = frozenset({handler_target(DEFAULT), handler_target(CURL)})
LOGGED: Final = Outcome(OutcomeKind.SUCCESS, status_code=200)
"""How `default` ends: its result is null."""
_TEXT: Final = msgspec.json.Decoder(str)
_SHOWN_CHARACTERS_MAX: Final = 2_000


def shown_payload(payload: bytes) -> str:
    """The payload as JSON for a log line: secrets masked, blanks left out, cut off where it is long."""
    text = compact(bytes(masking.shown_payload(payload))).decode()
    return text if len(text) <= _SHOWN_CHARACTERS_MAX else f"{text[:_SHOWN_CHARACTERS_MAX]}… ({len(text)} characters)"


def curl_request(payload: bytes) -> HttpRequest | Outcome:
    """The request that `curl` makes; how the attempt ends when the payload is no URL, which no retry can mend.

    >>> curl_request(b'"https://a.example/x"').method
    'GET'
    >>> curl_request(b'{"url": "https://a.example"}').error
    'payload: must be an absolute http or https URL of at most 8192 characters'
    """
    if not payload.startswith(b'"'):
        return _unfit(f"must be {FORMS}")
    try:
        return HttpRequest(read_url(_TEXT.decode(payload))[0], "GET")
    except ValueError as error:
        return _unfit(str(error))


def _unfit(message: str) -> Outcome:
    return Outcome(OutcomeKind.HANDLER_ERROR, status_code=422, error=f"payload: {message}", no_retry=True)
