"""Follows redirects one by one, for calls that libcurl cannot be left to do it for. Sans I/O."""

import base64
import re
from collections.abc import Callable, Sequence
from typing import Final
from urllib.parse import quote, unquote_to_bytes, urldefrag, urljoin, urlsplit, urlunsplit

import msgspec
import pycurl

from tasks_server.domain.request import TaskConfig
from tasks_server.domain.urls import origin, read_url
from tasks_server.engine.http.conversation import Answer, Ask, Broken, Conversation

_REDIRECTS: Final = range(300, 400)
_SCHEME: Final = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*):")
_PRINTABLE: Final = "".join(map(chr, range(0x21, 0x7F)))
_NAME_ENDS: Final = re.compile(rb"[:;]")
OF_ORIGIN: Final = frozenset({b"authorization", b"cookie", b"host"})
"""Headers of the caller's that go to the first origin only, as in libcurl."""
OF_BODY: Final = frozenset(
    {b"content-type", b"content-encoding", b"content-language", b"content-location", b"content-length"}
)


class Place(msgspec.Struct, frozen=True):
    """Where a redirect leads: an absolute URL without fragment and credentials, and the header line of the latter."""

    url: str
    authorization: bytes | None = None


def location(answer: Answer) -> Place | None:
    """Where the answer redirects to. None: it is no redirect.

    Raises `Broken` for a place that cannot be called.
    """
    values = answer.values(b"location") if answer.status in _REDIRECTS and not answer.broken else []
    if not values or not values[0]:
        return None
    text = quote(values[0], safe=_PRINTABLE)
    scheme = _SCHEME.match(text)
    if scheme is not None and scheme[1].lower() not in ("http", "https"):
        raise Broken(pycurl.E_UNSUPPORTED_PROTOCOL, f'Protocol "{scheme[1][:32]}" not supported', following=True)
    try:
        parts = urlsplit(urldefrag(urljoin(answer.url, text)).url)
        userinfo, _, host = parts.netloc.rpartition("@")
        return Place(read_url(urlunsplit(parts._replace(netloc=host)))[0], _authorization(userinfo))
    except ValueError:
        raise Broken(pycurl.E_URL_MALFORMAT, following=True) from None


def _authorization(userinfo: str) -> bytes | None:
    """Credentials of a URL as the header line of Basic authentication."""
    user, _, password = userinfo.partition(":")
    if not userinfo.strip(":"):
        return None
    return b"Authorization: Basic " + base64.b64encode(unquote_to_bytes(user) + b":" + unquote_to_bytes(password))


def redirected(ask: Ask, answer: Answer, url: str) -> Ask:
    """The ask for `url` after a redirect: method and body as the status and fetch's rules want them."""
    method, status = ask.method, answer.status
    dropped = (status == 303 and method not in ("GET", "HEAD")) or (status in (301, 302) and method == "POST")
    if not dropped:
        return msgspec.structs.replace(ask, url=url, redirects=ask.redirects + 1)
    lines = without(ask.lines, OF_BODY)
    return msgspec.structs.replace(ask, url=url, redirects=ask.redirects + 1, method="GET", body=None, lines=lines)


def without(lines: Sequence[bytes], names: frozenset[bytes]) -> list[bytes]:
    """The header lines but those of these names."""
    return [line for line in lines if _NAME_ENDS.split(line, 1)[0].strip().lower() not in names]


def follow(first: Ask, play: Callable[[Ask], Conversation], config: TaskConfig, *, names_referer: bool) -> Conversation:
    """Asks, and follows redirects as libcurl does. `play` makes each hop's part of the conversation. What belongs to
    the first origin goes to no other.

    Raises `Broken` for more redirects than the task allows.
    """
    ask = first
    answer = yield from play(ask)
    home = origin(answer.url)
    while config.location and config.redirect_attempts and (place := location(answer)) is not None:
        if ask.redirects >= config.redirect_attempts:
            raise Broken(pycurl.E_TOO_MANY_REDIRECTS)
        before = answer.url
        ask = redirected(ask, answer, place.url)
        # What the caller gave for the first origin is left out elsewhere, and back where it belongs.
        given = first.lines if ask.body is not None or first.body is None else without(first.lines, OF_BODY)
        trusted = origin(place.url) == home or config.location_trusted is not None
        given = list(given) if trusted else without(given, OF_ORIGIN)
        if place.authorization is not None:
            given = [*without(given, frozenset({b"authorization"})), place.authorization]
        ask = msgspec.structs.replace(
            ask,
            lines=given,
            credentials=trusted and place.authorization is None,
            referer=urldefrag(before).url if names_referer else None,
        )
        answer = yield from play(ask)
    return answer
