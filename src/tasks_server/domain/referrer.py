"""What the `Referer` of a request says under each policy: the algorithms of the Referrer Policy standard, as pure
functions of URLs.

URLs come here as `urls.read_url` gives them.
"""

import ipaddress
import re
from collections.abc import Sequence
from typing import Final, Literal, get_args
from urllib.parse import urlsplit

from tasks_server.domain.urls import origin

ReferrerPolicy = Literal[
    "",
    "no-referrer",
    "no-referrer-when-downgrade",
    "same-origin",
    "origin",
    "strict-origin",
    "origin-when-cross-origin",
    "strict-origin-when-cross-origin",
    "unsafe-url",
]
DEFAULT: Final = "strict-origin-when-cross-origin"
"""What the empty policy stands for."""
_POLICIES: Final = frozenset(get_args(ReferrerPolicy)) - {""}
_LENGTH_MAX: Final = 4_096
_AUTHORITY: Final = re.compile(r"([a-zA-Z]+)://([^/?#]*)")


def referrer(policy: ReferrerPolicy, source: str, url: str) -> str | None:
    """The Referer of a request for `url` that comes from `source`. None: it has none.

    >>> referrer("", "https://a.test/page?q=1#top", "https://b.test/")
    'https://a.test/'
    >>> referrer("no-referrer-when-downgrade", "https://a.test/page?q=1#top", "https://b.test/")
    'https://a.test/page?q=1'
    >>> referrer("strict-origin", "https://a.test/page", "http://b.test/") is None
    True
    """
    whole, short = _stripped(source), _origin_only(source)
    if len(whole) > _LENGTH_MAX:
        whole = short
    at_home = origin(source) == origin(url)
    downgraded = is_trustworthy(source) and not is_trustworthy(url)
    match policy or DEFAULT:
        case "no-referrer":
            return None
        case "origin":
            return short
        case "unsafe-url":
            return whole
        case "same-origin":
            return whole if at_home else None
        case "origin-when-cross-origin":
            return whole if at_home else short
        case "strict-origin":
            return None if downgraded else short
        case "no-referrer-when-downgrade":
            return None if downgraded else whole
        case _:
            if at_home:
                return whole
            return None if downgraded else short


def policy_of(values: Sequence[bytes], before: ReferrerPolicy) -> ReferrerPolicy:
    """The policy after a redirect whose `Referrer-Policy` headers have these values: the last one that is known.

    >>> policy_of([b"no-referrer, future-policy"], "origin"), policy_of([], "origin")
    ('no-referrer', 'origin')
    """
    policy = before
    for value in values:
        for token in value.decode("latin-1").split(","):
            if (name := token.strip(" \t").lower()) in _POLICIES:
                policy = name  # type: ignore[assignment]  # mypy does not see that it is one of the literals
    return policy


def is_trustworthy(url: str) -> bool:
    """Whether nobody between can read what goes to this URL: https, or this machine itself.

    >>> is_trustworthy("https://a.test/"), is_trustworthy("http://127.0.0.1:8080/"), is_trustworthy("http://a.test/")
    (True, True, False)
    """
    parts = urlsplit(url)
    if parts.scheme.lower() == "https":
        return True
    host = (parts.hostname or "").removesuffix(".")
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _origin_only(url: str) -> str:
    scheme, target = origin(url)
    return f"{scheme}://{target.removesuffix(':443' if scheme == 'https' else ':80')}/"


def _stripped(url: str) -> str:
    """The URL without its fragment; its origin in the form that the standard gives it."""
    rest = url[_end_of_authority(url) :].partition("#")[0]
    return _origin_only(url) + rest.removeprefix("/")


def _end_of_authority(url: str) -> int:
    found = _AUTHORITY.match(url)
    assert found is not None, "read_url has seen it"
    return found.end()
