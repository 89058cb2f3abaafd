"""Follows redirects one by one: which method goes where, with which headers. Sans I/O.

libcurl follows none by itself. It would take any status from 300 to 399 for a redirect, read bodies that nobody wants
to their end, and take along headers that are secrets of the first origin.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final
from urllib.parse import urldefrag

import msgspec
import pycurl

from tasks_server.domain import limits
from tasks_server.domain.attempt import Outcome, OutcomeKind
from tasks_server.domain.defaults import RedirectMethod
from tasks_server.domain.masking import shown_url
from tasks_server.domain.request import TaskConfig
from tasks_server.domain.shapes import is_secret_name
from tasks_server.domain.urls import origin
from tasks_server.engine.http.conversation import Answer, Ask, Broken, Conversation, Ended
from tasks_server.engine.http.errors import STATUS_CODES
from tasks_server.engine.http.places import location

_NAME_ENDS: Final = re.compile(rb"[:;]")
_HOST: Final = frozenset({b"host"})
_OF_ORIGIN: Final = frozenset({b"authorization", b"cookie"})
OF_BODY: Final = frozenset(
    {b"content-type", b"content-encoding", b"content-language", b"content-location", b"content-length"}
)


class Home(msgspec.Struct, frozen=True):
    """What belongs to the first origin: the names, in lower case, of headers that go to no other."""

    private: frozenset[bytes] = _OF_ORIGIN

    @classmethod
    def of(cls, headers: Mapping[str, str] | None) -> "Home":
        """Of a task with these headers: what is masked wherever they are shown is for nobody else."""
        return cls(_OF_ORIGIN | {name.lower().encode() for name in headers or () if is_secret_name(name)})

    def lines_for_others(self, lines: Sequence[bytes], *, trusted: bool) -> list[bytes]:
        """The header lines as another origin gets them, which may be trusted with secrets."""
        return without(lines, _HOST if trusted else self.private | _HOST)


_NOBODYS: Final = Home()


def redirected(ask: Ask, answer: Answer, url: str, rule: RedirectMethod) -> Ask:
    """The ask for `url` after a redirect: method and body as the status and fetch's rules want them, or the task.

    Raises `Ended` where the method would change and the task wants it refused.
    """
    method, status = ask.method, answer.status
    moved = status in (301, 302) and method == "POST"
    seen_other = status == 303 and method not in ("GET", "HEAD")
    if rule == "refuse" and (moved or seen_other):
        raise refused(f"after {status} it would be GET in place of {method}, which redirectMethod forbids")
    if not seen_other and (not moved or rule == "keep"):
        return msgspec.structs.replace(ask, url=url, redirects=ask.redirects + 1)
    lines = without(ask.lines, OF_BODY)
    return msgspec.structs.replace(ask, url=url, redirects=ask.redirects + 1, method="GET", body=None, lines=lines)


def refused(why: str) -> Ended:
    """The end of a call whose redirect is not followed."""
    error = f"a redirect could not be followed: {why}"[: limits.ERROR_LENGTH_MAX]
    kind = OutcomeKind.CONNECTION  # the target may mend it
    return Ended(Outcome(kind, status_code=STATUS_CODES[kind], error=error))


def without(lines: Sequence[bytes], names: frozenset[bytes]) -> list[bytes]:
    """The header lines but those of these names."""
    return [line for line in lines if _NAME_ENDS.split(line, 1)[0].strip().lower() not in names]


def follow(
    first: Ask,
    play: Callable[[Ask], Conversation],
    config: TaskConfig,
    *,
    home: Home = _NOBODYS,
    names_referer: bool = False,
) -> Conversation:
    """Asks, and follows redirects as curl does. `play` makes each hop's part of the conversation. What belongs to
    the first origin goes to no other, unless the task trusts them.

    Raises `Broken` for more redirects than the task allows, `Ended` for one that it does not want followed.
    """
    ask = first
    answer = yield from play(ask)
    begin = origin(answer.url)
    trusts = config.location_trusted is not None
    while config.location and config.redirect_attempts and (place := location(answer)) is not None:
        if ask.redirects >= config.redirect_attempts:
            raise Broken(pycurl.E_TOO_MANY_REDIRECTS)
        before = answer.url
        ask = redirected(ask, answer, place.url, config.redirect_method)
        # What the caller gave for the first origin is left out elsewhere, and back where it belongs.
        given = first.lines if ask.body is not None or first.body is None else without(first.lines, OF_BODY)
        at_home = origin(place.url) == begin
        given = list(given) if at_home else home.lines_for_others(given, trusted=trusts)
        if place.authorization is not None:
            given = [*without(given, frozenset({b"authorization"})), place.authorization]
        ask = msgspec.structs.replace(
            ask,
            lines=given,
            credentials=(at_home or trusts) and place.authorization is None,
            referer=_referer(before, place.url) if names_referer else None,
        )
        answer = yield from play(ask)
    return answer


def _referer(before: str, url: str) -> str:
    """The URL before as the Referer of the next: another origin does not get to know its secret parameters."""
    whole = urldefrag(before).url
    return whole if origin(before) == origin(url) else shown_url(whole)
