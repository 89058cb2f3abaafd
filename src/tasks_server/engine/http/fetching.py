"""Follows redirects as the Fetch standard wants it, for tasks with `credentials`, `mode` or `referrerPolicy`. Sans I/O.

There is no page that asks: the origin of the request is that of its URL, and nobody is asked for permission (CORS).
"""

from collections.abc import Callable
from typing import Final

import msgspec
import pycurl

from tasks_server.domain.referrer import ReferrerPolicy, is_trustworthy, policy_of, referrer
from tasks_server.domain.request import TaskConfig
from tasks_server.domain.rules_fetch import FETCH_MODE_HEADER
from tasks_server.domain.urls import origin, read_url
from tasks_server.engine.calls import Call
from tasks_server.engine.http.conversation import Answer, Ask, Broken, Conversation
from tasks_server.engine.http.places import Place, location
from tasks_server.engine.http.redirects import OF_BODY, Home, redirected, refused, without

_CREDENTIAL_HEADERS: Final = frozenset({"authorization", "cookie"})


def is_fetch(config: TaskConfig) -> bool:
    """Whether redirects are to be followed as here."""
    return config.credentials is not None or config.mode is not None or config.referrer_policy is not None


def without_credentials(call: Call) -> Call:
    """The call as `credentials: omit` leaves it: no cookie, no credentials, no client certificate. Those of the proxy
    stay, as the standard says.
    """
    request, config = call.request, call.config
    headers = {name: text for name, text in (request.headers or {}).items() if name.lower() not in _CREDENTIAL_HEADERS}
    request = msgspec.structs.replace(
        request,
        headers=headers or None,
        cookie=None,
        auth_basic=None,
        auth_digest=None,
        auth_ntlm=None,
        auth_aws_sigv4=None,
    )
    config = msgspec.structs.replace(config, cert=None, cert_type="PEM", key=None, key_type="PEM")
    return msgspec.structs.replace(call, request=request, config=config)


def fetch(first: Ask, play: Callable[[Ask], Conversation], config: TaskConfig, home: Home) -> Conversation:
    """Asks, and follows redirects. `play` makes each hop's part of the conversation; `home` is the URL's origin.

    Raises `Ended` for a redirect that the task does not want followed, `Broken` for more redirects than it allows.
    """
    referers = _Referers(config)
    ask = msgspec.structs.replace(first, lines=_lines(first, config, referers.first(first.url)))
    answer = yield from play(ask)
    begin = origin(answer.url)
    has_left = False
    while config.location and config.redirect_attempts and (place := location(answer)) is not None:
        if ask.redirects >= config.redirect_attempts:
            raise Broken(pycurl.E_TOO_MANY_REDIRECTS)
        at_home = origin(place.url) == begin
        has_left = has_left or not at_home
        _judge(place, config, at_home=at_home, has_left=has_left)
        ask = redirected(ask, answer, place.url, config.redirect_method)
        is_anonymous = config.credentials == "omit" or (config.credentials == "same-origin" and has_left)
        given = first.lines if ask.body is not None or first.body is None else without(first.lines, OF_BODY)
        # What a caller gave for its own origin does not come back once it was left out.
        given = home.lines_for_others(given, trusted=config.location_trusted is not None) if has_left else given
        ask = msgspec.structs.replace(
            ask,
            lines=_lines(
                msgspec.structs.replace(ask, lines=given),
                config,
                referers.next(answer, place.url),
                None if is_anonymous else place.authorization,
            ),
            credentials=not is_anonymous
            and place.authorization is None
            and (at_home or config.location_trusted is not None),
            anonymous=is_anonymous,
        )
        answer = yield from play(ask)
    return answer


class _Referers:
    """The Referer from one request to the next."""

    def __init__(self, config: TaskConfig) -> None:
        self._policy: ReferrerPolicy | None = config.referrer_policy
        self._source = None if config.referer_url is None else read_url(config.referer_url)[0]
        self._follows_urls = config.referer_url is None

    def first(self, url: str) -> str | None:
        """That of the first request. None: none that is for us to tell."""
        return self._tell(url)

    def next(self, answer: Answer, url: str) -> str | None:
        """That of the request for `url`, to which the answer redirects."""
        if self._policy is not None:
            self._policy = policy_of(answer.values(b"referrer-policy"), self._policy)
        if self._follows_urls:
            self._source = answer.url
        return self._tell(url)

    def _tell(self, url: str) -> str | None:
        if self._policy is None or self._source is None:
            return None
        # By the standard, what one request was not told the next cannot tell.
        self._source = referrer(self._policy, self._source, url)
        return self._source


def _lines(ask: Ask, config: TaskConfig, referer: str | None, authorization: bytes | None = None) -> list[bytes]:
    """The header lines of an ask with what its referrer, its URL and its mode add."""
    lines = list(ask.lines)
    if authorization is not None:
        lines = [*without(lines, frozenset({b"authorization"})), authorization]
    if referer is not None:
        lines.append(f"Referer: {referer}".encode())
    if config.mode is not None and is_trustworthy(ask.url):
        lines.append(f"{FETCH_MODE_HEADER}: {config.mode}".encode())
    return lines


def _judge(place: Place, config: TaskConfig, *, at_home: bool, has_left: bool) -> None:
    if config.mode == "same-origin" and not at_home:
        raise refused(f"it leads to another origin, {origin(place.url)[1]}, which mode same-origin forbids")
    if config.mode == "cors" and has_left and place.authorization is not None:
        raise refused("its URL holds credentials, which mode cors forbids once another origin is called")
